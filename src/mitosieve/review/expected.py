"""What a detector's thresholds are expected to give on slides whose detections are mostly not judged. Arrays alone.

With the share of figures p(s) among detections of score s, keeping those with a score of at least t is expected to
find TP(t) = sum of p over them, and n(t) - TP(t) false alarms; figures in all are the sum of p over all detections, and
those that the detector did not propose at all, as far as they are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mitosieve.calibration import logits_of

DIGITS = 4
"""Scores are told apart to this: at most ten thousand thresholds, whatever the number of detections."""

_ROWS = 200
"""Maps that are evaluated at once."""

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Counts at some thresholds under B maps.

    Attributes:
        tp, fp, fn: (B, T) expected.
    """

    tp: Values
    fp: Values
    fn: Values

    def f_beta(self, beta: float = 1.0) -> Values:
        """(B, T); 0 where nothing is there."""
        weighted = (1 + beta**2) * self.tp
        return weighted / np.maximum(weighted + self.fp + beta**2 * self.fn, 1e-12)

    @property
    def precision(self) -> Values:
        """(B, T); 0 where nothing is kept."""
        return self.tp / np.maximum(self.tp + self.fp, 1e-12)

    @property
    def recall(self) -> Values:
        """(B, T); 0 where there is no figure."""
        return self.tp / np.maximum(self.tp + self.fn, 1e-12)


class ExpectedCounts:
    """Expected counts of one result.

    Attributes:
        score: (T,) the distinct scores, falling.
        between: thresholds that may be chosen, falling: each keeps a score and drops the next, as their middle; at the
            lowest score, that score, for what lies below it was never recorded.
        is_cut: whether lower thresholds, and whether higher ones, were left out of `between`.

    Args:
        score: (N,) of all detections of the result, judged or not; at least one.
        missed: figures that are known and are no detections.
        within: lowest and highest threshold that may be chosen, told apart as the scores are: the lowest score of a
            result is one of those that lie within it.
    """

    def __init__(self, score: Values, missed: int, within: tuple[float, float] = (0.0, 1.0)) -> None:
        falling, number = np.unique(np.round(score, DIGITS), return_counts=True)
        self.score, self._number = falling[::-1], number[::-1]
        self._missed = missed
        between = np.append((self.score[:-1] + self.score[1:]) / 2, self.score[-1])
        within = round(within[0], DIGITS), round(within[1], DIGITS)
        allowed = (between >= within[0]) & (between <= within[1])
        nearest = np.argmin(np.abs(between - np.mean(within)))
        self.between = between[allowed] if allowed.any() else between[[nearest]]
        self.is_cut = bool(between[-1] < self.between[-1]), bool(between[0] > self.between[0])

    def at(self, slope: Values, offset: Values, thresholds: Values | Sequence[float]) -> Expected:
        """Under each map (B,), at each threshold (T,)."""
        place = np.searchsorted(-self.score, -np.asarray(thresholds, dtype=np.float64), side="right")
        kept = np.concatenate([[0], np.cumsum(self._number)])[place]
        parts = [self._tp(slope[i : i + _ROWS], offset[i : i + _ROWS], place) for i in range(0, len(slope), _ROWS)]
        tp, total = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
        return Expected(tp=tp, fp=kept - tp, fn=total[:, None] + self._missed - tp)

    def _tp(self, slope: Values, offset: Values, place: NDArray[np.intp]) -> tuple[Values, Values]:
        share = expit(slope[:, None] * logits_of(self.score) + offset[:, None]) * self._number
        summed = np.cumsum(share, axis=1)
        return np.concatenate([np.zeros((len(slope), 1)), summed], axis=1)[:, place], summed[:, -1]

    def best(self, slope: Values, offset: Values, beta: float = 1.0) -> Values:
        """(B,) the threshold of the largest expected F_beta under each map; of equal ones the highest."""
        between = self.between
        rows = [
            self.at(slope[i : i + _ROWS], offset[i : i + _ROWS], between).f_beta(beta).argmax(axis=1)
            for i in range(0, len(slope), _ROWS)
        ]
        return between[np.concatenate(rows)]
