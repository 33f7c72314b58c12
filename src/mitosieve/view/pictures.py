"""A slide as a page asks for it: square tiles of a pyramid, crops of a cell, a whole overview. Knows no network.

Tiles are cut from the slide's lattice (`geometry.lattice`) at its own um per px times a power of two, so that a place
in level-0 px is the same in every picture. Oblong pixels are shown square.
"""

import math
import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import InputError
from mitosieve.geometry import Region, lattice, rescale_points
from mitosieve.slide.slide import Slide
from mitosieve.view.overview import Overview

TILE_PX = 256
MOST_SOURCE_PX = 2**24
"""px that one tile may make a reader decode; what needs more comes from an overview that is made once."""

CROP_UM = (32, 64, 128)
CROP_PX = (96, 128, 192, 256, 384)
JPEG_QUALITY = 88
_OUTSIDE = 236
"""Grey of what lies outside the slide."""


class Pictures:
    """The pictures of one opened slide; may be asked by several threads at once.

    Args:
        slide: stays open as long as this lives.
    """

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        self.mpp = min(slide.mpp_xy)
        whole = lattice(slide.bounds, mpp_l0=slide.mpp_xy, mpp=self.mpp)
        self.size = (max(1, whole.w), max(1, whole.h))
        self.deepest = math.ceil(math.log2(max(self.size))) if max(self.size) > 1 else 0
        self._one = threading.Lock()
        self._overview: Overview | None = None

    @property
    def first(self) -> int:
        """The level on which the whole slide is one tile: coarser ones are not asked for."""
        return max(0, self.deepest - max(0, math.ceil(math.log2(max(self.size) / TILE_PX))))

    def mpp_of(self, level: int) -> float:
        """Um per px of a level."""
        return self.mpp * 2 ** (self.deepest - level)

    def size_of(self, level: int) -> tuple[int, int]:
        """Width and height of a level in its px, rounded up: what a page expects."""
        step = 2 ** (self.deepest - level)
        return -(-self.size[0] // step), -(-self.size[1] // step)

    def is_costly(self, level: int) -> bool:
        """Whether a tile of this level would need more of the file than one request may ask for."""
        source = self.slide.level_for(self.mpp_of(level))
        steps = zip(self.slide.downsample(source), self.slide.mpp_xy, strict=True)
        wide, tall = (self.mpp_of(level) / (down * side) for down, side in steps)
        stored = self.slide.levels[source]
        return min(TILE_PX * wide, stored[0]) * min(TILE_PX * tall, stored[1]) > MOST_SOURCE_PX

    def tile(self, level: int, column: int, row: int) -> bytes:
        """A tile as JPEG, at most 256 px a side.

        Raises:
            InputError: there is no such tile.
            NotReadyError: the overview that it is cut from is still being made.
            SlideError: the pixels cannot be read.
        """
        if not self.first <= level <= self.deepest:
            raise InputError(f"there is no level {level}")
        width, height = self.size_of(level)
        x, y = column * TILE_PX, row * TILE_PX
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"there is no tile {column}, {row} on level {level}")
        wanted = Region(x=x, y=y, w=min(TILE_PX, width - x), h=min(TILE_PX, height - y))
        pixels = self._from_overview(level, wanted) if self.is_costly(level) else self._block(wanted, level)
        return encode(pixels)

    def crop(self, center_l0: tuple[float, float], *, um: int, px: int) -> bytes:
        """A square round a place as JPEG; what lies outside the slide is grey.

        Args:
            center_l0: in level-0 px; it comes to lie in the middle, to half a px of the crop.
            um: side, one of CROP_UM.
            px: side in px, one of CROP_PX.

        Raises:
            InputError: another size, or a place that is not finite or round which nothing of the slide lies.
            SlideError: the pixels cannot be read.
        """
        if um not in CROP_UM or px not in CROP_PX:
            raise InputError(f"there are no crops of {um} um on {px} px")
        place = np.array([center_l0], dtype=np.float64)
        reach = math.ceil(um / 2 / self.mpp)  # marks of a slide's edge may lie beyond it
        if not np.isfinite(place).all() or not self.slide.bounds.grow(reach).holds(place).all():
            raise InputError("the place is not on the slide")
        mpp = um / px
        middle = rescale_points(place, mpp_from=self.slide.mpp_xy, mpp_to=mpp)[0]
        left, top = (round(float(value) - (px - 1) / 2) for value in middle)
        return encode(self._padded(Region(x=left, y=top, w=px, h=px), mpp))

    def _padded(self, wanted: Region, mpp: float) -> NDArray[np.uint8]:
        """A block of the lattice that may leave the slide."""
        inside = wanted.clip(lattice(self.slide.bounds, mpp_l0=self.slide.mpp_xy, mpp=mpp))
        answer = np.full((wanted.h, wanted.w, 3), _OUTSIDE, dtype=np.uint8)
        if inside.area_px2:
            rows = slice(inside.y - wanted.y, inside.y - wanted.y + inside.h)
            answer[rows, inside.x - wanted.x : inside.x - wanted.x + inside.w] = self._read(inside, mpp)
        return answer

    def _block(self, wanted: Region, level: int) -> NDArray[np.uint8]:
        """A block of a level; its last row or column, where that is less than half a px of the slide, is repeated."""
        mpp = self.mpp_of(level)
        whole = lattice(self.slide.bounds, mpp_l0=self.slide.mpp_xy, mpp=mpp)
        inside = wanted.clip(whole)
        if not inside.area_px2:
            return np.full((wanted.h, wanted.w, 3), _OUTSIDE, dtype=np.uint8)
        pixels = self._read(inside, mpp)
        return np.pad(pixels, ((0, wanted.h - inside.h), (0, wanted.w - inside.w), (0, 0)), mode="edge")

    def _read(self, block: Region, mpp: float) -> NDArray[np.uint8]:
        as_stored = all(abs(mpp / side - 1) < 1e-6 for side in self.slide.mpp_xy)
        if self.slide.is_concurrent:
            return self.slide.read_l0(block) if as_stored else self.slide.read_block(block, mpp)
        with self._one:
            return self.slide.read_l0(block) if as_stored else self.slide.read_block(block, mpp)

    def _from_overview(self, level: int, wanted: Region) -> NDArray[np.uint8]:
        """From the finest level that is too costly, which is made once."""
        made_at = max(number for number in range(self.first, self.deepest + 1) if self.is_costly(number))
        with self._one:
            if self._overview is None:
                width, height = self.size_of(made_at)

                def band(top: int, tall: int) -> NDArray[np.uint8]:
                    return self._block(Region(x=0, y=top, w=width, h=tall), made_at)

                self._overview = Overview((width, height), band)
        step = 2 ** (made_at - level)
        return self._overview.part((wanted.x, wanted.y), (wanted.w, wanted.h), step)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """RGB (h, w, 3) as JPEG."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return data.tobytes()
