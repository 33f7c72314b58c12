"""What TIFF and BigTIFF files say of themselves: their levels, their colours and their resolution. Decodes no pixel.

Knows nothing of plain images. Aperio SVS, OME-TIFF and generic pyramids alike: levels are found by their size.
"""

import contextlib
import math
import re
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import tifffile

from mitosieve.errors import SlideError
from mitosieve.slide.header import MAX_PLAIN_PX, not_rgb, truncated
from mitosieve.slide.image import MAX_DENSITY_MPP, MAX_MPP, SlideFacts, believed_mpp

_MAX_PAGES = 256
JPEG_KINDS = {6, 7, 33007, 34892}
"""TIFF compressions that are JPEG."""

JPEG2000_KINDS = {33003, 33004, 33005, 34712}
"""TIFF compressions that are JPEG 2000."""

ODD_LEVEL = 0.01
"""A level whose ratio to level 0 differs between x and y by more than this, and by more than its rounding, is none."""

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
def reading(path: Path, *, where_in: Callable[[], str] | None = None) -> Generator[None]:
    """Turn a library's complaint about a damaged file into ours, which names the part `where_in` says."""
    try:
        yield
    except _BROKEN as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        part = f"has a damaged part, {where_in()}" if where_in else "is a TIFF that cannot be read"
        raise SlideError(f"{part} ({said})", where=path, remedy=f"copy it again, or {_TO_TIFF}") from error


@dataclass(frozen=True, kw_only=True)
class TiffLevels:
    """The pages of a slide.

    Attributes:
        pages: one page of tifffile per level, largest first.
        notes: pages that were passed over though they look like levels, one sentence each.
    """

    pages: tuple[Any, ...]
    notes: tuple[str, ...]

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level."""
        return tuple(_size(page) for page in self.pages)


def tiff_facts(path: Path) -> SlideFacts:
    """Facts of a TIFF whose largest page is 8-bit RGB.

    Raises:
        SlideError: damaged, truncated, 16-bit, grey, CMYK, or of an unknown layout.
    """
    with reading(path), tifffile.TiffFile(path) as file:
        return _facts(file, tiff_levels(file, path), path)


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
    """The largest page, the first of equals, and the smaller ones that show the same.

    A level is a page, or one held by level 0 (sub-IFD), that is tiled as level 0 is or is marked as a reduced image,
    has its colours, and is as much smaller in x as in y. What looks like one and cannot be used is passed over with
    a note.

    Raises:
        SlideError: level 0 is not 8-bit RGB, or the file ends before its end.
    """
    pages: list[Any] = [page.aspage() for page in islice(iter(file.pages), _MAX_PAGES)]
    if not pages:
        raise SlideError("is a TIFF without an image", where=path, remedy=_TO_TIFF)
    page = max(pages, key=lambda item: item.imagewidth * item.imagelength)
    _check_colors(page, path)
    length = path.stat().st_size
    if _ends_early(page, length):
        raise truncated(path)
    if math.prod(piece_of(page)) > MAX_PLAIN_PX:
        tall, wide = piece_of(page)
        raise SlideError(
            f"is stored in pieces of {wide:,} x {tall:,} px, too large to decode", where=path, remedy=_TO_TIFF
        )
    held = list(page.pages) if page.subifds else []
    smaller = sorted(
        (item for item in [*(part.aspage() for part in held), *pages] if _may_be_level(item, page)),
        key=lambda item: -item.imagewidth * item.imagelength,
    )
    found, notes = [page], []
    for item in smaller:
        fault = _fault(item, page, length)
        if fault:
            notes.append(f"a level of {item.imagewidth} x {item.imagelength} px {fault} and is not used")
        elif _size(item) != _size(found[-1]):
            found.append(item)
    return TiffLevels(pages=tuple(found), notes=tuple(notes))


def _size(page: Any) -> tuple[int, int]:  # noqa: ANN401 - tifffile's pages have no useful type
    return int(page.imagewidth), int(page.imagelength)


def piece_of(page: Any) -> tuple[int, int]:  # noqa: ANN401 - as above
    """Rows and columns of the tiles or strips of a page."""
    if page.is_tiled:
        return int(page.tile[-2]), int(page.tile[-1])
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _ends_early(page: Any, length: int) -> bool:  # noqa: ANN401 - as above
    """Whether a piece of the page lies beyond the file's end."""
    return any(start + count > length for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))


def _may_be_level(page: Any, base: Any) -> bool:  # noqa: ANN401 - as above
    small = page.imagewidth < base.imagewidth and page.imagelength < base.imagelength
    return bool(small and (bool(page.is_tiled) if base.is_tiled else page.is_reduced))


def _fault(page: Any, base: Any, length: int) -> str | None:  # noqa: ANN401 - as above
    """Why a page cannot serve as a level; None where it can."""
    (w, h), (base_w, base_h) = _size(page), _size(base)
    rounding = 1 / min(w, h)
    if abs((base_w / w) / (base_h / h) - 1) > max(ODD_LEVEL, rounding):
        return "is not as much smaller in x as in y"
    kind = (int(page.photometric) in (2, 6), page.bitspersample, page.samplesperpixel)
    if kind != (True, base.bitspersample, base.samplesperpixel):
        return "has other colours than level 0"
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


def _facts(file: tifffile.TiffFile, levels: TiffLevels, path: Path) -> SlideFacts:
    page = levels.pages[0]
    mpp, source, notes = _resolution(file, page)
    if page.tags.get("Orientation") is not None and int(page.tags["Orientation"].value) != 1:
        notes = (*notes, "an orientation tag is ignored: pixels are taken as stored")
    same = sum(item.aspage().shape[:2] == page.shape[:2] for item in islice(iter(file.pages), _MAX_PAGES))
    if same > 1:
        notes = (*notes, f"holds {same} images of this size; the first is read")
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


def _resolution(file: tifffile.TiffFile, page: Any) -> tuple[tuple[float, float] | None, str, tuple[str, ...]]:  # noqa: ANN401
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


def _with_source(
    x: float, y: float, source: str, largest: float
) -> tuple[tuple[float, float] | None, str, tuple[str, ...]]:
    mpp, notes = believed_mpp(x, y, largest=largest)
    return mpp, source, notes
