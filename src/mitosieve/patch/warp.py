"""Distorted patches cut from frames: shift, turn, mirror, scale and displacement as one map, sampled once."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.patch.distortion import Distortion, elastic_basis
from mitosieve.patch.frames import Frame


def warp_patches(
    frame: Frame, center_px: NDArray[np.floating], distortion: Distortion, *, patch_px: int
) -> NDArray[np.uint8]:
    """Patches under the geometry of their distortions; colours are left as they are.

    A point q of the patch, in px from its centre, shows the place
    centre + shift + R M (q + d(q)) / scale, with d the displacement, M the mirror and R the rotation.

    Args:
        frame: rendered pixels with a margin.
        center_px: (B, 2) on the slide's lattice at the frame's mpp.
        distortion: one row a patch.
        patch_px: side.

    Returns:
        uint8 (B, patch_px, patch_px, 3), bilinear. What lies beyond the frame's margin has the colour of its top left
        corner.
    """
    patches = np.empty((len(center_px), patch_px, patch_px, 3), dtype=np.uint8)
    place = np.asarray(center_px, dtype=np.float64) + distortion.shift_px - np.array(frame.origin_px)
    matrix = _matrices(distortion)
    moved = np.asarray(distortion.elastic_px.any(axis=(1, 2, 3)), dtype=np.bool_)
    half = (patch_px - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(patch_px) - half, np.arange(patch_px) - half))
    basis = elastic_basis(patch_px, distortion.elastic_px.shape[-1])
    for row in range(len(patches)):
        points = grid + basis @ distortion.elastic_px[row] @ basis.T if moved[row] else grid
        patches[row] = _sample(frame, place[row], np.tensordot(matrix[row], points, 1))
    return patches


def _matrices(distortion: Distortion) -> NDArray[np.float64]:
    """(B, 2, 2) mirror, then rotation, then scale: from px of the patch to px of the frame."""
    angle = np.deg2rad(distortion.angle_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    sign = np.where(distortion.mirrored, -1.0, 1.0)
    rows = [[sign * cos, sin], [-sign * sin, cos]]
    return np.array(rows).transpose(2, 0, 1) / distortion.scale[:, None, None]


def _sample(frame: Frame, place: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.uint8]:
    """One patch at place + offset (2, s, s). Only its surroundings are handed on: a frame may exceed any index."""
    height, width = frame.pixels.shape[:2]
    corner = tuple(int(value) for value in frame.pixels[0, 0])
    first = np.floor(place + offset.min(axis=(1, 2))).astype(int)
    last = np.floor(place + offset.max(axis=(1, 2))).astype(int) + 2
    x0, y0 = max(0, int(first[0])), max(0, int(first[1]))
    x1, y1 = min(width, int(last[0])), min(height, int(last[1]))
    if x1 <= x0 or y1 <= y0:
        return np.full((*offset.shape[1:], 3), corner, dtype=np.uint8)
    points = (offset + (place - (x0, y0))[:, None, None]).astype(np.float32)
    return np.asarray(
        cv2.remap(
            frame.pixels[y0:y1, x0:x1],
            points[0],
            points[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=corner,
        ),
        dtype=np.uint8,
    )
