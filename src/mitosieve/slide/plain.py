"""Plain images (PNG, JPEG, BMP): decoded whole when opened."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import SlideError
from mitosieve.geometry import Region
from mitosieve.slide.slide import Slide, SlideFacts, resolve_mpp


class PlainSlide(Slide):
    def __init__(self, *, slide_id: str, path: Path, mpp: float, pixels: NDArray[np.uint8]) -> None:
        super().__init__(slide_id=slide_id, path=path, size_l0=(pixels.shape[1], pixels.shape[0]), mpp=mpp)
        self._pixels = pixels

    @classmethod
    def open(cls, path: Path, *, mpp: float | None, slide_id: str | None) -> "PlainSlide":
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise SlideError("cannot be decoded", where=path)
        size = (pixels.shape[1], pixels.shape[0])
        used = resolve_mpp(mpp, SlideFacts(format="plain", size_l0=size), path)
        return cls(slide_id=slide_id or path.stem, path=path, mpp=used, pixels=np.asarray(pixels, dtype=np.uint8))

    def read_l0(self, region: Region) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._pixels[region.y : region.y + region.h, region.x : region.x + region.w])
