"""Pictures of cells by their fate, the hardest first. Chooses by outcome and score; knows nothing of the page."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import MitosieveError
from mitosieve.geometry import Region, px_from_um
from mitosieve.score.outcome import Outcome, Outcomes
from mitosieve.slide.slide import Slide

CROP_UM = 32.0
"""Side of a picture: some three nuclei wide, enough of the surroundings to judge a cell by."""

FINEST_MPP = 0.2
"""Slides of finer pixels are read at this, to bound the size of the page; all others at their own resolution."""

JPEG_QUALITY = 85
_OUTSIDE = 238
"""Grey level of what lies beyond the slide's edge."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One cell.

    Attributes:
        slide_id: where.
        center_l0: x, y in level-0 px; the picture's centre.
        score: of the detection; None for a missed figure without one.
        on_imposter: whether experts marked an imposter there.
        jpeg: the picture, CROP_UM wide; empty where the slide cannot be read.
    """

    slide_id: str
    center_l0: tuple[float, float]
    score: float | None
    on_imposter: bool
    jpeg: bytes

    @property
    def uri(self) -> str:
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Cells of one fate.

    Attributes:
        outcome: which.
        total: how many cells there are.
        crops: the hardest of them, the hardest first.
    """

    outcome: Outcome
    total: int
    crops: tuple[Crop, ...]


def hardest(cells: Outcomes, outcome: Outcome, most: int) -> NDArray[np.intp]:
    """At most `most` rows of an outcome, the hardest first.

    A found or missed figure is the harder the lower its score, and hardest without any; a false alarm is the harder the
    higher its score. Ties by row.
    """
    rows = np.flatnonzero(cells.outcome == outcome.value)
    score = np.nan_to_num(cells.score[rows], nan=-1.0)
    return rows[np.argsort(-score if outcome is Outcome.FALSE_ALARM else score, kind="stable")][:most]


def make_galleries(cells: Outcomes, cohort: Cohort, most: int) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """Galleries of found, missed and false alarms; each slide is opened once.

    Args:
        cells: the fate of every cell.
        cohort: the images; one that cannot be read is named and its cells have no picture.
        most: pictures of each gallery.

    Returns:
        The galleries, and a sentence for each slide that could not be read.
    """
    chosen = {outcome: hardest(cells, outcome, most) for outcome in Outcome}
    pictures: dict[int, bytes] = {}
    faults: list[str] = []
    rows = np.concatenate(list(chosen.values()))
    for slide_id in np.unique(cells.slide_id[rows]).tolist():
        here = rows[cells.slide_id[rows] == slide_id].tolist()
        try:
            with cohort.open(slide_id) as slide:
                pictures |= {row: to_jpeg(cut_crop(slide, cells.center_l0[row])) for row in here}
        except MitosieveError as error:
            faults.append(f"{slide_id}: {error.what}")
    galleries = tuple(
        Gallery(
            outcome=outcome,
            total=int((cells.outcome == outcome.value).sum()),
            crops=tuple(_crop(cells, row, pictures.get(row, b"")) for row in part.tolist()),
        )
        for outcome, part in chosen.items()
    )
    return galleries, tuple(faults)


def cut_crop(
    slide: Slide, center_l0: Sequence[float] | NDArray[np.floating], *, crop_um: float = CROP_UM
) -> NDArray[np.uint8]:
    """A square (n, n, 3) RGB of side `crop_um` around a place, at the slide's own resolution or FINEST_MPP.

    The place is at pixel n // 2, to within half a pixel. What lies beyond the slide's edge is plain grey.
    """
    mpp = max(slide.mpp, FINEST_MPP)
    side = max(2, round(px_from_um(crop_um, slide.mpp)))
    x, y = (math.floor(value + 0.5) - side // 2 for value in center_l0)
    wanted = Region(x=x, y=y, w=side, h=side)
    inside = wanted.clip(slide.bounds)
    square = np.full((side, side, 3), _OUTSIDE, dtype=np.uint8)
    if inside.area_px2:
        top, left = inside.y - y, inside.x - x
        square[top : top + inside.h, left : left + inside.w] = slide.read(inside)
    if mpp == slide.mpp:
        return square
    small = round(px_from_um(crop_um, mpp))
    return np.asarray(Image.fromarray(square).resize((small, small), Image.Resampling.BOX), dtype=np.uint8)


def to_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG with full colour resolution: chromatin is told from its surroundings by colour."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return file.getvalue()


def _crop(cells: Outcomes, row: int, jpeg: bytes) -> Crop:
    score = float(cells.score[row])
    return Crop(
        slide_id=str(cells.slide_id[row]),
        center_l0=(float(cells.center_l0[row, 0]), float(cells.center_l0[row, 1])),
        score=score if math.isfinite(score) else None,
        on_imposter=bool(cells.on_imposter[row]),
        jpeg=jpeg,
    )
