"""Laws of regions, tiles, lattices and the two frames."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.geometry import (
    Region,
    lattice,
    mm2_from_px2,
    px_from_um,
    rescale_points,
    tiles_over,
    um_from_px,
)

MPP = st.floats(0.05, 5.0)
REGIONS = st.builds(Region, x=st.integers(-50, 50), y=st.integers(-50, 50), w=st.integers(0, 90), h=st.integers(0, 90))


@given(REGIONS, st.integers(1, 40), st.integers(0, 30))
def test_cores_partition_and_halos_stay_inside(region, core, margin):
    """Every pixel of a region is in one core; each halo is the core grown by the margin, inside the region."""
    owners = np.zeros((region.h, region.w), dtype=int)
    for tile in tiles_over(region, core=core, margin=margin):
        own = tile.core
        owners[own.y - region.y : own.y - region.y + own.h, own.x - region.x : own.x - region.x + own.w] += 1
        assert max(own.w, own.h) <= core
        assert tile.halo == own.grow(margin).clip(region)
        assert own.clip(tile.halo) == own
    assert (owners == 1).all()


@given(REGIONS)
def test_points_belong_to_one_core(region):
    """A point inside a region lies in exactly one core, those on a seam included."""
    points = np.array([(x / 2, y / 2) for x in range(-20, 20, 3) for y in range(-20, 20, 3)])
    inside = region.holds(points)
    hits = sum((tile.core.holds(points).astype(int) for tile in tiles_over(region, core=7, margin=0)), 0 * inside)
    assert (hits == inside).all()


@given(
    st.lists(st.integers(0, 400), min_size=2, max_size=8, unique=True).map(sorted),
    st.sampled_from([0.1, 0.2273, 0.25, 0.5]),
    st.floats(0.06, 2.0),
)
def test_lattices_of_a_partition_partition_the_rendering(cuts, mpp_l0, mpp):
    """Columns of consecutive strips at any resolution follow one another without gap or overlap."""
    whole = lattice(Region(x=cuts[0], y=0, w=cuts[-1] - cuts[0], h=10), mpp_l0=mpp_l0, mpp=mpp)
    parts = [lattice(Region(x=a, y=0, w=b - a, h=10), mpp_l0=mpp_l0, mpp=mpp) for a, b in pairwise(cuts)]
    columns = [x for part in parts for x in range(part.x, part.x + part.w)]
    assert columns == list(range(whole.x, whole.x + whole.w))


@given(REGIONS, st.sampled_from([0.2273, 0.25]), st.floats(0.1, 2.0))
def test_lattice_pixels_have_their_centre_inside(region, mpp_l0, mpp):
    """Pixel j is in the lattice of a region just where its centre on level 0 is: counted one by one."""
    block = lattice(region, mpp_l0=mpp_l0, mpp=mpp)
    js = np.arange(-1500, 1500)
    edge = (js + 0.5) * (mpp / mpp_l0)
    clear = (np.abs(edge - region.x) > 1e-6) & (np.abs(edge - region.x - region.w) > 1e-6)
    inside = (edge >= region.x) & (edge < region.x + region.w)
    listed = (js >= block.x) & (js < block.x + block.w)
    assert (inside == listed)[clear].all()


@given(MPP, MPP, st.integers(0, 1000))
def test_points_come_back(mpp_a, mpp_b, seed):
    """To another resolution and back is the identity, and the corner (-0.5, -0.5) never moves."""
    points = np.random.default_rng(seed).uniform(-100, 5000, (5, 2))
    there = rescale_points(points, mpp_from=mpp_a, mpp_to=mpp_b)
    assert np.allclose(rescale_points(there, mpp_from=mpp_b, mpp_to=mpp_a), points, atol=1e-6)
    assert (rescale_points(np.full((1, 2), -0.5), mpp_from=mpp_a, mpp_to=mpp_b) == -0.5).all()


def test_units():
    """20 um are 80 px at 0.25 um/px; 4000 x 4000 px there are 1 mm2."""
    assert px_from_um(20, 0.25) == 80
    assert um_from_px(80, 0.25) == 20
    assert mm2_from_px2(4000 * 4000, 0.25) == 1


def test_impossible_regions_and_tiles_are_refused():
    """No region has a negative size, no tile an empty core."""
    with pytest.raises(ValueError, match="negative"):
        Region(x=0, y=0, w=-1, h=2)
    with pytest.raises(ValueError, match="core"):
        next(tiles_over(Region(x=0, y=0, w=5, h=5), core=0, margin=0))


@given(REGIONS, st.floats(0.1, 0.6), st.floats(0.1, 0.6), st.floats(0.1, 2.0))
def test_axes_are_independent(region, mpp_x, mpp_y, mpp):
    """With a resolution of its own, each axis has the lattice and the points that square pixels of it would have."""
    block = lattice(region, mpp_l0=(mpp_x, mpp_y), mpp=mpp)
    along_x, along_y = lattice(region, mpp_l0=mpp_x, mpp=mpp), lattice(region, mpp_l0=mpp_y, mpp=mpp)
    assert (block.x, block.w, block.y, block.h) == (along_x.x, along_x.w, along_y.y, along_y.h)
    points = np.array([[3.0, 7.5], [-2.0, 100.0]])
    moved = rescale_points(points, mpp_from=mpp, mpp_to=(mpp_x, mpp_y))
    assert np.allclose(moved[:, 0], rescale_points(points, mpp_from=mpp, mpp_to=mpp_x)[:, 0])
    assert np.allclose(moved[:, 1], rescale_points(points, mpp_from=mpp, mpp_to=mpp_y)[:, 1])
