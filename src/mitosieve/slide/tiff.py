"""TIFF and BigTIFF, flat or pyramid, also Aperio SVS and OME-TIFF: every level is read by tiles or strips, never whole.

Knows nothing of plain images. How a page is decoded stands in `tiffpage`, which pages are levels in `tiffheader`.
"""

import threading
import weakref
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp, Region
from mitosieve.slide.image import CACHE_BYTES, Slide, SlideFacts, whole_ratio
from mitosieve.slide.tiffheader import TiffLevels, facts_of, reading, tiff_levels
from mitosieve.slide.tiffpage import PageReader

_FINER_PX = 2**24
"""px of the finer level that are held at once where a piece is made of it."""

_WINDOW_PX = 64
"""Side of the windows in which a level is compared with the finer one, px of the level."""

LIKE, NEAR_COLOURS = 0.5, 6.0
"""Correlation from which, and mean difference in grey levels up to which, two pictures show the same."""


class TiffSlide(Slide):
    """A TIFF of which regions are decoded when asked for. May be read by several threads at once.

    Args:
        file: opened by tifffile; closed with the slide.
        slide_id: name in records.
        path: the file.
        mpp: um per px of level 0, one number or (x, y).
        cache_bytes: decoded pieces that are kept, so that overlapping reads decode each once; the last one always is.
    """

    is_concurrent = True

    def __init__(
        self, file: tifffile.TiffFile, *, slide_id: str, path: Path, mpp: Mpp, cache_bytes: int = CACHE_BYTES
    ) -> None:
        found = _proven(tiff_levels(file, path), file, path)
        super().__init__(slide_id=slide_id, path=path, mpp=mpp, levels=found.sizes)
        self._file = file
        self._close = weakref.finalize(self, file.close)  # a slide that is dropped unclosed leaves no open file
        fd = file.filehandle.fileno()
        self._pages = [PageReader(page, number=number, fd=fd, path=path) for number, page in enumerate(found.pages)]
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
        self._check_open()
        page = self._pages[level]
        if page.is_rows:
            with reading(self.path):
                return page.rows(region)
        return page.assembled(region, lambda index: self._piece(level, index))

    def read_means(self, level: int, region: Region, halvings: tuple[int, int]) -> NDArray[np.uint8]:
        """As of any slide; piece by piece where they are whole multiples of what is averaged: the region at full size
        need never be put together, which takes a fifth of the time of reading it.
        """
        page, (across, down) = self._pages[level], (2**times for times in halvings)
        sides = (page.wide, region.x, region.w), (page.tall, region.y, region.h)
        apart = any(side % step for step, part in zip((across, down), sides, strict=True) for side in part)
        if apart or page.is_rows or halvings == (0, 0):
            return super().read_means(level, region, halvings)
        self._check_open()
        return page.assembled(region, lambda index: self._piece(level, index), halvings)

    def _check_open(self) -> None:
        if self._file.filehandle.closed:
            raise SlideError("was closed and is read again", where=self.path)

    def _piece(self, level: int, index: int) -> NDArray[np.uint8]:
        """One tile or strip as RGB, from the cache or decoded."""
        key = (level, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        page = self._pages[level]
        pixels = self._from_finer(level, index) if level and page.is_empty(index) else page.piece(index)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _from_finer(self, level: int, index: int) -> NDArray[np.uint8]:
        """A piece without bytes on a level that is not the first: the next finer level averaged (OpenSlide does so)."""
        page, finer = self._pages[level], self.levels[level - 1]
        row, column = divmod(index, page.across)
        place = Region(x=column * page.wide, y=row * page.tall, w=page.wide, h=page.tall)
        place = place.clip(Region(x=0, y=0, w=page.w, h=page.h))
        across, down = whole_ratio(finer, self.levels[level])
        pixels = np.full((page.tall, page.wide, 3), 255, dtype=np.uint8)
        step = max(1, int(_FINER_PX / max(1.0, place.w * across * down)))
        for top in range(0, place.h, step):
            h = min(step, place.h - top)
            y0, y1 = (min(finer[1], round((place.y + y) * down)) for y in (top, top + h))
            x0, x1 = (min(finer[0], round(x * across)) for x in (place.x, place.x + place.w))
            source = Region(x=min(x0, finer[0] - 1), y=min(y0, finer[1] - 1), w=max(1, x1 - x0), h=max(1, y1 - y0))
            part = self.read_level(level - 1, source)
            pixels[top : top + h, : place.w] = cv2.resize(part, (place.w, h), interpolation=cv2.INTER_AREA)
        return pixels


def tiff_facts(path: Path) -> SlideFacts:
    """Facts of a TIFF whose slide is 8-bit RGB; of levels that nothing marks as such, a few tiles are looked at.

    Raises:
        SlideError: damaged, truncated, 16-bit, grey, CMYK, or of an unknown layout.
    """
    with reading(path), tifffile.TiffFile(path) as file:
        return facts_of(_proven(tiff_levels(file, path), file, path), file)


def _proven(levels: TiffLevels, file: tifffile.TiffFile, path: Path) -> TiffLevels:
    """The levels that show what level 0 shows; what nothing marks as a level may be another scene of a fitting size."""
    if not levels.unproven:
        return levels
    fd = file.filehandle.fileno()
    pages = [PageReader(page, number=number, fd=fd, path=path) for number, page in enumerate(levels.pages)]
    wrong: list[int] = []
    for number in levels.unproven:
        finer = max(other for other in range(number) if other not in wrong)
        if not _show_the_same(pages[finer], pages[number]):
            wrong.append(number)
    return levels.without(wrong) if wrong else levels


def _show_the_same(finer: PageReader, level: PageReader) -> bool:
    """Whether a level is the finer one made smaller, where it has most to see.

    Compared are windows of WINDOW_PX px, blurred, so that how a writer shrinks does not matter. They are of another
    image where they neither correlate nor have nearly the same colours.
    """
    likeness, apart = [], []
    for index in level.fullest(3):
        if level.is_empty(index):
            continue
        row, column = divmod(index, level.across)
        x, y = column * level.wide, row * level.tall
        w, h = (min(side, _WINDOW_PX) for side in (min(level.wide, level.w - x), min(level.tall, level.h - y)))
        across, down = whole_ratio((finer.w, finer.h), (level.w, level.h))
        x0, y0 = int(x * across), int(y * down)
        source = Region(x=x0, y=y0, w=round(w * across) or 1, h=round(h * down) or 1)
        source = source.clip(Region(x=0, y=0, w=finer.w, h=finer.h))
        made = cv2.resize(finer.region(source), (w, h), interpolation=cv2.INTER_AREA)
        stored = level.piece(index)[:h, :w]
        a, b = (cv2.blur(picture, (5, 5)).astype(np.float64) for picture in (made, stored))
        apart.append(float(np.abs(a - b).mean()))
        spread = a.std() * b.std()
        likeness.append(float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 1 else 1.0)
    return not apart or max(likeness) >= LIKE or min(apart) <= NEAR_COLOURS
