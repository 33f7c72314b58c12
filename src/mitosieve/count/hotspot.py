"""The region of a fixed area, inside a slide, that holds most figures. Knows points in mm; no slides, no detectors.

Frame: mm from the slide's upper left corner (the corner of its first pixel, not that pixel's centre), x to the right,
y down. The search is done in whole nanometres, so that a count never hangs on how a float was rounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled
from mitosieve.count.disc import deepest_disc
from mitosieve.count.shape import SHAPES, Shape

AREA_MM2 = 2.0
"""The field's unit of area since counts are given per mm2. Source: the regions of the MIDOG sets have about 2 mm2."""

_ASPECT = 4 / 3
_NM_PER_MM = 1e6
_CIRCLE_SIDES = 72
_SLACK_MM = 2e-6

Place = tuple[int, int, int, int]
"""Left, top, right and bottom of an upright rectangle, whole nanometres from the slide's upper left corner."""


@dataclass(frozen=True, kw_only=True)
class Hotspot:
    """A region and what it holds. It is closed: a figure on its edge counts.

    Attributes:
        shape: "square", "rectangle" or "circle"; "slide" where the whole slide is smaller than the area asked for;
            "none" where it was not looked for, since there is less tissue than its area.
        center_mm: x, y from the slide's upper left corner.
        size_mm: width, height; a circle's are both its diameter.
        area_mm2: its area.
        count: figures in it. Where it is 0 there is no hotspot and the place, the slide's middle, says nothing.
        tissue_mm2: of its area tissue that was looked at; None where it was not measured.
    """

    shape: Literal["square", "rectangle", "circle", "slide", "none"]
    center_mm: tuple[float, float]
    size_mm: tuple[float, float]
    area_mm2: float
    count: int
    tissue_mm2: float | None = None

    @property
    def held_mm2(self) -> float:
        """What was searched of it: its tissue, or, where that was not measured, its area."""
        return self.area_mm2 if self.tissue_mm2 is None else self.tissue_mm2

    @property
    def density_per_mm2(self) -> float:
        """Figures per mm2 of what was searched; NaN where that is nothing."""
        return self.count / self.held_mm2 if self.held_mm2 else math.nan

    def to_json(self, mpp_xy: tuple[float, float]) -> dict[str, Any]:
        """A region, with its place where it holds a figure, and without numbers where none was looked for."""
        is_none = self.shape == "none"
        density = self.density_per_mm2
        told: dict[str, Any] = {
            "shape": self.shape,
            "area_mm2": round(self.area_mm2, 4),
            "tissue_mm2": None if self.tissue_mm2 is None else round(self.tissue_mm2, 4),
            "size_mm": None if is_none else list(self.size_mm),
            "figures": None if is_none else self.count,
            "figures_per_mm2": None if is_none or not math.isfinite(density) else round(density, 4),
        }
        if self.count:
            x, y, width, height = (round(value, 1) for value in self.bounds_l0(mpp_xy))
            told["bounds_l0"] = {"x": x, "y": y, "width": width, "height": height}
            told["outline_l0"] = self.outline_l0(mpp_xy).round(1).tolist()
            told["center_mm"] = [round(value, 6) for value in self.center_mm]
        return told

    @classmethod
    def none(cls, size_mm: tuple[float, float], area_mm2: float) -> "Hotspot":
        """No region: where a slide of `size_mm` has less tissue than `area_mm2`, there is nothing to choose from."""
        middle = (size_mm[0] / 2, size_mm[1] / 2)
        return cls(shape="none", center_mm=middle, size_mm=(0.0, 0.0), area_mm2=area_mm2, count=0)

    def holds(self, point_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) which points (N, 2) lie in it, its edge included; none where there is no hotspot.

        To 2 nm, since sides and points were rounded to 1 nm when it was found.
        """
        away = np.abs(np.asarray(point_mm, dtype=np.float64).reshape(-1, 2) - np.array(self.center_mm))
        if not self.count:
            return np.zeros(len(away), dtype=np.bool_)
        if self.shape == "circle":
            return np.hypot(away[:, 0], away[:, 1]) <= self.size_mm[0] / 2 + _SLACK_MM
        within = away <= np.array(self.size_mm) / 2 + _SLACK_MM
        return within[:, 0] & within[:, 1]

    def bounds_l0(self, mpp_xy: tuple[float, float]) -> tuple[float, float, float, float]:
        """x, y, width, height in level-0 px (pixel centres at integers) of the smallest upright box around it."""
        x, y = ((c - s / 2) * 1000 / mpp - 0.5 for c, s, mpp in zip(self.center_mm, self.size_mm, mpp_xy, strict=True))
        return x, y, self.size_mm[0] * 1000 / mpp_xy[0], self.size_mm[1] * 1000 / mpp_xy[1]

    def outline_l0(self, mpp_xy: tuple[float, float]) -> NDArray[np.float64]:
        """(N, 2) corners in level-0 px, clockwise as seen, not closed; a circle has 72, on the circle."""
        if self.shape == "circle":
            angle = np.arange(_CIRCLE_SIDES) * (2 * np.pi / _CIRCLE_SIDES)
            unit = np.column_stack([np.cos(angle), np.sin(angle)])
        else:
            unit = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
        mm = np.array(self.center_mm) + unit * (np.array(self.size_mm) / 2)
        return mm * (1000 / np.array(mpp_xy)) - 0.5


def mm_from_l0(center_l0: NDArray[np.floating], mpp_xy: tuple[float, float]) -> NDArray[np.float64]:
    """(N, 2) level-0 px, pixel centres at integers, in mm from the slide's upper left corner."""
    return (np.asarray(center_l0, dtype=np.float64) + 0.5) * (np.array(mpp_xy) / 1000)


