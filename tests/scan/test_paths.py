"""Which files words mean: each slide once, a DICOM series as one, nothing hidden; lists as programs save them."""

import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from build_files import a_picture
from build_slides import a_dicom_level, a_dicom_slide

from mitosieve.errors import InputError
from mitosieve.scan.items import items_of_images
from mitosieve.scan.paths import paths_of
from mitosieve.slide.slide import which_slide


@cache
def dicom() -> Path:
    """One slide of three levels."""
    return a_dicom_slide(Path(mkdtemp()) / "A", a_picture(), levels=3)


def names(paths) -> list[str]:
    return [item.slide_id for item in items_of_images(paths, mpp=None, roi=None)]


def copied(folder: Path, name: str = "A") -> Path:
    return Path(shutil.copytree(dicom(), folder / name))


def test_one_dicom_slide_however_it_is_named(tmp_path):
    """By its folder, by a pattern, file by file, in a list, or by all of these: one slide, the folder."""
    folder = copied(tmp_path)
    files = sorted(folder.iterdir())
    (tmp_path / "list.txt").write_text("\n".join(f"A/{path.name}" for path in files))
    some = ([folder], [f"{folder}/*.dcm"], files, [f"@{tmp_path / 'list.txt'}"], [*files, folder], [folder, *files])
    for words in some:
        assert paths_of(words) == [folder], words
    assert paths_of([files[1]]) == [files[1]]
    assert names(paths_of([folder])) == ["A"]


def test_one_file_by_two_paths(tmp_path):
    """Relative and absolute, by way of another folder, through a link to its folder: once, as it was named first. A
    link to the file is a slide of its own name.
    """
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("x")
    (tmp_path / "way").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "in" / "a.jpg")
    (tmp_path / "list.txt").write_text(str(tmp_path / "in" / "a.jpg"))
    first = Path(os.path.relpath(tmp_path)) / "in" / "a.jpg"
    around = [tmp_path / "in" / ".." / "in" / "a.jpg", tmp_path / "way" / "a.jpg", f"@{tmp_path / 'list.txt'}"]
    assert paths_of([first, *around]) == [first]
    assert names(paths_of([first, tmp_path / "in"])) == ["a", "b"]


def test_a_dicom_slide_of_links_is_one(tmp_path):
    """git-annex and DVC keep each file in a folder of its own: what lies together by its links is one slide."""
    folder = tmp_path / "work" / "slide1"
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(dicom().iterdir())):
        store = tmp_path / "objects" / f"{number:02}"
        store.mkdir(parents=True)
        shutil.copy(path, store / "blob")
        (folder / path.name).symlink_to(store / "blob")
    (tmp_path / "way").symlink_to(folder)
    files = sorted(folder.iterdir())
    for words in ([folder], [f"{folder}/*"], files, [*files, folder, tmp_path / "way", *(tmp_path / "way").iterdir()]):
        assert paths_of(words) == [folder], words
    (folder / "other.tif").write_text("x")
    assert paths_of([folder]) == [files[0], folder / "other.tif"]
    assert len({which_slide(path) for path in (*files, tmp_path / "way" / files[1].name)}) == 1


def test_dicom_files_of_any_name(tmp_path):
    """Without an ending, as archives call them, and beside files that are none."""
    folder = copied(tmp_path)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"1.2.840.{path.stem}")
    (folder / "DICOMDIR.txt").write_text("x")
    assert paths_of([folder]) == [folder]
    assert names([folder / "1.2.840.level0"]) == ["1.2.840.level0"]


def test_a_series_among_other_slides(tmp_path):
    """In a folder, by a pattern and in a list: the series once, the others each."""
    folder = copied(tmp_path)
    (folder / "other.tif").write_text("x")
    first, other = folder / "level0.dcm", folder / "other.tif"
    assert paths_of([folder]) == [first, other]
    assert paths_of([f"{folder}/*"]) == [first, other]


def test_several_series(tmp_path):
    """Each series in a folder is a slide, and so is each folder that a pattern matches."""
    folder = copied(tmp_path)
    for level in (0, 1):
        a_dicom_level(folder / f"b{level}.dcm", a_picture(), mpp_xy=(0.25, 0.25), series="7.7", number=level)
    assert paths_of([folder]) == [folder / "b0.dcm", folder / "level0.dcm"]
    copied(tmp_path, "B")
    shutil.rmtree(folder)
    copied(tmp_path, "A")
    assert paths_of([f"{tmp_path}/*"]) == [tmp_path / "A", tmp_path / "B"]
    assert names(paths_of([f"{tmp_path}/A/*", f"{tmp_path}/B/*"])) == ["A", "B"]


def test_a_damaged_dicom_file_is_not_lost(tmp_path):
    """It stands for itself and fails by its name; the other slides of the folder are there."""
    folder = copied(tmp_path)
    (folder / "bad.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00ULzz")
    (folder / "other.tif").write_text("x")
    assert {"bad.dcm", "other.tif"} <= {path.name for path in paths_of([folder])}


