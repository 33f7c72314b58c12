"""Laws of plain images, and what bad ones get."""

import io

import cv2
import numpy as np
import pytest
from build_files import a_16_bit_png, a_picture, a_png_header, with_pillow
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mitosieve.errors import ResolutionError, SlideError
from mitosieve.geometry import Region
from mitosieve.slide.slide import facts, open_slide

GREY = a_picture()[..., 0]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.bmp", "BMP"), ("misnamed.jpg", "PNG"), ("none", "BMP")]
)
def test_lossless_pixels_are_the_file_s(tmp_path, name, kind):
    """A lossless picture is read pixel for pixel as RGB, whatever the file is called."""
    pixels = a_picture()
    (tmp_path / name).write_bytes(with_pillow(pixels, kind))
    with open_slide(tmp_path / name, mpp=0.25) as slide:
        assert np.array_equal(slide.read(), pixels)
        assert slide.size_l0 == (230, 170)
        region = Region(x=11, y=7, w=50, h=20)
        assert np.array_equal(slide.read(region), pixels[7:27, 11:61])


def test_jpeg_is_read_as_another_decoder_does(tmp_path):
    """A JPEG's pixels are those that Pillow decodes, up to two grey levels."""
    (tmp_path / "a.jpg").write_bytes(with_pillow(a_picture(), "JPEG", quality=90))
    slide = open_slide(tmp_path / "a.jpg", mpp=0.25)
    expected = np.array(Image.open(tmp_path / "a.jpg")).astype(int)
    assert np.abs(slide.read().astype(int) - expected).max() <= 2
    assert slide.slide_id == "a"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_one_pixel_works(tmp_path, kind):
    """The smallest image is an image."""
    (tmp_path / "a").write_bytes(with_pillow(np.full((1, 1, 3), 200, dtype=np.uint8), kind))
    assert open_slide(tmp_path / "a", mpp=0.25).read().shape == (1, 1, 3)


def test_transparency_is_laid_over_white(tmp_path):
    """Opaque RGBA reads as its RGB; transparent pixels become glass, in proportion."""
    pixels = a_picture()
    alpha = np.full((*pixels.shape[:2], 1), 255, dtype=np.uint8)
    (tmp_path / "opaque.png").write_bytes(with_pillow(np.concatenate([pixels, alpha], axis=2), "PNG", mode="RGBA"))
    assert np.array_equal(open_slide(tmp_path / "opaque.png", mpp=0.25).read(), pixels)
    alpha[:, :50], alpha[:, 50:100] = 0, 128
    (tmp_path / "clear.png").write_bytes(with_pillow(np.concatenate([pixels, alpha], axis=2), "PNG", mode="RGBA"))
    read = open_slide(tmp_path / "clear.png", mpp=0.25).read()
    assert (read[:, :50] == 255).all()
    assert np.array_equal(read[:, 100:], pixels[:, 100:])
    half = pixels[:, 50:100] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(read[:, 50:100] - half).max() <= 1