def slide_mm(size_l0: tuple[int, int], mpp_xy: tuple[float, float]) -> tuple[float, float]:
    """Width and height of a slide in mm."""
    return size_l0[0] * mpp_xy[0] / 1000, size_l0[1] * mpp_xy[1] / 1000


def find_hotspot(
    point_mm: NDArray[np.floating],
    *,
    size_mm: tuple[float, float],
    area_mm2: float = AREA_MM2,
    shape: Shape = "square",
) -> Hotspot:
    """The region of `area_mm2` inside the slide that holds most points; exact, not a search on a grid.

    A square stands upright. A rectangle is 4:3, upright, and both ways are tried: a section lies on the glass as it
    fell. Where the shape does not fit, the area is kept as long as the slide has it: a circle becomes a square, and
    what is still too wide or high becomes a strip over the whole of the slide's shorter side. A slide that is smaller
    than the area is the region itself.

    Ties: the topmost placement, then the leftmost; a lying rectangle before a standing one. That placement is then
    centred on its points (upright shapes: on their bounding box, as far as the slide's edge allows; circle: towards
    their mean, all the way, or half as far as none is lost), which never changes the count. The answer does not hang
    on the order of the points.

    Args:
        point_mm: (N, 2) x, y from the slide's upper left corner; points outside the slide never count.
        size_mm: width, height of the slide.
        area_mm2: of the region.
        shape: of the region.

    Returns:
        The hotspot. Sides and points are rounded to 1 nm; a circle's edge is sharp to 0.001 nm.

    Raises:
        ValueError: an area or size that is not above 0, a point that is not finite, an unknown shape.

    Time: upright shapes O(n log n) (a sweep over y, with the depth over x in a segment tree); a circle by bound and
    prune, which ends soon because few places can beat the best one.
    """
    points = np.asarray(point_mm, dtype=np.float64).reshape(-1, 2)
    if shape not in SHAPES:
        raise ValueError(f"shape is '{shape}', not one of {', '.join(SHAPES)}")
    if not all(math.isfinite(value) and value > 0 for value in (*size_mm, area_mm2)):
        raise ValueError(f"size {size_mm} mm and area {area_mm2} mm2 must be above 0")
    if not np.isfinite(points).all():
        raise ValueError("a point is not finite")
    slide = in_nm(size_mm)
    inside = points_nm(points, slide)
    slide_area = size_mm[0] * size_mm[1]
    if slide_area <= area_mm2:
        return _hotspot("slide", (0, 0), slide, slide_area, len(inside))
    return best_within(inside, [(0, 0, *slide)], slide, area_mm2, shape) or _nothing(shape, slide, area_mm2)


