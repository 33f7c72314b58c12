"""Corrected detections and added points, from QuPath into a new version of the cohort."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid4, uuid5

import numpy as np
import pytest

from build import a_cohort
from mitosieve.annotation import Label
from mitosieve.audit import corrections
from mitosieve.audit.corrections import import_corrections
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.place import place_id
from mitosieve.detection import Detections
from mitosieve.errors import FormatError
from mitosieve.export import HotspotOutline, SlideContext
from mitosieve.export.geojson import write_geojson
from mitosieve.review.reviews import Reviews
from mitosieve.review.tables import save
from reviewed_result import a_result, add, judge
from tiny import mitosieve

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
FIGURE, IMPOSTER = Label.MITOTIC_FIGURE.value, Label.IMPOSTER.value
SLIDE = "c0_s0"
FREE = [(20.0, 280.0), (380.0, 20.0), (380.0, 280.0), (200.0, 290.0)]
"""Places without a mark."""


@pytest.fixture
def cohort(tmp_path):
    return a_cohort(tmp_path / "cohort", cases=2)


def a_file(folder, cohort, name=SLIDE):
    """What detect writes: two called figures and two candidates where no mark is, and one called figure on a mark."""
    places = [*FREE, tuple(cohort.annotations.center_l0[0] + 8)]
    found = Detections.of(
        slide_id=[SLIDE] * 5, center_l0=places, score=[0.9, 0.8, 0.3, 0.2, 0.7], threshold=0.5
    )  # fmt: skip
    outline = HotspotOutline(corners_l0=np.array([(0.0, 0.0), (9.0, 0.0), (9.0, 9.0)]), area_mm2=2.0, figures=3)
    context = SlideContext(
        slide_id=SLIDE, path=folder, size_l0=(400, 300), mpp_xy=(0.25, 0.25), detector="d", hotspot=outline
    )
    return write_geojson(folder / f"{name}.geojson", found, context)


def edit(path, classes, *added):
    """Give detections, by their number, another class, and add features."""
    content = json.loads(path.read_text())
    for number, name in classes.items():
        content["features"][1 + number]["properties"]["classification"] = {"name": name}
    content["features"] += added
    path.write_text(json.dumps(content))
    return path


def a_point(name, *places):
    lone = len(places) == 1
    return {
        "type": "Feature",
        "id": "7d3bd0d8-2d6c-4c3a-9c2f-0a4f3f0f1a11",
        "geometry": {"type": "Point" if lone else "MultiPoint", "coordinates": places[0] if lone else places},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


def taken(path, cohort, tmp_path, out="new", **more):
    return import_corrections(path, cohort.folder, tmp_path / out, now=NOW, **more)


def test_corrected_detections_become_marks(cohort, tmp_path):
    """A candidate called a figure is one, a rejected figure an imposter; what was left says nothing."""
    path = edit(a_file(tmp_path, cohort), {1: "Imposter", 2: "Mitotic figure"})
    report = taken(path, cohort, tmp_path)
    old, new = cohort.annotations, report.cohort.annotations
    assert new.label.tolist() == [*old.label, FIGURE, IMPOSTER] or new.label.tolist() == [*old.label, IMPOSTER, FIGURE]
    assert sorted(map(tuple, new.center_l0[len(old) :].tolist())) == sorted([FREE[1], FREE[2]])
    assert dict(zip(map(tuple, new.center_l0[len(old) :].tolist()), new.label[len(old) :].tolist(), strict=True)) == {
        FREE[1]: IMPOSTER,
        FREE[2]: FIGURE,
    }
    assert (report.total.added, report.total.changed, report.left) == (2, 2, 2)
    assert set(new.label_before[len(old) :]) == {"background"}


def test_more_slides_cost_no_point_more(tmp_path, monkeypatch):
    """Ids made to find the place of a point: of a detection none, of others those of the slide that the file is called
    after, however many slides the cohort has.
    """
    made = []
    monkeypatch.setattr(corrections, "place_id", lambda *place: made.append(place) or place_id(*place))
    taken_for = {}
    for cases in (2, 12):
        cohort = a_cohort(tmp_path / f"cohort-{cases}", cases=cases)
        page = [dict(a_point("Imposter", [30 + n, 250]), id=str(uuid5(NAMESPACE_URL, str(n)))) for n in range(20)]
        own = [dict(a_point("Mitotic figure", [100 + n, 100]), id=str(uuid4())) for n in range(20)]
        path = edit(a_file(tmp_path, cohort), {1: "Imposter", 2: "Mitotic figure"}, *page, *own)
        made.clear()
        report = taken(path, cohort, tmp_path, out=f"new-{cases}")
        assert report.total.added >= 40
        taken_for[cases] = len(made) - len(cohort.annotations)
    assert taken_for[12] == taken_for[2] <= 20


@pytest.mark.parametrize("name", ["Background", "Mitotic figure candidate", "Imposter"])
def test_a_rejected_figure_is_an_imposter_whatever_it_is_called(cohort, tmp_path, name):
    """A detection that was called a figure and no longer is becomes an imposter; a candidate left so is nothing."""
    report = taken(edit(a_file(tmp_path, cohort), {0: name, 3: "Background"}), cohort, tmp_path)
    assert report.cohort.annotations.label[len(cohort.annotations) :].tolist() == [IMPOSTER]


def test_what_all_was_seen_is_taken(cohort, tmp_path):
    """Said so, figures that were left are figures; on a mark they confirm it."""
    report = taken(a_file(tmp_path, cohort), cohort, tmp_path, all_seen=True)
    assert report.cohort.annotations.label[len(cohort.annotations) :].tolist() == [FIGURE, FIGURE]
    assert report.left == 0
    assert taken(a_file(tmp_path, cohort), cohort, tmp_path, out="none").total.changed == 0


def test_a_point_near_a_mark_is_that_mark(cohort, tmp_path):
    """A detection within 7.5 um of a mark corrects it, and its score, votes and place stay."""
    report = taken(edit(a_file(tmp_path, cohort), {4: "Imposter"}), cohort, tmp_path)
    new = report.cohort.annotations
    assert new.label[0] == IMPOSTER
    assert new.label_before[0] == FIGURE
    assert len(new) == len(cohort.annotations)
    assert (report.total.to_imposter, report.total.added) == (1, 0)


def test_points_that_a_person_set_are_marks(cohort, tmp_path):
    """A point, and every point of a set of points, is a mark of its class; the hotspot's outline is none."""
    added = a_point("Mitotic figure", [12.5, 12.5]), a_point("Imposter", [300.5, 20.5], [310.5, 250.5])
    report = taken(edit(a_file(tmp_path, cohort), {}, *added), cohort, tmp_path)
    marks = report.cohort.annotations[len(cohort.annotations) :]
    assert dict(zip(map(tuple, marks.center_l0.tolist()), marks.label.tolist(), strict=True)) == {
        (12, 12): FIGURE,
        (300, 20): IMPOSTER,
        (310, 250): IMPOSTER,
    }
    again = import_corrections(tmp_path / f"{SLIDE}.geojson", tmp_path / "new", tmp_path / "again", now=NOW)
    assert again.total.changed == 0


