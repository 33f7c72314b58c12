import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mitosieve.score.match import count_lenient, match_greedy, match_optimal, near_pairs
from scene import MPP, OBLONG, a_scene, greedy_by_hand, places

SEEDS = st.integers(0, 100_000)
PIXELS = st.sampled_from([MPP, OBLONG])


def taken(pairs, chosen):
    return [int(pairs.detection[position]) if position >= 0 else -1 for position in chosen]


@given(SEEDS, st.sampled_from([2.5, 7.5, 12.0]), PIXELS)
def test_pairs_are_all_those_within_the_radius_nearest_first(seed, radius, mpp):
    """The grid finds what the double loop finds, as far apart, on slides of any mpp, in the order figures prefer."""
    figures, detections, _ = a_scene(seed)
    expected = []
    for f in range(len(figures)):
        near = []
        for d in range(len(detections)):
            um = float(np.hypot(*((figures.center_l0[f] - detections.center_l0[d]) * mpp[figures.slide[f]])))
            if figures.slide[f] == detections.slide[d] and um <= radius * (1 + 1e-9):
                near.append((round(um, 9), d))
        expected += [(f, d, um) for um, d in sorted(near)]
    pairs = near_pairs(figures, detections, mpp=mpp, radius_um=radius)
    assert list(zip(pairs.figure.tolist(), pairs.detection.tolist(), strict=True)) == [row[:2] for row in expected]
    assert pairs.distance_um == pytest.approx([um for _, _, um in expected])


@given(SEEDS, PIXELS)
def test_greedy_matching_equals_the_double_loop(seed, mpp):
    """Figures in file order take the nearest unused detection; equal distances go to the earlier row."""
    figures, detections, score = a_scene(seed)
    pairs = near_pairs(figures, detections, mpp=mpp)
    assert taken(pairs, match_greedy(pairs)) == greedy_by_hand(figures, detections, mpp, 7.5)
    is_used = score >= 0.5
    assert taken(pairs, match_greedy(pairs, is_used)) == greedy_by_hand(figures, detections, mpp, 7.5, is_used)


@given(SEEDS)
def test_optimal_matching_is_the_largest_and_then_the_nearest(seed):
    """Against a dense assignment in which every pair beyond the radius is forbidden."""
    figures, detections, _ = a_scene(seed, num_slides=1, most=30, extent=70)
    pairs = near_pairs(figures, detections, mpp=MPP)
    chosen = match_optimal(pairs)
    hit = chosen[chosen >= 0]
    assert (pairs.figure[hit] == np.flatnonzero(chosen >= 0)).all()
    assert len(set(pairs.detection[hit])) == len(hit)
    far = 1e4
    cost = np.full((len(figures), len(detections)), far)
    cost[pairs.figure, pairs.detection] = pairs.distance_um
    row, column = linear_sum_assignment(cost)
    best = cost[row, column]
    assert len(hit) == (best < far).sum()
    assert pairs.distance_um[hit].sum() == pytest.approx(best[best < far].sum(), abs=1e-6)
    assert len(hit) >= (match_greedy(pairs) >= 0).sum()


def test_greedy_depends_on_file_order_and_optimal_does_not():
    """The first figure takes the only detection the second could have; the optimal matching finds both."""
    figures = places([0, 0], [[10, 0], [30, 0]])
    detections = places([0, 0], [[12, 0], [-12, 0]])
    pairs = near_pairs(figures, detections, mpp=MPP)
    assert taken(pairs, match_greedy(pairs)) == [0, -1]
    assert taken(pairs, match_optimal(pairs)) == [1, 0]


@pytest.mark.parametrize(
    ("mpp", "offset_px", "is_found"), [(0.25, 30, 1), (0.25, 30.01, 0), (0.1, 75, 1), (0.3, 25, 1)]
)
def test_a_pair_at_exactly_the_radius_counts(mpp, offset_px, is_found):
    """7.5 um is found, a hair more is not, whatever the mpp multiplies to."""
    pairs = near_pairs(places([0], [[0, 0]]), places([0], [[offset_px, 0]]), mpp=np.array([mpp]))
    assert len(pairs.figure) == is_found


def test_rounding_of_positions_does_not_push_a_pair_out_of_the_radius():
    """30 px apart, but the decimal positions differ by a hair more than 30 in floating point: still found."""
    first, second = 2.2, 32.2
    assert second - first > 30
    pairs = near_pairs(places([0], [[first, 0]]), places([0], [[second, 0]]), mpp=MPP)
    assert len(pairs.figure) == 1


def test_many_equally_near_detections_keep_row_order():
    """A hundred detections on one spot: the figures there take the first rows, in order."""
    figures, detections = places([0] * 5, [[9, 9]] * 5), places([0] * 100, [[9, 12]] * 100)
    pairs = near_pairs(figures, detections, mpp=MPP)
    assert taken(pairs, match_greedy(pairs)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("at", [(0, 0), (7, 3), (13, 29)])
def test_detections_equally_near_along_both_sides_of_oblong_pixels_keep_row_order(at):
    """1 um to the right is as near as 1 um below, wherever on the slide, and the earlier row is preferred."""
    for offsets in ([[4, 0], [0, 2]], [[0, 2], [4, 0]]):
        detections = places([0, 0], np.add(at, offsets))
        pairs = near_pairs(places([0], [at]), detections, mpp=OBLONG[:1])
        assert pairs.detection.tolist() == [0, 1]


def test_each_slide_is_matched_at_its_own_mpp_and_never_across_slides():
    """20 px are 5 um on one slide and 10 um on the other; equal places on two slides are no pair."""
    figures = places([0, 1, 0], [[0, 0], [0, 0], [500, 500]])
    detections = places([0, 1, 1], [[20, 0], [20, 0], [500, 500]])
    pairs = near_pairs(figures, detections, mpp=np.array([0.25, 0.5]))
    assert taken(pairs, match_greedy(pairs)) == [0, -1, -1]


def test_detections_absurdly_far_away_are_only_far_away():
    """A coordinate of 1e12 px neither breaks the grid nor finds anything."""
    figures, detections = places([0], [[5, 5]]), places([0, 0, 0], [[1e12, 5], [-1e12, -1e12], [6, 5]])
    assert near_pairs(figures, detections, mpp=MPP).detection.tolist() == [2]


def test_the_lenient_rule_counts_repeats_as_right():
    """Three detections on one of two figures: one found and two false officially, three right leniently."""
    figures = places([0, 0], [[0, 0], [500, 0]])
    detections = places([0, 0, 0, 0], [[1, 0], [2, 0], [3, 0], [900, 900]])
    pairs = near_pairs(figures, detections, mpp=MPP)
    score = count_lenient(pairs, np.array([True, True, True, True]))
    assert (score.tp, score.fp, score.fn) == (3, 1, 1)
    assert (match_greedy(pairs) >= 0).sum() == 1


def test_a_radius_of_zero_is_refused():
    """Nothing can lie within no distance."""
    with pytest.raises(ValueError, match="radius"):
        near_pairs(places([0], [[0, 0]]), places([0], [[0, 0]]), mpp=MPP, radius_um=0)
