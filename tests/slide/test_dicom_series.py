"""Which DICOM files are one slide is told by their content, whatever they are called."""

import shutil

import numpy as np
import pytest
from build_files import a_picture
from build_slides import a_dicom_level, a_dicom_slide
from pydicom import dcmread

from mitosieve.errors import SlideError
from mitosieve.slide.dicom_series import dicom_files, instance_of, look_into
from mitosieve.slide.slide import facts, open_slide


def two_series(folder):
    """Two slides of two levels in one folder, called as an archive calls them."""
    for number, series in enumerate(("1.2.3", "1.2.4")):
        a_dicom_slide(folder / "new", a_picture(seed=number), series=series)
        for path in sorted((folder / "new").iterdir()):
            shutil.move(path, folder / f"IM{number}{path.stem[-1]}")
    (folder / "new").rmdir()
    (folder / "._IM00").write_bytes(b"x" * 200)
    (folder / "notes.txt").write_text("x")
    return folder


def test_series_in_a_folder(tmp_path):
    """Each has its files, and each file opens its series; hidden files and others are passed over."""
    folder = two_series(tmp_path)
    series = look_into(folder).series.values()
    assert [[item.path.name for item in files] for files in series] == [["IM00", "IM01"], ["IM10", "IM11"]]
    for number in (0, 1):
        for level in (0, 1):
            path = folder / f"IM{number}{level}"
            assert [item.name for item in dicom_files(path)] == [f"IM{number}0", f"IM{number}1"]
            assert np.array_equal(open_slide(path).read(), a_picture(seed=number))
    assert instance_of(folder / "notes.txt") is None


def test_a_file_that_changed_is_read_again(tmp_path):
    """What was told of a folder holds until it changes."""
    folder = a_dicom_slide(tmp_path / "a", a_picture())
    assert len(dicom_files(folder)) == 2
    a_dicom_level(folder / "more.dcm", a_picture(), mpp_xy=(0.25, 0.25), series="9.9")
    with pytest.raises(SlideError, match="2 DICOM slides"):
        dicom_files(folder)
    (folder / "more.dcm").unlink()
    assert len(dicom_files(folder)) == 2


@pytest.mark.parametrize("kind", ["LABEL", "OVERVIEW", "THUMBNAIL"])
def test_a_picture_of_the_glass_is_no_slide(tmp_path, kind):
    """A series that shows no scanned tissue is passed over."""
    folder = a_dicom_slide(tmp_path / "a", a_picture())
    a_dicom_level(folder / "x.dcm", a_picture(), mpp_xy=(8, 8), series="9.9")
    image = dcmread(folder / "x.dcm")
    image.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    image.save_as(folder / "x.dcm")
    assert list(look_into(folder).series) == ["1.2.3"]
    assert np.array_equal(open_slide(folder).read(), a_picture())


def test_a_slide_without_its_scanned_level_says_so(tmp_path):
    """Only smaller levels were copied: it is read at their resolution, with a note."""
    folder = a_dicom_slide(tmp_path / "a", a_picture(), levels=3)
    assert facts(folder).notes == ()
    (folder / "level0.dcm").unlink()
    assert facts(folder).mpp == pytest.approx(0.5)
    assert any("scanned may be missing" in note for note in facts(folder).notes)


def test_a_broken_file_beside_a_slide(tmp_path):
    """A slide whose scanned level is there is read; of one whose level may be the broken file, that is named."""
    folder = a_dicom_slide(tmp_path / "a", a_picture())
    content = (folder / "level0.dcm").read_bytes()
    (folder / "bad.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00ULzz")
    assert np.array_equal(open_slide(folder).read(), a_picture())
    (folder / "level0.dcm").write_bytes(content[:200])
    with pytest.raises(SlideError, match=r"(bad|level0)\.dcm"):
        open_slide(folder)
