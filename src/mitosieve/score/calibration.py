"""How scores compare with the share of true detections at them: fitted maps, reliability bins, calibration error.

Meant for out-of-fold detections: scores of networks that have not seen the case. Knows nothing of slides or files.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mitosieve.calibration import Isotonic, Logistic, logits_of
from mitosieve.errors import InputError

BINS = 10
"""Bins of equal width of a reliability diagram: ours; Guo et al. (2017) take 15, for far more samples."""

DIGITS = 6
"""Of a fitted map's numbers, as scores are kept."""

_NEWTON_STEPS, _LONGEST_STEP, _RIDGE = 200, 1.0, 1e-9
"""Of a fit by Newton's steps in spreads of the logit: steps are cut, for far from the solution they overshoot."""

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]
Fit = Callable[[Scores, Truth], Logistic | Isotonic]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Detections whose stated share lies in one interval.

    Attributes:
        low, high: the interval; low belongs to it, high only where it is 1.
        number: of detections, above zero.
        stated: mean of what was stated of them.
        true: share of them that found a figure.
    """

    low: float
    high: float
    number: int
    stated: float
    true: float


def fit_logistic(score: Scores, is_true: Truth) -> Logistic:
    """Platt's map by largest likelihood, with his smoothed targets, which keep it finite where classes are apart.

    Scores that fall where truth rises give the best map that does not fall: a flat one.

    Source: Platt (1999), sections 2.1 and 2.2: targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2).

    Args:
        score: (N,) in 0..1.
        is_true: (N,) whether the detection found a figure.

    Raises:
        InputError: all are of one kind.
    """
    _check_both(is_true)
    yes, no = int(is_true.sum()), int((~is_true).sum())
    target = np.where(is_true, (yes + 1) / (yes + 2), 1 / (no + 2))
    x = np.tile(logits_of(score), 2)[:, None]
    label, weight = np.repeat([1, 0], len(score)), np.concatenate([target, 1 - target])
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, label, sample_weight=weight)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope < 0:
        slope, offset = 0.0, float(logits_of(target.mean()))
    return Logistic(slope=round(slope, DIGITS), offset=round(offset, DIGITS))


def fit_logistic_many(score: Scores, is_true: Truth, weight: NDArray[np.float64]) -> tuple[Scores, Scores]:
    """`fit_logistic` for many weightings of the same detections at once, as resamples are; by Newton's steps.

    Args:
        score: (N,) in 0..1.
        is_true: (N,).
        weight: (B, N) at or above zero: how often each detection is there. A row may hold one kind alone.

    Returns:
        (B,) slopes, none below zero, and (B,) offsets.
    """
    x, yes = logits_of(score), is_true.astype(np.float64)
    number_yes, number_no = weight @ yes, weight @ (1 - yes)
    high, low = (number_yes + 1) / (number_yes + 2), 1 / (number_no + 2)
    target = np.where(is_true, high[:, None], low[:, None])
    middle, spread = float(x.mean()), float(x.std()) or 1.0
    z = (x - middle) / spread
    prior = logits_of((weight * target).sum(axis=1) / weight.sum(axis=1))
    slope, offset = np.zeros(len(weight)), prior.copy()
    for _ in range(_NEWTON_STEPS):
        p = expit(slope[:, None] * z + offset[:, None])
        pull, curve = weight * (target - p), weight * p * (1 - p)
        g0, g1 = pull.sum(axis=1), pull @ z
        h00, h01, h11 = curve.sum(axis=1) + _RIDGE, curve @ z, curve @ z**2 + _RIDGE
        det = h00 * h11 - h01**2
        step = np.stack([(h00 * g1 - h01 * g0) / det, (h11 * g0 - h01 * g1) / det])
        step *= np.minimum(1, _LONGEST_STEP / np.maximum(np.abs(step).max(axis=0), 1e-300))
        slope, offset = slope + step[0], offset + step[1]
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    falls = slope <= 0
    return np.where(falls, 0.0, slope / spread), np.where(falls, prior, offset - slope * middle / spread)


def fit_isotonic(score: Scores, is_true: Truth) -> Isotonic:
    """The rising steps of least squared error. Wants many figures: it follows every accident of few.

    Source: Zadrozny and Elkan, KDD (2002), section 3.

    Args:
        score: (N,) in 0..1.
        is_true: (N,) whether the detection found a figure.

    Raises:
        InputError: all are of one kind.
    """
    _check_both(is_true)
    x, at = np.unique(np.round(np.asarray(score, np.float64), DIGITS), return_inverse=True)
    number = np.bincount(at)
    share = np.bincount(at, weights=is_true.astype(np.float64)) / number
    level = np.round(IsotonicRegression(y_min=0, y_max=1).fit_transform(x, share, sample_weight=number), DIGITS)
    step = np.diff(level) != 0  # a level's two ends are all that a line between knots needs
    ends = np.concatenate([[True], step]) | np.concatenate([step, [True]])
    return Isotonic(score=tuple(x[ends].tolist()), share=tuple(level[ends].tolist()))


FITS: dict[str, Fit] = {"logistic": fit_logistic, "isotonic": fit_isotonic}
"""Ways to fit, by the kind of what they give."""


def held_out_probability(score: Scores, is_true: Truth, case: NDArray[np.intp], fit: Fit) -> Scores:
    """(N,) shares where each case's detections are judged by a map that the other cases alone have fitted.

    Args:
        score: (N,) in 0..1.
        is_true: (N,).
        case: (N,) number of the case of each detection.
        fit: one of FITS.

    Raises:
        InputError: without one case all the others' detections are of one kind.
    """
    stated = np.zeros(len(score))
    for number in np.unique(case):
        mine = case == number
        stated[mine] = fit(score[~mine], is_true[~mine]).probability(score[mine])
    return stated


def reliability(stated: Scores, is_true: Truth, bins: int = BINS) -> tuple[Bin, ...]:
    """The bins of a reliability diagram, rising, those without detections left out.

    Args:
        stated: (N,) scores or calibrated shares, 0..1.
        is_true: (N,).
        bins: of equal width.
    """
    edges = np.arange(bins + 1) / bins
    at = np.clip(np.searchsorted(edges, stated, side="right") - 1, 0, bins - 1)
    return tuple(
        Bin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            number=int((at == i).sum()),
            stated=float(stated[at == i].mean()),
            true=float(is_true[at == i].mean()),
        )
        for i in range(bins)
        if (at == i).any()
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance of what was stated from what was true, bins weighted by their detections; NaN without any.

    Source: Guo et al., ICML (2017), equation 3; Naeini et al., AAAI (2015).
    """
    number = sum(one.number for one in bins)
    return sum(one.number * abs(one.stated - one.true) for one in bins) / number if number else float("nan")


def _check_both(is_true: Truth) -> None:
    if is_true.all() or not is_true.any():
        kind = "figures" if len(is_true) and is_true.all() else "false alarms"
        raise InputError(
            f"all {len(is_true)} detections are {kind}: there is nothing to fit a calibration to",
            remedy="detect at a lower keep_above, or on more cases",
        )
