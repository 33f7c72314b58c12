"""The mitotic count per mm2: what detections give against what the marks say, and how far the two agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.score.metrics import number

_NORMAL_95 = 1.96
"""Standard deviations that hold 95 % of a normal distribution. Source: Bland and Altman, Lancet 1986."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Bland-Altman agreement of predicted and true mitotic counts per mm2.

    Attributes:
        n: slides or cases compared (those of known area).
        mean_difference: mean of predicted - true, per mm2; NaN for n = 0.
        lower_limit, upper_limit: mean_difference -/+ 1.96 standard deviations (by n - 1); NaN for n < 2.
    """

    n: int
    mean_difference: float
    lower_limit: float
    upper_limit: float

    def to_json(self) -> dict[str, float | int | None]:
        return {
            "n": self.n,
            "mean_difference_per_mm2": number(self.mean_difference),
            "lower_limit_per_mm2": number(self.lower_limit),
            "upper_limit_per_mm2": number(self.upper_limit),
        }


def agree(predicted: NDArray[np.int64], true: NDArray[np.int64], area_mm2: NDArray[np.float64]) -> Agreement:
    """How far predicted counts lie from true ones, per mm2.

    Args:
        predicted: (N,) detections of each slide or case inside its ROI.
        true: (N,) figures there.
        area_mm2: (N,) area of the ROI; rows of unknown (NaN) or zero area are left out.
    """
    known = np.isfinite(area_mm2) & (area_mm2 > 0)
    difference = (predicted[known] - true[known]) / area_mm2[known]
    n = len(difference)
    mean = float(difference.mean()) if n else float("nan")
    spread = _NORMAL_95 * float(difference.std(ddof=1)) if n > 1 else float("nan")
    return Agreement(n=n, mean_difference=mean, lower_limit=mean - spread, upper_limit=mean + spread)
