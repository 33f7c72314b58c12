"""Copies of the literature's data sets, in small: what is whole is imported, what is not is told."""

import hashlib
import shutil
from dataclasses import replace

import pytest

from layouts import files_below, frame_image, midog_json, text, tiff
from mitosieve import Cohort, Split
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.published.contract import Counts
from mitosieve.cohort.published.getting import get
from mitosieve.cohort.published.official import official_names
from mitosieve.cohort.published.registry import PUBLISHED
from mitosieve.errors import CohortError, FormatError, ResolutionError

TRAINING = ("03", "04", "05", "07", "10", "11", "12", "14", "15", "17", "18")


def atypia(folder, *, letters="AH", numbers=TRAINING, size=(60, 40)):
    """The official layout: a frame of each slide, one figure and one imposter in it."""
    for letter in letters:
        for number in numbers:
            name = f"{letter}{number}_00Aa"
            slide = folder / f"{letter}{number}"
            tiff(slide / "frames/x40" / f"{name}.tiff", mpp=None, width=size[0], height=size[1])
            text(slide / "mitosis" / f"{name}_mitosis.csv", "10,20,0.8\n")
            text(slide / "mitosis" / f"{name}_not_mitosis.csv", "30,20,0.2\n")
    return folder


def tupac(folder, *, cases=range(1, 74), alternative=False, empty=(10, 20, 26, 35, 38, 48, 53)):
    """The official layout: one image a case, in two parts; where no figure is, only alternative labels have a file."""
    labels = folder / ("TUPAC_AL" if alternative else "")
    for case in cases:
        tiff(folder / f"mitoses_train_image_data/part_{case % 2}/{case:02d}/01.tif", mpp=None, width=60, height=40)
        if alternative or case not in empty:
            text(labels / f"mitoses_ground_truth/{case:02d}/01.csv", "20,10\n")
        if alternative:
            text(labels / f"nonmitoses_ground_truth/{case:02d}/01.csv", "20,30\n")
    return folder


def midog(folder, *, name="MIDOG.json", ids=range(1, 201), absent=(), unlabelled=range(151, 201), mpp=None, **more):
    """One JSON and its images; marks in all but the unlabelled ones."""
    files = [(i, f"{i:03d}.tiff", more.get("tumour")) for i in ids]
    marks = [(i, c, 10, 20, None) for i in ids if i not in unlabelled for c in (1, 2)]
    midog_json(folder / name, images=files, annotations=marks, info={"description": "MIDOG 2021"})
    for i in ids:
        if i not in absent:
            tiff(folder / "images" / f"{i:03d}.tiff", mpp=mpp)
    return folder


def test_both_scanners_of_the_official_archive_are_imported_at_their_own_resolution(tmp_path):
    """Aperio 0.2455, Hamamatsu 0.2273 um per px; A03 and H03 are one case; a split file for each table that fits."""
    report = get("mitos-atypia-14", atypia(tmp_path / "set"), tmp_path / "c")
    cohort = Cohort.load(tmp_path / "c")
    assert {entry.slide_id[0]: entry.mpp for entry in cohort.slides} == {"A": 0.2455, "H": 0.2273}
    assert cohort.cases == TRAINING
    assert [(one.name, one.path, one.note) for one in report.splits] == [
        (name, tmp_path / f"c/splits/{name}.json", "") for name in ("mitos-atypia-14", "mitos-atypia-14-uts")
    ]
    split = Split.load(report.splits[0].path)
    split.check(cohort)
    assert {name: fold.test for name, fold in split.folds.items()} == {
        "A": ("04",), "B": ("03", "12"), "C": ("07", "11", "14", "18"),
    }  # fmt: skip
    assert Split.load(report.splits[1].path).fold("uts").validation == ("03",)


def test_counts_that_differ_from_the_known_ones_are_told(tmp_path):
    """One frame a slide instead of 1,200 in all: counts of Aperio are named, of Hamamatsu none is known."""
    warnings = get("mitos-atypia-14", atypia(tmp_path / "set"), tmp_path / "c").imported.warnings
    assert [warning.split(" were read, where ")[0] for warning in warnings if "were read" in warning] == [
        f"11 {what} of Aperio Scanscope XT" for what in ("slides", "figures", "imposters")
    ]
    only_h = get("mitos-atypia-14", atypia(tmp_path / "h", letters="H"), tmp_path / "d")
    assert only_h.imported.warnings == ()


