"""Laws of the named operating points, against a search over all thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.score.match import match_greedy, near_pairs
from mitosieve.score.operating import BETAS, operating_points
from mitosieve.score.sweep import best_threshold, sweep
from scene import MPP, a_scene


@given(st.integers(0, 10_000))
def test_no_threshold_weighs_up_better(seed):
    """Matched anew at every score that occurs, none has a larger F of the point's beta."""
    figures, detections, score = a_scene(seed)
    pairs = near_pairs(figures, detections, mpp=MPP)
    if not len(score) or not len(figures):
        return

    def f(threshold, beta):
        tp = int((match_greedy(pairs, score >= threshold) >= 0).sum())
        shown = int((score >= threshold).sum())
        return (1 + beta**2) * tp / (beta**2 * len(figures) + shown)

    for name, at in operating_points(sweep(pairs, score)).items():
        best = max(f(threshold, BETAS[name]) for threshold in score)
        assert f(at.threshold, BETAS[name]) == pytest.approx(best)


@given(st.integers(0, 10_000))
def test_the_points_keep_their_order(seed):
    """sensitive <= balanced <= specific, so recall never falls the other way; balanced is the threshold of best F1."""
    figures, detections, score = a_scene(seed)
    curve = sweep(near_pairs(figures, detections, mpp=MPP), score)
    at = operating_points(curve)
    assert at["sensitive"].threshold <= at["balanced"].threshold <= at["specific"].threshold
    assert np.array_equal(at["balanced"].threshold, best_threshold(curve).threshold)
    if len(score) and len(figures):
        assert at["sensitive"].recall >= at["balanced"].recall >= at["specific"].recall
