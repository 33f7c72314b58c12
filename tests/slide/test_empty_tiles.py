"""Laws of tiles without bytes: white on level 0; on the others what the next finer level shows there."""

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from build_slides import RGB, halves
from build_tiffs import TILES, a_grid, an_ome_tiff, an_svs, without_bytes

from mitosieve.geometry import Region
from mitosieve.slide.slide import open_slide

PICTURE = a_grid(500, 370)


def level_of(path, number):
    with open_slide(path, mpp=0.25) as slide:
        w, h = slide.levels[number]
        return slide.read_level(number, Region(x=0, y=0, w=w, h=h))


@pytest.mark.parametrize("tiles", [[0], [3], [11], list(range(12))])
def test_a_lower_level_is_made_of_the_finer_one(tmp_path, tiles):
    """Some or all tiles of a level left out, at its edges too: its pixels are those that it had, to a grey level."""
    whole = an_svs(tmp_path / "a.svs", PICTURE)
    expected = level_of(whole, 1).astype(int)
    assert np.abs(level_of(without_bytes(whole, 2, tiles), 1) - expected).max() <= 1


def test_empty_all_the_way_down(tmp_path):
    """A level of which the finer one is empty too is made of the one below that."""
    path = an_svs(tmp_path / "a.svs", PICTURE)
    expected = level_of(path, 2).astype(int)
    without_bytes(without_bytes(path, 2, range(12)), 3, range(4))
    assert np.abs(level_of(path, 2) - expected).max() <= 2


def test_level_0_without_bytes_is_glass(tmp_path):
    """White where level 0 has nothing, on every level; as OpenSlide shows it over white."""
    path = without_bytes(an_svs(tmp_path / "a.svs", PICTURE), 0, [0, 9])
    without_bytes(path, 2, [0])
    with open_slide(path, mpp=0.25) as slide, openslide.OpenSlide(str(path)) as other:
        assert (slide.read(Region(x=0, y=0, w=64, h=64)) == 255).all()
        for number in (0, 1):
            w, h = slide.levels[number]
            theirs = np.asarray(other.read_region((0, 0), number, (w, h))).astype(int)
            theirs = (theirs[..., :3] * theirs[..., 3:] + 255 * (255 - theirs[..., 3:])) // 255
            mine = slide.read_level(number, Region(x=0, y=0, w=w, h=h)).astype(int)
            assert np.abs(mine - theirs).mean() < 3
            assert np.abs(mine - theirs)[:30, :30].max() <= 1


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 5])
def test_levels_of_any_ratio_and_layout(tmp_path, planes, scale):
    """In sub-IFDs, planes and odd ratios alike."""
    w, h = 500 // scale, 370 // scale
    small = cv2.resize(PICTURE[: h * scale, : w * scale], (w, h), interpolation=cv2.INTER_AREA)
    how = {**TILES, "planarconfig": "separate"} if planes else TILES
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, level in enumerate((PICTURE, small)):
            stored = np.moveaxis(level, 2, 0) if planes else level
            file.write(stored, subifds=1 - number, subfiletype=number, **how)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tiles = range(len(file.pages[0].pages[0].aspage().dataoffsets))
    without_bytes(tmp_path / "a.tif", (0, 0), tiles)
    mine = level_of(tmp_path / "a.tif", 1).astype(int)
    assert np.abs(mine - small).max() <= 1


def test_a_large_tile_is_made_in_parts(tmp_path, monkeypatch):
    """However much of the finer level it covers, the pixels are the same."""
    path = without_bytes(an_svs(tmp_path / "a.svs", PICTURE), 2, range(12))
    whole = level_of(path, 1)
    monkeypatch.setattr("mitosieve.slide.tiff._FINER_PX", 128 * 5)
    assert np.array_equal(level_of(path, 1), whole)


def test_strips_without_bytes(tmp_path):
    """A level in strips is filled too."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PICTURE, subifds=1, **TILES)
        file.write(halves(PICTURE, 2)[1], subfiletype=1, rowsperstrip=32, compression="deflate", metadata=None, **RGB)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tag = file.pages[0].pages[0].aspage().tags["StripByteCounts"]
    size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
    content[tag.valueoffset : tag.valueoffset + size] = bytes(size)
    (tmp_path / "a.tif").write_bytes(content)
    expected = halves(PICTURE, 2)[1].astype(int)
    assert np.abs(level_of(tmp_path / "a.tif", 1) - expected).max() <= 1


def test_an_ome_tiff_with_an_empty_level(tmp_path):
    """As Bio-Formats leaves tiles out."""
    path = an_ome_tiff(tmp_path / "a.ome.tif", [("s", PICTURE, 0.25)], levels=2)
    without_bytes(path, (0, 0), range(12))
    assert np.abs(level_of(path, 1).astype(int) - halves(PICTURE, 2)[1]).max() <= 1
