"""A page to keep: reviewed beside automatic counts, and the decided cells. It fetches nothing and runs no script."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from mitosieve.annotation import Label
from mitosieve.count.summary import DISCLAIMER
from mitosieve.errors import MitosieveError
from mitosieve.review.cell import Cell
from mitosieve.view.desk import Desk
from mitosieve.view.downloads import summary_rows
from mitosieve.view.reviewing import judged_cells, readers_asked

MOST_PICTURES = 60
"""Of each kind, at some 8 kB each."""

_UM, _PX = 32, 192


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One cell with its picture; an empty `uri` where its slide cannot be read."""

    cell: Cell
    uri: str


def reviewed_page(desk: Desk, words: str) -> str:
    """The page as HTML text, of this reader's decisions or of all readers'."""
    readers = readers_asked(desk, words)
    judged = judged_cells(desk, readers)
    names = readers or desk.readers()
    kinds: tuple[tuple[str, Label | None, bool], ...] = (
        ("Figures that the detector had not found", Label.MITOTIC_FIGURE, True),
        ("Decided: figure", Label.MITOTIC_FIGURE, False),
        ("Decided: no figure", Label.IMPOSTER, False),
        ("Unsure, or readers disagree", None, False),
    )
    groups = [(title, [c for c in judged if c.label is label and c.is_added is added]) for title, label, added in kinds]
    return (
        _environment()
        .get_template("reviewed.html.jinja")
        .render(
            name=desk.viewed.name,
            detector=desk.viewed.detector,
            threshold=desk.viewed.threshold,
            readers=names,
            rows=summary_rows(desk, words) if desk.has_counts else [],
            groups=[(title, len(cells), [_shown(desk, c) for c in cells[:MOST_PICTURES]]) for title, cells in groups],
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            note=DISCLAIMER,
        )
    )


def _shown(desk: Desk, cell: Cell) -> Shown:
    number = desk.number_of(cell.slide_id)
    try:
        jpeg = b"" if number is None else desk.shelf.pictures(number).crop((cell.x_px, cell.y_px), um=_UM, px=_PX)
    except MitosieveError:
        jpeg = b""
    return Shown(cell=cell, uri=f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else "")


def _environment() -> Environment:
    """Everything that is put in is text, never HTML; the style is that of the other reports."""
    loaders = [PackageLoader("mitosieve.view"), PackageLoader("mitosieve.report")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
