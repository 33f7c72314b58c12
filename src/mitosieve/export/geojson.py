"""QuPath's GeoJSON: detections out, a region of interest in.

QuPath lets the pixel (0, 0) cover [0, 1), so its centre is (0.5, 0.5); here it is (0, 0) (see `geometry`). Half a pixel
is added on the way out and taken off on the way in. Knows nothing of detectors or slides.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from mitosieve.detection import Detections
from mitosieve.errors import FormatError
from mitosieve.export.context import SlideContext
from mitosieve.export.rows import chunks, fill, write_list
from mitosieve.geometry import QUPATH_SHIFT

FIGURE_CLASS = {"name": "Mitotic figure", "color": [0, 200, 0]}
CANDIDATE_CLASS = {"name": "Mitotic figure candidate", "color": [255, 200, 0]}
"""Classes shown by QuPath: a row at or above the operating threshold, and one below it."""

_ROI_REMEDY = "in QuPath select the annotation and use File > Export objects as GeoJSON"


def write_geojson(path: Path, detections: Detections, slide: SlideContext) -> Path:
    """Write detections of one slide as a FeatureCollection of points that QuPath loads by drag and drop.

    Each is a QuPath `detection` (not an annotation: those become slow by the ten thousand), classified by whether it
    reached the operating threshold, with the score of each stage as a measurement; stages that did not see a cell are
    left out. Notes of the slide are the collection's member `notes`, which readers pass over (RFC 7946, 6.1). Positions
    are level-0 px (3 digits) whatever the pyramid, scores have 6 digits. Written as a stream: a million points need no
    memory.

    Args:
        path: where to.
        detections: of one slide, level-0 px.
        slide: which slide; its mpp is not used, GeoJSON is in px.

    Raises:
        FrameError: the detections are of several slides, or of another one.
        StorageError: the file cannot be written.
    """
    slide.check(detections)
    notes = f'"notes":{json.dumps(slide.told)},' if slide.told else ""
    head = f'{{"type":"FeatureCollection",{notes}"features":['
    return write_list(path, head=head, rows=_features(detections), tail="]}\n")


def _features(detections: Detections) -> Iterator[str]:
    head = '{"type":"Feature","geometry":{"type":"Point","coordinates":[%.3f,%.3f]},"properties":{'
    classes = [_escaped(CANDIDATE_CLASS), _escaped(FIGURE_CLASS)]
    fields = [f",{_escaped(f'{name} score')}:%.6f" for name in detections.stage_names]
    bits = 2 << np.arange(len(fields))

    def template(kind: int) -> str:
        """Of rows of one class that the same stages saw: the lowest bit is the class, the others the stages."""
        seen = "".join(field for number, field in enumerate(fields) if kind & (2 << number))
        return (
            f'{head}"objectType":"detection","classification":{classes[kind & 1]},'
            f'"measurements":{{"score":%.6f{seen}}}}}}}'
        )

    for rows in chunks(len(detections)):
        part = detections[rows]
        values = np.column_stack([part.center_l0 + QUPATH_SHIFT, part.score, part.stage_score])
        yield fill(template, part.is_figure + (~np.isnan(part.stage_score)) @ bits, values)


def _escaped(value: object) -> str:
    """Compact JSON for a %-template."""
    return json.dumps(value, separators=(",", ":")).replace("%", "%%")


def read_roi(path: Path) -> BaseGeometry:
    """The area drawn in a GeoJSON file, as one shape in level-0 px (pixel centres at integers).

    Takes a FeatureCollection, a list of features, one feature or one bare geometry, as QuPath's versions write them;
    several areas are joined.

    Raises:
        FormatError: the file is missing or not GeoJSON, or a feature is no area, crosses itself or has a coordinate
            that is not finite; the feature is named, the first is number 1.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise FormatError("is missing", where=path, remedy=_ROI_REMEDY) from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", where=path, remedy=_ROI_REMEDY) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"is not JSON ({error})", where=path, remedy=_ROI_REMEDY) from error
    areas = [_area(item, f"{path}, feature {number}") for number, item in enumerate(_items(content), start=1)]
    if not areas:
        raise FormatError("holds no area", where=path, remedy=_ROI_REMEDY)
    joined = shapely.union_all(areas)
    return shapely.transform(joined, lambda points: points - QUPATH_SHIFT)


def _items(content: object) -> list[Any]:
    if isinstance(content, dict):
        features = cast(dict[str, Any], content).get("features", [content])
        return cast(list[Any], features) if isinstance(features, list) else [features]
    return cast(list[Any], content) if isinstance(content, list) else [content]


def _area(item: object, where: str) -> BaseGeometry:
    """One feature's polygon."""
    geometry = cast(dict[str, Any], item).get("geometry", item) if isinstance(item, dict) else None
    try:
        if not isinstance(geometry, dict):
            raise ValueError("no geometry")
        with np.errstate(invalid="ignore"):  # coordinates that are not finite are named below
            area = shape(cast(dict[str, Any], geometry))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
        raise FormatError(f"is not a GeoJSON geometry ({error})", where=where, remedy=_ROI_REMEDY) from error
    if area.geom_type not in {"Polygon", "MultiPolygon"}:
        raise FormatError(f"is a {area.geom_type}, which has no area", where=where, remedy="draw a polygon")
    if not np.isfinite(shapely.get_coordinates(area)).all():
        raise FormatError("has a coordinate that is not a finite number", where=where, remedy=_ROI_REMEDY)
    if area.is_empty or not area.is_valid or area.area <= 0:
        raise FormatError("is empty, has no area, or crosses itself", where=where, remedy="draw it again")
    return area
