"""Laws over a whole cohort: one patient is never two cases in silence, also when a second import adds to the first."""

import itertools
import shutil
from pathlib import Path

import pytest
from test_slide_runner import a_database, annotation

from build import an_image
from layouts import text, voc_xml
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.merged import doubtful_patients
from tiny import mitosieve

HEADER = "image,case,x,y,label\n"


def doubts(folder):
    return [caution.text for caution in doubtful_patients(Cohort.load(folder))]


def test_cases_that_differ_in_writing_alone_are_told_of_the_whole_cohort(tmp_path):
    """Of one import and of two: the second brings P-01 to the first's p01."""
    first = text(tmp_path / "a.csv", HEADER + "a.png,p01,1,2,mitosis\nb.png,q,1,2,mitosis\n")
    assert import_cohort("points", first, tmp_path / "c", mpp=0.25).warnings == ()
    second = text(tmp_path / "b.csv", HEADER + "c.png,P-01,1,2,mitosis\n")
    (warning,) = import_cohort("points", second, tmp_path / "c", mpp=0.25).warnings
    assert "1 patient perhaps written in several ways" in warning
    assert "'P-01' = 'p01'" in warning
    assert doubts(tmp_path / "c") == [warning]


def test_images_of_equal_bytes_are_told_and_those_of_equal_size_are_not(tmp_path):
    """A copy under another case would be on both sides; a copy is found by its bytes, whatever it is called."""
    for i, name in enumerate("abc"):
        an_image(tmp_path / f"images/{name}.png", seed=i)
    shutil.copy(tmp_path / "images/a.png", tmp_path / "images/d.png")
    size = (tmp_path / "images/b.png").stat().st_size
    with (tmp_path / "images/c.png").open("ab") as file:
        file.write(b"\0" * (size + 200_000 - (tmp_path / "images/c.png").stat().st_size))
    with (tmp_path / "images/b.png").open("ab") as file:
        file.write(b"\1" + b"\0" * 199_999)
    rows = "".join(f"{name}.png,{case},1,2,mitosis\n" for name, case in zip("abcd", "pqrs", strict=True))
    report = import_cohort(
        "points", text(tmp_path / "l.csv", HEADER + rows), tmp_path / "c", images=tmp_path / "images", mpp=0.25
    )
    (warning,) = report.warnings
    assert warning.startswith("1 image is a copy of another, byte for byte, 1 of them under another case")
    assert "a (case p) = d (case s)" in warning


def test_folders_that_may_be_patients_are_told(tmp_path, monkeypatch):
    """P1/01.png and P2/01.png under the case 01 that their names gave; not where the case is named or names differ."""
    rows = "".join(f"P{patient}/0{image}.png,1,2,mitosis\n" for patient in (1, 2) for image in (1, 2))
    source = text(tmp_path / "a.csv", "image,x,y,label\n" + rows)
    warnings = import_cohort("points", source, tmp_path / "a", mpp=0.25).warnings
    (told,) = [line for line in warnings if "one name in several folders" in line]
    assert told.startswith("2 case ids of images that have one name in several folders: '01' (P1 and P2), '02' (P1")
    assert told in doubts(tmp_path / "a")
    strict = ("split", tmp_path / "a", "--folds", 3, "--strict", "--out", tmp_path / "s.json")
    assert mitosieve(*strict).code == 2
    deep = text(tmp_path / "e.csv", "image,x,y,label\n" + rows.replace("/", "/frames/"))
    (warning,) = [w for w in import_cohort("points", deep, tmp_path / "e", mpp=0.25).warnings if "several folders" in w]
    assert "'01' (P1/frames and P2/frames)" in warning
    for patient in "PQ":
        an_image(tmp_path / ("rel/images" if patient == "P" else "other") / patient / "01.png", seed=ord(patient))
        text(tmp_path / f"{patient}.csv", f"image,x,y,label\n{patient}/01.png,1,2,mitosis\n")
    monkeypatch.chdir(tmp_path)
    first = import_cohort("points", Path("P.csv"), Path("rel"), images=Path("rel/images"), mpp=0.25)
    assert not any("several folders" in w for w in first.warnings)
    second = import_cohort("points", Path("Q.csv"), Path("rel"), images=Path("other"), mpp=0.25)
    assert any("'01' (other/Q and rel/images/P)" in warning for warning in second.warnings), second.warnings
    named = "".join(f"P{n}/01.png,{case},1,2,mitosis\n" for n, case in ((1, "p1"), (2, "p2")))
    import_cohort("points", text(tmp_path / "b.csv", HEADER + named), tmp_path / "b", mpp=0.25)
    assert doubts(tmp_path / "b") == []
    apart = text(tmp_path / "d.csv", "image,x,y,label\nA/p1_a.png,1,2,mitosis\nH/p1_b.png,1,2,mitosis\n")
    import_cohort("points", apart, tmp_path / "d", mpp=0.25)
    assert doubts(tmp_path / "d") == []


def test_a_half_filled_column_of_cases_is_told(tmp_path):
    """Where some images name a patient and others do not, the others' file names are no patients."""
    source = text(tmp_path / "l.csv", HEADER + "p1_a.png,K7,1,2,mitosis\np1_b.png,,1,2,mitosis\n")
    warnings = import_cohort("points", source, tmp_path / "c", mpp=0.25).warnings
    assert any("named for 1 image and not for 1, such as p1_b.png" in warning for warning in warnings)


