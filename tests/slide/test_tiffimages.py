"""Laws of which pages are the slide: one image with its own levels and its own resolution; all else is a note."""

import numpy as np
import openslide
import pytest
import tifffile
from build_slides import RGB, halves
from build_tiffs import TILES, a_grid, an_ome_image, an_ome_tiff, an_svs, ome_xml

from mitosieve.slide.slide import facts, open_slide

SLIDE, OTHER = a_grid(512, 384), a_grid(512, 384, seed=1)


def is_read(path, pixels, levels, *, mpp=None):
    """Every level of the file is that of the picture, pixel for pixel."""
    with open_slide(path, mpp=mpp) as slide:
        assert slide.levels == tuple((level.shape[1], level.shape[0]) for level in levels)
        assert np.array_equal(slide.read(), pixels)
        for number, level in enumerate(levels):
            whole = (
                slide.bounds if number == 0 else slide.bounds.__class__(x=0, y=0, w=level.shape[1], h=level.shape[0])
            )
            assert np.array_equal(slide.read_level(number, whole), level)
        return slide.mpp


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["overview", "Macro image", "LABEL", "thumbnail", "scan 1"])
def test_an_ome_image_beside_the_slide(tmp_path, first, name):
    """Whatever it is called and wherever it stands, the slide has its own PhysicalSize, and the picture is a note."""
    scenes = [("slide", SLIDE, 0.25), (name, halves(OTHER, 2)[1], 1.0)]
    path = an_ome_tiff(tmp_path / "a.ome.tif", scenes[::-1] if first else scenes, levels=3)
    assert is_read(path, SLIDE, halves(SLIDE, 3)) == 0.25
    assert [note for note in facts(path).notes if name in note and "256 x 192 px, which is not looked at" in note]


def test_an_ome_macro_larger_than_the_slide(tmp_path):
    """A picture that is called macro or label is not the slide, however large."""
    path = an_ome_tiff(tmp_path / "a.ome.tif", [("macro", a_grid(900, 700), 8.0), ("slide", SLIDE, 0.25)])
    assert is_read(path, SLIDE, [SLIDE]) == 0.25


def test_two_ome_scenes(tmp_path):
    """The larger is the slide, of equals the first; the other's levels are not its levels, though they fit."""
    half = halves(OTHER, 2)[1]
    path = an_ome_tiff(tmp_path / "a.ome.tif", [("scene 1", half, 0.5), ("scene 2", SLIDE, 0.25)], levels=3)
    assert is_read(path, SLIDE, halves(SLIDE, 3)) == 0.25
    path = an_ome_tiff(tmp_path / "b.ome.tif", [("scene 1", SLIDE, 0.25), ("scene 2", OTHER, 0.5)], levels=2)
    assert is_read(path, SLIDE, halves(SLIDE, 2)) == 0.25
    assert "holds 2 images of this size; the first is read" in facts(path).notes


