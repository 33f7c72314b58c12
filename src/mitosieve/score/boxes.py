"""Average precision as the MIDOG 2025 container states it: points grown to boxes, matched by overlap.

An extra figure for comparison with the leaderboard; distances, not boxes, decide every other figure.
"""

import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled
from mitosieve.score.counted import Places
from mitosieve.score.match import Pairs, sides_of

HALF_BOX_UM = 11.25
"""Half a box's side: two boxes 7.5 um apart along one axis then overlap with IoU 0.5 (MIDOG 2025)."""

MIN_IOU = 0.5
_ROUNDING = 1e-9
"""Overlaps differ by more than this, or not at all: px were multiplied by mpp."""
_NUM_RECALLS = 101


def box_average_precision(
    pairs: Pairs, figures: Places, detections: Places, score: NDArray[np.float64], mpp: NDArray[np.float64]
) -> float:
    """AP at IoU 0.5 of boxes of +/-11.25 um, precision read at 101 recalls; NaN without figures.

    Detections by falling score (ties: row order) each take the free figure of largest overlap (ties: file order). Boxes
    of IoU 0.5 have centres at most 7.5 um apart, so `pairs` must reach at least that far.

    Args:
        pairs: all pairs within 7.5 um or more.
        figures: F, those that `pairs` numbers.
        detections: D, likewise.
        score: (D,).
        mpp: (S,) um per px, or (S, 2) in x and y.

    Source:
        the MIDOG 2025 evaluation container (torchmetrics map_50 with COCO's 101 recalls).
    """
    if not pairs.num_figures:
        return float("nan")
    offset = figures.center_l0[pairs.figure] - detections.center_l0[pairs.detection]
    overlap = _iou(np.abs(offset) * sides_of(mpp)[figures.slide[pairs.figure]])
    kept = overlap >= MIN_IOU - _ROUNDING
    detection, figure = pairs.detection[kept], pairs.figure[kept]
    by_choice = np.lexsort((figure, -np.rint(overlap[kept] / _ROUNDING), detection))
    start = np.searchsorted(detection[by_choice], np.arange(pairs.num_detections + 1))
    order = np.argsort(-score, kind="stable")
    is_hit = _take(order, start, figure[by_choice], pairs.num_figures)
    return _read_at_recalls(is_hit, pairs.num_figures)


def _iou(apart_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) overlap of equal squares whose centres are `apart_um` (P, 2) apart."""
    side = 2 * HALF_BOX_UM
    shared = np.prod(np.maximum(side - apart_um, 0.0), axis=1)
    return shared / (2 * side * side - shared)


@compiled()
def _take(
    order: NDArray[np.int64], start: NDArray[np.int64], figure: NDArray[np.int64], num_figures: int
) -> NDArray[np.bool_]:  # pragma: no cover - compiled
    is_taken = np.zeros(num_figures, np.bool_)
    is_hit = np.zeros(len(order), np.bool_)
    for step in range(len(order)):
        for place in range(start[order[step]], start[order[step] + 1]):
            if not is_taken[figure[place]]:
                is_taken[figure[place]] = True
                is_hit[step] = True
                break
    return is_hit


def _read_at_recalls(is_hit: NDArray[np.bool_], num_figures: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or more; a recall never reached counts 0."""
    if not len(is_hit):
        return 0.0
    tp = np.cumsum(is_hit)
    precision = tp / np.arange(1, len(tp) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    place = np.searchsorted(tp / num_figures, np.linspace(0.0, 1.0, _NUM_RECALLS), side="left")
    return float(best[place].mean())
