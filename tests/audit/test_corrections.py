"""Labels corrected in QuPath: a new version of the cohort that says what was before, or nothing at all."""

import hashlib
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from build import a_cohort
from layouts import files_below
from mitosieve.annotation import NO_MARK, Label
from mitosieve.audit.corrections import import_corrections
from mitosieve.audit.points import AuditedPlace, write_places
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.place import NO_ROW
from mitosieve.cohort.vocabulary import rulings_of
from mitosieve.errors import CohortError, FormatError, InputError
from mitosieve.export.geojson import (
    BACKGROUND_CLASS,
    CANDIDATE_CLASS,
    FIGURE_CLASS,
    HOTSPOT_CLASS,
    IMPOSTER_CLASS,
    UNSURE_CLASS,
)

FIGURE, IMPOSTER = Label.MITOTIC_FIGURE.value, Label.IMPOSTER.value
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
OTHER = {"Mitotic figure": "Imposter", "Imposter": "Mitotic figure"}


@pytest.fixture
def cohort(tmp_path):
    """Two slides with two figures and an imposter each, with scores and votes."""
    made = a_cohort(tmp_path / "cohort", cases=2)
    made.annotations.score[:] = [0.8, 1.0, 0.2, math.nan, 0.6, 0.0]
    marks = replace(made.annotations, votes=np.array(["1 1 0", "", "0 0 1", "", "1", "0"]))
    made = Cohort(made.folder, made.slides, marks)
    made.save()
    return made


def a_place(slide_id, x, y, row, label):
    return AuditedPlace(
        slide_id=slide_id,
        center_l0=(x, y),
        row=row,
        label=label,
        name="#1 noise",
        facts={"rank": "1", "verdict": "noise", "suspicion": "0.9000"},
        measurements={"suspicion": 0.9},
    )


def an_audit(folder, cohort):
    """Points as an audit writes them: all marks, and two places without a mark on the first slide."""
    marks = cohort.annotations
    for entry in cohort.slides:
        rows = np.flatnonzero(marks.slide_id == entry.slide_id).tolist()
        places = [a_place(entry.slide_id, *marks.center_l0[row], row, str(marks.label[row])) for row in rows]
        if entry is cohort.slides[0]:
            places += [a_place(entry.slide_id, x, y, NO_ROW, NO_MARK) for x, y in ((11.126, 20.5), (-0.001, 31.0))]
        write_places(folder / f"{entry.slide_id}.geojson", places)
    return folder


@pytest.fixture
def points(tmp_path, cohort):
    return an_audit(tmp_path / "points", cohort)


def edit(path, change):
    """Rewrite a file's features by a function of the list."""
    content = json.loads(path.read_text())
    content["features"] = change(content["features"])
    path.write_text(json.dumps(content))


def classify(path, classes):
    """Give features, by their number in the file, another class."""

    def change(features):
        for number, name in classes.items():
            features[number]["properties"]["classification"] = {"name": name, "color": [1, 2, 3]}
        return features

    edit(path, change)


def taken(points, cohort, out, now=NOW, **more):
    return import_corrections(points, cohort.folder, out, now=now, **more)


def refused(points, cohort, tmp_path, error, words):
    """The error says so and how to mend it; nothing was written, and the old version is what it was."""
    before = files_below(cohort.folder)
    with pytest.raises(error, match=words) as caught:
        taken(points, cohort, tmp_path / "new")
    assert caught.value.where is not None
    assert caught.value.remedy is not None
    assert not (tmp_path / "new").exists()
    assert files_below(cohort.folder) == before
    return caught.value


def test_changed_classes_become_labels_and_the_old_ones_stay(cohort, points, tmp_path):
    """Figure and imposter change places, a place without a mark becomes one, behind all; score and votes stay."""
    path = points / "c0_s0.geojson"
    classify(path, {0: "Imposter", 2: "Mitotic figure", 3: "Imposter"})
    before = files_below(cohort.folder)
    report = taken(points, cohort, tmp_path / "new")
    assert files_below(cohort.folder) == before
    origin = f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    new, old = Cohort.load(tmp_path / "new").annotations, Cohort.load(cohort.folder).annotations
    assert new.label.tolist() == [IMPOSTER, FIGURE, FIGURE, *old.label[3:], IMPOSTER]
    assert new.label_before.tolist() == [FIGURE, "", IMPOSTER, "", "", "", NO_MARK]
    assert new.corrected_at.tolist() == ["2026-03-04T05:06:07+00:00" if was else "" for was in new.label_before]
    assert new.corrected_from.tolist() == [origin if was else "" for was in new.label_before]
    for name in ("slide_id", "center_l0", "score", "votes", "source"):
        np.testing.assert_array_equal(getattr(new, name)[:-1], getattr(old, name))
    assert new.center_l0[-1].tolist() == [11.13, 20.5]
    assert new.source[-1] == "corrections"
    assert [(row.slide_id, row.to_figure, row.to_imposter, row.added) for row in (*report.rows, report.total)] == [
        ("c0_s0", 1, 1, 1),
        ("total", 1, 1, 1),
    ]


