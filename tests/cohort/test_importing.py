import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from build_tiffs import a_grid, an_svs
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from build import an_image
from layouts import files_below, midog_json, text, tiff, voc_xml
from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.formats import FORMATS
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.mark_check import MAX_OUTSIDE_PX
from mitosieve.errors import CohortError, FormatError, ResolutionError, StorageError
from mitosieve.slide.slide import facts, open_slide

ONE = "image,case,x,y,label\na.png,p1,10,20,mitosis\na.png,p1,30,40,imposter\nb.png,p2,5,6,mitosis\n"


def labels(folder, content=ONE, name="labels.csv"):
    return text(folder / name, content)


def test_an_import_can_be_loaded_again_as_it_was_reported(tmp_path):
    """What the report counts is what the folder holds."""
    report = import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25)
    cohort = Cohort.load(tmp_path / "c")
    assert cohort.slides == report.cohort.slides
    assert cohort.hash() == report.cohort.hash()
    assert cohort.counts() == {"cases": 2, "slides": 2, "labelled": 2, "figures": 2, "imposters": 1}
    np.testing.assert_array_equal(cohort.annotations.center_l0, [[10, 20], [30, 40], [5, 6]])


def test_rows_add_up_to_the_total_except_for_cases_of_two_domains(tmp_path):
    """A case seen by two scanners counts in both domains and once in all."""
    content = "image,case,domain,x,y,label\na.png,p1,A,1,2,mf\nb.png,p1,H,1,2,mf\nc.png,p2,H,1,2,imposter\n"
    report = import_cohort("points", labels(tmp_path, content), tmp_path / "c", mpp=0.25)
    for field in ("slides", "labelled", "figures", "imposters", "warnings"):
        assert sum(getattr(row, field) for row in report.rows) == getattr(report.total, field)
    assert ([row.cases for row in report.rows], report.total.cases) == ([1, 2], 2)


def test_source_and_domain_are_said_of_all_slides_and_the_labels_win(tmp_path):
    """The source is every slide's; the domain only of slides whose labels name none."""
    labels = text(
        tmp_path / "labels.csv",
        "image,case,domain,mpp,x,y,label\na.png,p1,,1,1,2,mitosis\nb.png,p2,skin,1,1,2,mitosis\n",
    )
    import_cohort("points", labels, tmp_path / "cohort", set_name="ring", domain="lung")
    slides = Cohort.load(tmp_path / "cohort").slides
    assert [(entry.source, entry.domain) for entry in slides] == [("ring", "lung"), ("ring", "skin")]


def test_an_import_into_an_existing_cohort_adds_and_loses_nothing(tmp_path):
    """Old slides and marks stay, new ones follow; the report counts the new ones alone."""
    old = import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25).cohort
    voc_xml(tmp_path / "voc/x.xml", objects=[("mitosis", 50, 60)], filename="q9_x.png")
    report = import_cohort("voc", tmp_path / "voc", tmp_path / "c", mpp=0.5)
    cohort = Cohort.load(tmp_path / "c")
    assert cohort.slides[: len(old.slides)] == old.slides
    assert [entry.slide_id for entry in cohort.slides] == ["a", "b", "q9_x"]
    assert len(cohort.annotations) == len(old.annotations) + 1
    assert (report.total.slides, report.total.figures) == (1, 1)


def test_cases_shared_with_the_cohort_are_said_to_be_taken_for_one_patient(tmp_path):
    """The same case id in two imports is one case, and the user is told."""
    import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25)
    more = labels(tmp_path, "image,case,x,y,label\nz.png,p1,1,2,mf\n", "more.csv")
    report = import_cohort("points", more, tmp_path / "c", mpp=0.25)
    assert any("p1" in warning and "same patients" in warning for warning in report.warnings)


