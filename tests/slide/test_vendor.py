"""Laws of scanners' formats that OpenSlide reads."""

import numpy as np
import openslide
import pytest
from build_files import a_picture
from build_slides import a_mirax, a_vms, an_scn, halves

from mitosieve.errors import SlideError
from mitosieve.geometry import Region
from mitosieve.slide.slide import facts, open_slide
from mitosieve.slide.vendor import VendorSlide, vendor_of


def test_a_scanned_area_is_level_0(tmp_path):
    """Where a file states bounds, their corner is (0, 0) and what lies outside is not read; as QuPath shows it."""
    pixels = a_picture(300, 220)
    an_scn(tmp_path / "a.scn", pixels, corner_px=(130, 70), whole_px=(900, 600))
    with openslide.OpenSlide(str(tmp_path / "a.scn")) as raw:
        assert raw.dimensions == (900, 600)
        assert raw.properties["openslide.bounds-x"] == "130"
    with open_slide(tmp_path / "a.scn") as slide:
        assert isinstance(slide, VendorSlide)
        assert slide.levels == ((300, 220), (150, 110))
        assert slide.mpp == pytest.approx(0.5)
        assert np.array_equal(slide.read(), pixels)
        assert np.array_equal(slide.read(Region(x=33, y=57, w=100, h=90)), pixels[57:147, 33:133])
    assert "130, 70" in " ".join(facts(tmp_path / "a.scn").notes)


@pytest.mark.parametrize("name", ["a.scn", "a.tif", "slide"])
def test_the_name_does_not_matter(tmp_path, name):
    """A scanner's file is told by what it holds."""
    an_scn(tmp_path / name, a_picture(), corner_px=(0, 0), whole_px=(400, 300))
    assert vendor_of(tmp_path / name) == "leica"
    assert facts(tmp_path / name).format == "leica (OpenSlide)"


def test_parts_of_a_vendor_slide_equal_the_whole(tmp_path):
    """Levels and bounds keep the law of parts, and a level's pixels are where level 0 has them."""
    pixels = a_picture(333, 281)
    an_scn(tmp_path / "a.scn", pixels, corner_px=(131, 77), whole_px=(901, 603))
    with open_slide(tmp_path / "a.scn") as slide:
        for mpp in (0.7, 1.0, 1.3):
            whole = slide.read(mpp=mpp).astype(int)
            left = slide.read(Region(x=0, y=0, w=121, h=281), mpp)
            right = slide.read(Region(x=121, y=0, w=212, h=281), mpp)
            assert np.abs(np.concatenate([left, right], axis=1) - whole).max() <= 1


def test_what_was_not_scanned_is_white(tmp_path):
    """Holes inside the scanned area, which OpenSlide gives as transparent, are the colour of glass."""
    an_scn(tmp_path / "a.scn", a_picture(100, 100), corner_px=(0, 0), whole_px=(400, 300))
    with open_slide(tmp_path / "a.scn") as slide:
        slide._frame = Region(x=50, y=50, w=100, h=100)  # as MIRAX bounds, which hold what was not scanned
        read = slide.read_level(0, Region(x=0, y=0, w=100, h=100))
    assert (read[60:, 60:] == 255).all()
    assert not (read[:40, :40] == 255).all()


def test_damage_is_a_slide_error(tmp_path):
    """A cut scanner's file is refused when opened or read, by name."""
    an_scn(tmp_path / "a.scn", a_picture(), corner_px=(0, 0), whole_px=(400, 300))
    content = (tmp_path / "a.scn").read_bytes()
    (tmp_path / "a.scn").write_bytes(content[:300] + bytes(len(content) // 2 - 300) + content[len(content) // 2 :])
    with pytest.raises(SlideError, match=r"a\.scn"):
        open_slide(tmp_path / "a.scn", mpp=0.5).read()


def test_hamamatsu_s_text_file_is_a_slide(tmp_path):
    """A VMS names its pictures: it is read with their pixels and the resolution its physical size gives."""
    pixels = a_picture(256, 192)
    a_vms(tmp_path / "a.vms", pixels)
    with open_slide(tmp_path / "a.vms") as slide:
        assert slide.levels[0] == (256, 192)
        assert slide.mpp == pytest.approx(0.25)
        assert np.abs(slide.read().astype(int) - pixels).mean() < 2
    (tmp_path / "image.jpg").unlink()
    with pytest.raises(SlideError, match=r"a\.vms.*OpenSlide"):
        open_slide(tmp_path / "a.vms")


def test_mirax_is_read_within_its_bounds(tmp_path):
    """Of a MIRAX slide level 0 is what was scanned, its corner at (0, 0); its JPEG is not taken for the slide."""
    pixels = a_picture(256, 256)
    a_mirax(tmp_path / "a.mrxs", pixels)
    with openslide.OpenSlide(str(tmp_path / "a.mrxs")) as raw:
        assert raw.properties["openslide.bounds-x"] == "256"
        assert raw.properties["openslide.bounds-y"] == "128"
    with open_slide(tmp_path / "a.mrxs") as slide:
        assert slide.levels == ((256, 256), (128, 128))
        assert slide.mpp == pytest.approx(0.25)
        assert np.abs(slide.read().astype(int) - pixels).mean() < 2
        half = slide.read(mpp=0.5).astype(int)
        assert np.abs(half - halves(pixels, 2)[1]).mean() < 2
    (tmp_path / "a" / "Data0000.dat").unlink()
    with pytest.raises(SlideError, match=r"a\.mrxs"):
        open_slide(tmp_path / "a.mrxs").read()
