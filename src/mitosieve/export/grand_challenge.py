"""grand-challenge.org's "Multiple points" JSON, as the MIDOG challenges (2022 and later) take and give it.

Points are in mm of the slide's physical frame, whose origin is the centre of the pixel (0, 0), so that
x_mm = x_l0 * mpp / 1000 without a half-pixel shift: pixel centres lie at integers here as there.
Knows nothing of detectors or slides.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from mitosieve.detection import Detections
from mitosieve.errors import FormatError
from mitosieve.export.geojson import check_one_slide
from mitosieve.runfolder import write_atomic

FIGURE_NAME = "mitotic figure"
OTHER_NAME = "non-mitotic figure"
"""Names the challenge gives to a detection at or above the operating threshold, and below it."""

_REMEDY = 'expected {"type": "Multiple points", "points": [{"name": ..., "point": [x_mm, y_mm, 0], "probability": p}]}'


def write_points(path: Path, detections: Detections, mpp: float) -> Path:
    """Write detections of one slide; positions keep 1e-6 mm (1 nm), probabilities 6 digits.

    Args:
        path: where to.
        detections: of one slide, level-0 px.
        mpp: um per level-0 px.

    Raises:
        FrameError: the detections are of several slides.
        StorageError: the file cannot be written.
    """
    check_one_slide(detections)
    if not (math.isfinite(mpp) and mpp > 0):
        raise ValueError(f"mpp must be above 0, not {mpp}")

    def write(file: IO[bytes]) -> None:
        file.write(b'{"name":"Points of interest","type":"Multiple points","points":[')
        for number, point in enumerate(_points(detections, mpp)):
            file.write((",\n" if number else "\n").encode() + point.encode())
        file.write(b'\n],"version":{"major":1,"minor":0}}\n')

    return write_atomic(path, write)


def _points(detections: Detections, mpp: float) -> Iterator[str]:
    names = (json.dumps(OTHER_NAME), json.dumps(FIGURE_NAME))
    rows = zip(
        (detections.center_l0 * mpp / 1000).tolist(),
        detections.score.tolist(),
        detections.is_figure.tolist(),
        strict=True,
    )
    for (x, y), score, is_figure in rows:
        yield f'{{"name":{names[is_figure]},"point":[{x:.6f},{y:.6f},0],"probability":{score:.6f}}}'


def read_points(path: Path, mpp: float, slide_id: str) -> Detections:
    """Read one slide's points; their order is kept.

    A point without a name counts as a figure and one without a probability scores 1, as in MIDOG 2021.

    Args:
        path: the JSON file.
        mpp: um per level-0 px of the slide.
        slide_id: name of the slide in the records.

    Raises:
        FormatError: the file is missing or of another layout; the point is named, the first is number 1.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        points = content["points"]
        if not isinstance(points, list):
            raise TypeError("points is not a list")
    except FileNotFoundError as error:
        raise FormatError("is missing", where=path) from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", where=path) from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise FormatError(f"is not a list of points ({error})", where=path, remedy=_REMEDY) from error
    rows = [_point(point, f"{path}, point {number}") for number, point in enumerate(points, start=1)]
    return Detections(
        slide_id=np.array([slide_id] * len(rows), dtype=np.str_),
        center_l0=np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2) * 1000 / mpp,
        score=np.array([row[2] for row in rows], dtype=np.float64),
        is_figure=np.array([row[3] for row in rows], dtype=np.bool_),
        stage_names=(),
        stage_score=np.zeros((len(rows), 0)),
    )


def _point(point: Any, where: str) -> tuple[float, float, float, bool]:  # noqa: ANN401 - whatever JSON held
    """A point as x and y in mm, score, and whether it is called a figure."""
    try:
        x, y = float(point["point"][0]), float(point["point"][1])
        score = float(point.get("probability", 1.0))
        name = point.get("name", FIGURE_NAME)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"is not a point ({error})", where=where, remedy=_REMEDY) from error
    if not (math.isfinite(x) and math.isfinite(y)):
        raise FormatError("has a coordinate that is not a finite number", where=where, remedy=_REMEDY)
    if not 0 <= score <= 1:
        raise FormatError(f"has the probability {score}, which is not between 0 and 1", where=where, remedy=_REMEDY)
    return x, y, score, name == FIGURE_NAME
