"""Subclasses of each class by cosine k-means of its embeddings, and how sharply each is contrasted. Stage 4 of DASC.

Knows embeddings and labels by row: no pixels, no networks. Letters in shapes: N samples, D dimensions, K clusters.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mitosieve.errors import TrainingError
from mitosieve.run.seed import derive_generator

NO_DENSITY = 1e-6
"""A group whose samples are on average nearer to its centre has no extent (embeddings have float32's digits)."""

CLIPPED = (20, 80)
"""Percentiles that densities are clipped to (SBCL)."""


def spherical_kmeans(
    z: NDArray[np.floating],
    k: int,
    generator: np.random.Generator,
    tol: float = 1e-3,
    max_iter: int = 35,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """k-means by cosine: each sample to the centre of largest cosine, each centre to the normalised sum of its samples.

    Starts by greedy k-means++ (Arthur and Vassilvitskii 2007) on squared chords. Equal cosines go to the lower
    number. A cluster that lost all samples takes the one farthest from its own centre, of equals the first. There are
    never more clusters than distinct samples, and none is empty. Samples whose sum is 0 leave their centre where it
    was.

    Args:
        z: (N, D) of length 1, N at least 1.
        k: clusters asked for, at least 1.
        generator: of the start.
        tol: stop when no centre moves by more (chord length).
        max_iter: rounds at most.

    Returns:
        ids (N,) of 0..K-1 and centres (K, D) of length 1, with K the smaller of k and the number of distinct samples;
        the centres are those of the ids.

    Raises:
        TrainingError: an embedding is not finite.
        ValueError: no sample, no cluster asked for, or an embedding is not of length 1 (to 0.01).

    Source:
        tol and max_iter are those of DASC's public code; start, stop and empty clusters are our reading.
    """
    points = _checked(z)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    centres = _plus_plus(points, k, generator)
    ids = np.zeros(len(points), dtype=np.int64)
    if len(centres) == 1:
        return ids, _moved(points, ids, centres)
    for _ in range(max_iter):
        ids = _assigned(points, centres)
        moved = _moved(points, ids, centres)
        shift = np.linalg.norm(moved - centres, axis=1).max()
        centres = moved
        if shift <= tol:
            break
    return ids, centres


def subclasses(
    z: NDArray[np.floating],
    label: NDArray[np.integer],
    k_per_class: Sequence[int],
    seed: int,
    renewal: int,
) -> NDArray[np.int64]:
    """A cluster for each sample, within its class; numbers are unique across classes, without gaps.

    Row i of the answer is of row i of `z`: what is computed class by class is written back by row
    (DASC's public code writes it back in another order).
    The order of rows changes no sample's cluster.

    Args:
        z: (N, D) of length 1.
        label: (N,) of 0..C-1; a class without samples has no clusters.
        k_per_class: (C,) clusters asked for of each class.
        seed: of the run.
        renewal: how often clusters have been made before; each time the starts are others.

    Raises:
        TrainingError: an embedding is not finite.
        ValueError: a label without a number of clusters, or as in `spherical_kmeans`.
    """
    if len(z) != len(label) or (len(label) and not 0 <= label.min() <= label.max() < len(k_per_class)):
        raise ValueError("there must be one label a sample, and one number of clusters a label")
    ids = np.zeros(len(label), dtype=np.int64)
    first = 0
    for number, k in enumerate(k_per_class):
        rows = np.flatnonzero(label == number)
        if len(rows) == 0:
            continue
        rows = rows[_order(z[rows])]
        found, centres = spherical_kmeans(z[rows], k, derive_generator(seed, "subclasses", renewal, number))
        ids[rows] = found + first
        first += len(centres)
    return ids


def class_temperatures(
    z: NDArray[np.floating], ids: NDArray[np.integer], label: NDArray[np.integer], tau: float
) -> NDArray[np.float64]:
    """The temperature of each class: higher where its samples lie far from their mean for their number.

    rho_c = mean ||z_i - mean_c|| / log(n_c + 10), the mean as it is, not brought to length 1; clipped to the 20th and
    80th percentile (linear between ranks) over the classes; tau_c = tau rho_c / mean rho. A class of one cluster uses
    tau, and so does one without samples, which is no part of percentiles and mean. A class without extent takes the
    smallest rho of those that have one, for a temperature of 0 divides by 0; where none has, all are tau.

    Args:
        z: (N, D) of length 1.
        ids: (N,) of `subclasses`.
        label: (N,) of 0..C-1.
        tau: the temperature that they spread around, above 0.

    Returns:
        (C,) with C the largest label and 1, all finite and above 0.

    Raises:
        TrainingError: an embedding is not finite.
        ValueError: as in `spherical_kmeans`.

    Source:
        SBCL (Hou et al., ICCV 2023) and DASC's public code, which count one density a class; classes without extent or
        samples are our reading.
    """
    points = _checked(z)
    sizes = np.bincount(label)
    present = np.flatnonzero(sizes)
    center = np.zeros((len(sizes), points.shape[1]))
    for number in present:
        center[number] = points[label == number].mean(axis=0)
    extent = np.bincount(label, weights=np.linalg.norm(points - center[label], axis=1))[present] / sizes[present]
    temperature = np.full(len(sizes), float(tau))
    temperature[present] = _spread_around(tau, extent, sizes[present])
    alone = [number for number in present if len(np.unique(ids[label == number])) == 1]
    temperature[alone] = tau
    return temperature


def cluster_temperatures(
    z: NDArray[np.floating], ids: NDArray[np.integer], label: NDArray[np.integer], tau: float
) -> NDArray[np.float64]:
    """The temperature of each cluster, in the place of its class's: `class_temperatures` with clusters for classes.

    The centre is the normalised sum, as it is in the clustering; percentiles and mean are over the clusters of all
    classes. A class of one cluster uses tau.

    Args:
        z: (N, D) of length 1.
        ids: (N,) of `subclasses`: 0..K-1, each with samples, each of one class.
        label: (N,).
        tau: the temperature that they spread around, above 0.

    Returns:
        (K,), all finite and above 0.

    Raises:
        TrainingError: an embedding is not finite.
        ValueError: an id without samples or of two classes, or as in `spherical_kmeans`.

    Source:
        Ours, after PCL's concentration of each cluster (Li et al., ICLR 2021); the published method has one a class.
    """
    points = _checked(z)
    sizes = np.bincount(ids)
    of_class = np.zeros(len(sizes), dtype=np.int64)
    of_class[ids] = label
    if not sizes.all() or not np.array_equal(of_class[ids], label):
        raise ValueError("each cluster must have samples, all of one class")
    centres = _moved(points, ids, np.zeros((len(sizes), points.shape[1])))
    extent = np.bincount(ids, weights=np.linalg.norm(points - centres[ids], axis=1)) / sizes
    alone = np.bincount(of_class)[of_class] == 1
    return np.where(alone, tau, _spread_around(tau, extent, sizes))


def _spread_around(tau: float, extent: NDArray[np.float64], sizes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Temperatures of groups with these mean distances from their centres and these numbers of samples."""
    dense = extent > NO_DENSITY
    if not dense.any():
        return np.full(len(sizes), float(tau))
    rho = extent / np.log(sizes + 10)
    rho = np.where(dense, rho, rho[dense].min())
    rho = np.clip(rho, *np.percentile(rho, CLIPPED))
    return tau * rho / rho.mean()


def _checked(z: NDArray[np.floating]) -> NDArray[np.float64]:
    if z.ndim != 2 or len(z) == 0:
        raise ValueError("embeddings must be (N, D) with N at least 1")
    points = z.astype(np.float64)
    if not np.isfinite(points).all():
        raise TrainingError("an embedding is not finite", remedy="give a smaller learning rate")
    length = np.linalg.norm(points, axis=1, keepdims=True)
    if (np.abs(length - 1) > 0.01).any():
        raise ValueError("embeddings must have length 1")
    return points / length  # what was stored in 16 bits is a little longer or shorter


def _order(z: NDArray[np.floating]) -> NDArray[np.intp]:
    """An order of rows that depends on their values alone."""
    whole = np.ascontiguousarray(z) + 0.0  # -0.0 and 0.0 are one value and two patterns of bits
    return np.argsort(whole.view(np.dtype((np.void, whole.strides[0]))).ravel(), kind="stable")


def _plus_plus(points: NDArray[np.float64], k: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Starting centres: a random sample, then others in proportion to the squared chord to the nearest centre.

    Of a few drawn so, the one is taken that leaves the smallest sum of chords, of equals the first: one unlucky draw
    would start two centres in one group. Stops when every sample is a centre, so all are distinct.
    """
    tries = 2 + int(np.log(k))
    chosen = [int(generator.integers(len(points)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k and nearest.any():
        heap = np.cumsum(nearest)
        drawn = np.searchsorted(heap, generator.random(tries) * heap[-1], side="right")
        drawn = np.minimum(drawn, np.flatnonzero(nearest)[-1])  # rounding may reach the end
        left = [np.minimum(nearest, ((points - points[row]) ** 2).sum(axis=1)) for row in drawn]
        best = int(np.argmin([chords.sum() for chords in left]))
        chosen.append(int(drawn[best]))
        nearest = left[best]
    return points[chosen]


def _assigned(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the nearest centre of each sample; no number stays without one."""
    cosine = points @ centres.T
    ids = cosine.argmax(axis=1)
    sizes = np.bincount(ids, minlength=len(centres))
    own = cosine[np.arange(len(points)), ids]
    for empty in np.flatnonzero(sizes == 0):
        row = int(np.where(sizes[ids] > 1, own, np.inf).argmin())
        sizes[ids[row]] -= 1
        ids[row], own[row], sizes[empty] = empty, np.inf, 1
    return ids.astype(np.int64)


def _moved(points: NDArray[np.float64], ids: NDArray[np.integer], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised sum of each cluster's samples; where it is 0, the old centre."""
    n = len(points)
    member = csr_matrix((np.ones(n), (ids, np.arange(n))), shape=(len(centres), n))
    total = np.asarray(member @ points)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-9, total / np.where(length > 1e-9, length, 1.0), centres)
