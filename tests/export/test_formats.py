"""Laws of the files for QuPath and grand-challenge."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
import tifffile
from highdicom.ann import annread

from midog_points import read_points
from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import FormatError, FrameError, StorageError
from mitosieve.export import FORMATS, SUFFIXES, HotspotOutline, SlideContext
from mitosieve.export.geojson import write_geojson
from mitosieve.export.grand_challenge import write_points, write_points_2021
from mitosieve.export.parquet import write_parquet
from mitosieve.export.roi import read_roi
from mitosieve.export.table import read_detections
from mitosieve.slide.slide import open_slide


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


def a_slide(slide_id="s", mpp_xy=(0.25, 0.25), path=Path("s.tif")):
    return SlideContext(slide_id=slide_id, path=path, size_l0=(90_000, 90_000), mpp_xy=mpp_xy)


def strict(path):
    return json.loads(path.read_text(), parse_constant=lambda value: pytest.fail(f"{value} is not JSON"))


ROWS = {
    "geojson": lambda path: len(strict(path)["features"]),
    "midog": lambda path: len(strict(path)["points"]),
    "midog2021": lambda path: len(strict(path)["points"]),
    "csv": lambda path: len(read_detections(path)),
    "parquet": lambda path: len(pd.read_parquet(path)),
    "dicom": lambda path: sum(g.number_of_annotations for g in annread(path).get_annotation_groups()),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 20])
def test_every_format_is_read_by_its_own_kind_of_reader(tmp_path, name, count):
    """Each format holds as many rows as there are (2021: figures), also none, and is equal bytes each time."""
    detections = some_detections(count)
    path = FORMATS[name](tmp_path / f"s{SUFFIXES[name]}", detections, a_slide())
    if name == "dicom" and count == 0:
        assert list(tmp_path.iterdir()) == [], "DICOM knows no empty annotation"
        return
    assert ROWS[name](path) == (detections.is_figure.sum() if name == "midog2021" else count)
    again = FORMATS[name](tmp_path / "again", some_detections(count), a_slide())
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_detections_of_other_slides_are_refused(tmp_path, name):
    """Positions of two slides never mix, nor does one slide take those of another; no file is left."""
    mixed = Detections.of(slide_id=["s", "t"], center_l0=[(1, 1), (2, 2)], score=[1, 1])
    with pytest.raises(FrameError, match="not of 2"):
        FORMATS[name](tmp_path / "x.json", mixed, a_slide())
    with pytest.raises(FrameError, match="'t', not of 's'"):
        FORMATS[name](tmp_path / "x.json", mixed[1:], a_slide())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_cannot_be_written_is_one_message(tmp_path, name):
    """A file stands where the folder should be."""
    (tmp_path / "in_the_way").write_text("")
    with pytest.raises(StorageError, match="in_the_way"):
        FORMATS[name](tmp_path / "in_the_way" / "s", some_detections(3), a_slide())


def ids_in(name, path):
    """Ids of the detections in a file, in their order."""
    if name == "geojson":
        features = [f for f in strict(path)["features"] if f["properties"]["objectType"] == "detection"]
        return [feature["id"] for feature in features]
    table = pd.read_csv(path) if name == "csv" else pd.read_parquet(path)
    return table["detection_id"].tolist()


@pytest.mark.parametrize("name", ["geojson", "csv", "parquet"])
def test_ids_are_the_same_in_every_format(tmp_path, monkeypatch, name):
    """Every format that has a place for it holds the id that detector, slide and place give, chunk by chunk too."""
    monkeypatch.setattr("mitosieve.export.rows.CHUNK", 7)
    found = some_detections(30)
    slide = replace(a_slide(), detector="f00", hotspot=a_hotspot())
    path = FORMATS[name](tmp_path / f"s{SUFFIXES[name]}", found, slide)
    assert ids_in(name, path) == detection_ids(found, "f00")
    again = read_detections(FORMATS["csv"](tmp_path / "again.csv", found, slide))
    assert detection_ids(again, "f00") == detection_ids(found, "f00")


def a_hotspot():
    corners = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 20.0), (0.0, 20.0)])
    return HotspotOutline(corners_l0=corners, area_mm2=2.0, figures=7)


def test_the_hotspot_is_a_locked_annotation(tmp_path):
    """It stands first, as a closed polygon half a pixel off, with an id, a class and numbers; without one none does."""
    slide = replace(a_slide(), hotspot=a_hotspot())
    first, *others = strict(write_geojson(tmp_path / "s.geojson", some_detections(3), slide))["features"]
    assert len(others) == 3
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[0.5, 0.5], [10.5, 0.5], [10.5, 20.5], [0.5, 20.5], [0.5, 0.5]]],
    }
    properties = first["properties"]
    assert (properties["objectType"], properties["isLocked"]) == ("annotation", True)
    assert properties["name"] == "Hotspot: 7 figures in 2 mm2"
    assert properties["measurements"] == {"figures": 7, "area mm2": 2.0}
    assert uuid.UUID(first["id"])
    assert len({feature["id"] for feature in (first, *others)}) == 4
    kinds = {
        f["properties"]["objectType"]
        for f in strict(write_geojson(tmp_path / "t", some_detections(3), a_slide()))["features"]
    }
    assert kinds == {"detection"}
    assert shapely.area(read_roi_of(first, tmp_path)) == 200


def read_roi_of(feature, folder):
    (folder / "roi.geojson").write_text(json.dumps(feature))
    return read_roi(folder / "roi.geojson")


@pytest.mark.parametrize("name", ["geojson", "midog", "midog2021"])
def test_chunks_do_not_show(tmp_path, monkeypatch, name):
    """A file written in small chunks is the one written whole, also where a chunk holds no figure."""
    detections = some_detections(50)
    detections = detections[np.argsort(detections.is_figure, kind="stable")]
    whole = FORMATS[name](tmp_path / "1", detections, a_slide()).read_bytes()
    monkeypatch.setattr("mitosieve.export.rows.CHUNK", 7)
    assert FORMATS[name](tmp_path / "2", detections, a_slide()).read_bytes() == whole


def test_qupath_features_hold_what_was_found(tmp_path):
    """Each feature is a detection with its class, colour and the scores of the stages that saw it."""
    detections = some_detections()
    features = json.loads(write_geojson(tmp_path / "s.geojson", detections, a_slide()).read_text())["features"]
    for row, feature in enumerate(features):
        properties = feature["properties"]
        assert feature["geometry"]["type"] == "Point"
        assert feature["geometry"]["coordinates"] == pytest.approx(detections.center_l0[row] + 0.5, abs=1e-3)
        assert properties["objectType"] == "detection"
        expected = "Mitotic figure" if detections.is_figure[row] else "Mitotic figure candidate"
        assert properties["classification"]["name"] == expected
        assert all(0 <= value <= 255 for value in properties["classification"]["color"])
        stages = {"score": detections.score[row], "screen score": detections.stage_score[row, 0]}
        stages["called figure"] = int(detections.is_figure[row])
        if not np.isnan(detections.stage_score[row, 1]):
            stages["refined score"] = detections.stage_score[row, 1]
        assert properties["measurements"] == pytest.approx(stages, abs=1e-6)


def test_stage_names_may_hold_any_sign(tmp_path):
    """Percent signs and quotes in a stage's name neither break the file nor the number beside them."""
    name = '50 % "sure" %s'
    detections = Detections.of(
        slide_id=["s"], center_l0=[(1, 2)], score=[0.5], stage_names=(name,), stage_score=np.array([[0.25]])
    )
    feature = strict(write_geojson(tmp_path / "s.geojson", detections, a_slide()))["features"][0]
    assert feature["properties"]["measurements"] == {
        "score": 0.5,
        f"{name} score": 0.25,
        "called figure": 1,
    }