def test_ome_pages_in_another_order(tmp_path):
    """An image is on the page that its TiffData names, not on that of its number."""
    elements = [an_ome_image(0, "slide", SLIDE, 0.25, ifd=1), an_ome_image(1, "other", OTHER[:300, :400], 1.0, ifd=0)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(OTHER[:300, :400], description=ome_xml(*elements), **TILES)
        file.write(SLIDE, **TILES)
    assert is_read(tmp_path / "a.ome.tif", SLIDE, [SLIDE]) == 0.25


def test_ome_levels_as_pages(tmp_path):
    """Pages after an image's that no image names are its levels, as old writers put them."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(SLIDE, description=ome_xml(an_ome_image(0, "s", SLIDE, 0.25)), **TILES)
        for level in halves(SLIDE, 3)[1:]:
            file.write(level, subfiletype=1, **TILES)
    assert is_read(tmp_path / "a.ome.tif", SLIDE, halves(SLIDE, 3)) == 0.25


def test_an_ome_image_in_another_file(tmp_path):
    """An image whose pixels lie in another file is not on any page of this one."""
    there = '<TiffData IFD="0"><UUID FileName="other.ome.tif">urn:uuid:2</UUID></TiffData>'
    here = '<TiffData IFD="0"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
    elements = [an_ome_image(0, "far", SLIDE, 2.0, data=there), an_ome_image(1, "near", SLIDE, 0.25, data=here)]
    text = ome_xml(*elements).replace(b"<OME ", b'<OME UUID="urn:uuid:1" ')
    tifffile.imwrite(tmp_path / "a.ome.tif", SLIDE, description=text, **TILES)
    assert is_read(tmp_path / "a.ome.tif", SLIDE, [SLIDE]) == 0.25


@pytest.mark.parametrize("shape", [(700, 1600), (384, 512), (768, 1024)])
def test_an_svs_smaller_than_its_macro(tmp_path, shape):
    """An exported region is the slide also where the glass's picture that was kept is larger; OpenSlide agrees."""
    macro = a_grid(shape[1], shape[0], seed=2)
    path = an_svs(tmp_path / "a.svs", SLIDE, macro=macro, label=macro[:64, :64])
    assert is_read(path, SLIDE, halves(SLIDE, 3)) == 0.25
    with openslide.OpenSlide(str(path)) as other:
        assert other.dimensions == (512, 384)
        assert list(other.level_dimensions) == list(facts(path).levels)
    assert facts(path).notes == ("further pictures in the file, which are not looked at: thumbnail, label, macro",)


def test_a_macro_in_an_unmarked_tiff(tmp_path):
    """Without Aperio's text too: what is marked or described as a macro, or stands in strips after tiles, is none."""
    macro = a_grid(1600, 700, seed=2)
    for number, marks in enumerate(({"subfiletype": 9}, {"description": "macro picture"}, {})):
        path = tmp_path / f"{number}.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(SLIDE, **TILES)
            file.write(halves(SLIDE, 2)[1], subfiletype=1, **TILES)
            file.write(macro, metadata=None, **RGB, **marks)
        is_read(path, SLIDE, halves(SLIDE, 2), mpp=0.25)
        assert any("not looked at" in note for note in facts(path).notes)


def test_unmarked_pages_that_fit_but_show_something_else(tmp_path):
    """A second scene whose size is half of the first's is no level of it; one that shows the same is."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for pixels in (SLIDE, halves(OTHER, 2)[1]):
            file.write(pixels, **TILES)
    is_read(path, SLIDE, [SLIDE], mpp=0.25)
    assert "holds another image of 256 x 192 px, which is not looked at" in facts(path).notes
    with tifffile.TiffWriter(path) as file:
        for pixels in (SLIDE, SLIDE[::2, ::2], OTHER, halves(OTHER, 2)[1]):
            file.write(pixels, **TILES)
    is_read(path, SLIDE, [SLIDE, SLIDE[::2, ::2]], mpp=0.25)


def test_a_scene_of_no_whole_ratio_is_no_level(tmp_path):
    """832 px and 600 px square: two scenes, not a level of 1.39."""
    first, second = a_grid(832, 832), a_grid(600, 600)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in (first, second):
            file.write(pixels, **TILES)
    is_read(tmp_path / "a.tif", first, [first], mpp=0.25)


def test_the_smallest_page_first(tmp_path):
    """A pyramid written upwards is one; a picture before it that shows something else is none of its levels."""
    levels = halves(SLIDE, 3)
    for name, pages in (("up", levels[::-1]), ("other", [halves(OTHER, 3)[2], *levels])):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for pixels in pages:
                file.write(pixels, **TILES)
        is_read(tmp_path / f"{name}.tif", SLIDE, levels, mpp=0.25)


def test_a_mask_and_a_grey_page_are_not_the_slide(tmp_path):
    """However large: of what the file holds, the slide has colours."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(a_grid(1024, 768)[..., 0], metadata=None, photometric="minisblack", tile=(64, 64))
        file.write(SLIDE, **TILES)
    is_read(tmp_path / "a.tif", SLIDE, [SLIDE], mpp=0.25)


def test_a_page_that_is_marked_as_reduced_alone(tmp_path):
    """A level that was cut out of its file is still a picture."""
    tifffile.imwrite(tmp_path / "a.tif", SLIDE, subfiletype=1, **TILES)
    is_read(tmp_path / "a.tif", SLIDE, [SLIDE], mpp=0.25)


def test_scenes_of_tifffile_are_those_found(tmp_path):
    """For OME-TIFF and Aperio, the levels are those of the series that tifffile makes of the file."""
    one = an_ome_tiff(tmp_path / "a.ome.tif", [("o", OTHER[:192], 0.5), ("s", SLIDE, 0.25)], levels=3)
    two = an_svs(tmp_path / "a.svs", SLIDE, macro=OTHER)
    for path, number in ((one, 1), (two, 0)):
        with tifffile.TiffFile(path) as file:
            levels = [tuple(level.shape[-2:-4:-1]) for level in file.series[number].levels]
        assert list(facts(path).levels) == levels
