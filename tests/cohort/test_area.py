"""Black padding is found from its edge, and the area that is left holds none of it."""

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.cohort.area import JPEG_BLOCK_PX, check_roi, padding_px, searched_area

SIDE = 64


def a_crop(left=0, top=0, right=0, bottom=0, seed=0):
    pixels = np.random.default_rng(seed).integers(150, 250, (SIDE, SIDE + 8, 3), dtype=np.uint8)
    height, width = pixels.shape[:2]
    pixels[:top], pixels[height - bottom :], pixels[:, :left], pixels[:, width - right :] = 0, 0, 0, 0
    return pixels


@given(st.tuples(*[st.integers(0, 20)] * 4))
def test_padding_is_counted_at_each_edge(black):
    """Lines of black at left, top, right and bottom are as many as were painted."""
    assert padding_px(a_crop(*black)) == black


@given(st.tuples(*[st.integers(0, 20)] * 4))
def test_the_area_has_no_black_and_loses_less_than_a_block_an_edge(black):
    """Every pixel centre of the area is tissue; where nothing is padded, the area is unlimited."""
    pixels = a_crop(*black)
    wkt = searched_area(pixels)
    assert (wkt == "") == (not any(black))
    if not wkt:
        return
    x0, y0, x1, y1 = (round(value + 0.5) for value in shapely.from_wkt(wkt).bounds)
    assert (pixels[y0:y1, x0:x1] > 0).all()
    height, width = pixels.shape[:2]
    lost = np.array([x0, y0, width - x1, height - y1]) - black
    assert (lost >= 0).all()
    assert (lost < JPEG_BLOCK_PX).all()
    assert (np.array([x0, y0, x1, y1])[np.array(black) > 0] % JPEG_BLOCK_PX == 0).all()


def test_dark_tissue_and_black_inside_are_not_padding():
    """A line with a figure in it, or a black line away from the edge, is tissue."""
    pixels = a_crop()
    pixels[10] = 0
    pixels[0, :40] = 10
    assert padding_px(pixels) == (0, 0, 0, 0)
    assert searched_area(np.zeros((8, 8, 3), dtype=np.uint8)) is None


@pytest.mark.parametrize("wkt", ["POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))", "POINT (1 1)", "POLYGON EMPTY", "nowhere"])
def test_an_area_that_holds_nothing_is_refused(wkt):
    """Crossing itself, a point, empty, or no WKT."""
    with pytest.raises((ValueError, shapely.errors.ShapelyError)):
        check_roi(wkt)


@pytest.mark.data
def test_padded_crops_of_amibr_lose_their_black(data_folder):
    """Of crops at a slide's border, known by a black line, none keeps a line as dark inside its area."""
    found = 0
    for path in sorted((data_folder / "amibr/patches").iterdir())[::12]:
        pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), dtype=np.uint8)
        wkt = searched_area(pixels)
        if wkt:
            x0, y0, x1, y1 = (round(value + 0.5) for value in shapely.from_wkt(wkt).bounds)
            inside = pixels[y0:y1, x0:x1].max(axis=2)
            assert min(inside.mean(axis=axis).min() for axis in (0, 1)) > 60
            found += 1
    assert found > 3
