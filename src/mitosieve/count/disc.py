"""Where a disc of fixed radius covers most points, exactly, by bound and prune. Knows numbers only.

The centre is searched. A rectangle of centres has a sure count (points that every centre in it covers) and an open
count (points that some centre may cover). Rectangles whose sum cannot reach the best count are dropped, others are
halved, and where few points are open the deepest place is worked out from their circles: the topmost point of an
intersection of discs and a rectangle is a corner of the rectangle, a crossing of a circle with an edge or with another
circle, or the top of a circle.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled

SLACK_NM = 1e-3
"""A point this far outside the circle still counts: far above the rounding of the crossings, far below any meaning."""

_FEW = 14
"""Open points that are worked out rather than halved further; work grows with their cube."""

_SMALLEST_NM = 8.0
"""A rectangle of this size is worked out however many points are open."""

_DEEPEST = 256
"""Rectangles that wait at once: two for each halving from a grid's cell (at most metres) to the smallest."""

_CELLS_PER_RADIUS = 4
_MOST_CELLS = 2_000_000


def deepest_disc(
    point_nm: NDArray[np.int64], *, size_nm: tuple[int, int], radius_nm: int
) -> tuple[int, tuple[float, float]]:
    """The largest number of points in a closed disc that lies inside [0, width] x [0, height], and its centre.

    Ties: the topmost centre, then the leftmost, compared in whole nm. It is then moved towards the mean of its points:
    all the way if the disc still holds them all and lies inside, else half as far as it does. A count of 0 has the
    middle.

    Args:
        point_nm: (N, 2), N at least 1.
        size_nm: width, height; at least twice the radius.
        radius_nm: of the disc.
    """
    place, weight = np.unique(point_nm, axis=0, return_counts=True)  # sorted: the order of the input is forgotten
    points = np.column_stack([place, weight]).astype(np.float64)
    radius = float(radius_nm)
    room = np.array([[radius, radius], [size_nm[0] - radius, size_nm[1] - radius]])
    grid = _Grid(points, room, radius)
    best = _search(grid.points, grid.start, grid.cell, grid.bound, (grid.columns, grid.pad, grid.side, radius), room)
    if best[0] == 0:  # all points lie in corners, where no disc reaches
        return 0, (size_nm[0] / 2, size_nm[1] / 2)
    return round(best[0]), _centred(points[:, :2], best[1:], room, radius)


class _Grid:
    """Points by cell, and for each cell of centres how many points the cells within a radius of it hold.

    The grid covers the centres' room, (2, 2) its upper left and lower right, and `pad` cells more on each side.
    """

    def __init__(self, points: NDArray[np.float64], room: NDArray[np.float64], radius: float) -> None:
        extent = room[1] - room[0]
        self.side = max(radius / _CELLS_PER_RADIUS, math.sqrt(float(extent[0] * extent[1]) / _MOST_CELLS))
        self.pad = math.ceil(radius / self.side) + 1
        columns, rows = (max(1, math.ceil(length / self.side)) for length in extent.tolist())
        self.columns, lines = columns + 2 * self.pad, rows + 2 * self.pad
        at = np.floor((points[:, :2] - room[0]) / self.side).astype(np.int64) + self.pad
        key = at[:, 1] * self.columns + at[:, 0]
        order = np.argsort(key, kind="stable")
        self.points = np.ascontiguousarray(points[order])
        self.start = np.searchsorted(key[order], np.arange(self.columns * lines + 1))
        held = np.bincount(key, weights=points[:, 2], minlength=self.columns * lines).astype(np.int64)
        bound = self._reach(held.reshape(lines, self.columns), rows, columns, radius)
        inner = (np.arange(rows)[:, None] + self.pad) * self.columns + np.arange(columns) + self.pad
        by_bound = np.argsort(-bound.ravel(), kind="stable")  # equal bounds: topmost first
        self.cell, self.bound = inner.ravel()[by_bound], bound.ravel()[by_bound]

    def _reach(self, held: NDArray[np.int64], rows: int, columns: int, radius: float) -> NDArray[np.int64]:
        """(rows, columns) points in the cells that come within a radius of each cell: row by row, from running sums."""
        running = np.zeros((held.shape[0], held.shape[1] + 1), dtype=np.int64)
        np.cumsum(held, axis=1, out=running[:, 1:])
        reach = np.zeros((rows, columns), dtype=np.int64)
        for dy in range(-self.pad, self.pad + 1):
            gap = max(abs(dy) - 1, 0) * self.side
            wide = min(self.pad, math.floor(math.sqrt(max(0.0, radius**2 - gap**2)) / self.side) + 1)
            line = running[self.pad + dy : self.pad + dy + rows]
            reach += line[:, self.pad + wide + 1 : self.pad + wide + 1 + columns]
            reach -= line[:, self.pad - wide : self.pad - wide + columns]
        return reach


