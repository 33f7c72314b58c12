"""What PNG, JPEG and BMP files say in their headers, and whether they can be used; no pixel is decoded here.

Read here and not by an image library, because the libraries hide what must be refused: they shrink 16-bit colour to 8,
fill truncated pictures with grey, and decode before they can be asked for the size.
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from mitosieve.errors import SlideError
from mitosieve.slide.image import MAX_DENSITY_MPP, OtherPicture, SlideFacts, believed_mpp

MAX_PLAIN_PX = 2**29
"""Pixels of a plain image, which is decoded whole: 1.6 GB of RGB."""

MAX_PLAIN_SIDE = 65_500
"""Longest side of a plain image in px, the limit of libjpeg."""

DEFLATE_MOST = 1032
"""Bytes that a byte of deflate can become, at most (RFC 1951: 258 bytes in two bits)."""

JPEG_MOST_PX = 2048
"""Pixels that a byte of JPEG can hold, generously: a block of 8 x 8 px takes a bit at least."""

DICOM_MARK, DICOM_HEAD = b"DICM", 132
"""The four bytes that end the first 132 of a DICOM file."""

_TRUNCATED = "copy or download it again: it ends before its last pixel"
_TO_TIFF = "convert it to a tiled TIFF, which is read by parts: vips tiffsave IN OUT.tif --tile --pyramid --bigtiff"
_TO_RGB = "convert it to 8-bit RGB: magick IN -depth 8 -colorspace sRGB -type TrueColor OUT.png"
_GREY = "is a grey image; stains cannot be told apart without colour"


def is_dicom(path: Path) -> bool:
    """Whether a path is a file that begins as DICOM files do."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(DICOM_HEAD)[-4:] == DICOM_MARK
    except (OSError, ValueError):  # what cannot be looked at is told by whoever opens it
        return False


def truncated(path: Path) -> SlideError:
    """The refusal of a file that ends too early."""
    return SlideError("is truncated", where=path, remedy=_TRUNCATED)


def not_rgb(what: str, path: Path, remedy: str = _TO_RGB) -> SlideError:
    """The refusal of pixels that are not 8-bit RGB."""
    return SlideError(what, where=path, remedy=remedy)


def check_held(path: Path, wanted: int, most: float, size: int | None = None) -> None:
    """Refuse a header that states more than its bytes can hold, before memory is taken for it.

    Args:
        path: the file.
        wanted: what is stated, in any unit.
        most: of it that a byte can hold.
        size: bytes; None is the file's.

    Raises:
        SlideError: it states more.
    """
    if wanted > most * (path.stat().st_size if size is None else size) + 2**20:
        raise SlideError(
            "is damaged: its header states more pixels than its bytes can hold", where=path, remedy=_TRUNCATED
        )


def _checked(
    path: Path, kind: str, size: tuple[int, int], density: tuple[float, float] | None, source: str
) -> SlideFacts:
    """Facts of a usable plain image; the density is um per px in x and y."""
    w, h = size
    if w < 1 or h < 1:
        raise SlideError(f"states a size of {w} x {h} px", where=path, remedy="export it again")
    if w * h > MAX_PLAIN_PX or max(w, h) > MAX_PLAIN_SIDE:
        raise SlideError(
            f"is {w:,} x {h:,} px, too large for a {kind} (limit {MAX_PLAIN_SIDE:,} px a side, {MAX_PLAIN_PX:,} px)",
            where=path,
            remedy=_TO_TIFF,
        )
    mpp, notes = (None, ()) if density is None else believed_mpp(*density, largest=MAX_DENSITY_MPP)
    return SlideFacts(
        format=kind, size_l0=size, mpp_xy=mpp, mpp_source=source if mpp else "", levels=(size,), notes=notes
    )


def orientation_notes(orientation: object) -> tuple[str, ...]:
    """What is said of an orientation tag (TIFF 6.0, EXIF); nothing of 1, which is as stored, nor of 0 (none)."""
    if orientation in (None, 0, 1):
        return ()
    return (OtherPicture("an orientation tag is ignored: pixels are taken as stored"),)


def _with_orientation(facts: SlideFacts, exif: bytes) -> SlideFacts:
    return replace(facts, notes=(*facts.notes, *orientation_notes(_exif_orientation(exif))))


def _exif_orientation(exif: bytes) -> int | None:
    """Tag 0x0112 in the first directory of EXIF, which is laid out as a TIFF; None where it cannot be found."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    start = struct.unpack(f"{order}I", exif[4:8])[0]
    number = struct.unpack(f"{order}H", exif[start : start + 2].ljust(2, b"\0"))[0]
    for place in range(start + 2, min(start + 2 + 12 * number, len(exif) - 11), 12):
        tag, kind = struct.unpack(f"{order}HH", exif[place : place + 4])
        if tag == 0x0112:
            return struct.unpack(order + ("I" if kind == 4 else "H2x"), exif[place + 8 : place + 12])[0]
    return None


def png_chunks(file: IO[bytes], path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk up to IEND; the content of pixel chunks (IDAT) is passed over, not read.

    Raises:
        SlideError: the file ends before IEND.
    """
    end = file.seek(0, 2)
    file.seek(8)
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise truncated(path)
        length, kind = struct.unpack(">I4s", head)
        if file.tell() + length + 4 > end:
            raise truncated(path)
        content = b"" if kind == b"IDAT" else file.read(length)
        file.seek(4 + (length if kind == b"IDAT" else 0), 1)
        yield kind, content
        if kind == b"IEND":
            return


