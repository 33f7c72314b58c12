"""Laws of the stride grid: cells cover everything, each once, and only dark ones are looked at where that is asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.geometry import Region
from mitosieve.patch.frames import Frame
from mitosieve.sieve.propose.contract import Tile
from mitosieve.sieve.propose.grid import GridProposer, covering_centers

SIZE = (150, 130)


def a_tile(core, pixels, margin):
    """A core of a slide of SIZE px, with a margin all round."""
    left, top = core.x, core.y  # of `pixels`, whose own margin is before the slide's corner
    plane = pixels[top : top + core.h + 2 * margin, left : left + core.w + 2 * margin]
    frame = Frame(pixels=plane, origin_px=(core.x - margin, core.y - margin))
    return Tile(
        core=core, whole=Region(x=0, y=0, w=SIZE[0], h=SIZE[1]), plane=frame, mpp=0.25, frame_mpp=0.25, near=None
    )


def glass(margin):
    return np.full((SIZE[1] + 2 * margin, SIZE[0] + 2 * margin, 3), 240, dtype=np.uint8)


@pytest.mark.parametrize("stride", [16, 32, 64])
def test_tiles_share_out_every_cell(stride):
    """Tiles that partition a slide own each centre of its grid once; what stands out belongs to the edge."""
    proposer = GridProposer(stride_px=stride)
    margin = proposer.margin_px(0, 0.25)
    cores = [Region(x=x, y=y, w=75, h=65) for y in (0, 65) for x in (0, 75)]
    found = np.concatenate([proposer.places(a_tile(core, glass(margin), margin), 0.0) for core in cores])
    every = covering_centers(SIZE, stride_px=stride)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, every.tolist()))


def test_only_cells_near_something_dark_are_looked_at():
    """A dark spot keeps its own cell and may keep those beside it; cells two strides away are light."""
    proposer = GridProposer(stride_px=16, min_darkness=0.5)
    margin = proposer.margin_px(0, 0.25)
    pixels = glass(margin)
    pixels[margin + 60 : margin + 72, margin + 80 : margin + 92] = 30
    found = proposer.places(a_tile(Region(x=0, y=0, w=SIZE[0], h=SIZE[1]), pixels, margin), 0.0)
    distance = np.abs(found - np.array([85.5, 65.5])).max(axis=1)
    assert 1 <= len(found) <= 9
    assert distance.min() <= 8
    assert distance.max() <= 32


def test_a_grid_says_what_it_looks_at():
    assert GridProposer(stride_px=64).describe(0.225) == "grid, stride 14.4 um"
    assert GridProposer(min_darkness=0.3).describe(0.25) == "grid, stride 8 um, cells of darkness 0.3 or more"


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 45).map(lambda half: 2 * half))
def test_covering_centres_reach_every_pixel(width, height, stride):
    """Each pixel lies within half a stride of exactly one centre, and what stands out does so alike at both ends."""
    centers = covering_centers((width, height), stride_px=stride)
    for axis, length in enumerate((width, height)):
        line = np.unique(centers[:, axis])
        distance = np.abs(np.arange(length)[:, None] - line[None])
        assert ((distance < stride / 2).sum(axis=1) == 1).all()
        before, after = -(line[0] - (stride - 1) / 2), line[-1] + (stride + 1) / 2 - length
        assert 0 <= before - after <= 1
        assert before < stride


@given(st.integers(1, 300), st.sampled_from([16, 32, 64]), st.sampled_from([64, 128]))
def test_covering_windows_start_at_whole_pixels(length, stride, side):
    """Windows of even side over an even stride are cut without interpolation."""
    corners = covering_centers((length, length + 3), stride_px=stride) - (side - 1) / 2
    assert (corners == np.round(corners)).all()