def test_counts_that_are_the_known_ones_are_not_told(tmp_path, monkeypatch):
    """Where the copy has what the set has, nothing is said of counts."""
    whole = PUBLISHED["midog-2021"]
    known = {"total": Counts(slides=200, figures=150, imposters=150)}
    monkeypatch.setitem(PUBLISHED, "midog-2021", replace(whole, look=lambda f: replace(whole.look(f), expected=known)))
    report = get("midog-2021", midog(tmp_path / "set", mpp=0.25), tmp_path / "c")
    assert not [warning for warning in report.imported.warnings if "were read" in warning]


def test_missing_slides_are_one_message_and_nothing_is_written(tmp_path):
    """How many, the first few, what to fetch from where, and how to go on; the test slides are no part of it."""
    folder = atypia(tmp_path / "set", letters="A", numbers=(*TRAINING[:4], "06"))
    with pytest.raises(FormatError) as caught:
        get("mitos-atypia-14", folder, tmp_path / "c")
    message = str(caught.value)
    assert "7 parts of mitos-atypia-14 are missing: A10, A11, A12, A14, A15 and 2 more" in message
    assert "https://mitos-atypia-14.grand-challenge.org" in message
    assert "--partial" in message
    assert not (tmp_path / "c").exists()


def test_a_part_of_a_set_is_imported_where_that_is_asked_for(tmp_path):
    """--partial: what is missing is told, splits keep the cases that are there, an emptied part is no split."""
    folder = atypia(tmp_path / "set", letters="A", numbers=("03", "04", "07", "06"))
    report = get("mitos-atypia-14", folder, tmp_path / "c", partial=True)
    assert report.imported.cohort.cases == ("03", "04", "07")  # 06 is a test slide
    assert "imported without 8 missing parts of the set" in report.imported.warnings[0]
    ours, uts = report.splits
    assert ours.path is None
    assert ours.note == "not written: no labelled case of its validation part (fold A) is here"
    assert "8 of its cases are not here" in uts.note
    assert Split.load(uts.path).fold("uts").train == ("07",)


def test_a_frame_without_its_image_is_missing(tmp_path):
    """A label file whose frame is gone counts as a missing frame, by name."""
    folder = atypia(tmp_path / "set", letters="A")
    (folder / "A05/frames/x40/A05_00Aa.tiff").unlink()
    with pytest.raises(FormatError, match=r"1 part of mitos-atypia-14 is missing: A05/frames/x40/A05_00Aa.tiff"):
        get("mitos-atypia-14", folder, tmp_path / "c")


def test_a_copy_with_a_table_of_labels_is_taken_and_told_as_a_copy(tmp_path):
    """labels.csv beside frames/: the cohort of `import points --mpp 0.2273`, folds A, B, C by its names of cases."""
    rows = ["image,case,x,y,label,score"]
    for case in ("H03", "H04", "H07", "H11", "H12", "H14", "H18"):
        tiff(tmp_path / f"set/frames/{case}_00Aa.png", mpp=None)
        rows.append(f"{case}_00Aa.png,{case},10,20,mitotic figure,0.8")
    text(tmp_path / "set/labels.csv", "\n".join(rows))
    report = get("mitos-atypia-14", tmp_path / "set", tmp_path / "c")
    assert "is a copy" in report.imported.warnings[0]
    assert [(one.name, one.note) for one in report.splits] == [("mitos-atypia-14-copy", "")]
    plain = import_cohort(
        "points", tmp_path / "set/labels.csv", tmp_path / "d", images=tmp_path / "set/frames", mpp=0.2273
    )
    assert report.imported.cohort.hash() == plain.cohort.hash()