def test_the_same_file_twice_is_refused_and_changes_nothing(tmp_path):
    """A slide that is there already stops the import before anything is written."""
    source = labels(tmp_path)
    import_cohort("points", source, tmp_path / "c", mpp=0.25)
    before = files_below(tmp_path / "c")
    with pytest.raises(CohortError, match=r"2 slides .* are in this cohort already: a, b"):
        import_cohort("points", source, tmp_path / "c", mpp=0.25)
    assert files_below(tmp_path / "c") == before


def test_two_images_of_one_name_are_refused(tmp_path):
    """a.png and a.jpg would both be slide a."""
    with pytest.raises(FormatError, match="two images would get the slide_id a"):
        import_cohort(
            "points", labels(tmp_path, "image,x,y,label\na.png,1,2,mf\na.jpg,1,2,mf\n"), tmp_path / "c", mpp=0.25
        )


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_missing_source_is_refused_by_every_format(tmp_path, name):
    """The message names the path, and no cohort appears."""
    with pytest.raises(FormatError, match="gone"):
        import_cohort(name, tmp_path / "gone", tmp_path / "c", mpp=0.25)
    assert not (tmp_path / "c").exists()


def test_an_unknown_format_names_those_there_are(tmp_path):
    """Formats are named, never searched for."""
    with pytest.raises(FormatError, match="atypia14, icpr12, midog, tupac, voc, points, coco, slide_runner"):
        import_cohort("labelme", labels(tmp_path), tmp_path / "c", mpp=0.25)


# --- resolution ---


@pytest.mark.parametrize("mpp", [0, "0", -0.25, "nan", "inf", 0.001, 500])
def test_an_impossible_resolution_is_refused(tmp_path, mpp):
    """Zero, negative, not finite, absurd: nothing is written."""
    with pytest.raises(ResolutionError, match="not between"):
        import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=mpp)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_an_image_that_another_program_shows_turned_is_told_where_it_has_marks(tmp_path, ending):
    """Level 0 is what is stored; marks on what a viewer turned by its orientation tag lie elsewhere."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b", "c"):
        pixels = Image.fromarray(np.full((60, 80, 3), 200 + len(list(tmp_path.iterdir())), dtype=np.uint8))
        pixels.save(tmp_path / f"{name}.{ending}", **({} if name == "c" else {"exif": exif}))
    source = text(tmp_path / "l.csv", "".join(f"{row}\n" for row in (
        "image,case,x,y,label", f"a.{ending},p,9,9,mitosis", f"b.{ending},q,,,", f"c.{ending},r,9,9,mitosis"
    )))  # fmt: skip
    report = import_cohort("points", source, tmp_path / "cohort", images=tmp_path, mpp=0.25)
    told = [warning for warning in report.warnings if "orientation tag is ignored" in warning]
    assert [line.endswith(f"(1): a.{ending}") for line in told] == [True]


def test_what_moves_no_mark_is_not_told_of_a_file(tmp_path):
    """A print's 72 dpi, and the label and macro of a slide: notes of the file, no warnings of an import."""
    pixels = np.full((60, 80, 3), 200, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", dpi=(72, 72))
    an_svs(tmp_path / "b.svs", a_grid(512, 384), macro=a_grid(160, 70, seed=2), label=a_grid(64, 64, seed=3))
    assert facts(tmp_path / "a.jpg").notes
    assert any("thumbnail, label, macro" in note for note in facts(tmp_path / "b.svs").notes)
    source = text(tmp_path / "l.csv", "image,case,x,y,label\na.jpg,p,9,9,mitosis\nb.svs,q,9,9,mitosis\n")
    report = import_cohort("points", source, tmp_path / "cohort", images=tmp_path, mpp=0.25)
    assert not [warning for warning in report.warnings if "made on what is read" in warning]


def test_a_second_picture_of_a_file_is_told_where_it_has_marks(tmp_path):
    """Of two images of a size nobody knows on which one the marks were made."""
    rng = np.random.default_rng(0)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(2):
            file.write(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), photometric="rgb")
    source = text(tmp_path / "l.csv", "image,case,x,y,label\na.tif,p,9,9,mitosis\n")
    report = import_cohort("points", source, tmp_path / "cohort", images=tmp_path, mpp=0.25)
    assert [line for line in report.warnings if "holds 2 images of this size" in line and "made on what" in line]


