import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.score.match import near_pairs
from mitosieve.score.sweep import Sweep, average_precision, best_threshold, sweep, thin
from scene import MPP, a_scene, greedy_by_hand, places

SEEDS = st.integers(0, 100_000)


def a_curve(threshold, tp, fp, num_figures=10):
    return Sweep(threshold=np.array(threshold, dtype=float), tp=np.array(tp), fp=np.array(fp), num_figures=num_figures)


def swept(figures, detections, score):
    return sweep(near_pairs(figures, detections, mpp=MPP), score)


@given(SEEDS)
def test_one_pass_equals_matching_anew_at_each_threshold(seed):
    """The chain of hand-overs gives exactly the counts of the official rule on the detections that are left."""
    figures, detections, score = a_scene(seed, num_slides=2, most=40, extent=80)
    curve = swept(figures, detections, score)
    assert curve.threshold.tolist() == sorted(set(score.tolist()), reverse=True)
    for row, threshold in enumerate(curve.threshold):
        is_used = score >= threshold
        tp = sum(hit >= 0 for hit in greedy_by_hand(figures, detections, MPP, 7.5, is_used))
        assert (curve.tp[row], curve.fp[row]) == (tp, is_used.sum() - tp)


@given(SEEDS)
def test_counts_between_the_scores_are_those_of_the_next_higher_score(seed):
    """`at` keeps detections with score >= threshold, also above and below all scores."""
    figures, detections, score = a_scene(seed)
    curve = swept(figures, detections, score)
    asked = np.array([2.0, 1.0, 0.71, 0.6, 0.3, 0.0, -1.0])
    tp, fp = curve.at(asked)
    assert (tp + fp).tolist() == [(score >= threshold).sum() for threshold in asked]
    for threshold, count in zip(asked, tp, strict=True):
        expected = greedy_by_hand(figures, detections, MPP, 7.5, score >= threshold)
        assert count == sum(hit >= 0 for hit in expected)


@given(SEEDS)
def test_no_threshold_beats_the_chosen_one(seed):
    """Its F1 is that of matching at it, and the best there is; among equals no higher plateau exists."""
    figures, detections, score = a_scene(seed)
    best = best_threshold(swept(figures, detections, score))
    if not len(score):
        assert best.threshold == 1.0
        return

    def f1(threshold):
        tp = sum(hit >= 0 for hit in greedy_by_hand(figures, detections, MPP, 7.5, score >= threshold))
        return 2 * tp / max(1, (score >= threshold).sum() + len(figures))

    assert f1(best.threshold) == pytest.approx(best.f1)
    for threshold in set(score.tolist()):
        assert f1(threshold) <= best.f1 + 1e-12
        if threshold > best.threshold and (score >= threshold).sum() < (score >= best.threshold).sum():
            assert f1(threshold) < best.f1


def test_the_threshold_lies_in_the_middle_of_its_plateau():
    """Thresholds in (0.5, 0.9] keep the same detections; the lowest score is its own plateau."""
    assert best_threshold(a_curve([0.9, 0.5, 0.1], [5, 5, 5], [0, 5, 9])).threshold == pytest.approx(0.7)
    assert best_threshold(a_curve([0.9, 0.5], [1, 9], [0, 0])).threshold == 0.5


def test_of_equal_f1_the_higher_threshold_wins():
    """F1 2/3 at both ends: the one with fewer detections is taken."""
    curve = a_curve([0.8, 0.6, 0.2], [1, 1, 2], [0, 2, 2], num_figures=2)
    assert curve.f1[0] == curve.f1[2] == pytest.approx(2 / 3)
    assert best_threshold(curve).threshold == pytest.approx(0.7)


def test_neighbouring_floats_as_scores_keep_the_plateau():
    """Where no number lies between two scores the upper one is returned, so the lower stays out."""
    upper = 0.5
    lower = np.nextafter(upper, 0)
    assert best_threshold(a_curve([upper, lower], [5, 5], [0, 5])).threshold == upper


def test_average_precision_of_known_rankings():
    """Hit, miss, hit of two figures: 1/2 + 1/2 * 2/3; all found first: 1; nothing found: 0; no figures: undefined."""
    assert average_precision(a_curve([3, 2, 1], [1, 1, 2], [0, 1, 1], 2)) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(a_curve([3, 2, 1], [1, 2, 2], [0, 0, 1], 2)) == pytest.approx(1.0)
    assert average_precision(a_curve([3, 2], [0, 0], [1, 2], 2)) == 0.0
    assert average_precision(a_curve([], [], [], 2)) == 0.0
    assert np.isnan(average_precision(a_curve([3], [0], [1], 0)))


@given(SEEDS)
def test_average_precision_lets_a_later_better_precision_count_backwards(seed):
    """Equal to the definition: at each recall gained, the best precision at that recall or beyond."""
    curve = swept(*a_scene(seed, most=40, extent=70))
    if not curve.num_figures:
        return
    expected, before = 0.0, 0.0
    for row in range(len(curve.threshold)):
        expected += (curve.recall[row] - before) * max(curve.precision[row:])
        before = curve.recall[row]
    assert average_precision(curve) == pytest.approx(expected)


def test_a_thinned_curve_keeps_its_ends_and_its_best_point():
    """At most 500 rows of many, in their order."""
    n = 20_000
    tp = np.cumsum(np.random.default_rng(0).random(n) < np.linspace(1, 0, n) ** 4)
    curve = a_curve(np.linspace(1, 0, n), tp, np.arange(1, n + 1) - tp, 6000)
    rows = thin(curve)
    assert len(rows) <= 500
    assert (np.diff(rows) > 0).all()
    assert {0, n - 1, int(np.argmax(curve.f1))} <= set(rows.tolist())
    assert thin(a_curve([2, 1], [1, 1], [0, 1])).tolist() == [0, 1]


def test_a_detection_that_enters_late_can_pass_its_figure_on():
    """The nearer detection takes the first figure; the one it drives out finds the second."""
    figures = places([0, 0], [[0, 0], [20, 0]])
    detections = places([0, 0], [[10, 0], [-1, 0]])
    curve = swept(figures, detections, np.array([0.9, 0.8]))
    assert curve.tp.tolist() == [1, 2]
