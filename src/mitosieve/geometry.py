"""Regions and tiles in level-0 pixels, and the only place where pixels and micrometres are converted.

Knows nothing of images. Frames by suffix: `_l0` level-0 px of a slide, `_px` px at a stated mpp, `_um` micrometres,
`_mm2` square millimetres. mpp is um per px. A pixel's centre lies at its integer coordinate, so the pixel (0, 0) covers
[-0.5, 0.5) and an image of width w covers [-0.5, w - 0.5).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

QUPATH_SHIFT = 0.5
"""QuPath px minus ours. Source: QuPath ROIs in px cover [0, width] x [0, height] of an image."""

Mpp = float | tuple[float, float]
"""um per px: one number for square pixels, else of x and y."""


def xy(mpp: Mpp) -> tuple[float, float]:
    """The resolution of x and y, um per px."""
    return mpp if isinstance(mpp, tuple) else (float(mpp), float(mpp))


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of whole level-0 pixels, half-open: x <= column < x + w, y <= row < y + h."""

    x: int
    y: int
    w: int
    h: int

    def __post_init__(self) -> None:
        if self.w < 0 or self.h < 0:
            raise ValueError(f"a region cannot have a negative size: {self}")

    @property
    def area_px2(self) -> int:
        return self.w * self.h

    def grow(self, margin: int) -> "Region":
        """The region with `margin` px more on each side; may leave the slide."""
        return Region(x=self.x - margin, y=self.y - margin, w=self.w + 2 * margin, h=self.h + 2 * margin)

    def clip(self, other: "Region") -> "Region":
        """The part inside `other`; of zero size where they do not meet."""
        x0, y0 = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x + self.w, other.x + other.w), min(self.y + self.h, other.y + other.h)
        return Region(x=x0, y=y0, w=max(0, x1 - x0), h=max(0, y1 - y0))

    def holds(self, center_l0: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points (N, 2) lie inside, by the half-open rule on coordinates: x <= px < x + w."""
        px, py = center_l0[:, 0], center_l0[:, 1]
        return (px >= self.x) & (px < self.x + self.w) & (py >= self.y) & (py < self.y + self.h)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A piece of work: `core` is owned (cores partition a region), `halo` is what is read to decide about it."""

    core: Region
    halo: Region


def tiles_over(region: Region, *, core: int, margin: int) -> Iterator[Tile]:
    """Cover `region` with tiles in row-major order; cores partition it exactly, halos are clipped to it.

    Args:
        region: what to cover.
        core: side of a core in px; the last of a row or column is smaller.
        margin: px read on each side of a core, where the region has them.
    """
    if core < 1:
        raise ValueError("a tile's core must be at least 1 px wide")
    for y in range(region.y, region.y + region.h, core):
        for x in range(region.x, region.x + region.w, core):
            owned = Region(x=x, y=y, w=core, h=core).clip(region)
            yield Tile(core=owned, halo=owned.grow(margin).clip(region))


def px_from_um(length_um: float, mpp: float) -> float:
    """Length in px at `mpp` of a length in um."""
    return length_um / mpp


def um_from_px(length_px: float, mpp: float) -> float:
    """Length in um of a length in px at `mpp`."""
    return length_px * mpp


def mm2_from_px2(area_px2: float, mpp: float) -> float:
    """Area in mm2 of an area in px2 at `mpp`: px2 * (um/px)^2 / 1e6 um2 per mm2."""
    return area_px2 * mpp * mpp / 1e6


def rescale_points(points: NDArray[np.floating], *, mpp_from: Mpp, mpp_to: Mpp) -> NDArray[np.float64]:
    """Points (N, 2) of an image at `mpp_from` in the pixel frame of the same image at `mpp_to`.

    Pixel centres lie at integers, so the shared corner of both frames is (-0.5, -0.5), and along each axis:
    x_to = (x_from + 0.5) * mpp_from / mpp_to - 0.5.
    """
    scale = np.array(xy(mpp_from)) / np.array(xy(mpp_to))
    return (np.asarray(points, dtype=np.float64) + 0.5) * scale - 0.5


def inside_roi(roi: BaseGeometry | None, center_l0: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points (N, 2) lie in an area that is looked in, its edge too; all of them where there is none.

    One rule for who detects, learns and scores: what one counts the others must see.
    """
    if roi is None:
        return np.ones(len(center_l0), dtype=bool)
    shapely.prepare(roi)
    return shapely.intersects_xy(roi, center_l0[:, 0], center_l0[:, 1])


def lattice(region: Region, *, mpp_l0: Mpp, mpp: float) -> Region:
    """Which pixels of the whole slide rendered at `mpp` have their centre inside `region`.

    The slide at `mpp` is one fixed lattice of square pixels: its pixel j sits at level-0 (j + 0.5) * s - 0.5,
    s = mpp / mpp_l0, along each axis. Regions that partition a slide so get lattice pixels that partition its
    rendering, and reading by parts equals reading whole.

    Returns:
        The block of lattice pixels, as a region in px at `mpp`.
    """
    across, down = (mpp / side for side in xy(mpp_l0))

    def first(edge: int, s: float) -> int:
        return math.ceil(edge / s - 0.5 - 1e-9)

    x, y = first(region.x, across), first(region.y, down)
    return Region(x=x, y=y, w=first(region.x + region.w, across) - x, h=first(region.y + region.h, down) - y)
