"""What was found on each slide, in one row and in one JSON file: figures, density, hotspot, mitotic score.

Knows detections and a slide's measures; no pixels, no networks. Files are of two kinds. `summary.csv` and the JSON of a
slide promise equal bytes for equal detections, so a killed and resumed run leaves the same. What hangs on the machine,
wall time and engine, stands in `timing.csv` and promises nothing.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.table import Row, read_table
from mitosieve.count.hotspot import AREA_MM2, Hotspot, Shape, find_hotspot, mm_from_l0, slide_mm
from mitosieve.count.nottingham import MitoticScore, mitotic_score
from mitosieve.detection import Detections
from mitosieve.errors import FrameError
from mitosieve.familiarity import Familiarity
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic, write_json

DISCLAIMER = "Research use only, not for diagnosis."

SUMMARY_COLUMNS = (
    "slide_id",
    "mpp_x",
    "mpp_y",
    "width",
    "height",
    "tissue_mm2",
    "glass_mm2",
    "figures",
    "figures_per_mm2",
    "hotspot_shape",
    "hotspot_area_mm2",
    "hotspot_x",
    "hotspot_y",
    "hotspot_width",
    "hotspot_height",
    "hotspot_figures",
    "hotspot_figures_per_mm2",
    "nottingham_mitotic_score",
    "proposer",
    "threshold",
    "strangeness",
    "warning",
    "note",
    "error",
)
"""Of summary.csv. Pixels are level-0 px with pixel centres at integers; x and y are the upper left corner of the
hotspot's upright box. `strangeness` is the largest distance from the training's slides in limits: above 1 there is a
`warning`; there is one too where the resolution can hardly be right. `note` is what the file says of itself that must
be known. A field is empty where a value is not known or not defined."""

_ALWAYS = ("slide_id", "tissue_mm2", "figures", "hotspot_area_mm2", "hotspot_figures", "error")
"""Columns without which a summary.csv is none."""

TIMING_COLUMNS = ("slide_id", "seconds", "tissue_mm2_per_s", "engine")


@dataclass(frozen=True, kw_only=True)
class SlideFindings:
    """One slide after detection.

    Attributes:
        slide_id: its name.
        mpp_xy: um per level-0 px along a row and along a column.
        size_l0: width, height in level-0 px.
        tissue_mm2: of tissue that was looked at; None where it is not known.
        glass_mm2: of what was called no tissue instead: glass, ink, padding; None where it is not known.
        detections: of this slide; only rows that are figures count.
        proposer: which places the networks looked at, in words.
        threshold: operating threshold.
        familiarity: how like the training's slides it is; None where the detector does not know them.
        resolution_warning: a sentence where its um per px can hardly be right; else empty.
        notes: what must be known of its file, a sentence each.
        seconds: wall time of this slide; None where it was not measured, as after a resume.
        engine: what ran the networks, in words; empty where it is not known.
    """

    slide_id: str
    mpp_xy: tuple[float, float]
    size_l0: tuple[int, int]
    tissue_mm2: float | None
    detections: Detections
    proposer: str
    threshold: float
    glass_mm2: float | None = None
    familiarity: Familiarity | None = None
    resolution_warning: str = ""
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    engine: str = ""

    def __post_init__(self) -> None:
        strange = self.detections.slide_id != self.slide_id
        if strange.any():
            other = self.detections.slide_id[strange][0]
            raise FrameError(f"detections are of the slide '{other}', not of '{self.slide_id}'")

    @property
    def figure_mm(self) -> NDArray[np.float64]:
        """(N, 2) x, y of the figures in mm from the slide's upper left corner."""
        return mm_from_l0(self.detections.figures.center_l0, self.mpp_xy)


@dataclass(frozen=True, kw_only=True)
class SlideFailure:
    """A slide that was asked for and could not be done: it keeps its row.

    Attributes:
        slide_id: its name.
        error: why.
    """

    slide_id: str
    error: str


