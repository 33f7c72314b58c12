"""One page of a TIFF decoded piece by piece: tiles or strips as RGB. Knows nothing of slides and levels."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Region
from mitosieve.slide.plain import over_white
from mitosieve.slide.rendering import halved
from mitosieve.slide.tiffheader import JPEG2000_KINDS, JPEG_KINDS, piece_of, reading, truncated

_APERIO_YCBCR = 33003
_END_OF_IMAGE = b"\xff\xd9"
"""Ends a JPEG and a JPEG 2000 codestream; in their compressed data it cannot occur."""


_LARGE_PX, _MOST_PX = 2**24, 4096
"""A piece of more pixels than the first is believed where none of its bytes holds more than the second."""


class PageReader:
    """One page of the file: where its pieces are and how they are decoded.

    Attributes:
        tall: rows of a piece.
        wide: columns of a piece.
        across: pieces in a row of pieces.
    """

    def __init__(self, page: Any, *, number: int, fd: int, path: Path) -> None:  # noqa: ANN401 - tifffile's pages
        self._page = page
        self._number = number
        self._fd = fd
        self._path = path
        self._starts: tuple[int, ...] = page.dataoffsets
        self._counts: tuple[int, ...] = page.databytecounts
        self.w, self.h = int(page.imagewidth), int(page.imagelength)
        self.tall, self.wide = piece_of(page)
        self.across = math.ceil(self.w / self.wide)
        self._samples = int(page.samplesperpixel)
        self._planes = 1 if int(page.planarconfig) == 1 else self._samples
        kind = int(page.compression)
        self._marked_end = kind in JPEG_KINDS | JPEG2000_KINDS
        self._tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if kind in JPEG_KINDS else {}
        self._is_ycbcr = kind == _APERIO_YCBCR
        extra = [int(item) for item in page.extrasamples][:1]
        self._alpha = extra[0] if self._samples == 4 and extra in ([1], [2]) else 0
        plain = kind == 1 and self._planes == 1 and int(page.fillorder) == 1 and int(page.predictor) == 1
        self.is_rows = bool(page.is_contiguous and plain)

    def rows(self, region: Region) -> NDArray[np.uint8]:
        """Pixels of a page that is stored as one uncompressed block."""
        row_bytes = self.w * self._samples
        pixels = np.empty((region.h, region.w, self._samples), dtype=np.uint8)
        for row in range(region.h):
            start = self._starts[0] + (region.y + row) * row_bytes + region.x * self._samples
            pixels[row] = np.frombuffer(self._bytes(start, region.w * self._samples), dtype=np.uint8).reshape(
                region.w, self._samples
            )
        return self._to_rgb(pixels)

    def region(self, region: Region) -> NDArray[np.uint8]:
        """RGB (h, w, 3) of a region inside the page; decodes all pieces that it touches and keeps none.

        Raises:
            SlideError: a piece is damaged.
        """
        if self.is_rows:
            with reading(self._path):
                return self.rows(region)
        return self.assembled(region, self.piece)

    def assembled(
        self, region: Region, piece: Callable[[int], NDArray[np.uint8]], halvings: tuple[int, int] = (0, 0)
    ) -> NDArray[np.uint8]:
        """RGB (h, w, 3) of a region inside the page from what `piece` gives for each tile or strip that it touches.

        Args:
            region: px of the page.
            piece: gives the tile or strip of a number.
            halvings: how often each is averaged by two in x and y; sides of pieces and the region's are multiples of 2
                to their power.
        """
        across, down = (2**times for times in halvings)
        answer = np.empty((region.h // down, region.w // across, 3), dtype=np.uint8)
        if region.area_px2 == 0:
            return answer
        for row in range(region.y // self.tall, (region.y + region.h - 1) // self.tall + 1):
            for column in range(region.x // self.wide, (region.x + region.w - 1) // self.wide + 1):
                place = Region(x=column * self.wide, y=row * self.tall, w=self.wide, h=self.tall)
                part = place.clip(region)
                y, x = part.y - place.y, part.x - place.x
                pixels = piece(row * self.across + column)[y : y + part.h, x : x + part.w]
                top, left = (part.y - region.y) // down, (part.x - region.x) // across
                answer[top : top + part.h // down, left : left + part.w // across] = halved(pixels, *halvings)
        return answer

    def is_empty(self, index: int) -> bool:
        """Whether a tile or strip has no bytes: sparse files leave out what is white, or what a finer level has."""
        count = len(self._starts) // self._planes
        return not any(self._counts[index :: max(count, 1)])

    def fullest(self, count: int) -> list[int]:
        """The pieces of the first plane with most bytes, which are those with most to see; ties by their order."""
        each = self._counts[: len(self._counts) // self._planes]
        return sorted(range(len(each)), key=lambda index: (-each[index], index))[:count]

    def piece(self, index: int) -> NDArray[np.uint8]:
        """RGB (tall, wide, 3) of a tile or strip; one without bytes is white.

        Raises:
            SlideError: it is damaged; says which it is.
        """
        count = len(self._starts) // self._planes
        with reading(self._path, where_in=lambda: self._name(index)):
            parts = [self._decode(index + plane * count) for plane in range(self._planes)]
            return self._to_rgb(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2))

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """(tall, wide, samples) of a stored piece; the last strip may be less tall."""
        decoded = None
        if self._counts[index]:
            if self.tall * self.wide > max(_LARGE_PX, _MOST_PX * self._counts[index]):
                raise ValueError("it states more pixels than its bytes can hold")
            data = self._bytes(self._starts[index], self._counts[index])
            if self._marked_end and data.rfind(_END_OF_IMAGE) < 0:
                raise ValueError("it is zero-filled" if not any(data) else "it ends too early")
            decoded = self._page.decode(data, index, **self._tables)[0]
        if decoded is None:
            return np.full((self.tall, self.wide, self._samples // self._planes), 255, dtype=np.uint8)
        return np.asarray(decoded[0], dtype=np.uint8)

    def _bytes(self, start: int, count: int) -> bytes:
        data = os.pread(self._fd, count, start)
        if len(data) < count:
            raise truncated(self._path)
        return data

    def _name(self, index: int) -> str:
        row, column = divmod(index, self.across)
        if not self._page.is_tiled:
            return f"strip {index} of level {self._number}"
        return f"the tile in row {row}, column {column} of level {self._number}"

    def _to_rgb(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._is_ycbcr:
            order = np.ascontiguousarray(pixels[..., [0, 2, 1]])
            return np.asarray(cv2.cvtColor(order, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
        if self._alpha:
            return over_white(pixels, premultiplied=self._alpha == 1)
        return np.ascontiguousarray(pixels[..., :3])
