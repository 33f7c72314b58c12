"""grand-challenge.org's "Multiple points" JSON, as the MIDOG challenges take and give it.

Two layouts: since 2022 (also 2025) each point has a name and a probability; in 2021 it had neither, and a file held
figures alone. Points are in mm of the slide's physical frame, whose origin is the centre of the pixel (0, 0), so that
x_mm = x_l0 * mpp_x / 1000 without a half-pixel shift: pixel centres lie at integers here as there. The challenges take
regions of some 2 mm2: the 2025 evaluation refuses a file with a point beyond `REACH_MM`, so whole slides do not fit.
Knows nothing of detectors and reads no pixels.
"""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.detection import Detections
from mitosieve.errors import FormatError
from mitosieve.export.context import SlideContext
from mitosieve.export.rows import chunks, fill, write_list

FIGURE_NAME = "mitotic figure"
OTHER_NAME = "non-mitotic figure"
"""Names the challenge gives to a detection at or above the operating threshold, and below it."""

REACH_MM = 10.0
"""The farthest coordinate that the MIDOG 2025 evaluation takes. Source: its container, which refuses larger ones."""

_VERSION = '],"version":{"major":1,"minor":0}}\n'
_REMEDY = 'expected {"type": "Multiple points", "points": [{"name": ..., "point": [x_mm, y_mm, 0], "probability": p}]}'
_log = logging.getLogger(__name__)


def write_points(path: Path, detections: Detections, slide: SlideContext) -> Path:
    """Write detections of one slide in the layout of 2022 to 2025; positions keep 1e-6 mm, probabilities 6 digits.

    A point beyond `REACH_MM` is written and warned about: the file is whole, but no MIDOG evaluation takes it.

    Args:
        path: where to.
        detections: of one slide, level-0 px.
        slide: which slide; each axis has its own mpp.

    Raises:
        FrameError: the detections are of several slides, or of another one.
        StorageError: the file cannot be written.
    """
    slide.check(detections)
    _warn_of_far_points(path, detections, slide)
    names = [
        f'{{"name":{json.dumps(name)},"point":[%.6f,%.6f,0],"probability":%.6f}}' for name in (OTHER_NAME, FIGURE_NAME)
    ]

    def rows() -> Iterator[str]:
        for rows in chunks(len(detections)):
            part = detections[rows]
            values = np.column_stack([slide.mm(part.center_l0), part.score])
            yield fill(names.__getitem__, part.is_figure.astype(np.intp), values)

    head = '{"name":"Points of interest","type":"Multiple points","points":['
    return write_list(path, head=head, rows=rows(), tail=_VERSION)


def write_points_2021(path: Path, detections: Detections, slide: SlideContext) -> Path:
    """Write the figures of one slide in the layout of 2021: points alone; what is below the threshold is left out.

    Args, limits and errors as `write_points`.
    """
    slide.check(detections)
    _warn_of_far_points(path, detections, slide, figures_only=True)

    def rows() -> Iterator[str]:
        for rows in chunks(len(detections)):
            values = slide.mm(detections[rows].figures.center_l0)
            yield fill(lambda _: '{"point":[%.6f,%.6f,0]}', np.zeros(len(values), dtype=np.intp), values)

    return write_list(path, head='{"type":"Multiple points","points":[', rows=rows(), tail=_VERSION)


def _warn_of_far_points(path: Path, detections: Detections, slide: SlideContext, *, figures_only: bool = False) -> None:
    far = (detections.center_l0 > REACH_MM * 1000 / np.array(slide.mpp_xy)).any(axis=1)
    written = detections.is_figure if figures_only else np.ones(len(detections), dtype=np.bool_)
    if (far & written).any():
        _log.warning(
            "%s: %d of %d points lie beyond %g mm; the MIDOG 2025 evaluation refuses such a file, which is made for "
            "regions of some 2 mm2 (for whole slides: geojson, parquet, csv or dicom)",
            path, (far & written).sum(), written.sum(), REACH_MM,
        )  # fmt: skip


def read_points(path: Path, mpp: float | tuple[float, float], slide_id: str) -> Detections:
    """Read one slide's points; their order is kept.

    A point without a name counts as a figure and one without a probability scores 1, as in MIDOG 2021.

    Args:
        path: the JSON file.
        mpp: um per level-0 px of the slide, or that along a row and along a column.
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
        center_l0=np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2) * 1000 / np.array(mpp),
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
