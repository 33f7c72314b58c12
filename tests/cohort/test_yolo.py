"""Laws of YOLO's text files, read as labels."""

import shutil
from pathlib import Path

import pytest

from build import an_image
from layouts import text
from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.cohort.vocabulary import Meaning
from mitosieve.errors import FormatError


@pytest.fixture
def folder(tmp_path):
    """labels/ and images/ beside each other; images are 400 x 300 px."""
    for i, name in enumerate(("p1_a", "p2_b", "p3_c")):
        an_image(tmp_path / f"images/{name}.png", seed=i)
    text(tmp_path / "labels/p1_a.txt", "0 0.5 0.5 0.1 0.1\n\n1 0.25 0.75 0.1 0.1\n")
    text(tmp_path / "labels/p2_b.txt", "")
    text(tmp_path / "classes.txt", "mitosis\nhard negative\n\n")
    return tmp_path


def test_centres_are_shares_of_the_image_and_an_empty_file_was_searched(folder, tmp_path):
    """x times width, y times height; an image without a file is left out and told."""
    report = import_cohort("yolo", folder / "labels", tmp_path / "c", images=folder / "images", mpp=0.25)
    marks = report.cohort.annotations
    assert marks.center_l0.tolist() == [[200, 150], [100, 225]]
    assert marks.label.tolist() == [Label.MITOTIC_FIGURE, Label.IMPOSTER]
    assert [(e.slide_id, e.labelled) for e in report.cohort.slides] == [("p1_a", True), ("p2_b", True)]
    assert any("p3_c.png" in warning and "left out" in warning for warning in report.warnings)


@pytest.mark.parametrize("source", ["labels", ".", "labels/p1_a.txt"])
def test_images_are_found_beside_the_labels(folder, source):
    """The folder of labels, that of both, or one file; --images is not needed."""
    reading = read_labels("yolo", folder / source, None)
    assert [(m.x, m.y) for m in reading.images[0].marks] == [(200, 150), (100, 225)]
    assert reading.images[0].path == folder / "images/p1_a.png"


@pytest.mark.parametrize("source", ["labels", "."])
def test_an_image_without_a_file_is_told_wherever_it_was_looked_for(folder, source):
    """With --images or beside the labels; by YOLO's custom it is background, and here it is left out."""
    report = import_cohort("yolo", folder / source, folder / "c", mpp=0.25)
    assert [entry.slide_id for entry in report.cohort.slides] == ["p1_a", "p2_b"]
    told = [warning for warning in report.warnings if "not in the labels, and left out" in warning]
    assert [warning.startswith("1 image of ") and warning.endswith(": p3_c.png") for warning in told] == [True]


def test_what_a_system_hides_is_no_image_without_labels(folder):
    """Nor is what lies in a hidden folder; by its own name it is found all the same."""
    before = import_cohort("yolo", folder, folder / "c", mpp=0.25).warnings
    image = next(path for path in folder.rglob("*.png"))
    image.with_name(f"._{image.name}").write_bytes(b"a resource fork")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "x.png").write_bytes(image.read_bytes())
    assert import_cohort("yolo", folder, folder / "d", mpp=0.25).warnings == before
    assert ImageFolder(folder).find(".thumbnails/x.png") == folder / ".thumbnails" / "x.png"


@pytest.mark.parametrize("name", ["test.txt", "Train.txt", "labels.txt", "readme.txt", "README.roboflow.txt"])
def test_labels_of_an_image_called_as_a_list_are_labels(folder, name):
    """test.txt is a list of files beside the labels, unless there is an image test.png."""
    text(folder / "labels" / name, "0 0.5 0.5 0.1 0.1\n")
    assert len(read_labels("yolo", folder / "labels", None).images) == 2
    an_image(folder / "images" / f"{name[:-4]}.png", seed=9)
    reading = read_labels("yolo", folder / "labels", None)
    assert {image.slide_id: len(image.marks) for image in reading.images}[name[:-4]] == 1