def test_what_readers_decided_comes_back_as_corrections(cohort, tmp_path):
    """The files of `reviews --out` say what the detector called and what the readers call: a figure that they rejected
    is an imposter, a candidate that they accepted and a cell that they added are figures, and the rest says nothing.
    """
    points = [(*place, score) for place, score in zip(FREE, (0.9, 0.8, 0.3, 0.2), strict=True)]
    result = a_result(tmp_path / "found", {SLIDE: points}, size_l0=(400, 300), mpp_xy=(0.25, 0.25))
    made = [judge(result, 0, "imposter"), judge(result, 2, "figure"), add(SLIDE, 100, 250)]
    save(Reviews.of(replace(result, decisions=made)), tmp_path / "tables", result)
    path = tmp_path / "tables" / "geojson" / f"{SLIDE}.geojson"
    report = taken(path, cohort, tmp_path)
    new = report.cohort.annotations[len(cohort.annotations) :]
    found = {tuple(place): label for place, label in zip(new.center_l0.tolist(), new.label.tolist(), strict=True)}
    assert found == {FREE[0]: IMPOSTER, FREE[2]: FIGURE, (100.0, 250.0): FIGURE}
    assert report.left == 1


def test_a_mark_is_near_in_um_where_pixels_are_oblong(cohort, tmp_path):
    """At 0.25 x 0.5 um per px a point 24 px across (6 um) from a mark is that mark; one 18 px down (9 um) is not."""
    entries = [replace(entry, mpp=0.375, oblong=(0.25, 0.5)) for entry in cohort.slides]
    cohort = Cohort(cohort.folder, tuple(entries), cohort.annotations[:1])
    cohort.save()
    x, y = cohort.annotations.center_l0[0]
    for number, (place, added) in enumerate((([x + 24.5, y + 0.5], 0), ([x + 0.5, y + 18.5], 1))):
        path = tmp_path / str(number) / f"{SLIDE}.geojson"
        path.parent.mkdir()
        path.write_text(json.dumps(a_point("Imposter", place)))
        report = taken(path, cohort, tmp_path, out=f"new{number}")
        assert (report.total.to_imposter, report.total.added) == (1 - added, added)


