"""Laws of cases: one rule for all formats, and ids of one patient written in many ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_judging import FORMATS as WRITERS

from mitosieve.cohort.case_id import alike, case_of, folded, tissues_of
from mitosieve.cohort.importing import read_labels


@pytest.mark.parametrize("name", ["coco", "points", "voc", "slide_runner"])
def test_every_format_that_names_no_case_takes_the_same(tmp_path, name):
    """A TCGA barcode's patient too, which only unlabelled images had."""
    marks = [(1, "mitosis", 100, 50), (2, "mitosis", 100, 50)]
    source = WRITERS[name](tmp_path, ["mitosis"], marks)
    for path in [source] if source.is_file() else source.iterdir():
        content = path.read_bytes()
        if name != "slide_runner":
            path.write_bytes(content.replace(b"p1_a.png", b"tcga-18-5592-01Z-00-DX1.png"))
    if name == "slide_runner":
        import sqlite3

        with sqlite3.connect(source) as database:
            database.execute("UPDATE Slides SET filename = 'tcga-18-5592-01Z-00-DX1.png' WHERE uid = 1")
        database.close()
    images = read_labels(name, source, None).images
    assert [(image.case_id, image.case_guessed) for image in images] == [("TCGA-18-5592", True), ("p2", True)]


@pytest.mark.parametrize(
    ("name", "case"),
    [("u/v/p1_a.png", "p1"), ("u_v/p1.svs", "p1"), ("_x.png", "_x"), ("TCGA-18-5592.x_y.svs", "TCGA-18-5592")],
)
def test_a_case_is_the_files_own_name_up_to_its_first_underscore(name, case):
    """Folders are no part of it."""
    assert case_of(name) == case


def test_ways_to_write_one_patient():
    """Case, blanks, hyphens, underscores and leading zeros; other letters and numbers are other patients."""
    assert alike(["P01", "p01", "P-01", "P 01", "P_1", "1", "01", "10", "P10", "q01"]) == [
        ["01", "1"], ["P 01", "P-01", "P01", "P_1", "p01"],
    ]  # fmt: skip
    assert alike(["1", "10", "100", "0", "11"]) == []
    assert alike(["1-23", "12-3", "S1_11", "S11_1"]) == []
    assert alike(["1-23", "12-3", "123", "17-4532", "174532"]) == [["1-23", "12-3", "123"], ["17-4532", "174532"]]
    assert alike(["17-0453", "170453", "P1-01", "P101"]) == [["17-0453", "170453"], ["P1-01", "P101"]]
    assert alike(["17-0453", "17453", "P1-01", "P11"]) == []
    assert alike(["1-23", "01_23", "1 023"]) == [["01_23", "1 023", "1-23"]]
    assert alike(["0", "00"]) == [["0", "00"]]


def test_barcodes_of_one_tcga_patient_are_alike():
    """Whatever sample, portion or slide they go on to name and however they are written; other patients are others."""
    patient = ["TCGA-18-5592", "TCGA-18-5592-01A-01-TS1", "TCGA-18-5592-01Z-00-DX1", "TCGA.18.5592.01A", "TCGA185592"]
    patient += ["tcga 18 5592", "tcga_18_5592_01Z"]
    others = ["TCGA-18-5593", "TCGA-05-1234-01A", "TCGA-51-0234-01A", "TCGA-18-55921", "lab-TCGA-18-5592"]
    assert alike([*patient, *others]) == [patient]


@pytest.mark.parametrize("prefix", ["x-", "x", "lab_0", "TCGA-"])
def test_barcodes_of_one_tcga_patient_are_alike_under_one_prefix(prefix):
    """The prefix says that they are of another patient than without it, or under another one."""
    patient = [f"{prefix}{name}" for name in ("TCGA-18-5592-01A", "TCGA-18-5592-01Z", "TCGA.18.5592", "TCGA185592")]
    assert alike([*patient, "TCGA-18-5592", "y-TCGA-18-5592", f"{prefix}TCGA-18-5593"]) == [patient]


@given(st.from_regex(r"[A-Z0-9]{2}-[A-Z0-9]{4}", fullmatch=True), st.sampled_from(["", "x-", "x"]))
def test_a_tcga_patient_is_alike_with_hyphens_and_without(fields, prefix):
    """Leading zeros in a field too."""
    written = [f"{prefix}TCGA-{fields}", f"{prefix}TCGA{fields.replace('-', '')}"]
    assert alike(written) == [sorted(written)]


def test_a_scanners_letter_is_no_other_patient_where_its_frames_are_there():
    """Of tissue 3: A03, H03, 03 and 3; a letter before another tissue, or without such a frame, is another patient."""
    assert alike(["H03", "A03", "03", "3", "H04", "04"], {3}) == [["03", "3", "A03", "H03"]]
    assert alike(["H03", "A03", "B03", "HE03"], ()) == []
    slides = [("H03_00Aa", "H03"), ("f_A04_09", "04"), ("A05_00Aa", "lab-A05"), ("x", "H06"), ("A07_0", "A07")]
    assert tissues_of([*slides, ("A08_00Aa", "A09")]) == {3, 4}


@given(st.text(st.characters(categories=["L", "N", "Z", "P"]), max_size=20))
def test_folding_again_changes_nothing_where_it_matters(case_id):
    """An id and its capitals are alike; none is lost to an error."""
    assert folded(case_id.upper()) == folded(case_id.upper().lower()) or not case_id.isascii()
    folded(folded(case_id))
