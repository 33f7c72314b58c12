"""Laws of the area to look in: what is drawn is what is looked at, and what a repair changes is said."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from mitosieve.errors import FormatError
from mitosieve.export.roi import read_roi
from tiny import ONE_CORE, a_run, images, mitosieve

BOX, FAR = shapely.box(10, 20, 110, 70), shapely.box(200, 200, 210, 210)
BOW_TIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 20)])
TOUCHING = shapely.Polygon([(0, 0), (10, 0), (10, 10), (5, 0), (0, 10)])


def written(folder, *geometries, **more):
    path = folder / "roi.geojson"
    features = [{"type": "Feature", "geometry": item, "properties": {}} for item in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def collection(*geometries):
    return {"type": "GeometryCollection", "geometries": list(geometries)}


@pytest.mark.parametrize("deep", [1, 2, 5])
def test_areas_are_taken_out_of_collections(tmp_path, deep):
    """However deep; what has no area there is left, and areas that overlap are joined."""
    point = {"type": "Point", "coordinates": [0, 0]}
    line = {"type": "LineString", "coordinates": [[0, 0], [500, 500]]}
    more = shapely.box(0, 20, 50, 70)
    item = collection(mapping(BOX), point, line, mapping(shapely.MultiPolygon([FAR])), mapping(more))
    for _ in range(deep - 1):
        item = collection(item)
    expected = shapely.union_all([BOX, FAR, shapely.box(0, 20, 50, 70)])
    assert read_roi(written(tmp_path, item)).equals(shapely.transform(expected, lambda xy: xy - 0.5))


def test_a_collection_without_area(tmp_path):
    """It is refused as its points would be."""
    with pytest.raises(FormatError, match=r"feature 2: is a GeometryCollection, which has no area"):
        read_roi(written(tmp_path, mapping(BOX), collection({"type": "Point", "coordinates": [0, 0]})))


@pytest.mark.parametrize(("area", "covers"), [(BOW_TIE, shapely.make_valid(BOW_TIE).area), (TOUCHING, 50.0)])
@pytest.mark.parametrize("inside", [False, True])
def test_an_area_that_touches_itself(tmp_path, area, covers, inside):
    """Refused with what a repair would change and how to ask for it; repaired, it is what it covers, and told."""
    item = collection(mapping(area)) if inside else mapping(area)
    path = written(tmp_path, mapping(FAR), item)
    with pytest.raises(FormatError, match=r"feature 2: touches or crosses itself.*px2 repaired") as caught:
        read_roi(path)
    assert "--repair-roi" in str(caught.value)
    told = []
    assert read_roi(path, repair=True, tell=told.append).area == pytest.approx(covers + FAR.area)
    assert len(told) == 1
    assert f"{covers:,.1f} px2 repaired" in told[0]


def test_a_corner_far_beyond_any_slide_is_one_message(tmp_path):
    """The numbers of its repair overflow, and nobody sees more of that than the refusal."""
    ring = [[0, 1e300], [300, 0], [300, 200], [0, 200], [0, 0]]
    with pytest.raises(FormatError, match="touches or crosses itself"):
        read_roi(written(tmp_path, {"type": "Polygon", "coordinates": [ring]}))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=9))
def test_any_ring_is_taken_or_refused(points):
    """Of whole corners: a valid ring is its polygon; any other is refused, and repaired is valid."""
    ring = {"type": "Polygon", "coordinates": [[*map(list, points), list(points[0])]]}
    drawn = shapely.Polygon(points)
    with TemporaryDirectory() as folder:
        path = written(Path(folder), ring)
        try:
            area = read_roi(path)
        except FormatError:
            assert not drawn.is_valid or drawn.area == 0
            try:
                area = read_roi(path, repair=True)
            except FormatError:
                assert shapely.make_valid(drawn).area == 0
                return
            assert area.is_valid
            assert area.area > 0
            return
    assert area.area == pytest.approx(drawn.area)


def test_the_command_offers_the_repair(tmp_path):
    """One message with the option; with it, the job is done and the change is told."""
    path = written(tmp_path, mapping(BOW_TIE))
    words = ("detect", "--detector", a_run(), images()[0], "--mpp", 0.25, "--roi", path, "--out", tmp_path / "out")
    told = mitosieve(*words, *ONE_CORE)
    assert (told.code, "--repair-roi" in told.err) == (2, True)
    told = mitosieve(*words, *ONE_CORE, "--repair-roi")
    assert told.code == 0, told.err
    assert "was repaired" in told.err
