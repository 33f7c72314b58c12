"""Laws of the stride grid: cells cover everything, each once, and only dark ones are looked at where that is asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.geometry import Region
from mitosieve.method.cascade.windows import window_centers
from mitosieve.network.config import ChsNetConfig
from mitosieve.patch.frames import Frame
from mitosieve.recipe.recipe import load_recipe
from mitosieve.sieve.config import DetectorConfig
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


@pytest.mark.parametrize("window", [0, 64])
@pytest.mark.parametrize("stride", [16, 32, 64])
def test_tiles_share_out_every_cell(stride, window):
    """Tiles that partition a slide own each centre of its grid once; what stands out belongs to the edge."""
    proposer = GridProposer(stride_px=stride, window_px=window)
    margin = proposer.margin_px(0, 0.25)
    cores = [Region(x=x, y=y, w=75, h=65) for y in (0, 65) for x in (0, 75)]
    found = np.concatenate([proposer.places(a_tile(core, glass(margin), margin), 0.0) for core in cores])
    every = covering_centers(SIZE, stride_px=stride)
    if window:
        every = window_centers(SIZE, patch_px=window, stride_px=stride)
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


def the_whole(size, pixels=None):
    """A slide as one tile; its pixels are not looked at unless they are given."""
    whole = Region(x=0, y=0, w=size[0], h=size[1])
    frame = Frame(pixels=np.zeros((1, 1, 3), dtype=np.uint8) if pixels is None else pixels, origin_px=(0, 0))
    return Tile(core=whole, whole=whole, plane=frame, mpp=0.25, frame_mpp=0.25, near=None)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([2, 8, 16, 30]), st.sampled_from([8, 16, 32]))
def test_whole_windows_are_those_that_fit(width, height, stride, side):
    """By brute force: every corner on the stride from the top left whose window does not leave the slide, by row."""
    found = GridProposer(stride_px=stride, window_px=side).places(the_whole((width, height)), 0.0)
    corners = [
        (x, y)
        for y in range(height)
        for x in range(width)
        if x % stride == 0 and y % stride == 0 and x + side <= width and y + side <= height
    ]
    assert (found - (side - 1) / 2).tolist() == [list(corner) for corner in corners]


def test_the_paper_tests_900_windows_of_a_frame():
    """30 by 30 of a frame of 2000 px, the first with its centre at 63.5; the padded grid has 1,024."""
    paper = load_recipe("chsnet-paper").cascade.proposer
    found = paper.places(the_whole((2000, 2000)), 0.0)
    assert found.shape == (900, 2)
    assert found[0].tolist() == [63.5, 63.5]
    assert found[-1].tolist() == [1919.5, 1919.5]
    assert np.array_equal(found, window_centers((2000, 2000), patch_px=128, stride_px=64))
    padded = paper.model_copy(update={"window_px": 0})
    assert len(padded.places(the_whole((2000, 2000)), 0.0)) == 1024


def test_what_the_paper_recipe_says_of_the_border():
    """No centre within 30 px (7.5 um) of the first 34 px nor of the last 50; 36 % of a frame is out of reach."""
    line = np.unique(window_centers((2000, 2000), patch_px=128, stride_px=64)[:, 0])
    near = np.abs(np.arange(2000)[:, None] - line[None]).min(axis=1) <= 30
    reached = np.flatnonzero(near)
    assert (reached[0], 1999 - reached[-1]) == (34, 50)
    assert 1 - 900 * np.pi * 30**2 / 2000**2 == pytest.approx(0.364, abs=1e-3)


def test_a_grid_of_before_is_the_grid_that_covers():
    """A detector that was written without the key looks where it looked."""
    stage = {"name": "refined", "network": ChsNetConfig().model_dump()}
    written = {"proposer": {"kind": "grid", "stride_px": 64}, "stages": [stage]}
    old = DetectorConfig.model_validate(written).proposer
    assert np.array_equal(old.places(the_whole((300, 200)), 0.0), covering_centers((300, 200), stride_px=64))
    assert old == GridProposer(stride_px=64)


def test_a_grid_says_what_it_looks_at():
    assert GridProposer(stride_px=64, window_px=128).describe(0.25) == "grid of whole windows of 32 um, stride 16 um"
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
