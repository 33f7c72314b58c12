"""Laws of TIFF slides, and what bad ones get."""

import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
import tifffile
from build_files import a_picture

from mitosieve.errors import ResolutionError, SlideError
from mitosieve.geometry import Region
from mitosieve.slide import tiffpage
from mitosieve.slide.rendering import halved
from mitosieve.slide.slide import facts, open_slide
from mitosieve.slide.tiffheader import reading

RGB = {"photometric": "rgb"}
LAYOUTS = {
    "strips": {},
    "mapped, one strip": {"rowsperstrip": 170},
    "tiles": {"tile": (64, 48)},
    "deflate tiles": {"tile": (64, 64), "compression": "deflate", "predictor": True},
    "lzw strips": {"compression": "lzw", "rowsperstrip": 13},
    "big endian": {"byteorder": ">", "tile": (32, 32)},
    "bigtiff": {"bigtiff": True, "tile": (64, 64), "compression": "deflate"},
    "planes": {"planarconfig": "separate"},
    "planes in tiles": {"planarconfig": "separate", "tile": (64, 64), "compression": "deflate"},
    "tile larger than image": {"tile": (256, 512)},
}


def a_tiff(path, pixels=None, **options):
    pixels = a_picture() if pixels is None else pixels
    if options.get("planarconfig") == "separate":
        tifffile.imwrite(path, np.moveaxis(pixels, 2, 0), **{**RGB, **options})
    else:
        tifffile.imwrite(path, pixels, **{**RGB, **options})
    return pixels


@pytest.mark.parametrize("layout", LAYOUTS)
def test_regions_are_the_file_s_pixels(tmp_path, layout):
    """Whatever the layout, any region is that part of the picture, pixel for pixel."""
    pixels = a_tiff(tmp_path / "a.tif", **LAYOUTS[layout])
    generator = np.random.default_rng(0)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert np.array_equal(slide.read(), pixels)
        for _ in range(25):
            x, y = int(generator.integers(0, 230)), int(generator.integers(0, 170))
            region = Region(x=x, y=y, w=int(generator.integers(0, 231 - x)), h=int(generator.integers(0, 171 - y)))
            assert np.array_equal(slide.read(region), pixels[y : y + region.h, x : x + region.w])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("halvings", [(1, 1), (2, 2), (1, 0), (3, 2)])
def test_means_of_pieces_are_means_of_the_region(tmp_path, layout, halvings):
    """Averaged piece by piece or as a whole, the bytes are the same: inside, and where the image ends oddly."""
    a_tiff(tmp_path / "a.tif", a_picture(229, 171), **LAYOUTS[layout])
    across, down = (2**times for times in halvings)
    ends = {0: (0, 0, 229, 171), 1: (0, 0, 224, 168), 2: (64, 48, 165, 123)}
    generator = np.random.default_rng(0)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        for turn in range(12):
            x, y = (int(generator.integers(0, most)) * step for most, step in ((20, across), (15, down)))
            w, h = (int(generator.integers(1, most)) * step for most, step in ((8, across), (6, down)))
            x, y, w, h = ends.get(turn, (x, y, w, h))
            region = Region(x=x, y=y, w=w, h=h).clip(slide.bounds)
            wanted = halved(slide.read_level(0, region), *halvings)
            assert np.array_equal(slide.read_means(0, region, halvings), wanted)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_lossy_tiles_are_close_and_consistent(tmp_path, compression):
    """JPEG tiles have the picture's colours, and parts equal the whole."""
    pixels = a_tiff(tmp_path / "a.tif", tile=(64, 64), compression=compression, compressionargs={"level": 95})
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        whole = slide.read()
        assert np.abs(whole.astype(int) - pixels.astype(int)).mean() < 5  # coarser colour than the picture
        assert np.array_equal(slide.read(Region(x=50, y=60, w=100, h=90)), whole[60:150, 50:150])


