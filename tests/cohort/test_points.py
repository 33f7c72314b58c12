import math

import pytest

from layouts import text
from mitosieve.annotation import Label
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError


def of(tmp_path, content):
    return read_labels("points", text(tmp_path / "labels.csv", content), None)


def test_all_columns_are_read(tmp_path):
    """Every optional column has its place; rows of one image are joined in file order."""
    reading = of(
        tmp_path,
        "image,case,domain,mpp,x,y,label,score,votes,source\n"
        "a.png,p1,lung,0.25,3,4.5,mitotic figure,0.8,1 1 2,ring\n"
        "b.png,p2,skin,0.5,1,2,imposter,,,\n"
        "a.png,p1,lung,0.25,7,8,imposter,0,,\n",
    )
    a, b = reading.images
    assert (a.slide_id, a.file_name, a.case_id, a.domain, a.mpp) == ("a", "a.png", "p1", "lung", 0.25)
    first, second = a.marks
    assert (first.x, first.y, first.label, first.score, first.votes, first.source) == (
        3, 4.5, Label.MITOTIC_FIGURE, 0.8, "1 1 2", "ring",
    )  # fmt: skip
    assert (second.label, second.score, second.source) == (Label.IMPOSTER, 0.0, "labels.csv")
    assert (b.mpp, math.isnan(b.marks[0].score)) == (0.5, True)
    assert reading.cautions == ()


def test_area_and_name_of_a_slide_are_read(tmp_path):
    """The area that was searched and the slide's own name, stated in any of an image's rows."""
    square = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))"
    header = "image,case,x,y,label,roi,slide_id\n"
    (image,) = of(tmp_path, f'{header}a.png,p1,1,2,mitosis,,\na.png,p1,,,,"{square}",set_a\n').images
    assert (image.slide_id, image.file_name, image.roi_wkt) == ("set_a", "a.png", square)
    with pytest.raises(FormatError, match=r"labels.csv, line 2.*crosses itself"):
        of(tmp_path, header + 'a.png,p1,1,2,mitosis,"POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))",\n')


@pytest.mark.parametrize("name", ["image", "patch", "slide", "file"])
def test_four_columns_suffice_and_the_image_goes_by_many_names(tmp_path, name):
    """Without a case, the name up to its first `_` is taken, and that is said."""
    reading = of(tmp_path, f"{name},x,y,label\np1_a.png,1,2,mitosis\n")
    (image,) = reading.images
    assert (image.case_id, image.domain, image.mpp) == ("p1", "unknown", None)
    assert image.case_guessed


def test_a_row_without_a_mark_is_a_searched_image(tmp_path):
    """x, y and label all empty: labelled, no figure."""
    (image,) = of(tmp_path, "image,case,x,y,label\na.png,p1,,,\n").images
    assert (image.labelled, image.marks) == (True, ())


