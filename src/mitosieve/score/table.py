"""Per-slide counts and their sums by domain, case or fold, with intervals. Knows nothing of single cells."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import plural
from mitosieve.score.interval import Interval, Resampled, interval_of, wilson
from mitosieve.score.metrics import Score, f1_of, number, precision_of, recall_of

MEASURES = ("precision", "recall", "f1")


@dataclass(frozen=True, kw_only=True)
class SlideScore:
    """One slide's counts at the operating point.

    Attributes:
        area_mm2: exhaustively marked area; NaN where not known.
        tp, fp, fn: figures found, false alarms, figures missed.
    """

    slide_id: str
    case_id: str
    domain: str
    area_mm2: float
    tp: int
    fp: int
    fn: int

    def to_json(self) -> dict[str, Any]:
        return {
            "slide_id": self.slide_id,
            "case_id": self.case_id,
            "domain": self.domain,
            "area_mm2": number(self.area_mm2),
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "SlideScore":
        """Back from `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        area = math.nan if row["area_mm2"] is None else float(row["area_mm2"])
        names = {name: str(row[name]) for name in ("slide_id", "case_id", "domain")}
        return cls(**names, area_mm2=area, tp=int(row["tp"]), fp=int(row["fp"]), fn=int(row["fn"]))


def counts_of(slides: Sequence[SlideScore]) -> NDArray[np.int64]:
    """(S, 3) columns tp, fp, fn."""
    return np.array([(row.tp, row.fp, row.fn) for row in slides], dtype=np.int64).reshape(len(slides), 3)


def pool(slides: Sequence[SlideScore]) -> Score:
    """Summed counts."""
    tp, fp, fn = counts_of(slides).sum(axis=0).tolist()
    return Score(tp=tp, fp=fp, fn=fn)


def figures_of(sums: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 of counts (..., 3) in the order tp, fp, fn."""
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    return {"precision": precision_of(tp, fp), "recall": recall_of(tp, fn), "f1": f1_of(tp, fp, fn)}


def intervals_of(drawn: Resampled) -> dict[str, Interval]:
    """Intervals of precision, recall and F1 from resampled tp, fp, fn."""
    return {name: interval_of(values) for name, values in figures_of(drawn.sums).items()}


MIN_MARKED_SLIDES = 5
"""From so many slides with figures on, resamples of them differ enough to be read as an interval: our choice."""


def wilson_of(score: Score) -> dict[str, Interval]:
    """Wilson intervals of precision and recall, cells taken as independent."""
    return {
        "precision": wilson(score.tp, score.tp + score.fp),
        "recall": wilson(score.tp, score.tp + score.fn),
    }


def interval_notes(slides: Sequence[SlideScore], drawn: Resampled) -> list[str]:
    """What a reader must know of intervals that resampling cannot give.

    Args:
        slides: that are scored.
        drawn: their resamples.
    """
    notes: list[str] = []
    points = [name for name, one in intervals_of(drawn).items() if one.is_point]
    if points:
        notes.append(
            f"all resamples have the same {', '.join(points)}: resampling can give no interval there, for what "
            "it draws from does not differ; the Wilson intervals of precision and recall stand beside"
        )
    marked, score = sum(row.tp + row.fn > 0 for row in slides), pool(slides)
    if 0 < marked < MIN_MARKED_SLIDES:
        notes.append(f"only {plural(marked, 'slide')} with marked figures: resampled intervals are not to be relied on")
    figures = score.tp + score.fn
    if figures and not (score.tp and score.fn):
        what = "all" if score.tp else "none"
        notes.append(
            f"{what} of {plural(figures, 'figure')} {'were' if score.tp else 'was'} found: no resample can show "
            "otherwise, and the interval of recall is Wilson's"
        )
    return notes


def false_alarms_per_mm2(slides: Sequence[SlideScore]) -> float:
    """Pooled over the slides of known area; NaN where there is none."""
    known = [row for row in slides if math.isfinite(row.area_mm2) and row.area_mm2 > 0]
    area = sum(row.area_mm2 for row in known)
    return sum(row.fp for row in known) / area if area else math.nan


def summary(slides: Sequence[SlideScore]) -> dict[str, Any]:
    """One row of a table: how much was scored, the counts, the figures.

    `area_mm2` sums the slides whose area is known, and is None where none is.
    """
    areas = [row.area_mm2 for row in slides if math.isfinite(row.area_mm2)]
    score = pool(slides)
    return {
        "cases": len({row.case_id for row in slides}),
        "slides": len(slides),
        "figures": score.tp + score.fn,
        "area_mm2": sum(areas) if areas else None,
        **score.to_json(),
        "false_alarms_per_mm2": number(false_alarms_per_mm2(slides)),
    }


def summary_by(
    slides: Sequence[SlideScore],
    key: str,
    draw: Callable[[Sequence[SlideScore]], Resampled] | None = None,
) -> list[dict[str, Any]]:
    """A summary row per value of `key` (a field of SlideScore), by rising value.

    Args:
        slides: all scored slides.
        key: "domain" or "case_id".
        draw: resamples the slides it is given; with it each row has `f1_interval`, `interval_unit` and
            `interval_note`, what a reader must know of it, empty where nothing.
    """
    rows: list[dict[str, Any]] = []
    for value in sorted({str(getattr(row, key)) for row in slides}):
        members = [row for row in slides if getattr(row, key) == value]
        line = {key: value, **summary(members)}
        if draw is not None:
            drawn = draw(members)
            interval = intervals_of(drawn)["f1"].to_json()
            line |= {"f1_interval": interval, "interval_unit": drawn.unit, "interval_note": drawn.note}
        rows.append(line)
    return rows