def test_the_images_of_a_new_version_are_those_of_the_old(cohort, points, tmp_path):
    """Its paths are valid wherever it lies."""
    taken(points, cohort, tmp_path / "deep" / "new")
    new = Cohort.load(tmp_path / "deep" / "new")
    for entry in new.slides:
        with new.open(entry.slide_id) as slide:
            assert slide.size_l0 == (400, 300)


def test_a_mark_called_background_is_an_imposter_and_none_is_removed(cohort, points, tmp_path):
    """A figure becomes one; an imposter stays one; a deleted point is a mark left as it was."""
    classify(points / "c0_s0.geojson", {0: "Background", 2: "Background"})
    edit(points / "c1_s0.geojson", lambda features: features[1:])
    report = taken(points, cohort, tmp_path / "new")
    assert report.cohort.annotations.label.tolist() == [IMPOSTER, *cohort.annotations.label[1:]]
    assert (report.total.to_imposter, report.total.changed) == (1, 1)


def test_without_a_change_the_marks_are_byte_equal(cohort, points, tmp_path):
    """No columns of corrections; a file of one slide, or a folder."""
    for number, source in enumerate((points, points / "c1_s0.geojson")):
        assert taken(source, cohort, tmp_path / str(number)).total.changed == 0
        assert (tmp_path / str(number) / "annotations.csv").read_bytes() == (
            cohort.folder / "annotations.csv"
        ).read_bytes()


def test_a_cohort_without_corrections_keeps_its_bytes(cohort):
    """The columns appear only where a mark was corrected."""
    header = (cohort.folder / "annotations.csv").read_text().splitlines()[0]
    assert header == "slide_id,x,y,label,score,votes,source"
    before = (cohort.folder / "annotations.csv").read_bytes()
    Cohort.load(cohort.folder).save()
    assert (cohort.folder / "annotations.csv").read_bytes() == before


def test_corrections_survive_saving_selecting_and_joining(cohort, points, tmp_path):
    """Loaded, saved, cut by case and merged again, the columns are the same."""
    classify(points / "c1_s0.geojson", {1: "Imposter"})
    new = taken(points, cohort, tmp_path / "new").cohort
    again = Cohort.load(Cohort.load(tmp_path / "new").save(tmp_path / "again"))
    joined = new.of_cases(("c0",)).merged(new.of_cases(("c1",)))
    for other in (again, joined):
        for name in ("label", "label_before", "corrected_at", "corrected_from"):
            np.testing.assert_array_equal(getattr(other.annotations, name), getattr(new.annotations, name))
    assert again.hash() == new.hash() != cohort.hash()
    assert new.annotations.is_corrected.tolist() == [False] * 4 + [True, False]


def test_a_second_round_keeps_the_oldest_label(cohort, points, tmp_path):
    """Corrected back, a mark still says what it was first, and when and from what it was last changed."""
    classify(points / "c0_s0.geojson", {0: "Imposter", 3: "Mitotic figure"})
    first = taken(points, cohort, tmp_path / "first").cohort
    second_points = an_audit(tmp_path / "second points", first)
    classify(second_points / "c0_s0.geojson", {0: "Mitotic figure", 3: "Background"})
    second = taken(second_points, first, tmp_path / "second", LATER).cohort.annotations
    assert (second.label[0], second.label_before[0]) == (FIGURE, FIGURE)
    assert (second.label[-1], second.label_before[-1]) == (IMPOSTER, NO_MARK)
    assert second.corrected_at[0] == second.corrected_at[-1] == "2026-03-05T05:06:07+00:00"
    assert second.corrected_from[0] != first.annotations.corrected_from[0]
    assert len(second) == len(first.annotations)


def test_the_same_file_applied_again_changes_nothing(cohort, points, tmp_path):
    """Marks it added are known by the place they had; nothing is added twice."""
    classify(points / "c0_s0.geojson", {0: "Imposter", 3: "Mitotic figure"})
    first = taken(points, cohort, tmp_path / "first").cohort
    again = taken(points, first, tmp_path / "again", LATER)
    assert again.total.changed == 0
    assert again.cohort.hash() == Cohort(first.folder, again.cohort.slides, first.annotations).hash()


