from pathlib import Path

import numpy as np
import pytest
from build_slides import a_dicom_slide

from build import an_image
from layouts import files_below, text, tiff
from mitosieve.cli.recognize import Thing, thing_at
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.version import relocated
from mitosieve.errors import CohortError, FormatError, ResolutionError
from mitosieve.scan.items import items_of_cohort, places_of
from mitosieve.scan.paths import paths_of
from mitosieve.slide.endings import SLIDE_SUFFIXES


def test_every_image_of_a_folder_and_below_becomes_an_unlabelled_slide(tmp_path):
    """Nothing is known of them: labelled is no, and there is no mark; other files are no matter."""
    an_image(tmp_path / "pool/p1_a.png")
    an_image(tmp_path / "pool/lung/p2.jpg", width=300, height=200)
    text(tmp_path / "pool/notes.txt", "not an image")
    report = import_cohort("images", tmp_path / "pool", tmp_path / "c", mpp=0.25)
    cohort = Cohort.load(tmp_path / "c")
    assert [(e.slide_id, e.case_id, e.domain, e.mpp, e.labelled, e.width_l0) for e in cohort.slides] == [
        ("lung_p2", "p2", "unknown", 0.25, False, 300),
        ("p1_a", "p1", "unknown", 0.25, False, 400),
    ]
    assert (report.total.slides, report.total.labelled, len(cohort.annotations)) == (2, 0, 0)
    with cohort.open("lung_p2") as slide:
        assert slide.size_l0 == (300, 200)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("TCGA-18-5592-01Z-00-DX1.png", "TCGA-18-5592"),
        ("tcga-18-5592-01a-01-ts1.png", "TCGA-18-5592"),
        ("TCGA-18-5592_roi3.png", "TCGA-18-5592"),
        ("TCGA-18-5592.png", "TCGA-18-5592"),
        ("TCGA-18-55921-x.png", "TCGA-18-55921-x"),
        ("TCGA_18.png", "TCGA"),
        ("H03_00Aa.png", "H03"),
        ("one-two.png", "one-two"),
        ("_x.png", "_x"),
    ],
)
def test_the_case_comes_from_the_images_name_and_that_is_said(tmp_path, name, case):
    """All slides of a TCGA patient are one case, however the barcode goes on and is spelled."""
    an_image(tmp_path / "pool" / name)
    report = import_cohort("images", tmp_path / "pool", tmp_path / "c", mpp=0.25)
    assert report.cohort.cases == (case,)
    assert [f"as {case} for {name}: check case_id in slides.csv" in warning for warning in report.warnings] == [True]


NOT_OF_A_TIFF = {".vsi", ".mrxs", ".ndpi", ".dcm"}
"""A plain TIFF of this name is refused, or cannot be told from others."""


@pytest.mark.parametrize("ending", sorted(SLIDE_SUFFIXES - NOT_OF_A_TIFF))
def test_what_is_a_slide_to_one_command_is_one_to_all(tmp_path, ending):
    """A folder's image of any ending, in whatever letters: for detect, an import with labels or without, a message."""
    for name in (f"p1_a{ending}", f"p2_b{ending.upper()}"):
        tiff(tmp_path / "pool" / name)
    assert len(paths_of([tmp_path / "pool"])) == 2
    assert thing_at(tmp_path / "pool") is Thing.SLIDES
    report = import_cohort("images", tmp_path / "pool", tmp_path / "c")
    assert [(entry.slide_id, entry.mpp) for entry in report.cohort.slides] == [("p1_a", 0.25), ("p2_b", 0.25)]
    point = '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [9, 9]}, "properties": {}}'
    source = text(tmp_path / "q/p1_a.geojson", point.replace("{}", '{"classification": "mitosis"}'))
    report = import_cohort("qupath", source, tmp_path / "d", images=tmp_path / "pool")
    assert [(entry.slide_id, Path(entry.path).suffix) for entry in report.cohort.slides] == [("p1_a", ending)]


