"""Counts at every threshold in one pass over the detections by falling score, and what follows from them.

Exact under the official greedy rule: equal to matching anew at each threshold. Knows nothing of slides or files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled
from mitosieve.score.match import Pairs
from mitosieve.score.metrics import f1_of, f_beta_of, precision_of, recall_of

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Pooled counts when detections with score >= threshold are kept, for each score that occurs.

    Attributes:
        threshold: (T,) float64, the distinct scores, falling.
        tp: (T,) int64, figures found; never falls along the row.
        fp: (T,) int64, false alarms; never falls along the row either.
        num_figures: all figures, found or not.
    """

    threshold: NDArray[np.float64]
    tp: Rows
    fp: Rows
    num_figures: int

    @property
    def fn(self) -> Rows:
        return self.num_figures - self.tp

    @property
    def precision(self) -> NDArray[np.float64]:
        return precision_of(self.tp, self.fp)

    @property
    def recall(self) -> NDArray[np.float64]:
        return recall_of(self.tp, self.fn)

    @property
    def f1(self) -> NDArray[np.float64]:
        return f1_of(self.tp, self.fp, self.fn)

    def at(self, threshold: NDArray[np.float64]) -> tuple[Rows, Rows]:
        """(tp, fp) when detections with score >= each of `threshold` are kept."""
        place = np.searchsorted(-self.threshold, -np.asarray(threshold, dtype=np.float64), side="right")
        return np.concatenate([[0], self.tp])[place], np.concatenate([[0], self.fp])[place]


def sweep(pairs: Pairs, score: NDArray[np.float64]) -> Sweep:
    """Score every threshold.

    Detections enter by falling score. A detection that enters is offered to the figures near it in file order; one that
    prefers it to what it holds takes it and hands on what it held, which only figures later in the file can want: the
    earlier ones could have had it before. That chain is all that can change in the greedy result, and it ends with at
    most one more figure found.

    Args:
        pairs: within the radius, of all detections.
        score: (D,) finite.
    """
    order, found = enter(pairs, score)
    falling = score[order]
    last = last_of_ties(falling)
    return Sweep(threshold=falling[last], tp=found[last], fp=last + 1 - found[last], num_figures=pairs.num_figures)


def enter(pairs: Pairs, score: NDArray[np.float64]) -> tuple[Rows, Rows]:
    """Detections by falling score (ties in file order), and how many figures are found when each has entered.

    Returns:
        order: (D,) rows of the detections.
        found: (D,) never falls; it rises by at most one, and what a detection's entry changes stays on its slide.
    """
    order = np.argsort(-score, kind="stable").astype(np.int64)
    by_detection = np.argsort(pairs.detection, kind="stable").astype(np.int64)
    edges = np.arange(pairs.num_detections + 1)
    start = np.searchsorted(pairs.detection[by_detection], edges).astype(np.int64)
    return order, _enter(order, start, by_detection, pairs.figure, pairs.detection, pairs.num_figures)


def last_of_ties(falling: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where each run of equal scores ends."""
    return np.flatnonzero(np.append(falling[1:] != falling[:-1], np.ones(min(1, len(falling)), dtype=np.bool_)))


@compiled()
def _enter(
    order: Rows, start: Rows, by_detection: Rows, figure: Rows, detection: Rows, num_figures: int
) -> Rows:  # pragma: no cover - compiled
    """(D,) figures found after each detection of `order` entered; a smaller pair position is a preferred pair."""
    held = np.full(num_figures, -1)
    found = np.empty(len(order), np.int64)
    total = 0
    for step in range(len(order)):
        carried = order[step]
        place, end = start[carried], start[carried + 1]
        while place < end:
            pair = by_detection[place]
            place += 1
            holder = figure[pair]
            if held[holder] < 0:
                held[holder] = pair
                total += 1
                break
            if pair < held[holder]:
                carried = detection[held[holder]]
                held[holder] = pair
                place, end = start[carried], start[carried + 1]
        found[step] = total
    return found


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """An operating threshold and what it gave where it was chosen.

    Attributes:
        threshold: detections with score >= this are kept.
        f1, precision, recall: on the data it was chosen on; F1 is NaN there only if nothing was known.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


def best_threshold(curve: Sweep, beta: float = 1.0) -> Threshold:
    """The threshold of the largest F_beta, which is F1 for beta 1; of equal ones, the highest plateau.

    Between two neighbouring scores every threshold keeps the same detections: a plateau. The middle of the best plateau
    is returned, which lets other data vary most on both sides; at the lowest score, that score itself, since what lies
    below it was never recorded. Without detections: 1.0, which keeps only certainties.

    Args:
        curve: counts at every threshold.
        beta: how many times as important as precision recall is.
    """
    if not len(curve.threshold):
        return Threshold(threshold=1.0, f1=float("nan"), precision=float("nan"), recall=float("nan"))
    best = int(np.argmax(np.nan_to_num(f_beta_of(curve.tp, curve.fp, curve.fn, beta), nan=0.0)))
    upper = float(curve.threshold[best])
    lower = float(curve.threshold[best + 1]) if best + 1 < len(curve.threshold) else upper
    middle = lower + (upper - lower) / 2
    return Threshold(
        threshold=middle if lower < middle <= upper else upper,
        f1=float(np.nan_to_num(curve.f1[best], nan=0.0)),
        precision=float(curve.precision[best]),
        recall=float(curve.recall[best]),
    )


def average_precision(curve: Sweep) -> float:
    """Area under the precision-recall curve of the official one-to-one matching; NaN without figures.

    Precision at a recall is the best precision at that recall or more (as in VOC since 2010), and the area is summed
    exactly over all recalls reached; recalls never reached add nothing.
    """
    if not curve.num_figures:
        return float("nan")
    precision = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * precision))


def thin(curve: Sweep, most: int = 500) -> NDArray[np.intp]:
    """At most `most` rows that still draw the curve: both ends, the best F1, even steps in recall and in rows."""
    n = len(curve.threshold)
    if n <= most:
        return np.arange(n)
    half = (most - 2) // 2
    by_row = np.linspace(0, n - 1, half).round().astype(np.intp)
    by_recall = np.searchsorted(curve.tp, np.linspace(curve.tp[0], curve.tp[-1], half))
    best = int(np.argmax(np.nan_to_num(curve.f1, nan=0.0)))
    return np.unique(np.concatenate([by_row, by_recall, [0, best]]))