def best_within(
    point_nm: NDArray[np.int64], places: Sequence[Place], slide_nm: tuple[int, int], area_mm2: float, shape: Shape
) -> Hotspot | None:
    """The region with most points among those that lie inside one of several places of a slide, by `find_hotspot`'s
    rules; None where it would hold none.

    Args:
        point_nm: (N, 2) points that count.
        places: upright rectangles on the slide, which may overlap; one may be too small for a region.
        slide_nm: width, height of the slide, which say what fits at all; larger than the area.
        area_mm2: of the region.
        shape: of the region.
    """
    radius_nm = _radius_nm(area_mm2)
    is_circle = shape == "circle" and 2 * radius_nm <= min(slide_nm)
    ways = [(2 * radius_nm, 2 * radius_nm)] if is_circle else _sides(shape, slide_nm, area_mm2)
    found: list[tuple[tuple[float, ...], Hotspot]] = []
    for x0, y0, x1, y1 in places:
        room = (x1 - x0, y1 - y0)
        inside = point_nm[((point_nm >= (x0, y0)) & (point_nm <= (x1, y1))).all(axis=1)] - (x0, y0)
        for order, sides in enumerate(ways):
            least = max((spot.count for _, spot in found), default=1)
            if len(inside) < least or sides[0] > room[0] or sides[1] > room[1]:
                continue
            if is_circle:
                count, center = deepest_disc(inside, size_nm=room, radius_nm=radius_nm)
                at = (center[0] + x0, center[1] + y0)
                found.append(((-count, 0, at[1], at[0]), _circle(at, area_mm2, count)))
                continue
            count, placed, centred = _most(inside, room, sides)
            spot = _hotspot(_name(sides), (centred[0] + x0, centred[1] + y0), sides, area_mm2, count)
            found.append(((-count, order, placed[1] + y0, placed[0] + x0), spot))
    best = min(found, key=lambda item: item[0], default=None)  # the first of equals: lying before standing
    return best[1] if best is not None and best[1].count else None


def in_nm(size_mm: tuple[float, float]) -> tuple[int, int]:
    """A size in whole nanometres."""
    return _nm(size_mm[0]), _nm(size_mm[1])


def points_nm(point_mm: NDArray[np.floating], slide_nm: tuple[int, int]) -> NDArray[np.int64]:
    """(N, 2) points in whole nanometres, without those outside the slide."""
    rounded = np.rint(np.asarray(point_mm, dtype=np.float64).reshape(-1, 2) * _NM_PER_MM).astype(np.int64)
    return rounded[((rounded >= 0) & (rounded <= slide_nm)).all(axis=1)]


def _nm(mm: float) -> int:
    return round(mm * _NM_PER_MM)


def _radius_nm(area_mm2: float) -> int:
    return _nm(math.sqrt(area_mm2 / math.pi))


def _name(sides_nm: tuple[int, int]) -> Literal["square", "rectangle"]:
    return "square" if sides_nm[0] == sides_nm[1] else "rectangle"


def _hotspot(
    shape: Literal["square", "rectangle", "slide"],
    corner_nm: tuple[int, int],
    sides_nm: tuple[int, int],
    area_mm2: float,
    count: int,
) -> Hotspot:
    return Hotspot(
        shape=shape,
        center_mm=(
            (corner_nm[0] + sides_nm[0] / 2) / _NM_PER_MM,
            (corner_nm[1] + sides_nm[1] / 2) / _NM_PER_MM,
        ),
        size_mm=(sides_nm[0] / _NM_PER_MM, sides_nm[1] / _NM_PER_MM),
        area_mm2=area_mm2,
        count=count,
    )


def _circle(center_nm: tuple[float, float], area_mm2: float, count: int) -> Hotspot:
    diameter = 2 * _radius_nm(area_mm2) / _NM_PER_MM
    center = (center_nm[0] / _NM_PER_MM, center_nm[1] / _NM_PER_MM)
    return Hotspot(shape="circle", center_mm=center, size_mm=(diameter, diameter), area_mm2=area_mm2, count=count)


