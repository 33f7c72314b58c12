import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.score.boxes import box_average_precision
from mitosieve.score.froc import froc
from mitosieve.score.match import near_pairs
from mitosieve.score.sweep import sweep
from scene import MPP, OBLONG, a_scene, greedy_by_hand, places

SEEDS = st.integers(0, 100_000)


@given(SEEDS)
def test_froc_equals_rescoring_at_forty_thresholds(seed):
    """Direct: match anew at each of 40 thresholds, best recall per false-alarm rate, straight lines, trapezoids."""
    figures, detections, score = a_scene(seed, most=40, extent=80)
    curve = froc(sweep(near_pairs(figures, detections, mpp=MPP), score), num_images=3)
    if not len(figures):
        assert np.isnan(curve.area)
        return
    best = {0.0: 0.0}
    for threshold in np.linspace(score.min(), score.max(), 40) if len(score) else []:
        is_used = score >= threshold
        tp = sum(hit >= 0 for hit in greedy_by_hand(figures, detections, MPP, 7.5, is_used))
        rate = (is_used.sum() - tp) / 3
        best[rate] = max(best.get(rate, 0.0), tp / len(figures))
    rates = sorted(best)
    grid = np.linspace(0, 8, 50)
    recall = np.interp(grid, rates, [best[rate] for rate in rates])
    assert curve.recall == pytest.approx(recall)
    assert curve.area == pytest.approx(sum((recall[:-1] + recall[1:]) / 2 * np.diff(grid)))
    assert 0 <= curve.area <= 8


def test_a_perfect_detector_fills_the_froc():
    """All figures and no false alarm: area 8."""
    cells = places([0, 0], [[0, 0], [99, 0]])
    curve = froc(sweep(near_pairs(cells, cells, mpp=MPP), np.array([0.9, 0.4])), num_images=1)
    assert curve.area == pytest.approx(8.0)


def iou_by_hand(a, b):
    shared = max(0.0, 22.5 - abs(a[0] - b[0])) * max(0.0, 22.5 - abs(a[1] - b[1]))
    return shared / (2 * 22.5**2 - shared)


@given(SEEDS, st.sampled_from([MPP, OBLONG]))
def test_box_average_precision_equals_a_direct_one(seed, mpp):
    """Detections by falling score take the free box of largest overlap; precision is read at 101 recalls."""
    figures, detections, score = a_scene(seed, most=30, extent=60)
    pairs = near_pairs(figures, detections, mpp=mpp)
    actual = box_average_precision(pairs, figures, detections, score, mpp)
    if not len(figures):
        assert np.isnan(actual)
        return
    free, hits = set(range(len(figures))), []
    for d in np.argsort(-score, kind="stable"):
        slide = detections.slide[d]
        overlap = {
            f: iou_by_hand(figures.center_l0[f] * mpp[slide], detections.center_l0[d] * mpp[slide])
            for f in sorted(free)
            if figures.slide[f] == slide
        }
        best = max(overlap, key=lambda f: round(overlap[f], 12), default=None)
        hits.append(best is not None and overlap[best] >= 0.5 - 1e-9)
        if hits[-1]:
            free.discard(best)
    tp = np.cumsum(hits)
    expected = 0.0
    for recall in np.linspace(0, 1, 101):
        reached = [tp[k] / (k + 1) for k in range(len(tp)) if tp[k] / len(figures) >= recall]
        expected += max(reached, default=0.0) / 101
    assert actual == pytest.approx(expected)


def test_boxes_accept_7_5_um_along_an_axis_but_not_diagonally():
    """30 px at 0.25 um along x overlap by half; the same distance along the diagonal overlaps less."""
    figure = places([0], [[0, 0]])
    for offset, expected in (((30, 0), 1.0), ((31, 0), 0.0), ((20, 20), 0.0), ((16, 16), 1.0)):
        detection = places([0], [offset])
        pairs = near_pairs(figure, detection, mpp=MPP)
        assert box_average_precision(pairs, figure, detection, np.array([0.9]), MPP) == expected
