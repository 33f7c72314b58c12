"""Layouts as other programs write them: levels, sizes and pixels are those that OpenSlide and tifffile read."""

import cv2
import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from build_files import a_picture
from build_slides import RGB, halves
from build_tiffs import ABOUT, TILES, a_grid, an_ome_tiff, an_svs

from mitosieve.geometry import Region
from mitosieve.slide.slide import facts, open_slide

PICTURE = a_picture(500, 370)
LEVELS = halves(PICTURE, 3)
WHOLE_TILES = a_picture(512, 384)


def as_tifffile_reads(path, levels):
    """Each level as tifffile decodes it whole."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert [level.shape for level in series.levels][: len(levels)] == [level.shape for level in levels]
        return [level.asarray() for level in series.levels]


def as_openslide_reads(path):
    """Levels as OpenSlide has them, over white; None where it does not know the file."""
    try:
        with openslide.OpenSlide(str(path)) as file:
            pixels = [np.asarray(file.read_region((0, 0), n, size)) for n, size in enumerate(file.level_dimensions)]
    except openslide.OpenSlideError:
        return None
    white = [rgba[..., 3:].astype(int) for rgba in pixels]
    return [(rgba[..., :3] * alpha + 255 * (255 - alpha)) // 255 for rgba, alpha in zip(pixels, white, strict=True)]


def levels_of(path):
    with open_slide(path, mpp=0.25) as slide:
        return [slide.read_level(n, Region(x=0, y=0, w=w, h=h)) for n, (w, h) in enumerate(slide.levels)]


def written(path, levels, **how):
    """Pages one after another, those after the first marked as reduced."""
    planes = how.get("planarconfig") == "separate"
    with tifffile.TiffWriter(path, byteorder=how.pop("byteorder", None), bigtiff=how.pop("bigtiff", False)) as file:
        for number, level in enumerate(levels):
            stored = np.moveaxis(level, 2, 0) if planes else level
            file.write(stored, subfiletype=int(number > 0), **{**TILES, **how})
    return path


LAYOUTS = {
    "tiles": {},
    "big endian": {"byteorder": ">"},
    "big endian bigtiff": {"byteorder": ">", "bigtiff": True},
    "planes": {"planarconfig": "separate"},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
    "no compression": {"compression": None},
    "oblong tiles": {"tile": (32, 112)},
    "predictor": {"predictor": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lossless_layouts(tmp_path, layout):
    """Pixel for pixel what was written, and what OpenSlide reads where it can."""
    path = written(tmp_path / "a.tif", LEVELS, **dict(LAYOUTS[layout]))
    for mine, level in zip(levels_of(path), LEVELS, strict=True):
        assert np.array_equal(mine, level)
    theirs = as_openslide_reads(path)
    for mine, other in zip(levels_of(path), theirs or levels_of(path), strict=True):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("tables", [False, True])
def test_jpeg_subsamplings(tmp_path, subsampling, tables):
    """Luminance and colour stored at their own sizes come out as tifffile and OpenSlide decode them."""
    path = tmp_path / "a.tif"
    if tables:
        with_tables(path, subsampling)
    else:
        written(path, LEVELS, compression="jpeg", subsampling=subsampling, compressionargs={"level": 90})
    mine = levels_of(path)
    for level, other in zip(mine, as_tifffile_reads(path, mine), strict=False):
        assert np.array_equal(level, other)
    for level, other in zip(mine, as_openslide_reads(path) or [], strict=True):
        assert np.abs(level.astype(int) - other).mean() < 2  # decoders differ in how they make colour finer
    assert np.abs(mine[0].astype(int) - (WHOLE_TILES if tables else PICTURE)).mean() < 8


def with_tables(path, subsampling):
    """Tiles without their own tables: these stand once in the tag JPEGTables, as scanners' software writes them."""
    levels = halves(WHOLE_TILES, 2)
    name = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411"}[subsampling]
    table = b""
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            tiles = []
            for y in range(0, level.shape[0], 64):
                for x in range(0, level.shape[1], 64):
                    whole = imagecodecs.jpeg8_encode(
                        np.ascontiguousarray(level[y : y + 64, x : x + 64]), level=90, colorspace="RGB",
                        outcolorspace="YCBCR", subsampling=name,
                    )  # fmt: skip
                    table, short = split_tables(whole)
                    tiles.append(short)
            extra = [(347, 7, len(table), table, True)]
            file.write(
                iter(tiles), shape=level.shape, dtype=np.uint8, tile=(64, 64), compression="jpeg", photometric="ycbcr",
                subsampling=subsampling, subfiletype=int(number > 0), metadata=None, extratags=extra,
            )  # fmt: skip


def split_tables(stream):
    """Tables of a JPEG stream, and the stream without them."""
    place, tables, rest = 2, b"", b""
    while stream[place + 1] != 0xDA:
        length = int.from_bytes(stream[place + 2 : place + 4], "big") + 2
        part = stream[place : place + length]
        tables += part if part[1] in (0xDB, 0xC4) else b""
        rest += b"" if part[1] in (0xDB, 0xC4, 0xE0) else part
        place += length
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + stream[place:]


@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_sub_ifds(tmp_path, compression):
    """Levels held by level 0, as libvips and Bio-Formats write them."""
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as file:
        for number, level in enumerate(LEVELS):
            file.write(
                level, subifds=2 * (number == 0), subfiletype=int(number > 0), **{**TILES, "compression": compression}
            )
    mine = levels_of(tmp_path / "a.tif")
    assert [level.shape for level in mine] == [level.shape for level in LEVELS]
    for level, other in zip(mine, as_tifffile_reads(tmp_path / "a.tif", mine), strict=True):
        assert np.array_equal(level, other)


