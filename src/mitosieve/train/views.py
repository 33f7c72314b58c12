"""Batches in which every sample is seen several times, each time under a distortion of its own, drawn anew."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mitosieve.patch.augment.distortion import DistortionConfig, draw_distortions
from mitosieve.patch.augment.warp import place_in_patch
from mitosieve.run.seed import derive_generator
from mitosieve.train.objective import Batch
from mitosieve.train.pool import PatchPool


class Sampler(Protocol):
    """Says which rows a batch is made of."""

    def rows(self, step: int) -> NDArray[np.intp]: ...


@dataclass(frozen=True, kw_only=True)
class ViewsFeed:
    """Batches by step; the same step always gives the same batch.

    Attributes:
        name: of the training; names the random streams.
        pool: where from.
        sampler: which rows.
        augments: distortion of each view; their images stand one after another in the channels.
        target: (N,) what is to be learned of each row of the pool.
        offset_px: (N, 2) from a row's place to its cell, px of the patch's resolution.
        seed: of the run.
    """

    name: str
    pool: PatchPool
    sampler: Sampler
    augments: tuple[DistortionConfig, ...]
    target: NDArray[np.number]
    offset_px: NDArray[np.float64]
    seed: int

    def batch(self, step: int) -> Batch:
        rows = self.sampler.rows(step)
        side = self.pool.view.patch_px
        images: list[NDArray[np.uint8]] = []
        places: list[NDArray[np.float64]] = []
        for number, augment in enumerate(self.augments, start=1):
            generator = derive_generator(self.seed, f"{self.name} view {number}", step)
            distortion = draw_distortions(len(rows), augment, generator)
            images.append(self.pool.images(rows, distortion))
            places.append(place_in_patch(self.offset_px[rows], distortion, patch_px=side))
        return Batch(
            image=np.concatenate(images, axis=3),
            target=self.target[rows].astype(np.float32),
            row=rows,
            place_px=np.stack(places, axis=1).astype(np.float32),
        )
