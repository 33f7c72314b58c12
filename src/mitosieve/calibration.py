"""What a score is worth: a rising map from a detector's score to the share of such detections that are figures.

Fitted elsewhere (`score.calibration`), kept with a detector, and never applied to its scores unasked: thresholds,
curves and tables speak of scores. A share holds for slides like those it was fitted on, and for detections: places that
the detector threw away have none.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import expit, logit

Share = Annotated[float, Field(ge=0, le=1)]

LEAST = 1e-6
"""Scores nearer than this to 0 or 1 count as this: tables of detections keep six digits."""


class Logistic(BaseModel):
    """sigmoid(slope * logit(score) + offset): Platt's two numbers, on the logit that the network gave.

    Source: Platt, Advances in Large Margin Classifiers (1999), section 2.1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["logistic"] = "logistic"
    slope: float = Field(ge=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)

    def probability(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) shares of scores (N,) in 0..1."""
        return expit(self.slope * logits_of(score) + self.offset)


class Isotonic(BaseModel):
    """Straight lines between knots, flat beyond them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["isotonic"] = "isotonic"
    score: tuple[Share, ...] = Field(min_length=1)
    """Scores of the knots, rising."""
    share: tuple[Share, ...] = Field(min_length=1)
    """Share of figures at each; never falls."""

    @model_validator(mode="after")
    def _rises(self) -> "Isotonic":
        if len(self.score) != len(self.share):
            raise ValueError(f"{len(self.score)} scores and {len(self.share)} shares: each knot has one of both")
        if (np.diff(self.score) <= 0).any() or (np.diff(self.share) < 0).any():
            raise ValueError("knots must rise: each score above the last, no share below the last")
        return self

    def probability(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) shares of scores (N,) in 0..1."""
        return np.interp(np.asarray(score, np.float64), self.score, self.share)


Calibration = Annotated[Logistic | Isotonic, Field(discriminator="kind")]


def logits_of(score: Any) -> NDArray[np.float64]:  # noqa: ANN401 - whatever numpy makes an array of
    """Logits of scores, kept LEAST away from 0 and 1."""
    return logit(np.clip(np.asarray(score, np.float64), LEAST, 1 - LEAST))
