"""Laws of a field's picture: the field as it is, a ring about each figure, a bar of the length that it names."""

import io

import numpy as np
import pytest
from PIL import Image

from mitosieve.count.picture import FIELD_UM, Thumbnail, scale_mm, write_field

MARGIN = 12
GROUND = 150


def a_field(width=640, height=480, mpp=0.5):
    return Thumbnail(rgb=np.full((height, width, 3), GROUND, np.uint8), mpp_xy=(mpp, mpp))


def drawn(tmp_path, thumbnail, points, **options):
    path = write_field(tmp_path / "field.png", thumbnail, np.array(points, dtype=float).reshape(-1, 2), **options)
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())))


def test_a_ring_goes_about_each_figure_and_leaves_its_cell_as_it_is(tmp_path):
    """White at 9 um from the figure, black beside it, the field's own pixels within; nothing elsewhere."""
    figures = [(80.0, 60.0), (200.0, 150.0)]
    field = a_field()
    picture = drawn(tmp_path, field, figures)[MARGIN : MARGIN + 480, MARGIN : MARGIN + 640]
    rows, columns = np.indices(picture.shape[:2])
    distance = np.min([np.hypot((columns + 0.5) * 0.5 - x, (rows + 0.5) * 0.5 - y) for x, y in figures], axis=0)
    assert (picture[distance < 7.0] == GROUND).all()
    assert (picture[distance > 11.5] == GROUND).all()
    ring = picture[np.abs(distance - 9.0) < 0.3]
    assert len(ring) > 50
    assert (ring > 240).all()
    assert picture[(distance > 7.5) & (distance < 10.5)].min() < 40
    assert (field.rgb == GROUND).all()


def test_the_bar_has_the_length_that_it_names(tmp_path):
    """The longest round one of at most a quarter of the width: 0.05 mm of 0.32."""
    below = drawn(tmp_path, a_field(), [])[MARGIN + 480 + 2 :]
    black = (below == 0).all(axis=2).sum(axis=1)
    assert scale_mm(640, 0.5) == 0.05
    assert black.max() == 0.05 * 1000 / 0.5


@pytest.mark.parametrize(("side_px", "mpp"), [(60, 0.25), (7, 0.25), (2, 0.25), (2000, 0.4)])
def test_a_bar_is_at_most_a_quarter_of_the_picture(tmp_path, side_px, mpp):
    """Also of a few px."""
    picture = drawn(tmp_path, a_field(width=side_px, height=side_px, mpp=mpp), [])
    wide = Thumbnail(rgb=np.zeros((side_px, side_px, 3), np.uint8), mpp_xy=(mpp, mpp)).resized()[0].shape[1]
    black = (picture[MARGIN + wide + 2 :] == 0).all(axis=2).sum(axis=1)
    assert 0.09 * wide < black.max() <= 0.25 * wide + 1


def test_words_are_below_and_fit(tmp_path):
    """A count or none, the note after it; a narrow field has them under the bar."""
    texts = [drawn(tmp_path, a_field(), points)[MARGIN + 480 + 16 :] for points in ([], [(9, 9)], [(9, 9), (50, 50)])]
    assert len({text.tobytes() for text in texts}) == 3
    note = "no hotspot: less tissue than 2 mm²"
    narrow = drawn(tmp_path, a_field(width=120, height=480, mpp=1.0), [(9, 9)], note=note)
    wide = drawn(tmp_path, a_field(), [(9, 9)], note=note)
    assert narrow.shape[0] > wide.shape[0]
    for picture in (narrow, wide):
        assert (picture[:, -2:] == 255).all()
        assert (picture[-3:] == 255).all()


def test_equal_input_gives_equal_bytes(tmp_path):
    """As every output."""
    point = np.array([[30.0, 40.0]])
    one, two = (write_field(tmp_path / name, a_field(), point).read_bytes() for name in ("one.png", "two.png"))
    assert one == two


@pytest.mark.parametrize(("width", "is_field"), [(FIELD_UM - 1, True), (FIELD_UM, False)])
def test_a_field_is_smaller_than_three_bandwidths(width, is_field):
    """By its longer side."""
    assert Thumbnail(rgb=np.zeros((10, 100, 3), np.uint8), mpp_xy=(width / 100, 1.0)).is_field is is_field


def test_the_edge_of_the_area_that_was_searched_is_drawn(tmp_path):
    """White within black along each outline, and nowhere else; an area that reaches beyond the field does no harm."""
    ring = np.array([(60.0, 40.0), (500.0, 40.0), (500.0, 180.0), (60.0, 180.0), (60.0, 40.0)])
    field = Thumbnail(rgb=a_field().rgb, mpp_xy=(0.5, 0.5), area_um=(ring,))
    picture = drawn(tmp_path, field, [])[MARGIN : MARGIN + 480, MARGIN : MARGIN + 640]
    rows, columns = np.indices(picture.shape[:2])
    x, y = (columns + 0.5) * 0.5, (rows + 0.5) * 0.5
    inside = (x > 60) & (y > 40) & (y < 180)
    away = np.min(
        [np.abs(x - 60) + 1e3 * ((y < 40) | (y > 180)), *(np.abs(y - end) + 1e3 * (x < 60) for end in (40, 180))], 0
    )
    assert (picture[(away > 3) & inside] == GROUND).all()
    assert (picture[(x < 57) | (y < 37) | (y > 183)] == GROUND).all()
    assert (picture[away < 0.3] > 240).all()
