"""Places worth a patch, one row each, with ids that stay the same in every run. Reads no pixel."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Origin(StrEnum):
    """Why a place is in the index."""

    FIGURE = "figure"
    IMPOSTER = "imposter"
    BACKGROUND = "background"
    NEAR = "near"
    """So near a figure that the patch shows it: neither figure nor background, and never learned from."""
    UNLABELLED = "unlabelled"


@dataclass(frozen=True, kw_only=True)
class PatchIndex:
    """Places as aligned columns.

    Attributes:
        patch_id: (N,) int64, a hash of slide, place, angle and resolution: equal in every run that names the place.
        slide_id: (N,) str.
        center_l0: (N, 2) float64, patch centre in level-0 px.
        angle_deg: (N,) float64, rotation of the patch's axes; 0 unless a fixed variant asks for one.
        origin: (N,) str, each an `Origin` value.
        label: (N,) int8, 1 for a mitotic figure, 0 for anything else.
        mpp: um per px of the patches.
    """

    patch_id: NDArray[np.int64]
    slide_id: NDArray[np.str_]
    center_l0: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    origin: NDArray[np.str_]
    label: NDArray[np.int8]
    mpp: float

    @classmethod
    def of(
        cls,
        *,
        slide_id: str,
        center_l0: NDArray[np.floating],
        origin: Origin,
        mpp: float,
        angle_deg: NDArray[np.floating] | None = None,
    ) -> "PatchIndex":
        """Rows of one slide and one origin; only FIGURE rows have label 1."""
        n = len(center_l0)
        centers = np.asarray(center_l0, dtype=np.float64).reshape(n, 2)
        angles = np.zeros(n) if angle_deg is None else np.asarray(angle_deg, dtype=np.float64)
        return cls(
            patch_id=_hash_places(slide_id, centers, angles, mpp),
            slide_id=np.full(n, slide_id),
            center_l0=centers,
            angle_deg=angles,
            origin=np.full(n, origin.value),
            label=np.full(n, int(origin is Origin.FIGURE), dtype=np.int8),
            mpp=mpp,
        )

    @classmethod
    def concatenate(cls, parts: Iterable["PatchIndex"]) -> "PatchIndex":
        """All rows of all parts, in their order; the parts must have one resolution.

        Raises:
            ValueError: no part, or parts of different resolutions.
        """
        items = list(parts)
        if len({item.mpp for item in items}) != 1:
            raise ValueError("an index has exactly one resolution")
        return cls(
            patch_id=np.concatenate([p.patch_id for p in items]),
            slide_id=np.concatenate([p.slide_id for p in items]),
            center_l0=np.concatenate([p.center_l0 for p in items]),
            angle_deg=np.concatenate([p.angle_deg for p in items]),
            origin=np.concatenate([p.origin for p in items]),
            label=np.concatenate([p.label for p in items]),
            mpp=items[0].mpp,
        )

    def __len__(self) -> int:
        return len(self.patch_id)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "PatchIndex":
        return PatchIndex(
            patch_id=self.patch_id[rows],
            slide_id=self.slide_id[rows],
            center_l0=self.center_l0[rows],
            angle_deg=self.angle_deg[rows],
            origin=self.origin[rows],
            label=self.label[rows],
            mpp=self.mpp,
        )

    def with_origin(self, origin: Origin) -> NDArray[np.intp]:
        """Rows of one origin, ascending."""
        return np.flatnonzero(self.origin == origin.value)

    def count(self) -> dict[str, int]:
        """Rows of each origin."""
        return {origin.value: int((self.origin == origin.value).sum()) for origin in Origin}


def _hash_places(
    slide_id: str, center_l0: NDArray[np.float64], angle_deg: NDArray[np.float64], mpp: float
) -> NDArray[np.int64]:
    """64-bit ids from the slide's name and places in hundredths of a px and degree (splitmix64 finaliser)."""
    seed = int.from_bytes(hashlib.blake2b(f"{slide_id}|{mpp:.6g}".encode(), digest_size=8).digest(), "little")
    state = np.full(len(center_l0), seed, dtype=np.uint64)
    columns = (center_l0[:, 0] * 100, center_l0[:, 1] * 100, angle_deg * 100)
    for column in columns:
        state += np.round(column).astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state.view(np.int64)
