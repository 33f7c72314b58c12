"""Laws of DICOM whole slides."""

import numpy as np
import pytest
from build_files import a_picture
from build_slides import a_dicom_level, a_dicom_slide
from pydicom import dcmread

from mitosieve.errors import SlideError
from mitosieve.geometry import Region
from mitosieve.slide.dicom import DicomSlide
from mitosieve.slide.slide import OtherPicture, facts, open_slide


@pytest.mark.parametrize("by_file", [False, True])
def test_a_dicom_slide_is_read(tmp_path, by_file):
    """Named by its folder or by one of its files, a series is its pixels, levels and resolution."""
    pixels = a_picture(300, 220)
    folder = a_dicom_slide(tmp_path / "slide", pixels)
    path = folder / "level0.dcm" if by_file else folder
    with open_slide(path) as slide:
        assert isinstance(slide, DicomSlide)
        assert slide.levels == ((300, 220), (150, 110))
        assert slide.mpp == pytest.approx(0.25)
        assert np.array_equal(slide.read(), pixels)
        assert np.array_equal(slide.read(Region(x=33, y=57, w=100, h=90)), pixels[57:147, 33:133])
        assert slide.read(mpp=0.5).shape == (110, 150, 3)
    assert facts(path).mpp_source == "DICOM pixel spacing"


def test_parts_of_a_dicom_slide_equal_the_whole(tmp_path):
    """The law of parts, over tiles and levels, for JPEG tiles."""
    folder = a_dicom_slide(tmp_path / "slide", a_picture(333, 281), jpeg=True)
    with open_slide(folder) as slide:
        for mpp in (0.25, 0.4, 0.6):
            whole = slide.read(mpp=mpp).astype(int)
            left = slide.read(Region(x=0, y=0, w=121, h=281), mpp)
            right = slide.read(Region(x=121, y=0, w=212, h=281), mpp)
            assert np.abs(np.concatenate([left, right], axis=1) - whole).max() <= 1


def test_spacing_has_the_right_axes(tmp_path):
    """DICOM states rows first: x and y are not exchanged."""
    folder = a_dicom_slide(tmp_path / "slide", a_picture(), mpp_xy=(0.25, 0.2), levels=1)
    assert open_slide(folder).mpp_xy == pytest.approx((0.25, 0.2))


def test_two_slides_in_a_folder_are_told_apart(tmp_path):
    """A folder of two series is refused with a remedy; one file of a series opens that series."""
    a_dicom_level(tmp_path / "a.dcm", a_picture(seed=1), mpp_xy=(0.25, 0.25), series="1.2.3")
    a_dicom_level(tmp_path / "b.dcm", a_picture(seed=2), mpp_xy=(0.25, 0.25), series="1.2.4")
    with pytest.raises(SlideError, match="2 DICOM slides"):
        open_slide(tmp_path)
    assert np.array_equal(open_slide(tmp_path / "b.dcm").read(), a_picture(seed=2))


def test_of_two_areas_of_a_glass_the_named_one_is_read_and_else_the_largest(tmp_path):
    """They are one series; which is read, and that there is another, is told: the widest may be the smaller one."""
    folder = a_dicom_slide(tmp_path / "slide", a_picture(400, 100), levels=1)
    second = folder / "second.dcm"
    a_dicom_level(second, a_picture(380, 1000, seed=3), mpp_xy=(0.25, 0.25), number=7)
    image = dcmread(second)
    image.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = 30.0
    image.save_as(second)
    tall, wide = a_picture(380, 1000, seed=3), a_picture(400, 100)
    for path, pixels, other in (
        (folder, tall, "400 x 100"), (second, tall, "400 x 100"), (folder / "level0.dcm", wide, "380 x 1000"),
    ):  # fmt: skip
        own = f"{pixels.shape[1]} x {pixels.shape[0]}"
        with open_slide(path) as slide:
            assert np.array_equal(slide.read(), pixels)
            (note,) = slide.notes
        assert note == (
            f"shows 2 areas of the glass: the one of {own} px is read, not {other} px (name a file of that)"
        )
        assert isinstance(note, OtherPicture)
    one = a_dicom_slide(tmp_path / "one", a_picture(400, 100), levels=2)
    assert facts(one).notes == ()


def test_more_than_one_focal_plane_is_told(tmp_path):
    """One is read."""
    folder = a_dicom_slide(tmp_path / "slide", a_picture(400, 100), levels=1)
    image = dcmread(folder / "level0.dcm")
    image.TotalPixelMatrixFocalPlanes = 2
    image.NumberOfFrames = 2 * image.NumberOfFrames
    image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 0.002
    image.PixelData = image.PixelData * 2
    image.save_as(folder / "level0.dcm")
    assert facts(folder).notes == ("holds 2 focal planes: one is read",)


def test_other_dicom_is_refused(tmp_path):
    """A DICOM file that is no whole-slide image, and one cut in half, are refused by name."""
    a_dicom_level(tmp_path / "a.dcm", a_picture(), mpp_xy=(0.25, 0.25))
    image = dcmread(tmp_path / "a.dcm")
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.save_as(tmp_path / "ct.dcm")
    with pytest.raises(SlideError, match="no DICOM whole-slide image"):
        open_slide(tmp_path / "ct.dcm")
    (tmp_path / "ct.dcm").unlink()
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: len(content) // 2])
    with pytest.raises(SlideError, match=r"a\.dcm"):
        open_slide(tmp_path / "a.dcm", mpp=0.25).read()
