"""Batches by step: which rows, cut under which variations, with which targets."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.augment.exchange import exchange
from mitosieve.patch.augment.variant import AugmentConfig, Variant
from mitosieve.patch.augment.warp import place_in_patch
from mitosieve.run.seed import derive_generator
from mitosieve.train.appearance import Looks
from mitosieve.train.objective import Batch
from mitosieve.train.pool import PatchPool

Augment = AugmentConfig | DistortionConfig
"""How patches are varied."""


class Sampler(Protocol):
    """Says which rows a batch is made of."""

    def rows(self, step: int) -> NDArray[np.intp]: ...


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Batches by step; the same step always gives the same batch, also when several threads ask.

    Every sample is seen once a view, each time under a variation of its own, drawn anew.

    Attributes:
        pool: where from.
        sampler: which rows.
        augments: variation of each view; the images of several views stand one after another in the channels.
        streams: names of the random streams, one a view. Results that were published hang on them.
        target: (N,) what is to be learned of each row of the pool.
        seed: of the run.
        unvaried: (N,) rows that are shown as they stand; None varies all. Of plain variants alone.
        looks: of the pool's sources, where an augment exchanges them; without it nothing is exchanged.
        places: whether it is told where in each view the cell lies (`Batch.place_px`); of distortions alone.
    """

    pool: PatchPool
    sampler: Sampler
    augments: tuple[Augment, ...]
    streams: tuple[str, ...]
    target: NDArray[np.number]
    seed: int
    unvaried: NDArray[np.bool_] | None = None
    places: bool = False
    looks: Looks | None = None

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rows = self.sampler.rows(step)
        images: list[NDArray[np.uint8]] = []
        centers: list[NDArray[np.float64]] = []
        for augment, stream in zip(self.augments, self.streams, strict=True):
            variation = augment.draw(len(rows), derive_generator(self.seed, stream, step))
            if self.unvaried is not None and isinstance(variation, Variant):
                variation = variation.only(~self.unvaried[rows])
            then = None
            if augment.exchange is not None and self.looks is not None:
                generator = derive_generator(self.seed, f"{stream} exchange", step)
                then = partial(exchange, drawn=self.looks.draw(rows, augment.exchange, generator))
            images.append(self.pool.images(rows, variation, augment.interpolation, then))
            if self.places and not isinstance(variation, Variant):
                offset_px = self.pool.offset_px(rows)
                centers.append(place_in_patch(offset_px, variation, patch_px=self.pool.view.patch_px))
        return Batch(
            image=images[0] if len(images) == 1 else np.concatenate(images, axis=3),
            target=self.target[rows].astype(np.float32),
            row=rows,
            place_px=np.stack(centers, axis=1).astype(np.float32) if centers else None,
        )


def unvaried_rows(pool: PatchPool, augment: Augment, *, fixed_figures: bool) -> NDArray[np.bool_] | None:
    """Rows (N,) of a pool that are shown as they stand, for `Feed.unvaried`.

    Args:
        pool: whose rows.
        augment: may leave negatives as they are.
        fixed_figures: whether figures stand in the index in fixed variants already.
    """
    if isinstance(augment, DistortionConfig):
        return None
    return np.where(pool.index.label == 1, fixed_figures, not augment.negatives)
