"""One method's detections as figures need them that are no sum over slides: in the order of their scores, each with its
slide and whether it found another figure. Any figure of any resample of the slides follows from this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.score.counted import count_in
from mitosieve.score.evaluation import EvaluateConfig, slide_scores
from mitosieve.score.froc import MOST_FP_PER_IMAGE, area_under, recall_on_grid, thresholds_of
from mitosieve.score.match import match_greedy, near_pairs
from mitosieve.score.sweep import Sweep, enter, last_of_ties
from mitosieve.score.table import SlideScore, counts_of, figures_of

Times = NDArray[np.int32]
"""(B, S) how often each slide counts in each of B resamples."""

Figure = Callable[["Scored", Times], NDArray[np.float64]]

_CHUNK, _VALUES = 200, 2_000_000
"""Most resamples that are worked on at once, and most of their detections together: at some 60 bytes each that is 120
MB, however many detections there are (one resample of more of them aside)."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Detections of some slides, matched under the official rule.

    Attributes:
        slides: S slides with their counts at the operating threshold, in any order.
        score: (D,) float64, falling; detections below the operating threshold are in here too.
        slide: (D,) intp, row in `slides`.
        gain: (D,) int64, 1 where the detection's entry found another figure of its slide (`sweep.enter`), else 0.
    """

    slides: tuple[SlideScore, ...]
    score: NDArray[np.float64]
    slide: NDArray[np.intp]
    gain: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        detections: Detections,
        cohort: Cohort,
        cases: tuple[str, ...],
        config: EvaluateConfig | None = None,
        *,
        where: Path | None = None,
    ) -> "Scored":
        """Match detections, of the table `where`, with the marks of the labelled slides of `cases`.

        Raises:
            FrameError: as `evaluation.evaluate`.
        """
        config = EvaluateConfig() if config is None else config
        counted = count_in(detections, cohort, cases, where=where)
        pairs = near_pairs(counted.figures, counted.detections, mpp=counted.mpp, radius_um=config.radius_um)
        order, found = enter(pairs, counted.score)
        return cls(
            slides=slide_scores(counted, match_greedy(pairs, counted.is_figure) >= 0),
            score=counted.score[order],
            slide=counted.detections.slide[order],
            gain=np.diff(found, prepend=0),
        )

    @classmethod
    def join(cls, parts: Sequence["Scored"]) -> "Scored":
        """Different slides of one method, pooled: their scores are put in one order, whichever network gave them."""
        first = np.cumsum([0, *(len(part.slides) for part in parts)])
        score = np.concatenate([part.score for part in parts])
        order = np.argsort(-score, kind="stable")
        return cls(
            slides=tuple(row for part in parts for row in part.slides),
            score=score[order],
            slide=np.concatenate([part.slide + start for part, start in zip(parts, first[:-1], strict=True)])[order],
            gain=np.concatenate([part.gain for part in parts])[order],
        )

    def part(self, keep: NDArray[np.bool_]) -> "Scored":
        """Of the slides (S,) that are kept alone."""
        kept = keep[self.slide]
        return Scored(
            slides=tuple(row for row, is_kept in zip(self.slides, keep, strict=True) if is_kept),
            score=self.score[kept],
            slide=(np.cumsum(keep) - 1)[self.slide[kept]],
            gain=self.gain[kept],
        )

    def ordered(self) -> "Scored":
        """The same with the slides by rising slide_id, as all of a comparison must have them."""
        order = np.argsort([row.slide_id for row in self.slides])
        return Scored(
            slides=tuple(self.slides[row] for row in order),
            score=self.score,
            slide=np.argsort(order)[self.slide],
            gain=self.gain,
        )

    @property
    def num_figures(self) -> NDArray[np.int64]:
        """(S,) marked figures of each slide."""
        counts = counts_of(self.slides)
        return counts[:, 0] + counts[:, 2]

    @property
    def once(self) -> Times:
        """(1, S): each slide once, which gives a figure's value."""
        return np.ones((1, len(self.slides)), np.int32)

    def sweep(self) -> Sweep:
        """Counts at every threshold."""
        last = last_of_ties(self.score)
        tp = np.cumsum(self.gain)[last]
        return Sweep(threshold=self.score[last], tp=tp, fp=last + 1 - tp, num_figures=int(self.num_figures.sum()))