def test_a_slide_without_resolution_is_refused_with_the_remedy(tmp_path):
    """Neither stated nor in a file: --mpp is named, nothing is guessed."""
    with pytest.raises(ResolutionError, match=r"a.png is not known.*\n.*--mpp"):
        import_cohort("points", labels(tmp_path), tmp_path / "c")
    for said in ("quarter", "", " "):
        with pytest.raises(ResolutionError, match=f"'{said}' is neither a number nor a file"):
            import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=said)


def test_the_label_files_own_zero_is_refused(tmp_path):
    """A row that says mpp 0 is a fault, not a gap."""
    with pytest.raises(ResolutionError, match=r"labels.csv, a.png: 0 um per px"):
        import_cohort("points", labels(tmp_path, "image,mpp,x,y,label\na.png,0,1,2,mf\n"), tmp_path / "c")


def test_a_table_gives_each_slide_its_resolution_by_id_or_file_name(tmp_path):
    """Both names fit; a row that names nothing is said."""
    table = text(tmp_path / "mpp.csv", "slide,mpp\na,0.25\nb.png,0.5\nother,0.3\n")
    report = import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=str(table))
    assert [entry.mpp for entry in report.cohort.slides] == [0.25, 0.5]
    assert any("other" in warning for warning in report.warnings)


@pytest.mark.parametrize("name", ["qupath", "asap", "image_scope"])
def test_a_table_names_images_of_formats_whose_files_name_none(tmp_path, name):
    """By the image's own file, which states another resolution: the table overrules it."""
    tiff(tmp_path / "images/a.tif", mpp=0.5)
    written = {
        "qupath": ("a.geojson", '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": '
                   '"Point", "coordinates": [9, 9]}, "properties": {"classification": {"name": "mitosis"}}}]}'),
        "asap": ("a.xml", '<ASAP_Annotations><Annotations><Annotation Type="Dot" PartOfGroup="mitosis"><Coordinates>'
                 '<Coordinate Order="0" X="9" Y="9"/></Coordinates></Annotation></Annotations></ASAP_Annotations>'),
        "image_scope": ("a.xml", '<Annotations><Annotation Name="mitosis"><Regions><Region Type="0"><Vertices>'
                        '<Vertex X="9" Y="9"/></Vertices></Region></Regions></Annotation></Annotations>'),
    }  # fmt: skip
    source = text(tmp_path / written[name][0], written[name][1])
    table = text(tmp_path / "mpp.csv", "slide,mpp\na.tif,0.25\n")
    report = import_cohort(name, source, tmp_path / "c", images=tmp_path / "images", mpp=str(table))
    assert [entry.mpp for entry in report.cohort.slides] == [0.25]
    assert not any("without an imported slide" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("slide,mpp\na,0.25\n", "b.png is not known"),
        ("slide,mpp\na,0.25\nb,0\n", "line 3: 0 um per px"),
        ("slide,mpp\na,0.25\na,0.5\n", "line 3: names the slide 'a' twice"),
        ("slide,mpp\na,x\n", "line 2: mpp is 'x'"),
        ("slide,mpp\na\n", "line 2: has 1 value"),
        ("name,mpp\na,1\n", "lacks the column slide"),
    ],
)
def test_a_table_of_resolutions_with_a_fault_is_refused(tmp_path, content, message):
    """By file and line."""
    table = text(tmp_path / "mpp.csv", content)
    with pytest.raises(ResolutionError, match=message):
        import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=str(table))
    assert not (tmp_path / "c").exists()


