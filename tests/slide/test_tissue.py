"""Laws of tissue and glass."""

import cv2
import numpy as np
import pytest
import shapely
from build_files import a_picture
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.geometry import Region
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.slide import open_slide
from mitosieve.slide.tissue import DEFAULT_BACKGROUND, Tissue, _ink, background_color, tissue_mask


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


def test_its_area_within_a_roi_is_counted_px_by_px():
    """By brute force, in level-0 px of another size, oblong ones too."""
    rng = np.random.default_rng(0)
    tissue = Tissue(mask=rng.random((30, 40)) < 0.5, mpp=8.0)
    roi = shapely.Polygon([(10, 5), (900, 300), (400, 800)])
    for across, down in ((0.25, 0.25), (0.25, 0.5)):
        inside = sum(
            tissue.mask[y, x] and roi.contains(shapely.Point((x + 0.5) * 8 / across - 0.5, (y + 0.5) * 8 / down - 0.5))
            for y in range(30)
            for x in range(40)
        )
        assert tissue.area_within_mm2(roi, (across, down)) == pytest.approx(inside * 64e-6)
    assert tissue.area_within_mm2(None, 0.25) == tissue.area_mm2


@pytest.mark.parametrize("value", [200, 220, 236, 255])
def test_empty_glass_has_no_tissue(value):
    """Noise on a slide without tissue is not taken for it, however dark its glass."""
    assert tissue_mask(glass(value=(value, value, value))).mean() < 0.01


def test_full_frame_is_all_tissue():
    """A frame without glass is tissue everywhere."""
    amount = 1.3 - a_picture()[..., :1] / 255
    pixels = (240 * np.exp(-amount * np.array([0.4, 0.9, 0.35]))).astype(np.uint8)
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
    paths = sorted((data_folder / "mitos14" / "frames").glob("*.jpg"))[::60]
    assert len(paths) >= 3
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert tissue_mask(pixels[::8, ::8]).mean() > 0.5
        color = background_color(pixels).astype(int)
        assert color.min() > 200
        assert color.max() - color.min() <= 25


def stained(haematoxylin, eosin):
    """Pixels of these amounts of two stains over glass."""
    amount = np.multiply.outer(haematoxylin, (0.65, 0.70, 0.29)) + np.multiply.outer(eosin, (0.07, 0.99, 0.11))
    return np.rint(np.array((236, 238, 240)) * np.exp(-amount)).astype(np.uint8)


