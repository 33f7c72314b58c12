"""Laws of the files for QuPath and grand-challenge."""

import json

import numpy as np
import pytest
import shapely

from mitosieve.detection import Detections
from mitosieve.errors import FormatError, FrameError
from mitosieve.export import FORMATS, SUFFIXES
from mitosieve.export.geojson import read_roi, write_geojson
from mitosieve.export.grand_challenge import read_points, write_points


def some_detections(count=20, seed=0):
    generator = np.random.default_rng(seed)
    stage_score = generator.uniform(0, 1, (count, 2))
    stage_score[::3, 1] = np.nan
    return Detections.of(
        slide_id=["s"] * count,
        center_l0=generator.uniform(-0.5, 90_000, (count, 2)),
        score=generator.uniform(0, 1, count),
        threshold=0.5,
        stage_names=("screen", "refined"),
        stage_score=stage_score,
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 20])
def test_every_format_is_strict_json(tmp_path, name, count):
    """Each format writes valid JSON, also without detections, and equal bytes each time."""
    write = FORMATS[name]
    path = write(tmp_path / f"s{SUFFIXES[name]}", some_detections(count), 0.25)
    content = json.loads(path.read_text(), parse_constant=lambda value: pytest.fail(f"{value} is not JSON"))
    assert len(content.get("features", content.get("points"))) == count
    assert write(tmp_path / "again", some_detections(count), 0.25).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_two_slides_in_one_file_are_refused(tmp_path, name):
    """Positions of two slides never mix, and no file is left."""
    mixed = Detections.of(slide_id=["a", "b"], center_l0=[(1, 1), (2, 2)], score=[1, 1])
    with pytest.raises(FrameError, match="not of 2"):
        FORMATS[name](tmp_path / "x.json", mixed, 0.25)
    assert list(tmp_path.iterdir()) == []


def test_qupath_features_hold_what_was_found(tmp_path):
    """Each feature is a detection with its class, colour and the scores of the stages that saw it."""
    detections = some_detections()
    features = json.loads(write_geojson(tmp_path / "s.geojson", detections, 0.25).read_text())["features"]
    for row, feature in enumerate(features):
        properties = feature["properties"]
        assert feature["geometry"]["type"] == "Point"
        assert feature["geometry"]["coordinates"] == pytest.approx(detections.center_l0[row] + 0.5, abs=1e-3)
        assert properties["objectType"] == "detection"
        expected = "Mitotic figure" if detections.is_figure[row] else "Mitotic figure candidate"
        assert properties["classification"]["name"] == expected
        assert all(0 <= value <= 255 for value in properties["classification"]["color"])
        stages = {"score": detections.score[row], "screen score": detections.stage_score[row, 0]}
        if not np.isnan(detections.stage_score[row, 1]):
            stages["refined score"] = detections.stage_score[row, 1]
        assert properties["measurements"] == pytest.approx(stages, abs=1e-6)


@pytest.mark.parametrize("mpp", [0.23, 0.25, 0.4991])
def test_points_round_trip(tmp_path, mpp):
    """Points written in mm are read at the same pixel, score and name, and the slide's corner pixel is at 0 mm."""
    detections = some_detections()
    path = write_points(tmp_path / "s.json", detections, mpp)
    found = read_points(path, mpp, "s")
    assert found.center_l0 == pytest.approx(detections.center_l0, abs=5e-3)
    assert found.score == pytest.approx(detections.score, abs=1e-6)
    assert found.is_figure.tolist() == detections.is_figure.tolist()
    assert found.slide_id.tolist() == ["s"] * len(detections)
    corner = Detections.of(slide_id=["s"], center_l0=[(0, 0)], score=[1])
    assert json.loads(write_points(path, corner, mpp).read_text()) == {
        "name": "Points of interest",
        "type": "Multiple points",
        "points": [{"name": "mitotic figure", "point": [0, 0, 0], "probability": 1}],
        "version": {"major": 1, "minor": 0},
    }