def test_parts_of_a_set_keep_their_folders(tmp_path):
    """labels/train/a.txt is of images/train/a.png, not of images/val/a.png."""
    for part in ("train", "val"):
        an_image(tmp_path / f"images/{part}/a.png", seed=len(part))
        text(tmp_path / f"labels/{part}/a.txt", "0 0.5 0.5 0.1 0.1\n")
    text(tmp_path / "data.yaml", "path: .\nnames:\n  0: mitosis\n")
    reading = read_labels("yolo", tmp_path, None)
    assert [image.path for image in reading.images] == [tmp_path / f"images/{part}/a.png" for part in ("train", "val")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "mitosis\nimposter\n"),
        ("labels/classes.txt", "mitosis\nimposter\n"),
        ("obj.names", "mitosis\nimposter\n"),
        ("data.yaml", "train: x\nnames: ['mitosis', \"imposter\"]  # two\nnc: 2\n"),
        ("data.yaml", "names:\n- mitosis\n- imposter\n"),
        ("data.yaml", "names:\n  0: mitosis\n  1: imposter\ntrain: x\n"),
        ("set.yml", "names: {1: imposter, 0: mitosis}\n"),
        ("data.yaml", "names: [mitosis,\n  imposter]\n"),
    ],
)
def test_names_of_classes_are_found_in_many_files(folder, name, content):
    """One a line, a list, or by number."""
    (folder / "classes.txt").unlink()
    text(folder / name, content)
    labels = [m.label for m in read_labels("yolo", folder / "labels", None).images[0].marks]
    assert labels == [Label.MITOTIC_FIGURE, Label.IMPOSTER]


@pytest.mark.parametrize("source", [".", "labels"])
@pytest.mark.parametrize("names_in", [".", "labels"])
def test_a_data_set_takes_its_own_images_and_names(tmp_path, source, names_in):
    """Another one around it has images of the same names, and the classes in another order."""
    an_image(tmp_path / "images/001.png", width=200, height=200)
    text(tmp_path / "classes.txt", "mitosis\nimposter\n")
    own = tmp_path / "ds2"
    an_image(own / "images/001.png", width=300, height=400)
    text(own / "labels/001.txt", "0 0.25 0.5 0.1 0.1\n")
    text(own / names_in / "classes.txt", "imposter\nmitosis\n")
    (image,) = read_labels("yolo", own / source, None).images
    (mark,) = image.marks
    assert (image.path, image.size_l0) == (own / "images/001.png", (300, 400))
    assert (mark.x, mark.y, mark.label) == (75, 200, Label.IMPOSTER)


def test_names_between_the_folder_and_its_labels_go_before_those_around_it(tmp_path):
    """Roboflow's layout, named by the folder above it."""
    text(tmp_path / "classes.txt", "imposter\nmitosis\n")
    an_image(tmp_path / "mine/setA/train/images/a.png")
    text(tmp_path / "mine/setA/train/labels/a.txt", "0 0.5 0.5 0.1 0.1\n")
    text(tmp_path / "mine/setA/data.yaml", "names: [mitosis, imposter]\n")
    for source in ("mine", "mine/setA", "mine/setA/train"):
        images = ImageFolder(tmp_path / "mine/setA/train/images")
        (image,) = read_labels("yolo", tmp_path / source, images).images
        assert [mark.label for mark in image.marks] == [Label.MITOTIC_FIGURE], source


def test_a_folder_without_names_takes_no_other_ones(tmp_path, monkeypatch):
    """A sibling's may be in another order; those above hold for it, also where it is named from within."""
    text(tmp_path / "classes.txt", "imposter\nmitosis\n")
    for part in ("setA", "setB"):
        an_image(tmp_path / f"in/{part}/{part}.png")
        text(tmp_path / f"in/{part}/{part}.txt", "0 0.5 0.5 0.1 0.1\n")
    text(tmp_path / "in/setA/classes.txt", "mitosis\nimposter\n")
    with pytest.raises(FormatError, match=r"setB: names other classes than .*setA"):
        read_labels("yolo", tmp_path / "in", None)
    monkeypatch.chdir(tmp_path / "in/setB")
    (image,) = read_labels("yolo", Path(), None).images
    assert [mark.label for mark in image.marks] == [Label.IMPOSTER]
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FormatError, match=r"setB: names no classes, and .*setA does"):
        read_labels("yolo", tmp_path / "in", None)