def precision(scored: Scored, times: Times) -> NDArray[np.float64]:
    """(B,) at the operating thresholds."""
    return figures_of(times @ counts_of(scored.slides))["precision"]


def recall(scored: Scored, times: Times) -> NDArray[np.float64]:
    """(B,) at the operating thresholds."""
    return figures_of(times @ counts_of(scored.slides))["recall"]


def f1(scored: Scored, times: Times) -> NDArray[np.float64]:
    """(B,) at the operating thresholds."""
    return figures_of(times @ counts_of(scored.slides))["f1"]


def average_precision(scored: Scored, times: Times) -> NDArray[np.float64]:
    """(B,) as `sweep.average_precision`; NaN where a resample has no figure."""
    last = last_of_ties(scored.score)
    values = np.full(len(times), np.nan)
    step = max(1, min(_CHUNK, _VALUES // max(1, len(scored.score))))
    for begin in range(0, len(times), step):
        rows = times[begin : begin + step]
        tp, fp = _counts(scored, rows, last)
        total = rows @ scored.num_figures
        shown = tp + fp
        precise = np.divide(tp, shown, out=np.zeros(tp.shape), where=shown > 0)
        precise = np.maximum.accumulate(precise[:, ::-1], axis=1)[:, ::-1]
        steps = np.diff(tp, prepend=0, axis=1)
        known = total > 0
        values[begin : begin + step][known] = (steps * precise).sum(axis=1)[known] / total[known]
    return values


def froc_area(scored: Scored, times: Times) -> NDArray[np.float64]:
    """(B,) as `froc.froc`: thresholds of the slides as they are, images as many as were drawn; NaN without figures."""
    values = np.full(len(times), np.nan)
    at = np.zeros(0, np.intp)
    if len(scored.score):
        place = np.searchsorted(-scored.score, -thresholds_of(scored.score), side="right") - 1
        at = place[place >= 0]
    tp_of, shown_of = _of_slides(scored, at)
    tp = times @ tp_of
    fp = times @ shown_of - tp
    for row, (total, images) in enumerate(zip(times @ scored.num_figures, times.sum(axis=1), strict=True)):
        if total:
            on_grid = recall_on_grid(tp[row], fp[row], num_figures=int(total), num_images=int(images))
            values[row] = area_under(on_grid)
    return values


def count_difference(scored: Scored, times: Times) -> NDArray[np.float64]:
    """(B,) mean over slides of known area of predicted minus marked figures per mm2 (`agreement.agree`); else NaN."""
    counts = counts_of(scored.slides)
    area = np.array([row.area_mm2 for row in scored.slides], np.float64)
    known = np.isfinite(area) & (area > 0)
    difference = (counts[known, 1] - counts[known, 2]) / area[known]
    number = times[:, known].sum(axis=1)
    total = times[:, known] @ difference
    return np.divide(total, number, out=np.full(len(times), np.nan), where=number > 0)


FIGURES: dict[str, Figure] = {
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "ap": average_precision,
    "froc": froc_area,
    "count_difference_per_mm2": count_difference,
}
"""What is told of a method, in this order."""

BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("f1", "precision", "recall", "ap"), (0.0, 1.0)),
    "froc": (0.0, MOST_FP_PER_IMAGE),
}
"""Figure -> the least and the largest that it can be, where there is such."""


def _of_slides(scored: Scored, at: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S, len(at)) each slide's figures found and detections when all up to and with each row of `at` are kept."""
    order = np.argsort(at, kind="stable")
    first = np.searchsorted(at[order], np.arange(len(scored.score)))
    shape = len(scored.slides), len(at) + 1
    cell = scored.slide * shape[1] + first

    def summed(weight: NDArray[np.int64] | None) -> NDArray[np.float64]:
        held = np.bincount(cell, weights=weight, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
        answer = np.empty((shape[0], len(at)))
        answer[:, order] = np.cumsum(held, axis=1)[:, :-1]  # exact: whole numbers below 2^53
        return answer

    return summed(scored.gain), summed(None)


def _counts(scored: Scored, times: Times, at: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, len(at)) figures found and false alarms when all detections up to and with each row of `at` are kept."""
    weight = times[:, scored.slide].astype(np.float64)  # exact: whole numbers below 2^53
    tp = np.cumsum(weight * scored.gain, axis=1)
    shown = np.cumsum(weight, axis=1)
    return tp[:, at], shown[:, at] - tp[:, at]
