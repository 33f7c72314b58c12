"""A detector brought to a laboratory by some decisions: another threshold, another meaning of its scores.

Networks stay as they are. The share of figures at a score is fitted to the reviewed detections (Platt's map, which
never falls), and the threshold is the one of the largest F1 to be expected of all detections of the result under that
map. Which detections were judged may hang on their score, for the fit is of the label given the score; not on the look
of the cell.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.calibration import Logistic
from mitosieve.errors import InputError
from mitosieve.models.box import detector_folder
from mitosieve.review.cell import Cell, cells_of
from mitosieve.review.expected import ExpectedCounts
from mitosieve.review.result import FoundResult
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, write_json
from mitosieve.run.seed import derive_generator
from mitosieve.score.calibration import fit_logistic_many
from mitosieve.score.interval import COVERAGE, MIN_CASES, Interval
from mitosieve.score.operating import BETAS
from mitosieve.sieve.detector import BALANCED, Detector

LEAST = 20
"""Decisions below which nothing is refitted: ours. The interval of so few is as wide as the scores."""

RESAMPLES = 1000
"""Draws with replacement, for 95 % intervals of one number."""

MORE = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)
"""How many times as many decisions are tried, to tell how many would halve the interval."""

SEED = 1

Rows = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Reviewed detections.

    Attributes:
        score: (N,) of the detector.
        is_figure: (N,) what readers agreed on.
        slide: (N,) number of the slide.
        missed: figures that readers added.
        left_out: detections of which readers are unsure, or in a tie.
        readers: whose decisions they are.
    """

    score: Rows
    is_figure: NDArray[np.bool_]
    slide: NDArray[np.intp]
    missed: int
    left_out: int
    readers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.score)


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
        points: threshold of each named operating point; "balanced" is the new threshold.
        interval: of the new threshold.
        calibration: the share of figures at a score.
        before, after: expected at the old threshold and at the new one.
        gain: interval of the difference of their F1, paired.
        more: how many more decisions would halve the interval of the threshold; None where not 19 times as many would.
        unit: what was drawn for the intervals: "slides" or "decisions".
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
            "resampled": {"unit": self.unit, "resamples": RESAMPLES, "coverage": COVERAGE, "seed": SEED},
            "notes": list(self.notes),
        }


def judged_of(result: FoundResult, readers: tuple[str, ...] = ()) -> Judged:
    """The reviewed detections of a result.

    Raises:
        InputError: a reader that was named decided nothing.
    """
    there = {decision.reader for decision in result.decisions}
    strangers = [name for name in readers if name not in there]
    if strangers:
        raise InputError(f"nothing was decided by '{strangers[0]}'", where=result.folder)
    mpp_of = {name: slide.mpp_xy for name, slide in result.slides.items()}
    known = [decision for decision in result.decisions if decision.slide_id in mpp_of]
    cells = cells_of(known, mpp_of, readers=readers or None)
    found = [(cell, result.row_of[cell.key]) for cell in cells if cell.key in result.row_of]
    sure = [(cell, row) for cell, row in found if cell.label is not None]
    rows = np.array([row for _, row in sure], dtype=np.intp)
    _, slide = np.unique(result.detections.slide_id[rows], return_inverse=True)
    return Judged(
        score=result.detections.score[rows],
        is_figure=np.array([cell.label is Label.MITOTIC_FIGURE for cell, _ in sure], dtype=np.bool_),
        slide=slide.astype(np.intp),
        missed=sum(_is_missed(cell) for cell in cells),
        left_out=len(found) - len(sure),
        readers=readers or tuple(dict.fromkeys(decision.reader for decision in result.decisions)),
    )


def _is_missed(cell: Cell) -> bool:
    return cell.is_added and cell.label is Label.MITOTIC_FIGURE


def adapt(judged: Judged, every: Rows, threshold: float, generator: np.random.Generator) -> Adaptation:
    """Refit threshold and calibration.

    Intervals are percentiles over resamples of slides, or of decisions where fewer than MIN_CASES slides were looked
    at; what differs between slides is then not in them.

    Args:
        judged: reviewed detections.
        every: (D,) scores of all detections of the result, judged or not.
        threshold: the detector's own.
        generator: of the resamples.

    Raises:
        InputError: fewer than LEAST decisions, all of one kind, or scores that say nothing of them.
    """
    _check_enough(judged)
    counts = ExpectedCounts(every, judged.missed)
    slope, offset = fit_logistic_many(judged.score, judged.is_figure, np.ones((1, len(judged))))
    if slope[0] == 0:
        raise InputError(
            "the scores say nothing of these decisions: figures do not score higher than imposters",
            remedy="judge more, also far from the threshold; if it stays so, train on them: see docs/review.md",
        )
    points = {name: round(float(counts.best(slope, offset, beta)[0]), 6) for name, beta in BETAS.items()}
    unit = "slides" if len(np.unique(judged.slide)) >= MIN_CASES else "decisions"
    maps = fit_logistic_many(judged.score, judged.is_figure, _weights(judged, unit, generator, 1.0))
    drawn = counts.best(*maps)
    before, after = (_estimate(counts, (slope, offset), maps, value) for value in (threshold, points[BALANCED]))
    both = counts.at(*maps, [threshold, points[BALANCED]]).f_beta()
    interval = _interval(drawn)
    return Adaptation(
        judged=len(judged),
        figures=int(judged.is_figure.sum()),
        points=points,
        interval=interval,
        calibration=Logistic(slope=round(float(slope[0]), 6), offset=round(float(offset[0]), 6)),
        before=before,
        after=after,
        gain=_interval(both[:, 1] - both[:, 0]),
        more=_more(judged, counts, unit, interval, generator),
        unit=unit,
        notes=_notes(judged, counts, unit, points[BALANCED]),
    )