def test_two_sources_with_the_same_case_id_are_told_until_somebody_says_what_they_are(tmp_path):
    """TUPAC has a case 03, ATYPIA another: told at the import and again before the split; a prefix keeps them apart."""
    tupac = text(tmp_path / "tupac/mitoses_ground_truth/03/01.csv", "1,2\n").parents[2]
    text(tmp_path / "tupac/mitoses_ground_truth/04/01.csv", "1,2\n")
    atypia = text(tmp_path / "atypia/A03/mitosis/A03_00Aa_mitosis.csv", "1,2\n").parents[2]
    import_cohort("tupac", tupac, tmp_path / "c", mpp=0.25)
    shutil.copytree(tmp_path / "c", tmp_path / "d")
    report = import_cohort("atypia14", atypia, tmp_path / "c")
    assert any("the cases 03 are in the cohort already" in w and "--case-prefix" in w for w in report.warnings)
    assert [text.split(":")[0] for text in doubts(tmp_path / "c")] == [
        "1 case id in two sources, taken for the same patient in both"
    ]
    report = import_cohort("atypia14", atypia, tmp_path / "d", case_prefix="atypia-")
    assert report.cohort.cases == ("03", "04", "atypia-03")
    assert doubts(tmp_path / "d") == []


def test_split_says_it_again_and_refuses_it_where_that_is_asked(tmp_path):
    """On the command line: a warning and a split, or with --strict one message, exit 2 and no split."""
    rows = "".join(f"p{i}.png,{case},100,100,mitosis\n" for i, case in enumerate(("P01", "p01", "P-01", "q", "r", "s")))
    import_cohort("points", text(tmp_path / "l.csv", HEADER + rows), tmp_path / "c", mpp=0.25)
    split = ("split", tmp_path / "c", "--folds", "3", "--out", tmp_path / "s.json")
    refused = mitosieve(*split, "--strict")
    assert refused.code == 2
    assert "'P-01' = 'P01' = 'p01'" in refused.err
    assert "remedy:" in refused.err
    assert not (tmp_path / "s.json").exists()
    told = mitosieve(*split)
    assert (told.code, (tmp_path / "s.json").exists()) == (0, True)
    assert "'P-01' = 'P01' = 'p01'" in told.err


def test_a_tcga_patient_under_two_barcodes_is_on_no_two_sides(tmp_path):
    """A column of cases that names slides: told, and refused by --strict."""
    cases = ("TCGA-18-5592-01Z-00-DX1", "TCGA-18-5592-01A-01-TS1", "q", "r")
    rows = "".join(f"p{i}.png,{case},100,100,mitosis\n" for i, case in enumerate(cases))
    import_cohort("points", text(tmp_path / "l.csv", HEADER + rows), tmp_path / "c", mpp=0.25)
    refused = mitosieve("split", tmp_path / "c", "--folds", "3", "--out", tmp_path / "s.json", "--strict")
    assert (refused.code, (tmp_path / "s.json").exists()) == (2, False)
    assert f"'{cases[1]}' = '{cases[0]}'" in refused.err


def mitos_tissue(tmp_path, name):
    """The tissue 03 of MITOS as one of five layouts has it: label file or folder."""
    if name == "atypia14":
        return text(tmp_path / "at/A03/mitosis/A03_00Aa_mitosis.csv", "1,2\n").parents[2]
    if name == "icpr12":
        return text(tmp_path / "icpr/H03_04.csv", "10,20,11,20\n").parent
    if name == "voc":
        return voc_xml(tmp_path / "voc/H03_01Ab.xml", objects=[("mitosis", 100, 50)], filename="H03_01Ab.png").parent
    if name == "slide_runner":
        named = "UPDATE Slides SET filename = 'A03_02Bb.tiff'"
        return a_database(tmp_path / "m.sqlite", "DELETE FROM Slides WHERE uid = 2", *annotation(1, 1, 1), named)
    return text(tmp_path / "l.csv", "image,x,y,label\nH03_03Aa.png,1,2,mitosis\n")


LAYOUTS = ("atypia14", "icpr12", "voc", "slide_runner", "points")


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(LAYOUTS, 2)))
def test_a_tissue_of_mitos_is_one_case_or_told_whatever_read_it(tmp_path, one, other):
    """03, A03 and H03 are one patient: by any two readers one case, or doubtful."""
    for name in (one, other):
        import_cohort(name, mitos_tissue(tmp_path, name), tmp_path / "c", mpp=0.25)
    cases = Cohort.load(tmp_path / "c").cases
    told = [doubt for doubt in doubts(tmp_path / "c") if all(f"'{case}'" in doubt for case in cases)]
    assert len(cases) == 1 or "written in several ways" in told[0]


def test_a_prefix_says_that_a_tissue_of_mitos_is_another_patient(tmp_path):
    """A laboratory's own A03_01 and H03_01 need not be MITOS's."""
    for name, prefix in (("voc", ""), ("slide_runner", "lab-")):
        import_cohort(name, mitos_tissue(tmp_path, name), tmp_path / "c", mpp=0.25, case_prefix=prefix)
    assert Cohort.load(tmp_path / "c").cases == ("H03", "lab-A03")
    assert doubts(tmp_path / "c") == []


@pytest.mark.data
def test_inputs_from_the_wild(cases_folder, tmp_path):
    """One patient in six spellings, and a column of cases that is half filled."""
    labels = cases_folder / "labels"
    report = import_cohort("points", labels / "21-one-patient-six-spellings/l.csv", tmp_path / "a", mpp=0.25)
    assert any("'01' = '1'" in warning and "'P 01' = 'P-01' = 'P01' = 'p01'" in warning for warning in report.warnings)
    report = import_cohort("points", labels / "22-case-column-half-filled/l.csv", tmp_path / "b", mpp=0.25)
    assert any("not for 1" in warning for warning in report.warnings)