def test_one_resolution_for_a_copy_of_both_scanners_is_refused(tmp_path):
    """As of the official archive: the two scanners differ."""
    rows = ["image,case,x,y,label"]
    for frame in ("A03_00Aa", "H03_00Aa"):
        tiff(tmp_path / f"set/frames/{frame}.png", mpp=None)
        rows.append(f"{frame}.png,H03,10,20,mitotic figure")
    text(tmp_path / "set/labels.csv", "\n".join(rows))
    with pytest.raises(ResolutionError):
        get("mitos-atypia-14", tmp_path / "set", tmp_path / "c", mpp=0.25)
    cohort = get("mitos-atypia-14", tmp_path / "set", tmp_path / "d").imported.cohort
    assert {entry.slide_id[0]: entry.mpp for entry in cohort.slides} == {"A": 0.2455, "H": 0.2273}


def icpr(folder, *, letters="A", slides=range(5)):
    """The official layout: ten frames a slide, one figure of four px in each, and the drawing beside it."""
    for name in (f"{letter}{slide:02d}_{frame:02d}" for letter in letters for slide in slides for frame in range(10)):
        below = folder / f"{name[:3]}_v2"
        frame_image(below / f"{name}.bmp")
        frame_image(below / f"{name}.jpg")
        text(below / f"{name}.csv", "10,20,11,20,10,21,11,21\n")
    return folder


def test_the_frames_of_icpr_2012_are_imported_by_slide(tmp_path):
    """Both scanners of a slide are one case, each at its own resolution; drawings are left out; no split is shipped."""
    report = get("icpr-2012", icpr(tmp_path / "set", letters="AH"), tmp_path / "c")
    cohort = Cohort.load(tmp_path / "c")
    assert cohort.cases == ("00", "01", "02", "03", "04")
    assert {entry.slide_id[0]: entry.mpp for entry in cohort.slides} == {"A": 0.2456, "H": 0.2273}
    assert {entry.path.rsplit(".", 1)[1] for entry in cohort.slides} == {"bmp"}
    assert (report.imported.total.slides, report.imported.total.figures, report.splits) == (100, 100, ())
    assert "test frames come from the five slides" in report.imported.warnings[0]
    assert not [warning for warning in report.imported.warnings if "were read" in warning]


def test_frames_of_icpr_2012_that_are_missing_are_named(tmp_path):
    """A slide of one scanner less; a frame that has lost its image; nothing is written."""
    folder = icpr(tmp_path / "set", slides=range(4))
    with pytest.raises(FormatError, match=r"10 parts of icpr-2012 are missing: A04_00, A04_01"):
        get("icpr-2012", folder, tmp_path / "c")
    for frame in folder.rglob("A03_05.*"):
        if frame.suffix != ".csv":
            frame.unlink()
    with pytest.raises(FormatError, match=r"11 parts of icpr-2012 are missing: .*"):
        get("icpr-2012", folder, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    partial = get("icpr-2012", folder, tmp_path / "c", partial=True)
    assert partial.imported.total.slides == 39


def test_tupac_cases_without_a_label_file_have_no_figure(tmp_path):
    """The seven cases that the challenge's labels leave out are searched and empty; test cases are not imported."""
    folder = tupac(tmp_path / "set")
    tiff(folder / "mitoses_train_image_data/part_2/74/01.tif")
    report = get("tupac16", folder, tmp_path / "c")
    total = report.imported.total
    assert (total.cases, total.labelled, total.figures) == (73, 73, 66)
    assert {entry.mpp for entry in report.imported.cohort.slides} == {0.25}
    (uts,) = report.splits
    assert uts.cases == (59, 7, 7)
    Split.load(uts.path).check(report.imported.cohort)


def test_tupac_cases_without_labels_are_missing(tmp_path):
    """Any other case without a label file is missing, and so is an image that labels name."""
    folder = tupac(tmp_path / "set")
    (folder / "mitoses_ground_truth/24/01.csv").unlink()
    (folder / "mitoses_train_image_data/part_1/31/01.tif").unlink()
    with pytest.raises(FormatError, match=r"2 parts of tupac16 are missing: mitoses_ground_truth/24, 31/01.tif"):
        get("tupac16", folder, tmp_path / "c")


def test_alternative_labels_are_told_from_the_challenges(tmp_path):
    """Both may lie in one folder; each name takes its own, and says where only the other is there."""
    both = tupac(tupac(tmp_path / "set", alternative=True))
    assert get("tupac16-alternative", both, tmp_path / "a").imported.total.imposters == 73
    assert get("tupac16", both, tmp_path / "b").imported.total.imposters == 0
    with pytest.raises(FormatError, match="those of the other of tupac16, tupac16-alternative"):
        get("tupac16-alternative", tupac(tmp_path / "one"), tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mitos-atypia-14", atypia),
        ("tupac16", tupac),
        ("tupac16-alternative", lambda folder: tupac(folder, alternative=True)),
        ("midog-2021", midog),
    ],
)
def test_every_split_that_a_set_has_is_written_for_a_whole_copy(tmp_path, name, make):
    """No name is listed that nobody can get; that of the copy of MITOS-ATYPIA-14 is the copy's."""
    report = get(name, make(tmp_path / "set"), tmp_path / "c")
    listed = [split for split in PUBLISHED[name].splits if not split.endswith("-copy")]
    assert [one.name for one in report.splits] == listed
    for one in report.splits:
        assert Split.load(one.path).cases <= set(report.imported.cohort.cases)


