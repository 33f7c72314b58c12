"""Counts of found, false and missed, and the figures made of them. Knows nothing of where the counts come from."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import plural as plural

Counts = NDArray[np.int64] | NDArray[np.float64]


def precision_of(tp: Counts, fp: Counts) -> NDArray[np.float64]:
    """Share of detections that are figures; NaN where nothing was detected."""
    return _ratio(tp, np.asarray(tp, dtype=np.float64) + fp)


def recall_of(tp: Counts, fn: Counts) -> NDArray[np.float64]:
    """Share of figures that were found; NaN where there is none."""
    return _ratio(tp, np.asarray(tp, dtype=np.float64) + fn)


def f1_of(tp: Counts, fp: Counts, fn: Counts) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN); 0 where figures or detections exist and none match, NaN where neither exists."""
    return f_beta_of(tp, fp, fn, 1.0)


def f_beta_of(tp: Counts, fp: Counts, fn: Counts, beta: float) -> NDArray[np.float64]:
    """(1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP): recall beta times as important as precision; as `f1_of`."""
    weighted = (1 + beta**2) * np.asarray(tp, dtype=np.float64)
    return _ratio(weighted, weighted + np.asarray(fp, dtype=np.float64) + beta**2 * np.asarray(fn, dtype=np.float64))


def _ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Pooled (micro) counts and their figures.

    Attributes:
        tp: figures found. fp: false alarms. fn: figures missed.
    """

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """TP / (TP + FP); NaN where nothing was detected."""
        return float(precision_of(np.array(self.tp), np.array(self.fp)))

    @property
    def recall(self) -> float:
        """TP / (TP + FN); NaN where there are no figures."""
        return float(recall_of(np.array(self.tp), np.array(self.fn)))

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN where there are neither figures nor detections."""
        return float(f1_of(np.array(self.tp), np.array(self.fp), np.array(self.fn)))

    def to_json(self) -> dict[str, float | int | None]:
        """Counts and figures; what is not defined is None."""
        return {
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "precision": number(self.precision),
            "recall": number(self.recall),
            "f1": number(self.f1),
        }


def number(value: float) -> float | None:
    """A float for JSON: None where it is not finite."""
    return float(value) if math.isfinite(value) else None
