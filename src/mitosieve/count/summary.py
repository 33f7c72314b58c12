"""What was found on each slide, in one row and in one JSON file: figures, density, hotspot, mitotic score.

Knows detections and a slide's measures; no pixels, no networks. Files are of two kinds. `summary.csv` and the JSON of a
slide promise equal bytes for equal detections, so a killed and resumed run leaves the same. What hangs on the machine,
wall time and engine, stands in `timing.csv` and promises nothing.
"""

import csv
import io
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.table import Row, number_of, read_table
from mitosieve.count.columns import COUNTED_COLUMNS, SUMMARY_COLUMNS, TIMING_COLUMNS
from mitosieve.count.further import find_hotspots
from mitosieve.count.ground import Ground
from mitosieve.count.hotspot import AREA_MM2, Hotspot, Shape, mm_from_l0, slide_mm
from mitosieve.count.nottingham import MitoticScore, score_of_tissue
from mitosieve.count.trust import Trust
from mitosieve.detection import Detections
from mitosieve.errors import FormatError, FrameError
from mitosieve.familiarity import Familiarity
from mitosieve.run import layout
from mitosieve.run.folder import read_json, write_atomic, write_json

DISCLAIMER = "Research use only, not for diagnosis."

_AREA_DIGITS = 6
"""Of mm2 of a slide, which others divide by and add up: a crop of 128 px has 0.001."""

_ALWAYS = ("slide_id", "tissue_mm2", "figures", "hotspot_area_mm2", "hotspot_figures", "error")
"""Columns without which a summary.csv is none."""


