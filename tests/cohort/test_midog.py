import json

import numpy as np
import pytest

from layouts import CATEGORIES, midog_json
from mitosieve.annotation import Label
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError

IMAGES = [(1, "001.tiff", "canine lung cancer"), (2, "002.tiff", "human melanoma"), (3, "003.tiff", "human melanoma")]


def of(path, *annotations, images=IMAGES, info=None):
    return read_labels(
        "midog", midog_json(path / "built.json", images=images, annotations=annotations, info=info), None
    )


def test_the_centre_is_the_middle_of_two_corners(tmp_path):
    """A box [x1, y1, x2, y2] gives its middle, and a category by name gives its label."""
    reading = of(tmp_path, (1, 1, 100.5, 50, None), (1, 2, 200, 250, None))
    marks = reading.images[0].marks
    assert [(m.x, m.y, m.label) for m in marks] == [(100.5, 50, Label.MITOTIC_FIGURE), (200, 250, Label.IMPOSTER)]


def test_votes_are_kept_and_their_share_is_the_score(tmp_path):
    """The score is the share of raters who voted mitotic figure; without votes it is unknown."""
    marks = of(tmp_path, (1, 1, 9, 9, [1, 2, 1]), (1, 2, 50, 9, [2, 2]), (1, 1, 90, 9, None)).images[0].marks
    assert [mark.votes for mark in marks] == ["1 2 1", "2 2", ""]
    np.testing.assert_allclose([mark.score for mark in marks], [2 / 3, 0, np.nan])


def test_a_slide_with_imposters_alone_is_labelled_and_one_without_marks_is_not(tmp_path):
    """No figure but an imposter: it was searched. No mark at all: nothing is known, and that is said."""
    reading = of(tmp_path, (1, 1, 9, 9, None), (2, 2, 9, 9, None))
    assert [image.labelled for image in reading.images] == [True, True, False]
    assert [(c.domain, "003.tiff" in c.text) for c in reading.cautions] == [("human melanoma", True)]


def test_the_domain_is_the_tumour_and_each_slide_its_own_case(tmp_path):
    """tumor_type names the domain; slide_id and case_id are the file's name."""
    images = of(tmp_path).images
    assert [image.domain for image in images] == ["canine lung cancer", "human melanoma", "human melanoma"]
    assert [(image.slide_id, image.case_id) for image in images] == [(n, n) for n in ("001", "002", "003")]


def test_an_image_may_carry_its_case_and_resolution(tmp_path):
    """As in COCO: several images of a patient are one case, and no --mpp is needed."""
    images = [(1, "P1_a.tif", "x"), (2, "P1_b.tif", "x")]
    source = midog_json(tmp_path / "m.json", images=images, annotations=[(1, 1, 100, 50, None), (2, 1, 9, 9, None)])
    content = json.loads(source.read_text())
    for image in content["images"]:
        image |= {"case_id": "P1", "mpp": 0.3}
    source.write_text(json.dumps(content))
    report = import_cohort("midog", source, tmp_path / "c")
    assert [(entry.case_id, entry.mpp) for entry in report.cohort.slides] == [("P1", 0.3), ("P1", 0.3)]
    assert report.warnings == ()
    content["images"][1].pop("case_id")
    source.write_text(json.dumps(content))
    told = [caution.text for caution in read_labels("midog", source, None).cautions]
    assert ["no case is named for 1 of 2 images" in text and "P1_b" in text for text in told] == [True]


@pytest.mark.parametrize(
    ("name", "info", "told"),
    [
        ("001.tiff", {"description": "MIDOG++: A Comprehensive Multi-Domain Data Set"}, False),
        ("001.tiff", {"description": "MItosis Domain Generalization Challenge (MIDOG) 2022"}, False),
        ("001.tiff", {"description": "our own"}, True),
        ("P1_roi1.tiff", {"description": "MIDOG++ and ours"}, True),
    ],
)
def test_images_that_are_taken_for_cases_are_told_of_files_that_are_not_midogs(tmp_path, name, info, told):
    """In MIDOG's own an image is a case; elsewhere two images of one patient would be on both sides of a split."""
    cautions = of(tmp_path, (1, 1, 9, 9, None), images=[(1, name, "x")], info=info).cautions
    assert ["each image was taken for a case" in caution.text for caution in cautions] == [True] * told


def test_midog_2021_is_told_apart_by_scanner_and_another_file_is_not(tmp_path):
    """Only the JSON of MIDOG 2021 gets scanners from its ids."""
    images = [(i, f"{i:03d}.tiff", None) for i in (1, 50, 51, 100, 101, 150, 151, 200, 201)]
    info = {"description": "MItosis Domain Generalization Challenge (MIDOG) 2021 - Training set"}
    known = [image.domain for image in of(tmp_path, images=images, info=info).images]
    xr, s360, cs2, leica = "Hamamatsu XR", "Hamamatsu S360", "Aperio CS2", "Leica GT450"
    assert known == [xr, xr, s360, s360, cs2, cs2, leica, leica, "unknown"]
    assert {image.domain for image in of(tmp_path, images=images).images} == {"unknown"}


def broken(change):
    content = {
        "images": [{"id": 1, "file_name": "001.tiff", "width": 400, "height": 300}],
        "categories": [dict(item) for item in CATEGORIES],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 10, 60, 60]}],
    }
    change(content)
    return content


