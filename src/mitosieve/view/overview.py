"""A slide seen whole where its file holds no coarse level: made once, in the background, band by band."""

import threading
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

BAND_PX = 64
"""Rows that are read at once: between two bands others may read the slide."""


class NotReadyError(Exception):
    """An overview is still being made; says how much of it is done, 0 to 1."""

    def __init__(self, share: float) -> None:
        self.share = share
        super().__init__(share)


class Overview:
    """Begins to be made when it is made.

    Args:
        size: width, height.
        band: reads rows from one on, so many: uint8 (rows, width, 3).
    """

    def __init__(self, size: tuple[int, int], band: Callable[[int, int], NDArray[np.uint8]]) -> None:
        self._size = size
        self._band = band
        self._pixels: NDArray[np.uint8] | None = None
        self._share = 0.0
        self._fault: Exception | None = None
        threading.Thread(target=self._make, daemon=True).start()

    def part(self, corner: tuple[int, int], size: tuple[int, int], step: int) -> NDArray[np.uint8]:
        """A part of it, shrunk: `corner` x, y and `size` width, height are in px that are each `step` of its own.

        Raises:
            NotReadyError: it is not whole yet.
            Exception: what reading the slide ended with.
        """
        if self._fault is not None:
            raise self._fault
        if self._pixels is None:
            raise NotReadyError(self._share)
        (x, y), (w, h) = corner, size
        part = self._pixels[y * step : (y + h) * step, x * step : (x + w) * step]
        if step == 1:
            return part
        missing = (h * step - part.shape[0], w * step - part.shape[1])
        part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        return np.asarray(cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _make(self) -> None:
        width, height = self._size
        answer = np.empty((height, width, 3), dtype=np.uint8)
        try:
            for top in range(0, height, BAND_PX):
                tall = min(BAND_PX, height - top)
                answer[top : top + tall] = self._band(top, tall)
                self._share = (top + tall) / height
        except Exception as error:  # noqa: BLE001 - told to whoever asks for a part of it
            self._fault = error
            return
        self._pixels = answer
