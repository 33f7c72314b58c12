"""Laws of the names of images: what label files write, what slides are called, which file is meant."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_judging import FORMATS as WRITERS

from build import an_image
from layouts import text, voc_xml
from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name, told_apart
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a.png", "a.png"),
        ("u/a.png", "u/a.png"),
        ("images\\90fb-a.png", "images/90fb-a.png"),
        ("images\\1/90fb-a.png", "images/1/90fb-a.png"),
        ("./u//a.png", "u/a.png"),
        ("u/../v/a.png", "v/a.png"),
        ("../../media/upload/4/90fb-a.png", "90fb-a.png"),
        ("/home/me/frames/a.png", "a.png"),
        ("C:\\slides\\a.svs", "a.svs"),
        ("\\\\server\\share\\a.svs", "a.svs"),
        ("file:///home/me/my%20frames/a.png", "a.png"),
        ("https://host/x/a.png?token=1", "a.png"),
        ("/data/local-files/?d=u%2Fa.png", "u/a.png"),
        (" a.png ", "a.png"),
    ],
)
def test_a_name_is_a_path_below_the_folder_of_images(written, meant):
    """Backslashes, roots, drives, addresses and .. are somebody's machine, not a folder of the cohort."""
    assert relative_names([written], where="l") == [meant]


def test_images_on_somebodys_machine_keep_the_folders_that_tell_them_apart():
    """What they have in common is left out; names that are relative already stay."""
    assert relative_names(["/x/P1/a.png", "/x/P2/a.png", "u/b.png"], where="l") == ["P1/a.png", "P2/a.png", "u/b.png"]
    assert told_apart(["a.svs", "a.svs", "b.svs"], ["D:\\s\\P1", "D:\\s\\P2", "D:\\s\\P2"], where="l") == [
        "P1/a.svs", "P2/a.svs", "b.svs",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=40), max_size=5))
def test_whatever_is_written_stays_below_the_folder(names):
    """A name is refused, or is a plain relative path whose slide_id names a file."""
    try:
        found = relative_names(names, where="l")
    except FormatError:
        return
    for name in found:
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not set("\\\0\n") & set(name)
        slide_id = slide_name(name)
        assert slide_id
        assert not slide_id.startswith(".")
        assert "/" not in slide_id


@pytest.mark.parametrize("name", ["", "  ", "/", "..", "C:\\", "a\0.png", "a\nb.png", "x" * 300 + ".png"])
def test_what_cannot_name_an_image_is_refused(name):
    """Nothing, a root, control characters, more than a file system takes."""
    with pytest.raises(FormatError, match="cannot be the name of an image"):
        relative_names([name], where="l.json")


def test_the_longest_tail_wins_and_then_the_name_alone(tmp_path):
    """A path may begin elsewhere; where only the file's name agrees it must be alone."""
    for name in ("s/P1/a.png", "s/P2/a.png", "s/P2/b.png"):
        an_image(tmp_path / name)
    folder = ImageFolder(tmp_path)
    assert folder.find("P1/a.png") == tmp_path / "s/P1/a.png"
    assert folder.find("old/P2/a.tif") == tmp_path / "s/P2/a.png"
    assert folder.find("old/b.png") == tmp_path / "s/P2/b.png"
    assert folder.find("old/b.png", whole=True) is None
    assert folder.find("P3/a.png") is None
    with pytest.raises(FormatError, match=r"several images fit the name a.png: s/P1/a.png, s/P2/a.png"):
        folder.find("a.png")


def test_an_accent_is_the_same_however_it_is_written(tmp_path):
    """macOS writes letter and accent apart."""
    an_image(tmp_path / "Pe\u0301rez.png")
    assert ImageFolder(tmp_path).find("P\u00e9rez.png") == tmp_path / "Pe\u0301rez.png"


