"""Of what format a file or folder seems to be, for messages: a reader that was given another's file says whose it is.

Looks at contents, never at names of classes; knows formats that no reader takes, and the way round for them.
"""

import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mitosieve.errors import FormatError
from mitosieve.slide.endings import READ_SUFFIXES
from mitosieve.slide.hidden import is_hidden, visible

_HEAD_BYTES = 2**16
_MOST_BYTES = 2**28
_FILES_LOOKED_AT = 20


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What a file seems to be.

    Attributes:
        what: in words.
        formats: readers that take it; empty where none does.
        way_round: what to do then.
    """

    what: str
    formats: tuple[str, ...] = ()
    way_round: str = ""


_COCO = Recognised(what="a JSON of COCO's or MIDOG's layout", formats=("coco", "midog"))
_QUPATH = Recognised(what="GeoJSON, as QuPath exports it", formats=("qupath",))
_POINTS = Recognised(what="a table of points", formats=("points",))
_IMAGES = Recognised(what="a table of images without marks", formats=("images",))
_YOLO = Recognised(what="a text file of YOLO", formats=("yolo",))
_ROOTS = {
    "annotation": Recognised(what="Pascal VOC", formats=("voc",)),
    "ASAP_Annotations": Recognised(what="a file of ASAP", formats=("asap",)),
    "Annotations": Recognised(what="a file of Aperio ImageScope", formats=("image_scope",)),
}
_CVAT = Recognised(what="a file of CVAT", way_round="export it from CVAT as COCO 1.0, and import that as coco")
_NDPA = Recognised(
    what="a file of NDP.view (.ndpa)",
    way_round="open it on its slide in QuPath, export GeoJSON, and import that as qupath",
)
_JSONS = (
    (r'"Multiple points"', Recognised(
        what="points of grand-challenge in mm", way_round="write them as a points CSV in px: 1000 * mm / mpp",
    )),
    (r'"shapes"\s*:.*"imagePath"|"imagePath"\s*:.*"shapes"', Recognised(
        what="a file of LabelMe", way_round="export it as COCO (labelme2coco) or VOC (labelme2voc), and import that",
    )),
    (r'"_via_img_metadata"|"region_attributes"', Recognised(
        what="a project of VIA", way_round="export its annotations as COCO, and import that as coco",
    )),
    (r'"(?:annotations|completions)"\s*:.*"result"\s*:', Recognised(
        what="an export of Label Studio", way_round="export it as COCO or as Pascal VOC XML, and import that",
    )),
    (r'"FeatureCollection"|"type"\s*:\s*"Feature"', _QUPATH),
    (r'"images"\s*:.*"annotations"\s*:|"annotations"\s*:.*"images"\s*:', _COCO),
)  # fmt: skip


def recognised(source: Path) -> Recognised | None:
    """What a file or folder seems to be; None where that cannot be told."""
    try:
        return _of_folder(source) if source.is_dir() else _of_file(source)
    except OSError:
        return None


def better(error: FormatError, name: str, source: Path) -> FormatError:
    """A reader's error, or one that says whose the file is, where it is another's.

    Args:
        error: as the reader of the format `name` raised it.
        name: of the format.
        source: what was read.
    """
    found = recognised(source)
    tables = (_POINTS, _IMAGES)
    if found is None or name in found.formats or (found in tables and name in ("points", "images")):
        return error
    commands = " or ".join(f"mitosieve import {other} {shlex.quote(str(source))} COHORT" for other in found.formats)
    return FormatError(f"is {found.what}, not of the format {name}", where=source, remedy=commands or found.way_round)


def _of_folder(folder: Path) -> Recognised | None:
    if (folder / "mitoses_ground_truth").is_dir() or folder.name == "mitoses_ground_truth":
        return Recognised(what="TUPAC's layout", formats=("tupac",))
    if visible(folder, "**/*_mitosis.csv"):
        return Recognised(what="MITOS-ATYPIA-14's layout", formats=("atypia14",))
    if visible(folder, "**/[AH][0-9][0-9]_[0-9][0-9].csv"):
        return Recognised(what="ICPR 2012's layout", formats=("icpr12",))
    files = list(_some_files(folder))
    kinds = [(kind.formats, kind) for path in files if (kind := _of_file(path)) is not None]
    if kinds:
        return kinds[0][1]
    images = any(path.suffix.lower() in READ_SUFFIXES for path in visible(folder))
    return Recognised(what="a folder of images", formats=("images",)) if images and not files else None


def _some_files(folder: Path) -> Iterator[Path]:
    """A few files that may be labels."""
    endings = (".xml", ".geojson", ".json", ".gz", ".txt", ".sqlite", ".db", ".csv")
    number = 0
    for path in folder.rglob("*"):
        if path.suffix.lower() in endings and not is_hidden(path, folder) and path.is_file():
            yield path
            number += 1
        if number >= _FILES_LOOKED_AT:
            return


def _of_file(path: Path) -> Recognised | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"SQLite format 3\0"):
        return Recognised(what="a SQLite database, as of SlideRunner", formats=("slide_runner",))
    if head.startswith(b"\x1f\x8b") and path.name.lower().endswith((".geojson.gz", ".json.gz")):
        return _QUPATH
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("<"):
        return _of_xml(path)
    if text[:1] in ("{", "["):
        whole = path.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace")
        return next((what for pattern, what in _JSONS if re.search(pattern, whole, re.DOTALL)), None)
    return _of_lines(text.splitlines()[:20])


def _of_xml(path: Path) -> Recognised | None:
    """By the root, and by what stands first below it where that is shared."""
    tags: list[str] = []
    try:
        with path.open("rb") as file:
            for _, element in ET.iterparse(file, events=("start",)):
                tags.append(element.tag.rsplit("}", 1)[-1])
                if len(tags) == 2:
                    break
    except (ET.ParseError, ValueError, LookupError):
        pass
    if tags[:1] == ["annotations"]:
        return _NDPA if tags[1:] == ["ndpviewstate"] else _CVAT
    return _ROOTS.get(tags[0]) if tags else None


def _of_lines(lines: list[str]) -> Recognised | None:
    if not lines:
        return None
    header = [name.strip() for name in lines[0].split(",")]
    if {"x", "y", "label"} <= set(header):
        return _POINTS
    if "image" in header:
        return _IMAGES
    shares = r"\d{1,4}(?:\s+-?(?:0?\.\d+|0|1(?:\.0*)?)){4,}"
    return _YOLO if all(re.fullmatch(shares, line.strip()) for line in lines if line.strip()) else None
