"""What TIFF and BigTIFF files say of themselves: their levels, their colours and their resolution. Decodes no pixel.

Knows nothing of plain images. Which pages belong together is said by `tiffimages`.
"""

import contextlib
import logging
import math
import re
import struct
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from mitosieve.errors import SlideError
from mitosieve.slide.header import MAX_PLAIN_PX, not_rgb, orientation_notes, truncated
from mitosieve.slide.image import MAX_DENSITY_MPP, MAX_MPP, OtherPicture, SlideFacts, believed_mpp
from mitosieve.slide.omexml import number_of
from mitosieve.slide.tiffimages import TiffImage, is_rgb, notes_of, same_shape, size_of, slide_of

logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
"""It names its own objects on the error stream; faults of a file are told as this package's errors and notes."""

JPEG_KINDS = {6, 7, 33007, 34892}
"""TIFF compressions that are JPEG."""

JPEG2000_KINDS = {33003, 33004, 33005, 34712}
"""TIFF compressions that are JPEG 2000."""

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


_OBJECT = re.compile(r"<[\w.]+\.\w+ [^<>]*>:?\s*")
"""How a library calls its own object in a message, as <tifffile.TiffPage 0 @8>; a reader knows none of these."""


@contextlib.contextmanager
def reading(path: Path, *, where_in: Callable[[], str] | None = None) -> Generator[None]:
    """Turn a library's complaint about a damaged file into ours, which names the part `where_in` says."""
    try:
        yield
    except _BROKEN as error:
        plain = _OBJECT.sub("", str(error)).strip()
        said = (plain.splitlines() or [type(error).__name__])[0][:160]
        part = f"has a damaged part, {where_in()}" if where_in else "is a TIFF that cannot be read"
        raise SlideError(f"{part} ({said})", where=path, remedy=f"copy it again, or {_TO_TIFF}") from error


@dataclass(frozen=True, kw_only=True)
class TiffLevels:
    """The pages of a slide.

    Attributes:
        image: which of the file's images it is.
        pages: one page of tifffile per level, largest first.
        unproven: numbers of levels that nothing but their size and place says are levels.
        notes: pages that were passed over, one sentence each.
    """

    image: TiffImage
    pages: tuple[Any, ...]
    unproven: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level."""
        return tuple(size_of(page) for page in self.pages)

    def without(self, numbers: Collection[int]) -> "TiffLevels":
        """The same with some levels taken for other images."""
        gone = [self.sizes[number] for number in sorted(numbers)]
        notes = (OtherPicture(f"holds another image of {w} x {h} px, which is not looked at") for w, h in gone)
        kept = [page for number, page in enumerate(self.pages) if number not in numbers]
        return replace(self, pages=tuple(kept), unproven=(), notes=(*self.notes, *notes))


def has_vendor_marks(path: Path) -> bool:
    """Whether a TIFF may be a scanner's that stores its slide in a way of its own; OpenSlide then has the last word."""
    try:
        with tifffile.TiffFile(path) as file:
            if file.is_ndpi or file.is_scn or file.is_bif or file.is_philips:
                return True
            return bool(re.match(r"MedScan|Philips|Leica|ScanOutput", str(file.pages[0].aspage().software)))
    except _BROKEN:
        return False


def tiff_levels(file: tifffile.TiffFile, path: Path) -> TiffLevels:
    """The slide's page and the smaller ones of its image.

    A level is smaller than level 0, by as much in x as in y, and has its colours. What the file says is one and cannot
    be used is passed over with a note, and so is every other image of the file.

    Raises:
        SlideError: level 0 is not 8-bit RGB, or the file ends before its end.
    """
    image, others = slide_of(file)
    if image is None:
        raise SlideError("is a TIFF without an image", where=path, remedy=_TO_TIFF)
    page = image.page
    _check_colors(page, path)
    length = path.stat().st_size
    if _lacks_pieces(page):
        raise SlideError("is damaged: it has fewer tiles or strips than its size needs", where=path, remedy=_TO_TIFF)
    if _ends_early(page, length):
        raise truncated(path)
    if math.prod(piece_of(page)) > MAX_PLAIN_PX:
        tall, wide = piece_of(page)
        raise SlideError(
            f"is stored in pieces of {wide:,} x {tall:,} px, too large to decode", where=path, remedy=_TO_TIFF
        )
    told = {id(item) for item in image.levels if item.is_tiled or not page.is_tiled or len(item.treeindex) > 1}
    smaller = [item for item in (*image.levels, *image.perhaps) if _is_smaller(item, page)]
    found, notes = [page], []
    for item in sorted(smaller, key=lambda item: -item.imagewidth * item.imagelength):
        fault = _fault(item, page, length)
        if fault:
            notes.append(f"a level of {item.imagewidth} x {item.imagelength} px {fault} and is not used")
        elif _is_smaller(item, found[-1]):
            found.append(item)
    unproven = tuple(number for number, item in enumerate(found) if number and id(item) not in told)
    notes += [OtherPicture(note) if is_other else note for note, is_other in notes_of(image, others)]
    return TiffLevels(image=image, pages=tuple(found), unproven=unproven, notes=tuple(notes))


def _is_smaller(page: Any, base: Any) -> bool:  # noqa: ANN401 - tifffile's pages have no useful type
    return bool(page.imagewidth < base.imagewidth and page.imagelength < base.imagelength)