@dataclass(frozen=True, kw_only=True)
class SlideFindings:
    """One slide after detection.

    Attributes:
        slide_id: its name.
        mpp_xy: um per level-0 px along a row and along a column.
        size_l0: width, height in level-0 px.
        roi_mm2: of the area that alone was searched; None where the whole slide was.
        tissue_mm2: of tissue that was looked at; None where it is not known.
        glass_mm2: of what was called no tissue instead: glass, ink, padding; None where it is not known.
        ground: where the tissue is that was looked at; None where it is not known.
        detections: of this slide; only rows that are figures count.
        proposer: which places the networks looked at, in words.
        threshold: operating threshold.
        familiarity: how like the training's slides it is; None where the detector does not know them.
        resolution_warning: a sentence where its um per px can hardly be right; else empty.
        notes: what must be known of its file, a sentence each.
        trust: what is known of the detector; None where nobody asked.
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
    roi_mm2: float | None = None
    glass_mm2: float | None = None
    ground: Ground | None = None
    familiarity: Familiarity | None = None
    resolution_warning: str = ""
    notes: tuple[str, ...] = ()
    trust: Trust | None = None
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
        hotspots: the region with most of them, then further ones (`find_hotspots`).
        hotspot_note: why there is no hotspot; empty where there is one.
        score: Nottingham mitotic score of the hotspot, or why there is none.
    """

    findings: SlideFindings
    figures: int
    hotspots: tuple[Hotspot, ...]
    hotspot_note: str
    score: MitoticScore

    @property
    def hotspot(self) -> Hotspot:
        """The region with most figures."""
        return self.hotspots[0]

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
        """What speaks against trusting this slide's counts, a sentence each: its resolution can hardly be right or is
        coarser than the network's, or it is unlike the training's. What speaks against the detector is its `trust`.
        """
        found = self.findings
        coarse = () if found.trust is None else found.trust.of_slide(found.mpp_xy)
        apart = (found.resolution_warning,) if found.resolution_warning else coarse  # one of them says it
        return (*apart, *(() if found.familiarity is None else found.familiarity.warnings))

    def timed(self, seconds: float | None, engine: str) -> "SlideSummary":
        """The same with its wall time, None where that was not measured, and what ran the networks."""
        return replace(self, findings=replace(self.findings, seconds=seconds, engine=engine))

    def row(self) -> dict[str, str]:
        """The slide's row of summary.csv."""
        findings = self.findings
        trust = findings.trust
        ends = (None, None) if trust is None or trust.f1_interval is None else trust.f1_interval
        values: dict[str, object] = {
            "slide_id": findings.slide_id,
            **{name: f"{mpp:.6g}" for name, mpp in zip(("mpp_x", "mpp_y"), findings.mpp_xy, strict=True)},
            **dict(zip(("width", "height"), findings.size_l0, strict=True)),
            "roi_mm2": _text(findings.roi_mm2, _AREA_DIGITS),
            "tissue_mm2": _text(findings.tissue_mm2, _AREA_DIGITS),
            "glass_mm2": _text(findings.glass_mm2, _AREA_DIGITS),
            "figures": self.figures,
            "figures_per_mm2": _text(self.density_per_mm2, 4),
            **self._hotspot_fields(),
            "nottingham_mitotic_score": "" if self.score.score is None else self.score.score,
            "proposer": findings.proposer,
            "threshold": f"{findings.threshold:.6g}",
            "learnt_from": "" if trust is None else trust.learnt_from,
            "test_f1": _text(None if trust is None else trust.f1, 4),
            "test_f1_low": _text(ends[0], 4),
            "test_f1_high": _text(ends[1], 4),
            "test_f1_on": "" if trust is None else trust.tested_on,
            "detector_warning": "" if trust is None else "; ".join(trust.warnings),
            "strangeness": _text(None if findings.familiarity is None else findings.familiarity.strangeness, 3),
            "warning": "; ".join(self.warnings),
            "note": "; ".join(findings.notes),
        }
        return {name: str(values.get(name, "")) for name in SUMMARY_COLUMNS}

    def _hotspot_fields(self) -> dict[str, object]:
        """Those of the row; where there is no hotspot they say so and no number."""
        hotspot = self.hotspot
        names = ("hotspot_x", "hotspot_y", "hotspot_width", "hotspot_height")
        bounds = hotspot.bounds_l0(self.findings.mpp_xy) if hotspot.count else (None,) * 4
        fields: dict[str, object] = {
            "hotspot_shape": hotspot.shape,
            "hotspot_area_mm2": _text(hotspot.area_mm2, 4),
            "hotspot_tissue_mm2": _text(hotspot.tissue_mm2, 4),
            **{name: _text(value, 1) for name, value in zip(names, bounds, strict=True)},
            "hotspot_note": self.hotspot_note,
        }
        if hotspot.shape == "none":
            return fields
        density = _text(hotspot.density_per_mm2, 4)
        return {**fields, "hotspot_figures": hotspot.count, "hotspot_figures_per_mm2": density}

    def to_json(self) -> dict[str, Any]:
        """The same and more, for the slide's own file: the outline, and the reason of the score."""
        findings = self.findings
        return {
            "slide_id": findings.slide_id,
            "mpp": list(findings.mpp_xy),
            "size_l0": list(findings.size_l0),
            "roi_mm2": _rounded(findings.roi_mm2, _AREA_DIGITS),
            "tissue_mm2": _rounded(findings.tissue_mm2, _AREA_DIGITS),
            "glass_mm2": _rounded(findings.glass_mm2, _AREA_DIGITS),
            "figures": self.figures,
            "figures_per_mm2": _rounded(self.density_per_mm2),
            "hotspot": {**self.hotspot.to_json(findings.mpp_xy), "note": self.hotspot_note},
            "further_hotspots": [spot.to_json(findings.mpp_xy) for spot in self.hotspots[1:]],
            "nottingham_mitotic_score": {"score": self.score.score, "reason": self.score.reason},
            "ground": None if findings.ground is None else findings.ground.to_json(),
            "proposer": findings.proposer,
            "threshold": findings.threshold,
            "trust": None if findings.trust is None else findings.trust.to_json(),
            "familiarity": None if findings.familiarity is None else findings.familiarity.to_json(),
            "warnings": list(self.warnings),
            "notes": list(findings.notes),
            "note": DISCLAIMER,
        }


