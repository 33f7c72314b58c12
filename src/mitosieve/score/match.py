"""Pairs of mitotic figures and detections within a radius, and the rules that choose among them.

Works on pooled points of many slides. Knows nothing of thresholds, curves or intervals.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from mitosieve.compiled import compiled
from mitosieve.score.counted import Places
from mitosieve.score.metrics import Score

RADIUS_UM = 7.5
"""Largest distance of a figure and the detection that found it; a pair at exactly this distance counts.

Source: the MIDOG evaluation containers (7.5e-3 mm).
"""

_ROUNDING = 1e-9
"""Share of the radius below which distances do not differ: after px were multiplied by mpp 7.5 um stay inside, and two
detections that lie equally near, one along x and one along y of oblong pixels, are equally near."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """All (figure, detection) of one slide within the radius, figure by figure, the preferred detection first.

    A figure prefers the nearest detection; of equally near ones (to a billionth of the radius), the earlier row.

    Attributes:
        figure: (P,) int64 rows of figures, rising.
        detection: (P,) int64 rows of detections.
        distance_um: (P,) float64.
        num_figures, num_detections: how many there are, near or not.
    """

    figure: Rows
    detection: Rows
    distance_um: NDArray[np.float64]
    num_figures: int
    num_detections: int

    def among(self, is_used: NDArray[np.bool_], is_sought: NDArray[np.bool_] | None = None) -> "Pairs":
        """The pairs of the detections `is_used` (D,) and, where given, the figures `is_sought` (F,)."""
        kept = is_used[self.detection]
        if is_sought is not None:
            kept &= is_sought[self.figure]
        return Pairs(
            figure=self.figure[kept],
            detection=self.detection[kept],
            distance_um=self.distance_um[kept],
            num_figures=self.num_figures,
            num_detections=self.num_detections,
        )

    @property
    def start(self) -> Rows:
        """(F + 1,) where each figure's pairs begin."""
        return np.searchsorted(self.figure, np.arange(self.num_figures + 1)).astype(np.int64)


def near_pairs(figures: Places, detections: Places, *, mpp: NDArray[np.float64], radius_um: float = RADIUS_UM) -> Pairs:
    """Find all pairs within `radius_um` (at exactly the radius: within), each slide at its own mpp.

    Time grows with the points and the pairs found, not with their product (grid hashing, one grid for all slides).

    Args:
        figures: F points.
        detections: D points of the same slides and frame.
        mpp: (S,) um per px of each slide, or (S, 2) in x and y.
        radius_um: above zero.
    """
    sides = sides_of(mpp)
    square = sides.mean(axis=1)  # oblong pixels are stretched to square ones of their mean
    figures, detections = (
        Places(slide=item.slide, center_l0=item.center_l0 * (sides / square[:, None])[item.slide])
        if len(item)
        else item
        for item in (figures, detections)
    )
    figure, detection, squared_px2 = _find_pairs(figures, detections, square, radius_um)
    return Pairs(
        figure=figure,
        detection=detection,
        distance_um=np.sqrt(squared_px2) * square[figures.slide[figure]],
        num_figures=len(figures),
        num_detections=len(detections),
    )


def sides_of(mpp: NDArray[np.float64]) -> NDArray[np.float64]:
    """The um per px in x and y (S, 2) of slides, from (S,) where pixels are square."""
    return mpp if mpp.ndim == 2 else np.repeat(mpp[:, None], 2, axis=1)


def _find_pairs(
    figures: Places, detections: Places, mpp: NDArray[np.float64], radius_um: float
) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """The pairs in order and their squared distances, by looking into the 3 x 3 grid cells around each figure."""
    if radius_um <= 0:
        raise ValueError(f"the matching radius is {radius_um} um; it must be above zero")
    if not len(figures) or not len(detections):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    radius_px = radius_um / mpp * (1 + _ROUNDING)
    cell = np.floor(figures.center_l0 / radius_px[figures.slide, None])
    low, high = cell.min(axis=0), cell.max(axis=0)
    columns, rows = (high - low + 5).astype(np.int64)
    # Detections far from every figure are moved to a cell two beyond the figures': no figure looks there.
    other = np.clip(np.floor(detections.center_l0 / radius_px[detections.slide, None]), low - 2, high + 2)

    def key(cells: NDArray[np.float64], slide: NDArray[np.intp]) -> Rows:
        place = (cells - low + 2).astype(np.int64)
        return (slide * rows + place[:, 1]) * columns + place[:, 0]

    detection_key = key(other, detections.slide)
    by_cell = np.argsort(detection_key, kind="stable").astype(np.int64)
    return _scan_cells(
        figures.center_l0,
        detections.center_l0[by_cell],
        (radius_px**2)[figures.slide],
        key(cell, figures.slide),
        detection_key[by_cell],
        by_cell,
        int(columns),
    )


