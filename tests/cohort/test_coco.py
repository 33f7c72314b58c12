"""Laws of the COCO importer."""

import json

import pytest

from layouts import midog_json, text, tiff
from mitosieve.annotation import Label
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.cohort.vocabulary import Meaning
from mitosieve.errors import FormatError, ResolutionError

CATEGORIES = [{"id": 3, "name": "Mitotic_Figure"}, {"id": 5, "name": "hard negative"}, {"id": 9, "name": "granulocyte"}]


def content(boxes=((1, 3, [300, 200, 50, 40]),), images=("p1_a.tiff", "p2_b.tiff"), **more):
    """`boxes`: (image_id, category_id, bbox); images are 400 x 300 px, with ids from 1."""
    return {
        "images": [{"id": i, "file_name": name, "width": 400, "height": 300} for i, name in enumerate(images, start=1)],
        "categories": [dict(item) for item in CATEGORIES],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box}
            for i, (image, category, box) in enumerate(boxes, start=1)
        ],
    } | more


def file(folder, what, name="coco.json"):
    return text(folder / name, json.dumps(what))


def test_the_centre_is_the_corner_and_half_the_size(tmp_path):
    """[x, y, width, height]; names mean labels whatever their spelling."""
    source = file(tmp_path, content([(1, 3, [300, 200, 50, 40]), (2, 5, [10.5, 250, 20, 30])]))
    one, two = read_labels("coco", source, None).images
    assert [(m.x, m.y, m.label) for m in one.marks] == [(325, 220, Label.MITOTIC_FIGURE)]
    assert [(m.x, m.y, m.label) for m in two.marks] == [(20.5, 265, Label.IMPOSTER)]
    assert (one.slide_id, one.case_id, one.size_l0, one.labelled) == ("p1_a", "p1", (400, 300), True)


