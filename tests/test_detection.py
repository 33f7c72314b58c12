import uuid
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.detection import _NAMESPACE, Detections, detection_ids, suppress


def brute_force_owner(center, score, radius):
    order = np.argsort(-score, kind="stable")
    kept: list[int] = []
    owner = np.arange(len(score))
    for i in order:
        distance = [float(np.sum((center[i] - center[k]) ** 2)) for k in kept]
        if distance and min(distance) < radius * radius:
            owner[i] = kept[int(np.argmin(distance))]
        else:
            kept.append(int(i))
    return owner


@given(st.integers(0, 10_000), st.integers(1, 120), st.floats(0.5, 40))
def test_suppression_equals_the_double_loop(seed, n, radius):
    """Grid hashing changes the time, not the result, also where points and scores coincide."""
    generator = np.random.default_rng(seed)
    center = generator.integers(0, 60, (n, 2)).astype(float)
    score = generator.integers(0, 5, n) / 4
    expected = brute_force_owner(center, score, radius)
    assert (suppress(center, score, radius_um=radius) == expected).all()


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_suppression_is_idempotent(seed, n):
    """Kept points are at least the radius apart, so suppressing them again keeps all."""
    generator = np.random.default_rng(seed)
    center = generator.uniform(-50, 50, (n, 2))
    score = generator.random(n)
    kept = np.flatnonzero(suppress(center, score, radius_um=9.0) == np.arange(n))
    again = suppress(center[kept], score[kept], radius_um=9.0)
    assert (again == np.arange(len(kept))).all()


def test_points_at_exactly_the_radius_are_two():
    """The radius itself separates: closer joins, equal does not."""
    center = np.array([[0.0, 0.0], [7.5, 0.0], [0.0, 7.4999]])
    assert suppress(center, np.array([3.0, 2.0, 1.0]), radius_um=7.5).tolist() == [0, 1, 0]


def test_columns_of_unequal_length_are_refused():
    """A record that is not aligned cannot be built."""
    with pytest.raises(ValueError, match="is_figure"):
        Detections(
            slide_id=np.array(["a"]),
            center_l0=np.zeros((1, 2)),
            score=np.ones(1),
            is_figure=np.ones(2, dtype=bool),
            stage_names=(),
            stage_score=np.zeros((1, 0)),
        )


def test_threshold_is_inclusive():
    """A score at the threshold is a figure."""
    found = Detections.of(slide_id=["a", "a"], center_l0=[(0, 0), (9, 9)], score=[0.5, 0.49], threshold=0.5)
    assert found.is_figure.tolist() == [True, False]
    assert len(found.figures) == 1


def test_an_id_is_of_detector_slide_and_place():
    """Equal detector, slide and place to 1/1000 px give an equal UUID; anything else gives another."""
    places = [(1.0, 2.0), (1.0004, 2.0), (1.0006, 2.0), (2.0, 1.0), (-0.0001, 0.0), (0.0, -0.0)]
    one = Detections.of(slide_id=["s"] * 6, center_l0=places, score=[0.5] * 6)
    ids = detection_ids(one, "abc")
    assert ids[0] == ids[1]
    assert ids[4] == ids[5], "there is no negative zero"
    assert len(set(ids)) == 4
    assert all(uuid.UUID(name).version == 5 and str(uuid.UUID(name)) == name for name in ids)
    assert detection_ids(replace(one, score=one.score / 2), "abc") == ids
    assert not set(detection_ids(one, "abd")) & set(ids)
    assert not set(detection_ids(replace(one, slide_id=np.array(["t"] * 6)), "abc")) & set(ids)
    assert ids[3] == str(uuid.uuid5(_NAMESPACE, "abc|s|2.000|1.000"))
    assert ids[0] == "855bde9e-3506-5573-868a-c19f1c625384", "ids are in files that people keep: they never change"
