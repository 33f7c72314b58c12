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
from mitosieve.slide.image import Slide
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
    """The centroid of a dot lies where the geometry says, within 0.15 level-0 px or 0.03 px of the answer."""
    pixels = np.full((200, 240, 3), 255, dtype=np.uint8)
    x, y = 130.0, 80.0
    cv2.circle(pixels, (int(x), int(y)), 30, (0, 0, 0), -1, cv2.LINE_AA)
    dark = 255.0 - a_slide(tmp_path, pixels).read(mpp=mpp)[..., 0]
    rows, columns = np.mgrid[: dark.shape[0], : dark.shape[1]]
    found = np.array([[(columns * dark).sum(), (rows * dark).sum()]]) / dark.sum()
    back = rescale_points(found, mpp_from=mpp, mpp_to=0.25)
    assert back[0] == pytest.approx([x, y], abs=max(0.15, 0.03 * mpp / 0.25))


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


class Pyramid(Slide):
    """Levels in memory, which need not show the same."""

    def __init__(self, levels, mpp=0.25):
        super().__init__(
            slide_id="s", path=None, mpp=mpp, levels=tuple((pixels.shape[1], pixels.shape[0]) for pixels in levels)
        )
        self.pixels = levels

    def read_level(self, level, region):
        return self.pixels[level][region.y : region.y + region.h, region.x : region.x + region.w]


