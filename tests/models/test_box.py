"""Laws of the detectors in the package: found by name, whole or refused; a folder is a folder."""

import pytest

from boxed import a_box, a_tiny_detector
from mitosieve.errors import DetectorError
from mitosieve.models import box as box_module
from mitosieve.models.box import (
    BOX,
    DEFAULT,
    LIMIT_BYTES,
    detector_folder,
    find,
    folder_of,
    is_detector,
    names,
    seal,
    size_bytes,
)
from mitosieve.sieve.detector import Detector


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A box of two, `tiny` the default, in place of the package's."""
    folder = a_box(tmp_path / "box")
    a_box(folder, "small")
    monkeypatch.setattr(box_module, "BOX", folder)
    monkeypatch.setattr(box_module, "DEFAULT", "tiny")
    return folder


def test_what_the_package_holds_is_whole_and_light_enough():
    """Every shipped detector passes its hashes, loads and scores; `default` is among them; all are below the limit."""
    assert DEFAULT in names()
    for name in names():
        assert Detector.load(name).config == Detector.load(folder_of(name)).config
    assert folder_of("default") == folder_of(DEFAULT)
    assert 0 < size_bytes(BOX) <= LIMIT_BYTES


def test_a_name_is_found_and_nothing_else(box):
    """`default` is a name; paths, even to a folder of that name, are none."""
    assert names() == ("small", "tiny")
    assert (find("tiny"), find("default"), find("./tiny"), find("huge")) == ("tiny", "tiny", None, None)
    assert folder_of("default") == box / "tiny"


def test_text_may_be_a_name_and_a_path_is_a_folder(box, tmp_path, monkeypatch):
    """A name goes before a folder of that name; with a separator, or as a Path, it is the folder."""
    monkeypatch.chdir(tmp_path)
    own = a_tiny_detector(threshold=0.25).save(tmp_path / "tiny")
    assert Detector.load("tiny").config.threshold == 0.5
    assert Detector.load("./tiny").config.threshold == Detector.load(own).config.threshold == 0.25
    a_tiny_detector(threshold=0.125).save(tmp_path / "run" / "detector")
    assert Detector.load("run").config.threshold == 0.125
    assert detector_folder("run") == detector_folder(tmp_path.__class__("run/detector"))


def test_what_is_a_detector(tmp_path):
    """A detector folder, a run with one, a run that is still being trained; no other folder, and no file."""
    folder = a_tiny_detector().save(tmp_path / "run" / "detector")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "recipe.toml").write_text("")
    (tmp_path / "slide.png").write_bytes(b"")
    assert all(map(is_detector, (folder, folder.parent, tmp_path / "new")))
    assert not any(map(is_detector, (tmp_path, tmp_path / "slide.png", tmp_path / "gone")))


@pytest.mark.parametrize(
    ("word", "said"),
    [("tyni", "did you mean 'tiny'"), ("defualt", "did you mean 'default'"), ("xyz", "in the package: small, tiny")],
)
def test_an_unknown_name_is_told_by_the_nearest(box, word, said):
    """The message holds the word, the nearest name if one is near, and all that there are."""
    with pytest.raises(DetectorError, match=f"no detector '{word}'") as told:
        Detector.load(word)
    assert said in str(told.value)


@pytest.mark.parametrize("file", ["only.safetensors", "detector.toml", "card.toml", "CARD.md"])
@pytest.mark.parametrize("fault", ["altered", "missing"])
def test_a_file_that_is_not_as_it_was_shipped(box, file, fault):
    """One other byte, or no file at all, in any file of a shipped detector: named, with the remedy."""
    path = box / "tiny" / file
    if fault == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"#")
    else:
        path.unlink()
    with pytest.raises(DetectorError, match=fault) as told:
        Detector.load("tiny")
    assert str(path) in str(told.value)
    assert Detector.load("small")


@pytest.mark.parametrize("content", [None, "", "no hash here", "\xff"])
def test_a_broken_list_of_hashes(box, content):
    """Without it nothing can be checked, so nothing is loaded."""
    path = box / "tiny" / "files.sha256"
    path.unlink() if content is None else path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DetectorError, match="list of hashes"):
        Detector.load("tiny")


@pytest.mark.parametrize("word", ["default", "tiny", "other"])
def test_a_package_without_its_data(box, word):
    """Said as such, whatever was asked for."""
    for folder in box.iterdir():
        for path in folder.iterdir():
            path.unlink()
    with pytest.raises(DetectorError, match="the package holds no detector"):
        Detector.load(word)


def test_the_hashes_are_those_of_sha256sum(tmp_path):
    """The layout that `sha256sum --check` reads: known hash, two spaces, name."""
    (tmp_path / "detector.toml").write_text("abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert seal(tmp_path).read_text() == f"{known}  detector.toml\n"
