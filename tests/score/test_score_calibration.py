"""Laws of fitted calibrations, reliability bins and the calibration error, against sums and searches done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from mitosieve.calibration import logits_of
from mitosieve.errors import InputError
from mitosieve.score.calibration import (
    FITS,
    expected_calibration_error,
    fit_isotonic,
    fit_logistic,
    fit_logistic_many,
    held_out_probability,
    reliability,
)


def drawn(seed, n=200, slope=0.6, offset=-1.0):
    """Scores, and truths whose odds follow them by known numbers."""
    draw = np.random.default_rng(seed)
    score = np.round(draw.beta(0.5, 0.8, n), 3)
    is_true = draw.uniform(size=n) < 1 / (1 + np.exp(-(slope * logits_of(score) + offset)))
    is_true[:2] = True, False
    return score, is_true


@pytest.mark.parametrize("seed", range(4))
def test_the_logistic_map_has_the_largest_likelihood(seed):
    """No map near it on a fine grid explains Platt's smoothed targets better."""
    score, is_true = drawn(seed)
    yes, no = is_true.sum(), (~is_true).sum()
    target, x = np.where(is_true, (yes + 1) / (yes + 2), 1 / (no + 2)), logits_of(score)

    def loss(slope, offset):
        z = slope * x + offset
        return float(np.sum(np.logaddexp(0, z) - target * z))

    made = fit_logistic(score, is_true)
    best = loss(made.slope, made.offset)
    steps = (-0.1, -0.01, -0.001, 0, 0.001, 0.01, 0.1)
    assert all(loss(made.slope + a, made.offset + b) >= best - 1e-6 for a in steps for b in steps)


def test_the_logistic_map_finds_the_numbers_that_drew_the_data():
    """With many detections slope and offset come back."""
    made = fit_logistic(*drawn(1, n=20_000))
    assert (made.slope, made.offset) == (pytest.approx(0.6, abs=0.03), pytest.approx(-1.0, abs=0.05))


def test_classes_that_are_apart_or_upside_down_give_a_finite_map_that_does_not_fall():
    """Separable data stay finite by the targets; where high scores are the false ones, the map is flat."""
    score, is_true = np.where(np.arange(20) < 10, 0.1, 0.9), np.arange(20) >= 10
    apart = fit_logistic(score, is_true).probability(score)
    assert apart == pytest.approx(np.where(is_true, 11 / 12, 1 / 12), abs=1e-5)
    flat = fit_logistic(score, ~is_true)
    assert flat.slope == 0
    assert flat.probability(score) == pytest.approx(np.full(20, 0.5), abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 25))
def test_the_isotonic_map_is_the_max_of_mins(seed, n):
    """At each score: the largest, over where a run begins, of the smallest mean, over where it ends."""
    draw = np.random.default_rng(seed)
    score, is_true = draw.integers(1, 9, n) / 10, draw.integers(0, 2, n).astype(bool)
    is_true[0], is_true[1] = True, False
    levels = np.unique(score)

    def mean(low, high):
        return is_true[(score >= low) & (score <= high)].mean()

    expected = [
        max(min(mean(low, high) for high in levels if high >= at) for low in levels if low <= at) for at in levels
    ]
    made = fit_isotonic(score, is_true)
    assert made.probability(levels) == pytest.approx(expected, abs=1e-6)
    assert len(made.score) <= len(levels)


@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
@pytest.mark.parametrize("kind", [True, False])
def test_one_class_alone_cannot_be_calibrated(fit, kind):
    """Said in words; nothing is made up."""
    with pytest.raises(InputError, match="figures" if kind else "false alarms"):
        fit(np.array([0.1, 0.2]), np.array([kind, kind]))


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_bins_and_their_error_are_those_of_a_loop(seed, bins):
    """Every detection is in one bin, by what was stated of it, edges upward and 1 in the last."""
    draw = np.random.default_rng(seed)
    stated, is_true = draw.integers(0, bins * 2 + 1, 30) / (bins * 2), draw.integers(0, 2, 30).astype(bool)
    found = reliability(stated, is_true, bins)
    error = 0.0
    by_hand = []
    for number in range(bins):
        mine = [i for i in range(30) if min(int(np.floor(stated[i] * bins + 1e-9)), bins - 1) == number]
        if mine:
            by_hand.append((number / bins, len(mine), np.mean(stated[mine]), np.mean(is_true[mine])))
            error += len(mine) * abs(np.mean(stated[mine]) - np.mean(is_true[mine])) / 30
    assert np.array([(b.low, b.number, b.stated, b.true) for b in found]) == pytest.approx(np.array(by_hand))
    assert expected_calibration_error(found) == pytest.approx(error)
    assert np.isnan(expected_calibration_error(()))


def test_no_case_is_judged_by_a_map_that_it_has_fitted():
    """Turning a case's own truths changes nothing that is said of it, and what is said of others changes."""
    score, is_true = drawn(3)
    case = np.arange(200) % 4
    turned = np.where(case == 2, ~is_true, is_true)
    for fit in FITS.values():
        before, after = (held_out_probability(score, truth, case, fit) for truth in (is_true, turned))
        assert np.array_equal(before[case == 2], after[case == 2])
        assert not np.allclose(before[case != 2], after[case != 2])


@pytest.mark.parametrize("seed", range(4))
def test_many_fits_are_each_as_one(seed):
    """A weighting by whole numbers gives what the repeated detections give alone; one that falls is flat."""
    generator = np.random.default_rng(seed)
    score = np.round(expit(generator.normal(0, 3, 60)), 6)
    is_true = generator.uniform(size=60) < (score if seed else 1 - score)
    weight = generator.multinomial(60, np.full(60, 1 / 60), size=8).astype(np.float64)
    weight[0] = 1
    slope, offset = fit_logistic_many(score, is_true, weight)
    for row in range(8):
        again = np.repeat(np.arange(60), weight[row].astype(int))
        alone = fit_logistic(score[again], is_true[again])
        assert (slope[row], offset[row]) == pytest.approx((alone.slope, alone.offset), abs=2e-4)


def test_many_fits_stay_finite():
    """Classes that scores set apart, one kind alone and equal scores give finite numbers."""
    score = np.array([0.1, 0.2, 0.8, 0.9])
    weight = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 2, 2]], dtype=np.float64)
    for scores in (score, np.full(4, 0.5), np.array([0, 0, 1, 1.0])):
        slope, offset = fit_logistic_many(scores, score > 0.5, weight)
        assert np.isfinite(slope).all()
        assert np.isfinite(offset).all()
        assert (slope >= 0).all()