def piece_of(page: Any) -> tuple[int, int]:  # noqa: ANN401 - as above
    """Rows and columns of the tiles or strips of a page."""
    if page.is_tiled:
        return int(page.tile[-2]), int(page.tile[-1])
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _lacks_pieces(page: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a page has fewer tiles or strips than its size needs."""
    tall, wide = piece_of(page)
    if min(tall, wide) < 1:
        return True
    planes = int(page.samplesperpixel) if int(page.planarconfig) == 2 else 1
    needed = math.ceil(page.imagelength / tall) * math.ceil(page.imagewidth / wide) * planes
    return min(len(page.dataoffsets), len(page.databytecounts)) < needed and not page.is_contiguous


def _ends_early(page: Any, length: int) -> bool:  # noqa: ANN401 - as above
    """Whether a piece of the page lies beyond the file's end."""
    return any(start + count > length for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))


def _fault(page: Any, base: Any, length: int) -> str | None:  # noqa: ANN401 - as above
    """Why a page cannot serve as a level; None where it can."""
    if not same_shape(page, base):
        return "is not as much smaller in x as in y"
    if not is_rgb(page) or page.samplesperpixel != base.samplesperpixel:
        return "has other colours than level 0"
    if _lacks_pieces(page):
        return "has fewer tiles or strips than its size needs"
    if math.prod(piece_of(page)) > MAX_PLAIN_PX:
        return "is stored in pieces too large to decode"
    if _ends_early(page, length):
        return "is truncated"
    return None


def _check_colors(page: Any, path: Path) -> None:  # noqa: ANN401 - as above
    """Refuse what is not 8-bit RGB, or would be decoded to wrong colours."""
    kind = int(page.photometric)
    if kind in (0, 1):
        raise not_rgb("is a grey image; stains cannot be told apart without colour", path, "export it in colour")
    if page.bitspersample != 8 or int(page.sampleformat) != 1:
        raise not_rgb(f"holds {page.bitspersample} bits a channel", path)
    if kind == 5:
        raise not_rgb("holds CMYK colours", path)
    encoded = int(page.compression) in JPEG_KINDS | JPEG2000_KINDS
    if kind not in (2, 6) or (kind == 6 and not encoded) or page.samplesperpixel not in (3, 4):
        raise not_rgb(f"holds colours that are not read ({page.photometric!s}, {page.samplesperpixel} channels)", path)


def facts_of(levels: TiffLevels, file: tifffile.TiffFile) -> SlideFacts:
    """What a slide's pages say of it."""
    page = levels.pages[0]
    mpp, source, notes = _resolution(file, levels.image)
    if page.tags.get("Orientation") is not None:
        notes = (*notes, *orientation_notes(page.tags["Orientation"].value))
    kind = "TIFF" if not file.is_svs else "TIFF (Aperio)"
    layout = "tiled" if page.is_tiled else "strips"
    name = getattr(page.compression, "name", str(page.compression)).replace("_", " ")
    return SlideFacts(
        format=f"{kind}, {layout}, {name}",
        size_l0=levels.sizes[0],
        mpp_xy=mpp,
        mpp_source=source if mpp else "",
        levels=levels.sizes,
        notes=(*notes, *levels.notes),
    )


Stated = tuple[tuple[float, float] | None, str, tuple[str, ...]]
"""um per px in x and y, where they stand, and notes."""


def _resolution(file: tifffile.TiffFile, image: TiffImage) -> Stated:
    """A scanner's own statement first, then OME's of this image, then resolution tags.

    A statement that is no number is no resolution, and nothing else is taken in its place.
    """
    text = f"{image.page.description}\n{file.pages[0].aspage().description}"
    aperio = re.search(r"\|\s*MPP\s*=([^|\r\n]*)", text)
    if aperio:
        value = number_of(aperio[1])
        if math.isnan(value):
            return None, "", (f"Aperio MPP is '{aperio[1].strip()[:40]}', which is no number, and is ignored",)
        return _with_source(value, value, "Aperio MPP", MAX_MPP)
    if image.ome is not None and image.ome.fault:
        return None, "", (image.ome.fault,)
    if image.ome is not None and image.ome.mpp_xy is not None:
        return _with_source(*image.ome.mpp_xy, "OME PhysicalSize", MAX_MPP)
    return _resolution_of_tags(image.page)


def _resolution_of_tags(page: Any) -> Stated:  # noqa: ANN401 - as above
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    unit = _rational(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else 2.0
    um = {2.0: 25_400.0, 3.0: 10_000.0}.get(unit)
    if um is None or tags[0] is None or tags[1] is None:
        return None, "", ()
    per_unit = [_rational(tag.value) for tag in tags]
    if not min(per_unit) > 1:  # 1 px per inch is what writers put who know none; NaN is no number
        return None, "", ()
    return _with_source(um / per_unit[0], um / per_unit[1], "TIFF resolution tag", MAX_DENSITY_MPP)


def _rational(value: object) -> float:
    """A tag's number, whatever type it is stored in: RATIONAL as (over, under), LONG, SHORT, FLOAT, text; else NaN."""
    if isinstance(value, bytes):
        value = value[0] if len(value) == 1 else value.decode("latin-1")
    if isinstance(value, str):
        return number_of(value.strip("\0 "))
    parts = np.ravel(np.asarray(value))
    if not 1 <= len(parts) <= 2 or not np.issubdtype(parts.dtype, np.number):
        return math.nan
    over, under = float(parts[0]), float(parts[1]) if len(parts) == 2 else 1.0
    return over / under if under else math.nan


def _with_source(x: float, y: float, source: str, largest: float) -> Stated:
    mpp, notes = believed_mpp(x, y, largest=largest)
    return mpp, source, notes