@pytest.mark.parametrize("mpp", [(0.23, 0.23), (0.25, 0.25), (0.4991, 0.4991), (0.25, 0.5)])
def test_points_round_trip(tmp_path, mpp):
    """Points written in mm are read at the same pixel, score and name, each axis by its own mpp; a corner is 0 mm."""
    detections = some_detections()
    slide = a_slide(mpp_xy=mpp)
    path = write_points(tmp_path / "s.json", detections, slide)
    found = read_points(path, mpp, "s")
    assert found.center_l0 == pytest.approx(detections.center_l0, abs=5e-3)
    assert found.score == pytest.approx(detections.score, abs=1e-6)
    assert found.is_figure.tolist() == detections.is_figure.tolist()
    assert found.slide_id.tolist() == ["s"] * len(detections)
    corner = Detections.of(slide_id=["s"], center_l0=[(0, 0)], score=[1])
    assert json.loads(write_points(path, corner, slide).read_text()) == {
        "name": "Points of interest",
        "type": "Multiple points",
        "points": [{"name": "mitotic figure", "point": [0, 0, 0], "probability": 1}],
        "version": {"major": 1, "minor": 0},
    }


def test_oblong_pixels_have_one_mpp_an_axis(tmp_path):
    """At 0.25 x 0.5 um per px the pixel (4000, 4000) lies at 1 mm and 2 mm."""
    one = Detections.of(slide_id=["s"], center_l0=[(4000, 4000)], score=[1])
    slide = a_slide(mpp_xy=(0.25, 0.5))
    for write in (write_points, write_points_2021):
        assert strict(write(tmp_path / "s.json", one, slide))["points"][0]["point"] == [1, 2, 0]