@compiled()
def _scan_cells(  # noqa: PLR0913 - compiled code takes arrays, not records
    figure: NDArray[np.float64],
    detection: NDArray[np.float64],
    reach_px2: NDArray[np.float64],
    figure_key: Rows,
    detection_key: Rows,
    row: Rows,
    columns: int,
) -> tuple[Rows, Rows, NDArray[np.float64]]:  # pragma: no cover - compiled
    """Detections come sorted by cell; the three cells of a row of cells are one run, found by bisection."""
    capacity, n = max(16, 2 * len(figure)), 0
    first = np.empty(capacity, np.int64)
    second = np.empty(capacity, np.int64)
    squared = np.empty(capacity, np.float64)
    for i in range(len(figure)):
        begin = n
        for step in (-columns, 0, columns):
            k = np.searchsorted(detection_key, figure_key[i] + step - 1)
            while k < len(detection_key) and detection_key[k] <= figure_key[i] + step + 1:
                d2 = (figure[i, 0] - detection[k, 0]) ** 2 + (figure[i, 1] - detection[k, 1]) ** 2
                if d2 <= reach_px2[i]:
                    if n == capacity:
                        first = np.concatenate((first, np.empty(capacity, np.int64)))
                        second = np.concatenate((second, np.empty(capacity, np.int64)))
                        squared = np.concatenate((squared, np.empty(capacity, np.float64)))
                        capacity *= 2
                    first[n], second[n], squared[n] = i, row[k], d2
                    n += 1
                k += 1
        if n - begin > 1:
            by_row = np.argsort(second[begin:n])
            nearness = np.rint(np.sqrt(squared[begin:n][by_row] / reach_px2[i]) / _ROUNDING)
            preferred = by_row[np.argsort(nearness, kind="mergesort")]
            second[begin:n] = second[begin:n][preferred]
            squared[begin:n] = squared[begin:n][preferred]
    return first[:n].copy(), second[:n].copy(), squared[:n].copy()


def match_greedy(pairs: Pairs, is_used: NDArray[np.bool_] | None = None) -> Rows:
    """The official rule: figures in file order each take the nearest detection that is still unused.

    A figure hit by several detections is found once; the others are false alarms. A detection near several figures
    finds one of them. Equal distances: the earlier row of the table.

    Args:
        pairs: within the radius.
        is_used: (D,) which detections take part; None for all.

    Returns:
        (F,) int64, for each figure its pair's position in `pairs`; -1 where it is missed.

    Source:
        evalutils `score_detection` as called by the MIDOG evaluation containers.
        Differs: a slide without detections is not skipped, its figures are missed.
    """
    is_free = np.ones(pairs.num_detections, dtype=np.bool_) if is_used is None else is_used.copy()
    return _match_greedy(pairs.start, pairs.detection, is_free)


@compiled()
def _match_greedy(start: Rows, detection: Rows, is_free: NDArray[np.bool_]) -> Rows:  # pragma: no cover - compiled
    chosen = np.full(len(start) - 1, -1)
    for figure in range(len(chosen)):
        for position in range(start[figure], start[figure + 1]):
            if is_free[detection[position]]:
                is_free[detection[position]] = False
                chosen[figure] = position
                break
    return chosen


def match_optimal(pairs: Pairs) -> Rows:
    """As many figures found as one-to-one pairs within the radius allow, and among those the smallest summed distance.

    Does not depend on file order, so it finds at least as many as the official rule. Reported beside it, never instead.

    Returns:
        (F,) int64, as `match_greedy`.
    """
    chosen = np.full(pairs.num_figures, -1, dtype=np.int64)
    if not len(pairs.figure):
        return chosen
    start, near = pairs.start, np.bincount(pairs.detection, minlength=pairs.num_detections)
    # A figure that shares none of its detections takes its nearest; only the rest has to be weighed.
    is_shared = np.zeros(pairs.num_figures, dtype=np.bool_)
    is_shared[pairs.figure[near[pairs.detection] > 1]] = True
    single = ~is_shared & (np.diff(start) > 0)
    chosen[single] = start[:-1][single]
    positions = np.flatnonzero(is_shared[pairs.figure])
    if len(positions):
        taken = positions[_assign(pairs.figure[positions], pairs.detection[positions], pairs.distance_um[positions])]
        chosen[pairs.figure[taken]] = taken
    return chosen


def _assign(figure: Rows, detection: Rows, distance: NDArray[np.float64]) -> Rows:
    """Rows of the chosen pairs: a full matching in which each figure may also take a costly stand-in of its own.

    The stand-in costs more than all distances of a connected group of pairs together, so that it is taken only where no
    detection is left; what remains is the smallest sum.
    """
    figures, f = np.unique(figure, return_inverse=True)
    detections, d = np.unique(detection, return_inverse=True)
    num_f, num_d = len(figures), len(detections)
    cost = 1.0 + distance / distance.max() if distance.max() > 0 else np.ones(len(distance))
    graph = csr_array((np.ones(len(f), np.int8), (f, num_f + d)), shape=(num_f + num_d, num_f + num_d))
    _, group = connected_components(graph, directed=False)
    stand_in = 2.0 * float(np.bincount(group[:num_f]).max()) + 2.0
    weights = csr_array(
        (
            np.concatenate([cost, np.full(num_f, stand_in)]),
            (np.concatenate([f, np.arange(num_f)]), np.concatenate([d, num_d + np.arange(num_f)])),
        ),
        shape=(num_f, num_d + num_f),
    )
    row, column = min_weight_full_bipartite_matching(weights)
    column_of = np.empty(num_f, dtype=np.int64)
    column_of[row] = column
    return np.flatnonzero(column_of[f] == d)


def count_lenient(pairs: Pairs, is_used: NDArray[np.bool_]) -> Score:
    """The rule of UTS and DASC: every detection near a figure is right; missed is a figure with none near.

    Repeats on one figure all count as right, so its scores are too high. Only for comparison with those papers.

    Args:
        pairs: within the radius.
        is_used: (D,) which detections take part.

    Source: the evaluation code of UTS (Fernandez-Martin et al.), which DASC shares.
    """
    near = pairs.among(is_used)
    tp = len(np.unique(near.detection))
    return Score(tp=tp, fp=int(is_used.sum()) - tp, fn=pairs.num_figures - len(np.unique(near.figure)))
