"""Where tissue is on an overview, and the colour of the glass around it. Pixels in, pixels out; knows no files."""

import cv2
import numpy as np
from numpy.typing import NDArray

DEFAULT_BACKGROUND = (242, 242, 242)
"""Glass of a slide that shows none: near the median glass of common scanners, which is not quite white."""

MIN_GLASS_VALUE = 200
MAX_GLASS_SPREAD = 25
MIN_GLASS_FRACTION = 0.001
"""A pixel is glass where its darkest channel is at least 200 and its channels differ by at most 25; a slide shows glass
where at least one pixel in a thousand is."""

MIN_TISSUE_OD = 0.10
MAX_TISSUE_OD = 0.35
"""Bounds of the threshold: below, glass noise would be tissue on an empty slide; above, pale tissue would be glass on a
full one. In natural-log OD of the green channel, which both stains absorb, relative to the glass."""

_PADDING_VALUE = 20
_SAMPLE_PX = 250_000


def background_color(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The slide's glass: the median of the brighter half of its bright colourless pixels.

    Used to fill what lies outside a slide. Deterministic: pixels are sampled on a fixed grid.

    Args:
        rgb: uint8 (h, w, 3), any resolution.

    Returns:
        uint8 (3,) RGB; `DEFAULT_BACKGROUND` where hardly a pixel is glass.
    """
    step = max(1, int(np.ceil(np.sqrt(rgb.shape[0] * rgb.shape[1] / _SAMPLE_PX))))
    sample = rgb[::step, ::step].reshape(-1, 3)
    low, high = sample.min(axis=1, initial=255), sample.max(axis=1, initial=0)
    glass = sample[(low >= MIN_GLASS_VALUE) & (high - low <= MAX_GLASS_SPREAD)]
    if len(glass) == 0 or len(glass) < MIN_GLASS_FRACTION * len(sample):
        return np.array(DEFAULT_BACKGROUND, dtype=np.uint8)
    brightness = glass.sum(axis=1, dtype=np.int32)
    return np.median(glass[brightness >= np.median(brightness)], axis=0).astype(np.uint8)


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of an overview are tissue: Otsu's threshold on the green channel's OD, within fixed bounds.

    An empty slide has no tissue and a full one no glass, because the threshold cannot leave its bounds. Black padding
    and ink are not tissue.

    Args:
        rgb: uint8 (h, w, 3), best at 4 to 16 um per px; finer only costs time.

    Returns:
        bool (h, w).
    """
    if rgb.shape[0] == 0 or rgb.shape[1] == 0:
        return np.zeros(rgb.shape[:2], dtype=np.bool_)
    glass = float(background_color(rgb)[1])
    green = np.asarray(cv2.GaussianBlur(rgb[..., 1], (0, 0), 1.0), dtype=np.uint8)
    od_of_value = np.clip(np.log((glass + 1) / (np.arange(256) + 1.0)), 0.0, 2.0)
    od = od_of_value[green]
    scaled = np.rint(od * (255 / 2.0)).astype(np.uint8)
    otsu = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] * (2.0 / 255)
    threshold = min(max(float(otsu), MIN_TISSUE_OD), MAX_TISSUE_OD)
    return (od > threshold) & (rgb.max(axis=2) > _PADDING_VALUE)
