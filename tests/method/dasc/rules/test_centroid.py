"""Laws of the centroid distance: the definition over unpacked features gives the same."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitosieve.method.dasc.rules.centroid import centroid_distances

F = 11


def bits(number):
    return [bool(number >> place & 1) for place in range(F)]


def slow_distances(patterns, labels):
    """Root of the sum over features of the squared difference from the class mean."""
    answer = []
    for pattern, label in zip(patterns, labels, strict=True):
        own = [other for other, its in zip(patterns, labels, strict=True) if its == label]
        mean = [sum(column) / len(own) for column in zip(*own, strict=True)]
        answer.append(math.sqrt(sum((a - m) ** 2 for a, m in zip(pattern, mean, strict=True))))
    return answer


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2**F - 1), st.integers(0, 1)), min_size=1, max_size=12),
    st.sampled_from([F, 8, 3]),
)
def test_centroid_distances_are_those_of_the_definition(samples, features):
    """||a - class mean|| over any number of features, also where they do not fill their bytes."""
    patterns = [bits(number)[:features] for number, _ in samples]
    labels = [label for _, label in samples]
    found = centroid_distances(np.packbits(np.array(patterns), axis=1), np.array(labels, dtype=np.int8))
    assert found.tolist() == pytest.approx(slow_distances(patterns, labels), abs=1e-12)


def test_many_centroid_distances_are_those_of_the_definition():
    """More samples than are worked on at once."""
    draw = np.random.default_rng(0)
    a, label = draw.random((20_000, 37)) < draw.random(37), draw.integers(0, 2, 20_000)
    found = centroid_distances(np.packbits(a, axis=1), label)
    for number in (0, 1):
        mine = a[label == number].astype(float)
        np.testing.assert_allclose(found[label == number], np.linalg.norm(mine - mine.mean(axis=0), axis=1))


def test_equal_distances_are_equal_numbers():
    """Classes of 3, 6 and 9 of one symmetric pattern: no digit tells them apart, in whatever order they stand."""
    three = np.eye(3, F, dtype=bool)
    for times in (2, 3):
        a = np.concatenate([three, np.tile(three, (times, 1))])
        label = np.repeat([0, 1], [3, 3 * times])
        order = np.random.default_rng(0).permutation(len(a))
        found = centroid_distances(np.packbits(a[order], axis=1), label[order])
        assert len(set(found.tolist())) == 1
        assert found[0] == pytest.approx(math.sqrt(2 / 3))
