"""Blurs of whole numbers that give the same sums wherever a plane was cut: box filters, one after the other."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def box_widths(sigma: float) -> tuple[int, int]:
    """Odd widths, equal or two apart, of the two box filters whose variance together is nearest to sigma squared.

    A box of width w has the variance (w * w - 1) / 12.

    Args:
        sigma: standard deviation in px.
    """
    low = max(1, 2 * int((math.sqrt(6 * sigma**2 + 1) - 1) / 2) + 1)
    pairs = [(low, low), (low, low + 2), (low + 2, low + 2)]
    return min(pairs, key=lambda pair: abs((pair[0] ** 2 + pair[1] ** 2 - 2) / 12 - sigma**2))


def box_sums(
    values: NDArray[np.uint16] | NDArray[np.int32], widths: tuple[int, int], *, top: int
) -> tuple[NDArray[np.int32 | np.float64], int]:
    """Sums over boxes of these widths, one after the other, and how many times a value counts in each sum.

    Beyond the edge the last row and column repeat. A running sum of whole numbers does not depend on where it began, as
    one of fractions does.

    Args:
        values: (h, w) uint16 or int32, not negative.
        widths: odd.
        top: no value is larger.

    Returns:
        (h, w) int32, or float64 where 32 bits are too few; whole numbers, exact.
    """
    weight = math.prod(widths) ** 2
    depth = cv2.CV_32S if top * weight < 2**31 else cv2.CV_64F
    first, second = (2 * (width,) for width in widths)
    sums = cv2.boxFilter(values, depth, first, normalize=False, borderType=cv2.BORDER_REPLICATE)
    sums = cv2.boxFilter(sums, depth, second, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(sums, dtype=np.int32 if depth == cv2.CV_32S else np.float64), weight
