"""Pixels of places in training: patches cut from rendered frames, turned, shifted and distorted in the frame."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Mpp, rescale_points, xy
from mitosieve.patch.augment.colour import recolour_distorted
from mitosieve.patch.augment.distortion import Distortion, confine, confine_variant
from mitosieve.patch.augment.variant import Variant, recolour
from mitosieve.patch.augment.warp import warp_patches
from mitosieve.patch.cutting import cut_patches
from mitosieve.patch.frames import FrameStore
from mitosieve.patch.index import PatchIndex
from mitosieve.patch.resampling import INTERPOLATION, Interpolation


class PatchReader:
    """Reads rows of an index from a store of frames; chooses nothing.

    Args:
        index: the places.
        store: rendered frames of all their slides; patches have its mpp.
        mpp_l0: level-0 um per px of each slide.
        patch_px: side of a patch.
        rooms: x0, y0, x1, y1 on the lattice at the store's mpp of the slides whose patches must stay inside
            (`distortion.confine`); the others have no limit.
    """

    def __init__(
        self,
        index: PatchIndex,
        store: FrameStore,
        mpp_l0: Mapping[str, Mpp],
        *,
        patch_px: int,
        rooms: Mapping[str, tuple[float, float, float, float]] | None = None,
    ) -> None:
        self.index = index
        self.store = store
        self.patch_px = patch_px
        self.rooms = dict(rooms or {})
        scales = np.array([xy(mpp_l0[str(slide_id)]) for slide_id in index.slide_id]).reshape(-1, 2)
        self.center_px = np.empty_like(index.center_l0)
        for across, down in np.unique(scales, axis=0).tolist():
            rows = (scales == (across, down)).all(axis=1)
            self.center_px[rows] = rescale_points(
                index.center_l0[rows], mpp_from=(across, down), mpp_to=store.config.mpp
            )

    def read(
        self, rows: NDArray[np.intp], variant: Variant | Distortion, interpolation: Interpolation = INTERPOLATION
    ) -> NDArray[np.uint8]:
        """Patches (B, side, side, 3) of the given rows, each under its own variant, in the order asked for."""
        if isinstance(variant, Distortion):
            return self._distorted(rows, variant, interpolation)
        patches = np.empty((len(rows), self.patch_px, self.patch_px, 3), dtype=np.uint8)
        names = self.index.slide_id[rows]
        turned = dataclasses.replace(variant, angle_deg=self.index.angle_deg[rows] + variant.angle_deg)
        kept = confine_variant(turned, self.center_px[rows], self._room(names), self.patch_px)
        centers, angles = self.center_px[rows] + kept.shift_px, kept.angle_deg
        for name in np.unique(names):
            mine = np.flatnonzero(names == name)
            patches[mine] = cut_patches(
                self.store.frame(str(name)),
                centers[mine],
                patch_px=self.patch_px,
                angle_deg=angles[mine],
                mirrored=variant.mirrored[mine],
                interpolation=interpolation,
            )
        return recolour(patches, variant)

    def _room(self, names: NDArray[np.str_]) -> NDArray[np.float64]:
        """(B, 4) where patches of slides must stay; infinite where there is no limit."""
        free = (-np.inf, -np.inf, np.inf, np.inf)
        return np.array([self.rooms.get(str(name), free) for name in names], dtype=np.float64).reshape(-1, 4)

    def _distorted(
        self, rows: NDArray[np.intp], distortion: Distortion, interpolation: Interpolation
    ) -> NDArray[np.uint8]:
        """Patches of rows under their distortions, kept in the rooms of their slides."""
        patches = np.empty((len(rows), self.patch_px, self.patch_px, 3), dtype=np.uint8)
        centers, names = self.center_px[rows], self.index.slide_id[rows]
        room = self._room(names)
        turned = dataclasses.replace(distortion, angle_deg=self.index.angle_deg[rows] + distortion.angle_deg)
        kept = confine(turned, centers, room, self.patch_px)
        for name in np.unique(names):
            mine = np.flatnonzero(names == name)
            patches[mine] = warp_patches(
                self.store.frame(str(name)),
                centers[mine],
                kept[mine],
                patch_px=self.patch_px,
                interpolation=interpolation,
                room_px=room[mine],
            )
        return recolour_distorted(patches, kept)
