"""Laws of a slide's traits, on drawn slides and on real frames."""

import cv2
import numpy as np
import pytest
import tifffile

from mitosieve.sieve.traits import LEAST_PIECES, MOST_PIECES, PIECES, measure_pieces, measure_slide, tissue_pieces
from mitosieve.slide.overview import look_over
from mitosieve.slide.slide import open_slide
from mitosieve.slide.stain import estimate_profile
from mitosieve.slide.tissue import Tissue
from tiny import images

MPP = 0.25


def traits_of(path, mpp=MPP):
    with open_slide(path, mpp=mpp) as slide:
        return measure_slide(slide, look_over(slide).tissue, MPP)


def pixels_of(path):
    with open_slide(path, mpp=MPP) as slide:
        return slide.read_l0(slide.bounds)


def test_traits_do_not_depend_on_how_the_file_is_cut(tmp_path):
    """A PNG held whole and a TIFF of 64-px tiles of the same pixels have the same traits, to the last digit."""
    pixels = pixels_of(images()[0])
    cv2.imwrite(str(tmp_path / "whole.png"), pixels[..., ::-1])
    tifffile.imwrite(tmp_path / "tiles.tif", pixels, tile=(64, 64), photometric="rgb")
    assert traits_of(tmp_path / "whole.png") == traits_of(tmp_path / "tiles.tif")


def test_pieces_are_a_fixed_few_of_the_tissue():
    """Twelve of a small slide, one in 32 of a larger one, never more than 64; all lie where half is tissue."""
    with open_slide(images()[0], mpp=MPP) as slide:
        side = slide.size_l0[0] * MPP / 8
        cells = int(side) // 4
        assert len(tissue_pieces(slide, look_over(slide).tissue, MPP)) == min(cells**2, PIECES)
        half = np.zeros((4 * cells, 4 * cells), dtype=bool)
        half[:4] = True
        assert len(tissue_pieces(slide, Tissue(mask=half, mpp=8.0), MPP)) == cells
        middling = np.ones((4 * 32, 4 * 24), dtype=bool)
        assert len(tissue_pieces(slide, Tissue(mask=middling, mpp=8.0), MPP)) == 24
        large = np.ones((400, 400), dtype=bool)
        assert len(tissue_pieces(slide, Tissue(mask=large, mpp=8.0), MPP)) == MOST_PIECES
        assert tissue_pieces(slide, Tissue(mask=~large, mpp=8.0), MPP) == []
        assert tissue_pieces(slide, Tissue(mask=large[:3, :3], mpp=8.0), MPP) == []


def test_traits_are_what_their_names_say():
    """Sharpness is the logarithm of the median Laplacian variance, stain the Macenko profile; brute force."""
    pixels = pixels_of(images()[0])
    pieces = [pixels[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128, 256)]
    traits = measure_pieces(pieces, 0.5)
    variances = []
    for piece in pieces:
        grey = cv2.cvtColor(piece, cv2.COLOR_RGB2GRAY).astype(float)
        around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
        variances.append((around - 4 * grey[1:-1, 1:-1]).var())
    assert traits.sharpness == pytest.approx(np.log(np.median(variances) + 1e-3))
    profile = estimate_profile(np.concatenate([piece[::4, ::4].reshape(-1, 3) for piece in pieces]))
    assert traits.stain == (*profile.matrix.ravel(), *np.log(profile.max_concentration))
    assert traits.resolution == np.log(0.5)


def test_a_slide_with_hardly_any_tissue_has_no_stain_and_no_sharpness():
    """One cell more or less would change them; its resolution is known."""
    piece = pixels_of(images()[0])[:128, :128]
    few = measure_pieces([piece] * (LEAST_PIECES - 1), MPP)
    assert (few.stain, few.sharpness, few.resolution) == (None, None, np.log(MPP))
    assert measure_pieces([piece] * LEAST_PIECES, MPP).sharpness is not None


def test_a_slide_that_is_no_h_and_e_has_sharpness_alone():
    """Its stain cannot be told, and it has tissue enough."""
    grey = np.repeat(cv2.cvtColor(pixels_of(images()[0])[:128, :128], cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    traits = measure_pieces([grey] * 6, MPP)
    assert traits.stain is None
    assert traits.sharpness is not None


@pytest.mark.data
def test_blur_lowers_the_sharpness_of_a_real_frame_step_by_step(data_folder):
    """Each wider blur has a lower value, and the frame as it is the highest."""
    path = min((data_folder / "mitos14" / "frames").glob("H11*"))
    with open_slide(path, mpp=0.2273) as slide:
        pieces = tissue_pieces(slide, look_over(slide).tissue, MPP)
    blurred = [[cv2.GaussianBlur(piece, (0, 0), width) for piece in pieces] for width in (0.5, 1.0, 2.0)]
    values = [measure_pieces(some, 0.2273).sharpness for some in (pieces, *blurred)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[2] > 1
