"""Dark spots: found where they are, in every plane alike, whatever the stain's strength."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mitosieve.sieve.propose.nuclei import TRAVELLING
from mitosieve.sieve.propose.spots import (
    COARSE_PX,
    MOVE_UM,
    ContrastConfig,
    contrast_cut,
    contrast_maxima,
    reach_px,
    recentre,
)
from mitosieve.slide.stain import OD_OF_VALUE

SIDE_PX = 448

CONFIGS = [
    ContrastConfig(),
    ContrastConfig(channel="haematoxylin"),
    ContrastConfig(small_um=1.3, large_um=9.0, spacing_um=2.5, emphasis=1.0),
    ContrastConfig(small_um=8.0, large_um=20.0, spacing_um=7.0, emphasis=2.0),
    TRAVELLING.contrast,
]
"""The third has boxes of unequal width; the fourth needs more than 32 bits; the last is relative."""


def tissue(seed, width=SIDE_PX, height=SIDE_PX):
    """Noise at the scales of cells, grain and staining, with flat glass in one corner."""
    generator = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 200.0)
    for sigma, strength in ((0.8, 12), (5, 45), (40, 30)):
        noise = cv2.GaussianBlur(generator.standard_normal((height, width)), (0, 0), sigma)
        pixels += (strength * noise / noise.std())[..., None] * np.array([1.0, 1.2, 0.6])
    pixels[: height // 4, : width // 3] = 240
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def inside(found, x0, y0, x1, y1):
    center, value = found
    mine = (center >= [x0, y0]).all(axis=1) & (center < [x1, y1]).all(axis=1)
    return center[mine], value[mine]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 3))
def test_a_part_holds_exactly_what_the_whole_holds_there(data, config, seed):
    whole = tissue(seed)
    reach = reach_px(config)
    x0, y0 = (data.draw(st.integers(0, SIDE_PX - 8)) for _ in "xy")
    x1, y1 = data.draw(st.integers(x0 + 1, SIDE_PX)), data.draw(st.integers(y0 + 1, SIDE_PX))
    left, top = (max(0, (edge - reach) // COARSE_PX * COARSE_PX) for edge in (x0, y0))
    part = whole[top : y1 + reach, left : x1 + reach]
    center, value = contrast_maxima(part, config)
    got = inside((center + np.array([left, top]), value), x0, y0, x1, y1)
    expected = inside(contrast_maxima(whole, config), x0, y0, x1, y1)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_tiles_together_are_the_whole():
    whole, config = tissue(7, 620, 500), ContrastConfig()
    reach = reach_px(config)
    parts = []
    for y in range(0, 500, 200):
        for x in range(0, 620, 200):
            left, top = (max(0, (edge - reach) // COARSE_PX * COARSE_PX) for edge in (x, y))
            center, value = contrast_maxima(whole[top : y + 200 + reach, left : x + 200 + reach], config)
            parts.append(np.column_stack(inside((center + np.array([left, top]), value), x, y, x + 200, y + 200)))
    center, value = contrast_maxima(whole, config)
    rows = np.concatenate(parts)
    rows = rows[np.lexsort((rows[:, 0], rows[:, 1], -rows[:, 2]))]
    assert len(center) > 50
    np.testing.assert_array_equal(rows, np.column_stack([center, value]))


@pytest.mark.parametrize("config", CONFIGS)
def test_spots_keep_their_distance_and_lie_between_pixels(config):
    center, value = contrast_maxima(tissue(1), config)
    distance = np.hypot(*(center[:, None] - center).transpose(2, 0, 1)) + 1e9 * np.eye(len(center))
    assert len(center) > 10
    assert distance.min() * config.mpp >= config.spacing_um
    np.testing.assert_array_equal(center % 1, 0.5)
    assert (value > 0).all()
    order = np.lexsort((center[:, 0], center[:, 1], -value))
    np.testing.assert_array_equal(order, np.arange(len(value)))


def test_contrast_is_the_blurred_power_of_density_less_that_of_its_surroundings():
    """Against floating-point blurs without tables, whole numbers or grids."""
    config = ContrastConfig()
    pixels = tissue(2)
    density = np.minimum(OD_OF_VALUE, 4.0)[pixels[..., 0]] ** config.emphasis
    fine = cv2.blur(cv2.blur(cv2.resize(density, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (5, 5)), (5, 5))
    coarse = cv2.resize(density, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    coarse = cv2.blur(cv2.blur(coarse, (5, 5)), (5, 5))
    expected = fine - cv2.resize(coarse, fine.shape[::-1], interpolation=cv2.INTER_LINEAR)
    center, value = inside(contrast_maxima(pixels, config), 80, 80, SIDE_PX - 80, SIDE_PX - 80)
    x, y = ((center - 0.5) / 2).astype(int).T
    assert len(value) > 20
    np.testing.assert_allclose(value, expected[y, x], atol=2e-3)


def test_relative_contrast_is_the_excess_over_the_surroundings_and_a_floor():
    """Against floating-point blurs, as above."""
    config = ContrastConfig(floor_od=0.4)
    pixels = tissue(2)
    density = np.minimum(OD_OF_VALUE, 4.0)[pixels[..., 0]] ** config.emphasis
    fine = cv2.blur(cv2.blur(cv2.resize(density, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (5, 5)), (5, 5))
    coarse = cv2.resize(density, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.blur(cv2.blur(coarse, (5, 5)), (5, 5)), fine.shape[::-1], interpolation=cv2.INTER_LINEAR)
    expected = (fine - around) / (around + 0.4**config.emphasis)
    center, value = inside(contrast_maxima(pixels, config), 80, 80, SIDE_PX - 80, SIDE_PX - 80)
    x, y = ((center - 0.5) / 2).astype(int).T
    assert len(value) > 20
    np.testing.assert_allclose(value, expected[y, x], atol=2e-2)


def a_field_of(figure, seed=0):
    """OD (h, w) of a crowd of dark nuclei, with nine pale cells among them that hold `figure`; their middles, px."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:800, :800].astype(np.float32)
    od = np.full((800, 800), 0.35, dtype=np.float32)
    middle = [(a, b) for a in (133, 400, 667) for b in (133, 400, 667)]
    for left, top in generator.uniform(10, 790, (500, 2)):
        if min(np.hypot(left - a, top - b) for a, b in middle) > 45:
            od[np.hypot(x - left, y - top) < 8] = generator.uniform(0.9, 1.3)
    for a, b in middle:
        away = np.hypot(x - a, y - b)
        od[away < 34] = 0.12
        figure(od, x - a, y - b, generator)
    return cv2.GaussianBlur(od, (0, 0), 1.2), np.array(middle, dtype=float)


