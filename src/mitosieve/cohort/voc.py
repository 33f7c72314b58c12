"""Pascal VOC: one XML file an image. Knows this layout and no other."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name, told_apart, without_ending
from mitosieve.cohort.marked import UNCLASSIFIED, UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading, outline_of_box
from mitosieve.cohort.table import finite, pixels
from mitosieve.cohort.xmlfile import read_root, xml_files
from mitosieve.errors import FormatError, plural, some

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
    paths = xml_files(source)
    if not paths:
        raise FormatError("holds no XML file", where=source, remedy="name the folder of Pascal VOC files")
    roots = [read_root(path, root="annotation", remedy=_REMEDY) for path in paths]
    folder = source if source.is_dir() else source.parent
    names = [_file_name(root, path) for root, path in zip(roots, paths, strict=True)]
    folders = [path.parent.relative_to(folder).as_posix() for path in paths]
    files = told_apart(names, folders, where=source)
    made = tuple(_image(root, path, name) for root, path, name in zip(roots, paths, files, strict=True))
    difficult = sum(len(image.lost) for image in made)
    cautions = [*_renamed(paths, names)]
    if difficult:
        cautions.append(Caution(text=f"{difficult} objects are called difficult and were left out"))
    return Reading(images=made, cautions=tuple(cautions))


def _file_name(root: ET.Element, path: Path) -> str:
    named = (root.findtext("filename") or "").strip() or f"{without_ending(path.stem)}.png"
    return relative_names([named], where=path)[0].rsplit("/", 1)[-1]


def _renamed(paths: list[Path], names: list[str]) -> Iterator[Caution]:
    """Files that were copied or renamed, and still name the image that they were made for."""
    others = [
        f"{path.name} names {name}"
        for path, name in zip(paths, names, strict=True)
        if without_ending(path.stem) != without_ending(name)
    ]
    if others:
        yield Caution(
            text=f"{plural(len(others), 'XML file')} called after another image than the <filename> inside, which is "
            f"taken: {some(others)}"
        )


def _image(root: ET.Element, path: Path, file_name: str) -> MarkedImage:
    objects = list(enumerate(root.iter("object"), start=1))
    easy = [(number, item) for number, item in objects if not _is_difficult(item)]
    return MarkedImage(
        slide_id=slide_name(file_name),
        file_name=file_name,
        case_id="",
        domain=UNKNOWN_DOMAIN,
        marks=tuple(_mark(item, f"{path}, object {number}", path.name) for number, item in easy),
        lost=tuple(_name(item) for _, item in objects if _is_difficult(item)),
        size_l0=_size(root, path),
    )


def _is_difficult(item: ET.Element) -> bool:
    return (item.findtext("difficult") or "").strip().lower() in ("1", "true")


def _name(item: ET.Element) -> str:
    return (item.findtext("name") or "").strip() or UNCLASSIFIED


def _mark(item: ET.Element, where: str, source: str) -> Mark:
    x1, y1, x2, y2 = (
        finite(item.findtext(f"bndbox/{name}"), name, where=where) for name in ("xmin", "ymin", "xmax", "ymax")
    )
    if x2 < x1 or y2 < y1:
        raise FormatError("its box ends before it begins", where=where, remedy=_REMEDY)
    is_void = x1 == x2 or y1 == y2
    box = outline_of_box(x1, y1, x2, y2)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return Mark(x=x, y=y, name=_name(item), where=where, source=source, outline=box, is_void=is_void)


def _size(root: ET.Element, path: Path) -> tuple[int, int] | None:
    """Width and height where stated; writers of VOC put 0 where they do not know."""
    if root.find("size") is None:
        return None
    stated = [(name, root.findtext(f"size/{name}")) for name in ("width", "height")]
    if not all(finite(value, name, where=path) for name, value in stated):
        return None
    width, height = (pixels(value, name, where=path) for name, value in stated)
    return width, height