def test_the_resolution_is_stated_or_the_files_and_never_guessed(tmp_path):
    """A TIFF's own, one of a table by path, and none at all: refused, nothing written."""
    tiff(tmp_path / "pool/a.tif", mpp=0.5)
    assert import_cohort("images", tmp_path / "pool", tmp_path / "c").cohort.slides[0].mpp == pytest.approx(0.5)
    an_image(tmp_path / "pool/below/b.png")
    with pytest.raises(ResolutionError, match=r"b.png: states no resolution"):
        import_cohort("images", tmp_path / "pool", tmp_path / "d")
    assert not (tmp_path / "d").exists()
    table = text(tmp_path / "mpp.csv", "slide,mpp\nbelow/b.png,0.3\n")
    made = import_cohort("images", tmp_path / "pool", tmp_path / "d", mpp=str(table)).cohort
    assert [(e.slide_id, e.mpp) for e in made.slides] == [("a", pytest.approx(0.5)), ("below_b", 0.3)]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    """What file browsers leave beside images is no slide."""
    an_image(tmp_path / "pool/a.png")
    an_image(tmp_path / "pool/.thumbnails/a.png")
    text(tmp_path / "pool/._a.png", "a resource fork")
    assert [e.slide_id for e in import_cohort("images", tmp_path / "pool", tmp_path / "c", mpp=0.25).cohort.slides] == [
        "a"
    ]


def test_the_same_folder_may_be_named_twice_and_no_other(tmp_path):
    """--images is not needed: the folder is the source."""
    an_image(tmp_path / "pool/a.png")
    an_image(tmp_path / "other/a.png")
    with pytest.raises(FormatError, match=r"other: is another folder than .*pool") as caught:
        import_cohort("images", tmp_path / "pool", tmp_path / "c", images=tmp_path / "other", mpp=0.25)
    assert "remedy: leave out --images" in str(caught.value)
    assert not (tmp_path / "c").exists()
    again = tmp_path / "other/../pool"
    made = import_cohort("images", tmp_path / "pool", tmp_path / "c", images=again, mpp=0.25).cohort
    assert made.path_of("a") == (tmp_path / "pool/a.png").resolve()


def test_a_folder_without_images_or_with_a_broken_one_is_refused(tmp_path):
    """With the path and the remedy; no slide enters half known."""
    text(tmp_path / "pool/notes.txt", "nothing here")
    with pytest.raises(FormatError, match=r"pool: holds no image\nremedy: .*\.png"):
        import_cohort("images", tmp_path / "pool", tmp_path / "c", mpp=0.25)
    an_image(tmp_path / "pool/a.png")
    text(tmp_path / "pool/b.png", "not a PNG")
    with pytest.raises(FormatError, match=r"b\.png.*\n.*take it out of the folder"):
        import_cohort("images", tmp_path / "pool", tmp_path / "c", mpp=0.25)
    assert not (tmp_path / "c").exists()


def test_several_dicom_files_of_a_folder_are_not_taken_for_slides(tmp_path):
    """One slide is a file for each level: which belong together is for the user to say."""
    for name in ("1.dcm", "2.dcm"):
        text(tmp_path / "pool/s" / name)
    with pytest.raises(FormatError, match=r"pool/s: holds 2 DICOM files.*\nremedy: name one file of each slide"):
        import_cohort("images", tmp_path / "pool", tmp_path / "c", mpp=0.25)


def test_a_slide_in_dicom_is_one_image_whatever_file_names_it(tmp_path):
    """Its levels are files of one series: named twice, or added to a cohort that has it, it is refused."""
    for seed, name in enumerate("ab"):
        pixels = np.random.default_rng(seed).integers(0, 255, (256, 256, 3), dtype=np.uint8)
        a_dicom_slide(tmp_path / "pool" / name, pixels, series=f"1.2.{seed}")
    twice = text(tmp_path / "twice.csv", "image\na/level0.dcm\na/level1.dcm\n")
    with pytest.raises(FormatError, match=r"a/level0.dcm and a/level1.dcm would both be the DICOM slide of"):
        import_cohort("images", twice, tmp_path / "c", images=tmp_path / "pool")
    once = text(tmp_path / "once.csv", "image,case\na/level0.dcm,p\nb/level1.dcm,q\n")
    report = import_cohort("images", once, tmp_path / "c", images=tmp_path / "pool")
    assert report.total.slides == 2
    assert not any("left out" in warning for warning in report.warnings)
    again = text(tmp_path / "again.csv", "image,case\na/level1.dcm,other\n")
    with pytest.raises(CohortError, match=r"level1.dcm as a_level0"):
        import_cohort("images", again, tmp_path / "c", images=tmp_path / "pool")


