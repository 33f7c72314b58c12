"""What detect left on disk for each slide, read for the report: counts, hotspots, heat maps. Knows no pages."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image, UnidentifiedImageError

from mitosieve.cohort.table import Row, finite
from mitosieve.count.summary import SUMMARY_COLUMNS, read_summary, read_timing
from mitosieve.count.trust import Trust
from mitosieve.errors import FormatError
from mitosieve.run import layout
from mitosieve.scan.tables import read_slides

_TOLD = (
    *("hotspot_shape", "hotspot_note", "proposer", "learnt_from", "test_f1_on"),
    *("detector_warning", "warning", "note"),
)
_WORDS = ("slide_id", "error", *_TOLD)
_NUMBERS = tuple(name for name in SUMMARY_COLUMNS if name not in _WORDS)
_JPEG_QUALITY = 80


@dataclass(frozen=True, kw_only=True)
class ScannedSlide:
    """One row of summary.csv, or of slides.csv where there is no summary.

    Attributes:
        slide_id: its name.
        error: why it could not be done; empty where it was.
        numbers: column -> value; None where the field is empty or the column is not there.
        words: hotspot_shape and the columns of sentences; empty where they are not there.
        seconds: wall time; None where it is not known.
        engine: what ran the networks; empty where it is not known.
        heatmap: its picture; None where there is none.
        path: where the slide lay when it was done; None where that is not recorded.
    """

    slide_id: str
    error: str
    numbers: dict[str, float | None]
    words: dict[str, str]
    seconds: float | None
    engine: str
    heatmap: Path | None
    path: Path | None = None

    @property
    def within(self) -> str:
        """In which area it was searched, as "within an area of 0.81 mm²"; empty where it was as a whole."""
        mm2 = self.numbers.get("roi_mm2")
        return "" if mm2 is None else f"within an area of {mm2:.{2 if mm2 >= 0.1 else 4}f} mm²"


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """The reviewed counts of a job.

    Attributes:
        rows: of each slide with a decision the columns of summary.csv after review, and those of `ReviewedCount.row`;
            or an `error` in place of them.
        readers: who decided, in the order of their first decision.
        fault: why there are no counts though there are decisions; empty where there are.
        note: which decisions are left out; empty where none is.
    """

    rows: dict[str, dict[str, str]]
    readers: tuple[str, ...]
    fault: str = ""
    note: str = ""

    @property
    def num_decided(self) -> int:
        """Detections that were judged, and figures that were added, over all slides."""
        return sum(int(row["judged"]) + int(row["added"]) for row in self.rows.values() if not row.get("error"))


@dataclass(frozen=True, kw_only=True)
class ScanSource:
    """A folder of detect.

    Attributes:
        folder: where it is.
        request: content of detect.json.
        slides: all that were asked for, in their order.
        has_summary: whether there are hotspots.
        has_detections: whether detections.csv is there, of which cells are shown.
        trust: what is known of the detector; None where that is not recorded.
        reviewed: what people decided; None where nobody did.
    """

    folder: Path
    request: dict[str, Any]
    slides: tuple[ScannedSlide, ...]
    has_summary: bool
    has_detections: bool = False
    trust: Trust | None = None
    reviewed: Reviewed | None = None

    @property
    def done(self) -> list[ScannedSlide]:
        return [slide for slide in self.slides if not slide.error]

    @property
    def failed(self) -> list[ScannedSlide]:
        return [slide for slide in self.slides if slide.error]

    @property
    def unlike(self) -> list[ScannedSlide]:
        """Slides that are coarser than the network or unlike those of the detector's training."""
        return [slide for slide in self.done if slide.words["warning"]]

    @property
    def noted(self) -> dict[str, list[ScannedSlide]]:
        """Slides by what must be known of their files."""
        by_note: dict[str, list[ScannedSlide]] = {}
        for slide in self.done:
            if slide.words["note"]:
                by_note.setdefault(slide.words["note"], []).append(slide)
        return by_note

    @property
    def within(self) -> str:
        """In which area slides were searched, as "within an area of 0.81 mm²"; empty where each was as a whole."""
        areas = {slide.within for slide in self.done}
        if len(areas) < 2:
            return next(iter(areas), "")
        return "on some only within an area" if "" in areas else "within an area of each"

    @property
    def without_hotspot(self) -> list[ScannedSlide]:
        """Slides with no more tissue than a hotspot's area."""
        return [slide for slide in self.done if slide.words["hotspot_note"]]

    @property
    def has_hotspot_tissue(self) -> bool:
        """Whether it was measured how much of a hotspot is tissue: of every slide that has one with a figure."""
        spots = [slide for slide in self.done if slide.numbers["hotspot_figures"]]
        return bool(spots) and all(slide.numbers["hotspot_tissue_mm2"] is not None for slide in spots)

    @property
    def scored(self) -> bool:
        """Whether a slide has a Nottingham score."""
        return any(slide.numbers["nottingham_mitotic_score"] is not None for slide in self.done)

    @property
    def proposers(self) -> list[str]:
        """Which proposer was used; several only where folders were put together."""
        used = dict.fromkeys(slide.words["proposer"] for slide in self.done if slide.words["proposer"])
        return list(used) or [str(self.request[key]) for key in ("proposer",) if self.request.get(key)]

    @property
    def engines(self) -> list[str]:
        used = dict.fromkeys(slide.engine for slide in self.done if slide.engine)
        return list(used)

    def total(self, column: str) -> float | None:
        """Sum over the slides that were done; None where it is not known of one, or there is none."""
        values = [slide.numbers[column] for slide in self.done]
        known = [value for value in values if value is not None]
        return math.fsum(known) if known and len(known) == len(values) else None

    @property
    def density_per_mm2(self) -> float | None:
        figures, tissue = self.total("figures"), self.total("tissue_mm2")
        return figures / tissue if figures is not None and tissue else None

    @property
    def reviewed_rows(self) -> list[dict[str, str]]:
        """Reviewed counts in the order of the slides."""
        rows = {} if self.reviewed is None else self.reviewed.rows
        return [rows[slide.slide_id] for slide in self.done if slide.slide_id in rows]

    @property
    def seconds(self) -> float | None:
        """Wall time of the slides; None where it is not known of one of them."""
        known = [slide.seconds for slide in self.done if slide.seconds is not None]
        return math.fsum(known) if known and len(known) == len(self.done) else None