def png_facts(path: Path) -> SlideFacts:
    """Facts of a PNG of 8-bit RGB, RGBA or palette colours.

    Raises:
        SlideError: truncated, 16-bit, grey, or too large.
    """
    with path.open("rb") as file:
        chunks = png_chunks(file, path)
        kind, ihdr = next(chunks)
        if kind != b"IHDR" or len(ihdr) != 13:
            raise SlideError("has no PNG header", where=path, remedy="export it again")
        w, h, depth, color = struct.unpack(">IIBB", ihdr[:10])
        facts = _checked(path, "PNG", (w, h), None, "")
        density, exif = None, b""
        for kind, content in chunks:
            if kind == b"eXIf":
                exif = content
            if kind == b"pHYs" and len(content) == 9:
                x, y, unit = struct.unpack(">IIB", content)
                density = (1e6 / x, 1e6 / y) if unit == 1 and x and y else None
    if depth == 16:
        raise not_rgb("holds 16 bits a channel", path)
    if color in (0, 4):
        raise not_rgb(_GREY, path, "export it in colour (8-bit RGB)")
    check_held(path, h * -(-w * depth * {2: 3, 6: 4}.get(color, 1) // 8), DEFLATE_MOST)
    name = {2: "PNG", 3: "PNG, palette", 6: "PNG, RGBA"}.get(color)
    if name is None:
        raise SlideError(f"has the unknown PNG colour type {color}", where=path, remedy=_TO_RGB)
    return _with_orientation(_checked(path, name, facts.size_l0, density, "PNG pHYs"), exif)


def jpeg_segments(file: IO[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to and including the start of scan (0xDA).

    Raises:
        SlideError: the file ends before it.
    """
    file.seek(2)
    while True:
        byte = file.read(1)
        while byte and byte != b"\xff":
            byte = file.read(1)
        while byte == b"\xff":
            byte = file.read(1)
        if not byte:
            raise truncated(path)
        marker = byte[0]
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue
        length = int.from_bytes(file.read(2), "big")
        content = file.read(max(0, length - 2))
        if marker == 0xD9 or length < 2 or len(content) < length - 2:
            raise truncated(path)
        yield marker, content
        if marker == 0xDA:
            return


def jpeg_facts(path: Path) -> SlideFacts:
    """Facts of a JPEG of three 8-bit channels.

    Raises:
        SlideError: truncated, grey, CMYK, 12-bit, or too large.
    """
    frame, density, exif = None, None, b""
    with path.open("rb") as file:
        for marker, content in jpeg_segments(file, path):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(content) >= 6:
                frame = struct.unpack(">BHHB", content[:6])
            if marker == 0xE1 and content.startswith(b"Exif\0\0"):
                exif = exif or content[6:]
            if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 12:
                unit, x, y = struct.unpack(">BHH", content[7:12])
                um = {1: 25_400.0, 2: 10_000.0}.get(unit)
                density = (um / x, um / y) if um and x and y else None
    if frame is None:
        raise SlideError("has no JPEG frame", where=path, remedy="export it again")
    bits, h, w, channels = frame
    if bits != 8:
        raise not_rgb(f"holds {bits} bits a channel", path)
    if channels == 1:
        raise not_rgb(_GREY, path, "export it in colour (8-bit RGB)")
    if channels != 3:
        raise not_rgb(f"has {channels} channels (CMYK)", path)
    facts = _checked(path, "JPEG", (w, h), density, "JPEG density")
    check_held(path, w * h, JPEG_MOST_PX)
    return _with_orientation(facts, exif)


def bmp_facts(path: Path) -> SlideFacts:
    """Facts of an uncompressed BMP of 24 or 32 bits a pixel.

    Raises:
        SlideError: truncated, grey or palette, compressed, or too large.
    """
    with path.open("rb") as file:
        head = file.read(54)
        end = file.seek(0, 2)
    if len(head) < 54:
        raise truncated(path)
    start, info, w, h, _, bits, compression = struct.unpack("<IIiiHHI", head[10:34])
    if info < 40 or compression not in (0, 3) or bits not in (24, 32):
        raise not_rgb(f"is a BMP of {bits} bits a pixel or a compressed one; 24-bit RGB is read", path)
    per_metre = struct.unpack("<ii", head[38:46])
    density = (1e6 / per_metre[0], 1e6 / per_metre[1]) if min(per_metre) > 0 else None
    facts = _checked(path, "BMP", (w, abs(h)), density, "BMP resolution")
    if start + (w * bits + 31) // 32 * 4 * abs(h) > end:
        raise truncated(path)
    return facts
