import numpy as np
import pytest

from mitosieve.score.agreement import agree
from mitosieve.score.metrics import Score


def test_limits_are_1_96_sample_deviations_around_the_mean_difference():
    """Against numpy on densities written out."""
    predicted, true, area = np.array([4, 10, 1]), np.array([2, 12, 0]), np.array([2.0, 4.0, 0.5])
    difference = np.array([1.0, -0.5, 2.0])
    result = agree(predicted, true, area)
    assert result.n == 3
    assert result.mean_difference == pytest.approx(difference.mean())
    half = 1.96 * difference.std(ddof=1)
    assert (result.lower_limit, result.upper_limit) == pytest.approx(
        (difference.mean() - half, difference.mean() + half)
    )


def test_slides_of_unknown_area_are_left_out_and_one_slide_has_no_limits():
    """A density needs an area, a spread needs two."""
    result = agree(np.array([3, 5]), np.array([1, 5]), np.array([2.0, np.nan]))
    assert result.to_json() == {
        "n": 1,
        "mean_difference_per_mm2": 1.0,
        "lower_limit_per_mm2": None,
        "upper_limit_per_mm2": None,
    }
    assert agree(np.zeros(0, int), np.zeros(0, int), np.zeros(0)).to_json()["mean_difference_per_mm2"] is None


def test_scores_are_undefined_only_where_nothing_is_there():
    """No detection: no precision; no figure: no recall; F1 is 0 as soon as either exists."""
    assert Score(tp=0, fp=0, fn=3).to_json() == {
        "tp": 0, "fp": 0, "fn": 3, "precision": None, "recall": 0.0, "f1": 0.0,
    }  # fmt: skip
    assert Score(tp=0, fp=2, fn=0).to_json()["recall"] is None
    assert Score(tp=0, fp=2, fn=0).f1 == 0.0
    assert Score(tp=0, fp=0, fn=0).to_json()["f1"] is None
    assert Score(tp=3, fp=1, fn=2).f1 == pytest.approx(6 / 9)