@dataclass(frozen=True, kw_only=True)
class SlideSummary:
    """The counts of one slide.

    Attributes:
        findings: what they are made of, with no detections left: the summaries of a thousand slides stay small.
        figures: how many.
        hotspot: the region with most of them.
        score: Nottingham mitotic score of the hotspot, or why there is none.
    """

    findings: SlideFindings
    figures: int
    hotspot: Hotspot
    score: MitoticScore

    @property
    def density_per_mm2(self) -> float | None:
        """Figures per mm2 of the tissue looked at; None where there is none, or it is not known."""
        tissue = self.findings.tissue_mm2
        return self.figures / tissue if tissue else None

    @property
    def slide_id(self) -> str:
        return self.findings.slide_id

    @property
    def warnings(self) -> tuple[str, ...]:
        """In which ways the slide is unlike those of the detector's training, a sentence each."""
        said = self.findings.resolution_warning
        familiarity = self.findings.familiarity
        return (*((said,) if said else ()), *(() if familiarity is None else familiarity.warnings))

    def timed(self, seconds: float | None, engine: str) -> "SlideSummary":
        """The same with its wall time, None where that was not measured, and what ran the networks."""
        return replace(self, findings=replace(self.findings, seconds=seconds, engine=engine))

    def row(self) -> dict[str, str]:
        """The slide's row of summary.csv."""
        findings, hotspot = self.findings, self.hotspot
        bounds = hotspot.bounds_l0(findings.mpp_xy) if hotspot.count else (None,) * 4
        values: list[object] = [
            findings.slide_id,
            *(f"{mpp:.6g}" for mpp in findings.mpp_xy),
            *findings.size_l0,
            _text(findings.tissue_mm2, 4),
            _text(findings.glass_mm2, 4),
            self.figures,
            _text(self.density_per_mm2, 4),
            hotspot.shape,
            _text(hotspot.area_mm2, 4),
            *(_text(value, 1) for value in bounds),
            hotspot.count,
            _text(hotspot.density_per_mm2, 4),
            "" if self.score.score is None else self.score.score,
            findings.proposer,
            f"{findings.threshold:.6g}",
            _text(None if findings.familiarity is None else findings.familiarity.strangeness, 3),
            "; ".join(self.warnings),
            "; ".join(findings.notes),
            "",
        ]
        return {name: str(value) for name, value in zip(SUMMARY_COLUMNS, values, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """The same and more, for the slide's own file: the outline, and the reason of the score."""
        findings, hotspot = self.findings, self.hotspot
        place: dict[str, Any] = {}
        if hotspot.count:
            x, y, width, height = (round(value, 1) for value in hotspot.bounds_l0(findings.mpp_xy))
            place = {
                "bounds_l0": {"x": x, "y": y, "width": width, "height": height},
                "outline_l0": hotspot.outline_l0(findings.mpp_xy).round(1).tolist(),
                "center_mm": [round(value, 6) for value in hotspot.center_mm],
            }
        return {
            "slide_id": findings.slide_id,
            "mpp": list(findings.mpp_xy),
            "size_l0": list(findings.size_l0),
            "tissue_mm2": _rounded(findings.tissue_mm2),
            "glass_mm2": _rounded(findings.glass_mm2),
            "figures": self.figures,
            "figures_per_mm2": _rounded(self.density_per_mm2),
            "hotspot": {
                "shape": hotspot.shape,
                "area_mm2": _rounded(hotspot.area_mm2),
                "size_mm": list(hotspot.size_mm),
                "figures": hotspot.count,
                "figures_per_mm2": _rounded(hotspot.density_per_mm2),
                **place,
            },
            "nottingham_mitotic_score": {"score": self.score.score, "reason": self.score.reason},
            "proposer": findings.proposer,
            "threshold": findings.threshold,
            "familiarity": None if findings.familiarity is None else findings.familiarity.to_json(),
            "warnings": list(self.warnings),
            "notes": list(findings.notes),
            "note": DISCLAIMER,
        }


def summarize(findings: SlideFindings, *, area_mm2: float = AREA_MM2, shape: Shape = "square") -> SlideSummary:
    """Count a slide's figures, and find the region with most of them.

    The hotspot has a mitotic score where cut-offs for its area can be cited and the slide has as much tissue as that.

    Args:
        findings: of one slide; none at all is a count of 0.
        area_mm2: of the hotspot.
        shape: of the hotspot.
    """
    figure_mm = findings.figure_mm
    size_mm = slide_mm(findings.size_l0, findings.mpp_xy)
    hotspot = find_hotspot(figure_mm, size_mm=size_mm, area_mm2=area_mm2, shape=shape)
    return SlideSummary(
        findings=replace(findings, detections=Detections.empty(findings.detections.stage_names)),
        figures=len(figure_mm),
        hotspot=hotspot,
        score=_score(findings, hotspot),
    )


def _score(findings: SlideFindings, hotspot: Hotspot) -> MitoticScore:
    tissue = findings.tissue_mm2
    if tissue is not None and tissue < hotspot.area_mm2:
        reason = f"there are {tissue:.3g} mm2 of tissue, less than the region's {hotspot.area_mm2:.4g} mm2"
        return MitoticScore(score=None, reason=reason)
    return mitotic_score(hotspot.count, hotspot.area_mm2)


def write_summary(path: Path, slides: Iterable[SlideSummary | SlideFailure]) -> Path:
    """Write summary.csv, a row a slide in the order given; a slide that failed has its name and its error.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """

    def row(slide: SlideSummary | SlideFailure) -> dict[str, str]:
        if isinstance(slide, SlideSummary):
            return slide.row()
        return {"slide_id": slide.slide_id, "error": " ".join(slide.error.split())}

    return _write_table(path, SUMMARY_COLUMNS, map(row, slides))


def read_summary(folder: Path) -> list[Row]:
    """The rows of a folder's summary.csv; fields of the columns that it lacks are empty.

    Raises:
        FormatError: it is missing, lacks a column without which it is none, or has a broken row.
    """
    further = tuple(name for name in SUMMARY_COLUMNS if name not in _ALWAYS)
    return read_table(folder / layout.SUMMARY, required=_ALWAYS, optional=further)


def read_timing(folder: Path) -> dict[str, Row]:
    """slide_id -> row of a folder's timing.csv, with seconds and engine; empty where there is none.

    Raises:
        FormatError: it lacks slide_id or seconds, or has a broken row.
    """
    path = folder / layout.SLIDE_TIMES
    rows = read_table(path, required=("slide_id", "seconds"), optional=("engine",)) if path.exists() else []
    return {row.values["slide_id"]: row for row in rows}


def write_slide_summary(path: Path, summary: SlideSummary) -> Path:
    """Write one slide's JSON.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    return write_json(path, summary.to_json())


def write_timing(path: Path, slides: Iterable[SlideSummary]) -> Path:
    """Write timing.csv, a row a slide: wall time, speed and engine; not equal from run to run.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """

    def row(slide: SlideSummary) -> dict[str, str]:
        seconds, tissue = slide.findings.seconds, slide.findings.tissue_mm2
        speed = tissue / seconds if seconds and tissue is not None else None
        values = (slide.findings.slide_id, _text(seconds, 3), _text(speed, 4), slide.findings.engine)
        return dict(zip(TIMING_COLUMNS, values, strict=True))

    return _write_table(path, TIMING_COLUMNS, map(row, slides))


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> Path:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_atomic(path, text.getvalue())


def _text(value: float | None, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