BROKEN = {
    "no list of images": (lambda c: c.pop("images"), "no list of images"),
    "annotations are no list": (lambda c: c.update(annotations={}), "no list of annotations"),
    "unknown image": (lambda c: c["annotations"][0].update(image_id=9), "annotation '7': names the unknown image '9'"),
    "unknown category": (
        lambda c: c["annotations"][0].update(category_id=3),
        "annotation '7': names the unknown category",
    ),
    "three corners": (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"annotation '7': bbox is '\[1, 2, 3\]'"),
    "NaN": (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), "annotation '7': bbox is 'nan'"),
    "text": (lambda c: c["annotations"][0].update(bbox=[1, 2, "x", 4]), "annotation '7': bbox is 'x'"),
    "true": (lambda c: c["annotations"][0].update(bbox=[1, 2, True, 4]), "annotation '7': bbox is 'True'"),
    "COCO box": (lambda c: c["annotations"][0].update(bbox=[300, 200, 50, 50]), r"looks like \[x, y, width, height\]"),
    "COCO boxes of crops": (
        lambda c: c.update(
            annotations=[
                {"id": n, "image_id": 1, "category_id": 1, "bbox": [x, y, 50, 50]}
                for n, (x, y) in enumerate([(39, 39), (5, 10), (20, 30)])
            ]
        ),
        r"all others of this file end at \(50, 50\) .* look like \[x, y, width, height\]",
    ),
    "unknown vote": (lambda c: c["annotations"][0].update(labels=[1, 5]), "annotation '7': its votes"),
    "unknown class": (
        lambda c: c["categories"][0].update(name="lymphocyte"),
        r"classes 'lymphocyte' .1 mark. is not known",
    ),
    "no name": (lambda c: c["images"][0].pop("file_name"), "image '1': has no file_name"),
    "no width": (lambda c: c["images"][0].pop("width"), "image '1': width is 'None'"),
    "no height": (lambda c: c["images"][0].update(height=0), "image '1': height is '0'"),
    "id twice": (lambda c: c["images"].append(dict(c["images"][0])), "two images share an id"),
    "not a mapping": (lambda c: c["annotations"].append(3), "no list of annotations"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_file_and_annotation(tmp_path, name):
    """Each fault names the file, the place in it and the remedy."""
    change, message = BROKEN[name]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken(change)))
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("midog", path, None)
    assert str(path) in str(caught.value)
    assert "remedy:" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"images": [', "line 1: is not JSON"), (b"[]", "not a MIDOG"), (b"\xff\xfe{", "not UTF-8")],
)
def test_what_is_not_json_is_refused(tmp_path, content, message):
    """Cut, other and binary content: one message each."""
    path = tmp_path / "cut.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_labels("midog", path, None)


@pytest.mark.data
def test_midog_2021_has_its_published_counts(data_folder, tmp_path):
    """1,721 figures and 2,714 imposters on 150 of 200 slides; by scanner 451, 582, 688 and 724, 1,066, 924."""
    report = import_cohort("midog", data_folder / "formats/midog/MIDOG21.json", tmp_path / "c", mpp=0.25)
    rows = {row.domain: (row.slides, row.labelled, row.figures, row.imposters) for row in report.rows}
    assert (report.total.figures, report.total.imposters, report.total.slides, report.total.labelled) == (
        1721, 2714, 200, 150,
    )  # fmt: skip
    assert rows == {
        "Hamamatsu XR": (50, 50, 451, 724),
        "Hamamatsu S360": (50, 50, 582, 1066),
        "Aperio CS2": (50, 50, 688, 924),
        "Leica GT450": (50, 0, 0, 0),
    }


@pytest.mark.data
def test_midog_plus_plus_has_its_published_counts(data_folder, tmp_path):
    """11,937 and 14,349 in seven domains; ids 151-200 unlabelled; the two marks outside their image kept and named."""
    report = import_cohort("midog", data_folder / "formats/midog/MIDOG++.json", tmp_path / "c", mpp="0.25")
    assert (report.total.figures, report.total.imposters, report.total.labelled) == (11937, 14349, 503)
    assert {row.domain: (row.figures, row.imposters, row.labelled) for row in report.rows} == {
        "human breast cancer": (1721, 2714, 150),
        "canine lung cancer": (855, 951, 44),
        "canine lymphosarcoma": (3959, 4257, 55),
        "canine cutaneous mast cell tumor": (2327, 1366, 50),
        "human neuroendocrine tumor": (639, 1761, 55),
        "canine soft tissue sarcoma": (1286, 2375, 100),
        "human melanoma": (1150, 925, 49),
    }
    unlabelled = [entry.slide_id for entry in report.cohort.slides if not entry.labelled]
    assert unlabelled == [f"{i:03d}" for i in range(151, 201)]
    assert report.total.warnings == 3
    outside = next(text for text in report.warnings if "outside" in text)
    assert "annotation '15363'" in outside
    assert "annotation '15728'" in outside
    two = sum(len(votes.split()) == 2 for votes in report.cohort.annotations.votes)
    assert (two, len(report.cohort.annotations) - two) == (17727, 8559)
