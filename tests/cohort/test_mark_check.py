"""Laws of marks against their image and against each other."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_judging import FORMATS

from layouts import midog_json, text, tiff, voc_xml
from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.cohort.mark_check import MAX_MERGE_UM, NEAR_UM, Measured, merged_marks, near_marks
from mitosieve.cohort.marked import Mark, MarkedImage
from mitosieve.cohort.vocabulary import Meaning
from mitosieve.errors import FormatError, InputError
from tiny import mitosieve

FIGURE, IMPOSTER = Label.MITOTIC_FIGURE, Label.IMPOSTER


def image(*marks, name="a.png"):
    """`marks`: (x, y, label[, votes, score]) at 1 um per px."""
    made = [
        Mark(
            x=x, y=y, name=label.value, label=label, where=f"row {i}",
            votes=more[0] if more else "", score=more[1] if more else math.nan,
        )
        for i, (x, y, label, *more) in enumerate(marks)
    ]  # fmt: skip
    return MarkedImage(slide_id="a", file_name=name, case_id="a", domain="d", marks=tuple(made))


def test_marks_of_one_kind_near_each_other_are_told_with_their_number():
    """Nearer than 3 um, also at one place; at exactly 3 um they are two cells."""
    near = image((0, 0, FIGURE), (2.9, 0, FIGURE), (50, 0, FIGURE), (50, 0, FIGURE), (80, 0, FIGURE), (83, 0, FIGURE))
    (caution,) = near_marks([Measured(image=near, mpp=1.0), Measured(image=image((0, 0, FIGURE)), mpp=1.0)])
    assert caution.text.startswith("4 marks 'mitotic figure' of 1 image nearer than 3 um")
    assert "--merge-um 3" in caution.text
    assert near_marks([Measured(image=near, mpp=2.0)])[0].text.startswith("2 marks")


def test_on_oblong_pixels_distances_are_in_um():
    """Marks 4 px apart in y at 1 x 0.5 um are near, and merged; 4 px apart in x they are two cells."""
    down, across = image((0, 0, FIGURE), (0, 4, FIGURE)), image((0, 0, FIGURE), (4, 0, FIGURE))
    assert near_marks([Measured(image=down, mpp=(1.0, 0.5))])[0].text.startswith("2 marks")
    assert near_marks([Measured(image=across, mpp=(1.0, 0.5))]) == []
    assert len(merged_marks(down, (1.0, 0.5), 3).marks) == 1
    assert len(merged_marks(across, (1.0, 0.5), 3).marks) == 2


def test_a_figure_where_an_imposter_is_contradicts():
    """Told as that, and not as a double mark."""
    (caution,) = near_marks([Measured(image=image((0, 0, FIGURE), (1, 1, IMPOSTER)), mpp=1.0)])
    assert caution.text.startswith("1 mitotic figure of 1 image nearer than 3 um to an imposter")
    assert "contradict" in caution.text


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from([FIGURE, IMPOSTER])), max_size=12),
    st.sampled_from([1.0, 3.0, 4.5]),
)
def test_merging_leaves_no_near_pair_of_what_stood_first_and_loses_no_vote(marks, within):
    """By brute force: a mark joins the nearest that stands already nearer than the distance, else it stands itself."""
    before = image(*((x, y, label, f"v{i}", 0.5) for i, (x, y, label) in enumerate(marks)))
    standing = []
    groups = {}
    for i, (x, y, label) in enumerate(marks):
        near = [(math.dist((x, y), marks[k][:2]), k) for k in standing if marks[k][2] is label]
        near = [item for item in near if item[0] < within]
        owner = min(near)[1] if near else i
        standing += [] if near else [i]
        groups.setdefault(owner, []).append(i)
    after = merged_marks(before, 1.0, within)
    assert [mark.label for mark in after.marks] == [marks[k][2] for k in standing]
    assert [sorted(mark.votes.split()) for mark in after.marks] == [
        sorted(f"v{i}" for i in groups[k]) for k in standing
    ]
    for mark, k in zip(after.marks, standing, strict=True):
        np.testing.assert_allclose((mark.x, mark.y), np.mean([marks[i][:2] for i in groups[k]], axis=0))


def test_scores_of_merged_marks_weigh_by_their_votes():
    """Two of three and none of one are two of four; unknown scores count for nothing."""
    (mark,) = merged_marks(image((0, 0, FIGURE, "1 1 2", 2 / 3), (1, 0, FIGURE, "2", 0.0)), 1.0, 3.0).marks
    assert (mark.votes, mark.score, mark.x) == ("1 1 2 2", pytest.approx(0.5), 0.5)
    (mark,) = merged_marks(image((0, 0, FIGURE), (1, 0, FIGURE, "1", 1.0)), 1.0, 3.0).marks
    assert mark.score == 1
    assert math.isnan(merged_marks(image((0, 0, FIGURE), (1, 0, FIGURE)), 1.0, 3.0).marks[0].score)


@pytest.mark.parametrize("within", [0, -1, math.nan, math.inf, MAX_MERGE_UM + 1])
def test_a_distance_that_no_two_centres_of_a_cell_have_is_refused(within):
    """Nothing, less, and more than a cell."""
    with pytest.raises(InputError, match="cannot be merged within"):
        merged_marks(image((0, 0, FIGURE)), 1.0, within)


def test_many_marks_at_one_place_take_no_memory_squared():
    """One mark is left of 20,000, and all are told as near: their pairs would be 3 GB."""
    many = image(*[(5, 5, FIGURE)] * 20_000)
    assert near_marks([Measured(image=many, mpp=0.25)])[0].text.startswith("20000 marks")
    assert len(merged_marks(many, 0.25, NEAR_UM).marks) == 1


def test_an_import_tells_and_merges_where_it_is_asked(tmp_path):
    """Two readers a px apart: 4 figures of 2 cells until they are merged; the resolution decides what is near."""
    source = text(
        tmp_path / "l.csv", "image,case,x,y,label,votes\n" + "a.png,c,10,10,mitosis,A\na.png,c,13,10,mitosis,B\n"
    )
    report = import_cohort("points", source, tmp_path / "c", mpp=0.25)
    assert report.total.figures == 2
    assert any("2 marks 'mitotic figure' of 1 image" in warning for warning in report.warnings)
    assert not any("nearer" in w for w in import_cohort("points", source, tmp_path / "d", mpp=1.0).warnings)
    merged = import_cohort("points", source, tmp_path / "e", mpp=0.25, merge_um=3.0)
    assert any("1 mark was merged" in warning for warning in merged.warnings)
    marks = Cohort.load(tmp_path / "e").annotations
    assert (marks.center_l0.tolist(), marks.votes.tolist()) == ([[11.5, 10]], ["A B"])


VOID = {"bbox": [0, 0, 0, 0], "segmentation": [], "area": 0, "iscrowd": False}


@pytest.mark.parametrize("void", [VOID, {"bbox": [50, 60, 0, 20]}, {"segmentation": []}, {"bbox": None}, {"bbox": []}])
def test_a_box_without_area_and_shape_is_no_mark(tmp_path, void):
    """COCO writers leave such; the mark beside it stays, and the image was searched all the same."""
    content = {
        "images": [{"id": i, "file_name": f"p{i}.png", "width": 400, "height": 300} for i in (1, 2)],
        "categories": [{"id": 1, "name": "mitosis"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [100, 100, 50, 50]},
            {"id": 2, "image_id": 2, "category_id": 1, **void},
        ],
    }
    reading = read_labels("coco", text(tmp_path / "l.json", json.dumps(content)), None)
    assert [(len(i.marks), i.labelled) for i in reading.images] == [(1, True), (0, True)]
    assert any("1 box without area and shape" in c.text and "annotation '2'" in c.text for c in reading.cautions)


def test_boxes_that_all_lack_an_area_are_points_of_another_format(tmp_path):
    """Left out one and all they would be a cohort without figures."""
    source = voc_xml(tmp_path / "a.xml", objects=[("mitosis", 100, 90), ("mitosis", 200, 90)])
    source.write_text(source.read_text().replace("<xmax>130", "<xmax>70").replace("<xmax>230", "<xmax>170"))
    with pytest.raises(FormatError, match=r"all its 2 boxes are without area.*\n.*points"):
        read_labels("voc", source, None)


def test_difficult_objects_and_crowds_are_left_out_and_told(tmp_path):
    """What may be a figure and is no mark leaves no slide that was searched and found empty."""
    source = voc_xml(tmp_path / "a.xml", objects=[("mitosis", 100, 90), ("mitosis", 200, 90)])
    source.write_text(source.read_text().replace("<object>", "<object><difficult>1</difficult>", 1))
    reading = read_labels("voc", source, None)
    assert ([mark.x for mark in reading.images[0].marks], reading.images[0].labelled) == ([200], False)
    assert any("1 slide had marks that were left out and may be figures" in c.text for c in reading.cautions)
    assert any("1 objects are called difficult" in caution.text for caution in reading.cautions)
    source.write_text(source.read_text().replace("<object><name>", "<object><difficult>1</difficult><name>"))
    reading = read_labels("voc", source, None)
    assert (reading.images[0].marks, reading.images[0].labelled) == ((), False)


CELLS = [(1, "mitosis", 100, 50), (1, "mitosis", 200, 50), (2, "mitosis", 100, 90)]


@pytest.mark.parametrize("name", ["voc", "coco"])
@pytest.mark.parametrize("kind", ["mitosis", "non-mitotic", "ignore", "mast cell"])
def test_a_mark_that_is_left_out_for_doubt_is_no_background(tmp_path, name, kind):
    """Difficult or a crowd, its slide is as with the class `ignore`; what is surely another cell changes nothing."""
    rulings = {"mast cell": Meaning.OTHER, "mitosis": Meaning.FIGURE}
    classes = ["mitosis", "ignore", "non-mitotic", "mast cell"]
    source = FORMATS[name](tmp_path / "a", classes, [(1, kind, 300, 50), *CELLS])
    for path in [source] if source.is_file() else [source / "p1_a.xml"]:
        doubtful = path.read_text().replace("<object>", "<object><difficult>1</difficult>", 1)
        path.write_text(doubtful.replace('"id": 0,', '"id": 0, "iscrowd": 1,'))
    ignored = FORMATS[name](tmp_path / "b", classes, [(1, "ignore", 300, 50), *CELLS])
    said = {key: what for key, what in rulings.items() if key in ("mitosis", kind)}
    reading = read_labels(name, source, None, rulings=said)
    other = read_labels(name, ignored, None)
    assert [image.labelled for image in other.images] == [False, True]
    assert [image.labelled for image in reading.images] == [kind == "mast cell", True]
    assert [len(image.marks) for image in reading.images] == [2, 1]


def test_marks_outside_the_searched_area_are_told(tmp_path):
    """They are neither learned from nor scored."""
    square = '"POLYGON ((0 0, 90 0, 90 90, 0 90, 0 0))"'
    rows = f"a.png,c,10,10,mitosis,{square}\na.png,c,200,10,mitosis,{square}\n"
    source = text(tmp_path / "l.csv", "image,case,x,y,label,roi\n" + rows)
    report = import_cohort("points", source, tmp_path / "c", mpp=0.25)
    assert any("outside the area that was searched" in w and "a.png: 1" in w for w in report.warnings)


def test_a_searched_area_that_reaches_out_of_its_image_is_told_and_one_beside_it_refused(tmp_path):
    """By how far and how much; an edge drawn a px too far is not worth a word."""
    tiff(tmp_path / "images/a.png", width=200, height=100)
    for name, (low, high), told in (("far", (-1000, 1000), True), ("near", (0, 201), False)):
        square = f'"POLYGON (({low} 0, {high} 0, {high} 90, {low} 90, {low} 0))"'
        source = text(tmp_path / f"{name}.csv", f"image,case,x,y,label,roi\na.png,c,10,10,mitosis,{square}\n")
        report = import_cohort("points", source, tmp_path / name, images=tmp_path / "images", mpp=0.25)
        said = [warning for warning in report.warnings if "reaches out of its image" in warning]
        assert ["a.png, by 1000 px, 90% of it" in warning for warning in said] == [True] * told
    beside = '"POLYGON ((300 0, 400 0, 400 90, 300 90, 300 0))"'
    source = text(tmp_path / "b.csv", f"image,case,x,y,label,roi\na.png,c,10,10,mitosis,{beside}\n")
    with pytest.raises(FormatError, match=r"lies outside of the image, which is 200 x 100 px"):
        import_cohort("points", source, tmp_path / "beside", images=tmp_path / "images", mpp=0.25)
    assert not (tmp_path / "beside").exists()


def test_a_searched_area_on_an_image_of_unknown_size_reaches_out_of_nothing(tmp_path):
    """Neither the labels state a size nor is the image there."""
    square = '"POLYGON ((0 0, 90 0, 90 90, 0 90, 0 0))"'
    source = text(tmp_path / "l.csv", f"image,case,x,y,label,roi\na.png,c,10,10,mitosis,{square}\n")
    report = import_cohort("points", source, tmp_path / "c", mpp=0.25)
    assert report.warnings == ()
    assert report.cohort.slides[0].roi.area == 8100


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("far", ["1e200", "1e308", "1e9"])
def test_a_shape_too_large_to_measure_is_refused_as_one_far_outside(tmp_path, far):
    """Its centre is at NaN, or at infinity."""
    places = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in (("0", "0"), (far, "0"), (far, far)))
    layer = f'<Annotation Name="mitosis"><Regions><Region Type="0"><Vertices>{places}</Vertices></Region></Regions>'
    source = text(tmp_path / "s.xml", f"<Annotations>{layer}</Annotation></Annotations>")
    with pytest.raises(FormatError, match=r"region 1: its centre .* outside s"):
        import_cohort("image_scope", source, tmp_path / "c", mpp=0.25)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("form", ["qupath", "coco", "image_scope"])
def test_a_corner_beyond_all_numbers_gives_a_message_alone(tmp_path, form):
    """Numpy's own warning stood above it; a warning that is not ignored fails this test."""
    tiff(tmp_path / "images/s.tif", width=400, height=400)
    corners = [(10.0, 10.0), (1e300, 30.0), (40.0, 60.0), (1e300, 5.0)]
    flat = [value for corner in corners for value in corner]
    ring = [*map(list, corners), list(corners[0])]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    feature["properties"] = {"classification": {"name": "mitosis"}}
    outlined = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [flat]}
    coco = {"images": [{"id": 1, "file_name": "s.tif"}], "categories": [{"id": 1, "name": "mitosis"}]}
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in corners)
    layer = f'<Annotation Name="mitosis"><Regions><Region Type="0"><Vertices>{vertices}</Vertices></Region></Regions>'
    name, content = {
        "qupath": ("s.geojson", json.dumps({"type": "FeatureCollection", "features": [feature]})),
        "coco": ("coco.json", json.dumps({**coco, "annotations": [outlined]})),
        "image_scope": ("s.xml", f"<Annotations>{layer}</Annotation></Annotations>"),
    }[form]
    source = text(tmp_path / name, content)
    told = mitosieve("import", form, source, tmp_path / "c", "--images", tmp_path / "images", "--mpp", 0.25)
    assert told.code == 2, told
    assert told.err.startswith("mitosieve: "), told
    assert "remedy: " in told.err


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("far", ["1e200", "1e9"])
@pytest.mark.parametrize("seen", [True, False])
def test_an_area_that_no_cohort_can_hold_is_refused_before_anything_is_written(tmp_path, far, seen):
    """Where no slide has a pixel: the cohort was written and could not be loaded again."""
    tiff(tmp_path / "images/s.tif")
    places = {"ROI": (("0", "0"), (far, "0"), (far, far)), "mitosis": (("9", "5"),)}
    layers = "".join(
        f'<Annotation Name="{name}"><Regions><Region Type="0"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in own)
        + "</Vertices></Region></Regions></Annotation>"
        for name, own in places.items()
    )
    source = text(tmp_path / "s.xml", f"<Annotations>{layers}</Annotations>")
    with pytest.raises(FormatError, match=r"s: its searched area cannot be one: roi reaches farther than"):
        import_cohort("image_scope", source, tmp_path / "c", images=tmp_path / "images" if seen else None, mpp=0.25)
    assert not (tmp_path / "c").exists()


