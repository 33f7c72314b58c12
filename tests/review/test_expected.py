"""Expected counts at thresholds, against adding up by hand."""

import numpy as np
import pytest

from mitosieve.calibration import Logistic
from mitosieve.review.expected import ExpectedCounts


def some_scores(count=40, seed=0):
    return np.round(np.random.default_rng(seed).uniform(0.05, 1, count), 2)


@pytest.mark.parametrize("missed", [0, 3])
def test_expected_counts_are_sums_of_shares(missed):
    """At each threshold and under each map the expected counts are sums over the detections kept and dropped."""
    score = some_scores()
    slope, offset = np.array([1.0, 0.0, 2.5]), np.array([0.3, -1.0, 0.0])
    thresholds = [0.0, 0.05, 0.5, float(score[3]), 1.1]
    expected = ExpectedCounts(score, missed).at(slope, offset, thresholds)
    for row, (a, b) in enumerate(zip(slope, offset, strict=True)):
        share = Logistic(slope=a, offset=b).probability(score)
        for column, threshold in enumerate(thresholds):
            kept = score >= threshold
            assert expected.tp[row, column] == pytest.approx(share[kept].sum())
            assert expected.fp[row, column] == pytest.approx((1 - share[kept]).sum())
            assert expected.fn[row, column] == pytest.approx(share[~kept].sum() + missed)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_the_best_threshold_is_the_best_of_all(beta):
    """No cut between two scores has a larger expected F-measure, and the threshold lies in the middle of its gap."""
    score, slope, offset = some_scores(seed=2), np.array([1.5, 0.7]), np.array([0.0, -1.0])
    counts = ExpectedCounts(score, 1)
    best = counts.best(slope, offset, beta)
    tried = np.linspace(0, 1, 2001)
    f_beta = counts.at(slope, offset, tried).f_beta(beta)
    there = np.diagonal(counts.at(slope, offset, best).f_beta(beta))
    np.testing.assert_allclose(there, f_beta.max(axis=1))
    distinct = np.unique(score)
    middles = np.append((distinct[1:] + distinct[:-1]) / 2, distinct[0])
    assert all(np.isclose(middles, value).any() for value in best)


def test_no_threshold_is_chosen_beyond_what_is_allowed():
    """Within bounds the best of those there is chosen; where none lies there, the nearest."""
    score, slope, offset = some_scores(seed=3), np.array([1.0]), np.array([-1.0])
    free = ExpectedCounts(score, 0).best(slope, offset)[0]
    low = ExpectedCounts(score, 0, (free + 0.1, 1.0)).best(slope, offset)[0]
    assert free + 0.1 <= low <= 1
    distinct = np.unique(score)
    middles = np.append((distinct[1:] + distinct[:-1]) / 2, distinct[0])
    assert ExpectedCounts(score, 0, (0.4, 0.4001)).best(slope, offset)[0] in middles


def test_many_maps_are_each_as_one(monkeypatch):
    """Maps done by chunks are those done one by one."""
    monkeypatch.setattr("mitosieve.review.expected._ROWS", 3)
    generator = np.random.default_rng(0)
    slope, offset = generator.uniform(0, 3, 10), generator.uniform(-2, 2, 10)
    counts = ExpectedCounts(some_scores(), 0)
    alone = [counts.best(slope[[i]], offset[[i]])[0] for i in range(10)]
    np.testing.assert_array_equal(counts.best(slope, offset), alone)
