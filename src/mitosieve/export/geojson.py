"""QuPath's GeoJSON: detections out, a region of interest in.

QuPath lets the pixel (0, 0) cover [0, 1), so its centre is (0.5, 0.5); here it is (0, 0) (see `geometry`). Half a pixel
is added on the way out and taken off on the way in. Knows nothing of detectors or slides.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from mitosieve.detection import Detections
from mitosieve.errors import FormatError, FrameError
from mitosieve.runfolder import write_atomic

QUPATH_SHIFT = 0.5
"""QuPath px minus ours. Source: QuPath ROIs in px cover [0, width] x [0, height] of an image."""

FIGURE_CLASS = {"name": "Mitotic figure", "color": [0, 200, 0]}
CANDIDATE_CLASS = {"name": "Mitotic figure candidate", "color": [255, 200, 0]}
"""Classes shown by QuPath: a row at or above the operating threshold, and one below it."""

_ROI_REMEDY = "in QuPath select the annotation and use File > Export objects as GeoJSON"


def write_geojson(path: Path, detections: Detections, mpp: float) -> Path:
    """Write detections of one slide as a FeatureCollection of points that QuPath loads by drag and drop.

    Each is a QuPath `detection` (not an annotation: those become slow by the ten thousand), classified by whether it
    reached the operating threshold, with the score of each stage as a measurement; stages that did not see a cell are
    left out. Written as a stream: a million points need no memory.

    Args:
        path: where to.
        detections: of one slide, level-0 px.
        mpp: not used; GeoJSON is in px. Here because all writers share one signature.

    Raises:
        FrameError: the detections are of several slides.
        StorageError: the file cannot be written.
    """
    check_one_slide(detections)

    def write(file: IO[bytes]) -> None:
        file.write(b'{"type":"FeatureCollection","features":[')
        for number, feature in enumerate(_features(detections)):
            file.write((",\n" if number else "\n").encode() + feature.encode())
        file.write(b"\n]}\n")

    return write_atomic(path, write)


def _features(detections: Detections) -> Iterator[str]:
    head = '{"type":"Feature","geometry":{"type":"Point","coordinates":['
    classes = [_compact(CANDIDATE_CLASS), _compact(FIGURE_CLASS)]
    keys = [_compact(f"{name} score") for name in detections.stage_names]
    rows = zip(
        (detections.center_l0 + QUPATH_SHIFT).tolist(),
        detections.score.tolist(),
        detections.is_figure.tolist(),
        detections.stage_score.tolist(),
        strict=True,
    )
    for (x, y), score, is_figure, stages in rows:
        measured = "".join(f",{k}:{v:.6f}" for k, v in zip(keys, stages, strict=True) if not math.isnan(v))
        yield (
            f'{head}{x:.3f},{y:.3f}]}},"properties":{{"objectType":"detection","classification":{classes[is_figure]},'
            f'"measurements":{{"score":{score:.6f}{measured}}}}}}}'
        )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def check_one_slide(detections: Detections) -> None:
    """Refuse rows of several slides, whose positions have nothing to do with each other.

    Raises:
        FrameError: there is more than one slide_id.
    """
    if len(detections) and (detections.slide_id != detections.slide_id[0]).any():
        names = sorted(set(detections.slide_id.tolist()))
        raise FrameError(f"one file takes the detections of one slide, not of {len(names)}", where=", ".join(names[:3]))


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