def test_the_time_is_utc(cohort, points, tmp_path):
    """Whatever zone the clock is in; a clock without one is refused."""
    classify(points / "c0_s0.geojson", {0: "Imposter"})
    here = NOW.astimezone(timezone(timedelta(hours=5)))
    assert taken(points, cohort, tmp_path / "new", here).cohort.annotations.corrected_at[0] == (
        "2026-03-04T05:06:07+00:00"
    )
    with pytest.raises(ValueError, match="time zone"):
        taken(points, cohort, tmp_path / "other", datetime(2026, 1, 1))


def as_qupath_exports(features, *, style):
    """What QuPath makes of points on the way through: other order, own class and measurements, ids in capitals."""
    exported = []
    for feature in reversed(features):
        properties = dict(feature["properties"])
        name = properties["classification"]["name"]
        properties["classification"] = {"name": name, "color": [9, 9, 9]}
        properties |= {"isLocked": False, "color": [9, 9, 9]}
        if style == "older":
            properties["classification"] = {"name": name, "colorRGB": -3670016}
            properties["measurements"] = [{"name": k, "value": v} for k, v in properties["measurements"].items()]
            properties["object_type"] = properties.pop("objectType")
            del properties["metadata"]
        x, y = feature["geometry"]["coordinates"]
        geometry = {"type": "Point", "coordinates": [x + 0.004, y - 0.004]}
        if style == "multipoint":
            geometry = {"type": "MultiPoint", "coordinates": [[x, y]]}
        exported.append(
            {"type": "Feature", "id": feature["id"].upper(), "geometry": geometry, "properties": properties}
        )
    return exported


@pytest.mark.parametrize("style", ["newer", "older", "multipoint"])
@pytest.mark.parametrize("wrapped", ["collection", "list"])
def test_what_qupath_writes_is_what_was_meant(cohort, points, tmp_path, style, wrapped):
    """Reordered, reclassified, without what it does not know: the new version is that of the file itself."""
    path = points / "c0_s0.geojson"
    classify(path, {0: "Imposter", 2: "Mitotic figure", 3: "Imposter"})
    direct = taken(path, cohort, tmp_path / "direct").cohort.annotations
    features = json.loads(path.read_text())["features"]
    if style == "older":  # it lost the metadata: a place without a mark is then known by where it lies
        exact = {f["id"].upper(): f["geometry"] for f in features}
        exported = as_qupath_exports(features, style=style)
        exported = [f | {"geometry": exact[f["id"]]} for f in exported]
    else:
        exported = as_qupath_exports(features, style=style)
    path.write_text(json.dumps(exported if wrapped == "list" else {"type": "FeatureCollection", "features": exported}))
    through = taken(path, cohort, tmp_path / "through").cohort.annotations
    for name in ("slide_id", "center_l0", "label", "label_before", "corrected_at"):
        np.testing.assert_array_equal(getattr(through, name), getattr(direct, name))


def test_an_unknown_point_is_refused(cohort, points, tmp_path):
    """A point that somebody added, or whose id was changed."""

    def change(features):
        features[1]["id"] = "00000000-0000-0000-0000-000000000000"
        return features

    edit(points / "c0_s0.geojson", change)
    error = refused(points, cohort, tmp_path, FormatError, "is no point that an audit of this cohort wrote")
    assert "c0_s0.geojson, feature 2 (slide c0_s0, at x " in error.where


def test_points_of_another_version_are_refused(cohort, points, tmp_path):
    """Marks in other rows are other marks."""
    other = Cohort(tmp_path / "other", cohort.slides, cohort.annotations[1:])
    other.save()
    refused(points, other, tmp_path, FormatError, "is no point that an audit of this cohort wrote")


@pytest.mark.parametrize("number", [0, 3])
def test_a_moved_point_is_refused_and_told_how_far(cohort, points, tmp_path, number):
    """A mark, and a place without one; half a pixel is QuPath's rounding."""

    def by(dx, dy):
        def change(features):
            x, y = features[number]["geometry"]["coordinates"]
            features[number]["geometry"]["coordinates"] = [x + dx, y + dy]
            return features

        return change

    edit(points / "c0_s0.geojson", by(0.3, 0.3))
    assert taken(points, cohort, tmp_path / "near").total.changed == 0
    edit(points / "c0_s0.geojson", by(2.7, 3.7))
    refused(points, cohort, tmp_path, FormatError, r"was moved by 5\.0 px from")


