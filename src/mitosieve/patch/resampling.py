"""How pixels are sampled: on the frame's own grid wherever a patch can be, interpolated where it is turned or scaled.

Detection cuts its patches from the grid, raw. What training resamples is blurred, and a network can tell blurred from
raw: so nothing is resampled without need, whatever its class, and what must be, by a kernel that keeps it as sharp.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["linear", "cubic", "lanczos"]
"""Kernels of 2, 4 and 8 px a side."""

INTERPOLATION: Interpolation = "cubic"
"""The kernel where none is asked for. Turned by any angle, a patch of real tissue at 0.25 um/px has 0.77 of the
raw one's Laplacian variance by "linear", 1.01 by "cubic", 0.99 by "lanczos"; 1,000 patches of 64 px take 0.04, 0.06 and
0.22 s (`bench/sharpness.py`, frames of MITOS-ATYPIA-14)."""

FLAGS: dict[Interpolation, int] = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}

KERNEL_PX = 4
"""Pixels that a kernel can need beyond the place it samples."""

_TIE_PX = 1e-6
"""Whole px are ties for a patch of an even side: rounding errors of the way from level-0 must not decide them."""


def on_grid(center_px: NDArray[np.floating], patch_px: int) -> NDArray[np.float64]:
    """The nearest places (B, 2) whose patches have the frame's own pixels: half-integers of an even side, else whole.

    Of equally near places the one with the larger coordinate. No coordinate moves by more than half a px.
    """
    half = (patch_px - 1) / 2
    return np.floor(np.asarray(center_px, dtype=np.float64) - half + 0.5 + _TIE_PX) + half
