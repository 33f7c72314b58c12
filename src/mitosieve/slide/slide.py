"""The door to slides: which reader a file needs, told by its content and never by its name.

Knows nothing of cohorts, patches or networks. To add a format: write its reader, name its first bytes here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp
from mitosieve.slide.endings import SLIDE_SUFFIXES
from mitosieve.slide.header import DICOM_HEAD, DICOM_MARK, bmp_facts, is_dicom, jpeg_facts, png_facts
from mitosieve.slide.image import (
    CACHE_BYTES,
    MAX_MPP,
    MIN_MPP,
    OtherPicture,
    Slide,
    SlideFacts,
    resolve_mean,
    resolve_mpp,
    resolve_mpp_xy,
)
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.preview import is_mirax, refuse_preview
from mitosieve.slide.tiff import TiffSlide, tiff_facts
from mitosieve.slide.tiffheader import has_vendor_marks

__all__ = [
    "open_slide", "facts", "in_words", "is_dicom", "overrules", "place_of", "which_slide", "Slide", "SlideFacts",
    "OtherPicture", "resolve_mpp", "resolve_mean", "CACHE_BYTES", "MIN_MPP", "MAX_MPP", "SLIDE_SUFFIXES",
]  # fmt: skip

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLAIN = {
    b"\x89PNG\r\n\x1a\n": png_facts,
    b"\xff\xd8\xff": jpeg_facts,
    b"BM": bmp_facts,
}
_STRANGERS = {
    b"GIF8": "a GIF",
    b"RIFF": "a WebP or another RIFF file",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"ObjectType": "a MetaImage (mha)",
    b"<": "an XML or HTML page",
}
TOLD_FROM = 0.02
"""Share by which a stated resolution may differ from the file's own unsaid: more is not rounding."""

_CONVERT = "convert it to an 8-bit RGB PNG, or to a tiled pyramidal TIFF: vips tiffsave IN OUT.tif --tile --pyramid"


def facts(path: str | Path) -> SlideFacts:
    """What a file says of itself; reads its header, not its pixels.

    Raises:
        SlideError: the file is missing, empty, no image, or an image that cannot be used; says how to convert it.
    """
    path = Path(path)
    return _kind_of(path)[0](path)


def _kind_of(path: Path) -> tuple[Callable[[Path], SlideFacts], Callable[..., Slide]]:
    """How to tell the facts of a file, and what opens it.

    The readers of scanners' formats are imported when a file needs them: they take a second to load.

    Raises:
        SlideError: the file is missing, empty or of no known kind.
    """
    head = _first_bytes(path)
    plain = next((read for magic, read in _PLAIN.items() if head.startswith(magic)), None)
    if plain is not None or head.startswith(_TIFF):
        refuse_preview(path)
    if plain is not None and not is_mirax(path):  # a MIRAX slide begins as a JPEG
        return plain, PlainSlide.open
    if not head or head[-4:] == DICOM_MARK:
        from mitosieve.slide.dicom import DicomSlide, dicom_facts

        return dicom_facts, DicomSlide.open
    is_tiff = head.startswith(_TIFF)
    if not is_tiff or has_vendor_marks(path):
        from mitosieve.slide.vendor import VendorSlide, vendor_facts, vendor_of

        if vendor_of(path) is not None:
            return vendor_facts, VendorSlide.open
    if is_tiff:
        return tiff_facts, TiffSlide.open
    if head[4:8] == b"ftyp":
        raise SlideError("is a HEIF picture or a film, which is not read", where=path, remedy=_CONVERT)
    kind = next((name for magic, name in _STRANGERS.items() if head.startswith(magic)), None)
    fault = f"is {kind}, which is not read" if kind else f"is no image that is known (it begins with {head[:8]!r})"
    raise SlideError(fault, where=path, remedy=_CONVERT)