def test_the_same_point_twice_is_refused(cohort, points, tmp_path):
    """Within a file, and in two files of a folder; both places are named."""
    (points / "copy.geojson").write_bytes((points / "c0_s0.geojson").read_bytes())
    error = refused(points, cohort, tmp_path, FormatError, r"is the same point as .*c0_s0.geojson, feature 1")
    assert "copy.geojson, feature 1 (slide c0_s0, at x " in error.where
    (points / "copy.geojson").unlink()
    edit(points / "c0_s0.geojson", lambda features: [*features, features[4]])
    refused(points, cohort, tmp_path, FormatError, "is the same point as")


@pytest.mark.parametrize(
    ("classification", "words"),
    [
        ({"name": "Tumor"}, "unknown class 'Tumor'"),
        ({"names": ["Tumor", "Mitotic figure"]}, "unknown class 'Tumor: Mitotic figure'"),
        (None, "has no class"),
        ({"names": []}, "has no class"),
    ],
)
def test_an_unknown_class_is_refused_with_the_known_ones(cohort, points, tmp_path, classification, words):
    def change(features):
        features[0]["properties"]["classification"] = classification
        return features

    edit(points / "c0_s0.geojson", change)
    error = refused(points, cohort, tmp_path, FormatError, words)
    for one in (FIGURE_CLASS, CANDIDATE_CLASS, IMPOSTER_CLASS, BACKGROUND_CLASS, UNSURE_CLASS, HOTSPOT_CLASS):
        assert one["name"] in error.remedy
    assert '=figure"' in error.remedy


@pytest.mark.parametrize(
    ("geometry", "classification", "place"),
    [
        ({"type": "Point", "coordinates": [12.25, 7]}, None, "at x 12.2, y 7.0 px"),
        ({"type": "MultiPoint", "coordinates": [[3, 4.5], [8, 9]]}, {"name": "Tumor"}, "at x 3.0, y 4.5 px"),
        ({"type": "Polygon", "coordinates": [[[30, 40], [50, 40], [50, 60], [30, 40]]]}, None, "at x 30.0, y 40.0 px"),
        ({"type": "Point", "coordinates": [12, 7]}, {"name": 3}, "at x 12.0, y 7.0 px"),
        ({"type": "Point", "coordinates": [12, 7]}, {"name": "Tumor"}, "slide c0_s0, at x 12.0, y 7.0 px"),
    ],
)
def test_what_is_refused_can_be_found_in_qupath(cohort, points, tmp_path, geometry, classification, place):
    """A number of a feature is shown nowhere in QuPath: whatever is wrong with one, its place is told."""
    metadata = {"metadata": {"slide_id": "c0_s0"}} if place.startswith("slide") else {}
    properties = {"classification": classification, **metadata}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    edit(points / "c0_s0.geojson", lambda features: [*features, feature])
    error = refused(points, cohort, tmp_path, FormatError, "class|is not one point")
    assert error.where.endswith(f"feature 6 ({place})")


@pytest.mark.parametrize("name", ["Mitose", "mitotic_figure", "MITOSIS", "Kernteilungsfigur", "Mitosis: Metaphase"])
def test_names_of_classes_are_understood_as_by_any_import(cohort, points, tmp_path, name):
    """In many spellings and languages, and where classes stand beside one another."""
    classify(points / "c0_s0.geojson", {0: "Non-mitotic", 2: name, 3: "NMF", 4: "AMF"})
    new = taken(points, cohort, tmp_path / "new").cohort.annotations
    assert new.label.tolist() == [IMPOSTER, FIGURE, FIGURE, *cohort.annotations.label[3:], FIGURE, FIGURE]


def test_a_class_whose_name_does_not_tell_means_what_the_user_says(cohort, points, tmp_path):
    """`--label`: a figure, surely none, or nothing, of points without a class and of outlines too; no class that is not
    there; and an area is no cell.
    """
    classify(points / "c0_s0.geojson", {0: "dunkel", 2: "M1", 3: "", 4: "Gebiet"})
    area = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}
    classes = {"classification": {"name": "Gebiet"}}
    feature = {"type": "Feature", "geometry": area, "properties": classes}
    edit(points / "c0_s0.geojson", lambda features: [*features, feature])
    said = ["M1=figure", "dunkel=other", "unclassified=ignore"]
    new = taken(points, cohort, tmp_path / "new", rulings=rulings_of([*said, "Gebiet=ignore"])).cohort.annotations
    assert new.label.tolist() == [IMPOSTER, FIGURE, FIGURE, *cohort.annotations.label[3:]]
    with pytest.raises(InputError, match=r"names 'M2', but the classes are: .*'M1'"):
        taken(points, cohort, tmp_path / "other", rulings=rulings_of(["M2=figure"]))
    with pytest.raises(FormatError, match="class 'Gebiet', an area that was searched"):
        taken(points, cohort, tmp_path / "other", rulings=rulings_of([*said, "Gebiet=roi"]))