def test_midog_takes_the_image_files_resolution_and_else_the_described_one(tmp_path):
    """A TIFF that states its resolution keeps it; of one that does not, the scanner's is used and told."""
    stating = get("midog-2021", midog(tmp_path / "one", mpp=0.2263), tmp_path / "a").imported
    assert [entry.mpp for entry in stating.cohort.slides] == pytest.approx([0.2263] * 200, rel=1e-3)
    silent = get("midog-2021", midog(tmp_path / "two"), tmp_path / "b").imported
    found = {entry.case_id: entry.mpp for entry in silent.cohort.slides}
    assert [found[case] for case in ("001", "100", "101", "150", "151")] == [0.23, 0.23, 0.25, 0.25, 0.26]
    assert any("states no resolution: 0.23 um per px" in warning for warning in silent.warnings)


def test_midog_plus_plus_may_lack_its_unlabelled_images_alone(tmp_path):
    """151 to 200 may be absent; nothing is guessed of the resolution of images beyond MIDOG 2021's."""
    tables = {"name": "MIDOG++.json", "tumour": "human melanoma", "unlabelled": (151, 152)}
    folder = midog(tmp_path / "one", ids=(1, 6, 151, 152), absent=(151, 152), **tables)
    report = get("midog-plus-plus", folder, tmp_path / "a", mpp=0.25)
    assert report.imported.cohort.cases == ("001", "006")
    with pytest.raises(FormatError, match=r"1 part of midog-plus-plus is missing: 006.tiff"):
        get("midog-plus-plus", midog(tmp_path / "two", ids=(1, 6), absent=(6,), **tables), tmp_path / "b")
    with pytest.raises(ResolutionError, match="--mpp"):
        get("midog-plus-plus", midog(tmp_path / "three", ids=(1, 505), **tables), tmp_path / "c")


