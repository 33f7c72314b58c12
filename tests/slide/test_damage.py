"""Laws of slides that are damaged, vanish or pretend: one clear message each, never made-up pixels."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from build_files import a_picture, a_png_header, with_pillow

from mitosieve.errors import ResolutionError, SlideError
from mitosieve.geometry import Region
from mitosieve.slide.slide import facts, open_slide

RGB = {"photometric": "rgb"}
FLAT = {"tile": (512, 512), "compression": "deflate", **RGB}  # tiles without bytes are glass


def a_tiff(path, **options):
    tifffile.imwrite(path, a_picture(256, 192), **{"tile": (64, 64), **RGB, **options})


def overwritten(path, index, *, keep=0.0, value=0):
    """Fill a tile's bytes, but the first part of them, as a broken copy does."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        start, count = page.dataoffsets[index], page.databytecounts[index]
    kept = int(count * keep)
    with path.open("r+b") as file:
        file.seek(start + kept)
        file.write(bytes([value]) * (count - kept))


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "lzw", "jpeg2000"])
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_zero_filled_tile_is_named(tmp_path, compression, keep):
    """Zeros where a tile or its second half should be are no pixels: the message says which tile of which file."""
    a_tiff(tmp_path / "a.tif", compression=compression)
    overwritten(tmp_path / "a.tif", 6, keep=keep)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        slide.read(Region(x=0, y=0, w=256, h=64))
        with pytest.raises(SlideError, match="row 1, column 2 of level 0") as caught:
            slide.read()
    assert str(tmp_path / "a.tif") in str(caught.value)
    assert "remedy: " in str(caught.value)


def test_a_good_tile_is_read_beside_a_bad_one(tmp_path):
    """Damage elsewhere does not spoil a region, before or after the bad tile was met."""
    a_tiff(tmp_path / "a.tif", compression="deflate")
    overwritten(tmp_path / "a.tif", 6)
    region = Region(x=0, y=0, w=60, h=60)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        with pytest.raises(SlideError):
            slide.read()
        assert np.array_equal(slide.read(region), a_picture(256, 192)[:60, :60])


@pytest.mark.parametrize("options", [{"compression": "jpeg"}, {}, {"tile": None, "rowsperstrip": 192}])
def test_a_slide_cut_while_it_is_read(tmp_path, options):
    """A file that shrinks under an opened slide is a SlideError, also where its pixels are stored plainly."""
    a_tiff(tmp_path / "a.tif", **options)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        slide.read(Region(x=0, y=0, w=10, h=10))
        with (tmp_path / "a.tif").open("r+b") as file:
            file.truncate(900)
        with pytest.raises(SlideError, match="truncated"):
            slide.read()


def test_a_slide_removed_while_it_is_read(tmp_path):
    """An opened slide outlives its name; opening it anew says that it is missing."""
    a_tiff(tmp_path / "a.tif", compression="jpeg")
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        (tmp_path / "a.tif").unlink()
        assert slide.read().shape == (192, 256, 3)
    with pytest.raises(SlideError, match="is missing"):
        open_slide(tmp_path / "a.tif", mpp=0.25)


def test_a_closed_slide_says_so(tmp_path):
    """Reading a closed slide is an error of ours, not of the system."""
    a_tiff(tmp_path / "a.tif", compression="jpeg")
    slide = open_slide(tmp_path / "a.tif", mpp=0.25)
    slide.close()
    with pytest.raises(SlideError, match="closed"):
        slide.read()


@pytest.mark.parametrize("name", ["a.svs", "a.ndpi", "a.mrxs", "a.scn", "a.tif", "a.dcm"])
@pytest.mark.parametrize("content", [b"this is a text file\n" * 20, b"x", b"\0" * 500])
def test_text_named_as_a_slide_is_refused(tmp_path, name, content):
    """A file is what it holds: no slide's name makes a slide."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match="no image that is known"):
        open_slide(tmp_path / name, mpp=0.25)


@pytest.mark.parametrize("options", [{}, {"tile": (64, 64)}, {"tile": (16, 16), "compression": "jpeg"}])
def test_a_tiff_of_one_pixel_works(tmp_path, options):
    """The smallest slide is read at any resolution; where no pixel's centre lies in it, it is empty."""
    tifffile.imwrite(tmp_path / "a.tif", np.full((1, 1, 3), 200, dtype=np.uint8), **RGB, **options)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert slide.read().shape == (1, 1, 3)
        assert np.abs(slide.read(mpp=0.125).astype(int) - 200).max() <= 2
        assert np.abs(slide.read(mpp=0.45).astype(int) - 200).max() <= 2
        assert slide.thumbnail(8.0).shape == (0, 0, 3)


