"""What the OME-XML in a TIFF says: its images, on which page each begins, and how large its pixels are.

Lengths have any unit of the OME schema (UnitsLength, 2016-06); without one they are um, its default.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

_UM = {
    "Ym": 1e30, "Zm": 1e27, "Em": 1e24, "Pm": 1e21, "Tm": 1e18, "Gm": 1e15, "Mm": 1e12, "km": 1e9, "hm": 1e8,
    "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "nm": 1e-3, "pm": 1e-6, "fm": 1e-9,
    "am": 1e-12, "zm": 1e-15, "ym": 1e-18, "Å": 1e-4, "thou": 25.4, "li": 25.4e3 / 12, "in": 25.4e3,
    "ft": 304.8e3, "yd": 914.4e3, "mi": 1.609344e9, "ua": 1.495978707e17, "ly": 9.4607304725808e21,
    "pc": 3.0856775814913673e22, "pt": 25.4e3 / 72,
    "um": 1.0, "\N{GREEK SMALL LETTER MU}m": 1.0, "micron": 1.0, "\N{ANGSTROM SIGN}": 1e-4,
}  # fmt: skip
"""um of each length; the last line has spellings that the schema does not know but files have."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class OmeImage:
    """One image of the file.

    Attributes:
        name: as the file calls it; empty where it does not.
        page: number of its first page; None where its pixels lie in another file, or none is stated.
        planes: how many pages it takes from there.
        mpp_xy: um per px in x and y; None where not stated, or not as lengths.
        fault: why a stated size of pixels is not used; empty where all is well.
    """

    name: str
    page: int | None
    planes: int = 1
    mpp_xy: tuple[float, float] | None = None
    fault: str = ""


def number_of(text: str) -> float:
    """A number that is the whole of a text, with exponent, decimal point or decimal comma; else NaN.

    Never a part of a text: "0.25x" and "1.2.3" are no numbers, and "2.5e-1" is not 2.5.
    """
    found = _NUMBER.fullmatch(text.strip())
    return float(found[0].replace(",", ".")) if found and len(text) <= 100 else math.nan


def ome_images(xml: str) -> tuple[OmeImage, ...]:
    """The images of a file, in its order; none where the XML cannot be parsed or has none."""
    try:
        root = ElementTree.fromstring(xml.strip().strip("\0"))
    except (ElementTree.ParseError, ValueError):
        return ()
    own = root.get("UUID", "")
    found: list[OmeImage] = []
    following = 0
    for image, pixels in _pixels(root):
        page, planes = _pages(pixels, own, following)
        following = following if page is None else page + planes
        mpp, fault = _size(pixels)
        found.append(OmeImage(name=image.get("Name", ""), page=page, planes=planes, mpp_xy=mpp, fault=fault))
    return tuple(found)


def _pixels(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, ElementTree.Element]]:
    for image in root.iter():
        for pixels in image:
            if _tag(pixels) == "Pixels":
                yield image, pixels


def _tag(item: ElementTree.Element) -> str:
    return str(item.tag).rpartition("}")[2]


def _pages(pixels: ElementTree.Element, own: str, following: int) -> tuple[int | None, int]:
    """Number of an image's first page, and how many it has; its planes stand one after another."""
    channels = [item for item in pixels if _tag(item) == "Channel"]
    samples = max((_whole(item.get("SamplesPerPixel", "1"), 1) for item in channels), default=1)
    sizes = [_whole(pixels.get(f"Size{axis}", "1"), 1) for axis in "ZTC"]
    planes = max(1, sizes[0] * sizes[1] * max(1, sizes[2] // samples))
    data = [item for item in pixels if _tag(item) == "TiffData"]
    here = [item for item in data if not _is_elsewhere(item, own)]
    if data and not here:
        return None, planes
    stated = [_whole(item.get("IFD", ""), -1) for item in here]
    first = min((number for number in stated if number >= 0), default=following)
    return first, planes


def _is_elsewhere(data: ElementTree.Element, own: str) -> bool:
    """Whether a TiffData names a file of another UUID."""
    named = [str(item.text or "") for item in data if _tag(item) == "UUID"]
    return bool(own and named and named[0].strip() != own.strip())


def _whole(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text.strip()) else otherwise


def _size(pixels: ElementTree.Element) -> tuple[tuple[float, float] | None, str]:
    """The um per px, or why there is none."""
    texts = [pixels.get(f"PhysicalSize{axis}") for axis in "XY"]
    if texts[0] is None or texts[1] is None:
        return None, ""
    values: list[float] = []
    for axis, text in zip("XY", texts, strict=True):
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm").strip()
        value = number_of(str(text)) * _UM.get(unit, math.nan)
        if not math.isfinite(value):
            return None, f"OME PhysicalSize{axis} is '{text} {unit}', which is no length, and is ignored"
        values.append(value)
    return (values[0], values[1]), ""