def test_subsampled_jpeg_has_true_colours(tmp_path):
    """JPEG tiles stored as luminance and coarser colour come out as RGB."""
    pixels = np.tile(np.array([[[200, 120, 170]]], dtype=np.uint8), (96, 96, 1))
    pixels[:48] = (90, 60, 140)
    a_tiff(tmp_path / "a.tif", pixels, tile=(48, 48), compression="jpeg", subsampling=(2, 2))
    read = open_slide(tmp_path / "a.tif", mpp=0.25).read()
    assert np.abs(read.astype(int) - pixels).max() <= 4


def test_aperio_jpeg2000_of_luminance_has_true_colours(tmp_path):
    """Aperio's compression 33003 holds YCbCr without saying so; it comes out as RGB."""
    pixels = a_picture(128, 128)
    ycc = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    a_tiff(tmp_path / "a.tif", ycc, tile=(64, 64), compression=33003, compressionargs={"level": 0, "mct": False})
    read = open_slide(tmp_path / "a.tif", mpp=0.25).read()
    assert np.abs(read.astype(int) - pixels.astype(int)).mean() < 2


def test_dropped_slide_leaves_no_open_file(tmp_path):
    """A slide that nobody closed closes its file when it goes; closing twice is no error."""
    a_tiff(tmp_path / "a.tif")
    slide = open_slide(tmp_path / "a.tif", mpp=0.25)
    handle = slide._file.filehandle
    slide.close()
    slide.close()
    assert handle.closed
    slide = open_slide(tmp_path / "a.tif", mpp=0.25)
    handle = slide._file.filehandle
    del slide
    assert handle.closed


def test_only_asked_tiles_are_decoded(tmp_path, monkeypatch):
    """A small region decodes the tiles it touches, once each."""
    a_tiff(tmp_path / "a.tif", tile=(32, 32), compression="deflate")
    asked = []
    piece = tiffpage.PageReader.piece
    monkeypatch.setattr(tiffpage.PageReader, "piece", lambda self, index: asked.append(index) or piece(self, index))
    slide = open_slide(tmp_path / "a.tif", mpp=0.25)
    slide.read(Region(x=33, y=1, w=40, h=31))
    slide.read(Region(x=33, y=1, w=40, h=40))
    assert asked == [1, 2, 9, 10]


def test_small_cache_changes_nothing(tmp_path):
    """Pixels do not depend on what is still in the cache, and it keeps its bound."""
    pixels = a_tiff(tmp_path / "a.tif", tile=(32, 32), compression="deflate")
    bound = 3 * 32 * 32 * 3
    slide = open_slide(tmp_path / "a.tif", mpp=0.25, cache_bytes=bound)
    for _ in range(2):
        assert np.array_equal(slide.read(), pixels)
    assert slide._cached_bytes == sum(item.nbytes for item in slide._cache.values()) <= bound


def test_threads_read_the_same(tmp_path):
    """Threads that read one slide at once all get its pixels."""
    pixels = a_tiff(tmp_path / "a.tif", tile=(32, 32), compression="deflate")
    slide = open_slide(tmp_path / "a.tif", mpp=0.25)
    same = []
    threads = [threading.Thread(target=lambda: same.append(np.array_equal(slide.read(), pixels))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 6


def test_pyramid_is_read_at_its_base(tmp_path):
    """Of a pyramid the largest level is level 0, and facts list all."""
    pixels = a_picture(256, 192)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, subifds=2, tile=(64, 64), **RGB)
        file.write(pixels[::2, ::2], subfiletype=1, tile=(64, 64), **RGB)
        file.write(pixels[::4, ::4], subfiletype=1, tile=(64, 64), **RGB)
    assert facts(tmp_path / "a.tif").levels == ((256, 192), (128, 96), (64, 48))
    assert np.array_equal(open_slide(tmp_path / "a.tif", mpp=0.25).read(), pixels)


def test_largest_page_is_read(tmp_path):
    """A thumbnail before the slide is passed over."""
    pixels = a_picture()
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels[::4, ::4], **RGB)
        file.write(pixels, tile=(64, 64), **RGB)
    assert np.array_equal(open_slide(tmp_path / "a.tif", mpp=0.25).read(), pixels)


