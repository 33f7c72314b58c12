"""Laws of a file given to the wrong reader: it says whose the file is, and what to do."""

import json

import pytest
from test_judging import FORMATS as WRITERS
from test_outlined import asap, image_scope
from test_qupath import feature, file

from build import an_image
from layouts import text
from mitosieve.cohort.formats import FORMATS
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.recognise import recognised
from mitosieve.errors import FormatError

MARKS = [(1, "mitosis", 200, 150), (2, "mitosis", 210, 160)]


def sources(folder):
    """A file of each format, by the name of its reader."""
    made = {
        name: write(folder / name, ["mitosis"], MARKS)
        for name, write in WRITERS.items()
        if not (folder / name).mkdir(parents=True)
    }
    made |= {
        "asap": asap(folder / "asap.xml", ("Dot", "Mitosis", [(1, 1)])),
        "image_scope": image_scope(folder / "scope.xml", ("mitosis", [("0", "", [(1, 1)])])),
        "qupath": file(folder / "q.geojson", feature("Point", [1, 1])),
        "yolo": text(folder / "yolo/labels/p1_a.txt", "0 0.5 0.5 0.1 0.1\n").parent,
        "tupac": text(folder / "tupac/mitoses_ground_truth/01/01.csv", "1,2\n").parents[2],
        "atypia14": text(folder / "at/A03/mitosis/A03_00Aa_mitosis.csv", "1,2\n").parents[2],
        "icpr12": text(folder / "icpr/A03_v2/A03_00.csv", "1,2,2,2\n").parents[1],
        "images": text(folder / "images.csv", "image,case\na.png,p\n"),
    }
    an_image(folder / "yolo/images/p1_a.png")
    text(folder / "yolo/classes.txt", "mitosis\n")
    return made


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_is_recognised_in_the_hands_of_every_other_reader(tmp_path, name):
    """The message names the command that reads it, and nothing is written."""
    source = sources(tmp_path)[name]
    assert name in recognised(source).formats
    together = [{"coco", "midog"}, {"points", "images"}]
    for other in FORMATS:
        if other == name or {name, other} in together or (other == "images" and source.is_dir()):
            continue
        with pytest.raises(FormatError) as caught:
            import_cohort(other, source, tmp_path / "c", mpp=0.25)
        assert f"mitosieve import {name} {source} COHORT" in str(caught.value)
        assert f"not of the format {other}" in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", json.dumps({"shapes": [], "imagePath": "a.png"}), "LabelMe"),
        ("a.json", json.dumps([{"id": 1, "annotations": [{"result": []}], "data": {}}]), "Label Studio"),
        ("a.json", json.dumps({"_via_img_metadata": {}}), "VIA"),
        ("a.json", json.dumps({"type": "Multiple points", "points": []}), "grand-challenge"),
        ("a.xml", "<annotations><version>1.1</version></annotations>", "CVAT"),
        ("a.xml", "<annotations><ndpviewstate/></annotations>", "NDP.view"),
    ],
)
def test_formats_that_no_reader_takes_have_a_way_round(tmp_path, name, content, told):
    """The program is named, and what it can export instead."""
    source = text(tmp_path / name, content)
    for reader in ("coco", "qupath", "voc", "slide_runner"):
        with pytest.raises(FormatError, match=told) as caught:
            import_cohort(reader, source, tmp_path / "c", mpp=0.25)
        assert "remedy: " in str(caught.value)


def test_a_file_of_the_right_format_keeps_its_own_message(tmp_path):
    """What is wrong inside is told as before."""
    source = text(tmp_path / "a.xml", "<annotation><object><name>mitosis</name></object></annotation>")
    with pytest.raises(FormatError, match="object 1: xmin is 'None'"):
        import_cohort("voc", source, tmp_path / "c", mpp=0.25)