def pale_field(height=120, width=160):
    """A quarter of cells, and stroma so pale that a threshold lies between the two; no glass."""
    noise = np.random.default_rng(0).normal(0, 0.02, (height, width))
    cells = np.zeros((height, width))
    cells[: height // 2, : width // 2] = 1
    return stained(0.06 + 0.5 * cells + noise.clip(-0.05), 0.13 + 0.25 * cells)


def test_in_a_field_without_glass_pale_stroma_is_tissue():
    """A threshold that splits tissue from tissue is recognised: all is tissue, with cells beside the stroma or without.

    The rule of before calls most of the field with cells glass.
    """
    pixels = pale_field()
    assert tissue_mask(pixels).mean() < 0.4
    assert tissue_mask(pixels, "glass").mean() > 0.999
    assert tissue_mask(pixels[60:], "glass").mean() > 0.99


def test_a_hole_in_pale_stroma_is_glass():
    """What is as light as glass stays out where the threshold was recognised."""
    pixels = pale_field()
    pixels[70:90, 100:120] = glass(20, 20)
    found = tissue_mask(pixels, "glass")
    assert not found[74:86, 104:116].any()
    assert found.mean() > 0.96


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_slide_with_glass_leaves_it_out(share):
    """However much of a slide is glass it stays out, and pale stroma beside it is tissue, which it was not before."""
    pixels = glass(200, 200)
    edge = round(200 * share)
    pixels[:, edge:] = pale_field(200, 200 - edge)
    found = tissue_mask(pixels, "glass")
    assert not found[:, : edge - 4].any()
    assert found[:, edge + 4 :].mean() > 0.99
    assert tissue_mask(pixels)[:, edge + 4 :].mean() < 0.4
    assert not tissue_mask(glass(), "glass").any()


OTHER_GLASS = {
    "white where nothing was scanned": (228, 255, 0.4),
    "beside a coverslip": (225, 250, 0.5),
    "darker than any": (195, 195, 0.5),
    "darker than any, and white": (195, 255, 0.3),
}


@pytest.mark.parametrize("tint", [(0, 0, 0), (5, 0, 4)])
@pytest.mark.parametrize("stroma", [False, True])
@pytest.mark.parametrize("name", OTHER_GLASS)
def test_glass_of_two_brightnesses_is_no_tissue(name, stroma, tint):
    """A slide of two glasses has the tissue that it has with one, pale stroma too; not ten times as much."""
    under, beside, share = OTHER_GLASS[name]
    height, width = 400, 500
    level = np.full((height, width, 1), float(under))
    level[:, round((1 - share) * width) :] = beside
    noise = np.random.default_rng(1).normal(0, 1.5, (height, width, 3))
    pixels = level - np.array(tint) + cv2.GaussianBlur(noise, (0, 0), 0.7)
    true = np.zeros((height, width), dtype=np.bool_)
    true[60:200, 40:200] = True
    amount = np.array([0.25, 0.75, 0.3])
    if stroma:
        true[200:330, 40:200] = True
        amount = np.where(np.arange(height)[:, None, None] >= 200, 0.25, 1.0) * amount
    pixels = np.where(true[..., None], pixels * np.exp(-amount), pixels)
    found = tissue_mask(np.clip(pixels, 0, 255).astype(np.uint8), "glass")
    assert found[~true].mean() < 0.05
    assert found[true].mean() > 0.97


@pytest.mark.data
def test_no_rule_takes_glass_of_true_slides_for_tissue(data_folder):
    """On slides that show glass both rules find the same tissue."""
    paths = sorted((data_folder / "wsi").glob("*.svs"))
    assert len(paths) >= 2
    for path in paths:
        with open_slide(path, mpp=0.5) as slide:
            overview = slide.thumbnail(8.0)
        assert 0.3 < tissue_mask(overview, "glass").mean() < 0.7
        assert np.array_equal(tissue_mask(overview, "glass"), tissue_mask(overview))


@pytest.mark.data
def test_real_fields_of_pale_stroma_are_tissue(data_folder):
    """Fields of a laboratory whose stroma is pale are tissue but for clefts; before, two fifths of them were glass."""
    shares = []
    for path in sorted((data_folder / "brecahad" / "frames").glob("*.jpg")):
        overview = cv2.resize(
            cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), None, fx=1 / 32, fy=1 / 32, interpolation=cv2.INTER_AREA
        )
        shares.append((tissue_mask(overview).mean(), tissue_mask(overview, "glass").mean()))
    before, after = np.mean(shares, axis=0)
    assert before < 0.7
    assert after > 0.97


INKS = {
    "blue": (30, 60, 180),
    "navy": (20, 30, 90),
    "green": (20, 130, 70),
    "red": (205, 25, 35),
    "black": (30, 28, 33),
}


@pytest.mark.parametrize("ink", INKS)
def test_ink_is_no_tissue_and_hides_none(ink):
    """A pen's stroke on glass is left out with its rim, and pale tissue beside it is still found."""
    pixels = glass(240, 320)
    pixels[60:180, 20:120] = np.clip(np.random.default_rng(0).normal((222, 190, 212), 4, (120, 100, 3)), 0, 255)
    stroke = np.zeros(pixels.shape[:2], dtype=np.uint8)
    cv2.line(stroke, (160, 20), (300, 220), 1, 9)
    pixels[stroke == 1] = INKS[ink]
    pixels = cv2.GaussianBlur(pixels, (0, 0), 0.8)
    found = tissue_mask(pixels)
    assert not found[:, 130:].any()
    assert found[65:175, 25:115].mean() > 0.99


