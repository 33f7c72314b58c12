"""grand-challenge.org's "Multiple points" JSON, as the MIDOG challenges take it.

Two layouts: since 2022 (also 2025) each point has a name and a probability; in 2021 it had neither, and a file held
figures alone. Points are in mm of the slide's physical frame, whose origin is the centre of the pixel (0, 0), so that
x_mm = x_l0 * mpp_x / 1000 without a half-pixel shift: pixel centres lie at integers here as there. The challenges take
regions of some 2 mm2: the 2025 evaluation refuses a file with a point beyond `REACH_MM`, so whole slides do not fit.
Knows nothing of detectors and reads no pixels.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mitosieve.detection import Detections
from mitosieve.export.context import SlideContext
from mitosieve.export.rows import chunks, fill, write_list

FIGURE_NAME = "mitotic figure"
OTHER_NAME = "non-mitotic figure"
"""Names the challenge gives to a detection at or above the operating threshold, and below it."""

REACH_MM = 10.0
"""The farthest coordinate that the MIDOG 2025 evaluation takes. Source: its container, which refuses larger ones."""

_VERSION = '],"version":{"major":1,"minor":0}}\n'
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