def open_slide(
    path: str | Path,
    *,
    mpp: Mpp | None = None,
    slide_id: str | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Slide:
    """Open any supported image.

    Pixels are taken as they are stored: an orientation tag (EXIF, TIFF) does not turn them, because marks made in
    other software refer to the stored pixels. Transparent pixels are laid over white.

    Args:
        path: PNG, JPEG, BMP (up to 2**29 px), TIFF (flat or pyramid, also Aperio SVS and OME-TIFF), a scanner's format
            that OpenSlide reads, or a DICOM slide (its folder or one of its files): 8-bit RGB.
        mpp: um per px of level 0, one number or (x, y); overrides what the file states.
        slide_id: name in records; by default the file's stem.
        cache_bytes: decoded pixels that are kept for reads that overlap.

    Raises:
        SlideError: the file is missing, truncated, of a kind that cannot be used, or too large to decode.
        ResolutionError: no usable resolution is stated by user or file.
    """
    path = Path(path)
    read_facts, open_file = _kind_of(path)
    stated = read_facts(path)
    used = resolve_mpp_xy(mpp, stated, path)
    slide = open_file(path, stated, mpp=used, slide_id=slide_id or path.stem, cache_bytes=cache_bytes)
    slide.notes = (*_replaced(used, stated, mpp), *stated.notes)
    return slide


def overrules(used: tuple[float, float], own: tuple[float, float] | None) -> bool:
    """Whether a resolution is another one than what the file states, in x or y (um per px): then it is told."""
    return own is not None and any(abs(a / b - 1) > TOLD_FROM for a, b in zip(used, own, strict=True))


def in_words(mpp_xy: tuple[float, float]) -> str:
    """A resolution as people read it: one number, or that of x and that of y where they differ."""
    return " x ".join(f"{side:.4g}" for side in dict.fromkeys(mpp_xy))


def _replaced(used: tuple[float, float], stated: SlideFacts, mpp: Mpp | None) -> Iterator[str]:
    """Says where a user or a cohort overrules what a file states of its resolution."""
    own = stated.mpp_xy
    if mpp is not None and own is not None and overrules(used, own):
        yield (
            f"{in_words(used)} um per px, as --mpp or its cohort says, replaces {in_words(own)} um per px that the "
            "file states"
        )


def place_of(path: Path) -> Path:
    """Where a file lies, whatever the way to its folder; a link to it is a file of its own, for it has its own name.

    The last link is not followed: what belongs to a slide (DICOM's other files, a MIRAX folder) lies beside the link,
    while git-annex and DVC keep each file in a folder of its own.
    """
    try:
        return path.parent.resolve() / path.name
    except (OSError, ValueError, RuntimeError):
        return path  # it fails as a slide


def which_slide(path: Path) -> object:
    """What tells an image from others: folder and series of a DICOM slide, which is several files; any other's place.

    What cannot be read is told by its place: whoever opens it says what is wrong.

    Returns:
        A tuple of a DICOM series, else a path.
    """
    path = place_of(path)
    if not (path.is_dir() or is_dicom(path)):
        return path
    from mitosieve.slide.dicom_series import instance_of, look_into

    try:
        if path.is_dir():
            series = look_into(path).series
            return (path.resolve(), *series) if len(series) == 1 else path
        instance = instance_of(path)
    except SlideError:
        return path
    return path if instance is None else (path.parent, instance.series)


def _first_bytes(path: Path) -> bytes:
    """The bytes that tell the format; none of a folder with DICOM files.

    Raises:
        SlideError: the file is missing, empty, or a folder of other things.
    """
    try:
        if path.is_dir() and any(is_dicom(item) for item in path.glob("[!.]*")):
            return b""
        with path.open("rb") as file:
            head = file.read(DICOM_HEAD)
    except FileNotFoundError as error:
        raise SlideError("is missing", where=path, remedy="check the path") from error
    except IsADirectoryError as error:
        raise SlideError("is a folder, not an image", where=path, remedy="name the image file in it") from error
    except OSError as error:
        raise SlideError(f"cannot be opened ({error.strerror or error})", where=path) from error
    if not head:
        raise SlideError("is empty (0 bytes)", where=path, remedy="copy or download it again")
    return head