def test_folders_that_name_classes_differently_are_refused(tmp_path):
    """Each file of labels has its own numbers; one list for all, in the folder that is named, holds for all."""
    for part, names in (("a", "mitosis\nimposter\n"), ("b", "imposter\nmitosis\n")):
        an_image(tmp_path / f"ds/{part}/{part}1.png")
        text(tmp_path / f"ds/{part}/{part}1.txt", "0 0.5 0.5 0.1 0.1\n")
        text(tmp_path / f"ds/{part}/classes.txt", names)
    with pytest.raises(FormatError, match=r"names other classes than .*/a"):
        read_labels("yolo", tmp_path / "ds", None)
    text(tmp_path / "ds/classes.txt", "mitosis\nimposter\n")
    made = read_labels("yolo", tmp_path / "ds", None).images
    assert [mark.label for image in made for mark in image.marks] == [Label.MITOTIC_FIGURE] * 2


def test_classes_without_names_mean_nothing_until_they_are_ruled(folder):
    """Class 0 may be anything."""
    (folder / "classes.txt").unlink()
    with pytest.raises(FormatError, match=r"'0' \(1 mark\), '1' \(1 mark\) is not known"):
        read_labels("yolo", folder / "labels", None)
    ruled = read_labels("yolo", folder / "labels", None, rulings={"0": Meaning.FIGURE, "1": Meaning.OTHER})
    assert [m.label for m in ruled.images[0].marks] == [Label.MITOTIC_FIGURE]


def test_a_polygon_lies_at_its_centroid_and_an_empty_box_is_none(folder):
    """Segmentations have more numbers than boxes."""
    text(folder / "labels/p1_a.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n0 0.9 0.9 0 0.1\n")
    reading = read_labels("yolo", folder / "labels", None)
    assert [(m.x, m.y) for m in reading.images[0].marks] == [pytest.approx((60, 45))]
    assert any("1 box without area" in caution.text for caution in reading.cautions)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1 0.1 0.93", "the last is a confidence"),
        ("0 0.5 0.5 0.1", "has 4 values"),
        ("mitosis 0.5 0.5 0.1 0.1", "class is .*not its number"),
        ("0 200 150 40 30", "is in px"),
        ("0 nan 0.5 0.1 0.1", "x or y is 'nan'"),
        ("-1 0.5 0.5 0.1 0.1", "class is"),
        ("0,0.5,0.5,0.1,0.1", "has 1 value"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(folder, line, message):
    """One message with file, line and remedy."""
    text(folder / "labels/p1_a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("yolo", folder / "labels", None)
    assert "p1_a.txt, line 2" in str(caught.value)
    assert "remedy:" in str(caught.value)


def test_labels_without_their_images_are_refused(folder):
    """A share of an unknown size is no place."""
    (folder / "images/p2_b.png").unlink()
    with pytest.raises(FormatError, match=r"holds no image of 1 file: p2_b.txt.*\n.*--images"):
        read_labels("yolo", folder / "labels", None)
    shutil.rmtree(folder / "images")
    with pytest.raises(FormatError, match="holds no image of 2 files"):
        read_labels("yolo", folder / "labels", None)


@pytest.mark.data
def test_an_input_from_the_wild(cases_folder, tmp_path):
    """A file without names of classes: ruled, its box is a figure in the middle of the image."""
    source = cases_folder / "labels/26-formats-without-importer/labels"
    an_image(tmp_path / "p1_a.png")
    reading = read_labels("yolo", source, ImageFolder(tmp_path), rulings={"0": Meaning.FIGURE})
    assert [(m.x, m.y) for m in reading.images[0].marks] == [(200, 150)]