def test_the_image_gives_resolution_and_size(tmp_path):
    """A TIFF that states 0.25 um per px needs no --mpp; its size is kept."""
    for name in ("a", "b"):
        tiff(tmp_path / "images" / f"{name}.tif", width=320, height=200)
    report = import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images")
    assert [entry.mpp for entry in report.cohort.slides] == pytest.approx([0.25, 0.25])
    assert {(entry.width_l0, entry.height_l0) for entry in report.cohort.slides} == {(320, 200)}


def test_a_stated_resolution_wins_over_the_images_and_the_difference_is_said(tmp_path):
    """--mpp 0.5 on a file that says 0.25 is used, with a warning; 0.251 without."""
    for name in ("a", "b"):
        tiff(tmp_path / "images" / f"{name}.tif")
    loud = import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=0.5)
    quiet = import_cohort("points", labels(tmp_path), tmp_path / "d", images=tmp_path / "images", mpp=0.251)
    assert [entry.mpp for entry in loud.cohort.slides] == [0.5, 0.5]
    assert ["says 0.25 um per px" in text for text in loud.warnings] == [True]
    assert quiet.warnings == ()


@pytest.mark.parametrize(("mpp", "is_told"), [(0.244, True), (0.246, False), (0.254, False), (0.256, True)])
def test_an_import_tells_of_the_resolutions_that_detect_will(tmp_path, mpp, is_told):
    """By one rule, and once for all images, whose files need not say the same to the last digit."""
    for name, own in (("a", 0.25), ("b", 0.2501)):
        tiff(tmp_path / "images" / f"{name}.tif", mpp=own)
    report = import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=mpp)
    start = "the image's file says another resolution than was stated (2): a.png says 0.25 um per px, "
    assert [warning.startswith(start) for warning in report.warnings] == [True] * is_told
    for entry in report.cohort.slides:
        with open_slide(report.cohort.path_of(entry.slide_id), mpp=entry.mpp) as slide:
            assert bool(slide.notes) == is_told


def test_both_sides_of_an_oblong_resolution_are_told(tmp_path):
    """Its mean is what was stated, to a hair; x and y are not."""
    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    resolution = {"resolution": (1e4 / 0.24, 1e4 / 0.26), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "images" / "a.tif", pixels, photometric="rgb", **resolution)
    source = text(tmp_path / "l.csv", "image,x,y,label\na.png,1,2,mitosis\n")
    report = import_cohort("points", source, tmp_path / "c", images=tmp_path / "images", mpp=0.2505)
    assert any("a.png says 0.24 x 0.26 um per px, 0.2505 is used" in warning for warning in report.warnings)


# --- images ---


def test_missing_and_left_out_images_are_named(tmp_path):
    """b is not there and keeps its expected place; c has no labels and is left out."""
    an_image(tmp_path / "images/a.png")
    an_image(tmp_path / "images/c.png")
    report = import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert any("1 image is not in" in warning and "b.png" in warning for warning in report.warnings)
    assert any("left out: c.png" in warning for warning in report.warnings)
    assert report.cohort.path_of("b") == tmp_path / "images/b.png"
    assert [(e.slide_id, e.width_l0) for e in report.cohort.slides] == [("a", 400), ("b", 0)]


def test_a_folder_with_none_of_the_images_is_refused(tmp_path):
    """It is the wrong folder."""
    an_image(tmp_path / "images/z.png")
    with pytest.raises(FormatError, match="holds none of the 2 images"):
        import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    with pytest.raises(FormatError, match="no such folder of images"):
        import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "gone", mpp=0.25)


def test_two_images_that_fit_one_name_are_refused(tmp_path):
    """x/a.png and y/a.png: which one is meant is not guessed; images/a.png itself would be."""
    for name in ("x/a.png", "y/a.png", "b.png"):
        an_image(tmp_path / "images" / name)
    with pytest.raises(FormatError, match=r"several images fit the name a.png: x/a.png, y/a.png"):
        import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    an_image(tmp_path / "images/a.png")
    report = import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert report.cohort.path_of("a") == tmp_path / "images/a.png"


