"""The area of an image that was searched: checked where it is stated, and found where a crop is padded with black."""

import numpy as np
import shapely
from numpy.typing import NDArray

BLACK = 32
"""Brightest channel up to which a pixel counts as padding. Padded lines of the AMIBR crops, blurred by JPEG, reach 7 at
the quantile below; the darkest line at the edge of any other of them reaches 142 (measured over all 3,720)."""

QUANTILE = 0.95
"""Share of a line's pixels that must be black."""

MAX_L0_PX = 1e8
"""Farther out no slide has a pixel."""

JPEG_BLOCK_PX = 8
"""Side of the blocks that JPEG codes: one that is partly black rings in the rest of it."""


def check_roi(wkt: str) -> None:
    """Refuse an area that nothing can lie in.

    Raises:
        ValueError, ShapelyError: it is not WKT, has no area, crosses itself, or lies where no slide is.
    """
    with np.errstate(all="ignore"):  # numbers that are too large are named below
        roi = shapely.from_wkt(wkt)
        if roi.is_empty or not roi.is_valid or not roi.area > 0:
            raise ValueError("roi is empty, has no area, or crosses itself")
        if not max(map(abs, roi.bounds)) <= MAX_L0_PX:
            raise ValueError(f"roi reaches farther than {MAX_L0_PX:g} px")


def padding_px(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Black lines at the left, top, right and bottom of a crop (height, width, 3); a black crop is padding throughout.

    A line counts while all lines between it and its edge are black.
    """
    bright = pixels.max(axis=2)
    left, top, right, bottom = (_run(lines) for lines in (bright.T, bright, bright.T[::-1], bright[::-1]))
    return left, top, right, bottom


def _run(lines: NDArray[np.uint8]) -> int:
    """How many of the first lines are black."""
    black = np.quantile(lines, QUANTILE, axis=1) <= BLACK
    return len(black) if black.all() else int(np.argmin(black))


def searched_area(pixels: NDArray[np.uint8]) -> str | None:
    """What of a padded crop shows tissue, as WKT in its px; empty where nothing is padded, None where all is.

    A network would learn the black. JPEG blocks that hold padding are left out whole.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = padding_px(pixels)
    if not (left or top or right or bottom):
        return ""
    x0, y0 = (-(-side // JPEG_BLOCK_PX) * JPEG_BLOCK_PX for side in (left, top))
    x1, y1 = (
        (side - black) // JPEG_BLOCK_PX * JPEG_BLOCK_PX if black else side
        for side, black in ((width, right), (height, bottom))
    )
    if x0 >= x1 or y0 >= y1:
        return None
    # pixel centres are whole numbers: the first pixel covers -0.5 to 0.5
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    return f"POLYGON (({', '.join(f'{x - 0.5:g} {y - 0.5:g}' for x, y in corners)}))"
