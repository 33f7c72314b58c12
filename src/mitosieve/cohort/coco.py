"""COCO: one JSON for all images, with boxes. Knows this layout and no other.

A trap: MIDOG's files call themselves COCO, but their `bbox` is [x1, y1, x2, y2]; such a file is told by its boxes and
refused, never read to wrong places.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from mitosieve.cohort.case_id import case_of
from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name
from mitosieve.cohort.jsonfile import read_items, read_object
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.table import finite
from mitosieve.errors import FormatError

_REMEDY = (
    "expected COCO: images (id, file_name, width, height), categories, annotations with bbox [x, y, width, height]"
)

OVERHANG_PX = 25.0
"""How far a box may reach beyond its image before it is asked whether it is two corners: half of MIDOG's box."""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a COCO file.

    The centre is x + width / 2, y + height / 2 as the numbers stand; masks are not looked at. Crowds
    (`iscrowd`) are left out and told. Every listed image counts as searched, also without a box, and that is told too.
    An image may carry `case_id`, `domain` (or `tumor_type`) and `mpp`; without `case_id`, its name up to the first `_`
    is the case.

    Args:
        source: the JSON file.
        images: not needed to read the marks.

    Raises:
        FormatError: not JSON, a key missing, a box that is none or that is
            two corners, or a mark of an unknown image or category.
    """
    content = read_object(source, what="a COCO file", remedy=_REMEDY)
    listed = [_checked_image(item, source) for item in read_items(content, "images", source=source, remedy=_REMEDY)]
    records = {item["id"]: item for item in listed}
    if len(records) < len(listed):
        raise FormatError("two images share an id", where=source, remedy=_REMEDY)
    names = _names(read_items(content, "categories", source=source, remedy=_REMEDY), source)
    items = read_items(content, "annotations", source=source, remedy=_REMEDY)
    boxes = [_box(item, records, set(names), source) for item in items]
    _refuse_corners(items, boxes, records, source)
    marks: dict[Any, list[Mark]] = {key: [] for key in records}
    crowds: Counter[Any] = Counter()
    for item, (x, y, width, height) in zip(items, boxes, strict=True):
        if item.get("iscrowd"):
            crowds[item["image_id"]] += 1
            continue
        where = f"{source}, annotation {item.get('id')}"
        name = names[item["category_id"]]
        marks[item["image_id"]].append(
            Mark(x=x + width / 2, y=y + height / 2, name=name, where=where, source=source.name)
        )
    files = relative_names([record["file_name"] for record in listed], where=source)
    made = tuple(
        _image(record, name, tuple(marks[record["id"]]), lost=crowds[record["id"]])
        for record, name in zip(listed, files, strict=True)
    )
    cautions = _cautions(records, crowds.total())
    return Reading(images=made, cautions=cautions, classes=tuple(names.values()), tells_bare=True)


def _is_key(value: object) -> bool:
    return isinstance(value, int | str)


def _checked_image(item: dict[str, Any], source: Path) -> dict[str, Any]:
    where = f"{source}, image {item.get('id')}"
    if not _is_key(item.get("id")):
        raise FormatError("an image has no id", where=source, remedy=_REMEDY)
    if not isinstance(item.get("file_name"), str) or not item["file_name"]:
        raise FormatError("has no file_name", where=where, remedy=_REMEDY)
    for key in ("width", "height"):
        if finite(item.get(key), key, where=where) < 1:
            raise FormatError(f"{key} is {item[key]}", where=where, remedy="mend the size of this image")
    return item


def _names(items: list[dict[str, Any]], source: Path) -> dict[Any, str]:
    """Name by category id."""
    names: dict[Any, str] = {}
    for item in items:
        if not _is_key(item.get("id")):
            raise FormatError(f"the category '{item.get('name')}' has no id", where=source, remedy=_REMEDY)
        names[item["id"]] = str(item.get("name"))
    return names


def _box(item: dict[str, Any], records: dict[Any, Any], categories: set[Any], source: Path) -> list[float]:
    """The four numbers of an annotation, checked as far as they are known to be COCO's."""
    where = f"{source}, annotation {item.get('id')}"
    if not _is_key(item.get("image_id")) or item["image_id"] not in records:
        raise FormatError(f"names the unknown image {item.get('image_id')}", where=where, remedy=_REMEDY)
    if not _is_key(item.get("category_id")) or item["category_id"] not in categories:
        raise FormatError(f"names the unknown category {item.get('category_id')}", where=where, remedy=_REMEDY)
    box = item.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise FormatError(f"bbox is {box}", where=where, remedy=_REMEDY)
    numbers = [finite(value, "bbox", where=where) for value in box]
    if numbers[2] < 0 or numbers[3] < 0:
        raise FormatError(f"bbox {box} has a negative width or height", where=where, remedy=_REMEDY)
    return numbers


def _refuse_corners(
    items: list[dict[str, Any]], boxes: list[list[float]], records: dict[Any, dict[str, Any]], source: Path
) -> None:
    """Refuse a file whose boxes are two corners.

    It is one where most boxes could be two corners, and one of these reaches out of its image if it is not. Boxes of
    cells that are [x, y, width, height] end before they begin when read as corners, wherever a cell is farther from
    the upper left than it is wide.
    """
    both = [(item, box) for item, box in zip(items, boxes, strict=True) if box[2] >= box[0] and box[3] >= box[1]]
    if len(both) <= len(boxes) / 2:
        return
    for item, (x, y, width, height) in both:
        record = records[item["image_id"]]
        if x + width > record["width"] + OVERHANG_PX or y + height > record["height"] + OVERHANG_PX:
            raise FormatError(
                f"bbox {item['bbox']} leaves its image of {record['width']} x {record['height']} px: the boxes of this "
                "file are two corners [x1, y1, x2, y2], as MIDOG writes them, not COCO's [x, y, width, height]",
                where=f"{source}, annotation {item.get('id')}",
                remedy=f"mitosieve import midog {source} COHORT",
            )


def _image(record: dict[str, Any], file_name: str, marks: tuple[Mark, ...], *, lost: int) -> MarkedImage:
    mpp = record.get("mpp")
    return MarkedImage(
        slide_id=slide_name(file_name),
        file_name=file_name,
        case_id=str(record.get("case_id") or case_of(file_name)),
        domain=str(record.get("domain") or record.get("tumor_type") or UNKNOWN_DOMAIN),
        marks=marks,
        lost=lost,
        size_l0=(int(record["width"]), int(record["height"])),
        mpp=None if mpp is None else finite(mpp, "mpp", where=f"image {file_name}"),
    )


def _cautions(records: dict[Any, dict[str, Any]], crowds: int) -> tuple[Caution, ...]:
    """What was left out and what was taken for granted."""
    cautions: list[Caution] = []
    if crowds:
        cautions.append(Caution(text=f"{crowds} crowds (iscrowd) are no single cells and were left out"))
    if not all(record.get("case_id") for record in records.values()):
        text = "COCO names no cases: an image's name up to its first '_' was taken; check case_id in slides.csv"
        cautions.append(Caution(text=text))
    return tuple(cautions)