def test_palette_is_expanded(tmp_path):
    """A palette PNG reads as the colours its palette names."""
    (tmp_path / "a.png").write_bytes(with_pillow(a_picture(), "PNG", mode="P"))
    expected = np.array(Image.open(tmp_path / "a.png").convert("RGB"))
    assert np.array_equal(open_slide(tmp_path / "a.png", mpp=0.25).read(), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_orientation_tag_does_not_turn_and_is_told(tmp_path, kind):
    """Pixels stay as stored, because marks refer to them; who made the marks may have seen them turned."""
    for orientation in (1, 3, 6, None):
        exif = Image.Exif()
        exif[0x010F] = "a maker"
        if orientation:
            exif[0x0112] = orientation
        (tmp_path / "a").write_bytes(with_pillow(a_picture(), kind, exif=exif))
        slide = open_slide(tmp_path / "a", mpp=0.25)
        assert slide.read().shape == (170, 230, 3)
        assert ["orientation tag is ignored" in note for note in slide.notes] == [True] * (orientation in (3, 6))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@given(exif=st.binary(max_size=60), head=st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_exif_of_any_bytes_is_no_fault(tmp_path_factory, kind, exif, head):
    """What a camera or an editor left there is not needed."""
    path = tmp_path_factory.getbasetemp() / f"exif.{kind}"
    path.write_bytes(with_pillow(np.full((1, 1, 3), 200, dtype=np.uint8), kind, exif=b"Exif\0\0" + head + exif))
    assert facts(path).size_l0 == (1, 1)


@pytest.mark.parametrize(
    ("kind", "dpi", "mpp"), [("PNG", 100_000, 0.254), ("JPEG", 50_800, 0.5), ("BMP", 101_600, 0.25)]
)
def test_plausible_density_is_a_resolution(tmp_path, kind, dpi, mpp):
    """A density of a scanner's order is taken as um per px, and what the user states goes before it."""
    (tmp_path / "a").write_bytes(with_pillow(a_picture(), kind, dpi=(dpi, dpi)))
    assert open_slide(tmp_path / "a").mpp == pytest.approx(mpp, rel=1e-3)
    assert facts(tmp_path / "a").mpp_source.startswith(kind)
    assert open_slide(tmp_path / "a", mpp=0.3).mpp == 0.3


@pytest.mark.parametrize("dpi", [None, (72, 72), (96, 96), (300, 300), (100_000, 500)])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_no_resolution_is_refused(tmp_path, kind, dpi):
    """Print densities are no resolution, not even on one axis, and none is guessed."""
    (tmp_path / "a").write_bytes(with_pillow(a_picture(), kind, **({"dpi": dpi} if dpi else {})))
    with pytest.raises(ResolutionError, match="--mpp"):
        open_slide(tmp_path / "a")


@pytest.mark.parametrize("mpp", [0.0, -1.0, 0.001, 50.0, float("nan")])
def test_absurd_stated_resolution_is_refused(tmp_path, mpp):
    """A stated resolution that no scanner has is refused."""
    (tmp_path / "a").write_bytes(with_pillow(a_picture(), "PNG"))
    with pytest.raises(ResolutionError, match="not between"):
        open_slide(tmp_path / "a", mpp=mpp)


BAD = {
    "empty": (b"", "is empty"),
    "text": (b"slide_id,x,y\n", "no image that is known"),
    "html": (b"<html>not found</html>", "XML or HTML"),
    "gif": (with_pillow(a_picture(), "GIF", mode="P"), "GIF"),
    "webp": (with_pillow(a_picture(), "WEBP"), "WebP"),
    "png header only": (with_pillow(a_picture(), "PNG")[:20], "truncated"),
    "png half": (with_pillow(a_picture(), "PNG")[:20_000], "truncated"),
    "png without end": (with_pillow(a_picture(), "PNG")[:-6], "truncated"),
    "jpeg header only": (with_pillow(a_picture(), "JPEG")[:30], "truncated"),
    "jpeg half": (with_pillow(a_picture(), "JPEG")[:3000], "truncated"),
    "jpeg without end": (with_pillow(a_picture(), "JPEG")[:-2], "truncated"),
    "jpeg filled with zeros": (with_pillow(a_picture(), "JPEG")[:3000] + b"\0" * 3000, "truncated"),
    "progressive jpeg half": (with_pillow(a_picture(), "JPEG", progressive=True)[:3000], "truncated"),
    "bmp half": (with_pillow(a_picture(), "BMP")[:9000], "truncated"),
    "bmp header": (with_pillow(a_picture(), "BMP")[:40], "truncated"),
    "grey png": (with_pillow(GREY, "PNG", mode="L"), "grey"),
    "grey alpha png": (with_pillow(GREY, "PNG", mode="LA"), "grey"),
    "grey jpeg": (with_pillow(GREY, "JPEG", mode="L"), "grey"),
    "grey bmp": (with_pillow(GREY, "BMP", mode="L"), "24-bit"),
    "black and white png": (with_pillow(GREY, "PNG", mode="1"), "grey"),
    "16-bit png": (a_16_bit_png(a_picture()), "16 bits"),
    "16-bit grey png": (a_16_bit_png(GREY), "16 bits"),
    "cmyk jpeg": (with_pillow(a_picture(), "JPEG", mode="CMYK"), "CMYK"),
    "bomb png": (a_png_header(200_000, 200_000), "200,000 x 200,000 px, too large"),
    "wide png": (a_png_header(200_000, 10), "200,000 x 10 px, too large"),
    "large png": (a_png_header(60_000, 60_000), "60,000 x 60,000 px, too large"),
    "png of no size": (a_png_header(0, 10), "0 x 10 px"),
    "png with too few pixels": (a_png_header(300, 300), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_image_is_named_with_a_remedy(tmp_path, name):
    """Each unusable image is refused with its path, what is wrong, and how to mend it."""
    content, message = BAD[name]
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=message) as caught:
        open_slide(path, mpp=0.25)
    assert str(path) in str(caught.value)
    assert "remedy: " in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path):
    """A path that is gone and a folder are told apart."""
    with pytest.raises(SlideError, match="is missing"):
        open_slide(tmp_path / "no.png", mpp=0.25)
    with pytest.raises(SlideError, match="is a folder"):
        open_slide(tmp_path, mpp=0.25)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damage_raises_nothing_else(tmp_path, kind):
    """Bytes that were changed anywhere give pixels or a SlideError, never another exception."""
    generator = np.random.default_rng(3)
    whole = np.frombuffer(with_pillow(a_picture(60, 40), kind), dtype=np.uint8)
    path = tmp_path / "a"
    refused = 0
    for _ in range(150):
        broken = whole.copy()
        broken[generator.integers(0, len(broken), 4)] = generator.integers(0, 256, 4)
        path.write_bytes(
            broken[: generator.integers(1, len(broken) + 1)].tobytes() if generator.random() < 0.3 else broken
        )
        try:
            open_slide(path, mpp=0.25).read()
        except SlideError:
            refused += 1
    assert refused > 20


def test_facts_read_no_pixels(tmp_path):
    """Facts come from the header: they are the same for a PNG whose pixels are damaged."""
    content = bytearray(with_pillow(a_picture(), "PNG"))
    expected = (tmp_path / "whole.png").write_bytes(content)
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "broken.png").write_bytes(content)
    assert expected
    assert facts(tmp_path / "broken.png") == facts(tmp_path / "whole.png")
    assert facts(tmp_path / "whole.png").format == "PNG"
    assert facts(tmp_path / "whole.png").levels == ((230, 170),)


def test_region_outside_is_refused(tmp_path):
    """What lies outside a slide is for the caller to fill: nothing is made up."""
    (tmp_path / "a.png").write_bytes(with_pillow(a_picture(), "PNG"))
    slide = open_slide(tmp_path / "a.png", mpp=0.25)
    for region in (Region(x=-1, y=0, w=5, h=5), Region(x=228, y=0, w=5, h=5), Region(x=0, y=168, w=1, h=3)):
        with pytest.raises(ValueError, match="not inside"):
            slide.read(region)


@pytest.mark.data
def test_real_frame_is_read(data_folder):
    """A real frame has the size its header states and another decoder's pixels."""
    path = sorted((data_folder / "mitos14" / "frames").glob("*.jpg"))[0]
    slide = open_slide(path, mpp=0.2273)
    assert facts(path).size_l0 == slide.size_l0
    expected = np.array(Image.open(io.BytesIO(path.read_bytes()))).astype(int)
    assert np.abs(slide.read().astype(int) - expected).max() <= 2
    assert cv2.imread(str(path)).shape[:2][::-1] == slide.size_l0
