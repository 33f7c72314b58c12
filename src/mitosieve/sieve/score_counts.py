"""How the first stage scores all places that it looks at, counted: what a slide looks like to the networks, unlabelled.

Counts are whole numbers, so those of tiles and bands add up to a slide's in any order.
"""

import math

import numpy as np
from numpy.typing import NDArray

LOGIT_STEP, LOGIT_TOP = 0.5, 10.0
"""Width of a bin, and the logit beyond which all scores are alike."""

BINS = int(2 * LOGIT_TOP / LOGIT_STEP)

LEAST_PLACES = 50
"""A slide with fewer places is not described: a cell more or less would change it."""


def count_scores(score: NDArray[np.floating]) -> NDArray[np.int64]:
    """Scores (N,) counted in bins of their logits, (BINS,)."""
    inside = np.clip(np.asarray(score, dtype=np.float64), 1e-12, 1 - 1e-12)
    logit = np.log(inside) - np.log1p(-inside)
    number = np.clip(np.floor((logit + LOGIT_TOP) / LOGIT_STEP), 0, BINS - 1).astype(np.int64)
    return np.bincount(number, minlength=BINS).astype(np.int64)


def no_scores() -> NDArray[np.int64]:
    """Of no place, (BINS,)."""
    return np.zeros(BINS, dtype=np.int64)


def called_share(counts: NDArray[np.integer]) -> tuple[float] | None:
    """Logarithm of the share of the counted places that have a score of at least 0.5, as one number of a trait.

    Of quantiles of the logits, densities and shares above other scores this one varies least between patients of one
    laboratory (bench/familiarity.py). Half a place is added, so that none is a number too; None for fewer than
    LEAST_PLACES.
    """
    places = int(counts.sum())
    if places < LEAST_PLACES:
        return None
    return (math.log((int(counts[BINS // 2 :].sum()) + 0.5) / (places + 1)),)