def test_folds_are_tissue():
    """Tissue that lies double is darker than any ink, in the colours of its stains."""
    pixels = np.clip(np.random.default_rng(0).normal((205, 130, 185), 8, (120, 160, 3)), 0, 255).astype(np.uint8)
    fold = np.clip(np.random.default_rng(1).normal((70, 22, 95), 8, (120, 12, 3)), 0, 255).astype(np.uint8)
    pixels[:, 70:82] = fold
    assert tissue_mask(pixels)[:, 70:82].mean() > 0.99


def a_tissue(seed=0, mpp=8.0):
    return Tissue(mask=np.random.default_rng(seed).random((30, 40)) < 0.4, mpp=mpp)


@given(
    st.integers(-30, 400),
    st.integers(-30, 300),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([0.7, 2.0, 16]),
)
def test_fraction_is_the_share_of_the_area(x, y, w, h, mpp):
    """The part of a region that is tissue: counted on a grid of points ten times as fine as both lattices."""
    tissue = a_tissue()
    columns, rows = (x + (np.arange(400) + 0.5) * w / 400) * mpp, (y + (np.arange(400) + 0.5) * h / 400) * mpp
    points = np.stack([np.repeat(columns[None], 400, 0).ravel(), np.repeat(rows[:, None], 400, 1).ravel()], axis=1)
    found = tissue.fraction(Region(x=x, y=y, w=w, h=h), mpp)
    assert found == pytest.approx(tissue.holds(points).mean(), abs=0.02)


def test_a_pixel_of_the_mask_is_all_or_nothing():
    """At the mask's own resolution a pixel's fraction is the mask; all of it together is the area."""
    tissue = a_tissue()
    found = [[tissue.fraction(Region(x=x, y=y, w=1, h=1), 8.0) for x in range(40)] for y in range(30)]
    assert np.allclose(found, tissue.mask)
    whole = tissue.fraction(Region(x=0, y=0, w=40, h=30), 8.0)
    assert whole * 40 * 30 * 64 / 1e6 == pytest.approx(tissue.area_mm2)


def test_points_beyond_the_mask_are_on_no_tissue():
    """Points left, right, above and below the slide are not on tissue; the far edge belongs to nothing."""
    tissue = Tissue(mask=np.ones((2, 3), dtype=bool), mpp=8.0)
    points = np.array([[0.0, 0.0], [23.9, 15.9], [24.0, 1.0], [1.0, 16.0], [-0.1, 1.0], [1.0, -0.1]])
    assert tissue.holds(points).tolist() == [True, True, False, False, False, False]
    assert tissue.holds(np.zeros((0, 2))).tolist() == []
    assert tissue.fraction(Region(x=0, y=0, w=0, h=4), 1.0) == 0


def test_tissue_of_a_slide_is_found(tmp_path):
    """The area found on a slide is that of what was drawn, at any resolution of the look."""
    pixels = glass(900, 1200)
    cv2.circle(pixels, (500, 450), 300, (200, 130, 180), -1)
    slide = PlainSlide(slide_id="s", path=tmp_path / "s.png", mpp=2.0, pixels=pixels)
    for mpp in (4.0, 8.0):
        tissue = Tissue(mask=tissue_mask(slide.thumbnail(mpp)), mpp=mpp)
        assert tissue.area_mm2 == pytest.approx(np.pi * 0.6**2, rel=0.05)
    bare = PlainSlide(slide_id="e", path=tmp_path / "e", mpp=2.0, pixels=glass(900, 900))
    assert Tissue(mask=tissue_mask(bare.thumbnail(8.0)), mpp=8.0).area_mm2 < 0.01


@pytest.mark.data
def test_real_tissue_is_not_taken_for_ink(data_folder):
    """On frames of two scanners and slides of many laboratories hardly a pixel of tissue looks like ink."""
    shares, of = [], (("mitos14/frames", 40), ("unlabelled", 6))
    paths = [sorted((data_folder / folder).glob("*.jpg"))[::step] for folder, step in of]
    assert min(map(len, paths)) >= 3
    for path in (path for some in paths for path in some):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        small = cv2.resize(pixels, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA)
        shares.append(_ink(small, background_color(small)).mean())
    assert np.mean(shares) < 0.002
    assert max(shares) < 0.02
