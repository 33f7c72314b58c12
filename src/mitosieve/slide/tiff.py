"""TIFF and BigTIFF, flat or pyramid, also Aperio SVS and OME-TIFF: every level is read by tiles or strips, never whole.

Knows nothing of plain images. Uncompressed rows are read from the file as far as they are wanted.
"""

import math
import os
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp, Region
from mitosieve.slide.header import truncated
from mitosieve.slide.image import CACHE_BYTES, Slide, SlideFacts
from mitosieve.slide.plain import over_white
from mitosieve.slide.tiffheader import JPEG2000_KINDS, JPEG_KINDS, piece_of, reading, tiff_levels

_APERIO_YCBCR = 33003
_END_OF_IMAGE = b"\xff\xd9"
"""Ends a JPEG and a JPEG 2000 codestream; in their compressed data it cannot occur."""


class _Level:
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

    def piece(self, index: int) -> NDArray[np.uint8]:
        """RGB (tall, wide, 3) of a tile or strip; one without bytes is white (sparse files leave glass out).

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


class TiffSlide(Slide):
    """A TIFF of which regions are decoded when asked for. May be read by several threads at once.

    Args:
        file: opened by tifffile; closed with the slide.
        slide_id: name in records.
        path: the file.
        mpp: um per px of level 0, one number or (x, y).
        cache_bytes: decoded pieces that are kept, so that overlapping reads decode each once; the last one always is.
    """

    def __init__(
        self, file: tifffile.TiffFile, *, slide_id: str, path: Path, mpp: Mpp, cache_bytes: int = CACHE_BYTES
    ) -> None:
        found = tiff_levels(file, path)
        super().__init__(slide_id=slide_id, path=path, mpp=mpp, levels=found.sizes)
        self._file = file
        self._close = weakref.finalize(self, file.close)  # a slide that is dropped unclosed leaves no open file
        fd = file.filehandle.fileno()
        self._pages = [_Level(page, number=number, fd=fd, path=path) for number, page in enumerate(found.pages)]
        self._cache: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, path: Path, facts: SlideFacts, *, mpp: Mpp, slide_id: str, cache_bytes: int = CACHE_BYTES
    ) -> "TiffSlide":
        """Open a file whose header was found usable (`facts` is not needed again).

        Raises:
            SlideError: it is damaged.
        """
        del facts
        with reading(path):
            file = tifffile.TiffFile(path)
            try:
                return cls(file, slide_id=slide_id, path=path, mpp=mpp, cache_bytes=cache_bytes)
            except BaseException:
                file.close()
                raise

    def close(self) -> None:
        self._close()
        self._cache.clear()
        self._cached_bytes = 0

    def piece_px(self, level: int) -> tuple[int, int]:
        page = self._pages[level]
        return page.wide, page.tall

    def read_level(self, level: int, region: Region) -> NDArray[np.uint8]:
        if self._file.filehandle.closed:
            raise SlideError("was closed and is read again", where=self.path)
        page = self._pages[level]
        if page.is_rows:
            with reading(self.path):
                return page.rows(region)
        answer = np.empty((region.h, region.w, 3), dtype=np.uint8)
        if region.area_px2 == 0:
            return answer
        for row in range(region.y // page.tall, (region.y + region.h - 1) // page.tall + 1):
            for column in range(region.x // page.wide, (region.x + region.w - 1) // page.wide + 1):
                place = Region(x=column * page.wide, y=row * page.tall, w=page.wide, h=page.tall)
                part = place.clip(region)
                pixels = self._piece(level, row * page.across + column)
                y, x = part.y - place.y, part.x - place.x
                top, left = part.y - region.y, part.x - region.x
                answer[top : top + part.h, left : left + part.w] = pixels[y : y + part.h, x : x + part.w]
        return answer

    def _piece(self, level: int, index: int) -> NDArray[np.uint8]:
        """One tile or strip as RGB, from the cache or decoded."""
        key = (level, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        pixels = self._pages[level].piece(index)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pixels
