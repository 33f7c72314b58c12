"""MIDOG 2021, MIDOG 2022 and MIDOG++: one JSON for all images. Knows this layout and no other.

A trap: `bbox` is [x1, y1, x2, y2] (two corners), not [x, y, width, height] as in COCO. One slide is one case.
"""

from pathlib import Path
from typing import Any

from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name
from mitosieve.cohort.jsonfile import read_items, read_object
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Mark, MarkedImage, Reading
from mitosieve.cohort.table import finite
from mitosieve.errors import FormatError

_REMEDY = "expected a MIDOG file: images, categories and annotations with bbox [x1, y1, x2, y2]"

_SCANNERS_2021 = ((50, "Hamamatsu XR"), (100, "Hamamatsu S360"), (150, "Aperio CS2"), (200, "Leica GT450"))
"""Last image id and scanner, in MIDOG 2021 alone, whose JSON states no domain.

Source: MIDOG 2021 data description; ids 1-150 agree with MIDOG++ datasets_xvalidation.csv.
"""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a MIDOG JSON file.

    The domain is the image's `tumor_type`; MIDOG 2021, which has none, is told apart by scanner. Votes are kept, and
    the score is the share of raters who voted mitotic figure. A slide without any mark, figure or imposter, is kept as
    **unlabelled**: in MIDOG every labelled slide has marks (those without figures have imposters), and ids 151-200
    (Leica GT450) have none because nobody labelled them.

    Args:
        source: the JSON file.
        images: not needed to read the marks.

    Raises:
        FormatError: not JSON, a key missing, a box that is not two corners, or a mark of an unknown image or category.
    """
    content = read_object(source, what="a MIDOG file", remedy=_REMEDY)
    records = [_image_record(item, source) for item in read_items(content, "images", source=source, remedy=_REMEDY)]
    files = relative_names([record["file_name"] for record in records], where=source)
    names = {
        item.get("id"): str(item.get("name"))
        for item in read_items(content, "categories", source=source, remedy=_REMEDY)
    }
    marks: dict[Any, list[Mark]] = {record["id"]: [] for record in records}
    if len(marks) < len(records):
        raise FormatError("two images share an id", where=source, remedy=_REMEDY)
    for item in read_items(content, "annotations", source=source, remedy=_REMEDY):
        where = f"{source}, annotation {item.get('id')}"
        if item.get("image_id") not in marks:
            raise FormatError(f"names the unknown image {item.get('image_id')}", where=where, remedy=_REMEDY)
        marks[item["image_id"]].append(_mark(item, names, where, source.name))
    is_2021 = "midog" in str(content.get("info")).lower() and "2021" in str(content.get("info"))
    made = tuple(
        _image(record, name, tuple(marks[record["id"]]), is_2021=is_2021)
        for record, name in zip(records, files, strict=True)
    )
    return Reading(images=made, classes=tuple(names.values()), bare_is_searched=False)


def _image_record(item: dict[str, Any], source: Path) -> dict[str, Any]:
    """One entry of `images`, checked."""
    where = f"{source}, image {item.get('id')}"
    if not isinstance(item.get("file_name"), str) or not item["file_name"]:
        raise FormatError("has no file_name", where=where, remedy=_REMEDY)
    if not isinstance(item.get("id"), int | str):
        raise FormatError(f"the image {item['file_name']} has no id", where=source, remedy=_REMEDY)
    for key in ("width", "height"):
        if finite(item.get(key), key, where=where) < 1:
            raise FormatError(f"{key} is {item[key]}", where=where, remedy="mend the size of this image")
    return item


def _mark(item: dict[str, Any], names: dict[Any, str], where: str, source: str) -> Mark:
    if item.get("category_id") not in names:
        raise FormatError(f"names the unknown category {item.get('category_id')}", where=where, remedy=_REMEDY)
    box = item.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise FormatError(f"bbox is {box}", where=where, remedy=_REMEDY)
    x1, y1, x2, y2 = (finite(value, "bbox", where=where) for value in box)
    if x2 < x1 or y2 < y1:
        raise FormatError(
            f"bbox {box} ends before it begins; it looks like [x, y, width, height]",
            where=where,
            remedy="write each bbox as two corners: [x1, y1, x2, y2]",
        )
    votes = item.get("labels") or []
    if not isinstance(votes, list) or any(vote not in names for vote in votes):
        raise FormatError(f"its votes are {votes}", where=where, remedy="each vote is the id of a category")
    return Mark(
        x=(x1 + x2) / 2,
        y=(y1 + y2) / 2,
        name=names[item["category_id"]],
        where=where,
        votes=" ".join(str(vote) for vote in votes),
        voted=tuple(names[vote] for vote in votes),
        source=source,
    )


def _image(record: dict[str, Any], file_name: str, marks: tuple[Mark, ...], *, is_2021: bool) -> MarkedImage:
    slide_id = slide_name(file_name)
    domain = record.get("tumor_type")
    if not domain:
        domain = _scanner_2021(record["id"]) if is_2021 else UNKNOWN_DOMAIN
    return MarkedImage(
        slide_id=slide_id,
        file_name=file_name,
        case_id=slide_id,
        domain=str(domain),
        marks=marks,
        size_l0=(int(record["width"]), int(record["height"])),
    )


def _scanner_2021(image_id: object) -> str:
    if not isinstance(image_id, int):
        return UNKNOWN_DOMAIN
    return next((name for last, name in _SCANNERS_2021 if 1 <= image_id <= last), UNKNOWN_DOMAIN)