def test_a_slide_in_dicom_is_one_image_where_its_files_are_links(tmp_path):
    """Each file in a store of its own, as git-annex and DVC keep them: refused twice, and found again by its links."""
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    slide = a_dicom_slide(tmp_path / "made", pixels)
    for number, path in enumerate(sorted(slide.iterdir())):
        (tmp_path / f"store/{number}").mkdir(parents=True)
        (tmp_path / "pool/a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool/a" / path.name).symlink_to(path.rename(tmp_path / f"store/{number}/blob"))
    twice = text(tmp_path / "twice.csv", "image\na/level0.dcm\na/level1.dcm\n")
    with pytest.raises(FormatError, match=r"a/level0.dcm and a/level1.dcm would both be the DICOM slide of"):
        import_cohort("images", twice, tmp_path / "c", images=tmp_path / "pool")
    once = text(tmp_path / "once.csv", "image,case\na/level1.dcm,p\n")
    cohort = import_cohort("images", once, tmp_path / "c", images=tmp_path / "pool").cohort
    assert cohort.path_of("a_level1") == (tmp_path / "pool/a").resolve() / "level1.dcm"
    with Cohort.load(tmp_path / "c").open("a_level1") as opened:
        assert opened.size_l0 == (256, 256)
    moved = relocated(cohort, tmp_path / "moved")
    assert moved.slides[0].path == str((tmp_path / "pool/a").resolve() / "level1.dcm")
    assert places_of(items_of_cohort(moved, None)) == {"a_level1": moved.slides[0].path}
    again = text(tmp_path / "again.csv", "image,case\na/level0.dcm,other\n")
    with pytest.raises(CohortError, match=r"as a_level1"):
        import_cohort("images", again, tmp_path / "c", images=tmp_path / "pool")


def test_links_to_one_file_are_images_of_their_own_in_one_import_and_known_in_the_next(tmp_path):
    """They are told as copies; a link to an image of the cohort is refused, for its case may be another."""
    an_image(tmp_path / "store/x.png")
    (tmp_path / "pool").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "pool" / name).symlink_to(tmp_path / "store/x.png")
    two = text(tmp_path / "two.csv", "image,case\na.png,p\nb.png,q\n")
    report = import_cohort("images", two, tmp_path / "c", images=tmp_path / "pool", mpp=0.25)
    assert [entry.slide_id for entry in report.cohort.slides] == ["a", "b"]
    assert any("1 image is a copy of another, byte for byte" in warning for warning in report.warnings)
    more = text(tmp_path / "more.csv", "image,case\nc.png,r\n")
    with pytest.raises(CohortError, match="1 image is in this cohort already"):
        import_cohort("images", more, tmp_path / "c", images=tmp_path / "pool", mpp=0.25)


def test_what_no_reader_reads_is_no_image_of_an_import(tmp_path):
    """A VSI lies beside its export: that is the image, with labels or without; detect fails on it by name."""
    for name in ("p1_s.tif", "p1_s.vsi", "p2_t.VSI"):
        tiff(tmp_path / "pool" / name)
    report = import_cohort("images", tmp_path / "pool", tmp_path / "c")
    assert [entry.slide_id for entry in report.cohort.slides] == ["p1_s"]
    source = text(tmp_path / "l.csv", "image,x,y,label\np1_s,9,9,mitosis\n")
    report = import_cohort("points", source, tmp_path / "d", images=tmp_path / "pool")
    assert [Path(entry.path).name for entry in report.cohort.slides] == ["p1_s.tif"]
    assert not any("left out" in warning for warning in report.warnings)
    assert len(paths_of([tmp_path / "pool"])) == 3
    with pytest.raises(FormatError, match="holds no image"):
        import_cohort("images", (tmp_path / "pool/p1_s.tif").rename(tmp_path / "x.tif").parent / "pool", tmp_path / "e")


