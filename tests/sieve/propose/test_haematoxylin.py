"""Haematoxylin's components against plain searches: how much, which blobs, which merge."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mitosieve.sieve.propose.haematoxylin import (
    MIN_NUCLEUS_OD,
    STEPS_PER_OD,
    ComponentConfig,
    blurred_steps,
    find_components,
    haematoxylin_steps,
    nucleus_threshold,
)
from mitosieve.slide.stain import EOSIN_OD, HAEMATOXYLIN_OD, OD_OF_VALUE

PLAIN = ComponentConfig(mpp=0.5, blur_um=0, min_area_um2=0, merge_um=0)
PURPLE = np.rint(256 * np.exp(-0.9 * np.array(HAEMATOXYLIN_OD)) - 1).astype(np.uint8)


def noise(seed, width=120, height=90):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), 1.2), dtype=np.uint8)


def nuclei(places, side=100, radius=3, width=None):
    """Purple discs on white."""
    pixels = np.full((side, width or side, 3), 255, dtype=np.uint8)
    y, x = np.mgrid[:side, : width or side]
    for place in places:
        pixels[np.hypot(x - place[0], y - place[1]) <= radius] = PURPLE
    return pixels


def test_haematoxylin_is_what_the_stain_matrix_says():
    pixels = noise(0)
    stains = np.array([HAEMATOXYLIN_OD, EOSIN_OD, np.cross(HAEMATOXYLIN_OD, EOSIN_OD)])
    amount = np.linalg.solve(stains.T, OD_OF_VALUE[pixels].reshape(-1, 3).T)[0].reshape(pixels.shape[:2])
    expected = np.maximum(0, amount * HAEMATOXYLIN_OD[0] * STEPS_PER_OD)
    np.testing.assert_allclose(haematoxylin_steps(pixels), expected, atol=1.6)


@pytest.mark.parametrize(("stain", "expected"), [(HAEMATOXYLIN_OD, 0.65), (EOSIN_OD, 0.0), ((0, 0, 0), 0.0)])
def test_one_stain_alone_is_itself(stain, expected):
    pixel = np.clip(np.rint(256 * np.exp(-np.array(stain)) - 1), 0, 255).astype(np.uint8)[None, None]
    assert haematoxylin_steps(pixel)[0, 0] / STEPS_PER_OD == pytest.approx(expected, abs=0.02)


@settings(max_examples=20)
@given(seed=st.integers(0, 50), threshold=st.floats(0.2, 1.2), least=st.sampled_from([0.0, 1.25, 5.0]))
def test_components_are_those_of_a_plain_labelling(seed, threshold, least):
    pixels = noise(seed)
    mask = haematoxylin_steps(pixels) >= threshold * STEPS_PER_OD
    label, count = ndimage.label(mask, structure=np.ones((3, 3)))
    number = np.arange(1, count + 1)
    area = ndimage.sum_labels(mask, label, number) * 0.25
    center = np.array(ndimage.center_of_mass(mask, label, number)).reshape(-1, 2)[area >= least][:, ::-1]
    area = area[area >= least]
    order = np.lexsort((center[:, 0], center[:, 1]))
    found = find_components(pixels, threshold, PLAIN.model_copy(update={"min_area_um2": least}))
    np.testing.assert_allclose(found.center_px, center[order])
    np.testing.assert_allclose(found.area_um2, area[order])


@settings(max_examples=20)
@given(seed=st.integers(0, 50), merge_um=st.floats(0.5, 12))
def test_merging_takes_the_largest_first_and_the_plain_mean(seed, merge_um):
    pixels = noise(seed)
    single = find_components(pixels, 0.6, PLAIN)
    left = sorted(
        zip(single.area_um2, single.center_px[:, 1], single.center_px[:, 0], strict=True),
        key=lambda one: (-one[0], one[1], one[2]),
    )
    expected = []
    while left:
        seedling = left[0]
        group = [o for o in left if np.hypot(o[1] - seedling[1], o[2] - seedling[2]) * 0.5 < merge_um or o is seedling]
        left = [o for o in left if o not in group]
        expected.append((np.mean([o[1] for o in group]), np.mean([o[2] for o in group]), sum(o[0] for o in group)))
    merged = find_components(pixels, 0.6, PLAIN.model_copy(update={"merge_um": merge_um}))
    got = np.column_stack([merged.center_px[:, 1], merged.center_px[:, 0], merged.area_um2])
    np.testing.assert_allclose(got, np.array(sorted(expected)).reshape(-1, 3), rtol=1e-9)
    assert merged.area_um2.sum() == pytest.approx(single.area_um2.sum())


def test_nuclei_are_found_at_their_centres_and_near_ones_are_one():
    pixels = nuclei([(20, 20), (30, 20), (70, 60)])
    config = ComponentConfig(mpp=0.5, merge_um=0)
    np.testing.assert_allclose(find_components(pixels, 0.3, config).center_px, [[20, 20], [30, 20], [70, 60]])
    near = find_components(pixels, 0.3, config.model_copy(update={"merge_um": 5.1}))
    np.testing.assert_allclose(near.center_px, [[25, 20], [70, 60]])
    assert near.area_um2[0] == pytest.approx(2 * near.area_um2[1])


def test_a_blur_joins_grains():
    pixels = nuclei([(50, 50)], radius=8)
    pixels[:, ::3] = 255
    assert len(find_components(pixels, 0.3, PLAIN)) > 3
    assert len(find_components(pixels, 0.3, ComponentConfig(mpp=0.5, blur_um=1.5, merge_um=0))) == 1


def test_padding_is_no_nucleus():
    pixels = nuclei([(50, 50)], radius=8)
    pixels[80:] = 0
    np.testing.assert_allclose(find_components(pixels, 0.3, PLAIN).center_px, [[50, 50]])


@given(seed=st.integers(0, 20))
@settings(max_examples=10)
def test_the_threshold_is_otsus_of_all_parts_together(seed):
    config = ComponentConfig(blur_um=0)
    parts = [noise(seed), nuclei([(20, 20), (60, 50)]), noise(seed + 100, 33, 47)]
    level = np.concatenate([np.minimum(haematoxylin_steps(part) // 64, 255).ravel() for part in parts]).astype(np.uint8)
    otsu, _ = cv2.threshold(level[:, None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    found = nucleus_threshold(parts, config)
    assert found == nucleus_threshold(parts[::-1], config)
    assert found == pytest.approx(max(MIN_NUCLEUS_OD, (otsu + 1) / 64), abs=1e-9)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_plane_of_one_colour_has_the_least_threshold(value):
    assert nucleus_threshold([np.full((9, 9, 3), value, dtype=np.uint8)], ComponentConfig()) == MIN_NUCLEUS_OD


@given(x=st.integers(0, 60), y=st.integers(0, 40))
@settings(max_examples=15)
def test_blurred_haematoxylin_does_not_depend_on_the_cut(x, y):
    pixels, config = noise(5), ComponentConfig()
    reach = 10
    part = pixels[y : y + 50, x : x + 60]
    whole = blurred_steps(pixels, config)[y : y + 50, x : x + 60]
    inner = slice(reach, -reach)
    np.testing.assert_array_equal(blurred_steps(part, config)[inner, inner], whole[inner, inner])


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1)])
def test_planes_without_pixels_have_no_components(shape):
    pixels = np.full((*shape, 3), 255, dtype=np.uint8)
    assert len(find_components(pixels, nucleus_threshold([pixels], ComponentConfig()), ComponentConfig())) == 0
