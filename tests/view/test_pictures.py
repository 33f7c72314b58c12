"""Tiles and crops show the place they say, to the px, and no request makes a reader decode more than it may."""

import time

import cv2
import numpy as np
import pytest
from found import MPP, a_slide

from build import an_image
from mitosieve.errors import InputError
from mitosieve.geometry import Region
from mitosieve.slide.slide import open_slide
from mitosieve.view import pictures as module
from mitosieve.view.overview import NotReadyError
from mitosieve.view.pictures import CROP_PX, CROP_UM, TILE_PX, Pictures, encode


def decoded(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def differ(one, other):
    """Mean difference in grey levels: a few come of JPEG, tens of a shift by a px or two."""
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int)).mean()


def test_tiles_of_the_last_level_are_the_slide(tmp_path):
    """Put side by side they are its pixels, the last column and row too."""
    pixels = a_slide(tmp_path / "s.tif", width=700, height=530)
    shown = Pictures(open_slide(tmp_path / "s.tif"))
    assert shown.size == (700, 530)
    rows = [
        np.concatenate([decoded(shown.tile(shown.deepest, column, row)) for column in range(3)], axis=1)
        for row in range(3)
    ]
    assert differ(np.concatenate(rows), pixels) < 4


@pytest.mark.parametrize("levels", [(1,), (1, 4)])
def test_every_level_has_the_size_that_a_page_expects(tmp_path, levels):
    """Half of the one below, rounded up; its tiles partition it, and the whole lies on the first one as one tile."""
    a_slide(tmp_path / "s.tif", width=1501, height=1103, levels=levels)
    shown = Pictures(open_slide(tmp_path / "s.tif"))
    for level in range(shown.first, shown.deepest + 1):
        step = 2 ** (shown.deepest - level)
        width, height = -(-1501 // step), -(-1103 // step)
        assert shown.size_of(level) == (width, height)
        for column in range(-(-width // TILE_PX)):
            for row in range(-(-height // TILE_PX)):
                tile = decoded(shown.tile(level, column, row))
                assert tile.shape[:2] == (min(TILE_PX, height - TILE_PX * row), min(TILE_PX, width - TILE_PX * column))
    assert max(shown.size_of(shown.first)) <= TILE_PX < max(shown.size_of(shown.first + 1))


def test_a_tile_is_the_slide_at_its_um_per_px(tmp_path):
    """The same pixels as the reader's own rendering of that place."""
    a_slide(tmp_path / "s.tif", width=1600, height=1200)
    slide = open_slide(tmp_path / "s.tif")
    shown = Pictures(slide)
    level = shown.deepest - 1
    expected = slide.read(Region(x=512, y=512, w=512, h=512), MPP * 2)
    assert differ(decoded(shown.tile(level, 1, 1)), decoded(encode(expected))) < 0.5


@pytest.mark.parametrize("place", [(-1, 0, 0), (99, 0, 0), (12, 0, 99), (12, 99, 0), (12, -1, 0), (2, 0, 0)])
def test_tiles_that_are_not_there_are_refused(tmp_path, place):
    """Levels above the first too: zoom is clamped at both ends."""
    a_slide(tmp_path / "s.tif", width=3000, height=2000)
    with pytest.raises(InputError, match="there is no"):
        Pictures(open_slide(tmp_path / "s.tif")).tile(*place)


@pytest.mark.parametrize("center", [(400.0, 300.0), (400.4, 299.7), (3.0, 2.0), (697.0, 528.0)])
def test_a_crop_has_its_place_in_its_middle(tmp_path, center):
    """Against the pixels themselves at the slide's own resolution; outside the slide it is grey."""
    pixels = a_slide(tmp_path / "s.tif", width=700, height=530)
    shown = Pictures(open_slide(tmp_path / "s.tif"))
    crop = decoded(shown.crop(center, um=32, px=128))  # 0.25 um a px: the slide's own
    padded = np.full((530 + 256, 700 + 256, 3), module._OUTSIDE, dtype=np.uint8)
    padded[128:-128, 128:-128] = pixels
    left, top = (round(value - 63.5) + 128 for value in center)
    assert differ(crop, padded[top : top + 128, left : left + 128]) < 3


@pytest.mark.parametrize("um", CROP_UM)
@pytest.mark.parametrize("px", CROP_PX)
def test_a_cell_lies_in_the_middle_of_its_crops(tmp_path, um, px):
    """Of every size, to half a px; and is as large as its um say."""
    an_image(tmp_path / "s.png", width=900, height=700, dots=[(431.0, 322.0)])  # radius 10 px = 2.5 um
    crop = decoded(Pictures(open_slide(tmp_path / "s.png", mpp=MPP)).crop((431.0, 322.0), um=um, px=px))
    dark = 195 - np.minimum(crop[..., 0].astype(float), 195)  # the ground's red is 225 and noisy, the disc's 70
    rows, columns = np.indices(dark.shape)
    middle = np.array([(columns * dark).sum(), (rows * dark).sum()]) / dark.sum()
    assert np.abs(middle - (px - 1) / 2).max() <= 0.6
    radius_um = np.sqrt(dark.sum() / (195 - 70) / np.pi) * um / px
    assert radius_um == pytest.approx(2.5, rel=0.15)


def test_crops_are_of_a_few_sizes_and_on_the_slide(tmp_path):
    """Anything else is refused before a px is read."""
    a_slide(tmp_path / "s.tif")
    shown = Pictures(open_slide(tmp_path / "s.tif"))
    nowhere = [(-65.0, 5.0), (5.0, 1e9), (float("nan"), 1.0), (float("inf"), 1.0)]
    for center, um, px in [((5, 5), 1000, 128), ((5, 5), 32, 4096), *((place, 32, 128) for place in nowhere)]:
        with pytest.raises(InputError):
            shown.crop(center, um=um, px=px)
    assert 32 in CROP_UM
    assert 128 in CROP_PX


def test_no_tile_decodes_more_than_one_request_may(tmp_path, monkeypatch):
    """Coarse levels of a slide that has none stored come from an overview that is made once, in the background."""
    monkeypatch.setattr(module, "MOST_SOURCE_PX", 512 * 512)
    a_slide(tmp_path / "s.tif", width=2900, height=2100)
    slide = open_slide(tmp_path / "s.tif")
    shown = Pictures(slide)
    assert [shown.is_costly(level) for level in range(shown.first, shown.deepest + 1)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(NotReadyError) as waiting:
        shown.tile(shown.first, 0, 0)
    assert 0 <= waiting.value.share <= 1
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            tile = decoded(shown.tile(shown.first, 0, 0))
            break
        except NotReadyError:
            time.sleep(0.02)
    whole = slide.read(None, MPP * 2 ** (shown.deepest - shown.first))
    padded = np.pad(whole, ((0, 1), (0, 1), (0, 0)), mode="edge")
    assert differ(tile, decoded(encode(padded))) < 4
    reads = []
    monkeypatch.setattr(slide, "read_level", lambda *_: reads.append(1))
    shown.tile(shown.first + 1, 0, 0)
    assert reads == []


def test_oblong_pixels_are_shown_square(tmp_path):
    """A slide of 0.25 x 0.5 um per px is twice as high as it has rows."""
    a_slide(tmp_path / "s.tif", width=600, height=300)
    shown = Pictures(open_slide(tmp_path / "s.tif", mpp=(0.25, 0.5)))
    assert shown.size == (600, 600)
    assert decoded(shown.tile(shown.deepest, 0, 2)).shape[:2] == (88, 256)


def test_a_picture_keeps_its_colours():
    """Red is red: the encoder takes them in another order."""
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(decoded(encode(red)).astype(int).mean(axis=(0, 1)) - (200, 0, 0)).max() < 4
