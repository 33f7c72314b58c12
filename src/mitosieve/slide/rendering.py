"""From the pixels of one level to those of a lattice: exact halving, then bilinear sampling. Knows no files.

All frames here are those of one level: its pixel i has its centre at i.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Region

SMOOTH_ABOVE = 1.5
"""Shrinking by more than this blurs first; below it, bilinear sampling alone keeps chromatin texture best."""

BLUR, BLUR_OF_MEANS = 0.4, 0.25
"""Standard deviation of that blur, in px of the answer: of pixels as scanned, and of pixels that are means already.
Nearest to the means over each answered pixel's own square, on a frame of MITOS-ATYPIA-14 (decision 7)."""

NEAR = 0.01
"""A level this much coarser than what is wanted still serves, and a factor this close to 2 is halved."""

_ROWS, _COLUMNS = 96, 8192
"""Sampled at once: remap is limited to 32,767 px a side, and its maps, six bytes a pixel, are to stay in the cache."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How one axis of a level becomes one of the lattice.

    Attributes:
        scale: level px per lattice px.
        size: px of the level along this axis.
        averaged: whether the level's pixels are means of finer ones.
    """

    scale: float
    size: int
    averaged: bool = False

    @cached_property
    def halvings(self) -> int:
        """How often pixels are averaged by two before they are sampled."""
        times, left = 0, self.scale
        while left >= 2 * (1 - NEAR):
            times, left = times + 1, left / 2
        return times

    @cached_property
    def rest(self) -> float:
        """What is left of the scale after halving: below 2."""
        return self.scale / 2**self.halvings

    @cached_property
    def blur(self) -> float:
        """Standard deviation of the blur before sampling, in halved px; 0 is none."""
        if self.rest <= SMOOTH_ABOVE:
            return 0.0
        return self.rest * (BLUR_OF_MEANS if self.averaged or self.halvings else BLUR)

    def source(self, start: int, count: int) -> tuple[int, int]:
        """First level px and the one after the last that lattice px start..start + count need.

        Both are multiples of 2**halvings or the level's end, so that every part is halved like the whole.
        """
        step = 2**self.halvings
        margin = 2 + int(np.ceil(self.rest + 4 * self.blur))
        first = int(np.floor((start + 0.5) * self.rest - 0.5)) - margin
        last = int(np.ceil((start + count - 0.5) * self.rest - 0.5)) + margin
        low = min(max(0, first * step), (self.size - 1) // step * step)
        return low, min(self.size, max((last + 1) * step, low + step))

    def places(self, start: int, count: int, low: int) -> NDArray[np.float64]:
        """Where lattice px lie in a halved source that begins at level px `low`."""
        return (np.arange(start, start + count) + 0.5) * self.rest - 0.5 - low // 2**self.halvings


def source_of(block: Region, x: Axis, y: Axis) -> Region:
    """Level px that a block of the lattice needs, inside the level."""
    left, right = x.source(block.x, block.w)
    top, bottom = y.source(block.y, block.h)
    return Region(x=left, y=top, w=right - left, h=bottom - top)


def render(pixels: NDArray[np.uint8], source: Region, block: Region, x: Axis, y: Axis) -> NDArray[np.uint8]:
    """A block of the lattice from the level's pixels of `source_of(block, x, y)`.

    Args:
        pixels: (h, w, 3) of `source`.
        source: level px.
        block: lattice px.
        x: the axes.
        y: the axes.

    Returns:
        uint8 (h, w, 3) of `block`.
    """
    return sample(halved(pixels, x.halvings, y.halvings), source, block, x, y)


def sample(means: NDArray[np.uint8], source: Region, block: Region, x: Axis, y: Axis) -> NDArray[np.uint8]:
    """`render` where the pixels of `source` were halved already, as often as each axis says."""
    blur = max(x.blur, y.blur)
    if blur:
        means = np.asarray(cv2.GaussianBlur(means, (0, 0), blur, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)
    return _sampled(means, x.places(block.x, block.w, source.x), y.places(block.y, block.h, source.y))


def halved(pixels: NDArray[np.uint8], times_x: int, times_y: int) -> NDArray[np.uint8]:
    """Means of 2 x 2 px, repeatedly; the level's last column or row is repeated where it has no partner."""
    for turn in range(max(times_x, times_y)):
        fx, fy = 1 + (turn < times_x), 1 + (turn < times_y)
        h, w = pixels.shape[:2]
        if h % fy or w % fx:
            pixels = np.pad(pixels, ((0, h % fy), (0, w % fx), (0, 0)), mode="edge")
            h, w = pixels.shape[:2]
        pixels = np.asarray(cv2.resize(pixels, (w // fx, h // fy), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return pixels


def _sampled(source: NDArray[np.uint8], columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bilinear samples at the crossings of columns and rows, to 1/32 px; outside the source its edge repeats."""
    if _are_whole(columns, source.shape[1]) and _are_whole(rows, source.shape[0]):
        top, left = round(rows[0]), round(columns[0])
        return np.ascontiguousarray(source[top : top + len(rows), left : left + len(columns)])
    answer = np.empty((len(rows), len(columns), 3), dtype=np.uint8)
    y, x = np.rint(rows * 32).astype(np.int32), np.rint(columns * 32).astype(np.int32)
    for top in range(0, len(rows), _ROWS):
        for left in range(0, len(columns), _COLUMNS):
            xs, ys = x[left : left + _COLUMNS], y[top : top + _ROWS]
            x0, y0 = max(0, (int(xs[0]) >> 5) - 2), max(0, (int(ys[0]) >> 5) - 2)
            piece = source[y0 : (int(ys[-1]) >> 5) + 4, x0 : (int(xs[-1]) >> 5) + 4]
            whole, part = _maps(xs - 32 * x0, ys - 32 * y0)
            into = answer[top : top + len(ys), left : left + len(xs)]
            cv2.remap(piece, whole, part, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REPLICATE)
    return answer


def _maps(x: NDArray[np.int32], y: NDArray[np.int32]) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """OpenCV's own fixed-point maps, of places in 32nds of a px: whole px as pairs, and what is left as 32 * y + x.

    A pair is one 32-bit number, so that rows and columns are put together by one sum: writing the halves of each pair
    takes three times as long.
    """
    across, down = np.zeros((len(x), 2), dtype=np.int16), np.zeros((len(y), 2), dtype=np.int16)
    across[:, 0], down[:, 1] = x >> 5, y >> 5
    whole = (down.view(np.int32) + across.view(np.int32).T).view(np.int16).reshape(len(y), len(x), 2)
    part = ((y & 31) * 32)[:, None].astype(np.uint16) + (x & 31).astype(np.uint16)
    return whole, part


def _are_whole(places: NDArray[np.float64], length: int) -> bool:
    """Whether consecutive px of the source are wanted as they are."""
    first, last = places[0], places[-1]
    steady = abs(last - first - (len(places) - 1)) < 1 / 64
    return bool(steady and abs(first - round(first)) < 1 / 64 and round(first) >= 0 and round(last) < length)
