"""Where near a slide's tissue a place or a core is, on its overview. Reads no tile."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Region
from mitosieve.slide.overview import COARSE_PX
from mitosieve.slide.tissue import Tissue

ALIGN_PX = COARSE_PX
"""Planes start at multiples of this on the slide's lattice, so that coarse steps fall on the same pixels in all."""


def grown(tissue: Tissue, reach_um: float) -> Tissue:
    """Tissue and all that lies within `reach_um` of it, to the pixel of its mask."""
    if tissue.mask.size == 0:
        return tissue
    side = 2 * int(np.ceil(reach_um / tissue.mpp)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return replace(tissue, mask=cv2.dilate(tissue.mask.astype(np.uint8), disc) > 0)


def is_near(tissue: Tissue, point_um: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (N, 2), um from the slide's corner, are tissue; beyond the overview its edge goes on.

    The overview ends with its last whole pixel, the slide somewhat later.
    """
    height, width = tissue.mask.shape
    if height == 0 or width == 0:
        return np.ones(len(point_um), dtype=np.bool_)  # a slide smaller than a pixel of the overview
    return tissue.holds(np.clip(point_um, 0, (np.array([width, height]) - 0.5) * tissue.mpp))


def bounds_in(tissue: Tissue, core: Region, mpp: float) -> Region | None:
    """The rectangle round the tissue in a core, from multiples of ALIGN_PX or the core's edge; None without tissue."""
    if tissue.mask.size == 0:
        return core
    x0, x1 = int(core.x * mpp / tissue.mpp), int(np.ceil((core.x + core.w) * mpp / tissue.mpp))
    y0, y1 = int(core.y * mpp / tissue.mpp), int(np.ceil((core.y + core.h) * mpp / tissue.mpp))
    x0, y0 = min(x0, tissue.mask.shape[1] - 1), min(y0, tissue.mask.shape[0] - 1)  # its last part of a pixel is missing
    mask = tissue.mask[y0:y1, x0:x1]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    step = tissue.mpp / mpp
    height, width = tissue.mask.shape
    left, top = (x0 + columns[0]) * step // ALIGN_PX * ALIGN_PX, (y0 + rows[0]) * step // ALIGN_PX * ALIGN_PX
    last_x, last_y = x0 + columns[-1] + 1, y0 + rows[-1] + 1
    right = core.x + core.w if last_x >= width else last_x * step  # the overview lacks the slide's last part of a pixel
    bottom = core.y + core.h if last_y >= height else last_y * step
    x, y = int(left), int(top)
    found = Region(x=x, y=y, w=int(np.ceil(right)) - x, h=int(np.ceil(bottom)) - y).clip(core)
    return found if found.area_px2 else None
