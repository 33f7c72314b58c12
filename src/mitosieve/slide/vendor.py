"""Scanners' own formats by OpenSlide: MIRAX, NDPI, VMS, SCN, BIF, Philips, Sakura, Trestle, Zeiss.

Knows nothing of the formats; plain RGB TIFF and SVS are read by `tiff`, DICOM by `dicom`. Level 0 is the frame that
QuPath shows: where the file states bounds (`openslide.bounds-*`), their rectangle, so that coordinates mean the same
there.
"""

import contextlib
import ctypes
from collections.abc import Generator
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp, Region
from mitosieve.slide.image import CACHE_BYTES, MAX_MPP, Slide, SlideFacts, believed_mpp, whole_ratio
from mitosieve.slide.plain import over_white

OURS = (None, "aperio", "generic-tiff", "dicom")
"""What OpenSlide says of files that other readers take."""

_PIECE_PX = 2048
"""Side of the blocks that are asked for, so that a large region does not hold its pixels three times."""

_CONVERT = "copy the slide again with all its files, or convert it: vips tiffsave IN OUT.tif --tile --pyramid --bigtiff"


def vendor_of(path: Path) -> str | None:
    """The scanner's format, told by content (OpenSlide looks into the file); None where it is none, or ours."""
    try:
        vendor = openslide.OpenSlide.detect_format(str(path))
    except (openslide.OpenSlideError, UnicodeEncodeError, ctypes.ArgumentError):
        return None
    return None if vendor in OURS else vendor


@contextlib.contextmanager
def _reading(path: Path) -> Generator[None]:
    try:
        yield
    except (openslide.OpenSlideError, ctypes.ArgumentError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise SlideError(f"cannot be read by OpenSlide ({said})", where=path, remedy=_CONVERT) from error


def vendor_facts(path: Path) -> SlideFacts:
    """Facts of a slide that OpenSlide reads.

    Raises:
        SlideError: it is damaged, or one of its files is missing.
    """
    with _reading(path), openslide.OpenSlide(str(path)) as file:
        frame, sizes = _frame(file), _levels(file)
        properties = file.properties
        mpp, source, notes = None, "", ()
        whole = (frame.w, frame.h) == file.dimensions
        stated = [properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
        if stated[0] is not None and stated[1] is not None:
            mpp, notes = believed_mpp(float(stated[0]), float(stated[1]), largest=MAX_MPP)
            source = "the scanner's statement"
        if not whole:
            corner = f"{frame.x}, {frame.y}"
            notes = (
                *notes,
                f"level 0 is the scanned area only, as QuPath shows it; its corner is OpenSlide's {corner}",
            )
        kind = f"{properties['openslide.vendor']} (OpenSlide)"
        levels = tuple(size for _, size in sizes)
        return SlideFacts(
            format=kind,
            size_l0=levels[0],
            mpp_xy=mpp,
            mpp_source=source if mpp else "",
            levels=levels,
            notes=notes,
            corner_l0=(frame.x, frame.y),
            canvas_l0=None if whole else file.dimensions,
        )


def _frame(file: openslide.OpenSlide) -> Region:
    """The scanned area in OpenSlide's level-0 px: its bounds, inside the slide."""
    whole = Region(x=0, y=0, w=file.dimensions[0], h=file.dimensions[1])
    values = [file.properties.get(f"openslide.bounds-{name}") for name in ("x", "y", "width", "height")]
    if any(value is None for value in values):
        return whole
    x, y, w, h = (int(value) for value in values if value is not None)
    frame = Region(x=x, y=y, w=max(w, 0), h=max(h, 0)).clip(whole)
    return frame if frame.area_px2 else whole


def _levels(file: openslide.OpenSlide) -> list[tuple[int, tuple[int, int]]]:
    """OpenSlide's number of each level and the frame's size on it; a level of less than a pixel is none."""
    frame = _frame(file)
    answer = [(0, (frame.w, frame.h))]
    for number, size in enumerate(file.level_dimensions[1:], start=1):
        wide, tall = whole_ratio(file.dimensions, size)
        size = (int(frame.w / wide), int(frame.h / tall))
        if 0 < size[0] < answer[-1][1][0] and 0 < size[1] < answer[-1][1][1]:
            answer.append((number, size))
    return answer


class VendorSlide(Slide):
    """A slide read by OpenSlide.

    Args:
        file: opened; closed with the slide.
        slide_id: name in records.
        path: the file.
        mpp: um per px of level 0, one number or (x, y).
        cache_bytes: decoded tiles that OpenSlide keeps.
    """

    is_concurrent = True

    def __init__(
        self, file: openslide.OpenSlide, *, slide_id: str, path: Path, mpp: Mpp, cache_bytes: int = CACHE_BYTES
    ) -> None:
        numbers = _levels(file)
        super().__init__(slide_id=slide_id, path=path, mpp=mpp, levels=tuple(size for _, size in numbers))
        self._file = file
        self._frame = _frame(file)
        self._numbers = tuple(number for number, _ in numbers)
        file.set_cache(openslide.OpenSlideCache(cache_bytes))

    @classmethod
    def open(
        cls, path: Path, facts: SlideFacts, *, mpp: Mpp, slide_id: str, cache_bytes: int = CACHE_BYTES
    ) -> "VendorSlide":
        """Open a slide whose header was found usable (`facts` is not needed again).

        Raises:
            SlideError: it is damaged.
        """
        del facts
        with _reading(path):
            return cls(openslide.OpenSlide(str(path)), slide_id=slide_id, path=path, mpp=mpp, cache_bytes=cache_bytes)

    def close(self) -> None:
        self._file.close()

    def downsample(self, level: int) -> tuple[float, float]:
        number = self._numbers[level]
        return whole_ratio(self._file.dimensions, self._file.level_dimensions[number])

    def piece_px(self, level: int) -> tuple[int, int]:
        return _PIECE_PX, _PIECE_PX

    def read_level(self, level: int, region: Region) -> NDArray[np.uint8]:
        answer = np.empty((region.h, region.w, 3), dtype=np.uint8)
        number = self._numbers[level]
        step = self._file.level_downsamples[number]
        for y in range(region.y, region.y + region.h, _PIECE_PX):
            for x in range(region.x, region.x + region.w, _PIECE_PX):
                part = Region(x=x, y=y, w=_PIECE_PX, h=_PIECE_PX).clip(region)
                corner = (self._frame.x + round(x * step), self._frame.y + round(y * step))
                with _reading(self.path):
                    rgba = np.asarray(self._file.read_region(corner, number, (part.w, part.h)), dtype=np.uint8)
                top, left = part.y - region.y, part.x - region.x
                answer[top : top + part.h, left : left + part.w] = over_white(rgba)
        return answer
