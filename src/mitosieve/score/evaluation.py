"""Detections + a cohort's marks -> scores, curves, intervals and the fate of each cell.

Puts the rules of `score` together. Knows nothing of networks, images or how the detections came about.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import SplitError, plural
from mitosieve.score.agreement import Agreement, agree
from mitosieve.score.boxes import box_average_precision
from mitosieve.score.counted import Counted, Detections, count_in
from mitosieve.score.froc import Froc, froc
from mitosieve.score.interval import MIN_CASES, RESAMPLES, Interval, Resampled, resample
from mitosieve.score.judged import METRICS_FORMAT
from mitosieve.score.match import RADIUS_UM, count_lenient, match_greedy, match_optimal, near_pairs
from mitosieve.score.metrics import Score, number
from mitosieve.score.outcome import Outcome, Outcomes, outcomes
from mitosieve.score.sweep import Sweep, Threshold, average_precision, best_threshold, sweep, thin
from mitosieve.score.table import (
    SlideScore,
    counts_of,
    interval_notes,
    intervals_of,
    pool,
    summary,
    summary_by,
    wilson_of,
)
from mitosieve.upstairs import notebook

RULE = "official greedy one-to-one matching, pooled over slides"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How to score.

    Attributes:
        radius_um: largest distance of a pair, itself included; 7.5 um is the MIDOG rule.
        resamples: bootstrap draws behind each interval.
        min_cases: below this many cases the bootstrap draws slides within cases.
        seed: of the bootstrap.
    """

    radius_um: float = RADIUS_UM
    resamples: int = RESAMPLES
    min_cases: int = MIN_CASES
    seed: int = 0

    def generator(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose; the same for the same seed and purpose."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def draw(self, slides: Sequence[SlideScore], purpose: str = "bootstrap") -> Resampled:
        """Resampled tp, fp, fn of `slides`, whose order must not depend on the input's."""
        cases = [row.case_id for row in slides]
        return resample(
            counts_of(slides), cases, self.generator(purpose), resamples=self.resamples, min_cases=self.min_cases
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """All figures of one set of detections. Counts are at the operating point (`Detections.is_figure`).

    Attributes:
        config: how it was scored.
        slides: counts per slide, by rising slide_id.
        bootstrap: resampled tp, fp, fn.
        optimal: the same detections under the best one-to-one matching; an extra column.
        lenient: under the rule of UTS and DASC; only for comparison with those papers.
        curve: counts at every threshold.
        box_ap: average precision as MIDOG 2025 states it (boxes, IoU 0.5).
        froc: recall against false alarms per slide.
        folds: cases of each fold, where a mean over folds was asked for.
        outcomes: the fate of each cell.
        unseen: scored slides that the detector has not seen: it failed on them or was not given them.
        notes: what a reader must know.
    """

    config: EvaluateConfig
    slides: tuple[SlideScore, ...]
    bootstrap: Resampled
    optimal: Score
    lenient: Score
    curve: Sweep
    box_ap: float
    froc: Froc
    outcomes: Outcomes
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        score, (low, high) = self.pooled, (self.interval.low, self.interval.high)
        return (
            f"Evaluation(F1 {self.f1:.3f} [{low:.3f}, {high:.3f}], {score.tp} found, {score.fp} false, "
            f"{score.fn} missed on {len(self.slides)} slides)"
        )

    def _repr_html_(self) -> str:
        return notebook("tables").html_of_evaluation(self)

    def plot(self) -> Any:  # noqa: ANN401 - a matplotlib Figure
        """Precision against recall, with the operating point (`notebook.pictures.plot_evaluation`)."""
        return notebook("pictures").plot_evaluation(self)

    @property
    def pooled(self) -> Score:
        return pool(self.slides)

    @property
    def precision(self) -> float:
        return self.pooled.precision

    @property
    def recall(self) -> float:
        return self.pooled.recall

    @property
    def f1(self) -> float:
        return self.pooled.f1

    @property
    def intervals(self) -> dict[str, Interval]:
        """95 % bootstrap intervals of precision, recall and f1."""
        return intervals_of(self.bootstrap)

    @property
    def interval(self) -> Interval:
        """That of F1."""
        return self.intervals["f1"]

    @property
    def ap(self) -> float:
        """Area under the precision-recall curve of the official matching."""
        return average_precision(self.curve)

    def agreement(self, *, by_case: bool = False) -> Agreement:
        """Mitotic count per mm2, predicted against true, per slide or per case."""
        groups = [[row] for row in self.slides]
        if by_case:
            cases = sorted({row.case_id for row in self.slides})
            groups = [[row for row in self.slides if row.case_id == case] for case in cases]
        return agree(
            np.array([sum(row.tp + row.fp for row in group) for group in groups], dtype=np.int64),
            np.array([sum(row.tp + row.fn for row in group) for group in groups], dtype=np.int64),
            np.array([sum(row.area_mm2 for row in group) for group in groups], dtype=np.float64),
        )

    def to_json(self) -> dict[str, Any]:
        """The content of metrics.json, without NaN: what is not defined is null.

        Keys:
            format, radius_um, rule.
            pooled: cases, slides, figures, area_mm2, tp, fp, fn, precision, recall, f1, false_alarms_per_mm2, and
                precision_interval, recall_interval, f1_interval, precision_wilson, recall_wilson as [low, high].
            optimal, lenient: tp, fp, fn, precision, recall, f1 under those rules.
            ap; ap_boxes (MIDOG 2025); froc: fp_per_image[], recall[], area, max_area.
            pr_curve: threshold[], precision[], recall[], f1[], by falling threshold, at most 500 rows.
            best_f1_oracle: threshold, f1, note; chosen on the scored slides, so not a result.
            per_domain[], per_case[]: `score.table.summary` rows, the first with f1_interval, interval_unit and
                interval_note.
            per_fold[] and mean_over_folds (where asked for): the same rows with fold; mean precision, recall, f1.
            per_slide[]: slide_id, case_id, domain, area_mm2, tp, fp, fn.
            count_agreement: per_slide, per_case: n, mean_difference_per_mm2, lower_limit_per_mm2, upper_limit_per_mm2.
            false_alarms_on_imposters: count, share of all false alarms, within the radius of an expert's imposter.
            bootstrap: unit, resamples, coverage, note.
            unseen[]: slide_id of scored slides that the detector has not seen.
            notes[].
        """
        intervals = {f"{name}_interval": interval.to_json() for name, interval in self.intervals.items()}
        wilsons = {f"{name}_wilson": interval.to_json() for name, interval in wilson_of(self.pooled).items()}
        return {
            "format": METRICS_FORMAT,
            "radius_um": self.config.radius_um,
            "rule": RULE,
            "pooled": {**summary(self.slides), **intervals, **wilsons},
            "optimal": self.optimal.to_json(),
            "lenient": self.lenient.to_json(),
            "ap": number(self.ap),
            "ap_boxes": number(self.box_ap),
            "froc": self.froc.to_json(),
            **self._curves(),
            "per_domain": summary_by(self.slides, "domain", self.config.draw),
            "per_case": summary_by(self.slides, "case_id"),
            **self._folds(),
            "per_slide": [row.to_json() for row in self.slides],
            "count_agreement": {
                "per_slide": self.agreement().to_json(),
                "per_case": self.agreement(by_case=True).to_json(),
            },
            "false_alarms_on_imposters": self._on_imposters(),
            "bootstrap": self.bootstrap.to_json(),
            "unseen": list(self.unseen),
            "notes": list(self.notes),
        }

    def _curves(self) -> dict[str, Any]:
        rows = thin(self.curve)
        columns = ("threshold", "precision", "recall", "f1")
        best = best_threshold(self.curve)
        return {
            "pr_curve": {name: [number(value) for value in getattr(self.curve, name)[rows]] for name in columns},
            "best_f1_oracle": {
                "threshold": number(best.threshold),
                "f1": number(best.f1),
                "note": "threshold chosen on the scored slides themselves: an upper bound, not a result",
            },
        }

    def _folds(self) -> dict[str, Any]:
        if not self.folds:
            return {}
        rows: list[dict[str, Any]] = [
            {"fold": name, **summary([row for row in self.slides if row.case_id in cases])}
            for name, cases in self.folds.items()
        ]
        means: dict[str, float | None] = {}
        for name in ("precision", "recall", "f1"):
            known = [row[name] for row in rows if row[name] is not None]
            means[name] = float(np.mean(known)) if known else None
        return {"per_fold": rows, "mean_over_folds": means}

    def _on_imposters(self) -> dict[str, int | float | None]:
        rows = self.outcomes.of(Outcome.FALSE_ALARM)
        count = int(self.outcomes.on_imposter[rows].sum())
        return {"count": count, "share": count / len(rows) if len(rows) else None}


def evaluate(
    detections: Detections,
    cohort: Cohort,
    *,
    cases: tuple[str, ...] | None = None,
    config: EvaluateConfig | None = None,
    folds: Mapping[str, tuple[str, ...]] | None = None,
    where: Path | None = None,
) -> Evaluation:
    """Score detections against the marks of a cohort.

    All labelled slides of `cases` are scored, also those without a detection (their figures are missed) and those
    without a figure (their detections are false). Outside the ROI and on unlabelled slides nothing is scored.

    Args:
        detections: rows below the operating threshold serve the curves only.
        cohort: the truth.
        cases: which cases; None for all.
        config: how; None for the official rule.
        folds: cases of each fold, for a mean over folds beside the pooled score.
        where: table of the detections, which a refusal of one names; None where there is none.

    Raises:
        FrameError: a detection names a slide that is not scored here, or there is nothing to score against.
    """
    config = EvaluateConfig() if config is None else config
    counted = count_in(detections, cohort, cases, where=where)
    pairs = near_pairs(counted.figures, counted.detections, mpp=counted.mpp, radius_um=config.radius_um)
    chosen = match_greedy(pairs, counted.is_figure)
    slides = slide_scores(counted, chosen >= 0)
    curve = sweep(pairs, counted.score)
    found = int((match_optimal(pairs.among(counted.is_figure)) >= 0).sum())
    shown = int(counted.is_figure.sum())
    bootstrap = config.draw(slides)
    return Evaluation(
        config=config,
        slides=slides,
        bootstrap=bootstrap,
        optimal=Score(tp=found, fp=shown - found, fn=len(counted.figures) - found),
        lenient=count_lenient(pairs, counted.is_figure),
        curve=curve,
        box_ap=_box_ap(counted),
        froc=froc(curve, num_images=len(slides)),
        outcomes=outcomes(counted, pairs, chosen, radius_um=config.radius_um),
        folds={} if folds is None else dict(folds),
        notes=(*counted.notes, *_notes(counted, bootstrap), *interval_notes(slides, bootstrap)),
    )


def slide_scores(counted: Counted, is_found: NDArray[np.bool_]) -> tuple[SlideScore, ...]:
    """Counts of each slide at the operating threshold, in the order of `counted.slides`.

    Args:
        counted: what is scored.
        is_found: (F,) which figures have a detection.
    """
    num = len(counted.slides)
    tp = counted.figures[is_found].per_slide(num)
    fn = counted.figures[~is_found].per_slide(num)
    fp = counted.detections[counted.is_figure].per_slide(num) - tp
    return tuple(
        SlideScore(
            slide_id=entry.slide_id,
            case_id=entry.case_id,
            domain=entry.domain,
            area_mm2=entry.area_mm2,
            tp=int(tp[row]),
            fp=int(fp[row]),
            fn=int(fn[row]),
        )
        for row, entry in enumerate(counted.slides)
    )


def _box_ap(counted: Counted) -> float:
    pairs = near_pairs(counted.figures, counted.detections, mpp=counted.mpp)
    return box_average_precision(pairs, counted.figures, counted.detections, counted.score, counted.mpp)


def _notes(counted: Counted, bootstrap: Resampled) -> list[str]:
    notes = [bootstrap.note] if bootstrap.note else []
    if not len(counted.figures):
        notes.append("no mitotic figure is marked on the scored slides: recall, AP and FROC are not defined")
    unknown = sum(math.isnan(entry.area_mm2) for entry in counted.slides)
    if unknown:
        notes.append(f"{plural(unknown, 'slide')} of unknown area left out of all figures per mm2")
    return notes


def choose_threshold(
    detections: Detections,
    cohort: Cohort,
    *,
    cases: tuple[str, ...] | None = None,
    config: EvaluateConfig | None = None,
) -> Threshold:
    """The threshold of the best pooled F1 on validation cases, under the official rule (see `sweep.best_threshold`).

    Args:
        detections: of the validation cases, down to low scores; their `is_figure` is not looked at.
        cohort: the truth.
        cases: the validation cases; never the test cases.
        config: the matching radius is taken from here.

    Raises:
        SplitError: the cases have no figure, so no threshold can be told from another.
        FrameError: as `evaluate`.
    """
    config = EvaluateConfig() if config is None else config
    counted = count_in(detections, cohort, cases)
    if not len(counted.figures):
        raise SplitError(
            "the validation cases have no mitotic figure: no threshold can be chosen on them",
            where=cohort.folder,
            remedy="move a case with figures into the fold's validation part",
        )
    pairs = near_pairs(counted.figures, counted.detections, mpp=counted.mpp, radius_um=config.radius_um)
    return best_threshold(sweep(pairs, counted.score))