def test_the_layout_of_2021_holds_the_figures_alone(tmp_path):
    """Points have neither name nor probability, so those below the threshold are left out."""
    detections = some_detections()
    content = strict(write_points_2021(tmp_path / "s.json", detections, a_slide()))
    assert content.keys() == {"type", "points", "version"}
    assert all(point.keys() == {"point"} for point in content["points"])
    found = read_points(tmp_path / "s.json", 0.25, "s")
    assert found.center_l0 == pytest.approx(detections.figures.center_l0, abs=5e-3)


@pytest.mark.parametrize("write", [write_points, write_points_2021])
def test_a_point_beyond_10_mm_is_written_and_said(tmp_path, caplog, write):
    """The MIDOG 2025 evaluation refuses it; at 10 mm there is nothing to say."""
    at = Detections.of(slide_id=["s"], center_l0=[(40_000, 40_000)], score=[1])
    write(tmp_path / "s.json", at, a_slide())
    assert caplog.messages == []
    beyond = Detections.of(slide_id=["s"] * 2, center_l0=[(40_001, 0), (0, 0)], score=[1, 1])
    assert len(strict(write(tmp_path / "s.json", beyond, a_slide()))["points"]) == 2
    assert ["1 of 2 points lie beyond 10 mm" in message for message in caplog.messages] == [True]


@pytest.mark.parametrize("mpp", [0, -0.25, float("nan"), float("inf")])
def test_a_slide_without_a_resolution_has_no_mm(mpp):
    """What is no resolution never becomes a position."""
    with pytest.raises(ValueError, match="mpp must be above 0"):
        a_slide(mpp_xy=(0.25, mpp))


@pytest.mark.parametrize("mpp_xy", [(0.5, 0.5), (0.25, 0.5)])
def test_an_opened_slide_tells_its_facts(tmp_path, mpp_xy):
    """Name, file, size and resolution of the slide that was read, also where its pixels are oblong."""
    stated = tuple(1e4 / mpp for mpp in mpp_xy)
    pixels = np.full((30, 40, 3), 200, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", resolution=stated, resolutionunit="CENTIMETER")
    with open_slide(tmp_path / "a.tif") as slide:
        told = SlideContext.of(slide)
    assert (told.slide_id, told.path, told.size_l0) == ("a", tmp_path / "a.tif", (40, 30))
    assert told.mpp_xy == pytest.approx(mpp_xy)


@pytest.mark.data
def test_published_submissions_survive_a_round_trip(data_folder, tmp_path):
    """The official 2025 submissions, read and written again, say the same, and have the keys of our own files."""
    inputs = data_folder / "formats/reference/midog25_track1/input"
    paths = sorted(inputs.glob("*/output/mitotic-figures.json"))
    assert len(paths) >= 3
    for path in paths:
        official = json.loads(path.read_text())
        found = read_points(path, 0.25, "s")
        ours = strict(write_points(tmp_path / "s.json", found, a_slide()))
        assert {key: ours[key] for key in ours if key != "points"} == {
            k: official[k] for k in official if k != "points"
        }
        for mine, theirs in zip(ours["points"], official["points"], strict=True):
            assert mine.keys() == theirs.keys()
            assert mine["name"] == theirs["name"]
            assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-6)
            assert mine["point"][:2] == pytest.approx(theirs["point"][:2], abs=1e-6)


def test_parquet_has_the_columns_of_the_csv(tmp_path):
    """Names and rows agree; a stage that did not see a cell is null; numbers keep all their digits."""
    detections = some_detections()
    table = pd.read_parquet(FORMATS["parquet"](tmp_path / "s.parquet", detections, a_slide()))
    csv = FORMATS["csv"](tmp_path / "s.csv", detections, a_slide())
    assert list(table.columns) == csv.read_text().splitlines()[0].split(",")
    assert table[["x", "y"]].to_numpy().tolist() == detections.center_l0.tolist()
    assert table["score"].tolist() == detections.score.tolist()
    assert table["is_figure"].tolist() == detections.is_figure.tolist()
    np.testing.assert_array_equal(table[["screen_score", "refined_score"]].to_numpy(), detections.stage_score)
    assert pq.read_table(tmp_path / "s.parquet")["refined_score"].null_count == np.isnan(detections.stage_score).sum()


def test_parquet_groups_do_not_show(tmp_path, monkeypatch):
    """A table of several row groups holds the same rows."""
    whole = pd.read_parquet(write_parquet(tmp_path / "1", some_detections(50)))
    monkeypatch.setattr("mitosieve.export.parquet._ROW_GROUP", 7)
    pd.testing.assert_frame_equal(pd.read_parquet(write_parquet(tmp_path / "2", some_detections(50))), whole)


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
    corners = Detections.of(slide_id=["s"] * 2, center_l0=[(0, 0), (99, 49)], score=[1, 1])
    path = write_geojson(tmp_path / "s.geojson", corners, a_slide())
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
