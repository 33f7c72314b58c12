"""Laws of the hotspots after the first: brute force over every placement beside those before, as oracle."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.count.further import GAP_NM, find_hotspots
from mitosieve.count.hotspot import SHAPES, Hotspot, find_hotspot

TENTHS = st.integers(-2, 42).map(lambda k: k / 10)
POINTS = st.lists(st.tuples(TENTHS, TENTHS), max_size=16)
"""On a lattice, so that points share coordinates, lie on each other, on edges, and outside the slide."""

SIZES = st.sampled_from([(4.0, 3.0), (2.0, 4.1), (1.2, 4.0), (3.0, 1.0), (1.0, 1.0)])
AREAS = st.sampled_from([1.0, 0.25, 0.09, 1.7])


def points_of(rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def box_nm(spot):
    """Corners of its upright box."""
    center, side = np.array(spot.center_mm) * 1e6, np.array(spot.size_mm) * 1e6
    return np.rint(center - side / 2).astype(np.int64), np.rint(center + side / 2).astype(np.int64)


def sides_that_fit(shape, size, area):
    """Whole nm, as the docstring of find_hotspot says it."""
    long, short, side = math.sqrt(area * 4 / 3), math.sqrt(area * 3 / 4), math.sqrt(area)
    wanted = [(long, short), (short, long)] if shape == "rectangle" else [(side, side)]
    fitting = [s for s in wanted if s[0] <= size[0] and s[1] <= size[1]]
    strip = (size[0], area / size[0]) if size[0] <= size[1] else (area / size[1], size[1])
    return [tuple(round(value * 1e6) for value in s) for s in fitting or [strip]]


def are_apart(one, other):
    """Neither box reaches into the other or touches it."""
    (low, high), (before, after) = box_nm(one), box_nm(other)
    return bool((low > after).any() or (high < before).any())


def brute_force(points, size, sides, taken):
    """Most points in a window beside the regions `taken`, and its topmost, then leftmost corner, nm.

    A window that is best can be moved up and left until a point, the slide's edge or a region before it stops it.
    """
    inside = np.rint(points * 1e6).astype(np.int64)
    slide, sides = np.rint(np.array(size) * 1e6).astype(np.int64), np.array(sides)
    inside = inside[((inside >= 0) & (inside <= slide)).all(axis=1)]
    boxes = [box_nm(spot) for spot in taken]
    stops = [{0, *(inside[:, k] - sides[k]).tolist(), *(int(high[k]) + GAP_NM for _, high in boxes)} for k in (0, 1)]
    best = (0, 0, 0)
    for y, x in itertools.product(sorted(stops[1]), sorted(stops[0])):
        low = np.array([x, y])
        high = low + sides
        beside = all((low >= end + GAP_NM).any() or (high <= start - GAP_NM).any() for start, end in boxes)
        if (low < 0).any() or (high > slide).any() or not beside:
            continue
        count = int(((inside >= low) & (inside <= high)).all(axis=1).sum())
        if count > best[0]:
            best = (count, x, y)
    return best


@given(POINTS, SIZES, AREAS, st.sampled_from(["square", "rectangle"]))
def test_none_beside_those_before_holds_more(rows, size, area, shape):
    """Upright regions: each further one holds what brute force finds beside those before, and the last leaves none."""
    points = points_of(rows)
    spots = find_hotspots(points, size_mm=size, area_mm2=area, shape=shape, most=4)
    if size[0] * size[1] <= area or not spots[0].count:
        assert len(spots) == 1
        return
    fits = sides_that_fit(shape, size, area)
    for number in range(1, 4):
        found = max((brute_force(points, size, sides, spots[:number]) for sides in fits), key=lambda one: one[0])
        assert (spots[number].count if number < len(spots) else 0) == found[0]
        if number == len(spots):
            break


@given(POINTS, SIZES, AREAS, st.sampled_from(SHAPES))
def test_each_holds_what_it_counts_and_overlaps_none(rows, size, area, shape):
    """Whatever the shape: the count is true in its own outline, no figure is in two, and all lie on the slide."""
    points = points_of(rows)
    spots = find_hotspots(points, size_mm=size, area_mm2=area, shape=shape, most=4)
    assert spots[0] == find_hotspot(points, size_mm=size, area_mm2=area, shape=shape)
    on_slide = points[((points >= 0) & (points <= size)).all(axis=1)]
    for spot in spots:
        assert spot.holds(on_slide).sum() == spot.count
    assert all(spot.count for spot in spots[1:])
    assert sum(spot.holds(on_slide) for spot in spots).max(initial=0) <= 1
    for one, other in itertools.combinations(spots, 2):
        assert are_apart(one, other)
        assert one.count >= other.count
    for spot in spots:
        low, high = box_nm(spot)
        assert (low >= 0).all()
        assert (high <= np.array(size) * 1e6 + 1).all()


@given(POINTS, st.sampled_from(SHAPES), st.randoms())
def test_the_order_of_points_does_not_matter_to_further_ones(rows, shape, shuffler):
    """The whole answer, places included."""
    mixed = list(rows)
    shuffler.shuffle(mixed)
    asked = {"size_mm": (4.0, 3.0), "area_mm2": 0.6, "shape": shape}
    assert find_hotspots(points_of(mixed), **asked) == find_hotspots(points_of(rows), **asked)


def test_of_equal_further_ones_the_topmost_then_the_leftmost():
    """Three spots of two figures round one of three."""
    spots = [(8.0, 9.0), (2.0, 6.0), (7.0, 6.0)]
    points = points_of([p for x, y in spots for p in ((x, y), (x + 0.2, y))] + [(5.0, 9.0)] * 3)
    found = find_hotspots(points, size_mm=(12, 12))
    assert [spot.count for spot in found] == [3, 2, 2]
    assert [spot.center_mm for spot in found[1:]] == [pytest.approx((x + 0.1, y), abs=1e-3) for x, y in spots[1:]]


def test_figures_round_a_hotspot_are_no_hotspots_over_it():
    """A dense spot wider than a region: what the first leaves over at its rim is counted in regions beside it."""
    points = np.random.default_rng(5).normal((5, 5), 0.8, (300, 2))
    spots = find_hotspots(points, size_mm=(10, 10))
    assert len(spots) == 3
    assert all(are_apart(*pair) for pair in itertools.combinations(spots, 2))
    side = round(math.sqrt(2.0) * 1e6)
    for number in (1, 2):
        assert spots[number].count == brute_force(points, (10, 10), (side, side), spots[:number])[0] > 20


def test_there_are_no_more_hotspots_than_hold_a_figure():
    """The first is always there; a slide that is its own region has no second, nor has one without room for it."""
    one, none = np.array([(1.0, 1.0)]), np.zeros((0, 2))
    assert [spot.count for spot in find_hotspots(one, size_mm=(6, 4))] == [1]
    assert [spot.count for spot in find_hotspots(none, size_mm=(6, 4))] == [0]
    assert [spot.shape for spot in find_hotspots(one, size_mm=(1, 1), area_mm2=2)] == ["slide"]
    spread = np.array([(0.1, 0.1), (1.6, 1.6), (0.1, 1.6)])
    assert len(find_hotspots(spread, size_mm=(1.7, 1.7), area_mm2=2)) == 1
    assert not Hotspot.none((6, 4), 2.0).holds(np.array([(3.0, 2.0)])).any()
