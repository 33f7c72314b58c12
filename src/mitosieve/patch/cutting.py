"""Pixels of places as they are: patches cut from a rendered frame, never padded by mirroring; and their two views."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.patch.frames import Frame
from mitosieve.patch.resampling import FLAGS, INTERPOLATION, KERNEL_PX, Interpolation, on_grid


def margin_for(patch_px: int, translate_px: float = 0.0) -> int:
    """Margin in px that a frame needs so that every turned and shifted patch centred on the slide lies inside it."""
    return int(np.ceil(patch_px / np.sqrt(2) + translate_px)) + 2


def cut_patches(
    frame: Frame,
    center_px: NDArray[np.floating],
    *,
    patch_px: int,
    angle_deg: NDArray[np.floating] | None = None,
    mirrored: NDArray[np.bool_] | None = None,
    interpolation: Interpolation = INTERPOLATION,
) -> NDArray[np.uint8]:
    """Patches of places, raw wherever they can be: all in training and detection are cut here or by `warp_patches`.

    A patch that is not turned, or by right angles, has the frame's own pixels, centred on the nearest place where it
    can (`resampling.on_grid`): interpolated, it would be blurred, and places at whole pixels, as marks are, would
    differ in sharpness from those at half ones, as windows are. At any other angle the place itself is the centre.

    Args:
        frame: rendered pixels with a margin.
        center_px: (B, 2) on the slide's lattice at the frame's mpp.
        patch_px: side.
        angle_deg: (B,) rotation of the patch's axes, counter-clockwise as seen; None is 0.
        mirrored: (B,) whether the patch's x axis is reversed; None is not.
        interpolation: of the patches at other angles.

    Returns:
        uint8 (B, patch_px, patch_px, 3). What lies beyond the frame's margin has the colour of its top left corner,
        which is margin and so background wherever the slide ends there.
    """
    n = len(center_px)
    turn = np.zeros(n) if angle_deg is None else np.asarray(angle_deg, dtype=np.float64)
    flips = np.zeros(n, dtype=bool) if mirrored is None else mirrored
    place = np.where((turn % 90 == 0)[:, None], on_grid(center_px, patch_px), center_px) - np.array(frame.origin_px)
    straight = (turn == 0) & ~flips
    patches = np.empty((n, patch_px, patch_px, 3), dtype=np.uint8)
    for row in range(n):
        corner = np.round(place[row] - (patch_px - 1) / 2).astype(int)
        if straight[row] and _inside(frame, corner[0], corner[1], patch_px):
            patches[row] = frame.pixels[corner[1] : corner[1] + patch_px, corner[0] : corner[0] + patch_px]
        else:
            angle = float(np.deg2rad(turn[row]))
            patches[row] = _warp(frame, place[row], patch_px, angle, bool(flips[row]), interpolation)
    return patches


def _inside(frame: Frame, x: int, y: int, side: int) -> bool:
    height, width = frame.pixels.shape[:2]
    return x >= 0 and y >= 0 and x + side <= width and y + side <= height


def _warp(
    frame: Frame, local: NDArray[np.float64], side: int, angle: float, mirrored: bool, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """One turned patch. Only its surroundings are handed to the warp: a whole frame may exceed what it can index."""
    height, width = frame.pixels.shape[:2]
    reach = int(np.ceil(side / np.sqrt(2))) + KERNEL_PX
    x0, y0 = max(0, int(local[0]) - reach), max(0, int(local[1]) - reach)
    x1, y1 = min(width, int(local[0]) + reach + 1), min(height, int(local[1]) + reach + 1)
    corner = tuple(int(value) for value in frame.pixels[0, 0])
    if x1 <= x0 or y1 <= y0:
        return np.full((side, side, 3), corner, dtype=np.uint8)
    half = (side - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    sign = -1.0 if mirrored else 1.0
    matrix = np.array(
        [
            [sign * cos, sin, local[0] - x0 - sign * cos * half - sin * half],
            [-sign * sin, cos, local[1] - y0 + sign * sin * half - cos * half],
        ]
    )
    return np.asarray(
        cv2.warpAffine(
            frame.pixels[y0:y1, x0:x1],
            matrix,
            (side, side),
            flags=FLAGS[interpolation] | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=corner,
        ),
        dtype=np.uint8,
    )


def two_views(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The network's input: the patch halved by averaging 2 x 2 px, then its centre at full scale.

    Args:
        patches: (B, 2s, 2s, 3).

    Returns:
        uint8 (B, s, s, 6).

    Source: Ma et al. 2018, section 3.4.1 (128-px patch resized to 64, and its centre 64).
    """
    side = patches.shape[1] // 2
    views = np.empty((len(patches), side, side, 6), dtype=np.uint8)
    for row, patch in enumerate(patches):
        views[row, ..., :3] = cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)
    quarter = side // 2
    views[..., 3:] = patches[:, quarter : quarter + side, quarter : quarter + side]
    return views