def test_an_image_of_another_size_than_its_labels_say_is_refused(tmp_path):
    """A resized copy would put every mark in the wrong place; a lost column is only said."""
    source = midog_json(tmp_path / "m.json", images=[(1, "1.tiff", "x")], annotations=[(1, 1, 9, 9, None)])
    tiff(tmp_path / "half/1.tiff", width=200, height=150)
    tiff(tmp_path / "near/1.tiff", width=399, height=300)
    with pytest.raises(FormatError, match=r"is 200 x 150 px, but m.json says 400 x 300 px"):
        import_cohort("midog", source, tmp_path / "c", images=tmp_path / "half")
    report = import_cohort("midog", source, tmp_path / "c", images=tmp_path / "near")
    assert report.cohort.slides[0].width_l0 == 399
    assert any("larger or smaller" in warning for warning in report.warnings)


def test_an_unreadable_image_stops_the_import(tmp_path):
    """A file that is no image is named; nothing is written."""
    an_image(tmp_path / "images/a.png")
    text(tmp_path / "images/b.png", "not an image")
    with pytest.raises(FormatError, match=r"b.png") as caught:
        import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert "remedy:" in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_images_inside_the_cohort_are_stored_relative_and_others_absolute(tmp_path):
    """So a cohort folder with its images can be moved; a cohort opens its slides either way."""
    an_image(tmp_path / "c/frames/a.png")
    an_image(tmp_path / "c/frames/b.png")
    inside = import_cohort("points", labels(tmp_path), tmp_path / "c", images=tmp_path / "c/frames", mpp=0.25).cohort
    outside = import_cohort("points", labels(tmp_path), tmp_path / "d", images=tmp_path / "c/frames", mpp=0.25).cohort
    assert inside.slides[0].path == "frames/a.png"
    assert outside.slides[0].path == str(tmp_path / "c/frames/a.png")
    assert inside.open("a").size_l0 == outside.open("a").size_l0 == (400, 300)
    (tmp_path / "c").rename(tmp_path / "moved")
    assert Cohort.load(tmp_path / "moved").open("a").size_l0 == (400, 300)


def test_images_that_never_came_are_expected_inside_the_cohort(tmp_path):
    """Without --images, slides.csv points below COHORT/images, where they can be put later."""
    cohort = import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25).cohort
    assert cohort.slides[0].path == "images/a.png"


# --- places ---


@given(x=st.floats(-80, 480), y=st.floats(-80, 380))
@example(x=-25, y=150)
@example(x=-26, y=150)
@example(x=424, y=150)
@example(x=425, y=150)
@example(x=200, y=-25.25)
@example(x=200, y=-25.75)
@example(x=200, y=324.25)
@example(x=200, y=324.75)
@example(x=-0.75, y=299.75)
def test_a_centre_is_kept_up_to_25_px_outside_and_refused_farther(tmp_path_factory, x, y):
    """Inside: silent. Up to 25 px from the image's area: kept, counted, said. Farther: refused by file and id."""
    folder = tmp_path_factory.mktemp("edge")
    source = midog_json(folder / "m.json", images=[(1, "1.tiff", "lung")], annotations=[(1, 1, x, y, None)])
    beyond = max(-0.5 - x, x - 399.5, -0.5 - y, y - 299.5)
    if abs(beyond) < 1e-6 or abs(beyond - MAX_OUTSIDE_PX) < 1e-6:
        return
    if beyond > MAX_OUTSIDE_PX:
        with pytest.raises(FormatError, match=r"m.json, annotation '1': its centre") as caught:
            import_cohort("midog", source, folder / "c", mpp=0.25)
        assert "remedy:" in str(caught.value)
        assert not (folder / "c").exists()
        return
    report = import_cohort("midog", source, folder / "c", mpp=0.25)
    assert report.total.figures == 1
    assert report.total.warnings == report.rows[0].warnings == int(beyond > 0)
    assert sum("annotation '1'" in text for text in report.warnings) == int(beyond > 0)


