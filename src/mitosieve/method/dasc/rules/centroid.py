"""Static centroid distance: how far the features that fire for a patch lie from those that fire for its class.

Knows bits and labels: no networks. Exact: all sums are of integers, so the order of rows changes no digit.
"""

import numpy as np
from numpy.typing import NDArray

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.int64)
_CHUNK = 8192
"""Rows worked on at once: their keys, 1024 features wide, still fit a processor's cache."""


def centroid_distances(active: NDArray[np.uint8], label: NDArray[np.integer]) -> NDArray[np.float64]:
    """Distance of each sample's firing pattern a_i in {0,1}^F to its class mean, ||a_i - mean a||.

    The class mean is over the given samples, the sample itself among them. Nothing is unpacked: a byte of eight
    features is looked up in a table, for the class's mean as for the distance.

    Args:
        active: (N, ceil(F / 8)) patterns as `np.packbits(a, axis=1)` packs them.
        label: (N,) 0 or 1.

    Returns:
        (N,) distances, 0..sqrt(F). Equal distances are equal numbers, across classes too.

    Source:
        DASC's public code (SCD); Forouzesh and Thiran (arXiv 2307.10718) without the scaling.
    """
    size = np.bincount(label, minlength=2)
    firing = _count_firing(active, label)
    # n^2 ||a - m/n||^2 = n sum_f a_f (n - 2 m_f) + sum_f m_f^2: whole numbers, below 2^53 for 2e6 rows of 1024
    table = ((size[:, None, None] - 2 * firing) @ _BITS.T).ravel()
    step = np.arange(active.shape[1]) * 256
    own = np.empty(len(active), dtype=np.int64)
    for start in range(0, len(active), _CHUNK):
        part = slice(start, start + _CHUNK)
        key = active[part] + step + (label[part].astype(np.intp) * step.size * 256)[:, None]
        own[part] = table.take(key).sum(axis=1)
    squares = (firing**2).sum(axis=(1, 2))
    n = size[label]
    return np.sqrt((n * own + squares[label]) / n.astype(np.float64) ** 2)


def _count_firing(active: NDArray[np.uint8], label: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many samples of each class have each bit: (2, bytes, 8)."""
    num_bytes = active.shape[1]
    step = np.arange(num_bytes, dtype=np.int32) * 512
    histogram = np.zeros(num_bytes * 512, dtype=np.int64)
    for start in range(0, len(active), _CHUNK):
        part = slice(start, start + _CHUNK)
        key = active[part] + step + (label[part].astype(np.int32) * 256)[:, None]
        histogram += np.bincount(key.ravel(), minlength=num_bytes * 512)
    return (histogram.reshape(num_bytes, 2, 256) @ _BITS).transpose(1, 0, 2)