def _nothing(shape: Shape, slide_nm: tuple[int, int], area_mm2: float) -> Hotspot:
    """No figure that a region could hold (a circle reaches into no corner): one in the slide's middle says the area."""
    if shape == "circle" and 2 * _radius_nm(area_mm2) <= min(slide_nm):
        return _circle((slide_nm[0] / 2, slide_nm[1] / 2), area_mm2, 0)
    sides = _sides(shape, slide_nm, area_mm2)[0]
    return _hotspot(_name(sides), ((slide_nm[0] - sides[0]) // 2, (slide_nm[1] - sides[1]) // 2), sides, area_mm2, 0)


def _sides(shape: Shape, slide_nm: tuple[int, int], area_mm2: float) -> list[tuple[int, int]]:
    """Widths and heights to try, the preferred first; never empty, for the slide has the area."""
    long = _nm(math.sqrt(area_mm2 * _ASPECT))
    short = _nm(math.sqrt(area_mm2 / _ASPECT))
    side = _nm(math.sqrt(area_mm2))
    wanted = [(long, short), (short, long)] if shape == "rectangle" else [(side, side)]
    fitting = [(w, h) for w, h in wanted if w <= slide_nm[0] and h <= slide_nm[1]]
    if fitting:
        return fitting
    width, height = slide_nm
    if width <= height:
        return [(width, min(height, round(area_mm2 * _NM_PER_MM**2 / width)))]
    return [(min(width, round(area_mm2 * _NM_PER_MM**2 / height)), height)]


def _most(
    point_nm: NDArray[np.int64], slide_nm: tuple[int, int], sides_nm: tuple[int, int]
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """The largest count of an upright rectangle, its corner, and that after centring.

    A point is covered by the corners in [p - side, p], cut to where corners may lie. The deepest place of these closed
    intervals' rectangles that is topmost, then leftmost, is at the beginning of one of them in y, and of one in x.
    """
    sides = np.array(sides_nm, dtype=np.int64)
    room = np.array(slide_nm, dtype=np.int64) - sides
    points = point_nm[np.argsort(point_nm[:, 0])]  # by x, so that the look-ups below run through the slots in order
    low = np.maximum(points - sides, 0)
    high = np.minimum(points, room)
    slots = np.unique(low[:, 0])
    span = np.column_stack([np.searchsorted(slots, low[:, 0], "left"), np.searchsorted(slots, high[:, 0], "right")])
    down = np.argsort(points[:, 1])  # both ends of a point's reach rise with its y
    count, slot, y = _sweep(span[down], np.column_stack([low[down, 1], high[down, 1]]), len(slots))
    corner = np.array([slots[slot], y], dtype=np.int64)
    held = point_nm[((point_nm >= corner) & (point_nm <= corner + sides)).all(axis=1)]
    centred = np.clip((held.min(axis=0) + held.max(axis=0) - sides) // 2, 0, room)
    return int(count), (int(corner[0]), int(corner[1])), (int(centred[0]), int(centred[1]))


@compiled()
def _sweep(
    span: NDArray[np.int64], reach: NDArray[np.int64], num_slots: int
) -> tuple[int, int, int]:  # pragma: no cover - compiled
    """Depth, slot and y of the deepest place: the topmost, then the leftmost.

    `span` (N, 2) are the slots of a point, half-open; `reach` (N, 2) its first and last y, both rising from row to row.
    `top[p]` is the largest depth below node p of a segment tree over the slots, `added[p]` what was added to all of p.
    """
    leaves = 1
    while leaves < num_slots:
        leaves *= 2
    top = np.zeros(2 * leaves, dtype=np.int32)
    added = np.zeros(2 * leaves, dtype=np.int32)
    best, best_slot, best_y = 0, 0, 0
    come, gone = 0, 0
    while come < len(reach):
        y = reach[come, 0]
        while reach[gone, 1] < y:
            _add(top, added, span[gone, 0], span[gone, 1], -1)
            gone += 1
        while come < len(reach) and reach[come, 0] == y:
            _add(top, added, span[come, 0], span[come, 1], 1)
            come += 1
        if top[1] > best:
            best, best_y = top[1], y
            node = 1
            while node < leaves:
                node *= 2
                if top[node] < top[node + 1]:
                    node += 1
            best_slot = node - leaves
    return best, best_slot, best_y


@compiled()
def _add(
    top: NDArray[np.int32], added: NDArray[np.int32], first: int, last: int, value: int
) -> None:  # pragma: no cover - compiled
    """Add `value` to the slots first..last-1: to O(log n) nodes, then set right the maxima above both ends."""
    leaves = len(top) // 2
    left, right = first + leaves, last + leaves
    while left < right:
        if left % 2 == 1:
            top[left] += value
            added[left] += value
            left += 1
        if right % 2 == 1:
            right -= 1
            top[right] += value
            added[right] += value
        left //= 2
        right //= 2
    for end in (first + leaves, last + leaves - 1):
        node = end // 2
        while node >= 1:
            top[node] = max(top[2 * node], top[2 * node + 1]) + added[node]
            node //= 2