@pytest.mark.parametrize("name", ["coco", "midog", "points"])
def test_every_format_takes_paths_of_windows_and_finds_the_image(tmp_path, name):
    """The image is found, the slide is called after what is below the folder, and its path stays there."""
    source = WRITERS[name](tmp_path, ["mitosis"], [(1, "mitosis", 100, 50), (2, "mitosis", 100, 50)])
    written = source.read_text()
    step = "\\\\" if name != "points" else "\\"
    written = written.replace("p1_a.png", f"C:{step}x{step}P1{step}p1_a.png").replace(
        "p2_a.png", f"C:{step}x{step}P2{step}p2_a.png"
    )
    text(source, written)
    an_image(tmp_path / "images/P1/p1_a.png")
    an_image(tmp_path / "images/P2/p2_a.png", seed=1)
    cohort = import_cohort(name, source, tmp_path / "c", images=tmp_path / "images", mpp=0.25).cohort
    assert [entry.slide_id for entry in cohort.slides] == ["P1_p1_a", "P2_p2_a"]
    assert [Path(entry.path) for entry in cohort.slides] == [tmp_path / f"images/P{i}/p{i}_a.png" for i in (1, 2)]


def test_images_in_other_folders_than_the_labels_say_are_told(tmp_path):
    """They are found by their name alone, and one file is never two images."""
    an_image(tmp_path / "images/new/a.png")
    source = text(tmp_path / "l.csv", "image,x,y,label\nold/a.png,1,2,mitosis\n")
    report = import_cohort("points", source, tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert any(
        "1 image found by name in another folder" in warning and "old/a.png" in warning for warning in report.warnings
    )
    twice = text(tmp_path / "t.csv", "image,x,y,label\nnew/a.png,1,2,mitosis\na.tif,1,2,mitosis\n")
    with pytest.raises(FormatError, match=r"new/a.png and a.tif would both be"):
        import_cohort("points", twice, tmp_path / "d", images=tmp_path / "images", mpp=0.25)


def test_xml_of_nested_folders_and_capital_endings_are_read(tmp_path):
    """Equal names are told apart by the folder of their XML; one that names another image is told."""
    for folder in ("P1", "P2"):
        voc_xml(tmp_path / f"voc/{folder}/a.XML", objects=[("mitosis", 100, 90)], filename="a.png")
        an_image(tmp_path / f"images/{folder}/a.png", seed=int(folder[1]))
    voc_xml(tmp_path / "voc/b (copy).xml", objects=[("mitosis", 100, 90)], filename="b.png")
    reading = read_labels("voc", tmp_path / "voc", ImageFolder(tmp_path / "images"))
    assert sorted(image.file_name for image in reading.images) == ["P1/a.png", "P2/a.png", "b.png"]
    assert any("b (copy).xml names b.png" in caution.text for caution in reading.cautions)
    report = import_cohort("voc", tmp_path / "voc", tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert report.cohort.path_of("P2_a") == tmp_path / "images/P2/a.png"


def test_the_directory_of_slide_runner_tells_equal_names_apart_and_suggests_the_case(tmp_path):
    """Two slides of one file name in two directories are two patients, until somebody says otherwise."""
    source = WRITERS["slide_runner"](tmp_path, ["mitosis"], [(1, "mitosis", 100, 50)])
    with sqlite3.connect(source) as database:
        database.execute("UPDATE Slides SET filename = 'a.svs', directory = 'D:\\study\\P0' || uid")
    database.close()
    reading = read_labels("slide_runner", source, None)
    assert [(i.slide_id, i.file_name, i.case_id) for i in reading.images] == [
        ("P01_a", "P01/a.svs", "P01"), ("P02_a", "P02/a.svs", "P02"),
    ]  # fmt: skip
    assert any("P01/a.svs (case P01)" in caution.text for caution in reading.cautions)


@pytest.mark.data
@pytest.mark.parametrize("name", ["one", "two", "up"])
def test_paths_of_label_studio(cases_folder, tmp_path, name):
    """The image is found, and nothing of the cohort lies outside."""
    folder = cases_folder / "labels/11-label-studio-paths"
    report = import_cohort("coco", folder / f"{name}.json", tmp_path / "c", images=folder / "images", mpp=0.25)
    (entry,) = report.cohort.slides
    assert Path(entry.path) == (folder / "images/90fb-a.png").resolve()
    assert ".." not in entry.slide_id
