"""Laws of proposing nuclei: the cut is a density, and only what lies near tissue is named."""

import numpy as np
import pytest

from mitosieve.geometry import Region
from mitosieve.patch.frames import Frame
from mitosieve.sieve.near_tissue import is_near
from mitosieve.sieve.propose.contract import Tile
from mitosieve.sieve.propose.nuclei import NucleiProposer
from mitosieve.sieve.propose.spots import ContrastConfig, contrast_maxima
from mitosieve.slide.tissue import Tissue

CORE = Region(x=100, y=60, w=240, h=200)
MARGIN = 80


def a_tile(seed=0, near=None, frame_mpp=0.25):
    """Noise round CORE, in a plane of 0.5 um/px."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(40, 240, (CORE.h + 2 * MARGIN, CORE.w + 2 * MARGIN, 3), dtype=np.uint8)
    plane = Frame(pixels=pixels, origin_px=(CORE.x - MARGIN, CORE.y - MARGIN))
    whole = Region(x=0, y=0, w=800, h=800)
    return Tile(core=CORE, whole=whole, plane=plane, mpp=0.5, frame_mpp=frame_mpp, near=near)


class Blocks:
    """A sample of blocks whose tissue is 0.05 mm2 together."""

    area_mm2 = 0.05

    def tiles(self):
        return (a_tile(seed) for seed in range(3))


@pytest.mark.parametrize("per_mm2", [200.0, 1600.0])
def test_the_cut_leaves_so_many_of_the_sample(per_mm2):
    """Of all spots of all blocks those above the cut are `per_mm2` times the sample's tissue area."""
    proposer = NucleiProposer(contrast=ContrastConfig(per_mm2=per_mm2))
    cut = proposer.cut(Blocks())
    left = sum(len(proposer.places(tile, cut)) for tile in Blocks().tiles())
    assert left == per_mm2 * Blocks.area_mm2


def test_places_are_the_spots_of_the_core_near_tissue():
    """Those of the whole plane that the core holds, on the slide's lattice, strongest first; told in the frame's px."""
    mask = np.zeros((50, 50), dtype=bool)
    mask[:, :14] = True
    near = Tissue(mask=mask, mpp=8.0)
    tile = a_tile(near=near)
    local, value = contrast_maxima(tile.plane.pixels, ContrastConfig())
    center = local + np.array(tile.plane.origin_px)
    owned = CORE.holds(center) & is_near(near, (center + 0.5) * 0.5)
    assert 0 < owned.sum() < CORE.holds(center).sum()
    np.testing.assert_allclose(NucleiProposer().places(tile, 0.0), (center[owned] + 0.5) * 2 - 0.5)
    middle = float(np.median(value[owned]))
    assert len(NucleiProposer().places(tile, middle)) == (value[owned] >= middle).sum()


def test_settled_places_are_near_where_they_were():
    """Each moves 3 um at most."""
    tile = a_tile()
    center, _ = contrast_maxima(tile.plane.pixels, ContrastConfig())
    center = center[(center > 20).all(axis=1) & (center < 300).all(axis=1)]
    moved = NucleiProposer().settle(tile.plane.pixels, center)
    assert 0 < np.linalg.norm(moved - center, axis=1).max() <= 3.0 / 0.5


def test_it_says_what_it_looks_at():
    assert NucleiProposer().describe(0.25) == "nuclei, 1600 per mm2 of tissue by red contrast at 0.5 um/px"
