"""TIFF and BigTIFF, flat or pyramid, also Aperio SVS: level 0 is read by tiles or strips, never whole.

Knows nothing of plain images. Uncompressed strips are mapped from the file.
"""

import contextlib
import math
import os
import re
import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from mitosieve.errors import SlideError
from mitosieve.geometry import Region
from mitosieve.slide.header import MAX_PLAIN_PX, not_rgb, truncated
from mitosieve.slide.image import MAX_DENSITY_MPP, MAX_MPP, Slide, SlideFacts, believed_mpp
from mitosieve.slide.plain import over_white

CACHE_BYTES = 128 * 2**20
"""Decoded tiles kept per slide, so that overlapping reads decode each tile once."""

_MAX_PAGES = 256
_JPEG = {6, 7, 33007, 34892}
_JPEG2000 = {33003, 33004, 33005, 34712}
_APERIO_YCBCR = 33003
_TO_TIFF = "write it again as a tiled TIFF: vips tiffsave IN OUT.tif --tile --compression deflate --bigtiff"
_BROKEN = (
    tifffile.TiffFileError,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OSError,
    MemoryError,
)
"""What tifffile and the codecs raise on damaged files; all mean that this slide cannot be read."""


@contextlib.contextmanager
def _reading(path: Path) -> Generator[None]:
    """Turn a library's complaint about a damaged file into ours."""
    try:
        yield
    except _BROKEN as error:
        said = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise SlideError(
            f"is a TIFF that cannot be read ({said[0][:160]})", where=path, remedy=f"copy it again, or {_TO_TIFF}"
        ) from error


def tiff_facts(path: Path) -> SlideFacts:
    """Facts of a TIFF whose largest page is 8-bit RGB.

    Raises:
        SlideError: damaged, truncated, 16-bit, grey, CMYK, or of an unknown layout.
    """
    with _reading(path), tifffile.TiffFile(path) as file:
        return _facts(file, _level0(file, path), path)


