"""Laws of the hotspot: brute force over every placement that can be best, as oracle."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mitosieve.count.disc import deepest_disc
from mitosieve.count.hotspot import SHAPES, Hotspot, find_hotspot, mm_from_l0, slide_mm

TENTHS = st.integers(-3, 63).map(lambda k: k / 10)
POINTS = st.lists(st.tuples(TENTHS, TENTHS), max_size=14)
"""On a lattice, so that points share coordinates, lie on each other, on edges, and outside the slide."""

SIZES = st.sampled_from([(6.0, 4.0), (2.5, 5.1), (1.2, 6.0), (6.0, 1.0), (1.7, 1.7), (1.4, 1.4)])
AREAS = st.sampled_from([2.0, 2.37, 1.0, 0.25, 0.04])
UPRIGHT = st.sampled_from(["square", "rectangle"])
EPS = 2e-6
"""mm; sides and points are rounded to 1e-6."""


def points_of(rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def held(points, hotspot, *, slack=EPS):
    """How many points lie in the region."""
    if hotspot.shape == "circle":
        distance = np.hypot(*(points - hotspot.center_mm).T)
        return int((distance <= hotspot.size_mm[0] / 2 + slack).sum())
    half = np.array(hotspot.size_mm) / 2 + slack
    return int((np.abs(points - hotspot.center_mm) <= half).all(axis=1).sum())


def check_place(hotspot, size):
    """Inside the slide."""
    for center, side, extent in zip(hotspot.center_mm, hotspot.size_mm, size, strict=True):
        assert center - side / 2 >= -EPS
        assert center + side / 2 <= extent + EPS


def on_slide(points, size):
    return points[((points >= 0) & (points <= size)).all(axis=1)]


def brute_upright(points, size, sides):
    """The count, and its topmost, leftmost corner: a corner that is best begins at some point's far edge or at 0."""
    corners = [sorted({0.0, *np.clip(points[:, k] - sides[k], 0, size[k] - sides[k]).tolist()}) for k in (0, 1)]
    best = (0, 0.0, 0.0)
    for y, x in itertools.product(corners[1], corners[0]):
        inside = (points >= np.array([x, y]) - EPS) & (points <= np.array([x, y]) + sides + EPS)
        count = int(inside.all(axis=1).sum())
        if count > best[0]:
            best = (count, x, y)
    return best


def brute_disc(points, size, radius):
    """The count over all centres that can be best: crossings of circles with circles and edges, tops, corners."""
    low, high = np.array([radius, radius]), np.array(size) - radius
    centers = [np.array(c) for c in itertools.product((low[0], high[0]), (low[1], high[1]))]
    centers += [p - (0, radius) for p in points]
    edges = [(0, low[0]), (0, high[0]), (1, low[1]), (1, high[1])]
    for p, (axis, edge), sign in itertools.product(points, edges, (-1, 1)):
        left = radius**2 - (p[axis] - edge) ** 2
        if left >= -1e-9:  # a circle that touches the edge, up to rounding
            across = p[1 - axis] + sign * math.sqrt(max(0.0, left))
            centers.append(np.array([edge, across] if axis == 0 else [across, edge]))
    for (p, q), sign in itertools.product(itertools.combinations(points, 2), (-1, 1)):
        gap = np.hypot(*(q - p))
        if 0 < gap <= 2 * radius:
            out = math.sqrt(radius**2 - gap**2 / 4) / gap
            centers.append((p + q) / 2 + sign * out * np.array([-(q - p)[1], (q - p)[0]]))
    allowed = [c for c in centers if (c >= low - EPS).all() and (c <= high + EPS).all()]
    return max(int((np.hypot(*(points - c).T) <= radius + EPS).sum()) for c in allowed)


def sides_that_fit(shape, size, area):
    """As the docstring of find_hotspot says it."""
    side, long, short = math.sqrt(area), math.sqrt(area * 4 / 3), math.sqrt(area * 3 / 4)
    wanted = [(long, short), (short, long)] if shape == "rectangle" else [(side, side)]
    fitting = [s for s in wanted if s[0] <= size[0] and s[1] <= size[1]]
    strip = (size[0], area / size[0]) if size[0] <= size[1] else (area / size[1], size[1])
    return fitting or [strip]


@given(POINTS, SIZES, AREAS, UPRIGHT)
@example([(0.0, 0.0), (2.0, 0.0), (0.0, 1.0)], (6.0, 4.0), 2.0, "rectangle")
def test_upright_regions_hold_what_brute_force_finds(rows, size, area, shape):
    """Square, 4:3 rectangle and strip: count, fixed area, place inside the slide, and the count is of that place."""
    points = points_of(rows)
    hotspot = find_hotspot(points, size_mm=size, area_mm2=area, shape=shape)
    check_place(hotspot, size)
    assert held(points, hotspot) == hotspot.count
    if size[0] * size[1] <= area:
        assert hotspot.shape == "slide"
        assert hotspot.count == len(on_slide(points, size))
        assert hotspot.size_mm == pytest.approx(size)
        assert hotspot.area_mm2 == pytest.approx(size[0] * size[1])
        return
    assert hotspot.area_mm2 == area
    assert math.prod(hotspot.size_mm) == pytest.approx(area, rel=1e-5)
    tried = [brute_upright(on_slide(points, size), size, np.array(s))[0] for s in sides_that_fit(shape, size, area)]
    assert hotspot.count == max(tried)


