"""A page for each slide of a job, or a section of the job's page where there are few."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from mitosieve.detection import Detections
from mitosieve.export.table import read_detections
from mitosieve.report.cells import SlideCells, cells_of
from mitosieve.report.gallery import Addresses
from mitosieve.report.scanned import HeatView, ScannedSlide, ScanSource, view_heatmap
from mitosieve.report.words import day_of, environment
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic

MOST_ON_PAGE = 3
"""Slides whose cells stand on the job's own page; more have a page each."""

_NAME = re.compile(r"[\w][\w .+@=-]{0,150}")


@dataclass(frozen=True, kw_only=True)
class SlideView:
    """One slide as its page or section shows it.

    Attributes:
        slide: its row.
        cells: its cells.
        heat: its heat map; None where it has none that can be read.
        fault: why not; empty where it has one, or none was made.
    """

    slide: ScannedSlide
    cells: SlideCells
    heat: HeatView | None
    fault: str


FoundOf = Callable[[str], Detections]
"""The detections of a slide by its name, in the order of their table."""


def view_slides(
    source: ScanSource, found_of: FoundOf | None = None, served: Addresses | None = None
) -> Iterator[SlideView]:
    """The slides that were done, in their order, one at a time: pictures of all would fill memory.

    Args:
        source: the job.
        found_of: its detections; None reads them.
        served: where pictures are; None puts them into the page.
    """
    by_slide = _by_slide(source) if found_of is None else found_of
    for slide in source.done:
        yield _view(slide, by_slide(slide.slide_id), served)


def _view(slide: ScannedSlide, found: Detections, served: Addresses | None) -> SlideView:
    heat, fault = view_heatmap(slide)
    return SlideView(slide=slide, cells=cells_of(slide, found, served), heat=heat, fault=fault)


def links_of(source: ScanSource, page: Path) -> dict[str, str]:
    """slide_id -> where its page is, relative to the job's page; none where there are few slides."""
    done = source.done
    if len(done) <= MOST_ON_PAGE or not source.has_detections:
        return {}
    folder = folder_of(page)
    return {slide.slide_id: f"{folder.name}/{_file_name(slide.slide_id, n)}" for n, slide in enumerate(done, start=1)}


def folder_of(page: Path) -> Path:
    """Where the pages of the slides lie, beside the job's page."""
    return page.with_name(layout.slide_pages_of(page.name))


def write_slide_pages(source: ScanSource, page: Path) -> list[Path]:
    """Write a page for each slide that was done, where there are many.

    Args:
        source: the job.
        page: its own page, to which they lead back.

    Returns:
        Paths of the pages.

    Raises:
        FormatError: detections.csv is broken.
        StorageError: a page cannot be written.
    """
    links = links_of(source, page)
    if not links:
        return []
    around = {name: quote(Path(link).name) for name, link in links.items()}
    written: list[Path] = []
    for view in view_slides(source):
        text = _page(source, view, around, back=quote(f"../{page.name}"))
        written.append(write_atomic(page.parent / links[view.slide.slide_id], text))
    return written


def serve_slide_page(source: ScanSource, slide: ScannedSlide, found: Detections, served: Addresses) -> str:
    """The page of one slide as a viewer serves it.

    Args:
        source: the job.
        slide: one of it that was done.
        found: its detections.
        served: where its parts are.
    """
    links = {one.slide_id: served.page(one.slide_id) for one in source.done}
    return _page(source, _view(slide, found, served), links, back=served.job, served=served)


def _page(
    source: ScanSource,
    view: SlideView,
    links: dict[str, str],
    *,
    back: str,
    served: Addresses | None = None,
) -> str:
    """A slide's page, between those of the slides before and after it; `links` are those of all."""
    names = list(links)
    number = names.index(view.slide.slide_id)
    around = {
        word: (names[at], links[names[at]])
        for word, at in (("previous", number - 1), ("next", number + 1))
        if 0 <= at < len(names)
    }
    template = environment(served).get_template("slide.html.jinja")
    return template.render(
        view=view,
        source_scan=source,
        title=source.folder.resolve().name,
        day=day_of(source.folder / layout.SUMMARY, source.folder / layout.DETECTIONS),
        back=back,
        around=around,
        served=served,
    )


def _by_slide(source: ScanSource) -> FoundOf:
    """A look-up of the detections of a slide, in the order of the table."""
    found = read_detections(source.folder / layout.DETECTIONS) if source.has_detections else Detections.empty()
    names, number = np.unique(found.slide_id, return_inverse=True)
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(names) + 1))
    place = {name: at for at, name in enumerate(names.tolist())}

    def look_up(slide_id: str) -> Detections:
        at = place.get(slide_id)
        return found[order[:0]] if at is None else found[order[starts[at] : starts[at + 1]]]

    return look_up


def _file_name(slide_id: str, number: int) -> str:
    """A slide's name where it is a file name everywhere, else its number, which must not lead elsewhere, behind a sign
    that no such name begins with: no two slides have one file.
    """
    return f"{slide_id if _NAME.fullmatch(slide_id) else f'~{number}'}.html"
