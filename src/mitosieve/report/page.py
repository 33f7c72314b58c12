"""One self-contained HTML page of a run or of a folder of detect: what was done, what was found, how well it does, and
pictures of the cells behind the numbers.

All numbers come from the files of the run; the page fetches nothing, and can be read without its script.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import UndefinedError

from mitosieve.cohort.cohort import Cohort
from mitosieve.count.nottingham import SOURCE
from mitosieve.errors import FormatError, InputError, MitosieveError
from mitosieve.report.chart import Chart, score_charts, training
from mitosieve.report.gallery import Addresses, Gallery, make_galleries
from mitosieve.report.regimes import PAPER_FRACTION, SearchView, view_search
from mitosieve.report.reviewed import read_reviewed
from mitosieve.report.scanned import Reviewed, view_scan
from mitosieve.report.slides import FoundOf, SlideView, links_of, serve_slide_page, view_slides, write_slide_pages
from mitosieve.report.source import RunSource, ScoreSource, Source, read_source
from mitosieve.report.words import day_of, environment
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic

MOST_CROPS = 48
"""Pictures in one gallery."""

_ALL_CROPS = 500
"""Pictures on one page, at some 15 kB each: with its charts a page stays below 9 MB."""

_GALLERIES = 3

MOST_HEATMAPS = 30
"""Heat maps on one page, at some 100 to 200 kB each."""


@dataclass(frozen=True, kw_only=True)
class ScoreView:
    """One evaluated folder as the page shows it.

    Attributes:
        source: its numbers.
        charts: drawn from them.
        galleries: pictures of its cells; empty where no picture can be shown.
        faults: why pictures are missing, a sentence each.
    """

    source: ScoreSource
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One training as the page shows it.

    Attributes:
        source: its record.
        charts: training curves, a chart a stage.
        search: of the regime of mining; None where there was none.
    """

    source: RunSource
    charts: tuple[Chart, ...]
    search: SearchView | None


def write_report(run: Path, evaluated: Sequence[Path] = (), *, out: Path | None = None) -> Path:
    """Write the page of a run, of a cross-validation, or of a folder that detect made, evaluated or not.

    Args:
        run: a run folder; its direct subfolders with metrics.json are shown. Or a folder with pooled metrics.json and a
            run folder per fold. Or a folder of detect or evaluate.
        evaluated: further evaluated folders to show.
        out: the page; None is report.html in `run`.

    Returns:
        Path of the page. Where the images are gone the page says so in place of the galleries. The pages of the slides
        of a larger job lie beside it, in `report-slides`.

    Raises:
        InputError: `out` is no name of a page, or a file is there that is none and would be lost.
        RunFolderError: `run` is no such folder, or of another version.
        FormatError: a file in it is broken, or a folder of `evaluated` was not evaluated.
        StorageError: the page cannot be written.
    """
    if out is not None:
        _check_page(out)
    source = read_source(run, evaluated)
    source = source if source.scan is None else source.reviewed(read_reviewed(run))
    page = run / layout.REPORT if out is None else out
    links = {} if source.scan is None else links_of(source.scan, page)
    quoted = {name: quote(link) for name, link in links.items()}
    written = write_atomic(page, render(source, quoted, day=day_of(*_dated(run))))
    if source.scan is not None:
        write_slide_pages(source.scan, page)
    return written


