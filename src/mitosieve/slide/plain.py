"""Plain images (PNG, JPEG, BMP): decoded whole when opened. Knows what a header says only through `header`."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp, Region
from mitosieve.slide.header import jpeg_segments, truncated
from mitosieve.slide.image import Slide, SlideFacts

_BAND = 1024


class PlainSlide(Slide):
    """An image held in memory."""

    is_concurrent = True

    def __init__(self, *, slide_id: str, path: Path, mpp: Mpp, pixels: NDArray[np.uint8]) -> None:
        super().__init__(slide_id=slide_id, path=path, mpp=mpp, levels=((pixels.shape[1], pixels.shape[0]),))
        self._pixels = pixels

    @classmethod
    def open(cls, path: Path, facts: SlideFacts, *, mpp: Mpp, slide_id: str, cache_bytes: int = 0) -> "PlainSlide":
        """Decode a file whose header was found usable; all its pixels are held, whatever `cache_bytes`.

        Raises:
            SlideError: it is truncated or damaged.
        """
        del cache_bytes
        if facts.format == "JPEG":
            _check_jpeg_end(path)
        pixels = _decode(path, facts)
        return cls(slide_id=slide_id, path=path, mpp=mpp, pixels=pixels)

    def read_level(self, level: int, region: Region) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._pixels[region.y : region.y + region.h, region.x : region.x + region.w])


def _decode(path: Path, facts: SlideFacts) -> NDArray[np.uint8]:
    """All pixels (h, w, 3) RGB, in stored orientation."""
    content = np.fromfile(path, dtype=np.uint8)
    as_stored = facts.format.startswith("PNG")  # keeps alpha
    flags = cv2.IMREAD_UNCHANGED if as_stored else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(content, flags)
    except cv2.error as error:
        raise SlideError(f"cannot be decoded ({error.err})", where=path, remedy="export it again") from error
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise SlideError("is damaged and cannot be decoded", where=path, remedy="copy or download it again")
    if (pixels.shape[1], pixels.shape[0]) != facts.size_l0:
        raise SlideError("is damaged: its size differs from its header", where=path, remedy="copy or download it again")
    if pixels.shape[2] == 4:
        return over_white(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), dtype=np.uint8))
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def over_white(rgba: NDArray[np.uint8], *, premultiplied: bool = False) -> NDArray[np.uint8]:
    """RGB (h, w, 3) of RGBA (h, w, 4) laid over white, the colour of glass; opaque pixels are unchanged.

    Args:
        rgba: 8-bit pixels.
        premultiplied: whether the colours were multiplied by alpha already (TIFF "associated" alpha).
    """
    answer = np.ascontiguousarray(rgba[..., :3])
    for top in range(0, len(rgba), _BAND):
        alpha = rgba[top : top + _BAND, :, 3:].astype(np.uint32)
        if (alpha == 255).all():
            continue
        color = rgba[top : top + _BAND, :, :3].astype(np.uint32) * (255 if premultiplied else alpha)
        answer[top : top + _BAND] = np.minimum((color + 255 * (255 - alpha) + 127) // 255, 255)
    return answer


def _check_jpeg_end(path: Path) -> None:
    """Refuse a JPEG without an end marker after its scan: decoders fill what is missing with grey and say nothing.

    In scan data 0xFF is always followed by 0 or a restart marker, so the end marker cannot occur by chance.
    """
    with path.open("rb") as file:
        for _ in jpeg_segments(file, path):
            pass
        if file.read().rfind(b"\xff\xd9") < 0:
            raise truncated(path)
