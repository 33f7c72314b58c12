"""Distorted patches cut from frames: shift, turn, mirror, scale and displacement as one map, sampled once."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.patch.augment.distortion import Distortion, elastic_basis
from mitosieve.patch.frames import Frame
from mitosieve.patch.resampling import FLAGS, INTERPOLATION, KERNEL_PX, Interpolation, on_grid


def warp_patches(
    frame: Frame,
    center_px: NDArray[np.floating],
    distortion: Distortion,
    *,
    patch_px: int,
    interpolation: Interpolation = INTERPOLATION,
    room_px: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Patches under the geometry of their distortions; colours are left as they are.

    A point q of the patch, in px from its centre, shows the place
    centre + shift + R M (q + d(q)) / scale, with d the displacement, M the mirror and R the rotation. Where this map
    keeps the grid (a right angle, no scale, no displacement), centre + shift goes to the nearest place where the patch
    has the frame's own pixels, as in `reader.cut_patches`.

    Args:
        frame: rendered pixels with a margin.
        center_px: (B, 2) on the slide's lattice at the frame's mpp.
        distortion: one row a patch.
        patch_px: side.
        interpolation: of the patches that do not keep the grid.
        room_px: (B, 4) as for `confine`, which keeps the places that are sampled inside; here the kernel too stays
            inside limited rooms, whose outermost pixels count for those beyond. None is no limit.

    Returns:
        uint8 (B, patch_px, patch_px, 3). What lies beyond the frame's margin has the colour of its top left
        corner.
    """
    patches = np.empty((len(center_px), patch_px, patch_px, 3), dtype=np.uint8)
    place = np.asarray(center_px, dtype=np.float64) + distortion.shift_px
    matrix = _matrices(distortion)
    # the map is linear in the control points, so they are turned instead of the whole field
    control = np.einsum("bij,bjkl->bikl", matrix, distortion.elastic_px)
    moved = np.asarray(control.any(axis=(1, 2, 3)), dtype=np.bool_)
    kept = (distortion.angle_deg % 90 == 0) & (distortion.scale == 1) & ~moved
    place = np.where(kept[:, None], on_grid(place, patch_px), place) - np.array(frame.origin_px)
    basis = elastic_basis(patch_px, control.shape[-1])
    along = np.arange(patch_px) - (patch_px - 1) / 2
    reach = np.abs(matrix).sum(axis=2) * along[-1]
    reach += np.abs(control).max(axis=(2, 3)) * np.abs(basis).sum(axis=1).max() ** 2
    for row in range(len(patches)):
        limited = room_px is not None and bool(np.isfinite(room_px[row]).all())
        room = _whole(frame) if room_px is None or not limited else _pixels_in(room_px[row], frame)
        first, source = _surroundings(frame, place[row], reach[row], room)
        start = (place[row] - first)[:, None, None]
        points = matrix[row, :, :1, None] * along + (matrix[row, :, 1:, None] * along[:, None] + start)
        if moved[row]:
            points += basis @ control[row] @ basis.T
        beyond = None if limited else frame.pixels[0, 0]
        patches[row] = _sample(source, points.astype(np.float32), beyond, FLAGS[interpolation])
    return patches


def _matrices(distortion: Distortion) -> NDArray[np.float64]:
    """(B, 2, 2) mirror, then rotation, then scale: from px of the patch to px of the frame."""
    angle = np.deg2rad(distortion.angle_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    sign = np.where(distortion.mirrored, -1.0, 1.0)
    rows = [[sign * cos, sin], [-sign * sin, cos]]
    return np.array(rows).transpose(2, 0, 1) / distortion.scale[:, None, None]


Bounds = tuple[NDArray[np.intp], NDArray[np.intp]]
"""x, y of the first pixel of a frame and of the one after the last."""


def _whole(frame: Frame) -> Bounds:
    height, width = frame.pixels.shape[:2]
    return np.zeros(2, dtype=np.intp), np.array((width, height), dtype=np.intp)


def _pixels_in(room_px: NDArray[np.floating], frame: Frame) -> Bounds:
    """The pixels whose centres a room (4,) holds."""
    low, high = (np.ceil(edge - 1e-9).astype(np.intp) - np.array(frame.origin_px) for edge in np.split(room_px, 2))
    start, end = _whole(frame)
    return np.maximum(start, low), np.minimum(end, high)


def _surroundings(
    frame: Frame, place: NDArray[np.float64], reach: NDArray[np.float64], room: Bounds
) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """What of the frame a patch can touch, and where it begins: a whole frame may exceed what a map can index."""
    first = np.maximum(room[0], np.floor(place - reach).astype(np.intp) - KERNEL_PX)
    last = np.minimum(room[1], np.floor(place + reach).astype(np.intp) + 1 + KERNEL_PX)
    return first, frame.pixels[first[1] : max(first[1], last[1]), first[0] : max(first[0], last[0])]


def _sample(
    source: NDArray[np.uint8], points: NDArray[np.float32], beyond: NDArray[np.uint8] | None, flag: int
) -> NDArray[np.uint8]:
    """Pixels (s, s, 3) of the source at points (2, s, s); beyond it there is a colour, or its outermost pixels."""
    color = (0, 0, 0) if beyond is None else tuple(int(value) for value in beyond)
    if source.size == 0:
        return np.full((*points.shape[1:], 3), color, dtype=np.uint8)
    border = cv2.BORDER_REPLICATE if beyond is None else cv2.BORDER_CONSTANT
    sampled = cv2.remap(source, points[0], points[1], flag, borderMode=border, borderValue=color)
    return np.asarray(sampled, dtype=np.uint8)


def place_in_patch(offset_px: NDArray[np.floating], distortion: Distortion, *, patch_px: int) -> NDArray[np.float64]:
    """Where a distorted patch shows what lies `offset_px` from its centre in the frame; its displacement is left out,
    and the half px at most that a patch which keeps the grid is moved.

    Args:
        offset_px: (B, 2) from the place before its shift, px of the frame.
        distortion: one row a patch; the displacement, of a px or two, is not undone.
        patch_px: side.

    Returns:
        (B, 2) x, y in px of the patch, pixel centres at integers; outside 0..patch_px - 1 where the patch misses it.
    """
    from_center = np.asarray(offset_px, dtype=np.float64) - distortion.shift_px
    solved = np.linalg.solve(_matrices(distortion), from_center[..., None])[..., 0]
    return np.asarray(solved + (patch_px - 1) / 2, dtype=np.float64)
