"""The door to slides: which reader a file needs, told by its content and never by its name.

Knows nothing of cohorts, patches or networks. To add a format: write its reader, name its first bytes here.
"""

from pathlib import Path

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp
from mitosieve.slide.header import bmp_facts, jpeg_facts, png_facts
from mitosieve.slide.image import CACHE_BYTES, MAX_MPP, MIN_MPP, Slide, SlideFacts, resolve_mpp, resolve_mpp_xy
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.tiff import TiffSlide
from mitosieve.slide.tiffheader import tiff_facts

__all__ = ["open_slide", "facts", "Slide", "SlideFacts", "resolve_mpp", "CACHE_BYTES", "MIN_MPP", "MAX_MPP"]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FACTS = {
    b"\x89PNG\r\n\x1a\n": png_facts,
    b"\xff\xd8\xff": jpeg_facts,
    b"BM": bmp_facts,
    **dict.fromkeys(_TIFF, tiff_facts),
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
_CONVERT = "convert it to an 8-bit RGB PNG, or to a tiled pyramidal TIFF: vips tiffsave IN OUT.tif --tile --pyramid"


def facts(path: str | Path) -> SlideFacts:
    """What a file says of itself; reads its header, not its pixels.

    Raises:
        SlideError: the file is missing, empty, no image, or an image that cannot be used; says how to convert it.
    """
    path = Path(path)
    head = _first_bytes(path)
    for magic, read in _FACTS.items():
        if head.startswith(magic):
            return read(path)
    if head[4:8] == b"ftyp":
        raise SlideError("is a HEIF picture or a film, which is not read", where=path, remedy=_CONVERT)
    kind = next((name for magic, name in _STRANGERS.items() if head.startswith(magic)), None)
    told = f"is {kind}, which is not read" if kind else f"is no image that is known (it begins with {head[:8]!r})"
    raise SlideError(told, where=path, remedy=_CONVERT)


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
        path: PNG, JPEG, BMP (up to 2**29 px) or TIFF (flat or pyramid, also Aperio SVS): 8-bit RGB.
        mpp: um per px of level 0, one number or (x, y); overrides what the file states.
        slide_id: name in records; by default the file's stem.
        cache_bytes: decoded pixels that are kept for reads that overlap.

    Raises:
        SlideError: the file is missing, truncated, of a kind that cannot be used, or too large to decode.
        ResolutionError: no usable resolution is stated by user or file.
    """
    path = Path(path)
    stated = facts(path)
    used = resolve_mpp_xy(mpp, stated, path)
    reader = TiffSlide if _first_bytes(path).startswith(_TIFF) else PlainSlide
    return reader.open(path, stated, mpp=used, slide_id=slide_id or path.stem, cache_bytes=cache_bytes)


def _first_bytes(path: Path) -> bytes:
    """The 16 bytes that tell the format."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise SlideError("is missing", where=path, remedy="check the path") from error
    except IsADirectoryError as error:
        raise SlideError("is a folder, not an image", where=path, remedy="name the image file in it") from error
    except OSError as error:
        raise SlideError(f"cannot be opened ({error.strerror or error})", where=path) from error
    if not head:
        raise SlideError("is empty (0 bytes)", where=path, remedy="copy or download it again")
    return head