def test_a_mark_outside_names_its_row(tmp_path):
    """x and y swapped in a CSV shows here first."""
    an_image(tmp_path / "images/a.png")
    an_image(tmp_path / "images/b.png")
    source = labels(tmp_path, ONE + "b.png,p2,10,390,mitosis\n")
    with pytest.raises(FormatError, match=r"labels.csv, line 5: its centre \(10, 390\) lies 90 px outside b.png"):
        import_cohort("points", source, tmp_path / "c", images=tmp_path / "images", mpp=0.25)


def test_a_place_marked_twice_is_kept_and_said(tmp_path):
    """A doubled figure can be found only once: the user should know."""
    report = import_cohort("points", labels(tmp_path, ONE + "a.png,p1,10,20,mitosis\n"), tmp_path / "c", mpp=0.25)
    assert report.total.figures == 3
    assert any(
        "nearer than 3 um" in warning and "a.png (2, first at (10, 20))" in warning for warning in report.warnings
    )


# --- all or nothing ---


def test_a_fault_leaves_an_existing_cohort_as_it_was(tmp_path):
    """Byte for byte, and no file more."""
    import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25)
    before = files_below(tmp_path / "c")
    bad = labels(tmp_path, "image,x,y,label\nn.png,1,nan,mf\n", "bad.csv")
    with pytest.raises(FormatError):
        import_cohort("points", bad, tmp_path / "c", mpp=0.25)
    assert files_below(tmp_path / "c") == before


def test_a_broken_cohort_is_not_written_over(tmp_path):
    """Half a cohort is refused, not completed."""
    text(tmp_path / "c/annotations.csv", "slide_id,x,y,label\n")
    with pytest.raises(CohortError, match=r"slides.csv: is missing"):
        import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25)


def test_a_cohort_that_cannot_be_written_is_one_clear_message(tmp_path):
    """A file stands where the folder should be."""
    text(tmp_path / "c", "in the way")
    with pytest.raises(StorageError) as caught:
        import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25)
    assert str(tmp_path / "c") in str(caught.value)


@pytest.mark.parametrize("row", ["n{0}.png,p{0},1,2,mf\n", "n{0}.png,p{0},,,\n"], ids=["at marks", "at slides"])
def test_a_full_disk_leaves_the_cohort_as_it_was(tmp_path, row):
    """A limit on file size stands for the full disk, met at the first or the second file: both are those of before."""
    import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25)
    before = files_below(tmp_path / "c")
    rows = "m.png,m,1,2,mf\n" + "".join(row.format(i) for i in range(400))
    more = labels(tmp_path, "image,case,x,y,label\n" + rows, "more.csv")
    script = (
        "import resource, signal, sys; from pathlib import Path; from mitosieve.cohort.importing import import_cohort;"
        "from mitosieve.errors import StorageError; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: import_cohort('points', Path(sys.argv[1]), Path(sys.argv[2]), mpp=0.25)\n"
        "except StorageError as error: sys.exit(f'storage: {error}')"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(more), str(tmp_path / "c")],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert "storage:" in done.stderr
    assert files_below(tmp_path / "c") == before


def test_marks_and_slides_never_part(tmp_path):
    """Annotations are moved into place before slides: a cut between is refused, never read as no figures."""
    old = import_cohort("points", labels(tmp_path), tmp_path / "c", mpp=0.25).cohort
    slides = (tmp_path / "c/slides.csv").read_bytes()
    more = labels(tmp_path, "image,case,x,y,label\nz.png,p9,1,2,mf\n", "more.csv")
    import_cohort("points", more, tmp_path / "c", mpp=0.25)
    (tmp_path / "c/slides.csv").write_bytes(slides)
    with pytest.raises(CohortError, match="marks name slides that are not in"):
        Cohort.load(tmp_path / "c")
    assert old.annotations.with_label(Label.MITOTIC_FIGURE).slide_id.tolist() == ["a", "b"]