def test_other_categories_and_crowds_are_left_out_and_told(tmp_path):
    """What is neither figure nor imposter is counted by its name; an image left empty is told to count as searched."""
    what = content([(1, 9, [300, 200, 50, 40]), (1, 9, [200, 200, 50, 40]), (1, 3, [300, 200, 9, 9])])
    what["annotations"].append({"id": 8, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    reading = read_labels("coco", file(tmp_path, what), None, rulings={"granulocyte": Meaning.OTHER})
    assert [len(image.marks) for image in reading.images] == [1, 0]
    told = [caution.text for caution in reading.cautions]
    assert any("2 marks of 'granulocyte' left out as no figures" in line for line in told)
    assert any("1 crowds (iscrowd)" in line for line in told)
    assert any("1 image without figure" in line and "p2_b.tiff" in line for line in told)
    assert all(image.case_guessed for image in reading.images)


def test_an_image_may_carry_its_case_domain_and_resolution(tmp_path):
    """As our own columns are called; then nothing is guessed from names."""
    what = content(images=["x.tiff"])
    what["images"][0] |= {"case_id": 17, "domain": "lung", "mpp": 0.23}
    reading = read_labels("coco", file(tmp_path, what), None)
    assert [(i.case_id, i.domain, i.mpp) for i in reading.images] == [("17", "lung", 0.23)]
    assert reading.cautions == ()
    report = import_cohort("coco", file(tmp_path, what), tmp_path / "c")
    assert report.cohort.slides[0].mpp == 0.23


def test_it_becomes_a_cohort_with_its_images(tmp_path):
    """Sizes and resolution are checked against the files; a missing image is named, a missing resolution refused."""
    tiff(tmp_path / "images/p1_a.tiff", mpp=0.25)
    source = file(tmp_path, content())
    report = import_cohort("coco", source, tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert (report.total.slides, report.total.figures, report.total.labelled) == (2, 1, 2)
    assert any("p2_b.tiff" in warning and "not in" in warning for warning in report.warnings)
    with pytest.raises(ResolutionError, match=r"p1_a.tiff is not known"):
        import_cohort("coco", source, tmp_path / "d")


def test_a_midog_file_is_told_by_its_corners(tmp_path):
    """It claims to be COCO, and would put every mark in a wrong place: refused, with the command that reads it."""
    cells = [(1, 1, 300, 200, None), (1, 2, 200, 250, None), (1, 1, 40, 40, None)]
    source = midog_json(tmp_path / "m.json", images=[(1, "1.tiff", "x")], annotations=cells)
    with pytest.raises(FormatError, match=r"two corners \[x1, y1, x2, y2\]") as caught:
        import_cohort("coco", source, tmp_path / "c", mpp=0.25)
    assert f"mitosieve import midog {source} COHORT" in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("cells", [[(100, 60)], [(60, 60), (90, 70)], [(100, 60), (40, 60), (70, 90), (60, 60)]])
def test_a_midog_file_is_told_where_no_box_leaves_its_image(tmp_path, cells):
    """All cells near the upper left: as corners the boxes are of one size, as sizes each is of another."""
    marks = [(1, 1, x, y, None) for x, y in cells]
    source = midog_json(tmp_path / "m.json", images=[(1, "1.tiff", "x")], annotations=marks)
    with pytest.raises(FormatError, match=r"is of 50 x 50 px if it is two corners.*\n.*import midog"):
        import_cohort("coco", source, tmp_path / "c", mpp=0.25)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "boxes",
    [
        [[10, 10, 60, 60]],  # square as a size too: nobody can know
        [[10, 20, 30, 40]],
        [[10, 20, 60, 70], [200, 100, 40, 40]],  # the second cannot be two corners
        [[10, 20, 60, 60], [30, 20, 60, 60]],  # one size as sizes
        [[10, 20, 60, 70], [10, 20, 60, 71]],
    ],
)
def test_sizes_that_could_be_corners_are_sizes_where_they_do_not_agree(tmp_path, boxes):
    """COCO's own boxes near the upper left are read as they stand."""
    reading = read_labels("coco", file(tmp_path, content([(1, 3, box) for box in boxes])), None)
    assert [(m.x, m.y) for m in reading.images[0].marks] == [(x + w / 2, y + h / 2) for x, y, w, h in boxes]


def test_a_box_cut_by_the_border_is_no_corner(tmp_path):
    """True COCO boxes may overhang, and cells near the upper left could be corners too: both are read as they stand."""
    boxes = [[380, 280, 50, 40], [-10, -10, 50, 50], [5, 5, 50, 50]]
    reading = read_labels("coco", file(tmp_path, content([(1, 3, box) for box in boxes])), None)
    assert [(m.x, m.y) for m in reading.images[0].marks] == [(405, 300), (15, 15), (30, 30)]


BROKEN = {
    "no images": (lambda c: c.pop("images"), "no list of images"),
    "categories are no list": (lambda c: c.update(categories={"id": 3}), "no list of categories"),
    "annotations hold text": (lambda c: c.update(annotations=["x"]), "no list of annotations"),
    "image without id": (lambda c: c["images"][0].pop("id"), "an image has no id"),
    "image without name": (lambda c: c["images"][0].pop("file_name"), "image '1': has no file_name"),
    "image without size": (lambda c: c["images"][0].pop("width"), "image '1': width is 'None'"),
    "image of no size": (lambda c: c["images"][0].update(height=0), "image '1': height is '0'"),
    "two images of one id": (lambda c: c["images"][1].update(id=1), "two images share an id"),
    "category without id": (lambda c: c["categories"][0].pop("id"), "category 'Mitotic_Figure' has no id"),
    "only other categories": (
        lambda c: c.update(categories=CATEGORIES[2:], annotations=[]),
        "none of its classes .*granulocyte",
    ),
    "unknown image": (lambda c: c["annotations"][0].update(image_id=7), "annotation '1': names the unknown image '7'"),
    "image as list": (lambda c: c["annotations"][0].update(image_id=[1]), r"names the unknown image '\[1\]'"),
    "unknown category": (lambda c: c["annotations"][0].update(category_id=4), "names the unknown category '4'"),
    "category as list": (lambda c: c["annotations"][0].update(category_id=[]), r"names the unknown category '\[\]'"),
    "three numbers": (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"annotation '1': bbox is '\[1, 2, 3\]'"),
    "NaN": (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), "annotation '1': bbox is 'nan'"),
    "negative": (lambda c: c["annotations"][0].update(bbox=[90, 90, -50, 50]), "annotation '1': .*negative width"),
    "mpp as text": (lambda c: c["images"][0].update(mpp="fine"), "mpp is 'fine'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_its_item(tmp_path, name):
    """One message with file, item and remedy; no cohort appears."""
    change, message = BROKEN[name]
    what = content()
    change(what)
    source = file(tmp_path, what)
    with pytest.raises(FormatError, match=message) as caught:
        import_cohort("coco", source, tmp_path / "c", mpp=0.25)
    assert "remedy:" in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not JSON"), ("[]", "not a COCO file"), ("[" * 100_000, "not JSON that can be read")]
)
def test_what_is_no_json_object_is_refused(tmp_path, content, message):
    """Cut, of another kind, or nested to break the reader."""
    with pytest.raises(FormatError, match=message):
        read_labels("coco", text(tmp_path / "c.json", content), None)


def test_a_mark_far_outside_its_image_is_refused(tmp_path):
    """The box is COCO's, but its centre is not in the image."""
    boxes = [(1, 3, [300, 290, 50, 400]), (1, 3, [300, 200, 50, 40]), (1, 3, [200, 100, 50, 40])]
    with pytest.raises(FormatError, match=r"annotation '1': its centre .* outside p1_a.tiff"):
        import_cohort("coco", file(tmp_path, content(boxes)), tmp_path / "c", mpp=0.25)


@pytest.mark.data
@pytest.mark.parametrize("name", ["MIDOG++.json", "MIDOG21.json"])
def test_the_published_midog_files_are_refused(data_folder, tmp_path, name):
    """Both claim COCO's keys and have corners."""
    with pytest.raises(FormatError, match="two corners"):
        import_cohort("coco", data_folder / "formats/midog" / name, tmp_path / "c", mpp=0.25)


@pytest.mark.data
def test_any_image_of_midog_alone_is_refused(data_folder, tmp_path):
    """Also 378, of which no box leaves the image when it is read as sizes."""
    what = json.loads((data_folder / "formats/midog/MIDOG++.json").read_text())
    marks = {image["id"]: [] for image in what["images"]}
    for item in what["annotations"]:
        marks[item["image_id"]].append(item)
    refused = set()
    for image in what["images"]:
        source = file(tmp_path, what | {"images": [image], "annotations": marks[image["id"]]})
        if marks[image["id"]]:
            with pytest.raises(FormatError, match="two corners"):
                read_labels("coco", source, None)
            refused.add(image["id"])
    assert (len(refused), 378 in refused) == (503, True)


@pytest.mark.data
def test_midog_as_true_coco_gives_the_same_marks(data_folder, tmp_path):
    """The boxes of MIDOG 2021 written as [x, y, width, height] lie where `import midog` puts them."""
    what = json.loads((data_folder / "formats/midog/MIDOG21.json").read_text())
    for item in what["annotations"]:
        x1, y1, x2, y2 = item["bbox"]
        item["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    ours = import_cohort("coco", file(tmp_path, what), tmp_path / "c", mpp=0.25)
    theirs = import_cohort("midog", data_folder / "formats/midog/MIDOG21.json", tmp_path / "d", mpp=0.25)
    assert (ours.total.figures, ours.total.imposters) == (theirs.total.figures, theirs.total.imposters)
    assert ours.cohort.annotations.center_l0.tolist() == theirs.cohort.annotations.center_l0.tolist()
