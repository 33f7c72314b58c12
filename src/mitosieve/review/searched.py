"""The areas that readers went through, so that what they did not mark there is known to be none. Level-0 px."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.cohort import SlideEntry
from mitosieve.review.decision import Decision
from mitosieve.review.log import counting
from mitosieve.review.pairing import SAME_CELL_UM

_GRID_PX = 0.01
"""Corners are rounded to this, so that an area is the same when it is read again."""

Point = tuple[float, float]


def searched_areas(decisions: Iterable[Decision]) -> dict[tuple[str, str], BaseGeometry]:
    """What each reader went through of each slide: the union of the areas of "looked" that were not undone.

    Returns:
        (reader, slide_id) -> area in level-0 px; absent where a reader looked at single cells alone.
    """
    found: dict[tuple[str, str], list[BaseGeometry]] = {}
    for decision in counting(decisions):
        if decision.kind == "looked" and decision.area is not None:
            area = shapely.make_valid(shapely.Polygon(decision.area))  # a hand-drawn outline may cross itself
            found.setdefault((decision.reader, decision.slide_id), []).append(area)
    return {key: shapely.union_all(areas) for key, areas in found.items()}


def with_searched(
    entry: SlideEntry, *, looked: Sequence[BaseGeometry], judged: Sequence[Point], doubtful: Sequence[Point]
) -> SlideEntry:
    """A slide of which more is known: its ROI grows by what was looked at.

    What was looked at are the areas gone through, without a disc of SAME_CELL_UM round each doubtful place, and such a
    disc round each judged one: a cell of a gallery says nothing of the tissue beside it. So no place that nobody judged
    is called background because its neighbour was judged. A slide marked exhaustively before keeps what it had.

    Args:
        entry: the slide.
        looked: areas that readers went through.
        judged: places that became marks.
        doubtful: places of which nothing is known: readers are unsure, or nobody judged what the detector called.
    """
    area = shapely.difference(shapely.union_all(list(looked)), _discs(doubtful, entry.mpp_xy))
    parts = [area, _discs(judged, entry.mpp_xy)]
    if entry.labelled:
        if not entry.roi_wkt:
            return entry
        parts.append(shapely.from_wkt(entry.roi_wkt))
    whole = _polygons(shapely.union_all(parts), entry)
    return (
        entry if whole is None else replace(entry, labelled=True, roi_wkt=shapely.to_wkt(whole, rounding_precision=2))
    )


def _discs(places: Sequence[Point], mpp_xy: tuple[float, float]) -> BaseGeometry:
    """Round places in level-0 px, round in um."""
    points = shapely.points(np.array(places) * mpp_xy) if places else []
    discs = shapely.union_all(shapely.buffer(points, SAME_CELL_UM, quad_segs=4))
    return shapely.transform(discs, lambda um: um / mpp_xy)


def _polygons(area: BaseGeometry, entry: SlideEntry) -> BaseGeometry | None:
    """The parts of an area with an area, inside the slide where its size is known; None where nothing is left."""
    if entry.width_l0 and entry.height_l0:
        area = shapely.intersection(area, shapely.box(-0.5, -0.5, entry.width_l0 - 0.5, entry.height_l0 - 0.5))
    rounded = shapely.set_precision(area, _GRID_PX)
    parts = [part for part in shapely.get_parts(rounded) if part.geom_type == "Polygon" and part.area > 0]
    return shapely.union_all(parts) if parts else None
