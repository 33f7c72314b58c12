import pytest

from layouts import text, tiff, voc_xml
from mitosieve.annotation import Label
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError


def test_objects_become_marks_at_the_middle_of_their_box(tmp_path):
    """Names mean labels whatever their spelling; a file without objects is a labelled slide."""
    voc_xml(tmp_path / "a.xml", objects=[("mitosis", 100, 90), ("Non-Mitotic Figure", 200, 80)], filename="p7_a.png")
    voc_xml(tmp_path / "b.xml", filename="p7_b.png")
    one, two = read_labels("voc", tmp_path, None).images
    assert [(m.x, m.y, m.label) for m in one.marks] == [(100, 90, Label.MITOTIC_FIGURE), (200, 80, Label.IMPOSTER)]
    assert (one.slide_id, one.case_id, one.size_l0) == ("p7_a", "p7", (400, 300))
    assert (two.labelled, two.marks) == (True, ())


def test_a_name_without_underscore_is_its_own_case_and_unknown_sizes_stay_unknown(tmp_path):
    """VOC names no cases, and that they were made from names is said; size 0 means unknown."""
    path = voc_xml(tmp_path / "a.xml", filename="slide12.png", size=(0, 0))
    reading = read_labels("voc", path, None)
    assert [(i.case_id, i.size_l0) for i in reading.images] == [("slide12", None)]
    assert reading.images[0].case_guessed
    assert read_labels("voc", voc_xml(tmp_path / "a.xml", size=None), None).images[0].size_l0 is None


def test_the_image_is_found_under_another_ending(tmp_path):
    """The XML says .png, the folder has .tif."""
    voc_xml(tmp_path / "voc/a.xml", objects=[("mitosis", 100, 90)])
    tiff(tmp_path / "images/case1_a.tif")
    report = import_cohort("voc", tmp_path / "voc", tmp_path / "c", images=tmp_path / "images")
    assert report.cohort.path_of("case1_a") == tmp_path / "images/case1_a.tif"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object>", "is not XML"),
        ("", "is not XML"),
        ("<html/>", "is <html>, not <annotation>"),
        ("<annotation><object><name>mitosis</name></object></annotation>", "object 1: xmin is 'None'"),
        (
            "<annotation><object><name>nucleus</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>",
            r"classes 'nucleus' \(1 mark\) is not known \(first: .*bad.xml, object 1\)",
        ),
        (
            "<annotation><object><name>mitosis</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>",
            "object 1: its box ends before it begins",
        ),
        (
            "<annotation><object><name>mitosis</name><bndbox><xmin>nan</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>",
            "object 1: xmin is 'nan'",
        ),
    ],
)
def test_a_broken_file_is_refused_by_file_and_object(tmp_path, content, message):
    """One message with file, object and remedy."""
    path = text(tmp_path / "bad.xml", content)
    with pytest.raises(FormatError, match=message) as caught:
        read_labels("voc", tmp_path, None)
    assert str(path) in str(caught.value)


def test_bytes_that_are_not_utf8_and_an_empty_folder_are_refused(tmp_path):
    """XML without a declared encoding is UTF-8."""
    with pytest.raises(FormatError, match="holds no XML file"):
        read_labels("voc", tmp_path, None)
    (tmp_path / "a.xml").write_bytes(b"<annotation><filename>\xff\xfe</filename></annotation>")
    with pytest.raises(FormatError, match="is not XML"):
        read_labels("voc", tmp_path, None)


@pytest.mark.data
def test_the_figures_of_real_frames_agree_with_their_points_csv(data_folder, tmp_path):
    """mitos14 as VOC: 512 figures on 257 slides of 7 cases, at the centres that its points CSV gives."""
    images = data_folder / "mitos14/frames"
    boxes = import_cohort("voc", data_folder / "mitos14/voc", tmp_path / "v", images=images, mpp=0.2273)
    points = import_cohort("points", data_folder / "mitos14/labels.csv", tmp_path / "p", images=images, mpp=0.2273)
    total = boxes.total
    assert (total.cases, total.slides, total.figures, total.imposters) == (7, 257, 512, 0)

    def figures(cohort):
        marks = cohort.annotations.with_label(Label.MITOTIC_FIGURE)
        return sorted(zip(marks.slide_id, *marks.center_l0.T, strict=True))

    for (slide_a, xa, ya), (slide_b, xb, yb) in zip(figures(boxes.cohort), figures(points.cohort), strict=True):
        assert slide_a == slide_b
        assert max(abs(xa - xb), abs(ya - yb)) <= 30, "a box cut at the border of its frame moves its middle"
