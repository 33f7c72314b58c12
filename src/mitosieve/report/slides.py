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


def view_slides(source: ScanSource) -> Iterator[SlideView]:
    """The slides that were done, in their order, one at a time: pictures of all would fill memory."""
    by_slide = _by_slide(source)
    for slide in source.done:
        heat, fault = view_heatmap(slide)
        yield SlideView(slide=slide, cells=cells_of(slide, by_slide(slide.slide_id)), heat=heat, fault=fault)


def links_of(source: ScanSource, page: Path) -> dict[str, str]:
    """slide_id -> where its page is, relative to the job's page; none where there are few slides."""
    done = source.done
    if len(done) <= MOST_ON_PAGE or not source.has_detections:
        return {}
    folder = folder_of(page)
    return {slide.slide_id: f"{folder.name}/{_file_name(slide.slide_id, n)}" for n, slide in enumerate(done, start=1)}


def folder_of(page: Path) -> Path:
    """Where the pages of the slides lie, beside the job's page."""
    return page.with_name(f"{page.stem}-slides")


def write_slide_pages(source: ScanSource, page: Path, *, title: str) -> list[Path]:
    """Write a page for each slide that was done, where there are many.

    Args:
        source: the job.
        page: its own page, to which they lead back.
        title: of the job.

    Returns:
        Paths of the pages.

    Raises:
        FormatError: detections.csv is broken.
        StorageError: a page cannot be written.
    """
    links = links_of(source, page)
    if not links:
        return []
    template = environment().get_template("slide.html.jinja")
    names = list(links)
    written: list[Path] = []
    for number, view in enumerate(view_slides(source)):
        around = {
            word: (names[at], quote(Path(links[names[at]]).name))
            for word, at in (("previous", number - 1), ("next", number + 1))
            if 0 <= at < len(names)
        }
        text = template.render(
            view=view,
            source_scan=source,
            title=title,
            day=day_of(source.folder / layout.SUMMARY, source.folder / layout.DETECTIONS),
            back=quote(f"../{page.name}"),
            around=around,
        )
        written.append(write_atomic(page.parent / links[view.slide.slide_id], text))
    return written


def _by_slide(source: ScanSource) -> Callable[[str], Detections]:
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
    """A slide's name where it is a file name everywhere, else its number: it must not lead elsewhere."""
    return f"{slide_id if _NAME.fullmatch(slide_id) else f'slide-{number}'}.html"