def _check_enough(judged: Judged) -> None:
    if len(judged) < LEAST:
        raise InputError(
            f"{len(judged)} reviewed detections are too few to fit a threshold to: it takes {LEAST}, better 50",
            remedy=f"judge {LEAST - len(judged)} more, those nearest to the threshold first",
        )
    if judged.is_figure.all() or not judged.is_figure.any():
        kind = "figures" if judged.is_figure.all() else "imposters"
        raise InputError(
            f"all {len(judged)} reviewed detections are {kind}: no threshold lies between them",
            remedy="judge detections of lower scores too" if kind == "figures" else "judge detections of higher scores",
        )


def _weights(judged: Judged, unit: str, generator: np.random.Generator, times: float) -> Rows:
    """(B, N) how often each decision is drawn, in resamples `times` as large as the sample."""
    number = judged.slide if unit == "slides" else np.arange(len(judged))
    size = int(number.max()) + 1
    drawn = generator.multinomial(round(times * size), np.full(size, 1 / size), size=RESAMPLES)
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


def _more(
    judged: Judged, counts: ExpectedCounts, unit: str, interval: Interval, generator: np.random.Generator
) -> int | None:
    """How many more decisions like these would halve the interval: by resamples that are larger than the sample."""
    width = interval.high - interval.low
    if width == 0:
        return 0
    for times in MORE:
        maps = fit_logistic_many(judged.score, judged.is_figure, _weights(judged, unit, generator, times))
        wider = _interval(counts.best(*maps))
        if wider.high - wider.low <= width / 2:
            return round((times - 1) * len(judged))
    return None


def _notes(judged: Judged, counts: ExpectedCounts, unit: str, threshold: float) -> tuple[str, ...]:
    notes: list[str] = []
    if unit == "decisions":
        slides = len(np.unique(judged.slide))
        notes.append(
            f"decisions were drawn, not slides, for there are {slides} of them: what differs between slides is not in "
            "the intervals, which are too narrow"
        )
    if threshold <= counts.score[-1]:
        notes.append("the threshold is the lowest score of the result: a lower one may be better, and cannot be seen")
    if not judged.missed:
        notes.append(
            "no missed figure was added: recall is of the figures among the detections, and too high by those that the "
            "detector did not propose"
        )
    return tuple(notes)


def adapt_detector(named: str | Path, result: FoundResult, out: Path, *, readers: tuple[str, ...] = ()) -> Adaptation:
    """Save the detector with what the decisions about its result say, as a new detector folder.

    Args:
        named: detector, as `Detector.load` takes it; it stays as it is.
        result: made by it.
        out: new or empty.
        readers: whose decisions count; none is all.

    Raises:
        InputError: the result is of another detector, `out` holds something, or as `adapt`.
        DetectorError: there is no whole detector.
        StorageError: `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("holds something already", where=out, remedy="name a new or empty folder for --out")
    result.require_decisions()
    detector = Detector.load(named)
    digest = hash_file(detector_folder(named) / layout.DETECTOR_CONFIG)
    if digest != result.detector_hash:
        raise InputError(
            f"was made by another detector ({result.detector})",
            where=result.folder,
            remedy="name the detector that found it, or detect again with this one",
        )
    judged = judged_of(result, readers)
    generator = derive_generator(SEED, "adapt")
    adaptation = adapt(judged, result.detections.score, detector.config.threshold, generator)
    moved = detector.with_points(adaptation.points, adaptation.calibration)
    made_by = f"{detector.config.made_by}; threshold of {len(judged)} decisions".strip("; ")
    named_anew = replace(moved, config=moved.config.model_copy(update={"made_by": made_by}))
    named_anew.save(out)
    facts = {"readers": list(judged.readers), "left_out": judged.left_out, "added_figures": judged.missed}
    write_json(out / layout.ADAPTED, {**adaptation.to_json(), **facts, "detector_hash": digest})
    return adaptation
