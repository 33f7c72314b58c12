"""Laws of counted scores."""

import math

import numpy as np

from mitosieve.sieve.score_counts import (
    BINS,
    LEAST_PLACES,
    LOGIT_STEP,
    LOGIT_TOP,
    called_share,
    count_scores,
    no_scores,
)


def test_each_score_is_in_the_bin_of_its_logit():
    """Brute force, score by score; beyond the ends, and at 0 and 1, the last bins."""
    scores = np.concatenate([np.random.default_rng(1).uniform(size=400), [0.0, 1.0, 1e-9, 1 - 1e-9, 0.5]])
    expected = [0] * BINS
    for score in scores.tolist():
        logit = math.log(score / (1 - score)) if 0 < score < 1 else math.copysign(math.inf, score - 0.5)
        number = 0 if logit < -LOGIT_TOP else math.floor((min(logit, LOGIT_TOP) + LOGIT_TOP) / LOGIT_STEP)
        expected[min(number, BINS - 1)] += 1
    assert count_scores(scores).tolist() == expected


def test_counts_of_parts_add_up():
    """However scores are dealt to tiles, their sum is that of all."""
    scores = np.random.default_rng(2).beta(0.3, 2, 500)
    parts = np.array_split(np.random.default_rng(3).permutation(scores), 7)
    assert np.array_equal(sum(map(count_scores, parts), no_scores()), count_scores(scores))
    assert count_scores(np.zeros(0)).sum() == 0


def test_the_share_is_of_places_at_half_or_more():
    """Half a place is added, so that a slide without any is a number too; a slide of few places is none."""
    scores = np.array([0.1] * 90 + [0.5] + [0.9] * 9)
    assert called_share(count_scores(scores)) == (math.log(10.5 / 101),)
    assert called_share(count_scores(np.full(100, 0.2))) == (math.log(0.5 / 101),)
    assert called_share(count_scores(np.full(LEAST_PLACES - 1, 0.9))) is None
    assert called_share(count_scores(np.full(LEAST_PLACES, 0.9))) is not None
