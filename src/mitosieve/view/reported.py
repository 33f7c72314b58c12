"""The reports of a result or an audit as the viewer serves them: each cell leads to its place on the slide.

They are made anew from what is looked at, so that a page holds no path of this machine and no script of its own.
"""

from typing import TYPE_CHECKING

from mitosieve.view.addresses import ViewerAddresses
from mitosieve.view.desk import Desk
from mitosieve.view.downloads import summary_rows
from mitosieve.view.reviewing import judged_cells, not_counted, readers_asked

if TYPE_CHECKING:
    from mitosieve.report.page import FoundOf, Reviewed


def report_page(desk: Desk, whose: str) -> str:
    """The report of what is looked at.

    Args:
        desk: with it.
        whose: "all" for the decisions of all readers, else this reader's.

    Raises:
        InputError: there is none of a cohort or of bare slides.
        FormatError: a file of it is broken.
    """
    if desk.audit_folder is not None:
        from mitosieve.audit.pages import serve_suspects

        return serve_suspects(desk.audit_folder, _addresses(desk, whose, script="suspects.js"))
    from mitosieve.report.page import serve_report

    return serve_report(desk.result_folder, _told(desk, whose), _found_of(desk), _addresses(desk, whose))


def slide_report(desk: Desk, number: int, whose: str) -> str:
    """The report of one slide of a result.

    Raises:
        InputError: it was not done, or there are no reports of slides here.
    """
    from mitosieve.report.page import serve_slide

    folder, name = desk.result_folder, desk.viewed.slides[number].slide_id
    return serve_slide(folder, name, _told(desk, whose), _found_of(desk), _addresses(desk, whose))


def report_part(name: str) -> tuple[str, str]:
    """Content and type of what reports are shown with.

    Raises:
        InputError: there is no such file.
    """
    from mitosieve.report.page import served_part

    return served_part(name)


def _told(desk: Desk, whose: str) -> "Reviewed | None":
    """What this page may show of decisions; None where there are none."""
    from mitosieve.report.page import Reviewed

    readers = readers_asked(desk, whose)
    judged = {cell.slide_id for cell in judged_cells(desk, readers)}
    note = not_counted(desk, readers)
    if not judged:
        return Reviewed(rows={}, readers=(), fault=note) if note else None
    rows = {row["slide_id"]: row for row in summary_rows(desk, whose, only=judged)}
    return Reviewed(rows=rows, readers=readers or desk.readers(), note=note)


def _found_of(desk: Desk) -> "FoundOf":
    return lambda name: desk.detections(desk.slide_number(desk.number_of(name)))


def _addresses(desk: Desk, whose: str, script: str = "cells.js") -> ViewerAddresses:
    gone = frozenset(number for number, slide in enumerate(desk.viewed.slides) if slide.path is None)
    words = desk.viewed.words
    query = {"identity": desk.identity, **({"readers": "all"} if whose == "all" else {})}
    return ViewerAddresses(desk.number_of, gone, words, script=script, edition=desk.edition, query=query)
