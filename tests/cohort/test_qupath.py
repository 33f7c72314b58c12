"""Laws of QuPath's GeoJSON, read as labels."""

import gzip
import json

import pytest
import shapely

from build import an_image
from layouts import text
from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError

MITOSIS = {"name": "Mitosis", "color": [1, 2, 3]}


def feature(kind, coordinates, classification=MITOSIS, **more):
    known = {} if classification is None else {"classification": classification}
    return {
        "type": "Feature", "id": "PathAnnotationObject",
        "geometry": {"type": kind, "coordinates": coordinates, **more},
        "properties": {"objectType": "annotation", **known},
    }  # fmt: skip


def file(path, *features):
    return text(path, json.dumps({"type": "FeatureCollection", "features": list(features)}))


def marks(source, **more):
    (image,) = read_labels("qupath", source, None, **more).images
    return [(mark.x, mark.y) for mark in image.marks]


SQUARE = [[[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]]


@pytest.mark.parametrize(
    ("kind", "coordinates", "places"),
    [
        ("Point", [100, 50], [(99.5, 49.5)]),
        ("Point", [100, 50, 0], [(99.5, 49.5)]),
        ("MultiPoint", [[1, 1], [9, 9]], [(0.5, 0.5), (8.5, 8.5)]),
        ("Polygon", SQUARE, [(14.5, 14.5)]),
        ("Polygon", [[[0, 0], [6, 0], [0, 6], [0, 0]]], [(1.5, 1.5)]),
        ("MultiPolygon", [SQUARE, [[[30, 10], [40, 10], [40, 20], [30, 20], [30, 10]]]], [(24.5, 14.5)]),
    ],
)
def test_points_are_marks_and_areas_are_at_their_centroid(tmp_path, kind, coordinates, places):
    """Half a pixel is taken off: QuPath's first pixel covers 0 to 1."""
    assert marks(file(tmp_path / "s.geojson", feature(kind, coordinates))) == [pytest.approx(place) for place in places]


def test_an_ellipse_is_a_polygon_of_many_corners(tmp_path):
    """As QuPath writes it, with its flag."""
    ring = shapely.get_coordinates(shapely.Point(60, 40).buffer(9)).tolist()
    assert marks(file(tmp_path / "s.geojson", feature("Polygon", [ring], isEllipse=True))) == [
        pytest.approx((59.5, 39.5))
    ]


def test_every_way_to_write_a_collection_is_read(tmp_path):
    """FeatureCollection, list, one alone, packed, and parts of a collection of geometries."""
    one = feature("Point", [100, 50])
    packed = tmp_path / "s.geojson.gz"
    packed.write_bytes(gzip.compress(json.dumps([one]).encode()))
    many = {**one, "geometry": {"type": "GeometryCollection", "geometries": [one["geometry"], one["geometry"]]}}
    assert marks(file(tmp_path / "a.geojson", one)) == [(99.5, 49.5)]
    assert marks(text(tmp_path / "b.json", json.dumps([one]))) == [(99.5, 49.5)]
    assert marks(text(tmp_path / "c.json", json.dumps(one))) == [(99.5, 49.5)]
    assert marks(packed) == [(99.5, 49.5)]
    assert marks(file(tmp_path / "d.geojson", many)) == [(99.5, 49.5)] * 2


@pytest.mark.parametrize(
    "classification",
    [MITOSIS, "mitosis", {"names": ["Mitosis", "Metaphase"]}, {"names": ["Mitose"]}, {"name": "Mitosis: Anaphase"}],
)
def test_a_class_may_be_written_in_many_ways(tmp_path, classification):
    """Text, a name, names of several levels."""
    source = file(tmp_path / "s.geojson", feature("Point", [100, 50], classification))
    assert [m.label for m in read_labels("qupath", source, None).images[0].marks] == [Label.MITOTIC_FIGURE]


@pytest.mark.parametrize("classification", [None, {}, {"name": None}, "", {"names": []}])
def test_an_object_without_a_class_is_refused_until_it_is_ruled(tmp_path, classification):
    """It may be a figure, or a frame that somebody drew."""
    source = file(tmp_path / "s.geojson", feature("Point", [1, 1]), feature("Point", [100, 50], classification))
    with pytest.raises(FormatError, match=r"'unclassified' \(1 mark\) is not known \(first: feature 2\)"):
        read_labels("qupath", source, None)


def test_regions_lines_and_empty_shapes_are_no_cells(tmp_path):
    """A region is what was searched; lines and shapes without area are left out and told."""
    source = file(
        tmp_path / "s.geojson",
        feature("Polygon", SQUARE, {"name": "Region*"}),
        feature("Point", [15, 15]),
        feature("LineString", [[0, 0], [5, 5]]),
        feature("Polygon", [[[1, 1], [1, 1], [1, 1], [1, 1]]]),
        feature("Point", []),
        {**feature("Point", []), "geometry": None},
    )
    report = import_cohort("qupath", source, tmp_path / "c", mpp=0.25)
    (entry,) = Cohort.load(tmp_path / "c").slides
    assert (entry.roi.bounds, report.total.figures, entry.labelled) == ((9.5, 9.5, 19.5, 19.5), 1, True)
    assert any("1 line or arrow left out" in warning for warning in report.warnings)
    assert any("3 boxes without area and shape" in warning for warning in report.warnings)


def test_a_file_is_called_as_its_slide_and_an_empty_one_says_nothing(tmp_path):
    """QuPath names no image; folders are read with those below; without any mark a slide is unlabelled."""
    file(tmp_path / "q/p1_a.svs.geojson", feature("Point", [100, 50]))
    file(tmp_path / "q/more/p2_b.geojson")
    for name in ("p1_a", "p2_b"):
        an_image(tmp_path / f"images/{name}.png", seed=ord(name[3]))
    cohort = import_cohort("qupath", tmp_path / "q", tmp_path / "c", images=tmp_path / "images", mpp=0.25).cohort
    assert [(e.slide_id, e.case_id, e.labelled, e.width_l0) for e in cohort.slides] == [
        ("p2_b", "p2", False, 400), ("p1_a", "p1", True, 400),
    ]  # fmt: skip


BROKEN = {
    "no feature": ([{"type": "Point"}], "feature 1: is not a GeoJSON feature"),
    "unknown geometry": ([feature("Circle", [1, 2])], "its geometry is of the type"),
    "a position of one": ([feature("Point", [1])], "a position is"),
    "a position of text": ([feature("Point", ["left", 2])], "x is 'left'"),
    "NaN": ([feature("Point", [float("nan"), 2])], "x is 'nan'"),
    "a ring of numbers": ([feature("Polygon", [1, 2])], "its coordinates are"),
    "geometry as text": ([{**feature("Point", []), "geometry": "x"}], "its geometry is"),
    "class as number": ([feature("Point", [1, 2], {"name": 5})], "its classification is"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_its_feature(tmp_path, name):
    """One message with file, feature and remedy."""
    features, message = BROKEN[name]
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("qupath", file(tmp_path / "s.geojson", *features), None)
    assert "remedy:" in str(caught.value)


def test_what_is_no_geojson_is_refused(tmp_path):
    """A cut file, a packed one that is cut, an empty folder."""
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"[" * 5000)[:30])
    (tmp_path / "empty").mkdir()
    for source, message in (
        (text(tmp_path / "b.geojson", "{"), "is not JSON"),
        (tmp_path / "a.geojson.gz", "cannot be unpacked"),
        (text(tmp_path / "c.geojson", '{"type": "FeatureCollection"}'), "without a list of features"),
        (tmp_path / "empty", "holds no GeoJSON file"),
    ):
        with pytest.raises(FormatError, match=message):
            read_labels("qupath", source, None)


@pytest.mark.data
def test_inputs_from_the_wild(cases_folder):
    """A collection of one point, and a plain list with a set of points of two levels of class."""
    folder = cases_folder / "labels/26-formats-without-importer"
    assert marks(folder / "fc.geojson") == [(99.5, 99.5)]
    assert marks(folder / "multi.json") == [(0.5, 0.5), (8.5, 8.5)]
