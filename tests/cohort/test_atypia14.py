import math

import pytest

from layouts import text, tiff
from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError, ResolutionError


def frame(root, name, *, figures=None, imposters=None, image=True, below="mitosis"):
    """One x40 frame with its files; None leaves a file out."""
    slide = root / name.split("_")[0]
    if image:
        tiff(slide / "frames/x40" / f"{name}.tiff", mpp=None)
    if figures is not None:
        text(slide / below / f"{name}_mitosis.csv", figures)
    if imposters is not None:
        text(slide / below / f"{name}_not_mitosis.csv", imposters)
    return root


def test_frames_marks_and_confidence_are_read(tmp_path):
    """x comes first; the confidence is the score where given; both files of a frame are joined, figures first."""
    frame(tmp_path, "A03_00Aa", figures="100,50,0.8\n200, 60\n", imposters="10,20,0.2\n")
    (image,) = read_labels("atypia14", tmp_path, None).images
    assert [(m.x, m.y, m.label) for m in image.marks] == [
        (100, 50, Label.MITOTIC_FIGURE), (200, 60, Label.MITOTIC_FIGURE), (10, 20, Label.IMPOSTER),
    ]  # fmt: skip
    assert [image.marks[0].score, image.marks[2].score] == [0.8, 0.2]
    assert math.isnan(image.marks[1].score)
    assert image.path == tmp_path / "A03/frames/x40/A03_00Aa.tiff"


def test_both_scans_of_a_tissue_are_one_case_of_two_domains(tmp_path):
    """A03 and H03 show the same tissue: one case, two scanners."""
    for name in ("A03_00Aa", "H03_00Aa", "A04_00Aa"):
        frame(tmp_path, name, figures="")
    report = import_cohort("atypia14", tmp_path, tmp_path / "c")
    assert report.cohort.cases == ("03", "04")
    assert [(row.domain, row.cases) for row in report.rows] == [
        ("Aperio Scanscope XT", 2), ("Hamamatsu NanoZoomer 2.0-HT", 1),
    ]  # fmt: skip
    assert (report.total.cases, report.total.slides) == (2, 3)


def test_an_empty_file_is_labelled_and_no_file_is_not(tmp_path):
    """An empty _mitosis.csv says that none was found; a frame without it (test slides) says nothing."""
    frame(tmp_path, "A03_00Aa", figures="")
    frame(tmp_path, "A06_00Aa")
    frame(tmp_path, "A06_00Ab", imposters="1,2\n")
    reading = read_labels("atypia14", tmp_path, None)
    assert [image.labelled for image in reading.images] == [True, False, False]
    assert ["A06_00Aa, A06_00Ab" in caution.text for caution in reading.cautions] == [True]


def test_files_may_lie_beside_the_frames_and_frames_elsewhere(tmp_path):
    """Labels in frames/x40, or frames in a folder of their own, give the same marks."""
    frame(tmp_path / "a", "A03_00Aa", figures="5,6\n", below="frames/x40")
    frame(tmp_path / "b", "A03_00Aa", figures="5,6\n", image=False)
    beside = read_labels("atypia14", tmp_path / "a", None).images[0]
    apart = read_labels("atypia14", tmp_path / "b", ImageFolder(tmp_path / "a")).images[0]
    assert [(m.x, m.y) for m in beside.marks] == [(m.x, m.y) for m in apart.marks] == [(5, 6)]
    assert beside.path == apart.path


def test_fields_at_x10_and_x20_are_no_slides(tmp_path):
    """Only x40 frames carry marks; the overviews beside them show the same tissue again."""
    frame(tmp_path, "A03_00Aa", figures="")
    tiff(tmp_path / "A03/frames/x20/A03_00A.tiff")
    tiff(tmp_path / "A03/frames/x10/A03_00.tiff")
    for given in (None, ImageFolder(tmp_path)):
        assert [image.slide_id for image in read_labels("atypia14", tmp_path, given).images] == ["A03_00Aa"]


def test_labels_without_images_are_imported_with_the_place_where_frames_belong(tmp_path):
    """Images need not be there; slides.csv says where they are looked for."""
    frame(tmp_path, "H11_01Bc", figures="7,8\n", image=False)
    (entry,) = import_cohort("atypia14", tmp_path, tmp_path / "c", mpp=0.25).cohort.slides
    assert entry.path == "images/H11/frames/x40/H11_01Bc.tiff"
    assert (entry.case_id, entry.width_l0) == ("11", 0)


def test_each_scanner_has_its_own_resolution_and_one_number_is_not_for_both(tmp_path):
    """By the letter of the frame's name, where none is given; a number may be stated of one scanner alone."""
    frame(tmp_path / "a", "A03_00Aa", figures="")
    frame(tmp_path / "a", "H03_00Aa", figures="")
    cohort = import_cohort("atypia14", tmp_path / "a", tmp_path / "c").cohort
    assert cohort.mpp_of == {"A03_00Aa": 0.2455, "H03_00Aa": 0.2273}
    with pytest.raises(ResolutionError, match=r"--mpp 0.25 is one number.*\n.*slide,mpp"):
        import_cohort("atypia14", tmp_path / "a", tmp_path / "d", mpp=0.25)
    assert not (tmp_path / "d").exists()
    table = text(tmp_path / "mpp.csv", "slide,mpp\nA03_00Aa,0.25\n")
    cohort = import_cohort("atypia14", tmp_path / "a", tmp_path / "d", mpp=str(table)).cohort
    assert cohort.mpp_of == {"A03_00Aa": 0.25, "H03_00Aa": 0.2273}
    frame(tmp_path / "h", "H04_00Aa", figures="")
    assert import_cohort("atypia14", tmp_path / "h", tmp_path / "e", mpp=0.23).cohort.mpp_of == {"H04_00Aa": 0.23}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n", "line 1: has 1 value"),
        ("1,2\n1,2,0.5,9\n", "line 2: has 4 values"),
        ("1,NaN\n", "y is 'NaN'"),
        ("1,2,1.5\n", "score 1.5 is not between 0 and 1"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(tmp_path, content, message):
    """The message names file, line and remedy."""
    frame(tmp_path, "A03_00Aa", figures=content)
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("atypia14", tmp_path, None)
    assert "A03_00Aa_mitosis.csv, line" in str(caught.value)


def test_labels_twice_and_another_layout_are_refused(tmp_path):
    """One frame has one file of each kind; a folder without any is not this format."""
    with pytest.raises(FormatError, match="neither frames nor labels"):
        read_labels("atypia14", tmp_path, None)
    frame(tmp_path, "A03_00Aa", figures="1,2\n")
    frame(tmp_path, "A03_00Aa", figures="1,2\n", below="copy")
    with pytest.raises(FormatError, match="has labels twice"):
        read_labels("atypia14", tmp_path, None)