@pytest.mark.parametrize(("alpha", "extra"), [(255, "unassalpha"), (0, "unassalpha"), (0, "assocalpha")])
def test_alpha_is_laid_over_white(tmp_path, alpha, extra):
    """Opaque pixels keep their colour, clear ones are white."""
    pixels = a_picture() * np.uint8(alpha == 255 or extra == "unassalpha")
    rgba = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), alpha, np.uint8)], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", rgba, extrasamples=[extra], **RGB)
    expected = pixels if alpha == 255 else np.full_like(pixels, 255)
    assert np.array_equal(open_slide(tmp_path / "a.tif", mpp=0.25).read(), expected)


@pytest.mark.parametrize(
    ("options", "mpp", "source"),
    [
        ({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25, "TIFF resolution tag"),
        ({"resolution": (101_600, 101_600), "resolutionunit": "INCH"}, 0.25, "TIFF resolution tag"),
        ({"description": "Aperio Image|AppMag = 20|MPP = 0.4990|Left = 1"}, 0.499, "Aperio MPP"),
        ({"description": '<OME><Pixels PhysicalSizeX="0.23" PhysicalSizeY="0.23"/></OME>'}, 0.23, "OME PhysicalSize"),
    ],
)
def test_stated_resolution_is_found(tmp_path, options, mpp, source):
    """Each place a TIFF states its resolution in is read, in its unit."""
    a_tiff(tmp_path / "a.tif", metadata=None, **options)
    assert facts(tmp_path / "a.tif").mpp == pytest.approx(mpp)
    assert facts(tmp_path / "a.tif").mpp_source == source
    assert open_slide(tmp_path / "a.tif").mpp == pytest.approx(mpp)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"resolution": (0, 0), "resolutionunit": "CENTIMETER"},
        {"resolution": (40_000, 20), "resolutionunit": "CENTIMETER"},
        {"resolution": (40_000, 40_000), "resolutionunit": "NONE"},
        {"description": "Aperio|MPP = 0"},
        {"description": "Aperio|MPP = 1.2.3"},
        {"description": '<OME><Pixels PhysicalSizeX="0.2" PhysicalSizeY="400"/></OME>'},
        {"description": '<OME><Pixels PhysicalSizeX="0.2" PhysicalSizeXUnit="mm" PhysicalSizeY="0.2"/></OME>'},
    ],
)
def test_unusable_resolution_is_refused(tmp_path, options):
    """No unit, print densities and zeros are no resolution, not even on one axis."""
    a_tiff(tmp_path / "a.tif", metadata=None, **options)
    with pytest.raises(ResolutionError, match="states no resolution"):
        open_slide(tmp_path / "a.tif")


def bad_tiff(path, name):
    pixels = a_picture()
    if name == "16-bit":
        tifffile.imwrite(path, pixels.astype(np.uint16) * 257, **RGB)
    elif name == "float":
        tifffile.imwrite(path, pixels.astype(np.float32), **RGB)
    elif name == "grey":
        tifffile.imwrite(path, pixels[..., 0], photometric="minisblack")
    elif name == "cmyk":
        tifffile.imwrite(path, np.concatenate([pixels, pixels[..., :1]], axis=2), photometric="separated")
    elif name == "palette":
        tifffile.imwrite(path, pixels[..., 0], photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    else:
        a_tiff(path, tile=(64, 64), compression="deflate")
        content = path.read_bytes()
        cut = {"header only": 12, "half": len(content) // 2, "last bytes": len(content) - 5}[name]
        path.write_bytes(content[:cut])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("16-bit", "16 bits"),
        ("float", "32 bits"),
        ("grey", "grey"),
        ("cmyk", "CMYK"),
        ("palette", "colours that are not read"),
        ("header only", "cannot be read|without an image"),
        ("half", "truncated|cannot be read"),
        ("last bytes", "truncated|cannot be read"),
    ],
)
def test_bad_tiff_is_named_with_a_remedy(tmp_path, name, message):
    """Each unusable TIFF is refused with its path, what is wrong, and how to mend it."""
    path = tmp_path / "a.tif"
    bad_tiff(path, name)
    with pytest.raises(SlideError, match=message) as caught:
        open_slide(path, mpp=0.25)
    assert str(path) in str(caught.value)
    assert "remedy: " in str(caught.value)


