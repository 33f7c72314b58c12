"""The area to look in, drawn in QuPath or elsewhere and saved as GeoJSON.

QuPath lets the pixel (0, 0) cover [0, 1); here its centre is at 0, so half a pixel is taken off. Knows no slides.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from mitosieve.errors import FormatError
from mitosieve.geometry import QUPATH_SHIFT

_REMEDY = "in QuPath select the annotation and use File > Export objects as GeoJSON"
_AREAS = {"Polygon", "MultiPolygon"}


def read_roi(path: Path, *, repair: bool = False, tell: Callable[[str], None] | None = None) -> BaseGeometry:
    """The area drawn in a GeoJSON file, as one shape in level-0 px (pixel centres at integers).

    Takes a FeatureCollection, a list of features, one feature or one bare geometry, as QuPath's versions write them;
    several areas are joined, and those in a GeometryCollection are taken out of it; what has no area there is left.

    Args:
        path: the file.
        repair: whether an area that touches or crosses itself is taken as what it covers.
        tell: told how much each repaired area changed.

    Raises:
        FormatError: the file is missing or not GeoJSON, or a feature is no area, touches or crosses itself (how much a
            repair would change is said), or has a coordinate that is not finite; the feature is named, the first is
            number 1.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise FormatError("is missing", where=path, remedy=_REMEDY) from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", where=path, remedy=_REMEDY) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is not JSON ({error})", where=path, remedy=_REMEDY) from error
    drawn = [_area(item, f"{path}, feature {number}") for number, item in enumerate(_items(content), start=1)]
    areas = [
        area if area.is_valid else _repaired(area, f"{path}, feature {number}", repair=repair, tell=tell)
        for number, area in enumerate(drawn, start=1)
    ]
    if not areas:
        raise FormatError("holds no area", where=path, remedy=_REMEDY)
    joined = shapely.union_all(areas)
    return shapely.transform(joined, lambda points: points - QUPATH_SHIFT)


def _items(content: object) -> list[Any]:
    if isinstance(content, dict):
        features = cast(dict[str, Any], content).get("features", [content])
        return cast(list[Any], features) if isinstance(features, list) else [features]
    return cast(list[Any], content) if isinstance(content, list) else [content]


def _area(item: object, where: str) -> BaseGeometry:
    """One feature's area, as it was drawn."""
    geometry = cast(dict[str, Any], item).get("geometry", item) if isinstance(item, dict) else None
    try:
        if not isinstance(geometry, dict):
            raise ValueError("no geometry")
        with np.errstate(invalid="ignore"):  # coordinates that are not finite are named below
            area = shape(cast(dict[str, Any], geometry))
    except (
        KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
        shapely.errors.ShapelyError,
    ) as error:  # fmt: skip
        raise FormatError(f"is not a GeoJSON geometry ({error})", where=where, remedy=_REMEDY) from error
    polygons = list(_polygons(area))
    if not polygons:
        raise FormatError(f"is a {area.geom_type}, which has no area", where=where, remedy="draw a polygon")
    if not all(np.isfinite(shapely.get_coordinates(polygon)).all() for polygon in polygons):
        raise FormatError("has a coordinate that is not a finite number", where=where, remedy=_REMEDY)
    if all(polygon.is_empty for polygon in polygons):
        raise FormatError("is empty", where=where, remedy="draw it again")
    if area.geom_type in _AREAS:
        return area
    return shapely.union_all(polygons) if all(item.is_valid for item in polygons) else shapely.MultiPolygon(polygons)


def _polygons(area: BaseGeometry) -> Iterator[shapely.Polygon]:
    """The polygons in a geometry, however deep they lie in collections."""
    if isinstance(area, shapely.Polygon):
        yield area
    elif area.geom_type in ("MultiPolygon", "GeometryCollection"):
        for part in getattr(area, "geoms", ()):
            yield from _polygons(part)


def _repaired(area: BaseGeometry, where: str, *, repair: bool, tell: Callable[[str], None] | None) -> BaseGeometry:
    """What an area that touches or crosses itself covers.

    Raises:
        FormatError: it covers nothing, or no repair was asked for.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far beyond any slide
        covered = shapely.union_all(list(_polygons(shapely.make_valid(area))))
    if covered.is_empty or covered.area <= 0:
        raise FormatError("is empty, or has no area", where=where, remedy="draw it again")
    change = f"{area.area:,.1f} px2 as drawn, {covered.area:,.1f} px2 repaired ({covered.area - area.area:+,.1f})"
    if not repair:
        raise FormatError(
            f"touches or crosses itself: {change}",
            where=where,
            remedy="draw it again, or take the repaired area: --repair-roi",
        )
    if tell is not None:
        tell(f"note: {where}: touched or crossed itself and was repaired: {change}")
    return covered