@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=12), AREAS)
def test_of_equal_squares_the_topmost_then_leftmost_is_centred_on_its_points(rows, area):
    """The placement is that of brute force, moved to the middle of its points as far as the edge allows."""
    size, side = (6.0, 4.0), math.sqrt(area)
    points = on_slide(points_of(rows), size)
    if not len(points):
        return
    _, x, y = brute_upright(points, size, np.array([side, side]))
    corner = np.array([x, y])
    inside = points[((points >= corner - EPS) & (points <= corner + side + EPS)).all(axis=1)]
    middle = (inside.min(axis=0) + inside.max(axis=0)) / 2
    expected = np.clip(middle, side / 2, np.array(size) - side / 2)
    hotspot = find_hotspot(points, size_mm=size, area_mm2=area)
    assert hotspot.center_mm == pytest.approx(expected.tolist(), abs=EPS)


@given(POINTS, SIZES, AREAS)
@example([(5.2, 0.0)], (6.0, 4.0), 2.37)
@example([(0.0, 0.0)], (6.0, 4.0), 2.0)
def test_a_circle_holds_what_brute_force_finds(rows, size, area):
    """Count, place inside the slide; where no circle fits it is the square's answer."""
    points = points_of(rows)
    hotspot = find_hotspot(points, size_mm=size, area_mm2=area, shape="circle")
    radius = math.sqrt(area / math.pi)
    check_place(hotspot, size)
    if 2 * radius > min(size):
        assert hotspot == find_hotspot(points, size_mm=size, area_mm2=area, shape="square")
        return
    assert hotspot.shape == "circle"
    assert hotspot.size_mm == pytest.approx((2 * radius, 2 * radius), abs=EPS)
    assert held(points, hotspot) == hotspot.count
    assert hotspot.count == brute_disc(on_slide(points, size), size, radius)


@given(st.integers(0, 2**32 - 1), st.integers(15, 60), st.sampled_from([2.0, 0.5]))
def test_a_circle_among_many_points_holds_what_brute_force_finds(seed, count, area):
    """Points off any lattice, more of them than are worked out at once, so that rectangles are halved."""
    points = np.random.default_rng(seed).normal(3, 0.7, (count, 2))
    hotspot = find_hotspot(points, size_mm=(6, 6), area_mm2=area, shape="circle")
    assert hotspot.count == brute_disc(on_slide(points, (6, 6)), (6, 6), math.sqrt(area / math.pi))
    assert held(points, hotspot) == hotspot.count


@pytest.mark.parametrize("shape", SHAPES)
def test_no_placement_of_many_holds_more(shape):
    """Thousands of points with a dense spot: no tried place beats the answer, many come near."""
    generator = np.random.default_rng(3)
    size = np.array([20.0, 15.0])
    points = np.concatenate([generator.uniform(0, 1, (4000, 2)) * size, generator.normal((14, 6), 0.5, (300, 2))])
    hotspot = find_hotspot(points, size_mm=(20.0, 15.0), shape=shape)
    assert held(points, hotspot) == hotspot.count
    half = np.array(hotspot.size_mm) / 2
    tries = np.clip(
        np.concatenate(
            [generator.uniform(half, size - half, (300, 2)), generator.normal(hotspot.center_mm, 0.1, (300, 2))]
        ),
        half,
        size - half,
    )
    counts = [held(points, Hotspot(**{**vars(hotspot), "center_mm": tuple(c)}), slack=0) for c in tries.tolist()]
    assert max(counts) <= hotspot.count
    assert max(counts) > 0.9 * hotspot.count


@given(POINTS, st.sampled_from(SHAPES), st.randoms())
def test_the_order_of_points_does_not_matter(rows, shape, shuffler):
    """The whole answer, place included."""
    mixed = list(rows)
    shuffler.shuffle(mixed)
    size = (6.0, 4.0)
    one = find_hotspot(points_of(rows), size_mm=size, shape=shape)
    assert find_hotspot(points_of(mixed), size_mm=size, shape=shape) == one


@pytest.mark.parametrize("shape", ["square", "circle"])
def test_equal_spots_give_the_topmost_then_the_leftmost(shape):
    """Two points at each of three places."""
    spots = [(8.0, 9.0), (2.0, 6.0), (7.0, 6.0)]
    points = points_of([p for x, y in spots for p in ((x, y), (x + 0.2, y))])
    hotspot = find_hotspot(points, size_mm=(12, 12), shape=shape)
    assert hotspot.count == 2
    assert hotspot.center_mm == pytest.approx((2.1, 6.0), abs=1e-3)


