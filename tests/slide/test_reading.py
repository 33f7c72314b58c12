"""Laws of reading at a resolution."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from build_files import a_picture
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.geometry import Region, rescale_points
from mitosieve.slide import image
from mitosieve.slide.plain import PlainSlide

MPPS = [0.13, 0.2, 0.25, 0.3, 0.37, 0.5, 1.0, 2.3]


def a_slide(tmp_path, pixels, mpp=0.25):
    return PlainSlide(slide_id="s", path=tmp_path / "s.png", mpp=mpp, pixels=pixels)


def cuts(generator, length):
    return [0, *sorted(generator.integers(0, length + 1, 3).tolist()), length]


@given(seed=st.integers(0, 10_000), mpp=st.sampled_from(MPPS))
def test_parts_equal_the_whole(tmp_path_factory, seed, mpp):
    """Any partition of a slide, read piece by piece at any resolution, equals the whole up to one grey level."""
    generator = np.random.default_rng(seed)
    slide = a_slide(tmp_path_factory.getbasetemp(), a_picture(90, 70, seed))
    whole = slide.read(mpp=mpp).astype(int)
    xs, ys = cuts(generator, 90), cuts(generator, 70)
    rows = [
        np.concatenate([slide.read(Region(x=x, y=y, w=x1 - x, h=y1 - y), mpp) for x, x1 in pairwise(xs)], axis=1)
        for y, y1 in pairwise(ys)
    ]
    joined = np.concatenate(rows, axis=0).astype(int)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() <= 1


@pytest.mark.parametrize("mpp", MPPS)
def test_large_regions_are_rendered_by_parts(tmp_path, monkeypatch, mpp):
    """The bound on memory does not show in the pixels."""
    slide = a_slide(tmp_path, a_picture(200, 150))
    whole = slide.read(mpp=mpp).astype(int)
    monkeypatch.setattr(image, "MAX_READ_PX", 2000)
    assert np.abs(slide.read(mpp=mpp).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("mpp", MPPS)
def test_a_dot_keeps_its_place_in_um(tmp_path, mpp):
    """The centroid of a dot lies where the geometry says, at any resolution, within 0.15 level-0 px."""
    pixels = np.full((200, 240, 3), 255, dtype=np.uint8)
    x, y = 130.0, 80.0
    cv2.circle(pixels, (int(x), int(y)), 30, (0, 0, 0), -1, cv2.LINE_AA)
    dark = 255.0 - a_slide(tmp_path, pixels).read(mpp=mpp)[..., 0]
    rows, columns = np.mgrid[: dark.shape[0], : dark.shape[1]]
    found = np.array([[(columns * dark).sum(), (rows * dark).sum()]]) / dark.sum()
    back = rescale_points(found, mpp_from=mpp, mpp_to=0.25)
    assert back[0] == pytest.approx([x, y], abs=0.15)


@pytest.mark.parametrize("mpp", MPPS)
def test_size_follows_the_resolution(tmp_path, mpp):
    """A slide rendered at a resolution has its size in um, to half a pixel."""
    read = a_slide(tmp_path, a_picture(233, 171)).read(mpp=mpp)
    assert read.shape[1] * mpp == pytest.approx(233 * 0.25, abs=0.51 * mpp)
    assert read.shape[0] * mpp == pytest.approx(171 * 0.25, abs=0.51 * mpp)


def test_own_resolution_is_untouched(tmp_path):
    """Level 0 asked for by its resolution is the stored pixels."""
    pixels = a_picture()
    assert np.array_equal(a_slide(tmp_path, pixels).read(mpp=0.25), pixels)


@pytest.mark.parametrize("mpp", [0.5, 1.0, 2.0])
def test_shrinking_does_not_alias(tmp_path, mpp):
    """Lines finer than a pixel average to grey instead of becoming broad bands."""
    pixels = np.zeros((400, 400, 3), dtype=np.uint8)
    pixels[:, ::2] = 255
    inner = a_slide(tmp_path, pixels).read(mpp=mpp)[5:-5, 5:-5].astype(float)
    assert np.abs(inner - 127.5).max() < 35


def test_empty_region_is_an_empty_picture(tmp_path):
    """No area gives no pixels and no error."""
    slide = a_slide(tmp_path, a_picture())
    for mpp in (None, 0.13, 0.6):
        assert slide.read(Region(x=10, y=10, w=0, h=0), mpp).shape == (0, 0, 3)