def summarize(
    findings: SlideFindings, *, area_mm2: float = AREA_MM2, shape: Shape = "square", tissue: str = ""
) -> SlideSummary:
    """Count a slide's figures, and find the regions with most of them.

    A hotspot is chosen among more tissue than its area: where the slide has less, there is none. It is the region with
    most figures, whatever of it is glass; its density is per mm2 of the tissue in it. It has a mitotic score where the
    tissue is one that the score is defined for, cut-offs for its area can be cited, and glass in it does not matter.

    Args:
        findings: of one slide; none at all is a count of 0.
        area_mm2: of the hotspot.
        shape: of the hotspot.
        tissue: what the slide is of, in a word; empty where nobody says.
    """
    figure_mm = findings.figure_mm
    size_mm = slide_mm(findings.size_l0, findings.mpp_xy)
    held_mm2 = size_mm[0] * size_mm[1]
    held_mm2 = held_mm2 if findings.tissue_mm2 is None else min(held_mm2, findings.tissue_mm2)
    note = (
        "" if held_mm2 > area_mm2 else f"{held_mm2:.3g} mm2 of tissue are no more than a hotspot's {area_mm2:.4g} mm2"
    )
    if note:
        hotspots: tuple[Hotspot, ...] = (Hotspot.none(size_mm, area_mm2),)
        score = MitoticScore(score=None, reason=f"there is no hotspot: {note}")
    else:
        hotspots = find_hotspots(figure_mm, size_mm=size_mm, area_mm2=area_mm2, shape=shape)
        if findings.ground is not None:
            hotspots = tuple(map(findings.ground.measured, hotspots))
        first = hotspots[0]
        score = score_of_tissue(tissue, first.count, first.area_mm2, first.held_mm2)
    return SlideSummary(
        findings=replace(findings, detections=Detections.empty(findings.detections.stage_names)),
        figures=len(figure_mm),
        hotspots=hotspots,
        hotspot_note=note and f"no hotspot: {note}; the density is per mm2 of tissue",
        score=score,
    )


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


def summary_rows(folder: Path) -> dict[str, dict[str, str]]:
    """slide_id -> row of a folder's summary.csv; empty where there is none.

    Raises:
        FormatError: as `read_summary`.
    """
    rows = read_summary(folder) if (folder / layout.SUMMARY).exists() else []
    return {row.values["slide_id"]: dict(row.values) for row in rows}


def counted_again(summary: SlideSummary, stated: Mapping[str, str]) -> dict[str, str]:
    """A slide's row of summary.csv after another count of it: what a count does not change is as the job stated it.

    Args:
        summary: of the other count.
        stated: the slide's row of the job's summary.csv; empty where there is none.
    """
    row = summary.row()
    return {name: row[name] if name in COUNTED_COLUMNS else stated.get(name) or row[name] for name in row}


def read_ground(folder: Path, slide_id: str) -> Ground | None:
    """Where a folder's slide has tissue, as its JSON says; None where it does not.

    Raises:
        FormatError: the JSON is broken.
    """
    path = folder / layout.SLIDE_SUMMARIES / layout.file_of(slide_id, ".json")
    if path.parent != folder / layout.SLIDE_SUMMARIES:  # a name is not trusted to be one
        return None
    try:
        return Ground.from_json(read_json(path, {}).get("ground"))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise FormatError(f"is no summary of a slide ({error!r})", where=path) from error


def read_timing(folder: Path) -> dict[str, Row]:
    """slide_id -> row of a folder's timing.csv, with seconds and engine; empty where there is none.

    Raises:
        FormatError: it lacks slide_id or seconds, or has a broken row.
    """
    path = folder / layout.SLIDE_TIMES
    rows = read_table(path, required=("slide_id", "seconds"), optional=("engine",)) if path.exists() else []
    return {row.values["slide_id"]: row for row in rows}


def seconds_of(folder: Path) -> dict[str, float]:
    """slide_id -> seconds of the slides that a folder's timing.csv has a time of.

    Raises:
        FormatError: as `read_timing`.
    """
    times = {name: number_of(row.values["seconds"]) for name, row in read_timing(folder).items()}
    return {name: seconds for name, seconds in times.items() if math.isfinite(seconds)}


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


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