def test_hidden_files_are_passed_over(tmp_path):
    """In folders and patterns; one that is named is taken."""
    for name in ("a.svs", "._a.svs", ".b.tif"):
        (tmp_path / name).write_text("x")
    assert paths_of([tmp_path]) == [tmp_path / "a.svs"]
    assert paths_of([f"{tmp_path}/*"]) == [tmp_path / "a.svs"]
    assert paths_of([tmp_path / "._a.svs"]) == [tmp_path / "._a.svs"]
    assert paths_of([f"{tmp_path}/.*"]) == [tmp_path / "._a.svs", tmp_path / ".b.tif"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lists_as_programs_save_them(tmp_path, encoding, newline):
    """With a byte-order mark or without, in UTF-16, with any line ends; comments and blank lines are passed over."""
    text = newline.join(["# mine", "ä.svs", "", "  b.tif  ", "#no.tif", "#1.tif"])
    (tmp_path / "#1.tif").write_text("x")
    content = "\ufeff".encode("utf-16-le") + text.encode("utf-16-le") if "bom" in encoding else text.encode(encoding)
    (tmp_path / "list.txt").write_bytes(content)
    assert paths_of([f"@{tmp_path / 'list.txt'}"]) == [tmp_path / "ä.svs", tmp_path / "b.tif", tmp_path / "#1.tif"]


def test_a_list_of_names_in_another_encoding(tmp_path):
    """A name whose bytes are no UTF-8 is the file of these bytes."""
    name = b"Pr\xe4parat.tif"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("x")
    (tmp_path / "list.txt").write_bytes(name + b"\n")
    (found,) = paths_of([f"@{tmp_path / 'list.txt'}"])
    assert found.exists()
    assert names([found]) == ["Pr%E4parat"]


def test_a_list_in_another_encoding_is_told(tmp_path):
    """Where no file has the bytes of a name that is no UTF-8: the line is named, and what to do."""
    (tmp_path / "list.txt").write_bytes(b"a.svs\n# Pr\xe4parate\nPr\xe4parat.tif\n")
    with pytest.raises(InputError, match=r"list\.txt, line 3: is not UTF-8 text") as told:
        paths_of([f"@{tmp_path / 'list.txt'}"])
    assert "save the list as UTF-8" in str(told.value)


def test_quotes_round_a_path_of_a_list_are_not_of_its_name(tmp_path):
    """As "copy as path" writes them, unless a file is called so."""
    (tmp_path / "list.txt").write_text(f'"{tmp_path / "a b.svs"}"\n"c.svs"\n"d".svs\n', encoding="utf-8")
    assert paths_of([f"@{tmp_path / 'list.txt'}"]) == [tmp_path / "a b.svs", tmp_path / "c.svs", tmp_path / '"d".svs']
    (tmp_path / '"c.svs"').write_text("x")
    assert tmp_path / '"c.svs"' in paths_of([f"@{tmp_path / 'list.txt'}"])


def test_images_of_a_folder_that_are_not_read_are_told(tmp_path):
    """How many and which; files that are no images, and what is hidden, are passed over in silence."""
    for name in ("a.svs", "b.WEBP", "c.jp2", "notes.txt", "._d.webp"):
        (tmp_path / name).write_text("x")
    told = []
    assert paths_of([tmp_path], tell=told.append) == [tmp_path / "a.svs"]
    assert [line.split(": ", 2)[2] for line in told] == [
        "2 images of formats that are not read passed over: b.WEBP, c.jp2"
    ]


def test_what_is_no_list(tmp_path):
    """A slide named as a list is refused; a file whose name begins with @ is a slide."""
    (tmp_path / "a.svs").write_bytes(b"II*\0\0\0")
    with pytest.raises(InputError, match="no list of slides"):
        paths_of([f"@{tmp_path / 'a.svs'}"])
    (tmp_path / "@a.svs").write_text("x")
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert paths_of(["@a.svs"]) == [Path("@a.svs")]
    finally:
        os.chdir(here)


def test_a_thousand_series_are_read_once(tmp_path, monkeypatch):
    """Headers are read once each, not once for each slide."""
    from mitosieve.slide import dicom_series

    folder = copied(tmp_path)
    for number in range(12):
        a_dicom_level(folder / f"s{number}.dcm", a_picture(), mpp_xy=(0.25, 0.25), series=f"7.{number}")
    asked = []
    read = dicom_series.dcmread
    monkeypatch.setattr(dicom_series, "dcmread", lambda path, **options: asked.append(path) or read(path, **options))
    paths = paths_of([folder])
    for path in paths:
        dicom_series.dicom_files(path)
    assert len(paths) == 13
    assert len(asked) == 15
