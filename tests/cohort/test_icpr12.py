from pathlib import Path

import numpy as np
import pytest

from layouts import frame_image, text
from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError


def frame(root, name, pixels=None, *, endings=(".bmp", ".jpg")):
    """A frame in its slide's folder, with the drawing of its figures; None leaves the labels out."""
    below = root / f"{name[:3]}_v2"
    for ending in endings:
        frame_image(below / f"{name}{ending}")
    if pixels is not None:
        text(below / f"{name}.csv", pixels)
    return root


def line_of(places):
    return ",".join(f"{x},{y}" for x, y in places)


def test_a_line_is_a_figure_and_its_centre_that_of_its_pixels(tmp_path):
    """Against the mean of a filled mask, px by px; order and a comma at the end change nothing."""
    rng = np.random.default_rng(0)
    rows, centres = [], []
    for _ in range(5):
        mask = np.zeros((40, 60), bool)
        y, x, height, width = rng.integers((0, 0, 1, 1), (20, 40, 20, 20))
        mask[y : y + height, x : x + width] = rng.random((height, width)) < 0.7
        mask[y, x] = True
        places = np.argwhere(mask)[:, ::-1]
        centres.append((places[:, 0].sum() / len(places), places[:, 1].sum() / len(places)))
        rows.append(line_of(rng.permutation(places)))
    frame(tmp_path, "A00_00", "\n".join([*rows[:4], rows[4] + ","]) + "\n")
    (image,) = read_labels("icpr12", tmp_path, None).images
    assert [(mark.x, mark.y) for mark in image.marks] == [pytest.approx(centre) for centre in centres]
    assert {mark.label for mark in image.marks} == {Label.MITOTIC_FIGURE}


def test_scans_of_a_slide_are_one_case_and_a_frame_without_labels_is_none(tmp_path):
    """By number, each scanner with its resolution; an empty file was searched, an absent one was not."""
    frame(tmp_path, "A03_00", "1,2\n")
    frame(tmp_path, "H03_00", "")
    frame(tmp_path, "A04_01")
    report = import_cohort("icpr12", tmp_path, tmp_path / "c")
    assert report.cohort.mpp_of == {"A03_00": 0.2456, "A04_01": 0.2456, "H03_00": 0.2273}
    assert {entry.slide_id: (entry.case_id, entry.labelled) for entry in report.cohort.slides} == {
        "A03_00": ("03", True), "A04_01": ("04", False), "H03_00": ("03", True),
    }  # fmt: skip
    assert "1 frame without a CSV, kept as unlabelled: A04_01" in report.warnings[0]


def test_a_figure_of_one_pixel_lies_at_its_coordinate(tmp_path):
    """A pixel's centre is its integer coordinate, as everywhere."""
    frame(tmp_path, "A00_00", "10,12\n")
    (image,) = read_labels("icpr12", tmp_path, None).images
    assert (image.marks[0].x, image.marks[0].y) == (10, 12)


def test_a_drawing_is_never_taken_for_tissue(tmp_path):
    """The JPEG beside the labels shows the answer: alone it is no image of the frame, and from elsewhere it is one."""
    frame(tmp_path / "a", "A00_00", "1,2\n")
    (image,) = read_labels("icpr12", tmp_path / "a", None).images
    assert image.path == tmp_path / "a/A00_v2/A00_00.bmp"
    frame(tmp_path / "b", "A00_00", "1,2\n", endings=(".jpg",))
    for given in (None, ImageFolder(tmp_path / "b")):
        reading = read_labels("icpr12", tmp_path / "b", given)
        assert reading.images[0].path is None
        assert "only the JPEG beside the labels is there" in reading.cautions[0].text
    frame_image(tmp_path / "frames/A00_00.jpg")
    (image,) = read_labels("icpr12", tmp_path / "b", ImageFolder(tmp_path / "frames")).images
    assert image.path == tmp_path / "frames/A00_00.jpg"


def test_a_drawing_alone_is_a_missing_frame_in_the_cohort_too(tmp_path):
    """Whoever names the folder of the labels as that of the images gets no drawing in place of a frame."""
    frame(tmp_path / "b", "A00_00", "1,2\n", endings=(".jpg",))
    frame(tmp_path / "b", "A00_01", "1,2\n")
    report = import_cohort("icpr12", tmp_path / "b", tmp_path / "c", images=tmp_path / "b")
    assert [entry.path.endswith(".bmp") for entry in report.cohort.slides] == [True, True]
    assert any("1 image is not in" in warning and "A00_00" in warning for warning in report.warnings)


def test_one_folder_named_twice_holds_each_frame_once(tmp_path, monkeypatch):
    """`import icpr12 data COHORT --images $PWD/data`: the same files by two spellings."""
    frame(tmp_path / "data", "A00_00", "1,2\n")
    monkeypatch.chdir(tmp_path)
    (image,) = read_labels("icpr12", Path("data"), ImageFolder(tmp_path / "data")).images
    assert image.path is not None


def test_labels_without_images_are_imported_with_the_place_where_frames_belong(tmp_path):
    frame(tmp_path, "A01_07", "7,8\n", endings=())
    (entry,) = import_cohort("icpr12", tmp_path, tmp_path / "c").cohort.slides
    assert entry.path == "images/A01_v2/A01_07.bmp"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2,3\n", "line 1: has 3 values in a row"),
        ("1,2\n1,x\n", "line 2: y is 'x'"),
        ("1,2,1,3,600,2\n", "up to 599 px apart, which is no one figure"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(tmp_path, content, message):
    frame(tmp_path, "A00_00", content)
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("icpr12", tmp_path, None)
    assert "A00_00.csv, line" in str(caught.value)
    assert "x,y" in str(caught.value) or "mend y" in str(caught.value)


def test_labels_or_frames_twice_and_another_layout_are_refused(tmp_path):
    with pytest.raises(FormatError, match="neither frames nor labels of ICPR 2012"):
        read_labels("icpr12", tmp_path, None)
    frame(tmp_path, "A00_00", "1,2\n")
    frame_image(tmp_path / "more/A00_00.png")
    with pytest.raises(FormatError, match="frame A00_00 is there twice"):
        read_labels("icpr12", tmp_path, None)
    text(tmp_path / "more/A00_00.csv", "1,2\n")
    with pytest.raises(FormatError, match="has labels twice"):
        read_labels("icpr12", tmp_path, None)
