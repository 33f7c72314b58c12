"""Laws of the heat map: its numbers, and what the drawn pixels show."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mitosieve.count.heatmap import MOST_DOTS, CloseUp, density_per_mm2, tissue_density, write_heatmap
from mitosieve.count.hotspot import find_hotspot
from mitosieve.count.picture import Thumbnail

GLASS = 240


def a_thumbnail(width=600, height=400, *, mpp_xy=(20.0, 20.0), tissue=None):
    """Glass with a pale patch of tissue; 12 x 8 mm."""
    rgb = np.full((height, width, 3), GLASS, dtype=np.uint8)
    rgb[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = (214, 160, 196)
    return Thumbnail(rgb=rgb, mpp_xy=mpp_xy, tissue=tissue)


def close(*spots):
    """Hotspots with a picture of noise each."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    return [CloseUp(hotspot=spot, rgb=noise) for spot in spots]


def drawn(path):
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)


def same(pixels, bare, *, width=600, height=400):
    """Pixels of the map alone, without axes, that are as on the picture without a figure."""
    return (np.abs(pixels - bare).max(axis=2) <= 1)[12 : 12 + height, 12 : 12 + width]


def plain(folder):
    """The drawn picture of the slide without a figure."""
    return drawn(write_heatmap(folder / "plain.png", a_thumbnail(), np.zeros((0, 2))))


@given(
    st.lists(st.tuples(st.floats(3000, 9000), st.floats(3000, 6000)), max_size=20),
    st.sampled_from([(20.0, 20.0), (20.0, 40.0)]),
    st.sampled_from([100.0, 300.0]),
)
def test_the_density_adds_up_to_the_number_of_points(points, mpp, bandwidth):
    """Far from the edge nothing is lost, whatever the pixels and the bandwidth."""
    shape = (round(9000 / mpp[1]), round(12000 / mpp[0]))
    point_um = np.array(points).reshape(-1, 2)
    density = density_per_mm2(point_um, shape=shape, mpp_xy=mpp, bandwidth_um=bandwidth)
    assert density.sum() * mpp[0] * mpp[1] / 1e6 == pytest.approx(len(points), rel=1e-3)


def test_a_point_spreads_as_a_gaussian_around_itself():
    """Its peak is 1 / (2 pi sigma^2), at its place; one sigma away it is exp(-1/2) of that."""
    density = density_per_mm2(np.array([(4010.0, 2010.0)]), shape=(300, 500), mpp_xy=(20, 20), bandwidth_um=300)
    assert np.unravel_index(density.argmax(), density.shape) == (100, 200)
    assert density.max() == pytest.approx(1 / (2 * math.pi * 0.3**2), rel=0.01)
    assert density[100, 215] / density.max() == pytest.approx(math.exp(-0.5), rel=0.01)


def test_points_outside_and_many_in_one_pixel():
    """Those outside are left out; a thousand in one pixel are a thousand."""
    points = np.concatenate([np.full((1000, 2), 3000.0), [(-1.0, 50.0), (1e9, 50.0)]])
    density = density_per_mm2(points, shape=(300, 300), mpp_xy=(20, 20), bandwidth_um=200)
    assert density.sum() * 400 / 1e6 == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(("bandwidth", "middle"), [(0.1, 1 / 4e-4), (1e6, 1 / (2 * math.pi * 1e6))])
def test_any_bandwidth_is_exact(bandwidth, middle):
    """Far below a pixel all stays in it; far above the whole the density is flat and small."""
    density = density_per_mm2(np.array([(110.0, 110.0)]), shape=(11, 11), mpp_xy=(20, 20), bandwidth_um=bandwidth)
    assert density[5, 5] == pytest.approx(middle, rel=1e-3)
    assert density.sum() * 4e-4 == pytest.approx(1 if bandwidth < 1 else middle * 121 * 4e-4, rel=1e-3)


def test_equal_input_gives_equal_bytes(tmp_path):
    """No date, no version, no chance."""
    points = np.random.default_rng(0).uniform(0, 8000, (50, 2))
    hotspot = find_hotspot(points / 1000, size_mm=(12, 8))
    one, two = (
        write_heatmap(tmp_path / name, a_thumbnail(), points, hotspots=close(hotspot)).read_bytes()
        for name in ("a", "b")
    )
    assert one == two
    assert b"matplotlib" not in one.lower()


def test_colour_is_where_the_figures_are(tmp_path):
    """Around a spot at the left; the right is the slide as it is, in its own colours."""
    points = np.random.default_rng(0).normal((3000, 4000), 150, (40, 2))
    pixels = drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(), points))
    rows, columns = np.nonzero(~same(pixels, plain(tmp_path)))
    assert columns.mean() == pytest.approx(150, abs=5)
    assert rows.mean() == pytest.approx(200, abs=5)
    assert columns.max() < 300