def levels_of(pixels, *, count=3):
    """Level 0 and its halves, each the mean of 2 x 2 px, a last odd row or column dropped."""
    levels = [pixels]
    for _ in range(count - 1):
        h, w = (side // 2 * 2 for side in levels[-1].shape[:2])
        levels.append(cv2.resize(levels[-1][:h, :w], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
    return levels


@given(seed=st.integers(0, 10_000), mpp=st.sampled_from([*MPPS, 0.26, 4.1]), halvings=st.integers(1, 4))
def test_parts_of_a_pyramid_equal_the_whole(seed, mpp, halvings):
    """The same law where levels take part: any partition equals the whole up to one grey level."""
    generator = np.random.default_rng(seed)
    slide = Pyramid(levels_of(a_picture(123, 97, seed), count=halvings))
    whole = slide.read(mpp=mpp).astype(int)
    xs, ys = cuts(generator, 123), cuts(generator, 97)
    rows = [
        np.concatenate([slide.read(Region(x=x, y=y, w=x1 - x, h=y1 - y), mpp) for x, x1 in pairwise(xs)], axis=1)
        for y, y1 in pairwise(ys)
    ]
    joined = np.concatenate(rows, axis=0).astype(int)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() <= 1


@pytest.mark.parametrize(
    ("mpp", "level"), [(0.1, 0), (0.25, 0), (0.49, 0), (0.5, 1), (0.496, 1), (0.99, 1), (1.2, 2), (9, 2)]
)
def test_the_coarsest_level_that_is_fine_enough_is_read(mpp, level):
    """No finer level is touched than is needed, and none coarser than wanted by over 1 %."""
    values = (200, 100, 50)
    slide = Pyramid([np.full((120 >> n, 160 >> n, 3), value, dtype=np.uint8) for n, value in enumerate(values)])
    assert slide.level_for(mpp) == level
    assert (slide.read(mpp=mpp) == values[level]).all()


@pytest.mark.parametrize("mpp", [0.5, 0.55, 0.7, 1.0, 1.3, 2.2])
def test_levels_change_little(mpp):
    """A pyramid of exact means gives what level 0 alone gives, up to rounding."""
    pixels = a_picture(320, 256)
    alone, pyramid = Pyramid([pixels]).read(mpp=mpp), Pyramid(levels_of(pixels)).read(mpp=mpp)
    assert np.abs(alone.astype(int) - pyramid).max() <= 2


@pytest.mark.parametrize("mpp", [0.27, 0.3, 0.36])
def test_small_factors_are_plain_bilinear(mpp):
    """Below a factor of 1.5 a pixel is the bilinear mean of four level-0 px: counted one by one."""
    pixels = a_picture(60, 50)
    read = Pyramid([pixels]).read(mpp=mpp).astype(float)
    exact = pixels.astype(float)
    for row in range(2, read.shape[0] - 2, 3):
        for column in range(2, read.shape[1] - 2, 3):
            x, y = ((at + 0.5) * mpp / 0.25 - 0.5 for at in (column, row))
            (i, p), (j, q) = divmod(y, 1), divmod(x, 1)
            four = exact[int(i) : int(i) + 2, int(j) : int(j) + 2]
            expected = (four * np.outer([1 - p, p], [1 - q, q])[..., None]).sum(axis=(0, 1))
            assert np.abs(read[row, column] - expected).max() <= 4  # places are rounded to 1/32 px


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_whole_factors_are_exact_means(factor):
    """At 2, 4 and 8 times the resolution's px each pixel is the mean of its square, up to rounding of each halving."""
    pixels = a_picture(160, 120)
    means = pixels.reshape(120 // factor, factor, 160 // factor, factor, 3).mean(axis=(1, 3))
    assert np.abs(Pyramid([pixels]).read(mpp=0.25 * factor) - means).max() <= 1.5


@pytest.mark.parametrize("size", [(501, 401), (500, 400), (499, 399), (502, 402)])
def test_levels_of_odd_size_lie_right(size):
    """A dot lies where it is, whether a level is halved with a remainder or resized to a size of its own."""
    pixels = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
    x, y = size[0] - 80.0, size[1] - 70.0
    cv2.circle(pixels, (int(x), int(y)), 30, (0, 0, 0), -1, cv2.LINE_AA)
    resized = cv2.resize(pixels, (211, 161), interpolation=cv2.INTER_AREA)
    for levels in (levels_of(pixels, count=4), [pixels, resized]):
        for mpp in (0.5, 0.75, 1.1, 2.0):
            dark = 255.0 - Pyramid(levels).read(mpp=mpp)[..., 0]
            rows, columns = np.mgrid[: dark.shape[0], : dark.shape[1]]
            found = np.array([[(columns * dark).sum(), (rows * dark).sum()]]) / dark.sum()
            back = rescale_points(found, mpp_from=mpp, mpp_to=0.25)
            assert back[0] == pytest.approx([x, y], abs=max(0.25, 0.05 * mpp / 0.25))


@pytest.mark.parametrize("mpp", [0.24, 0.3, 0.5, 1.1])
def test_oblong_pixels_become_square(mpp):
    """A round cell on pixels of 0.25 x 0.2 um is round, at its place, in what is read."""
    pixels = np.full((300, 240, 3), 255, dtype=np.uint8)
    cv2.ellipse(pixels, (100, 160), (40, 50), 0, 0, 360, (0, 0, 0), -1, cv2.LINE_AA)  # 20 um across
    slide = Pyramid([pixels], mpp=(0.25, 0.2))
    dark = slide.read(mpp=mpp)[..., 0] < 128
    rows, columns = np.nonzero(dark)
    assert np.ptp(columns) + 1 == pytest.approx(20 / mpp, abs=2)
    assert np.ptp(rows) + 1 == pytest.approx(20 / mpp, abs=2)
    center = np.array([[columns.mean(), rows.mean()]])
    assert rescale_points(center, mpp_from=mpp, mpp_to=slide.mpp_xy)[0] == pytest.approx([100, 160], abs=0.6)
    assert slide.mpp == pytest.approx(0.225)


@pytest.mark.parametrize("mpp", [0.6, 2.0])
def test_thumbnail_is_the_whole_read_by_parts(monkeypatch, mpp):
    """A thumbnail is the slide at that resolution, whatever the bound on memory; no read exceeds the bound much."""
    asked = []

    class Watched(Pyramid):
        def read_level(self, level, region):
            asked.append(region.area_px2)
            return super().read_level(level, region)

    slide = Watched([a_picture(400, 300)])
    whole = slide.thumbnail(mpp).astype(int)
    assert asked.pop() == 120_000
    monkeypatch.setattr(image, "MAX_READ_PX", 10_000)
    assert np.abs(slide.thumbnail(mpp).astype(int) - whole).max() <= 1
    assert max(asked) < 30_000
