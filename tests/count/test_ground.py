"""Laws of the tissue that is kept with a slide's counts."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mitosieve.count.ground import CELL_UM, Ground
from mitosieve.count.hotspot import Hotspot


def a_region(shape, center_mm, size_mm):
    area = np.pi * size_mm[0] ** 2 / 4 if shape == "circle" else size_mm[0] * size_mm[1]
    return Hotspot(shape=shape, center_mm=center_mm, size_mm=size_mm, area_mm2=area, count=3)


def by_points(mask, mpp, spot, per_px=8):
    """The oracle: points laid evenly over the mask, those in the region and on tissue."""
    fine = np.repeat(np.repeat(mask, per_px, axis=0), per_px, axis=1)
    rows, columns = np.nonzero(fine)
    mm = np.stack([columns + 0.5, rows + 0.5], axis=1) * mpp / per_px / 1000
    return spot.holds(mm).sum() * (mpp / per_px / 1000) ** 2


@pytest.mark.parametrize("shape", ["square", "rectangle", "circle"])
@pytest.mark.parametrize("mpp", [8.0, 3.0, 40.0])
def test_tissue_in_a_region_is_that_of_the_mask(shape, mpp):
    """To the cells that the region's edge cuts; what lies beyond the slide is none."""
    generator = np.random.default_rng(int(mpp))
    size_px = round(900 / mpp), round(700 / mpp)
    mask = np.kron(generator.random((7, 9)) < 0.6, np.ones((13, 13))).astype(bool)[: size_px[1], : size_px[0]]
    ground = Ground.of(mask, mpp)
    assert mpp <= 1000 * ground.cell_mm <= max(mpp, 1.5 * CELL_UM)
    for _ in range(20):
        size = (0.3, 0.3) if shape != "rectangle" else (0.4, 0.3)
        spot = a_region(shape, tuple(generator.uniform(0, 0.9, 2)), size)
        bound = 2 * sum(size) * ground.cell_mm / 3
        assert ground.tissue_mm2(spot) == pytest.approx(by_points(mask, mpp, spot), abs=bound)


@pytest.mark.parametrize("shape", ["square", "circle"])
def test_a_region_full_of_tissue_holds_its_area_and_one_on_glass_nothing(shape):
    """Whatever cells its edge cuts."""
    spot = a_region(shape, (1.2345, 1.3456), (1.4142, 1.4142))
    assert Ground.of(np.ones((400, 400), dtype=bool), 8.0).tissue_mm2(spot) == pytest.approx(spot.area_mm2, rel=2e-3)
    assert Ground.of(np.zeros((400, 400), dtype=bool), 8.0).tissue_mm2(spot) == 0


@pytest.mark.parametrize("shape", ["square", "circle"])
@pytest.mark.parametrize("size_px", [(66, 66), (64, 71), (65, 178), (190, 67)])
def test_at_the_border_of_a_slide_all_of_a_region_is_tissue_where_all_of_the_slide_is(shape, size_px):
    """The last cells of a row and a column have fewer pixels, and less than a cell's area."""
    ground = Ground.of(np.ones(size_px, dtype=bool), 8.0)
    height, width = (0.008 * length for length in size_px)
    for x, y in ((width - 0.1, height - 0.1), (width - 0.1, 0.1), (0.1, height - 0.1), (width / 2, height / 2)):
        spot = a_region(shape, (x, y), (0.2, 0.2))
        exact = spot.area_mm2
        assert ground.tissue_mm2(spot) == pytest.approx(exact, rel=1e-9 if shape == "square" else 5e-3)


def test_what_is_kept_reads_back_and_is_small():
    """Through JSON; a large slide with ragged islands is some tens of thousands of letters."""
    rows, columns = np.mgrid[:2000, :3000]
    mask = np.sin(rows / 90 + np.cos(columns / 50)) + np.cos(columns / 130) > 0.5
    ground = Ground.of(mask, 8.0)
    assert Ground.from_json(json.loads(json.dumps(ground.to_json()))) == ground
    assert Ground.from_json(None) is None
    assert len(ground.packed) < 60_000
    with pytest.raises(ValueError, match="reshape"):
        Ground.from_json({**ground.to_json(), "shape": [3, 4]})
    with pytest.raises(ValueError, match="do not fill"):
        Ground.from_json({**ground.to_json(), "mask_px": [10, 3000]})
    before = {name: value for name, value in ground.to_json().items() if name != "mask_px"}
    assert Ground.from_json(before).to_json() == before


def test_a_region_without_a_figure_has_no_place_to_measure():
    """It lies in the slide's middle and says nothing; one with figures keeps all but its tissue."""
    ground = Ground.of(np.ones((400, 400), dtype=bool), 8.0)
    spot = a_region("square", (1.5, 1.5), (1.0, 1.0))
    assert ground.measured(replace(spot, count=0)).tissue_mm2 is None
    assert replace(ground.measured(spot), tissue_mm2=None) == spot