def test_an_image_of_the_cohort_is_refused_under_its_own_and_under_another_name(tmp_path):
    """A labelled slide, of a test case perhaps, must not come back as an unlabelled one of another case."""
    an_image(tmp_path / "data/frames/p1_a.png")
    source = text(tmp_path / "labels.csv", "image,case,x,y,label\np1_a.png,H1,10,20,mitosis\n")
    import_cohort("points", source, tmp_path / "c", images=tmp_path / "data/frames", mpp=0.25)
    before = files_below(tmp_path / "c")
    with pytest.raises(CohortError, match=r"1 slide of .*frames is in this cohort already: p1_a"):
        import_cohort("images", tmp_path / "data/frames", tmp_path / "c", mpp=0.25)
    with pytest.raises(CohortError, match=r"1 image is in this cohort already: .*p1_a.png as p1_a\n"):
        import_cohort("images", tmp_path / "data", tmp_path / "c", mpp=0.25)
    assert files_below(tmp_path / "c") == before


def test_a_table_names_a_part_of_a_folder_with_what_is_known(tmp_path):
    """Case, domain and mpp as they stand; where all cases are stated nothing is said of them."""
    for name in ("u/a.png", "b.png", "c.png"):
        an_image(tmp_path / "pool" / name)
    source = text(tmp_path / "pool.csv", "image,case,domain,mpp\nu/a.png,p7,lung,0.3\nb.png,p8,,\n")
    report = import_cohort("images", source, tmp_path / "c", images=tmp_path / "pool", mpp=0.25)
    assert [(e.slide_id, e.case_id, e.domain, e.labelled) for e in report.cohort.slides] == [
        ("u_a", "p7", "lung", False),
        ("b", "p8", "unknown", False),
    ]
    assert [w for w in report.warnings if "case_id" in w] == []
    assert any("left out: c.png" in warning for warning in report.warnings)
    alone = text(tmp_path / "alone.csv", "image,mpp\nTCGA-18-5592-01Z.png,0.3\n")
    (entry,) = import_cohort("images", alone, tmp_path / "d").cohort.slides
    assert (entry.case_id, entry.mpp, entry.labelled) == ("TCGA-18-5592", 0.3, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("image\n", "holds no row"),
        ("file\na.png\n", "lacks the column image"),
        ("image,x,y,label\na.png,1,2,mf\n", r"has marks \(x, y\).*\nremedy: import it as points"),
        ("image,mpp\na.png,0.25\n,0.25\n", "line 3: names no image"),
        ("image\na.png\na.png\n", "line 3: names the image 'a.png' twice"),
        ("image,mpp\na.png,fine\n", "line 2: mpp is 'fine'"),
    ],
)
def test_a_bad_table_is_refused_by_file_and_line(tmp_path, content, message):
    """One message with file, line where there is one, and remedy."""
    source = text(tmp_path / "pool.csv", content)
    with pytest.raises(FormatError, match=message) as caught:
        import_cohort("images", source, tmp_path / "c", mpp=0.25)
    assert str(source) in str(caught.value)
    assert "remedy:" in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_one_image_is_not_a_folder_of_images(tmp_path):
    """It is not read as a table."""
    an_image(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a.png: is one image\nremedy: name its folder"):
        import_cohort("images", tmp_path / "a.png", tmp_path / "c", mpp=0.25)


@pytest.mark.data
def test_the_real_pool_is_one_case_a_tile(data_folder, tmp_path):
    """44 tiles of 44 patients, TCGA barcodes of three fields."""
    cohort = import_cohort("images", data_folder / "unlabelled", tmp_path, mpp=0.25).cohort
    assert cohort.counts() == {"cases": 44, "slides": 44, "labelled": 0, "figures": 0, "imposters": 0}
    assert {case.count("-") for case in cohort.cases} == {2}
