"""Laws of the subclasses and their temperatures: loops over samples and clusters as the oracle."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitosieve.errors import TrainingError
from mitosieve.method.dasc.rules.clusters import (
    class_temperatures,
    cluster_temperatures,
    spherical_kmeans,
    subclasses,
)

ANGLES = st.lists(st.integers(0, 35), min_size=1, max_size=25)


def on_circle(angles_deg):
    angle = np.radians(np.asarray(angles_deg, dtype=float))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def directions(draw, n, d=8):
    z = draw.normal(size=(n, d))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def bundles(each=12, d=8, count=4, seed=0, spread=0.05):
    """Samples around `count` axes, and which axis each is of."""
    draw = np.random.default_rng(seed)
    of = np.repeat(np.arange(count), each)
    z = np.eye(d)[of] + draw.normal(0, spread, (count * each, d))
    return z / np.linalg.norm(z, axis=1, keepdims=True), of


def a_generator(seed=0):
    return np.random.default_rng(seed)


def groups(ids):
    """Which rows are together, whatever the numbers."""
    return {frozenset(np.flatnonzero(ids == number).tolist()) for number in np.unique(ids)}


def spread_around(tau, rho):
    """tau rho / mean rho, clipped to the percentiles first."""
    low, high = np.percentile(rho, 20), np.percentile(rho, 80)
    rho = [min(max(value, low), high) for value in rho]
    return [tau * value * len(rho) / sum(rho) for value in rho]


def slow_class_temperatures(z, ids, label, tau):
    """SBCL (ICCV 2023): each class's mean distance from its mean, over the log of its size."""
    classes, rho = sorted(set(label)), []
    for number in classes:
        own = [z[i] for i in range(len(z)) if label[i] == number]
        mean = [sum(column) / len(own) for column in zip(*own, strict=True)]
        far = [math.sqrt(sum((a - b) ** 2 for a, b in zip(row, mean, strict=True))) for row in own]
        rho.append(sum(far) / len(own) / math.log(len(own) + 10))
    found = dict(zip(classes, spread_around(tau, rho), strict=True))
    for number in classes:
        if len({ids[i] for i in range(len(z)) if label[i] == number}) == 1:
            found[number] = tau
    return [found.get(number, tau) for number in range(max(classes) + 1)]