def test_colour_ends_where_tissue_does(tmp_path):
    """Figures all over, tissue on the left half: the right half is the slide as it is, but for its dots."""
    points = np.random.default_rng(0).uniform((100, 100), (11_900, 7900), (400, 2))
    mask = np.zeros((400, 600), dtype=bool)
    mask[:, :300] = True
    pixels = drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(tissue=mask), points))
    kept = same(pixels, plain(tmp_path))
    assert kept[:, :296].mean() < 0.2
    away = np.ones((400, 600), dtype=bool)
    for x, y in points / 20:
        away[int(max(y - 6, 0)) : int(y + 6), int(max(x - 6, 0)) : int(x + 6)] = False
    assert kept[:, 304:][away[:, 304:]].all()


def test_the_density_is_of_tissue():
    """Evenly spread figures have one density up to the edge of tissue and slide; half the tissue, twice the density."""
    y, x = np.mgrid[25:8000:50, 25:12_000:50]
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    mask = np.zeros((400, 600), dtype=bool)
    mask[:, 200:] = True
    told = tissue_density(points[points[:, 0] > 4000], mask, mpp=20.0, bandwidth_um=300)
    assert told[mask] == pytest.approx(400, rel=0.02)
    stripes = np.zeros((400, 600), dtype=bool)
    stripes[::2] = True
    assert tissue_density(points, stripes, mpp=20.0, bandwidth_um=300)[100, 300] == pytest.approx(800, rel=0.02)


def test_a_scrap_of_tissue_makes_no_high_density():
    """One figure on 0.01 mm2 of tissue is not 100 per mm2."""
    mask = np.zeros((400, 600), dtype=bool)
    mask[200:205, 300:305] = True
    told = tissue_density(np.array([(6050.0, 4050.0)]), mask, mpp=20.0, bandwidth_um=300)
    assert told.max() == pytest.approx(1 / (2 * math.pi * 0.3**2) / 0.1, rel=0.02)


def test_all_slides_have_one_scale(tmp_path):
    """A place of some density has the same colour whatever else the slide holds, and the colour bar is the same."""
    few = np.random.default_rng(0).normal((3000, 4000), 10, (3, 2))
    more = np.concatenate([few, np.random.default_rng(0).normal((10_000, 4000), 10, (300, 2))])
    one, two = (drawn(write_heatmap(tmp_path / f"{len(p)}.png", a_thumbnail(), p)) for p in (few, more))
    assert (one[12:412, 12:300] == two[12:412, 12:300]).all()
    assert (one[:, 620:] == two[:, 620:]).all()


@pytest.mark.parametrize(("figures", "dots"), [(MOST_DOTS - 1, True), (MOST_DOTS, False)])
def test_each_figure_has_a_dot_where_they_are_few(tmp_path, figures, dots):
    """Black, at its place; from 2,000 on they would hide the colour."""
    points = np.random.default_rng(0).uniform((100, 100), (11_900, 7900), (figures, 2))
    pixels = drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(), points))
    columns, rows = np.rint(points / 20 - 0.5).astype(int).T + 12
    black = (pixels[rows, columns] < 90).all(axis=1)
    assert black.mean() > 0.8 if dots else not black.any()


@pytest.mark.parametrize("shape", ["square", "circle", "rectangle"])
def test_the_hotspot_is_outlined_at_its_place(tmp_path, shape):
    """The map changes along the region's edge, and nowhere far from it."""
    points = np.random.default_rng(0).normal((7000, 3000), 300, (40, 2))
    hotspot = find_hotspot(points / 1000, size_mm=(12, 8), shape=shape)
    bare = drawn(write_heatmap(tmp_path / "bare.png", a_thumbnail(), points))
    pixels = drawn(write_heatmap(tmp_path / "with.png", a_thumbnail(), points, hotspots=close(hotspot)))
    rows, columns = np.nonzero((pixels[:410, :612] != bare[:410, :612]).any(axis=2))
    x, y = (12 + value * 50 for value in hotspot.center_mm)
    half = np.array(hotspot.size_mm) * 25
    assert columns.min() == pytest.approx(x - half[0], abs=4)
    assert columns.max() == pytest.approx(x + half[0], abs=4)
    assert rows.min() == pytest.approx(y - half[1], abs=4)
    assert rows.max() == pytest.approx(y + half[1], abs=4)
    assert (pixels[414:440, 300:612] != bare[414:440, 300:612]).any()


