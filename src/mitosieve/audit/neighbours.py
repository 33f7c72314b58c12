"""Which sample a sample resembles most, among those of its own label and among the others. Knows vectors and labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""Row of a neighbour that does not exist: a class of one has no other of its own."""

_CHUNK = 8_000_000
"""Similarities at once: 64 MB."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest of each sample.

    Attributes:
        same: (N,) row of the nearest other sample with its label; NONE where there is none.
        same_similarity: (N,) float64 cosine; NaN where there is none.
        other: (N,) row of the nearest sample with another label; NONE where there is none.
        other_similarity: (N,) float64 cosine; NaN where there is none.
    """

    same: NDArray[np.intp]
    same_similarity: NDArray[np.float64]
    other: NDArray[np.intp]
    other_similarity: NDArray[np.float64]


def nearest(z: NDArray[np.float16], label: NDArray[np.integer]) -> Neighbours:
    """Nearest neighbours by cosine, exactly; of equally near ones the lower row.

    Every pair is compared: N^2 D multiplications. Values of float16 are multiples of 2^-24, so that sums of their
    products over vectors of length 1 are exact in float64, in any order: equal vectors are equally near to the last
    bit, however a machine multiplies matrices, and the tie rule holds.

    Args:
        z: (N, D) embeddings of length 1 (to float16), or 0: such a vector is as near to all (cosine 0).
        label: (N,).
    """
    v = z.astype(np.float64)
    length = np.sqrt((v * v).sum(axis=1))
    length[length == 0] = 1.0
    n = len(v)
    same, other = np.full(n, NONE, dtype=np.intp), np.full(n, NONE, dtype=np.intp)
    same_similarity, other_similarity = np.full(n, np.nan), np.full(n, np.nan)
    for value in np.unique(label).tolist():
        alike, rest = np.flatnonzero(label == value), np.flatnonzero(label != value)
        if len(alike) > 1:
            same[alike], same_similarity[alike] = _nearest_of(v, length, alike, alike)
        if len(rest):
            other[alike], other_similarity[alike] = _nearest_of(v, length, alike, rest)
    return Neighbours(same=same, same_similarity=same_similarity, other=other, other_similarity=other_similarity)


def _nearest_of(
    v: NDArray[np.float64], length: NDArray[np.float64], rows: NDArray[np.intp], among: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The nearest of `rows` `among` ascending rows, itself excluded, and how near."""
    others = np.ascontiguousarray(v[among].T)
    found = np.empty(len(rows), dtype=np.intp)
    similarity = np.empty(len(rows))
    step = max(1, _CHUNK // len(among))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        cosine = (v[part] @ others) / length[part, None] / length[among][None]
        cosine[part[:, None] == among[None]] = -np.inf
        best = cosine.argmax(axis=1)  # the first of equals, and `among` ascends
        found[start : start + step] = among[best]
        similarity[start : start + step] = cosine[np.arange(len(part)), best]
    return found, similarity
