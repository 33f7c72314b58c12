"""The areas that alone were searched for figures on the slides of a job: what a cohort or `detect --roi` said."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.errors import FormatError
from mitosieve.run import layout


def areas_of(request: Mapping[str, Any], folder: Path) -> dict[str, BaseGeometry]:
    """slide_id -> area in level-0 px; without slides that were searched whole, and empty of a job that does not say.

    Args:
        request: content of the job's detect.json.
        folder: of the job, for the error.

    Raises:
        FormatError: one is no area, or not of slides.
    """
    try:
        return {str(name): _area(item["area"]) for item in request.get("areas") or () for name in item["slides"]}
    except (shapely.errors.ShapelyError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"areas are none ({error})", where=folder / layout.REQUEST, remedy="run detect again into a new folder"
        ) from error


def _area(stated: object) -> BaseGeometry:
    area = shapely.from_geojson(json.dumps(stated))
    if not area.is_valid or not area.area:  # a cohort's may be a collection, of which lines hold nothing
        raise ValueError("not a polygon that holds something")
    return area