def read_scan(folder: Path, request: dict[str, Any]) -> ScanSource | None:
    """Read a folder of detect; None where it has neither summary.csv nor slides.csv.

    Raises:
        FormatError: a file of it is broken; the line is named.
    """
    has_summary = (folder / layout.SUMMARY).exists()
    if not has_summary and not (folder / layout.SLIDES).exists():
        return None
    rows = read_summary(folder) if has_summary else read_slides(folder, optional=SUMMARY_COLUMNS)
    timed = read_timing(folder)
    paths = _paths(request)
    slides = tuple(_slide(folder, row, timed.get(row.values["slide_id"]), paths) for row in rows)
    return ScanSource(
        folder=folder,
        request=request,
        slides=slides,
        has_summary=has_summary,
        has_detections=(folder / layout.DETECTIONS).exists(),
        trust=_trust(folder, request),
    )


def _paths(request: dict[str, Any]) -> dict[str, Path]:
    """slide_id -> where it lay, as detect.json says; empty where it does not."""
    told = request.get("slides")
    return {str(name): Path(str(path)) for name, path in cast("dict[str, Any]", told).items()} if told else {}


def _trust(folder: Path, request: dict[str, Any]) -> Trust | None:
    told = request.get("trust")
    try:
        return None if told is None else Trust.from_json(told)
    except (TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"trust is not what detect writes ({error})", where=folder / layout.REQUEST) from error


def _slide(folder: Path, row: Row, timed: Row | None, paths: dict[str, Path]) -> ScannedSlide:
    name = row.values["slide_id"]
    picture = folder / layout.HEATMAPS / layout.file_of(name, ".png")
    inside = picture.parent == folder / layout.HEATMAPS and picture.is_file()  # a name is not trusted to be one
    return ScannedSlide(
        slide_id=name,
        error=row.values["error"],
        numbers={column: _number(row, column) for column in _NUMBERS},
        words={column: row.values.get(column, "") for column in _TOLD},
        seconds=None if timed is None else _number(timed, "seconds"),
        engine="" if timed is None else timed.values["engine"],
        heatmap=picture if inside else None,
        path=paths.get(name),
    )


def _number(row: Row, column: str) -> float | None:
    text = row.values.get(column, "")
    return finite(text, column, where=row.where) if text else None


@dataclass(frozen=True, kw_only=True)
class HeatView:
    """A heat map as the page shows it.

    Attributes:
        slide: whose.
        uri: the picture in the page.
        width, height: in px.
    """

    slide: ScannedSlide
    uri: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class ScanView:
    """A folder of detect as the page shows it.

    Attributes:
        source: its numbers.
        heatmaps: of the slides with most figures in their hotspot, the most first.
        num_heatmaps: how many there are in the folder.
        faults: pictures that cannot be read, a sentence each.
    """

    source: ScanSource
    heatmaps: tuple[HeatView, ...]
    num_heatmaps: int
    faults: tuple[str, ...]


def view_scan(source: ScanSource, most: int) -> ScanView:
    """The page's part of a scan, with at most `most` heat maps; one that cannot be read is named."""
    there = [slide for slide in source.done if slide.heatmap is not None]
    hottest = sorted(there, key=_heat, reverse=True)  # ties by row
    views: list[HeatView] = []
    faults: list[str] = []
    for slide in hottest[:most]:
        view, fault = view_heatmap(slide)
        views += [] if view is None else [view]
        faults += [fault] if fault else []
    return ScanView(source=source, heatmaps=tuple(views), num_heatmaps=len(there), faults=tuple(faults))


def _heat(slide: ScannedSlide) -> tuple[float, float]:
    """Figures in the hotspot, then on the slide."""
    return slide.numbers["hotspot_figures"] or 0.0, slide.numbers["figures"] or 0.0


def view_heatmap(slide: ScannedSlide) -> tuple[HeatView | None, str]:
    """A slide's heat map, None where there is none; and where it cannot be read, a sentence."""
    try:
        return (None if slide.heatmap is None else _view(slide)), ""
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return None, f"{slide.slide_id}: the heat map is no picture that can be read ({type(error).__name__})"


def _view(slide: ScannedSlide) -> HeatView:
    """As JPEG, a fraction of the PNG's bytes; the PNG stays beside the page."""
    with Image.open(str(slide.heatmap)) as image:
        rgb = image.convert("RGB")
    file = io.BytesIO()
    rgb.save(file, format="JPEG", quality=_JPEG_QUALITY)
    uri = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return HeatView(slide=slide, uri=uri, width=rgb.width, height=rgb.height)
