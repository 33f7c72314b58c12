"""The hotspot and further ones beside it, none of which overlaps another. Knows points in mm, as `hotspot`."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mitosieve.count.hotspot import AREA_MM2, Hotspot, Place, best_within, find_hotspot, in_nm, points_nm
from mitosieve.count.shape import Shape

GAP_NM = 10
"""Between two hotspots: more than an edge is blurred by rounding, so that no figure lies on the edge of both."""


def find_hotspots(
    point_mm: NDArray[np.floating],
    *,
    size_mm: tuple[float, float],
    area_mm2: float = AREA_MM2,
    shape: Shape = "square",
    most: int = 3,
) -> tuple[Hotspot, ...]:
    """The hotspot, and at most `most` - 1 further ones: each is the region with most figures of those that overlap none
    before it.

    So no figure is counted twice, and each holds what it counts. The first is always there, holding something or not;
    the others hold at least one figure, and where none is left that can, there is none. Exact for upright regions: one
    that does not overlap another lies left of it, above, right or below, so each of these places is searched. A circle
    keeps clear of the upright box of those before it, whose corners it could reach into: there may be one that holds
    more. Ties are as of the hotspot; of circles by their centres.

    Raises:
        ValueError: as `find_hotspot`.

    Time: of a search for every place left, which are few: those that lie in another are not searched.
    """
    found = [find_hotspot(point_mm, size_mm=size_mm, area_mm2=area_mm2, shape=shape)]
    slide = in_nm(size_mm)
    points = points_nm(point_mm, slide)
    places: list[Place] = [(0, 0, *slide)]
    while len(found) < most and found[-1].count and found[-1].shape != "slide":
        places = _widest([left for place in places for left in _beside(place, found[-1])])
        spot = best_within(points, places, slide, area_mm2, shape)
        if spot is None:
            break
        found.append(spot)
    return tuple(found)


def _beside(place: Place, taken: Hotspot) -> Iterator[Place]:
    """What of a place lies left of a region's upright box, above it, right of it, or below it."""
    x0, y0, x1, y1 = place
    ends = [(center - side / 2, center + side / 2) for center, side in zip(taken.center_mm, taken.size_mm, strict=True)]
    (left, right), (top, bottom) = (
        (math.floor(low * 1e6 + 1e-3) - GAP_NM, math.ceil(high * 1e6 - 1e-3) + GAP_NM) for low, high in ends
    )
    beside = (x0, y0, min(x1, left), y1), (x0, y0, x1, min(y1, top)), (max(x0, right), y0, x1, y1)
    for one in (*beside, (x0, max(y0, bottom), x1, y1)):
        if one[0] < one[2] and one[1] < one[3]:
            yield one


def _widest(places: Sequence[Place]) -> list[Place]:
    """Places without those that lie in another, in their order."""
    once = list(dict.fromkeys(places))
    return [one for one in once if not any(one != other and _is_in(one, other) for other in once)]


def _is_in(one: Place, other: Place) -> bool:
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]
