"""A preview is refused with the path that is missing, whatever picture it is."""

import cv2
import pytest
import tifffile
from build_files import a_picture, with_pillow
from build_slides import RGB, a_mirax

from mitosieve.errors import SlideError
from mitosieve.slide.slide import facts, open_slide

PICTURE = a_picture(640, 512)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("name", ["HE.mrxs", "HE.MRXS"])
@pytest.mark.parametrize("folder", [False, True])
def test_a_mirax_preview(tmp_path, kind, name, folder):
    """Without its folder, and with a folder that lacks its index: refused, not searched."""
    (tmp_path / name).write_bytes(with_pillow(PICTURE, kind))
    if folder:
        (tmp_path / "HE").mkdir()
        (tmp_path / "HE" / "Data0000.dat").write_bytes(b"x")
    for read in (facts, open_slide):
        with pytest.raises(SlideError, match="preview") as caught:
            read(tmp_path / name)
        assert f"there is no {tmp_path / 'HE' / 'Slidedat.ini'}" in str(caught.value)


def test_a_mirax_slide_of_which_a_file_is_missing(tmp_path):
    """The missing file is named."""
    a_mirax(tmp_path / "a.mrxs", a_picture(256, 256))
    (tmp_path / "a" / "Index.dat").unlink()
    with pytest.raises(SlideError, match=r"a/Index\.dat"):
        open_slide(tmp_path / "a.mrxs")


@pytest.mark.parametrize("name", ["HE.vsi", "HE.VSI"])
def test_a_vsi_preview(tmp_path, name):
    """A VSI is a good TIFF of a few hundred px; its pixels lie elsewhere, and where, is said."""
    tifffile.imwrite(tmp_path / name, PICTURE, **RGB)
    with pytest.raises(SlideError, match="preview") as caught:
        open_slide(tmp_path / name, mpp=0.25)
    assert str(tmp_path / "_HE_" / "stack1" / "frame_t.ets") in str(caught.value)
    (tmp_path / "_HE_" / "stack10001").mkdir(parents=True)
    (tmp_path / "_HE_" / "stack10001" / "frame_t.ets").write_bytes(b"ETS")
    with pytest.raises(SlideError, match="VSI slide, which is not read"):
        open_slide(tmp_path / name, mpp=0.25)


def test_a_picture_is_no_preview_for_lying_beside_a_folder(tmp_path):
    """A plain picture stays one."""
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    assert open_slide(tmp_path / "a.png", mpp=0.25).size_l0 == (640, 512)
