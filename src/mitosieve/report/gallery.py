"""Pictures of cells by their fate, the hardest first. Chooses by outcome and score; knows nothing of the page."""

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import MitosieveError
from mitosieve.geometry import Region, lattice, px_from_um, rescale_points
from mitosieve.score.outcome import Outcome, Outcomes
from mitosieve.slide.slide import Slide

CROP_UM = 64.0
"""Side of a picture: the cell with those around it. A page shows its middle half, some three nuclei wide, until the
reader wants all of it."""

FINEST_MPP = 0.2
"""Slides of finer pixels are read at this, to bound the size of the page; all others at their own resolution."""

_WEBP_QUALITY = 85
_OUTSIDE = 238
"""Grey level of what lies beyond the slide's edge."""

Center = Sequence[float] | NDArray[np.floating]
"""x, y in level-0 px."""


class Addresses(Protocol):
    """Where a page finds what stands in it otherwise, and where it leads, when a viewer serves it.

    Attributes:
        viewer: its own page.
        icon, style, script: of the page.
        job: the page of all slides.
    """

    @property
    def viewer(self) -> str: ...
    @property
    def icon(self) -> str: ...
    @property
    def style(self) -> str: ...
    @property
    def script(self) -> str: ...
    @property
    def job(self) -> str: ...

    def picture(self, slide_id: str, center_l0: Center, um: float) -> str:
        """Of a place on a slide, so many um wide; empty where the viewer cannot show the slide."""
        ...

    def place(self, slide_id: str, center_l0: Center) -> str:
        """The place in the viewer; empty where it does not have the slide."""
        ...

    def page(self, slide_id: str) -> str:
        """The page of a slide."""
        ...

    def words(self, text: str) -> str:
        """A text as the page may show it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One cell.

    Attributes:
        slide_id: where.
        center_l0: x, y in level-0 px; the picture's centre.
        score: of the detection; None for a missed figure without one.
        on_imposter: whether experts marked an imposter there.
        uri: the picture, CROP_UM wide; empty where the slide cannot be read.
        link: its place in the viewer; empty where none serves the page.
    """

    slide_id: str
    center_l0: tuple[float, float]
    score: float | None
    on_imposter: bool
    uri: str
    link: str = ""


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


def make_galleries(
    cells: Outcomes, cohort: Cohort | None, most: int, served: Addresses | None = None
) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """Galleries of found, missed and false alarms; each slide is opened once.

    Args:
        cells: the fate of every cell.
        cohort: the images; one that cannot be read is named and its cells have no picture. None where pictures are
            served.
        most: pictures of each gallery.
        served: where pictures are, so that no slide is opened; None puts them into the page.

    Returns:
        The galleries, and a sentence for each slide that could not be read.
    """
    chosen = {outcome: hardest(cells, outcome, most) for outcome in Outcome}
    rows = np.concatenate(list(chosen.values()))
    pictures, faults = _pictures(cells, rows, cohort) if cohort is not None else ({}, ())
    galleries = tuple(
        Gallery(
            outcome=outcome,
            total=int((cells.outcome == outcome.value).sum()),
            crops=tuple(_crop(cells, row, pictures.get(row, ""), served) for row in part.tolist()),
        )
        for outcome, part in chosen.items()
    )
    return galleries, faults


def _pictures(cells: Outcomes, rows: NDArray[np.intp], cohort: Cohort) -> tuple[dict[int, str], tuple[str, ...]]:
    """A picture of each row whose slide can be read, and a sentence for each slide that cannot."""
    found: dict[int, str] = {}
    faults: list[str] = []
    for slide_id in np.unique(cells.slide_id[rows]).tolist():
        here = rows[cells.slide_id[rows] == slide_id].tolist()
        try:
            with cohort.open(slide_id) as slide:
                found |= {row: picture_uri(cut_crop(slide, cells.center_l0[row])) for row in here}
        except MitosieveError as error:
            faults.append(f"{slide_id}: {error.what}")
    return found, tuple(faults)


def cut_crop(slide: Slide, center_l0: Center, *, crop_um: float = CROP_UM) -> NDArray[np.uint8]:
    """A square (n, n, 3) RGB of side `crop_um` around a place, at the slide's own resolution or FINEST_MPP; of oblong
    pixels at their coarser side's, so that round cells are round.

    The place is at pixel n // 2, to within half a pixel. What lies beyond the slide's edge is plain grey.
    """
    mpp = max(slide.mpp, FINEST_MPP)
    side, high = (max(2, round(px_from_um(crop_um, length))) for length in slide.mpp_xy)
    if side != high:
        mpp = max(*slide.mpp_xy, FINEST_MPP)
        ((x, y),) = rescale_points(np.array([center_l0], np.float64), mpp_from=slide.mpp_xy, mpp_to=mpp).tolist()
        bounds = lattice(slide.bounds, mpp_l0=slide.mpp_xy, mpp=mpp)
        return _square((x, y), max(2, round(px_from_um(crop_um, mpp))), bounds, lambda at: slide.read_block(at, mpp))
    square = _square(center_l0, side, slide.bounds, slide.read)
    if mpp == slide.mpp:
        return square
    small = round(px_from_um(crop_um, mpp))
    return np.asarray(Image.fromarray(square).resize((small, small), Image.Resampling.BOX), dtype=np.uint8)


def _square(
    center: Center, side: int, bounds: Region, read: Callable[[Region], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """(side, side, 3) around a place in px of a frame, grey outside of its bounds."""
    x, y = (math.floor(value + 0.5) - side // 2 for value in center)
    inside = Region(x=x, y=y, w=side, h=side).clip(bounds)
    square = np.full((side, side, 3), _OUTSIDE, dtype=np.uint8)
    if inside.area_px2:
        top, left = inside.y - y, inside.x - x
        square[top : top + inside.h, left : left + inside.w] = read(inside)
    return square


def picture_uri(pixels: NDArray[np.uint8], side: int | None = None) -> str:
    """A square picture as a part of the page, by default of its own size: WebP, half as many bytes as JPEG."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    made = image if side is None else image.resize((side, side), Image.Resampling.BICUBIC)
    made.save(file, format="WEBP", quality=_WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _crop(cells: Outcomes, row: int, uri: str, served: Addresses | None) -> Crop:
    slide_id, score = str(cells.slide_id[row]), float(cells.score[row])
    x, y = cells.center_l0[row].tolist()
    return Crop(
        slide_id=slide_id,
        center_l0=(x, y),
        score=score if math.isfinite(score) else None,
        on_imposter=bool(cells.on_imposter[row]),
        uri=uri if served is None else served.picture(slide_id, (x, y), CROP_UM),
        link="" if served is None else served.place(slide_id, (x, y)),
    )
