"""Laws of tissue and glass."""

import cv2
import numpy as np
import pytest
from build_files import a_picture

from mitosieve.slide.tissue import DEFAULT_BACKGROUND, background_color, tissue_mask


def glass(height=120, width=160, value=(236, 238, 240), noise=3.0):
    pixels = np.random.default_rng(0).normal(value, noise, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_tissue_on_glass_is_found():
    """A stained disc on glass is the tissue, its rim aside."""
    pixels = glass()
    disc = np.zeros(pixels.shape[:2], dtype=np.uint8)
    cv2.circle(disc, (80, 60), 40, 1, -1)
    pixels[disc == 1] = (200, 130, 180)
    found = tissue_mask(pixels)
    assert found.dtype == np.bool_
    assert (found == (disc == 1)).mean() > 0.98


@pytest.mark.parametrize("value", [200, 220, 236, 255])
def test_empty_glass_has_no_tissue(value):
    """Noise on a slide without tissue is not taken for it, however dark its glass."""
    assert tissue_mask(glass(value=(value, value, value))).mean() < 0.01


def test_full_frame_is_all_tissue():
    """A frame without glass is tissue everywhere."""
    pixels = np.clip(a_picture() * np.array([0.8, 0.6, 0.75]), 0, 255).astype(np.uint8)
    assert tissue_mask(pixels).mean() > 0.95


def test_black_padding_is_no_tissue():
    """What a scanner filled with black is left out."""
    pixels = glass()
    pixels[:, :50] = 0
    assert not tissue_mask(pixels)[:, :45].any()


@pytest.mark.parametrize("shape", [(0, 0, 3), (1, 1, 3), (2, 5, 3)])
def test_tiny_images_work(shape):
    """Images of a few pixels, or none, raise nothing."""
    pixels = np.full(shape, 128, dtype=np.uint8)
    assert tissue_mask(pixels).shape == shape[:2]
    assert background_color(pixels).shape == (3,)


def test_background_is_the_glass():
    """The background is the glass's colour, whatever lies on it."""
    pixels = glass(value=(232, 236, 241))
    pixels[20:100, 20:140] = (190, 110, 170)
    color = background_color(pixels)
    assert color.dtype == np.uint8
    assert np.abs(color.astype(int) - (232, 236, 241)).max() <= 4


def test_without_glass_the_background_is_the_default():
    """A frame full of tissue, and one of dark padding, fall back to usual glass."""
    for pixels in (np.full((50, 50, 3), (190, 110, 170), dtype=np.uint8), np.zeros((50, 50, 3), dtype=np.uint8)):
        assert background_color(pixels).tolist() == list(DEFAULT_BACKGROUND)


@pytest.mark.data
def test_real_frames_are_mostly_tissue(data_folder):
    """Frames chosen by pathologists are mainly tissue, and their background is bright and colourless."""
    for path in sorted((data_folder / "mitos14" / "frames").glob("*.jpg"))[::60]:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert tissue_mask(pixels[::8, ::8]).mean() > 0.5
        color = background_color(pixels).astype(int)
        assert color.min() > 200
        assert color.max() - color.min() <= 25
