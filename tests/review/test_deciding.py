"""Which open decisions can still change the score, against all answers tried one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitosieve.count.hotspot import find_hotspot
from mitosieve.review.deciding import Field, deciding


def by_cuts(one, two):
    return lambda count: 1 if count <= one else 2 if count <= two else 3


def brute(fixed, opened, field, score):
    """Flip each open point under every answer to the others."""
    n = len(opened)
    found = np.zeros(n, dtype=bool)
    scores = {}
    for answer in product((False, True), repeat=n):
        scores[answer] = score(field.most(np.concatenate([fixed, opened[np.array(answer, dtype=bool)]])))
    for answer, value in scores.items():
        for i in range(n):
            if not answer[i]:
                found[i] |= scores[(*answer[:i], True, *answer[i + 1 :])] != value
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_fixed=st.integers(0, 7),
    num_open=st.integers(0, 7),
    cuts=st.tuples(st.integers(0, 4), st.integers(0, 3)),
    shape=st.sampled_from(["square", "rectangle", "circle"]),
    size=st.sampled_from([(3.0, 3.0), (6.0, 2.0), (1.0, 9.0), (1.2, 1.0)]),
)
def test_deciding_is_what_trying_all_answers_says(seed, num_fixed, num_open, cuts, shape, size):
    """For every shape, slide and cut-offs the deciding points are those whose flip changes some score."""
    generator = np.random.default_rng(seed)
    fixed = generator.uniform(0, 1, (num_fixed, 2)) * size
    opened = generator.uniform(0, 1, (num_open, 2)) * size
    field = Field(size_mm=size, area_mm2=2.0, shape=shape)
    score = by_cuts(cuts[0], cuts[0] + cuts[1] + 1)
    found, is_exact = deciding(fixed, opened, field, score)
    assert is_exact
    np.testing.assert_array_equal(found, brute(fixed, opened, field, score))


def test_a_point_that_others_make_needless_is_not_deciding():
    """Where any figure that would help it already lifts another region above the cut, a point decides nothing."""
    field = Field(size_mm=(10.0, 3.0), area_mm2=1.0, shape="square")
    fixed = np.array([(1.0, 1.0), (1.05, 1.0), (1.9, 1.0)])
    helper, lone = (
        (1.5, 1.0),
        (2.3, 1.0),
    )  # the helper shares a region with all three, the lone one with it and the last
    found, is_exact = deciding(fixed, np.array([helper, lone]), field, by_cuts(3, 9))
    assert is_exact
    np.testing.assert_array_equal(found, brute(fixed, np.array([helper, lone]), field, by_cuts(3, 9)))
    assert found.tolist() == [True, False]


def test_where_the_score_is_fixed_nothing_decides():
    """Neither far below the first cut nor far above the last does any open point matter."""
    field = Field(size_mm=(5.0, 5.0), area_mm2=2.0, shape="square")
    opened = np.random.default_rng(0).uniform(0, 5, (5, 2))
    many = np.full((20, 2), 2.0)
    assert not deciding(np.zeros((0, 2)), opened, field, by_cuts(7, 14))[0].any()
    assert not deciding(many, opened, field, by_cuts(7, 14))[0].any()


def test_a_search_cut_short_is_told_and_leaves_nothing_out(monkeypatch):
    """With too few steps a point counts as deciding, and the result says that it is not exact."""
    monkeypatch.setattr("mitosieve.review.deciding.MOST_STEPS", 1)
    field = Field(size_mm=(3.0, 3.0), area_mm2=2.0, shape="square")
    opened = np.random.default_rng(1).uniform(0.5, 2, (6, 2))
    found, is_exact = deciding(np.zeros((0, 2)), opened, field, by_cuts(2, 9))
    assert not is_exact
    assert (found | ~brute(np.zeros((0, 2)), opened, field, by_cuts(2, 9))).all()


@pytest.mark.parametrize("shape", ["square", "rectangle", "circle"])
def test_the_largest_count_through_a_point(shape):
    """Of the regions that hold a point the best one is found, and the point counts once."""
    generator = np.random.default_rng(2)
    field = Field(size_mm=(4.0, 4.0), area_mm2=1.0, shape=shape)
    for _ in range(5):
        points = generator.uniform(0, 4, (12, 2))
        through = points[:1]
        found = field.most_with(points[1:], through)
        heavy = np.concatenate([points[1:], np.repeat(through, 50, axis=0)])
        assert found == find_hotspot(heavy, size_mm=(4.0, 4.0), area_mm2=1.0, shape=shape).count - 49