def test_images_of_one_name_in_two_folders_stay_apart(tmp_path):
    """The folder enters the slide_id."""
    images = of(tmp_path, "image,case,x,y,label\nu/a.png,p1,1,2,mitosis\nv/a.png,p2,1,2,mitosis\n").images
    assert [image.slide_id for image in images] == ["u_a", "v_a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,x,y,label\n", "holds no row"),
        (b"image,x,y\na,1,2\n", "lacks the column label"),
        (
            b"image;x;y;label\na;1;2;mf\n",
            "lacks the column x, y, label; header found: image;x;y;label; it looks semicolon-",
        ),
        (b"image\tx\ty\tlabel\na\t1\t2\tmf\n", "it looks tab-separated"),
        (b"Image,X,Y,Label\na,1,2,mf\n", "header found: Image,X,Y,Label; it looks in another case"),
        (b"image,x,y,label,ROI\na,1,2,mf,\n", "line 1: has ROI in another case: the column is called roi"),
        (b"Image,x,y,label,Case,MPP\na,1,2,mf,c,1\n", "has Image, Case, MPP in another case: .* image, case, mpp"),
        (b"1,2,3,4\n", "it looks like a table without a header"),
        ("image,x,y,label\na,1,2,mf\n".encode("utf-16"), "is not UTF-8 text; it looks UTF-16"),
        ("image,x,y,label\na,1,2,mf\n".encode("utf-16-le"), "is not text; it looks UTF-16"),
        (b"image,x,y,label\na.png,1_00,2,mf\n", "line 2: x is '1_00', not a finite number"),
        (b"image,x,y,label,,\na.png,1,2,mf,,7\n", "line 2: has 6 values where the header has 4"),
        (b"x,y,label\n1,2,mf\n", "line 2: names no image"),
        (b"image,x,y,label\na.png,1,2,mf\na.png,1,2\n", "line 3: has 3 values where the header has 4"),
        (b"image,x,y,label\na.png,1,2,mf,9\n", "line 2: has 5 values where the header has 4"),
        (b"image,x,x,y,label\na.png,1,2,3,mf\n", "names a column twice"),
        (b"image,x,y,label\na.png,nan,2,mf\n", "line 2: x is 'nan'"),
        (b"image,x,y,label\na.png,1,,mf\n", "line 2: y is ''"),
        (b"image,x,y,label\na.png,1,2,\n", "line 2: label is ''"),
        (b"image,x,y,label\na.png,1,2,cat\n", r"classes 'cat' \(1 mark\) is not known \(first: line 2\)"),
        (b"image,x,y,label\na.png,1,2,mf\n\xe9.png,1,2,mf\n", "line 3: is not UTF-8"),
        (b"image,x,y,label,score\na.png,1,2,mf,80\n", "line 2: the score 80"),
        (b"image,x,y,label,mpp\na.png,1,2,mf,quarter\n", "line 2: mpp is 'quarter'"),
        (b"image,x,y,label,case\na.png,1,2,mf,p1\na.png,1,2,mf,p2\n", "line 3: case is 'p2', but 'p1'"),
        (b"image,x,y,label,mpp\na.png,1,2,mf,0.25\na.png,1,2,mf,0.5\n", "line 3: mpp is '0.5', but '0.25'"),
    ],
)
def test_a_bad_file_is_refused_by_file_and_line(tmp_path, content, message):
    """One message with file, line and remedy."""
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("points", path, None)
    assert str(path) in str(caught.value)
    assert "remedy:" in str(caught.value)


def test_empty_columns_behind_the_last_are_ignored(tmp_path):
    """Spreadsheets write them, in the header, in rows, or in both."""
    (image,) = of(tmp_path, "image,x,y,label,,\na.png,1,2,mitosis,,\na.png,3,4,mitosis\n").images
    assert [mark.x for mark in image.marks] == [1, 3]


def test_a_byte_order_mark_windows_lines_and_blank_lines_do_no_harm(tmp_path):
    """What spreadsheets add is no fault."""
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfimage,case,x,y,label\r\n\r\na.png,p,1,2,mitosis\r\n")
    (image,) = read_labels("points", tmp_path / "a.csv", None).images
    assert [(m.x, m.where.rsplit(" ", 1)[1]) for m in image.marks] == [(1, "3")]


@pytest.mark.data
def test_mitos14_has_its_published_counts(data_folder, tmp_path):
    """512 figures, 519 imposters, 257 slides, 7 cases named as in the file; H18 has no imposter."""
    cohort = import_cohort(
        "points", data_folder / "mitos14/labels.csv", tmp_path, images=data_folder / "mitos14/frames", mpp=0.2273
    ).cohort
    assert cohort.counts() == {"cases": 7, "slides": 257, "labelled": 257, "figures": 512, "imposters": 519}
    assert cohort.cases == ("H03", "H04", "H07", "H11", "H12", "H14", "H18")
    assert cohort.of_cases(("H18",)).counts()["imposters"] == 0
    assert {(e.width_l0, e.height_l0) for e in cohort.slides} == {(1663, 1485), (1662, 1485)}
    assert sum(cohort.annotations.score == 0.65) == 145


@pytest.mark.data
def test_amibr_brings_its_own_resolution_and_domains(data_folder, tmp_path):
    """3,720 crops in four domains with the mpp of each row; 3,814 figures and 65 imposters."""
    report = import_cohort("points", data_folder / "amibr/labels.csv", tmp_path)
    assert (report.total.slides, report.total.figures, report.total.imposters) == (3720, 3814, 65)
    assert {(entry.domain, entry.mpp) for entry in report.cohort.slides} == {
        ("tupac16", 0.25), ("aperio-cs2", 0.253), ("hamamatsu-s360", 0.2265), ("hamamatsu-xr", 0.2265),
    }  # fmt: skip