def test_a_stale_size_in_the_labels_is_named_as_the_suspect(tmp_path):
    """Where nobody has seen the image, and where all marks lie inside it."""
    source = midog_json(tmp_path / "m.json", images=[(1, "1.tiff", "x")], annotations=[(1, 1, 900, 200, None)])
    with pytest.raises(FormatError, match=r"outside 1.tiff \(400 x 300 px\)\nremedy: .*its size in m.json is stale"):
        import_cohort("midog", source, tmp_path / "c", mpp=0.25)
    tiff(tmp_path / "images/1.tiff", width=1000, height=800)
    with pytest.raises(FormatError, match=r"is 1000 x 800 px, but m.json says 400 x 300 px.*\n.*m.json is stale"):
        import_cohort("midog", source, tmp_path / "c", images=tmp_path / "images", mpp=0.25)


@pytest.mark.data
def test_inputs_from_the_wild(cases_folder, tmp_path):
    """An empty COCO annotation, two readers 3 px apart, a figure that is an imposter too."""
    labels = cases_folder / "labels"
    report = import_cohort("coco", labels / "09-coco-empty-annotation/e.json", tmp_path / "a", mpp=0.25)
    assert report.total.figures == 1
    report = import_cohort("points", labels / "24-near-duplicates/l.csv", tmp_path / "b", mpp=0.25)
    assert any(warning.startswith("24 marks 'mitotic figure' of 12 images") for warning in report.warnings)
    report = import_cohort("points", labels / "24-near-duplicates/l.csv", tmp_path / "c", mpp=0.25, merge_um=3)
    assert report.total.figures == 12
    report = import_cohort("points", labels / "25-contradicting-marks/l.csv", tmp_path / "d", mpp=0.25)
    assert any("contradict" in warning for warning in report.warnings)
