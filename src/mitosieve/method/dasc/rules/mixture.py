"""Gaussian mixtures of per-sample rates, made safe: few points, equal points and fits that do not settle are no error.

Knows numbers only. The order of rows changes nothing, and equal rows get equal answers.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

SAME = 1e-6
"""Rates nearer than this are the same: it is what the 1e-6 in the centroid rate can make of no distance at all."""

LARGEST_FIT = 20_000
"""Rows a mixture is fitted to. Of more, as many are taken evenly from the sorted rows; all are assigned."""


LEAST_VARIANCE = 1e-6
"""Added to each variance of z-scored points at least: a component of equal points has a density."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Which component each row belongs to.

    Attributes:
        component: (N,) intp, 0 for the component whose rows have the lowest mean, rising; each number has rows.
        size: number of components that have rows.
        asked: number of components that were fitted.
        distinct: number of different points, as `SAME` tells them.
        converged: whether the fit settled.
        log_likelihood: mean log density of the rows that were fitted to, z-scored, in nats; NaN where nothing was.
    """

    component: NDArray[np.intp]
    size: int
    asked: int
    distinct: int
    converged: bool
    log_likelihood: float = np.nan


def fit_mixture(
    points_ND: NDArray[np.floating],
    *,
    components: int,
    n_init: int,
    generator: np.random.Generator,
    max_iter: int = 100,
) -> Mixture:
    """Fit Gaussians of full covariance to z-scored points and assign each row to the most probable.

    Fits start from points drawn by k-means++ (Arthur and Vassilvitskii 2007), `n_init` times, and from each column cut
    at its quantiles and into equal widths; the likeliest is taken, of equals the first. k-means itself is no start:
    where groups lie apart in one column of several, it would as soon halve the largest along another. To each variance
    that of the points' resolution is added (`_resolution`): rates are counts, and a Gaussian narrower than their step
    would be as likely as one likes, of the samples that were never forgotten for one.

    Fewer distinct points than components: as many components as points. A column without spread (`SAME`) is 0 after
    scaling; where no column has any, there is one component. Components are ordered by the mean of the first column
    over their rows, equal means (to 9 digits) by the next columns; components without rows are skipped.

    Args:
        points_ND: (N, D) finite, N at least 1.
        components: how many at most.
        n_init: fits from drawn starts; those from cuts come on top.
        generator: of the drawn starts; one number is drawn whatever the points.
        max_iter: steps of each fit at most.

    Raises:
        ValueError: a value is not finite, or there is no row.
    """
    if len(points_ND) == 0 or not np.isfinite(points_ND).all():
        raise ValueError("a mixture needs finite points, at least one")
    start = int(generator.integers(2**31))
    points, inverse, counts = np.unique(points_ND.astype(np.float64), axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    distinct = len(np.unique(np.round(points / SAME), axis=0))
    asked = min(components, distinct)
    if asked == 1 or (np.ptp(points, axis=0) <= SAME).all():
        nothing = np.zeros(len(points_ND), dtype=np.intp)
        return Mixture(component=nothing, size=1, asked=1, distinct=distinct, converged=True)
    scaled = _z_scores(points, counts)
    fitted = scaled[_evenly(counts)]
    numbers: dict[str, Any] = {"reg_covar": _resolution(scaled), "max_iter": max_iter}
    drawn = GaussianMixture(asked, init_params="k-means++", n_init=n_init, random_state=start, **numbers)
    models = [drawn, *(_begun_at(part, fitted, numbers) for part in _cuts(fitted, asked))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        scores = [float(model.fit(fitted).score(fitted)) for model in models]
    best = int(np.argmax(scores))
    model = models[best]
    found = np.asarray(model.predict(scaled), dtype=np.intp)
    component = _by_rising_mean(found, points, counts)
    size = int(component.max()) + 1
    return Mixture(
        component=component[inverse],
        size=size,
        asked=asked,
        distinct=distinct,
        converged=bool(model.converged_),
        log_likelihood=scores[best],
    )


def _cuts(points: NDArray[np.float64], components: int) -> Iterator[NDArray[np.intp]]:
    """Parts (N,) 0..components-1 of the rows by one column, none empty: of equal numbers, then of equal widths."""
    for column in points.T:
        edges = np.linspace(column.min(), column.max(), components + 1)[1:-1]
        for at in (np.quantile(column, np.arange(1, components) / components), edges):
            part = np.digitize(column, at)
            if len(np.unique(part)) == components:
                yield part


def _resolution(points: NDArray[np.float64]) -> float:
    """Variance within a step of the coarsest column, step^2 / 12; a step is the median gap between unequal values."""
    steps = [LEAST_VARIANCE]
    for column in points.T:
        value: NDArray[np.float64] = np.unique(column)
        if len(value) > 1:
            steps.append(float(np.median(value[1:] - value[:-1])) ** 2 / 12)
    return max(steps)


def _begun_at(part: NDArray[np.intp], points: NDArray[np.float64], numbers: dict[str, Any]) -> GaussianMixture:
    """A mixture that starts with a component for each part of the points (N, D): its share, mean and covariance."""
    own = [points[part == number] for number in np.unique(part)]
    floor = numbers["reg_covar"] * np.eye(points.shape[1])
    covariance = [(rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0)) / len(rows) + floor for rows in own]
    return GaussianMixture(
        len(own),
        weights_init=np.array([len(rows) for rows in own]) / len(points),
        means_init=np.array([rows.mean(axis=0) for rows in own]),
        precisions_init=np.linalg.inv(covariance),
        **numbers,
    )


def upper_component(values: NDArray[np.floating], *, n_init: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Which values are high: those of the upper of two Gaussians, and all above the least of them.

    What the wider of two Gaussians takes beyond the far side of the narrower is put right, so that a higher value is
    never less high: a value below the lower component's mean is not in the upper one, and a value above one that is
    in it is too.

    Args:
        values: (N,) finite, N at least 1.
        n_init: fits from drawn starts; see `fit_mixture`.
        generator: of these starts.

    Returns:
        (N,); all False where the values have no spread, for then none is high.
    """
    fit = fit_mixture(values[:, None], components=2, n_init=n_init, generator=generator)
    if fit.size < 2:
        return np.zeros(len(values), dtype=np.bool_)
    lower = np.sort(values[fit.component == 0]).mean()  # sorted: a sum in one order is one number
    upper = values[(fit.component == 1) & (values > lower)]
    return values >= upper.min()


def _z_scores(points: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    mean = np.average(points, axis=0, weights=counts)
    deviation = np.sqrt(np.average((points - mean) ** 2, axis=0, weights=counts))
    flat = np.ptp(points, axis=0) <= SAME
    return np.where(flat, 0.0, (points - mean) / np.where(flat, 1.0, deviation))


def _evenly(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of the sorted distinct points to fit to: each as often as it occurs, or an even share of them all."""
    total = int(counts.sum())
    if total <= LARGEST_FIT:
        return np.repeat(np.arange(len(counts)), counts)
    positions = (np.arange(LARGEST_FIT) * 2 + 1) * total // (2 * LARGEST_FIT)
    return np.searchsorted(np.cumsum(counts), positions, side="right")


def _by_rising_mean(found: NDArray[np.intp], points: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """The components numbered anew."""
    present = np.unique(found)
    means = np.array(
        [np.average(points[found == number], axis=0, weights=counts[found == number]) for number in present]
    ).round(9)
    order = np.lexsort(means.T[::-1])
    rank = np.empty(found.max() + 1, dtype=np.intp)
    rank[present[order]] = np.arange(len(present))
    return rank[found]