def test_points_of_2021_are_figures(tmp_path):
    """Points without name and probability count as figures with score 1."""
    path = tmp_path / "s.json"
    path.write_text('{"type": "Multiple points", "points": [{"point": [0.25, 0.5, 0]}]}')
    found = read_points(path, 0.25, "s")
    assert found.center_l0.tolist() == [[1000, 2000]]
    assert found.is_figure.tolist() == [True]
    assert found.score.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a list of points"),
        ("[]", "not a list of points"),
        ('{"points": 3}', "not a list of points"),
        ('{"points": [{"point": [1, 2, 0]}, {"point": [1]}]}', "point 2: is not a point"),
        ('{"points": [7]}', "point 1: is not a point"),
        ('{"points": [{"point": [NaN, 2, 0]}]}', "not a finite"),
        ('{"points": [{"point": [1, 2, 0], "probability": 3}]}', "probability 3"),
    ],
)
def test_broken_points_are_named(tmp_path, text, message):
    """A file of another layout is refused with the point's number."""
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_points(path, 0.25, "s")


@pytest.mark.data
def test_published_points_are_read(data_folder):
    """The published detections of MIDOG++ slide 401 are 225, of which 26 are named figures."""
    found = read_points(data_folder / "formats/reference/midog25_track1/detections_midogpp_401.json", 0.227, "401")
    assert (len(found), int(found.is_figure.sum())) == (225, 26)


SQUARE = {"type": "Polygon", "coordinates": [[[10, 20], [110, 20], [110, 70], [10, 70], [10, 20]]]}
FAR = {"type": "Polygon", "coordinates": [[[500, 0], [510, 0], [510, 10], [500, 10], [500, 0]]]}


def feature(geometry):
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"}}


@pytest.mark.parametrize(
    "content",
    [SQUARE, feature(SQUARE), [feature(SQUARE)], {"type": "FeatureCollection", "features": [feature(SQUARE)]}],
)
def test_roi_is_read_from_all_layouts(tmp_path, content):
    """Whatever QuPath wraps around it, a rectangle becomes the same area, half a pixel up and left."""
    path = tmp_path / "roi.geojson"
    path.write_text(json.dumps(content))
    assert read_roi(path).equals(shapely.box(9.5, 19.5, 109.5, 69.5))


def test_several_areas_are_joined(tmp_path):
    """Two areas count together, their overlap once."""
    path = tmp_path / "roi.geojson"
    path.write_text(json.dumps([feature(SQUARE), feature(FAR), feature(SQUARE)]))
    assert read_roi(path).area == pytest.approx(100 * 50 + 100)


def test_written_points_and_roi_share_a_frame(tmp_path):
    """QuPath's rectangle over a whole image holds the centre of its first and last pixel, as exported."""
    path = write_geojson(
        tmp_path / "s.geojson", Detections.of(slide_id=["s"] * 2, center_l0=[(0, 0), (99, 49)], score=[1, 1]), 0.25
    )
    points = [f["geometry"]["coordinates"] for f in json.loads(path.read_text())["features"]]
    assert points == [[0.5, 0.5], [99.5, 49.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no area"),
        ("3", "feature 1: is not a GeoJSON"),
        ('{"type": "Feature", "geometry": null}', "feature 1: is not a GeoJSON"),
        ('{"type": "Polygon"}', "feature 1: is not a GeoJSON"),
        ('{"type": "Polygon", "coordinates": 5}', "feature 1: is not a GeoJSON"),
        ('{"type": "Polygon", "coordinates": []}', "feature 1: is empty"),
        ('{"type": "Point", "coordinates": [1, 2]}', "feature 1: is a Point"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}', "crosses itself"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 0], [0, 0]]]}', "not a finite"),
    ],
)
def test_broken_roi_is_named(tmp_path, text, message):
    """What is no area is refused with the file and the feature's number."""
    path = tmp_path / "roi.geojson"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_roi(path)
    assert str(path) in str(caught.value)