def test_damage_raises_nothing_else(tmp_path):
    """Bytes that were changed anywhere give pixels or a SlideError, never another exception."""
    generator = np.random.default_rng(5)
    a_tiff(tmp_path / "a.tif", a_picture(100, 80), tile=(32, 32), compression="deflate")
    whole = np.frombuffer((tmp_path / "a.tif").read_bytes(), dtype=np.uint8)
    refused = 0
    for _ in range(150):
        broken = whole.copy()
        reach = 600 if generator.random() < 0.5 else len(broken)  # the header is the first few hundred bytes
        broken[generator.integers(0, reach, 3)] = generator.integers(0, 256, 3)
        (tmp_path / "b.tif").write_bytes(broken.tobytes())
        try:
            open_slide(tmp_path / "b.tif", mpp=0.25).read()
        except SlideError:
            refused += 1
    assert refused > 20


def test_wide_tiff_is_read_by_parts(tmp_path):
    """A tiled TIFF of 200,000 px across opens, and its far end can be read."""
    pixels = np.tile(a_picture(1000, 32), (1, 200, 1))
    a_tiff(tmp_path / "a.tif", pixels, tile=(32, 512), compression="deflate")
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert slide.size_l0 == (200_000, 32)
        assert np.array_equal(slide.read(Region(x=199_000, y=0, w=1000, h=32)), pixels[:, 199_000:])


@pytest.mark.data
def test_real_slides_say_what_they_are(data_folder):
    """The Aperio slide states 0.499 um per px; the JPEG 2000 one states none and is refused without --mpp."""
    aperio, tcga = (data_folder / "wsi" / name for name in ("cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs"))
    assert facts(aperio).mpp == pytest.approx(0.499)
    assert facts(aperio).size_l0 == (2220, 2967)
    assert facts(tcga).mpp is None
    assert facts(tcga).levels == ((4443, 3567), (2221, 1783))
    with pytest.raises(ResolutionError, match="--mpp"):
        open_slide(tcga)


@pytest.mark.data
@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides_are_read_as_tifffile_does(data_folder, name):
    """A region across tiles of a real slide is that part of the picture tifffile decodes whole."""
    expected = tifffile.imread(data_folder / "wsi" / name, series=0, level=0)[500:1300, 700:1700]
    with open_slide(data_folder / "wsi" / name, mpp=0.5) as slide:
        assert np.array_equal(slide.read(Region(x=700, y=500, w=1000, h=800)), expected)


def test_a_librarys_object_is_no_word_of_ours(tmp_path):
    """What tifffile calls its pages and files does not stand in a message; what it says of them does."""
    for said, left in (
        ("<tifffile.TiffPage 0 @8> corrupted tag list", "(corrupted tag list)"),
        ("<tifffile.TiffFile 'a.tif'>", "(ValueError)"),
        ("a < b and c > d", "(a < b and c > d)"),
    ):
        with pytest.raises(SlideError) as told, reading(tmp_path / "a.tif"):
            raise ValueError(said)
        assert left in str(told.value)
        assert "tifffile" not in str(told.value)


def test_a_cut_off_file_is_told_in_our_words_alone(tmp_path):
    """In a fresh process: nothing that a library says of its own objects reaches the error stream."""
    tifffile.imwrite(tmp_path / "whole.tif", np.zeros((256, 256, 3), np.uint8), tile=(64, 64), photometric="rgb")
    content = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(content[:4] + (len(content) * 2).to_bytes(4, "little") + content[8:])
    command = [sys.executable, "-m", "mitosieve.cli", "info", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mitosieve: {path}: ")
    assert "tifffile" not in done.stderr.lower()