def a_pale_plate(od, u, v, generator):
    """A plate of 8 um, as dark as the paler of the nuclei round it and much smaller."""
    od[(abs(u) < 8) & (abs(v) < 2.5)] = 0.85


def a_huge_nucleus(od, u, v, generator):
    """A pale nucleus of 20 um with chromatin in clumps of 3 um, as dark as the paler of the nuclei round it."""
    od[np.hypot(u, v) < 20] = 0.25
    for left, top in generator.uniform(-13, 13, (10, 2)):
        od[np.hypot(u - left, v - top) < 3] = 0.95


def found_at(od, middle, config, per_mm2):
    """Which figures are within 7.5 um of the field's strongest spots, so many per mm2."""
    pixels = np.repeat(np.clip(np.rint(256 * np.exp(-od) - 1), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    center, _ = contrast_maxima(pixels, config)
    chosen = center[: round(per_mm2 * 0.16)]
    return np.linalg.norm(chosen[:, None] - middle, axis=2).min(axis=0) * 0.5 <= 7.5


@pytest.mark.parametrize("figure", [a_pale_plate, a_huge_nucleus])
@pytest.mark.parametrize("seed", range(3))
def test_pale_and_huge_figures_are_found_among_dark_nuclei(figure, seed):
    """Pale chromatin in a pale cell counts by its surroundings: all are found, by plain contrast fewer than half."""
    od, middle = a_field_of(figure, seed)
    assert found_at(od, middle, ContrastConfig(), 2000).mean() < 0.5
    assert found_at(od, middle, TRAVELLING.contrast, 2000).all()


def test_specks_on_glass_are_no_match_for_chromatin():
    """The floor of relative contrast keeps the specks of glass below every nucleus; without one they are among them."""
    specks = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (800, 800)), (0, 0), 1.5)
    od = np.abs(specks) * 0.1 / specks.std()
    od[:400] = a_field_of(a_pale_plate)[0][:400]
    pixels = np.repeat(np.clip(np.rint(256 * np.exp(-od) - 1), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    center, _ = contrast_maxima(pixels, TRAVELLING.contrast)
    assert (center[:160, 1] < 404).all()
    assert (center[:, 1] > 420).sum() > 500
    center, _ = contrast_maxima(pixels, TRAVELLING.contrast.model_copy(update={"floor_od": 0.05}))
    assert (center[:160, 1] > 420).any()


def test_a_dark_spot_is_found_at_its_place():
    y, x = np.mgrid[:240, :240]
    pixels = np.repeat(np.where(np.hypot(x - 100.5, y - 140.5) < 7, 60, 220).astype(np.uint8)[..., None], 3, axis=2)
    center, _ = contrast_maxima(pixels, ContrastConfig())
    np.testing.assert_array_equal(center[0], [100.5, 140.5])


def test_a_stronger_stain_leaves_the_places_and_their_order():
    """OD scaled by 1.6: the same spots are chosen, up to the rounding of pixels to 256 values."""
    config = ContrastConfig(per_mm2=1000)
    pale = tissue(3, 1024, 1024)
    dark = np.clip(np.rint(256 * np.exp(-1.6 * OD_OF_VALUE) - 1), 0, 255).astype(np.uint8)[pale]
    area = 0.512**2
    chosen = []
    for pixels in (pale, dark):
        center, value = contrast_maxima(pixels, config)
        chosen.append(center[value >= contrast_cut([value], area, config)])
    distance = np.hypot(*(chosen[0][:, None] - chosen[1]).transpose(2, 0, 1)) * config.mpp
    assert len(chosen[0]) == len(chosen[1]) == np.ceil(1000 * area)
    assert (distance.min(axis=1) < 1.5).mean() > 0.98


def test_a_plateau_is_one_spot_and_flat_glass_is_none_but_by_its_edge():
    flat = np.full((160, 160, 3), 230, dtype=np.uint8)
    pair = flat.copy()
    pair[80:82, 60:62] = pair[80:82, 66:68] = 20
    center, _ = contrast_maxima(pair, ContrastConfig(spacing_um=5.0, small_um=1.0))
    dark = center[(abs(center - [64, 80.5]) < 8).all(axis=1)]
    np.testing.assert_array_equal(dark, [[60.5, 80.5]])
    assert len(contrast_maxima(np.full_like(flat, 255), ContrastConfig())[0]) == 0


@pytest.mark.parametrize("shape", [(0, 0), (0, 9), (1, 1), (3, 2), (7, 40)])
def test_planes_smaller_than_a_cell_are_no_error(shape):
    center, value = contrast_maxima(np.zeros((*shape, 3), dtype=np.uint8), ContrastConfig())
    assert center.shape == (len(value), 2)
    assert center.dtype == np.float64
    assert value.dtype == np.float32


@given(
    parts=st.lists(st.lists(st.floats(0, 9, width=32), max_size=30), max_size=4),
    area=st.floats(0, 0.02),
)
def test_the_cut_leaves_as_many_as_asked_for(parts, area):
    config = ContrastConfig(per_mm2=1000)
    values = [np.array(part, dtype=np.float32) for part in parts]
    pooled = np.concatenate([np.zeros(0, dtype=np.float32), *values])
    cut = contrast_cut(values, area, config)
    wanted = min(np.ceil(1000 * area), len(pooled))
    assert (pooled >= cut).sum() >= wanted
    if cut > 0:
        assert (pooled > cut).sum() < wanted


def test_scales_that_are_not_of_cells_are_refused():
    with pytest.raises(ValidationError, match="large_um must be larger"):
        ContrastConfig(small_um=12, large_um=11)
    with pytest.raises(ValidationError, match="margin"):
        ContrastConfig(mpp=0.05, large_um=200)
    assert reach_px(ContrastConfig()) * 0.5 <= 40


@settings(max_examples=15, deadline=None)
@given(data=st.data(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 3))
def test_a_spot_moves_alike_in_every_plane(data, config, seed):
    whole, reach = tissue(seed), reach_px(config)
    x, y = (data.draw(st.integers(0, SIDE_PX - 8)) for _ in "xy")
    left, top = (max(0, (edge - reach) // COARSE_PX * COARSE_PX) for edge in (x, y))
    spots, _ = inside(contrast_maxima(whole, config), x, y, x + 150, y + 150)
    part = whole[top : y + 150 + reach, left : x + 150 + reach]
    origin = np.array([left, top])
    np.testing.assert_array_equal(recentre(part, spots - origin, config) + origin, recentre(whole, spots, config))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_spot_moves_little_to_where_it_is_darker(config):
    """Against a search of every block within reach, in the blurred plane."""
    pixels = tissue(4)
    spots, _ = inside(contrast_maxima(pixels, config), 40, 40, SIDE_PX - 40, SIDE_PX - 40)
    moved = recentre(pixels, spots, config)
    assert (np.hypot(*(moved - spots).T) * config.mpp <= MOVE_UM).all()
    np.testing.assert_array_equal(moved % 1, 0.5)
    if config.channel == "red":
        density = cv2.resize(np.minimum(OD_OF_VALUE, 4)[pixels[..., 0]], None, fx=0.5, fy=0.5, interpolation=3)
        dark = cv2.blur(cv2.blur(density, (5, 5)), (7, 7))
        y, x = np.mgrid[: SIDE_PX // 2, : SIDE_PX // 2]
        for before, after in zip((spots - 0.5) / 2, (moved - 0.5) / 2, strict=True):
            near = np.hypot(x - before[0], y - before[1]) <= 3
            assert dark[int(after[1]), int(after[0])] >= dark[near].max() - 1e-4


def test_a_spot_on_one_plate_of_two_moves_to_between_them():
    y, x = np.mgrid[:160, :160]
    shade = np.full((160, 160), 220, dtype=np.uint8)
    shade[(abs(y - 80.5) < 9) & (abs(abs(x - 80.5) - 5) < 2.5)] = 60
    pixels = np.repeat(shade[..., None], 3, axis=2)
    moved = recentre(pixels, np.array([[76.5, 80.5]]), ContrastConfig())
    assert (abs(moved - 80.5) <= 2).all()


def test_no_spots_stay_none():
    assert recentre(tissue(0, 64, 64), np.zeros((0, 2)), ContrastConfig()).shape == (0, 2)