def _check_page(out: Path) -> None:
    """Refuse a place for the page where a file would be lost that is none, before anything is read."""
    if out.is_dir():
        raise InputError("is a folder, and --out is the page", where=out, remedy=f"name it {out / layout.REPORT}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError("is no name of a page", where=out, remedy=f"name it {out.name}.html")
    if out.is_file() and not out.read_bytes()[:64].lstrip().lower().startswith(b"<!doctype html"):
        raise InputError("is there, and no page: it would be lost", where=out, remedy="choose another name")


def serve_report(run: Path, told: Reviewed | None, found_of: FoundOf, served: Addresses) -> str:
    """The page of a folder of detect as a viewer serves it: pictures, style and script come from their addresses.

    Args:
        run: the folder.
        told: what is shown of decisions.
        found_of: the detections of a slide.
        served: where its parts are.

    Raises:
        FormatError: a record of the run lacks a key.
    """
    source = read_source(run).reviewed(told)
    many = {} if source.scan is None else links_of(source.scan, run / layout.REPORT)
    links = {name: served.page(name) for name in many}
    return render(source, links, day=day_of(*_dated(run)), found_of=found_of, served=served)


def serve_slide(run: Path, slide_id: str, told: Reviewed | None, found_of: FoundOf, served: Addresses) -> str:
    """The page of one slide of a folder of detect as a viewer serves it.

    Raises:
        InputError: the slide was not done.
    """
    scan = read_source(run).reviewed(told).scan
    slide = None if scan is None else next((one for one in scan.done if one.slide_id == slide_id), None)
    if scan is None or slide is None:
        raise InputError("there is no report of this slide")
    return serve_slide_page(scan, slide, found_of(slide_id), served)


def served_part(name: str) -> tuple[str, str]:
    """Content and type of what served pages are shown with.

    Raises:
        InputError: there is no such part.
    """
    parts = {"style.css": ("css", "style", "suspects"), "cells.js": ("js", "cells"), "suspects.js": ("js", "suspects")}
    if name not in parts:
        raise InputError("there is no such file")
    kind, *files = parts[name]
    env = environment()
    text = "".join(env.get_template(f"{file}.{kind}.jinja").render() for file in files)
    return text, "text/css" if kind == "css" else "text/javascript"


def _dated(run: Path) -> list[Path]:
    """What the page is dated by: the first that is there."""
    names = (
        layout.METRICS,
        layout.SUMMARY,
        f"{layout.TEST}/{layout.METRICS}",
        f"{layout.DETECTOR}/{layout.DETECTOR_CONFIG}",
    )
    return [run / name for name in (*names, layout.DETECTIONS, layout.RUN)]


def render(
    source: Source,
    links: dict[str, str],
    *,
    day: str = "",
    found_of: FoundOf | None = None,
    served: Addresses | None = None,
) -> str:
    """The page as HTML text.

    Args:
        source: what it tells.
        links: where the page of each slide is; empty where the cells of all stand on this page.
        day: of the result, in words.
        found_of: detections of a slide; None reads them.
        served: where its parts are; None puts them into the page.

    Raises:
        FormatError: a record of the run lacks a key.
    """
    most = min(MOST_CROPS, _ALL_CROPS // (_GALLERIES * max(1, len(source.scores))))
    scan, slides = source.scan, list[SlideView]()
    if scan is not None and scan.has_detections and not links:
        slides = list(view_slides(scan, found_of, served))
    try:
        return (
            environment(served)
            .get_template("page.html.jinja")
            .render(
                source=source,
                scores=[view_score(score, most, served) for score in source.scores],
                runs=[view_run(run) for run in source.runs],
                scan=None if scan is None else view_scan(scan, 0 if slides else MOST_HEATMAPS),
                slides=slides,
                links=links,
                day=day,
                served=served,
                cut_offs=SOURCE,
                paper_fraction=PAPER_FRACTION,
            )
        )
    except UndefinedError as error:
        raise FormatError(
            f"a JSON file lacks what the report shows ({error.message})",
            where=source.name,
            remedy="train, detect and evaluate with this version, then write the report again",
        ) from error


def view_run(run: RunSource) -> RunView:
    """Training curves and search of one run."""
    charts = (training(stage, rows) for stage, rows in run.history.items())
    search = None if run.search is None else view_search(run.search)
    return RunView(source=run, charts=tuple(chart for chart in charts if chart is not None), search=search)


def view_score(score: ScoreSource, most: int, served: Addresses | None = None) -> ScoreView:
    """Charts and galleries of one evaluated folder.

    Args:
        score: its numbers.
        most: pictures of each gallery.
        served: where pictures are; None puts them into the page.
    """
    galleries, faults = _galleries(score, most, served)
    return ScoreView(source=score, charts=tuple(score_charts(score.metrics)), galleries=galleries, faults=faults)


def _galleries(score: ScoreSource, most: int, served: Addresses | None) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    if score.cells is None:
        return (), ("there is no outcomes.csv beside metrics.json; evaluate the folder again",)
    if served is None and score.cohort is None:
        return (), ("detect.json beside metrics.json names no cohort, so it is not known where the images are",)
    try:
        cohort = None if served is not None or score.cohort is None else Cohort.load(score.cohort)
    except MitosieveError as error:
        return (), (f"the cohort of the images cannot be read: {error.what}",)
    galleries, faults = make_galleries(score.cells, cohort, most, served)
    shown = any(crop.uri for gallery in galleries for crop in gallery.crops)
    return (galleries if shown or not len(score.cells) else ()), faults
