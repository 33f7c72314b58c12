"""What a system hides in a folder: the bin of a disk, `._` of a Mac, a copy that a program keeps."""

import re
import shutil
from pathlib import Path

import pytest
from test_recognise import sources

import mitosieve
from layouts import files_below, frame_image, text, tiff
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.recognise import recognised
from mitosieve.errors import FormatError

OF_FOLDERS = ("asap", "atypia14", "icpr12", "image_scope", "qupath", "tupac", "voc", "yolo")


def a_folder(folder, name):
    """A source of a format as a folder of files, with its images where they belong to it."""
    source = sources(folder)[name]
    if name == "atypia14":
        tiff(source / "A03" / "frames" / "x40" / "A03_00Aa.tiff")
    if name == "icpr12":
        frame_image(source / "A03_v2" / "A03_00.bmp")
    if source.is_dir():
        return source
    alone = folder / "alone" / source.name
    alone.parent.mkdir()
    return shutil.move(source, alone).parent


@pytest.mark.parametrize("name", OF_FOLDERS)
def test_what_a_system_hides_changes_no_import(tmp_path, name):
    """A bin with the same files, and one that begins with a dot beside each: the cohort is as without."""
    source = a_folder(tmp_path / "valid", name)
    before = import_cohort(name, source, tmp_path / "before", mpp=0.25)
    formats = recognised(source).formats
    shutil.copytree(source, tmp_path / "copy")
    for path in [path for path in source.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    shutil.copytree(tmp_path / "copy", source / ".Trash-1000" / "files")
    for inner in [path for path in (tmp_path / "copy").rglob("*") if path.is_dir()]:
        there = source / inner.relative_to(tmp_path / "copy")
        shutil.copytree(inner, there / ".keep")
        shutil.copytree(inner, there.with_name(f".{there.name}"))
    shutil.copytree(tmp_path / "copy", source / ".keep")
    after = import_cohort(name, source, tmp_path / "after", mpp=0.25)
    assert files_below(tmp_path / "after") == files_below(tmp_path / "before")
    assert after.warnings == before.warnings
    assert recognised(source).formats == formats


def test_a_folder_with_nothing_but_what_is_hidden_is_empty(tmp_path):
    """And a folder that is hidden itself is looked through, for it was named."""
    text(tmp_path / "q" / ".old" / "a.xml", "<annotation/>")
    with pytest.raises(FormatError, match="holds no"):
        import_cohort("voc", tmp_path / "q", tmp_path / "c", mpp=0.25)
    source = a_folder(tmp_path / ".valid", "yolo")
    assert import_cohort("yolo", source, tmp_path / "c", mpp=0.25).total.figures == 1


def test_names_of_classes_are_of_a_file_that_is_shown(tmp_path):
    """What a Mac writes beside data.yaml is no text; an older copy with other names would swap the classes."""
    source = sources(tmp_path / "valid")["yolo"]
    (source.parent / "classes.txt").unlink()
    text(source.parent / "data.yaml", "names: [mitotic figure]\n")
    (source.parent / "._data.yaml").write_bytes(b"\0\5\x16\7\xff")
    text(source.parent / ".data.yaml", "names: [imposter]\n")
    assert import_cohort("yolo", source, tmp_path / "c", mpp=0.25).total.figures == 1


def test_readers_of_folders_look_through_one_place():
    """`slide.hidden` knows what is hidden; another way to list a user's folder would forget it again."""
    package = Path(mitosieve.__file__).parent
    own = {"version.py", "official.py"}  # whether a folder is empty, tables of the package
    readers = [*(package / "cohort").rglob("*.py"), package / "slide" / "moved.py"]
    listing = re.compile(r"\.(?:rglob|glob|iterdir)\(|os\.(?:walk|listdir|scandir)")
    assert len(readers) > 30
    assert [path.name for path in readers if listing.search(path.read_text()) and path.name not in own] == [
        "recognise.py"
    ]