def test_a_figure_on_the_edge_counts():
    """Two points exactly one side, or one diameter, apart are held together; a hair more, and they are not."""
    side, diameter = math.sqrt(2), 2 * math.sqrt(2 / math.pi)
    for gap, shape in ((round(side, 6), "square"), (2 * round(diameter / 2, 6), "circle")):
        for more, count in ((0, 2), (2e-6, 1)):
            points = np.array([(3.0, 3.0), (3.0 + gap + more, 3.0)])
            assert find_hotspot(points, size_mm=(9, 9), shape=shape).count == count


def test_a_standing_rectangle_is_found_where_it_holds_more():
    """Both ways are tried; of equals the lying one is taken."""
    column = np.array([(5.0, y) for y in np.linspace(2, 3.6, 9)])
    standing = find_hotspot(column, size_mm=(10, 10), shape="rectangle")
    assert standing.count == 9
    assert standing.size_mm[0] < standing.size_mm[1]
    lying = find_hotspot(column[:3], size_mm=(10, 10), shape="rectangle")
    assert lying.size_mm[0] > lying.size_mm[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_slide_without_figures_has_the_area_and_no_count(shape):
    """Count 0, density 0, in the slide's middle; nor does a figure count that no circle can reach."""
    hotspot = find_hotspot(np.zeros((0, 2)), size_mm=(10.0, 6.0), shape=shape)
    assert (hotspot.count, hotspot.density_per_mm2, hotspot.area_mm2, hotspot.shape) == (0, 0.0, 2.0, shape)
    assert hotspot.center_mm == pytest.approx((5.0, 3.0), abs=EPS)
    outside = np.array([(-1.0, 2.0), (0.0, 0.0)] if shape == "circle" else [(-1.0, 2.0)])
    assert find_hotspot(outside, size_mm=(10.0, 6.0), shape=shape) == hotspot


def test_a_slide_smaller_than_the_area_is_the_region():
    """Its own area and density are said."""
    hotspot = find_hotspot(np.array([(0.0, 0.0), (1.0, 1.5), (1.1, 0.2)]), size_mm=(1.0, 1.5))
    assert (hotspot.shape, hotspot.count, hotspot.area_mm2) == ("slide", 2, 1.5)
    assert hotspot.density_per_mm2 == pytest.approx(2 / 1.5)


@pytest.mark.parametrize(
    ("points", "size", "area", "shape"),
    [
        ([(0.0, math.nan)], (2.0, 2.0), 2.0, "square"),
        ([], (0.0, 2.0), 2.0, "square"),
        ([], (2.0, math.inf), 2.0, "square"),
        ([], (2.0, 2.0), -1.0, "square"),
        ([], (2.0, 2.0), 2.0, "hexagon"),
    ],
)
def test_what_cannot_be_is_refused(points, size, area, shape):
    """Before anything is computed."""
    with pytest.raises(ValueError, match=r"above 0|finite|hexagon"):
        find_hotspot(points_of(points), size_mm=size, area_mm2=area, shape=shape)


def test_points_upon_each_other_are_counted_each():
    """A thousand at one place, and one elsewhere."""
    points = np.concatenate([np.full((1000, 2), 3.0), [(8.0, 8.0)]])
    for shape in SHAPES:
        assert find_hotspot(points, size_mm=(10, 10), shape=shape).count == 1000
    assert deepest_disc(np.full((5, 2), 50, dtype=np.int64), size_nm=(100, 100), radius_nm=50)[0] == 5


@given(st.sampled_from(SHAPES), st.floats(0.1, 1), st.floats(0.1, 1))
def test_the_place_in_pixels_is_the_place_in_mm(shape, mpp_x, mpp_y):
    """Bounds and outline agree; the slide's corner is at -0.5 px; oblong pixels keep the shape in mm."""
    mpp = (mpp_x, mpp_y)
    center_l0 = np.array([(9_000.0, 7_000.0), (9_100.0, 7_050.0)])
    hotspot = find_hotspot(mm_from_l0(center_l0, mpp), size_mm=slide_mm((90_000, 80_000), mpp), shape=shape)
    x, y, w, h = hotspot.bounds_l0(mpp)
    outline = hotspot.outline_l0(mpp)
    assert outline.min(axis=0) == pytest.approx([x, y])
    assert outline.max(axis=0) == pytest.approx([x + w, y + h])
    assert (w * mpp_x, h * mpp_y) == pytest.approx(tuple(1000 * s for s in hotspot.size_mm))
    assert x + w / 2 == pytest.approx(hotspot.center_mm[0] * 1000 / mpp_x - 0.5)
    following = np.roll(outline, -1, axis=0)
    turned = (outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]).sum() / 2
    assert turned * mpp_x * mpp_y / 1e6 == pytest.approx(2.0, rel=2e-3)


def test_the_corner_of_the_slide_is_half_a_pixel_before_its_first_centre():
    """Frame of the mm."""
    assert mm_from_l0(np.array([(-0.5, -0.5), (999.5, 499.5)]), (0.25, 0.5)).tolist() == [[0, 0], [0.25, 0.25]]
    assert slide_mm((1000, 500), (0.25, 0.5)) == (0.25, 0.25)