def test_an_altered_label_file_is_told_and_not_refused(tmp_path, monkeypatch):
    """Its SHA-256 is compared with the verified ones: label files have versions, so a stranger is a warning."""
    folder = midog(tmp_path / "set", mpp=0.25)
    told = get("midog-2021", folder, tmp_path / "a").imported.warnings
    assert any("MIDOG.json differs from the verified file (DeepMicroscopy/MIDOG" in warning for warning in told)
    digest = hashlib.sha256((folder / "MIDOG.json").read_bytes()).hexdigest()
    monkeypatch.setitem(PUBLISHED, "midog-2021", replace(PUBLISHED["midog-2021"], digests=frozenset({digest})))
    told = get("midog-2021", folder, tmp_path / "b").imported.warnings
    assert not any("differs from the verified" in warning for warning in told)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mitos-atypia-14", "holds no slide of MITOS-ATYPIA-14"),
        ("icpr-2012", "holds no frame of ICPR 2012"),
        ("tupac16", "holds no folder mitoses_ground_truth"),
        ("midog-2021", "holds no files named MIDOG.json"),
        ("midog-plus-plus", "holds no files named MIDOG"),
        ("midog-2022", "did you mean 'midog-2021'"),
    ],
)
def test_another_folder_is_refused_with_what_to_fetch(tmp_path, name, message):
    """An empty folder, or an unknown set: one message, and no cohort."""
    with pytest.raises(FormatError, match=message) as caught:
        get(name, tmp_path, tmp_path / "c")
    assert "fetch from http" in str(caught.value) or "known:" in str(caught.value)
    with pytest.raises(FormatError, match=r"there is no such folder|is known"):
        get(name, tmp_path / "nowhere", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_set_that_is_in_the_cohort_already_is_refused(tmp_path):
    """As of any import."""
    folder = atypia(tmp_path / "set", letters="A")
    get("mitos-atypia-14", folder, tmp_path / "c")
    with pytest.raises(CohortError, match="in this cohort already"):
        get("mitos-atypia-14", folder, tmp_path / "c")


def test_every_set_says_where_it_is_from_and_which_splits_it_has():
    """A page, what to fetch, terms, and only tables that the package ships; every table is of some set."""
    for one in PUBLISHED.values():
        assert one.address.startswith(("https://", "http://"))  # ICPR 2012's page is older than https
        assert one.fetch
        assert one.terms
        assert bool(one.digests) == bool(one.digest_source)
    assert {split for one in PUBLISHED.values() for split in one.splits} == set(official_names())


@pytest.mark.data
def test_the_verified_label_files_are_the_ones_at_hand(data_folder):
    """The hashes in the package are those of the public files."""
    for name, file in (("midog-2021", "MIDOG21.json"), ("midog-plus-plus", "MIDOG++.json")):
        content = (data_folder / "formats/midog" / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() in PUBLISHED[name].digests


def test_frames_of_another_set_are_no_copy(tmp_path):
    """ICPR 2012 has the same slides, scanners and layout, but other frames; and a copy without frames is none."""
    for name in ("A03_02.png", None):
        folder = tmp_path / str(name)
        text(folder / "labels.csv", f"image,case,x,y,label\n{name},H03,10,20,mitotic figure\n")
        (folder / "frames").mkdir()
        if name is not None:
            tiff(folder / "frames" / name, mpp=None)
        with pytest.raises(FormatError, match="is no copy of MITOS-ATYPIA-14"):
            get("mitos-atypia-14", folder, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.data
def test_the_real_copy_of_frames_is_imported_with_its_folds(data_folder, tmp_path):
    """257 frames at 0.2273 um per px, 512 figures, 519 imposters; the folds are those of its own folds.csv."""
    report = get("mitos-atypia-14", data_folder / "mitos14", tmp_path / "c")
    total = report.imported.total
    assert (total.cases, total.slides, total.figures, total.imposters) == (7, 257, 512, 519)
    assert {entry.mpp for entry in report.imported.cohort.slides} == {0.2273}
    assert Split.load(report.splits[0].path) == Split.from_table(data_folder / "mitos14/folds.csv")


@pytest.mark.data
def test_labels_alone_lack_all_their_images(data_folder, tmp_path):
    """The real JSON without an image: 200 parts of MIDOG 2021, 503 of MIDOG++."""
    for name, missing in (("midog-2021", 200), ("midog-plus-plus", 503)):
        with pytest.raises(FormatError, match=f"{missing} parts of {name} are missing: 001.tiff"):
            get(name, data_folder / "formats/midog", tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mitos-atypia-14", atypia),
        ("icpr-2012", icpr),
        ("tupac16", tupac),
        ("tupac16-alternative", lambda folder: tupac(folder, alternative=True)),
        ("midog-2021", midog),
    ],
)
def test_what_a_disk_s_bin_holds_is_no_part_of_a_set(tmp_path, name, make):
    """An old copy in the bin is not taken in the set's place, doubles nothing, stands for nothing that is missing."""
    folder = make(tmp_path / "set")
    get(name, folder, tmp_path / "before")
    shutil.copytree(folder, tmp_path / "copy")
    shutil.copytree(tmp_path / "copy", folder / ".Trash-1000" / "files" / "old")
    get(name, folder, tmp_path / "after")
    assert files_below(tmp_path / "after") == files_below(tmp_path / "before")
    lost = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")[0]
    shutil.rmtree(lost)
    with pytest.raises((CohortError, FormatError)):
        get(name, folder, tmp_path / "less")
    assert not (tmp_path / "less").exists()