def slow_temperatures(z, ids, label, tau):
    """The same of clusters, each round the normalised sum of its samples."""
    rho, of_class = [], []
    for number in range(max(ids) + 1):
        own = [z[i] for i in range(len(z)) if ids[i] == number]
        total = [sum(column) for column in zip(*own, strict=True)]
        length = math.sqrt(sum(value**2 for value in total))
        centre = [value / length for value in total]
        chords = [math.sqrt(sum((a - b) ** 2 for a, b in zip(row, centre, strict=True))) for row in own]
        rho.append(sum(chords) / len(own) / math.log(len(own) + 10))
        of_class.append(next(label[i] for i in range(len(z)) if ids[i] == number))
    spread = spread_around(tau, rho)
    return [tau if of_class.count(number) == 1 else value for number, value in zip(of_class, spread, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_bundles_apart_are_found(seed):
    """Each bundle is one cluster, its centre the normalised sum of it."""
    z, of = bundles(seed=seed)
    ids, centres = spherical_kmeans(z, 4, a_generator(seed))
    assert groups(ids) == groups(of)
    for number in range(4):
        total = z[ids == number].sum(axis=0)
        np.testing.assert_allclose(centres[number], total / np.linalg.norm(total))


@settings(max_examples=80, deadline=None)
@given(ANGLES, st.integers(1, 6), st.integers(0, 5))
def test_clusters_obey_their_laws(angles, k, seed):
    """As many as asked or as there are distinct samples, none empty, centres of length 1 and of their samples."""
    z = on_circle(np.array(angles) * 10)
    ids, centres = spherical_kmeans(z, k, a_generator(seed))
    count = min(k, len(set(angles)))
    assert centres.shape == (count, 2)
    assert sorted(set(ids.tolist())) == list(range(count))
    assert np.linalg.norm(centres, axis=1).tolist() == pytest.approx([1] * count)
    for number in range(count):
        total = z[ids == number].sum(axis=0)
        if np.linalg.norm(total) > 1e-6:
            np.testing.assert_allclose(centres[number] * np.linalg.norm(total), total, atol=1e-9)
    again, its = spherical_kmeans(z, k, a_generator(seed))
    assert (again == ids).all()
    assert (its == centres).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_settled_clusters_have_each_sample_at_its_nearest_centre(seed, k):
    """With time to settle no sample has a larger cosine with another centre."""
    z = directions(np.random.default_rng(seed), 40, d=3)
    ids, centres = spherical_kmeans(z, k, a_generator(seed), tol=0, max_iter=500)
    cosine = z @ centres.T
    assert (cosine[np.arange(40), ids] >= cosine.max(axis=1) - 1e-9).all()


def test_more_rounds_never_cluster_worse():
    """The sum of cosines with the own centre rises with every round."""
    z = directions(np.random.default_rng(4), 200)
    reached = []
    for rounds in range(1, 12):
        ids, centres = spherical_kmeans(z, 6, a_generator(), tol=0, max_iter=rounds)
        reached.append((z * centres[ids]).sum())
    assert all(b >= a - 1e-9 for a, b in pairwise(reached))
    assert reached[-1] > reached[0]


def test_few_distinct_samples_are_fewer_clusters():
    """Identical samples are one cluster, all 0; two kinds are two, each its own, however many are asked for."""
    same = np.tile(on_circle([30]), (7, 1))
    ids, centres = spherical_kmeans(same, 4, a_generator())
    assert ids.tolist() == [0] * 7
    np.testing.assert_allclose(centres, same[:1])
    ids, centres = spherical_kmeans(on_circle([0, 90, 0, 90, 90]), 4, a_generator())
    assert groups(ids) == {frozenset({0, 2}), frozenset({1, 3, 4})}
    assert len(centres) == 2
    assert spherical_kmeans(on_circle([10]), 3, a_generator())[0].tolist() == [0]
    ids, _ = spherical_kmeans(on_circle([0, 1, 2, 3]), 4, a_generator())
    assert sorted(ids.tolist()) == [0, 1, 2, 3]


def test_opposite_samples_have_a_centre_too():
    """Samples that sum to nothing leave their centre where it was: a direction, not NaN."""
    ids, centres = spherical_kmeans(on_circle([0, 180]), 1, a_generator())
    assert ids.tolist() == [0, 0]
    assert np.isfinite(centres).all()
    assert np.linalg.norm(centres, axis=1).tolist() == [1]
    temperature = cluster_temperatures(on_circle([0, 180]), np.array([0, 0]), np.array([1, 1]), 0.1)
    assert temperature.tolist() == [0.1]
    of_class = class_temperatures(on_circle([0, 180, 0, 180]), np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1]), 0.1)
    assert of_class.tolist() == pytest.approx([0.1, 0.1])


def test_embeddings_of_16_bits_will_do():
    """They are of length 1 to three digits; the clusters are those of the exact ones."""
    z, of = bundles()
    ids, centres = spherical_kmeans(z.astype(np.float16), 4, a_generator())
    assert groups(ids) == groups(of)
    assert np.linalg.norm(centres, axis=1).tolist() == pytest.approx([1] * 4)


def test_subclasses_are_written_back_by_sample():
    """Classes mixed in any order: each sample is in a cluster of its own class and its own bundle ."""
    z, of = bundles(count=6)
    label = (of >= 4).astype(np.int8)
    order = np.random.default_rng(3).permutation(len(z))
    ids = subclasses(z[order], label[order], [4, 2], seed=0, renewal=0)
    assert groups(ids) == groups(of[order])
    assert sorted(set(ids[label[order] == 0])) == [0, 1, 2, 3]
    assert sorted(set(ids[label[order] == 1])) == [4, 5]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(0, 3))