def test_the_slide_is_that_of_the_file_or_the_only_one(cohort, tmp_path):
    """A file of another name says of no slide; where the cohort has one slide, it is that."""
    path = edit(a_file(tmp_path, cohort, name="export"), {1: "Imposter"})
    with pytest.raises(FormatError, match="does not say of which slide"):
        taken(path, cohort, tmp_path)
    assert not (tmp_path / "new").exists()
    lone = a_cohort(tmp_path / "lone", cases=1)
    assert taken(path, lone, tmp_path).total.added == 1


def test_one_place_twice_is_refused(cohort, tmp_path):
    """Two points of one place do not both become marks."""
    twice = a_point("Mitotic figure", [12.5, 12.5]), a_point("Imposter", [12.5, 12.5])
    with pytest.raises(FormatError, match="is the same point as"):
        taken(edit(a_file(tmp_path, cohort), {}, *twice), cohort, tmp_path)


def test_a_new_mark_of_which_nothing_is_learned_is_told(cohort, tmp_path):
    """Outside of the area of its slide that was searched, or on a slide that was not; one inside is not told."""
    first, *others = cohort.slides
    area = "POLYGON ((0 0, 100 0, 100 300, 0 300, 0 0))"
    slides = (replace(first, roi_wkt=area), *(replace(entry, labelled=False) for entry in others))
    known = Cohort(cohort.folder, slides, cohort.annotations)
    known.save()
    inside, outside = a_point("Mitotic figure", [20.5, 280.5]), a_point("Imposter", [380.5, 20.5])
    for number, entry in enumerate(slides):
        content = {"type": "FeatureCollection", "features": [inside, outside][: 2 - number]}
        (tmp_path / f"{entry.slide_id}.geojson").write_text(json.dumps(content))
    told = mitosieve("import", "corrections", tmp_path, known.folder, "--out", tmp_path / "new")
    assert told.code == 0
    assert f"1 new mark outside the area of the slide that was searched: {SLIDE} at x 380.0, y 20.0 px" in told.err
    assert f"new marks on 1 unlabelled slide: {others[0].slide_id}; where" in told.err
    assert told.err.count(str(tmp_path / "new" / "slides.csv")) == 2
    new = Cohort.load(tmp_path / "new")
    assert len(new.known_marks) == len(known.known_marks) + 1
    Cohort(cohort.folder, tuple(replace(e, labelled=True) for e in cohort.slides), cohort.annotations).save()
    told = mitosieve("import", "corrections", tmp_path, known.folder, "--out", tmp_path / "all")
    assert "neither learned" not in told.err