def test_hotspots_are_enlarged_beside(tmp_path):
    """A column of pictures at the right, as many as there are, each larger than its outline on the map."""
    points = np.random.default_rng(0).normal((7000, 3000), 300, (40, 2))
    spot = find_hotspot(points / 1000, size_mm=(12, 8))
    widths, seen = [], []
    for number in range(1, 4):
        pixels = drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(), points, hotspots=close(*[spot] * number)))
        widths.append(pixels.shape[1])
        noise = np.ptp(pixels[:, 727:], axis=2) > 60
        seen.append(int((noise.mean(axis=1) > 0.4).sum()))
    bare = drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(), points))
    assert min(widths) - bare.shape[1] > 200
    assert [round(total / 220) for total in seen[1:]] == [2, 3]
    assert min(seen) > 2 * 50 * spot.size_mm[0]


def test_a_slide_without_figures_is_the_picture(tmp_path):
    """And words below it; a hotspot that holds nothing is not outlined, and where there is none that is said."""
    none = np.zeros((0, 2))
    empty = close(find_hotspot(none, size_mm=(12, 8)))
    bytes_of = [write_heatmap(tmp_path / "h.png", a_thumbnail(), none, hotspots=h).read_bytes() for h in ((), empty)]
    assert bytes_of[0] == bytes_of[1]
    pixels = drawn(tmp_path / "h.png")
    assert (np.abs(pixels[14:410, 14:610] - a_thumbnail().rgb[2:398, 2:598]) <= 1).all()
    assert (pixels[414:440, 500:612] < 100).any()
    noted = [
        drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(), np.array([(1.0, 1.0)]), note=note))[414:440, 200:612]
        for note in ("", "no hotspot: less tissue than 2 mm²")
    ]
    assert not (noted[0] < 100).any()
    assert (noted[1] < 100).any()


def test_the_scale_bar_is_as_long_as_it_says(tmp_path):
    """At most a quarter of 12 mm, so 2 mm; 100 px at 20 um."""
    pixels = drawn(write_heatmap(tmp_path / "h.png", a_thumbnail(), np.zeros((0, 2))))
    black = (pixels[418:430, :300] < 60).all(axis=2).sum(axis=1)
    assert black.max() == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    ("width", "height", "mpp_xy"),
    [
        (3000, 1000, (8.0, 8.0)),
        (40, 30, (20.0, 20.0)),
        (200, 400, (40.0, 20.0)),
        (2, 900, (20.0, 20.0)),
        (1, 1, (0.25, 0.25)),
    ],
)
def test_any_overview_is_drawn_at_a_useful_size(tmp_path, width, height, mpp_xy):
    """Large, small, oblong pixels, a sliver, one pixel."""
    points = np.array([(0.1, 0.1)])
    size_mm = (width * mpp_xy[0] / 1000, height * mpp_xy[1] / 1000)
    hotspot = find_hotspot(points / 1000, size_mm=size_mm)
    path = write_heatmap(tmp_path / "h.png", a_thumbnail(width, height, mpp_xy=mpp_xy), points, hotspots=close(hotspot))
    shape = drawn(path).shape
    assert 300 <= max(shape[:2]) <= 1400
    assert path.stat().st_size < 2e6


@pytest.mark.parametrize(
    ("thumbnail", "bandwidth"),
    [
        (Thumbnail(rgb=np.zeros((0, 4, 3), np.uint8), mpp_xy=(1, 1)), 300),
        (a_thumbnail(mpp_xy=(0.0, 1.0)), 300),
        (a_thumbnail(), 0),
        (a_thumbnail(), math.nan),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, thumbnail, bandwidth):
    """Before anything is written."""
    with pytest.raises(ValueError, match="no heat map"):
        write_heatmap(tmp_path / "h.png", thumbnail, np.zeros((0, 2)), bandwidth_um=bandwidth)
    assert not list(tmp_path.iterdir())


def test_the_edge_of_the_area_that_was_searched_is_dashed(tmp_path):
    """Black and white along it; nothing changes elsewhere on the map, also where it reaches beyond the slide."""
    ring = np.array([(3000.0, 2000.0), (20_000.0, 2000.0), (20_000.0, 6000.0), (3000.0, 6000.0), (3000.0, 2000.0)])
    bare = a_thumbnail()
    within = Thumbnail(rgb=bare.rgb, mpp_xy=bare.mpp_xy, area_um=(ring,))
    picture = drawn(write_heatmap(tmp_path / "within.png", within, np.zeros((0, 2))))
    changed = ~same(picture, plain(tmp_path))
    assert picture.shape == plain(tmp_path).shape
    edge = np.zeros_like(changed)
    edge[97:304, 147:154] = edge[97:104, 147:] = edge[297:304, 147:] = True
    assert not changed[~edge].any()
    line = picture[12 + 100, 12 + 160 : 12 + 590].max(axis=1)
    assert line.min() < 60
    assert line.max() > 240