def test_the_order_of_rows_changes_no_subclass(seed, n, renewal):
    """Shuffled samples take their ids along, equal samples together."""
    draw = np.random.default_rng(seed)
    z = directions(draw, n, d=4)
    z[n // 2 :] = z[: n - n // 2]
    label = draw.integers(0, 2, n)
    ids = subclasses(z, label, [3, 2], seed=1, renewal=renewal)
    order = draw.permutation(n)
    assert (subclasses(z[order], label[order], [3, 2], seed=1, renewal=renewal) == ids[order]).all()
    for row in range(n):
        twins = (z == z[row]).all(axis=1) & (label == label[row])
        assert len(set(ids[twins])) == 1


def test_ids_have_no_gaps_where_a_class_has_fewer_clusters():
    """A class of identical samples has one, a class without samples none, and the next goes on from there."""
    z = on_circle([0, 0, 0, 50, 90, 130])
    ids = subclasses(z, np.array([0, 0, 0, 2, 2, 2]), [4, 4, 3], seed=0, renewal=0)
    assert ids[:3].tolist() == [0, 0, 0]
    assert sorted(ids[3:].tolist()) == [1, 2, 3]
    assert subclasses(np.zeros((0, 2)), np.zeros(0, int), [4, 4], seed=0, renewal=0).tolist() == []


def test_a_renewal_starts_anew_and_a_seed_repeats():
    """The same seed and renewal give the same clusters; another renewal or seed other starts."""
    z = directions(np.random.default_rng(0), 300)
    label = np.zeros(300, dtype=int)
    first = subclasses(z, label, [8], seed=0, renewal=0)
    assert (subclasses(z, label, [8], seed=0, renewal=0) == first).all()
    assert groups(subclasses(z, label, [8], seed=0, renewal=1)) != groups(first)
    assert groups(subclasses(z, label, [8], seed=1, renewal=0)) != groups(first)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.05, 0.1, 1.0]))
def test_a_class_has_one_temperature_by_the_equation(seed, count, tau):
    """rho_c about the class's own mean, its percentiles, its mean: class by class; of any number, size and extent."""
    draw = np.random.default_rng(seed)
    label = np.concatenate([np.arange(count).repeat(2), draw.integers(0, count, 20)])
    kinds = draw.integers(1, 4, count)
    ids = label * 10 + draw.integers(0, kinds[label])
    z = np.eye(8)[label] + draw.normal(size=(len(label), 8)) * draw.uniform(0.05, 0.5, count)[label, None]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    found = class_temperatures(z, ids, label, tau)
    assert found.tolist() == pytest.approx(slow_class_temperatures(z, ids.tolist(), label.tolist(), tau))


def test_two_classes_by_hand():
    """Pairs 2a apart lie sin(a) from their mean; between two densities both percentiles are a fifth of the way."""
    z = on_circle([90 - 10, 90 + 10, 270 - 40, 270 + 40])
    ids, label = np.arange(4), np.array([0, 0, 1, 1])
    near, far = np.sin(np.radians([10, 40])) / np.log(12)
    fifth, middle = (far - near) / 5, (near + far) / 2
    expected = [0.1 * (near + fifth) / middle, 0.1 * (far - fifth) / middle]
    assert class_temperatures(z, ids, label, 0.1).tolist() == pytest.approx(expected)
    assert class_temperatures(z, np.array([0, 1, 2, 2]), label, 0.1).tolist() == pytest.approx([expected[0], 0.1])


def test_clusters_do_not_change_a_classes_temperature():
    """However its samples are put together, as long as there are two clusters of them."""
    z, of = bundles(count=4, spread=0.2)
    label = of // 2
    whole = class_temperatures(z, of, label, 0.1)
    other = of.copy()
    other[::3] = other[::3] // 2 * 2
    assert class_temperatures(z, other, label, 0.1).tolist() == whole.tolist()
    assert cluster_temperatures(z, of, label, 0.1).tolist() != cluster_temperatures(z, other, label, 0.1).tolist()


def test_classes_without_extent_or_samples_have_a_temperature():
    """All at one place: tau. One at one place: the least of the others. No sample: tau, and no say in the others'."""
    same = on_circle([0, 0, 90, 90])
    ids, label = np.arange(4), np.array([0, 0, 1, 1])
    assert class_temperatures(same, ids, label, 0.1).tolist() == [0.1, 0.1]
    one = on_circle([0, 0, 80, 90])
    assert class_temperatures(one, ids, label, 0.1).tolist() == pytest.approx([0.1, 0.1])
    z = on_circle([80, 100, 230, 310])
    two, apart = (class_temperatures(z, ids, classes, 0.1) for classes in (label, 2 * label))
    assert apart.tolist() == pytest.approx([two[0], 0.1, two[1]])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 1.0]))
