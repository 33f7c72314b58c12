"""A detector brought to a laboratory by some decisions: another threshold, another meaning of its scores.

Networks stay as they are. The share of figures at a score is fitted to the reviewed detections (Platt's map, which
never falls), and the threshold is the one of the largest F1 to be expected of all detections of the result under that
map. Which detections were judged may hang on their score, for the fit is of the label given the score; not on the look
of the cell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.calibration import Logistic
from mitosieve.errors import InputError, plural
from mitosieve.review.expected import ExpectedCounts
from mitosieve.review.judged import Judged
from mitosieve.score.calibration import fit_logistic_many
from mitosieve.score.interval import COVERAGE, ENOUGH_CASES, Interval
from mitosieve.score.operating import BETAS

LEAST = 20
"""Decisions below which nothing is refitted: ours. The interval of so few is as wide as the scores."""

RESAMPLES = 1000
"""Draws with replacement, for 95 % intervals of one number."""

MORE = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)
"""How many times as many decisions are tried, to tell how many would halve the interval."""

SEED = 1

Rows = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is expected at a threshold on slides like these, with 95 % intervals.

    Attributes:
        threshold: the threshold.
        f1, precision, recall: expected; each with its interval.
    """

    threshold: float
    f1: float
    f1_interval: Interval
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval

    def to_json(self) -> dict[str, Any]:
        return {
            name: value.to_json() if isinstance(value, Interval) else round(value, 6)
            for name, value in self.__dict__.items()
        }


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What decisions say of a detector's thresholds.

    Attributes:
        judged: how many decisions were used; figures: how many of them are figures.
        points: threshold of each named operating point; "balanced" is the new threshold. Of the others those alone that
            lie among what was judged: at its edge, the largest F-measure may lie anywhere beyond.
        interval: of the new threshold.
        calibration: the share of figures at a score.
        before, after: expected at the old threshold and at the new one.
        gain: interval of the difference of their F1, paired.
        more: how many more decisions would halve the interval of the threshold; None where not 19 times as many would.
        unit: what was drawn for the intervals: "slides" or "decisions"; resamples: how often.
        notes: what a reader of these numbers must know.
    """

    judged: int
    figures: int
    points: dict[str, float]
    interval: Interval
    calibration: Logistic
    before: Estimate
    after: Estimate
    gain: Interval
    more: int | None
    unit: str
    resamples: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "decisions": self.judged,
            "figures": self.figures,
            "threshold_interval": self.interval.to_json(),
            "operating_points": self.points,
            "calibration": self.calibration.model_dump(mode="json"),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "f1_difference_interval": self.gain.to_json(),
            "more_decisions_that_halve_the_interval": self.more,
            "resampled": {"unit": self.unit, "resamples": self.resamples, "coverage": COVERAGE, "seed": SEED},
            "notes": list(self.notes),
        }


def adapt(
    judged: Judged, every: Rows, threshold: float, generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> Adaptation:
    """Refit threshold and calibration.

    The threshold lies among the judged scores: beyond them the fit is a guess.

    Intervals are percentiles over resamples of slides, or of decisions where fewer than ENOUGH_CASES slides were looked
    at; what differs between slides is then not in them.

    Args:
        judged: reviewed detections.
        every: (D,) scores of all detections of the result, judged or not.
        threshold: the detector's own.
        generator: of the resamples.
        resamples: how many.

    Raises:
        InputError: fewer than LEAST decisions, all of one kind, scores that say nothing of them, or decisions that all
            lie on one side of the detector's threshold and ask for one still nearer to it.
    """
    _check_enough(judged)
    within = (float(judged.score.min()), float(judged.score.max()))
    counts = ExpectedCounts(every, judged.missed, within)
    slope, offset = fit_logistic_many(judged.score, judged.is_figure, np.ones((1, len(judged))))
    if slope[0] == 0:
        raise InputError(
            "the scores say nothing of these decisions: figures do not score higher than imposters",
            remedy="judge more, also far from the threshold; if it stays so, train on them: see docs/review.md",
        )
    every_point = {name: _rounded(counts.best(slope, offset, beta)[0]) for name, beta in BETAS.items()}
    chosen = every_point["balanced"]
    left_out = {name: _beyond(counts, value) for name, value in every_point.items() if name != "balanced"}
    _check_answered(counts, within, chosen, threshold)
    unit = "slides" if len(np.unique(judged.slide)) >= ENOUGH_CASES else "decisions"
    maps = fit_logistic_many(judged.score, judged.is_figure, _weights(judged, unit, generator, resamples))
    drawn = counts.best(*maps)
    before, after = (_estimate(counts, (slope, offset), maps, value) for value in (threshold, chosen))
    both = counts.at(*maps, [threshold, chosen]).f_beta()
    interval = _interval(drawn)
    return Adaptation(
        judged=len(judged),
        figures=int(judged.is_figure.sum()),
        points={name: value for name, value in every_point.items() if not left_out.get(name)},
        interval=interval,
        calibration=Logistic(slope=round(float(slope[0]), 6), offset=round(float(offset[0]), 6)),
        before=before,
        after=after,
        gain=_interval(both[:, 1] - both[:, 0]),
        more=_more(judged, counts, interval, partial(_weights, judged, unit, generator, resamples)),
        unit=unit,
        resamples=resamples,
        notes=_notes(judged, counts, unit, chosen, left_out),
    )


def _check_enough(judged: Judged) -> None:
    if len(judged) < LEAST:
        more = f"judge {LEAST - len(judged)} more, those nearest to the threshold first"
        raise InputError(
            f"{len(judged)} reviewed detections are too few to fit a threshold to: it takes {LEAST}, better 50",
            remedy=f"{more}; {judged.undone}" if judged.undone else more,
        )
    if judged.is_figure.all() or not judged.is_figure.any():
        kind = "figures" if judged.is_figure.all() else "imposters"
        raise InputError(
            f"all {len(judged)} reviewed detections are {kind}: no threshold lies between them",
            remedy="judge detections of lower scores too" if kind == "figures" else "judge detections of higher scores",
        )


def _check_answered(counts: ExpectedCounts, within: tuple[float, float], chosen: float, threshold: float) -> None:
    """Refuse a threshold at the edge of what was judged where the detector's own lies beyond that edge: it would be
    moved across scores of which nobody said anything (the 25 highest scores of a slide are nearly all figures, and
    their lowest one is no threshold).
    """
    below, above = threshold < within[0], threshold > within[1]
    lowest, highest = _edges(counts)
    if (below and chosen <= lowest) or (above and chosen >= highest):
        edge = within[0] if below else within[1]
        raise InputError(
            f"all decisions have scores {'above' if below else 'below'} the threshold {threshold:.3f}, the nearest "
            f"{edge:.3f}: nothing is known of what lies between",
            remedy=f"judge detections with scores near {threshold:.3f} too",
        )


def _edges(counts: ExpectedCounts) -> tuple[float, float]:
    """The lowest and the highest threshold that may be chosen, with as many digits as a chosen one has."""
    return _rounded(counts.between[-1]), _rounded(counts.between[0])


def _beyond(counts: ExpectedCounts, threshold: float) -> str:
    """Which scores a better threshold may lie among that nobody judged, "lower" or "higher"; empty where none is.

    It is at the edge of what was judged, and the result has scores beyond that edge.
    """
    (lowest, highest), (is_cut_below, is_cut_above) = _edges(counts), counts.is_cut
    if threshold == highest and is_cut_above:
        return "higher"
    return "lower" if threshold == lowest and is_cut_below else ""


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _weights(judged: Judged, unit: str, generator: np.random.Generator, resamples: int, times: float = 1.0) -> Rows:
    """(B, N) how often each decision is drawn, in resamples `times` as large as the sample."""
    number = judged.slide if unit == "slides" else np.arange(len(judged))
    size = int(number.max()) + 1
    drawn = generator.multinomial(round(times * size), np.full(size, 1 / size), size=resamples)
    weight = drawn[:, number].astype(np.float64)
    return weight[weight.sum(axis=1) > 0]


def _interval(values: Rows) -> Interval:
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(low=round(float(low), 6), high=round(float(high), 6))


def _estimate(counts: ExpectedCounts, fitted: tuple[Rows, Rows], maps: tuple[Rows, Rows], threshold: float) -> Estimate:
    here, drawn = counts.at(*fitted, [threshold]), counts.at(*maps, [threshold])
    return Estimate(
        threshold=threshold,
        f1=float(here.f_beta()[0, 0]),
        f1_interval=_interval(drawn.f_beta()[:, 0]),
        precision=float(here.precision[0, 0]),
        precision_interval=_interval(drawn.precision[:, 0]),
        recall=float(here.recall[0, 0]),
        recall_interval=_interval(drawn.recall[:, 0]),
    )


def _more(judged: Judged, counts: ExpectedCounts, interval: Interval, weights: Callable[[float], Rows]) -> int | None:
    """How many more decisions like these would halve the interval: by resamples that are larger than the sample."""
    width = interval.high - interval.low
    if width == 0:
        return 0
    for times in MORE:
        maps = fit_logistic_many(judged.score, judged.is_figure, weights(times))
        wider = _interval(counts.best(*maps))
        if wider.high - wider.low <= width / 2:
            return round((times - 1) * len(judged))
    return None


def _notes(
    judged: Judged, counts: ExpectedCounts, unit: str, threshold: float, left_out: dict[str, str]
) -> tuple[str, ...]:
    notes = [judged.undone] if judged.undone else []
    if judged.left_out:
        notes.append(
            f"left out: {plural(judged.left_out, 'detection')} of which readers are unsure or disagree: settle "
            "them in the viewer, and adapt again"
        )
    if unit == "decisions":
        slides = plural(len(np.unique(judged.slide)), "slide")
        notes.append(
            f"decisions were drawn, not slides, for they are of {slides} alone: what differs between slides is not in "
            "the intervals, which are too narrow"
        )
    if threshold <= counts.score[-1]:
        notes.append("the threshold is the lowest score of the result: a lower one may be better, and cannot be seen")
    elif _beyond(counts, threshold):
        side = _beyond(counts, threshold)
        notes.append(f"the threshold is at the edge of what was judged: judge {side} scores too")
    notes += [
        f"no operating point '{name}', for it lies at the edge of what was judged: judge {side} scores too"
        for name, side in left_out.items()
        if side
    ]
    if not judged.missed:
        notes.append(
            "no missed figure was added: recall is of the figures among the detections, and too high by those that the "
            "detector did not propose"
        )
    return tuple(notes)
