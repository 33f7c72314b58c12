"""The area that alone was searched for figures on the slides of a job (`detect --roi`), as its detect.json has it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.errors import FormatError
from mitosieve.run import layout


def area_of(request: Mapping[str, Any], folder: Path) -> BaseGeometry | None:
    """The area in level-0 px; None where whole slides were searched, or the job is of before and does not say.

    Args:
        request: content of the job's detect.json.
        folder: of the job, for the error.

    Raises:
        FormatError: it is no area.
    """
    stated = request.get("roi")
    if stated is None:
        return None
    try:
        area = shapely.from_geojson(json.dumps(stated))
    except shapely.errors.ShapelyError as error:
        raise _no_area(folder, str(error)) from error
    if not isinstance(area, shapely.Polygon | shapely.MultiPolygon) or area.is_empty or not area.is_valid:
        raise _no_area(folder, "not a polygon that holds something")
    return area


def _no_area(folder: Path, why: str) -> FormatError:
    return FormatError(
        f"roi is no area ({why})", where=folder / layout.REQUEST, remedy="run detect again into a new folder"
    )