def test_temperatures_of_clusters_are_those_of_the_equation(seed, tau):
    """rho_c, its percentiles, its mean: cluster by cluster; clusters of all sizes and extents."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 7))
    of_cluster = draw.integers(0, 2, count)
    ids = np.concatenate([np.arange(count).repeat(2), draw.integers(0, count, 20)])
    z = np.eye(8)[ids] + draw.normal(size=(len(ids), 8)) * draw.uniform(0.05, 0.5, count)[ids, None]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    found = cluster_temperatures(z, ids, of_cluster[ids], tau)
    assert found.tolist() == pytest.approx(slow_temperatures(z, ids, of_cluster[ids], tau))


def test_temperatures_of_clusters_by_hand():
    """Pairs 2a apart lie 2 sin(a / 2) from their centre, in clusters of one size: rho is in proportion to that."""
    half = np.array([2, 4, 6, 8, 10])
    z = on_circle(np.stack([72 * np.arange(5) - half, 72 * np.arange(5) + half], axis=1).ravel())
    ids = np.repeat(np.arange(5), 2)
    chord = 2 * np.sin(np.radians(half) / 2)
    clipped = np.clip(chord, chord[0] + 0.8 * (chord[1] - chord[0]), chord[3] + 0.2 * (chord[4] - chord[3]))
    label = np.array([0, 0, 0, 1, 1])[ids]
    found = cluster_temperatures(z, ids, label, 0.1)
    assert found.tolist() == pytest.approx((0.1 * clipped / clipped.mean()).tolist())
    assert found.mean() == pytest.approx(0.1)
    alone = cluster_temperatures(z, ids, np.array([0, 0, 0, 0, 1])[ids], 0.1)
    assert alone.tolist() == pytest.approx([*found[:4], 0.1])


def test_clusters_without_extent_have_a_temperature():
    """All without: tau. Most without, so that the 20th percentile is 0: the smallest of the others, and never 0."""
    z = on_circle([0, 0, 90, 90, 180, 180, 270, 270])
    ids, label = np.arange(8) // 2, np.repeat([0, 1], 4)
    assert cluster_temperatures(z, ids, label, 0.1).tolist() == [0.1] * 4
    singles = cluster_temperatures(on_circle([0, 10, 20]), np.arange(3), np.array([0, 0, 1]), 0.2)
    assert singles.tolist() == [0.2] * 3
    z[-1] = on_circle([271])
    found = cluster_temperatures(z, ids, label, 0.1)
    assert found.tolist() == pytest.approx([0.1] * 4)
    z[-3] = on_circle([190])
    found = cluster_temperatures(z, ids, label, 0.1)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert found[2] > found[0] == found[1]


def test_bad_embeddings_are_refused():
    """Not finite: the training went wrong. Not of length 1, no samples, nothing asked for: the caller did."""
    good = on_circle([0, 90])
    for bad in (np.nan, np.inf):
        z = good.copy()
        z[1, 0] = bad
        for job in (
            lambda z=z: spherical_kmeans(z, 2, a_generator()),
            lambda z=z: subclasses(z, np.array([0, 1]), [1, 1], seed=0, renewal=0),
            lambda z=z: class_temperatures(z, np.array([0, 1]), np.array([0, 1]), 0.1),
            lambda z=z: cluster_temperatures(z, np.array([0, 1]), np.array([0, 1]), 0.1),
        ):
            with pytest.raises(TrainingError, match="not finite"):
                job()
    with pytest.raises(ValueError, match="length 1"):
        spherical_kmeans(good * 2, 2, a_generator())
    with pytest.raises(ValueError, match="N at least 1"):
        spherical_kmeans(good[:0], 2, a_generator())
    with pytest.raises(ValueError, match="k must be at least 1"):
        spherical_kmeans(good, 0, a_generator())


def test_ids_and_labels_that_do_not_fit_are_refused():
    z = on_circle([0, 90, 180])
    for label in ([0, 1], [0, 1, 2], [0, -1, 1]):
        with pytest.raises(ValueError, match="one label a sample"):
            subclasses(z, np.array(label), [2, 2], seed=0, renewal=0)
    for ids, label in (([0, 0, 2], [0, 0, 1]), ([0, 0, 1], [0, 1, 1])):
        with pytest.raises(ValueError, match="each cluster must have samples"):
            cluster_temperatures(z, np.array(ids), np.array(label), 0.1)
