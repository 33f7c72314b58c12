"""Pascal VOC: one XML file an image. Knows this layout and no other."""

import xml.etree.ElementTree as ET
from pathlib import Path, PurePosixPath

from mitosieve.cohort.case_id import case_of
from mitosieve.cohort.image_name import ImageFolder, slide_name
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.table import finite
from mitosieve.cohort.vocabulary import UNCLASSIFIED
from mitosieve.errors import FormatError

_REMEDY = (
    "expected <annotation> with <filename> and <object><name/><bndbox><xmin/><ymin/><xmax/><ymax/></bndbox></object>"
)


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a folder of Pascal VOC files, or one file; a file without objects is a labelled slide without figures.

    The centre is the middle of the box as its numbers stand. VOC knows no cases: the part of the image's name before
    its first `_` is taken (all of the name where it has none). The image may have another ending than <filename> says.

    Args:
        source: the XML file, or the folder that holds them.
        images: not needed to read the marks.

    Raises:
        FormatError: no XML there, XML that cannot be parsed, an unknown object name, or a box that is none.
    """
    paths = [source] if source.is_file() else sorted(p for p in source.glob("*.xml") if not p.name.startswith("."))
    if not paths:
        raise FormatError("holds no XML file", where=source, remedy="name the folder of Pascal VOC files")
    caution = "VOC names no cases: an image's name up to its first '_' was taken; check case_id in slides.csv"
    return Reading(images=tuple(_image(path) for path in paths), cautions=(Caution(text=caution),))


def _image(path: Path) -> MarkedImage:
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, UnicodeDecodeError, OSError) as error:
        raise FormatError(f"is not XML ({error})", where=path, remedy=_REMEDY) from error
    if root.tag != "annotation":
        raise FormatError(f"is <{root.tag}>, not <annotation>", where=path, remedy=_REMEDY)
    file_name = PurePosixPath((root.findtext("filename") or f"{path.stem}.png").strip().replace("\\", "/")).name
    objects = enumerate(root.iter("object"), start=1)
    return MarkedImage(
        slide_id=slide_name(file_name),
        file_name=file_name,
        case_id=case_of(file_name),
        domain=UNKNOWN_DOMAIN,
        marks=tuple(_mark(item, f"{path}, object {number}", path.name) for number, item in objects),
        size_l0=_size(root, path),
    )


def _mark(item: ET.Element, where: str, source: str) -> Mark:
    x1, y1, x2, y2 = (
        finite(item.findtext(f"bndbox/{name}"), name, where=where) for name in ("xmin", "ymin", "xmax", "ymax")
    )
    if x2 < x1 or y2 < y1:
        raise FormatError("its box ends before it begins", where=where, remedy=_REMEDY)
    name = (item.findtext("name") or "").strip() or UNCLASSIFIED
    return Mark(x=(x1 + x2) / 2, y=(y1 + y2) / 2, name=name, where=where, source=source)


def _size(root: ET.Element, path: Path) -> tuple[int, int] | None:
    """Width and height where stated; writers of VOC put 0 where they do not know."""
    if root.find("size") is None:
        return None
    width, height = (finite(root.findtext(f"size/{name}"), name, where=path) for name in ("width", "height"))
    return (int(width), int(height)) if width >= 1 and height >= 1 else None