def _centred(
    points: NDArray[np.float64], center: NDArray[np.float64], room: NDArray[np.float64], radius: float
) -> tuple[float, float]:
    """The centre moved towards the mean of its points; the places that keep them are convex, so a line is enough."""
    held = points[np.hypot(*(points - center).T) <= radius + SLACK_NM]
    step = np.clip(held.mean(axis=0), room[0], room[1]) - center

    def keeps(share: float) -> bool:
        return bool((np.hypot(*(held - (center + share * step)).T) <= radius).all())

    good, bad = (1.0, 1.0) if keeps(1.0) else (0.0, 1.0)
    for _ in range(40):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if keeps(middle) else (good, middle)
    x, y = center + (1.0 if good == 1.0 else good / 2) * step
    return float(x), float(y)


@compiled()
def _search(
    point: NDArray[np.float64],
    start: NDArray[np.int64],
    cell: NDArray[np.int64],
    bound: NDArray[np.int64],
    measures: tuple[int, int, float, float],
    room: NDArray[np.float64],
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Count, x and y of the deepest place: cells by falling bound, each searched to its end.

    `point` is (N, 3): x, y, how many lie there; `measures` are the grid's columns, padding, side, and the radius.
    """
    columns, pad, side, radius = measures
    best = np.zeros(3)
    buffer = np.empty(4 * len(point) + 64, dtype=np.int64)
    for k in range(len(cell)):
        if bound[k] < best[0] or bound[k] == 0:
            break
        row, column = cell[k] // columns, cell[k] % columns
        count = 0
        for line in range(row - pad, row + pad + 1):
            for j in range(start[line * columns + column - pad], start[line * columns + column + pad + 1]):
                buffer[count] = j
                count += 1
        x0 = room[0, 0] + (column - pad) * side
        y0 = room[0, 1] + (row - pad) * side
        box = (x0, y0, min(x0 + side, room[1, 0]), min(y0 + side, room[1, 1]))
        buffer = _halve(point, box, count, radius, best, buffer)
    return best


@compiled()
def _halve(
    point: NDArray[np.float64],
    box: tuple[float, float, float, float],
    count: int,
    radius: float,
    best: NDArray[np.float64],
    buffer: NDArray[np.int64],
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Search one rectangle of centres, depth first; the first `count` rows of `buffer` are the points to look at.

    The open points of a rectangle lie in the buffer behind those of the one it is half of. Updates `best`; returns the
    buffer, which may have grown.
    """
    corner = np.empty((_DEEPEST, 4))
    sure_of = np.empty(_DEEPEST)
    span = np.empty((_DEEPEST, 2), dtype=np.int64)
    corner[0, 0], corner[0, 1], corner[0, 2], corner[0, 3] = box
    sure_of[0], span[0, 0], span[0, 1] = 0.0, 0, count
    depth = 1
    while depth > 0:
        depth -= 1
        x0, y0, x1, y1 = corner[depth]
        sure, begin, end = sure_of[depth], span[depth, 0], span[depth, 1]
        if 2 * end - begin > len(buffer):
            grown = np.empty(2 * (2 * end - begin), dtype=np.int64)
            grown[:end] = buffer[:end]
            buffer = grown
        top, may = end, 0.0
        for k in range(begin, end):
            px, py, here = point[buffer[k]]
            far = max(abs(px - x0), abs(px - x1)) ** 2 + max(abs(py - y0), abs(py - y1)) ** 2
            if far <= radius**2:
                sure += here
                continue
            near = max(x0 - px, 0.0, px - x1) ** 2 + max(y0 - py, 0.0, py - y1) ** 2
            if near <= (radius + SLACK_NM) ** 2:
                buffer[top] = buffer[k]
                top += 1
                may += here
        if sure + may < best[0] or (sure + may == best[0] and np.rint(y0) > np.rint(best[2])):
            continue
        if top - end <= _FEW or max(x1 - x0, y1 - y0) < _SMALLEST_NM:
            _work_out(point[buffer[end:top]], sure, (x0, y0, x1, y1), radius, best)
            continue
        for second in (1, 0):  # the upper or left half lies on top, and is searched first
            corner[depth, 0], corner[depth, 1], corner[depth, 2], corner[depth, 3] = x0, y0, x1, y1
            if x1 - x0 > y1 - y0:
                corner[depth, 2 - 2 * second] = (x0 + x1) / 2
            else:
                corner[depth, 3 - 2 * second] = (y0 + y1) / 2
            sure_of[depth], span[depth, 0], span[depth, 1] = sure, end, top
            depth += 1
    return buffer


@compiled()
def _work_out(
    point: NDArray[np.float64],
    sure: float,
    box: tuple[float, float, float, float],
    radius: float,
    best: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Try every place of the rectangle that can be the topmost, leftmost one of an intersection of the open discs."""
    x0, y0, x1, y1 = box
    for x in (x0, x1):
        for y in (y0, y1):
            _try(point, sure, box, radius, best, (x, y))
    for a in range(len(point)):
        px, py = point[a, 0], point[a, 1]
        _try(point, sure, box, radius, best, (px, py - radius))
        for sign in (-1.0, 1.0):
            for x in (x0, x1):
                if abs(px - x) <= radius:
                    _try(point, sure, box, radius, best, (x, py + sign * math.sqrt(radius**2 - (px - x) ** 2)))
            for y in (y0, y1):
                if abs(py - y) <= radius:
                    _try(point, sure, box, radius, best, (px + sign * math.sqrt(radius**2 - (py - y) ** 2), y))
        _cross(point, sure, box, radius, best, a)


@compiled()
def _cross(
    point: NDArray[np.float64],
    sure: float,
    box: tuple[float, float, float, float],
    radius: float,
    best: NDArray[np.float64],
    a: int,
) -> None:  # pragma: no cover - compiled
    """Try the crossings of the circle of point `a` with those of the later points."""
    px, py = point[a, 0], point[a, 1]
    for b in range(a + 1, len(point)):
        dx, dy = point[b, 0] - px, point[b, 1] - py
        gap2 = dx**2 + dy**2
        if gap2 > 4 * radius**2:
            continue
        out = math.sqrt(radius**2 / gap2 - 0.25)
        for sign in (-1.0, 1.0):
            _try(
                point,
                sure,
                box,
                radius,
                best,
                (px + dx / 2 + sign * out * dy, py + dy / 2 - sign * out * dx),
            )


@compiled()
def _try(
    point: NDArray[np.float64],
    sure: float,
    box: tuple[float, float, float, float],
    radius: float,
    best: NDArray[np.float64],
    place: tuple[float, float],
) -> None:  # pragma: no cover - compiled
    """Take a place in the rectangle as the best centre if it covers more, or as many and lies further up or left."""
    x, y = place
    if x < box[0] - SLACK_NM or x > box[2] + SLACK_NM or y < box[1] - SLACK_NM or y > box[3] + SLACK_NM:
        return
    x, y = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    count = sure
    for j in range(len(point)):
        if (point[j, 0] - x) ** 2 + (point[j, 1] - y) ** 2 <= (radius + SLACK_NM) ** 2:
            count += point[j, 2]
    if count < best[0]:
        return
    left, up, best_left, best_up = np.rint(x), np.rint(y), np.rint(best[1]), np.rint(best[2])
    if count > best[0] or up < best_up or (up == best_up and left < best_left):
        best[0], best[1], best[2] = count, x, y