@pytest.mark.parametrize("mpp", [0, -0.25, 1e6, float("nan"), float("inf"), (0.25, 1e6), (0.0, 0.25)])
def test_absurd_resolutions_are_refused(tmp_path, mpp):
    """No number a scanner cannot have is taken, on either axis."""
    a_tiff(tmp_path / "a.tif")
    with pytest.raises(ResolutionError, match="not between"):
        open_slide(tmp_path / "a.tif", mpp=mpp)


def test_what_is_stated_goes_before_the_file(tmp_path):
    """The user's resolution, then the scanner's statement, then the TIFF's tags, then a refusal."""
    per_cm = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    a_tiff(tmp_path / "both.tif", description="Aperio|MPP = 0.499", metadata=None, **per_cm)
    a_tiff(tmp_path / "tags.tif", metadata=None, **per_cm)
    a_tiff(tmp_path / "none.tif", metadata=None)
    assert open_slide(tmp_path / "both.tif", mpp=0.3).mpp == 0.3
    assert open_slide(tmp_path / "both.tif").mpp == pytest.approx(0.499)
    assert open_slide(tmp_path / "tags.tif").mpp == pytest.approx(0.25)
    with pytest.raises(ResolutionError, match="states no resolution"):
        open_slide(tmp_path / "none.tif")


def test_oblong_pixels_of_a_file_are_kept(tmp_path):
    """Two resolutions are read as two, also where a cohort states their mean; another number replaces both."""
    a_tiff(tmp_path / "a.tif", resolution=(40_000, 50_000), resolutionunit="CENTIMETER", metadata=None)
    assert open_slide(tmp_path / "a.tif").mpp_xy == pytest.approx((0.25, 0.2))
    assert open_slide(tmp_path / "a.tif", mpp=0.225).mpp_xy == pytest.approx((0.25, 0.2))
    assert open_slide(tmp_path / "a.tif", mpp=0.3).mpp_xy == (0.3, 0.3)
    assert open_slide(tmp_path / "a.tif", mpp=(0.3, 0.4)).mpp_xy == (0.3, 0.4)
    assert any("oblong" in note for note in facts(tmp_path / "a.tif").notes)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    """100,000 x 100,000 px in a file of 100 bytes: refused before anything is decoded, in little memory."""
    (tmp_path / "bomb.png").write_bytes(a_png_header(100_000, 100_000))
    code = (
        "import resource, sys\n"
        "from mitosieve.errors import SlideError\n"
        "from mitosieve.slide.slide import open_slide\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    open_slide(sys.argv[1], mpp=0.25)\n"
        "except SlideError as error:\n    assert 'too large' in str(error), error\n"
        "else:\n    raise SystemExit('opened')\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000\n"
        "assert not {'torch', 'openslide', 'wsidicom'} & set(sys.modules), 'slow imports'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "bomb.png"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_large_flat_slide_needs_little_memory(tmp_path):
    """20,000 x 20,000 px without a pyramid, 1.2 GB decoded: its thumbnail needs a quarter of that."""
    tifffile.imwrite(tmp_path / "a.tif", iter([b""] * 40 * 40), shape=(20_000, 20_000, 3), dtype=np.uint8, **FLAT)
    code = (
        "import resource, sys\n"
        "from mitosieve.slide.slide import open_slide\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open_slide(sys.argv[1], mpp=0.25) as slide:\n"
        "    look = slide.thumbnail(8.0)\n"
        "assert look.shape == (625, 625, 3) and (look == 255).all(), look.shape\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 270_000\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.tif"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_headers_that_their_bytes_cannot_fill(tmp_path):
    """Pictures that state 400 million px in a few thousand bytes: refused before memory is taken for them."""
    (tmp_path / "a.png").write_bytes(a_png_header(20_000, 20_000))
    content = bytearray(with_pillow(a_picture(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = (20_000).to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(content)
    for name in ("a.png", "a.jpg"):
        with pytest.raises(SlideError, match="more pixels than its bytes can hold"):
            facts(tmp_path / name)


@pytest.mark.parametrize("name", ["ImageWidth", "ImageLength"])
def test_a_tiff_that_is_said_to_be_larger(tmp_path, name):
    """A size for which tiles are missing is damage, not glass."""
    a_tiff(tmp_path / "a.tif", compression="deflate")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags[name].overwrite(60_000)
    with pytest.raises(SlideError, match="fewer tiles"):
        facts(tmp_path / "a.tif")


def test_a_tiff_whose_tiles_are_said_to_be_vast(tmp_path):
    """It is refused as damaged, and takes no memory."""
    a_tiff(tmp_path / "a.tif", compression="deflate")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["TileWidth"].overwrite(20_000)
        file.pages[0].tags["TileLength"].overwrite(20_000)
    with pytest.raises(SlideError, match="more pixels than its bytes can hold"):
        open_slide(tmp_path / "a.tif", mpp=0.25).read()