@pytest.mark.parametrize(
    "classification",
    [{"names": ["Mitotic figure", "atypical"]}, {"name": "Mitotic figure: atypical"}, "Mitotic figure"],
)
def test_a_derived_class_is_what_it_derives_from(cohort, points, tmp_path, classification):
    """QuPath writes a class of several levels as names, or as one name with colons."""

    def change(features):
        features[2]["properties"]["classification"] = classification
        return features

    edit(points / "c0_s0.geojson", change)
    assert taken(points, cohort, tmp_path / "new").cohort.annotations.label[2] == FIGURE


def test_a_slide_that_the_cohort_has_not_is_refused(cohort, points, tmp_path):
    """Its name is told."""
    write_places(points / "strange.geojson", [a_place("strange", 5.0, 6.0, 0, FIGURE)])
    refused(points, cohort, tmp_path, CohortError, "slide 'strange', which the cohort has not")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "not a GeoJSON feature"),
        ('{"features": []}', "not a GeoJSON feature"),
        ('{"type": "FeatureCollection"}', "not a GeoJSON feature"),
        ('[{"type": "Feature", "geometry": null, "properties": {}}]', "is not one point"),
        (
            '[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0]]]}}]',
            "its geometry is Polygon",
        ),
        ('[{"type": "Feature", "properties": {"classification": {"name": 3}}}]', "its classification is '{'name': 3}'"),
        ('[{"type": "Feature", "geometry": {"type": "Point", "coordinates": ["a", 1]}}]', "x is 'a', not a finite"),
        ('[{"type": "Feature", "geometry": {"type": "Point", "coordinates": [NaN, 1]}}]', "x is 'nan', not a finite"),
        ('[{"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[1, 1], [2, 2]]}}]', "has no class"),
    ],
)
def test_what_is_no_geojson_of_points_is_refused(cohort, points, tmp_path, content, words):
    (points / "c0_s0.geojson").write_text(content)
    refused(points, cohort, tmp_path, FormatError, words)


def test_missing_and_empty_sources_are_refused(cohort, tmp_path):
    """No such file, and a folder without one."""
    refused(tmp_path / "none.geojson", cohort, tmp_path, FormatError, "is missing")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", cohort, tmp_path, FormatError, "holds no GeoJSON file")


def test_nothing_is_overwritten(cohort, points, tmp_path):
    """The cohort itself, a folder with a file, and a file are refused as the new version."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    for out in (cohort.folder, tmp_path / "used", tmp_path / "used" / "notes.txt"):
        before = files_below(tmp_path)
        with pytest.raises(CohortError, match="holds something already"):
            taken(points, cohort, out)
        assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("s,1,2,imposter,,,,figure,t,f", "label_before is 'figure'"),
        ("s,1,2,imposter,,,,,t,f", "has no label_before"),
    ],
)
def test_broken_columns_of_corrections_are_refused(tmp_path, row, words):
    """Line and value are named."""
    (tmp_path / "slides.csv").write_text("slide_id,path,case_id,domain,mpp,labelled\ns,s.png,c,d,0.25,yes\n")
    header = "slide_id,x,y,label,score,votes,source,label_before,corrected_at,corrected_from"
    (tmp_path / "annotations.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(CohortError, match=words) as caught:
        Cohort.load(tmp_path)
    assert caught.value.where.endswith("annotations.csv, line 2")


def test_what_nobody_is_sure_of_changes_nothing(cohort, points, tmp_path):
    """A mark, a place without one, an outline that a person drew, and a point of a slide that nobody can tell: each may
    be Unsure, and no mark is another's than it was.
    """
    path = points / f"{cohort.slides[0].slide_id}.geojson"
    rings = [[[1, 1], [9, 1], [9, 9], [1, 1]]]
    unsure = {"objectType": "annotation", "classification": {"name": "Unsure"}}
    outline = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": unsure}
    classify(path, {0: "Unsure", 4: "Unsure"})
    edit(path, lambda features: [*features, outline])
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": unsure}
    (points / "elsewhere.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    report = import_corrections(points, cohort.folder, tmp_path / "new", now=NOW)
    assert report.total.changed == 0
    assert report.cohort.annotations.label.tolist() == cohort.annotations.label.tolist()