@pytest.mark.parametrize("sub_ifds", [False, True])
def test_untiled_lower_levels(tmp_path, sub_ifds):
    """A small level in strips under a tiled one is a level; another picture that is marked so, is not."""
    strips = {"rowsperstrip": 16, "compression": "lzw", "metadata": None, "subfiletype": 1, **RGB}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PICTURE, subifds=2 * sub_ifds, **TILES)
        for level in LEVELS[1:]:
            file.write(level, **strips)
        file.write(a_grid(125, 92), **strips)
    found = facts(tmp_path / "a.tif")
    assert found.levels == ((500, 370), (250, 185), (125, 92))
    for mine, level in zip(levels_of(tmp_path / "a.tif"), LEVELS, strict=True):
        assert np.array_equal(mine, level)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(a_grid(500, 370), **TILES)
        file.write(a_grid(125, 92, seed=5), **strips)
    assert facts(tmp_path / "b.tif").levels == ((500, 370),)


@pytest.mark.parametrize("side", [(65, 129), (64, 128), (1, 300), (127, 63)])
def test_cropped_edge_tiles(tmp_path, side):
    """The part of an edge tile outside the image is never read, whatever stands there."""
    h, w = side
    padded = np.full((-(-h // 64) * 64, -(-w // 64) * 64, 3), 7, np.uint8)
    padded[:h, :w] = a_picture(w, h)
    tiles = [
        imagecodecs.zlib_encode(np.ascontiguousarray(padded[y : y + 64, x : x + 64]).tobytes())
        for y in range(0, h, 64)
        for x in range(0, w, 64)
    ]
    tifffile.imwrite(
        tmp_path / "a.tif", iter(tiles), shape=(h, w, 3), dtype=np.uint8, compression=8,
        tile=(64, 64), metadata=None, **RGB,
    )  # fmt: skip
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert slide.size_l0 == (w, h)
        assert np.array_equal(slide.read(), a_picture(w, h))
        assert np.array_equal(slide.read(), tifffile.imread(tmp_path / "a.tif"))
    theirs = as_openslide_reads(tmp_path / "a.tif")
    assert np.array_equal(theirs[0], a_picture(w, h))


def test_aperio_with_associated_images(tmp_path):
    """Thumbnail, label and macro are what OpenSlide calls so; levels and pixels are its too."""
    path = an_svs(tmp_path / "a.svs", PICTURE, label=a_grid(90, 80), macro=a_grid(600, 200), compression="jpeg")
    with openslide.OpenSlide(str(path)) as other:
        assert set(other.associated_images) == {"thumbnail", "label", "macro"}
        assert list(other.level_dimensions) == list(facts(path).levels)
        assert float(other.properties["openslide.mpp-x"]) == facts(path).mpp
    for mine, theirs in zip(levels_of(path), as_openslide_reads(path), strict=True):
        assert np.abs(mine.astype(int) - theirs).mean() < 1


def test_aperio_jpeg_2000_levels(tmp_path):
    """Aperio's own compression of RGB, level by level."""
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        for level in LEVELS:
            about = ABOUT.format(w=level.shape[1], h=level.shape[0], mpp=0.25)
            how = {"tile": (64, 64), "compression": 33005, "compressionargs": {"level": 0, "mct": False}}
            file.write(level, description=about, metadata=None, **how, **RGB)
    for mine, level in zip(levels_of(tmp_path / "a.svs"), LEVELS, strict=True):
        assert np.array_equal(mine, level)
    for mine, theirs in zip(levels_of(tmp_path / "a.svs"), as_openslide_reads(tmp_path / "a.svs"), strict=True):
        assert np.abs(mine.astype(int) - theirs).max() <= 1


def test_several_scenes(tmp_path):
    """Each scene of an OME-TIFF with its own levels: those of the largest, as tifffile's series has them."""
    scenes = [("a", a_grid(256, 128), 0.5), ("b", PICTURE, 0.25), ("c", a_grid(250, 185), 1.0)]
    path = an_ome_tiff(tmp_path / "a.ome.tif", scenes, levels=3)
    with tifffile.TiffFile(path) as file:
        theirs = [level.asarray() for level in file.series[1].levels]
    for mine, other in zip(levels_of(path), theirs, strict=True):
        assert np.array_equal(mine, other)


@pytest.mark.data
@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides_as_openslide_reads_them(data_folder, name):
    """Levels, resolution and pixels of real Aperio slides."""
    path = data_folder / "wsi" / name
    with openslide.OpenSlide(str(path)) as other, open_slide(path, mpp=0.5) as slide:
        assert list(other.level_dimensions) == list(slide.levels)
        stated = other.properties.get("openslide.mpp-x")
        assert facts(path).mpp == (None if stated is None else pytest.approx(float(stated)))
        for level, (w, h) in enumerate(slide.levels):  # whole: between pixels of a level, OpenSlide interpolates
            theirs = np.asarray(other.read_region((0, 0), level, (w, h)))[..., :3]
            mine = slide.read_level(level, Region(x=0, y=0, w=w, h=h))
            assert np.abs(mine.astype(int) - theirs).mean() < 1
            assert cv2.absdiff(mine, theirs).max() <= 40