def _level0(file: tifffile.TiffFile, path: Path) -> Any:  # noqa: ANN401 - tifffile's pages have no useful type
    """The largest page, the first of equals; refused where it is not 8-bit RGB or the file ends before its end."""
    pages: list[Any] = list(islice(iter(file.pages), _MAX_PAGES))
    if not pages:
        raise SlideError("is a TIFF without an image", where=path, remedy=_TO_TIFF)
    page = max(pages, key=lambda item: item.imagewidth * item.imagelength).aspage()
    _check_colors(page, path)
    size = path.stat().st_size
    if any(offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise truncated(path)
    segment = page.tile[-2:] if page.is_tiled else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    if math.prod(segment) > MAX_PLAIN_PX:
        raise SlideError(
            f"is stored in pieces of {segment[1]:,} x {segment[0]:,} px, too large to decode",
            where=path,
            remedy=_TO_TIFF,
        )
    return page


def _check_colors(page: Any, path: Path) -> None:  # noqa: ANN401 - as above
    """Refuse what is not 8-bit RGB, or would be decoded to wrong colours."""
    kind = int(page.photometric)
    if kind in (0, 1):
        raise not_rgb("is a grey image; stains cannot be told apart without colour", path, "export it in colour")
    if page.bitspersample != 8 or int(page.sampleformat) != 1:
        raise not_rgb(f"holds {page.bitspersample} bits a channel", path)
    if kind == 5:
        raise not_rgb("holds CMYK colours", path)
    encoded = int(page.compression) in _JPEG | _JPEG2000
    if kind not in (2, 6) or (kind == 6 and not encoded) or page.samplesperpixel not in (3, 4):
        raise not_rgb(f"holds colours that are not read ({page.photometric!s}, {page.samplesperpixel} channels)", path)


def _facts(file: tifffile.TiffFile, page: Any, path: Path) -> SlideFacts:  # noqa: ANN401 - as above
    size = (int(page.imagewidth), int(page.imagelength))
    series = next((s for s in file.series if s.keyframe.index == page.index), None)
    levels = (
        [(int(item.keyframe.imagewidth), int(item.keyframe.imagelength)) for item in series.levels] if series else []
    )
    mpp, source, notes = _resolution(file, page)
    if page.tags.get("Orientation") is not None and int(page.tags["Orientation"].value) != 1:
        notes = (*notes, "an orientation tag is ignored: pixels are taken as stored")
    if series is not None and len(series.pages) > 1:
        notes = (*notes, f"holds {len(series.pages)} images of this size; the first is read")
    kind = "TIFF" if not file.is_svs else "TIFF (Aperio)"
    layout = "tiled" if page.is_tiled else "strips"
    name = getattr(page.compression, "name", str(page.compression)).replace("_", " ")
    return SlideFacts(
        format=f"{kind}, {layout}, {name}",
        size_l0=size,
        mpp=mpp,
        mpp_source=source if mpp else "",
        levels=tuple(levels) or (size,),
        notes=notes,
    )


def _resolution(file: tifffile.TiffFile, page: Any) -> tuple[float | None, str, tuple[str, ...]]:  # noqa: ANN401
    """The um per px, where it stands, and notes: a scanner's own statement first, then OME, then resolution tags."""
    text = f"{page.description}\n{file.pages[0].aspage().description}"
    aperio = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", text)
    if aperio:
        value = _number(aperio[1])
        return _with_source(value, value, "Aperio MPP", MAX_MPP)
    ome = [re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', text) for axis in "XY"]
    if ome[0] and ome[1] and re.search(r'PhysicalSizeXUnit="(?!µm|um|&#181;m)', text) is None:
        return _with_source(_number(ome[0][1]), _number(ome[1][1]), "OME PhysicalSize", MAX_MPP)
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    um = {2: 25_400.0, 3: 10_000.0}.get(int(page.resolutionunit or 0))
    if um is None or tags[0] is None or tags[1] is None:
        return None, "", ()
    per_unit = [tag.value[0] / tag.value[1] if tag.value[1] else 0.0 for tag in tags]
    if min(per_unit) <= 1:  # 1 px per inch is what writers put who know none
        return None, "", ()
    return _with_source(um / per_unit[0], um / per_unit[1], "TIFF resolution tag", MAX_DENSITY_MPP)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _with_source(x: float, y: float, source: str, largest: float) -> tuple[float | None, str, tuple[str, ...]]:
    mpp, notes = believed_mpp(x, y, largest=largest)
    return mpp, source, notes


class TiffSlide(Slide):
    """A TIFF of which regions are decoded when asked for. May be read by several threads at once."""

    def __init__(self, file: tifffile.TiffFile, page: Any, *, slide_id: str, path: Path, mpp: float) -> None:  # noqa: ANN401
        super().__init__(slide_id=slide_id, path=path, size_l0=(int(page.imagewidth), int(page.imagelength)), mpp=mpp)
        self._file = file
        self._close = weakref.finalize(self, file.close)  # a slide that is dropped unclosed leaves no open file
        self._page = page
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()
        w, h = self.size_l0
        self._piece = tuple(page.tile[-2:]) if page.is_tiled else (min(int(page.rowsperstrip), h), w)
        self._mapped: NDArray[np.uint8] | None = None
        if page.is_contiguous and int(page.compression) == 1 and int(page.planarconfig) == 1:
            shape = (h, w, int(page.samplesperpixel))
            self._mapped = np.memmap(path, dtype=np.uint8, mode="r", offset=int(page.dataoffsets[0]), shape=shape)

    @classmethod
    def open(cls, path: Path, facts: SlideFacts, *, mpp: float, slide_id: str) -> "TiffSlide":
        """Open a file whose header was found usable (`facts` is not needed again).

        Raises:
            SlideError: it is damaged.
        """
        del facts
        with _reading(path):
            file = tifffile.TiffFile(path)
            try:
                return cls(file, _level0(file, path), slide_id=slide_id, path=path, mpp=mpp)
            except BaseException:
                file.close()
                raise

    def close(self) -> None:
        self._close()
        self._mapped = None
        self._cache.clear()

    def read_l0(self, region: Region) -> NDArray[np.uint8]:
        if self._mapped is not None:
            part = self._mapped[region.y : region.y + region.h, region.x : region.x + region.w]
            return self._to_rgb(np.array(part))
        answer = np.empty((region.h, region.w, 3), dtype=np.uint8)
        if region.area_px2 == 0:
            return answer
        tall, wide = self._piece
        columns = math.ceil(self.size_l0[0] / wide)
        for row in range(region.y // tall, (region.y + region.h - 1) // tall + 1):
            for column in range(region.x // wide, (region.x + region.w - 1) // wide + 1):
                place = Region(x=column * wide, y=row * tall, w=wide, h=tall)
                part = place.clip(region)
                pixels = self._segment(row * columns + column)
                y, x = part.y - place.y, part.x - place.x
                answer[
                    part.y - region.y : part.y - region.y + part.h, part.x - region.x : part.x - region.x + part.w
                ] = pixels[y : y + part.h, x : x + part.w]
        return answer

    def _segment(self, index: int) -> NDArray[np.uint8]:
        """One tile or strip as RGB, from the cache or decoded."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        with _reading(self.path):
            pixels = self._decode(index)
        with self._lock:
            if index not in self._cache:
                self._cache[index] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _decode(self, index: int) -> NDArray[np.uint8]:
        page = self._page
        if int(page.planarconfig) == 1:
            return self._to_rgb(self._decode_piece(index))
        count = len(page.dataoffsets) // int(page.samplesperpixel)
        planes = [self._decode_piece(index + plane * count) for plane in range(int(page.samplesperpixel))]
        return self._to_rgb(np.concatenate(planes, axis=2))

    def _decode_piece(self, index: int) -> NDArray[np.uint8]:
        """(h, w, samples) of one stored piece; a piece without bytes is white (sparse files leave glass out)."""
        page = self._page
        offset, count = int(page.dataoffsets[index]), int(page.databytecounts[index])
        samples = int(page.samplesperpixel) if int(page.planarconfig) == 1 else 1
        blank = np.full((*self._piece, samples), 255, dtype=np.uint8)
        if count == 0:
            return blank
        data = os.pread(self._file.filehandle.fileno(), count, offset)
        if len(data) < count:
            raise truncated(self.path)
        tables = (
            {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if int(page.compression) in _JPEG else {}
        )
        decoded = page.decode(data, index, **tables)[0]
        return blank if decoded is None else np.asarray(decoded[0], dtype=np.uint8)

    def _to_rgb(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        page = self._page
        if int(page.compression) == _APERIO_YCBCR:
            order = np.ascontiguousarray(pixels[..., [0, 2, 1]])
            return np.asarray(cv2.cvtColor(order, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
        if pixels.shape[2] == 4:
            extra = [int(item) for item in page.extrasamples]
            if extra[:1] in ([1], [2]):
                return over_white(pixels, premultiplied=extra[0] == 1)
        return np.ascontiguousarray(pixels[..., :3])
