"""One scale for what several networks say together and what one says alone, so that what is chosen out of fold holds.

Operating points and calibration are chosen by single networks, for a patient is unseen by one network of each stage
alone. The detector takes the mean of several: what only one of them takes for a figure, a mean does not, and at one
threshold several networks call far less of a tissue than each of them. Slides without labels teach no network, so all
can be asked about them: there the scores of the mean are brought to those that as many of the single networks'
detections reach. Ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.calibration import logits_of

LEAST_SCORE = 0.5
"""Detections of single networks below this are of no interest: no operating point lies there."""

MOST_SLOPE, MOST_OFFSET = 100.0, 50.0
"""What a detector may hold (`sieve.config.Stage`)."""

LEAST_PAIRS = 20
"""With fewer detections the scale stays as it is."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What brings the logit of several networks to that of one: slope * logit + offset.

    Attributes:
        slope, offset: of it; 1 and 0 change nothing.
        pairs: detections that it was fitted on.
    """

    slope: float = 1.0
    offset: float = 0.0
    pairs: int = 0


def match_scale(several: NDArray[np.floating], alone: Sequence[NDArray[np.floating]]) -> Scale:
    """The straight line between logits of equal rank a detector: the k-th strongest score of the mean, and the score
    that k detections of a single network reach, over all of these.

    Args:
        several: (N,) scores of the detector's detections on some slides, in any order.
        alone: of each single network on the same slides.

    Returns:
        Least squares over the ranks whose single score is 0.5 or more; the scale as it is where there are fewer than
        20 of them, where the line does not rise, or where it is so steep that the detector's scores hardly differ.
    """
    falling = np.sort(logits_of(np.asarray(several, dtype=np.float64)))[::-1]
    pooled = np.sort(logits_of(np.concatenate([np.asarray(one, dtype=np.float64) for one in alone])))[::-1]
    rank = ((np.arange(len(falling)) + 0.5) * len(alone)).astype(np.intp)
    falling, rank = falling[rank < len(pooled)], rank[rank < len(pooled)]
    kept = pooled[rank] >= float(logits_of(np.array([LEAST_SCORE]))[0])
    if kept.sum() < LEAST_PAIRS or np.ptp(falling[kept]) == 0:
        return Scale()
    slope, offset = np.polyfit(falling[kept], pooled[rank][kept], 1)
    found = Scale(slope=round(float(slope), 6), offset=round(float(offset), 6), pairs=int(kept.sum()))
    return found if 0 < found.slope <= MOST_SLOPE and abs(found.offset) <= MOST_OFFSET else Scale()
