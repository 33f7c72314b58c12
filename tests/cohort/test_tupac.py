import pytest

from layouts import text, tiff
from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError, InputError


def labels(root, **files):
    """A layout with `c01_02="12,34\\n"` for mitoses_ground_truth/01/02.csv and `n01_02` for an imposter file."""
    for name, content in files.items():
        kind = "mitoses_ground_truth" if name[0] == "c" else "nonmitoses_ground_truth"
        text(root / kind / name[1:].split("_")[0] / f"{name.split('_')[1]}.csv", content)
    return root


def test_a_line_is_row_then_column(tmp_path):
    """`12,34` is y = 12 and x = 34, as it stands (the first pixel is 0)."""
    (image,) = read_labels("tupac", labels(tmp_path, c01_02="12,34\n"), None).images
    assert [(m.x, m.y, m.label) for m in image.marks] == [(34, 12, Label.MITOTIC_FIGURE)]
    assert (image.slide_id, image.case_id, image.file_name) == ("01_02", "01", "01/02.tif")


def test_imposters_come_from_their_own_folder_and_may_stand_alone(tmp_path):
    """Alternative labels bring imposters; an image with these alone has no figure and is labelled."""
    root = labels(tmp_path, c01_01="1,2\n", n01_01="3,4\n5,6\n", n01_02="7,8\n")
    one, two = read_labels("tupac", root, None).images
    assert [m.label for m in one.marks] == [Label.MITOTIC_FIGURE, Label.IMPOSTER, Label.IMPOSTER]
    assert [(m.label, m.source) for m in two.marks] == [(Label.IMPOSTER, "nonmitoses_ground_truth/01/02.csv")]
    assert two.labelled


def test_an_empty_file_is_a_labelled_slide_without_figures(tmp_path):
    """Zero bytes, or blank lines alone, mean that none was found."""
    images = read_labels("tupac", labels(tmp_path, c10_01="", c10_02="\n\n"), None).images
    assert [(len(image.marks), image.labelled) for image in images] == [(0, True), (0, True)]


def test_the_folder_of_figures_itself_may_be_named(tmp_path):
    """Naming mitoses_ground_truth is naming the folder above it."""
    root = labels(tmp_path, c01_01="1,2\n", n01_01="3,4\n")
    assert read_labels("tupac", root / "mitoses_ground_truth", None) == read_labels("tupac", root, None)


def test_an_absent_file_is_no_figure_but_a_case_without_any_file_is_unlabelled(tmp_path):
    """With images at hand: 01/02 has no file, so no figure; case 80 has none at all, so nothing is known of it."""
    root = labels(tmp_path / "labels", c01_01="1,2\n")
    for name in ("p1/01/01.tif", "p1/01/02.tif", "p2/80/01.tif", "p2/80/02.tif"):
        tiff(tmp_path / "images" / name)
    reading = read_labels("tupac", root, ImageFolder(tmp_path / "images"))
    assert [(i.slide_id, len(i.marks), i.labelled) for i in reading.images] == [
        ("01_01", 1, True), ("01_02", 0, True), ("80_01", 0, False), ("80_02", 0, False),
    ]  # fmt: skip
    assert [(c.domain, c.text.startswith("1 case with")) for c in reading.cautions] == [("TUPAC test", True)]


def test_a_case_without_any_file_has_no_figure_under_the_original_labels(tmp_path):
    """Its images are there and nobody wrote a file: told with the list, and unlabelled where the user says so."""
    root = labels(tmp_path / "labels", c01_01="1,2\n")
    for name in ("01/01.tif", "02/01.tif", "10/01.tif", "80/01.tif"):
        tiff(tmp_path / "images" / name)
    images = {"images": tmp_path / "images"}
    report = import_cohort("tupac", root, tmp_path / "c", **images)
    assert [e.labelled for e in report.cohort.slides] == [True, True, True, False]
    (told,) = [warning for warning in report.warnings if "--absent" in warning]
    assert "2 cases with images and no file" in told
    assert "02, 10; but 02 of them have figures in the published labels" in told
    report = import_cohort("tupac", root, tmp_path / "d", **images, absent="unlabelled")
    assert [e.labelled for e in report.cohort.slides] == [True, False, False, False]
    text(tmp_path / "labels/nonmitoses_ground_truth/01/01.csv", "5,6\n")
    report = import_cohort("tupac", root, tmp_path / "e", **images)
    assert [e.labelled for e in report.cohort.slides] == [True, False, False, False]
    for wrong in ("unlabelled", "empty"):
        with pytest.raises(InputError, match="--absent"):
            import_cohort("tupac", root, tmp_path / "f", **images, absent=wrong)


def test_three_centres_are_three_domains(tmp_path):
    """Cases 1-23, 24-48 and 49-73 come from three centres."""
    root = labels(tmp_path, c01_1="", c23_1="", c24_1="", c48_1="", c49_1="", c73_1="", cx_1="")
    assert [image.domain[-8:] for image in read_labels("tupac", root, None).images] == [
        "centre 1", "centre 1", "centre 2", "centre 2", "centre 3", "centre 3", "TUPAC",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2\n3\n", "line 2: has 1 value"),
        (b"1,2\n\n1,2,3\n", "line 3: has 3 values"),
        (b"1,nan\n", "line 1: col is 'nan'"),
        (b"inf,1\n", "line 1: row is 'inf'"),
        (b"row,col\n1,2\n", "line 1: row is 'row'"),
        (b"1,2\n\xff,3\n", "line 2: is not UTF-8"),
        (b'1,"2\n', "not a CSV"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(tmp_path, content, message):
    """Wrong count, NaN, header, non-UTF-8: one message with file, line and remedy."""
    path = text(tmp_path / "mitoses_ground_truth/01/01.csv")
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("tupac", tmp_path, None)
    assert str(path) in str(caught.value)
    assert "remedy:" in str(caught.value)


def test_another_layout_is_refused(tmp_path):
    """No mitoses_ground_truth, or nothing in it."""
    with pytest.raises(FormatError, match="holds no folder mitoses_ground_truth"):
        read_labels("tupac", tmp_path, None)
    (tmp_path / "mitoses_ground_truth").mkdir()
    with pytest.raises(FormatError, match=r"holds no <case>/<nn>.csv"):
        read_labels("tupac", tmp_path, None)


@pytest.mark.data
def test_the_alternative_labels_have_as_many_marks_as_lines(data_folder, tmp_path):
    """Seven cases, 54 images: every line that is not empty is a mark, in both folders."""
    source = data_folder / "formats/tupac"

    def lines(folder):
        return sum(len(path.read_text().split()) for path in (source / folder).glob("*/*.csv"))

    total = import_cohort("tupac", source, tmp_path / "c", mpp=0.25).total
    assert (total.cases, total.slides, total.labelled) == (7, 54, 54)
    assert (total.figures, total.imposters) == (lines("mitoses_ground_truth"), lines("nonmitoses_ground_truth"))
    assert (total.figures, total.imposters) == (154, 619)
