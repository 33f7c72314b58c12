"""Laws of what a file says of its resolution: a whole number in its unit and type, or none; never a part of one."""

import math
import struct

import pytest
import tifffile
from build_files import a_picture
from build_tiffs import TILES, an_ome_tiff, an_svs, with_tag
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import ResolutionError
from mitosieve.slide.omexml import number_of, ome_images
from mitosieve.slide.slide import facts, open_slide

PICTURE = a_picture(128, 96)
PER_CM = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}


@pytest.mark.parametrize(
    ("text", "mpp"),
    [("0.2500", 0.25), ("2.5e-1", 0.25), ("0,25", 0.25), (".25", 0.25), ("25E-2", 0.25), ("+0.25", 0.25)],
)
def test_numbers_as_people_write_them(tmp_path, text, mpp):
    """Exponent and decimal comma are read whole, in Aperio's text and in OME-XML."""
    assert facts(an_svs(tmp_path / "a.svs", PICTURE, mpp=text)).mpp == pytest.approx(mpp)
    assert facts(an_ome_tiff(tmp_path / "a.ome.tif", [("s", PICTURE, text)])).mpp == pytest.approx(mpp)


@pytest.mark.parametrize("text", ["1.2.3", "0.25x", "0.25 um", "2.5e", "0x1", "1_0", "nan", "inf", "", "0,2,5"])
def test_what_is_no_number_is_no_resolution(tmp_path, text):
    """Nothing is cut out of it, and nothing else of the file takes its place: the slide is refused with the remedy."""
    one = an_svs(tmp_path / "a.svs", PICTURE, mpp=text)
    two = an_ome_tiff(tmp_path / "a.ome.tif", [("s", PICTURE, text)])
    for path in (one, two):
        found = facts(path)
        assert found.mpp is None
        assert any("is ignored" in note for note in found.notes)
        with pytest.raises(ResolutionError, match="states no resolution"):
            open_slide(path)


@given(st.floats(min_value=1e-6, max_value=1e6), st.sampled_from(["{:.9g}", "{:.9e}", "{:.12f}"]))
def test_a_number_written_is_the_number_read(number, written):
    """Whatever the notation, with a point or a comma; with a letter behind it, it is none."""
    text = written.format(number)
    assert number_of(text) == float(text)
    assert number_of(text.replace(".", ",")) == float(text)
    assert math.isnan(number_of(text + "p"))


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        (None, 0.25), ("\u00b5m", 0.25), ("\u03bcm", 0.25), ("um", 0.25), ("nm", 250), ("mm", 0.00025),
        ("cm", 2.5e-5), ("m", 2.5e-7), ("pm", 250_000), ("\u00c5", 2500), ("\u212b", 2500), ("in", 0.25 / 25_400),
        ("pt", 0.25 * 72 / 25_400), ("thou", 0.25 / 25.4), ("li", 0.25 * 12 / 25_400), ("km", 2.5e-10),
        ("ft", 0.25 / 304_800), ("yd", 0.25 / 914_400), ("dm", 2.5e-6), ("fm", 2.5e8),
    ],
)  # fmt: skip
def test_every_length_of_ome(tmp_path, unit, value):
    """PhysicalSize in any unit of length is the same um per px."""
    path = an_ome_tiff(tmp_path / "a.ome.tif", [("s", PICTURE, value)], unit=unit)
    assert facts(path).mpp == pytest.approx(0.25)
    assert facts(path).mpp_source == "OME PhysicalSize"


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "s", "furlong"])
def test_what_is_no_length_is_no_resolution(tmp_path, unit):
    """A size in px is no resolution, also where a resolution tag says another."""
    found = facts(an_ome_tiff(tmp_path / "a.ome.tif", [("s", PICTURE, 0.25)], unit=unit))
    assert found.mpp is None
    assert any(unit in note for note in found.notes)


@pytest.mark.parametrize(
    ("kind", "value", "mpp"),
    [
        (4, struct.pack("<I", 40_000), 0.25), (3, struct.pack("<HH", 40_000, 0), 0.25),
        (11, struct.pack("<f", 40_000.0), 0.25), (9, struct.pack("<i", 40_000), 0.25),
        (9, struct.pack("<i", -40_000), None), (11, struct.pack("<f", math.nan), None), (1, b"\x28\0\0\0", None),
        (2, b"a\0\0\0", None), (7, b"x\0\0\0", None), (4, struct.pack("<I", 0), None),
    ],
)  # fmt: skip
def test_a_resolution_tag_of_any_type(tmp_path, kind, value, mpp):
    """LONG, SHORT, FLOAT, SLONG are read; what cannot be used means no resolution, never an unreadable slide."""
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, **{**TILES, **PER_CM})
    for name in ("XResolution", "YResolution"):
        with_tag(tmp_path / "a.tif", name, kind, value)
    assert facts(tmp_path / "a.tif").mpp == (None if mpp is None else pytest.approx(mpp))
    assert open_slide(tmp_path / "a.tif", mpp=0.3).size_l0 == (128, 96)


@pytest.mark.parametrize(("kind", "value"), [(4, struct.pack("<I", 3)), (1, b"\3\0\0\0"), (11, struct.pack("<f", 3))])
def test_a_unit_of_any_type(tmp_path, kind, value):
    """The unit is read whatever type it is stored in."""
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, **{**TILES, **PER_CM})
    assert facts(with_tag(tmp_path / "a.tif", "ResolutionUnit", kind, value)).mpp == pytest.approx(0.25)


@pytest.mark.parametrize("xml", ["", "<OME>", "<OME/>", "no xml", "<OME><Image/></OME>", "\0" * 10, "<a>" * 2000])
def test_xml_that_says_nothing(xml):
    """It is no OME-XML, and no error."""
    assert ome_images(xml) == ()
