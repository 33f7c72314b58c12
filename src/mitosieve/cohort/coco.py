"""COCO: one JSON for all images, with boxes. Knows this layout and no other.

A trap: MIDOG's files call themselves COCO, but their `bbox` is [x1, y1, x2, y2]; such a file is told by its boxes and
refused, never read to wrong places.
"""

from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.coco_layout import Annotation, ImageRecord, Key, read_content
from mitosieve.cohort.image_name import ImageFolder, slide_name
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading, outline_of_box
from mitosieve.cohort.table import finite, quoted
from mitosieve.errors import FormatError

_REMEDY = (
    "expected COCO: images (id, file_name, width, height), categories, annotations with bbox [x, y, width, height]"
)

OVERHANG_PX = 25.0
"""How far a box may reach beyond its image before it is asked whether it is two corners: half of MIDOG's box."""


_MIDOG_BOX = (50.0, 50.0)
"""px of every box of MIDOG 2021, 2022 and MIDOG++."""

_CORNERS = "are two corners [x1, y1, x2, y2], as MIDOG writes them, not COCO's [x, y, width, height]"


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """Where an annotation is.

    Attributes:
        x, y: its centre.
        box: as it stands, where it has one with an area; None where it has another shape.
        outline: polygon, where it has one.
        is_void: whether it has neither box nor shape.
    """

    x: float
    y: float
    box: tuple[float, float, float, float] | None = None
    outline: BaseGeometry | None = None
    is_void: bool = False


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a COCO file.

    The centre is x + width / 2, y + height / 2 as the numbers stand; without a box that has an area, the centroid of
    the polygon, else the mean of the visible keypoints. Crowds (`iscrowd`) are left out and told. Every listed image
    counts as searched, also without a box, and that is told too. An image may carry `case_id`, `domain` (or
    `tumor_type`) and `mpp`; without `case_id`, the case is what its name says (`case_of`).

    Args:
        source: the JSON file.
        images: not needed to read the marks.

    Raises:
        FormatError: not JSON, a key missing, a box that is none or that is two corners, or a mark of an unknown image
            or category.
    """
    content = read_content(source, what="a COCO file", remedy=_REMEDY)
    shapes = [_shape(item) for item in content.annotations]
    _refuse_corners(content.annotations, shapes, source)
    marks: dict[Key, list[Mark]] = {record.id: [] for record in content.images}
    crowds: dict[Key, list[str]] = {record.id: [] for record in content.images}
    for item, shape in zip(content.annotations, shapes, strict=True):
        if item.more.get("iscrowd"):
            crowds[item.image.id].append(item.category)
            continue
        marks[item.image.id].append(
            Mark(
                x=shape.x,
                y=shape.y,
                name=item.category,
                where=item.where,
                source=source.name,
                outline=shape.outline or (None if shape.box is None else _boxed(shape.box)),
                is_void=shape.is_void,
            )
        )
    made = tuple(_image(record, tuple(marks[record.id]), lost=tuple(crowds[record.id])) for record in content.images)
    number = sum(map(len, crowds.values()))
    text = f"{number} crowds (iscrowd) are no single cells and were left out"
    cautions = (Caution(text=text),) if number else ()
    return Reading(images=made, cautions=cautions, classes=tuple(content.categories.values()), tells_bare=True)


def _shape(item: Annotation) -> _Shape:
    """Box, else polygon, else keypoints; void without any of them."""
    box = None if item.more.get("bbox") in (None, []) else item.box(_REMEDY)
    if box is not None and (box[2] < 0 or box[3] < 0):
        raise FormatError(
            f"bbox {quoted(item.more['bbox'])} has a negative width or height", where=item.where, remedy=_REMEDY
        )
    outline = _outline(item)
    if box is not None and box[2] > 0 and box[3] > 0:
        x, y, width, height = box
        return _Shape(x=x + width / 2, y=y + height / 2, box=box, outline=outline)
    if outline is not None:
        return _Shape(x=outline.centroid.x, y=outline.centroid.y, outline=outline)
    points = _keypoints(item)
    if points:
        x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
        return _Shape(x=x, y=y)
    if item.more.get("segmentation") and isinstance(item.more["segmentation"], dict):
        raise FormatError(
            "has a mask (RLE) and no box", where=item.where, remedy="write its bbox, or its shape as a polygon"
        )
    return _Shape(x=0.0, y=0.0, is_void=True)


def _outline(item: Annotation) -> BaseGeometry | None:
    """The polygons of its segmentation as one shape; None where none of them has an area."""
    listed = item.more.get("segmentation")
    if not isinstance(listed, list):
        return None
    polygons = [listed] if listed and not isinstance(listed[0], list) else listed
    shapes: list[BaseGeometry] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) % 2:
            raise FormatError(
                f"segmentation holds {quoted(polygon)}", where=item.where, remedy="a polygon is [x1, y1, x2, y2, ...]"
            )
        numbers = [finite(value, "segmentation", where=item.where) for value in polygon]
        if len(numbers) >= 6:
            shapes.append(shapely.make_valid(shapely.Polygon(list(zip(numbers[::2], numbers[1::2], strict=True)))))
    whole = shapely.union_all(shapes)
    return whole if whole.area > 0 else None


def _keypoints(item: Annotation) -> list[tuple[float, float]]:
    """x, y of the keypoints that are labelled (visibility above 0)."""
    listed = item.more.get("keypoints") or []
    if not isinstance(listed, list) or len(listed) % 3:
        raise FormatError(
            f"keypoints is {quoted(listed)}", where=item.where, remedy="keypoints are [x, y, visibility, ...]"
        )
    numbers = [finite(value, "keypoints", where=item.where) for value in listed]
    return [(x, y) for x, y, seen in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True) if seen > 0]


def _boxed(box: tuple[float, float, float, float]) -> BaseGeometry | None:
    x, y, width, height = box
    return outline_of_box(x, y, x + width, y + height)


def _refuse_corners(items: tuple[Annotation, ...], shapes: list[_Shape], source: Path) -> None:
    """Refuse a file whose boxes are two corners.

    It is one where most boxes could be two corners, and one of these reaches out of its image if it is not; or where
    all could be, and would then be of one size, as an annotator's click makes them, but of several if they are not.
    Boxes of cells that are [x, y, width, height] end before they begin when read as corners, wherever a cell is farther
    from the upper left than it is wide.
    """
    boxes = [(item, shape.box) for item, shape in zip(items, shapes, strict=True) if shape.box is not None]
    both = [(item, box) for item, box in boxes if box[2] >= box[0] and box[3] >= box[1]]
    if len(both) <= len(boxes) / 2:
        return
    for item, (x, y, width, height) in both:
        wide, high = item.image.size_l0
        if x + width > wide + OVERHANG_PX or y + height > high + OVERHANG_PX:
            raise FormatError(
                f"bbox {quoted(item.more['bbox'])} leaves its image of {wide} x {high} px: the boxes of this "
                f"file {_CORNERS}",
                where=item.where,
                remedy=f"mitosieve import midog {source} COHORT; or mend the image's size, if that is stale",
            )
    if len(both) == len(boxes) and _of_one_size_as_corners([box for _, box in both]):
        item, (x1, y1, x2, y2) = both[0]
        raise FormatError(
            f"bbox {quoted(item.more['bbox'])} is of {x2 - x1:g} x {y2 - y1:g} px if it is two corners, like all boxes "
            f"of this file: they {_CORNERS}",
            where=item.where,
            remedy=f"mitosieve import midog {source} COHORT; or, if they are COCO's all the same, write their centres "
            "as a points CSV (image,x,y,label)",
        )


def _of_one_size_as_corners(boxes: list[tuple[float, float, float, float]]) -> bool:
    """Whether boxes are of one size read as corners, of several read as sizes; of one box, whether it is MIDOG's."""
    corners = {(round(x2 - x1, 3), round(y2 - y1, 3)) for x1, y1, x2, y2 in boxes}
    sizes = {(width, height) for _, _, width, height in boxes}
    if len(boxes) == 1:
        return corners == {_MIDOG_BOX} and not any(width == height for width, height in sizes)
    return len(corners) == 1 < len(sizes)


def _image(record: ImageRecord, marks: tuple[Mark, ...], *, lost: tuple[str, ...]) -> MarkedImage:
    return MarkedImage(
        slide_id=slide_name(record.file_name),
        file_name=record.file_name,
        case_id=record.text("case_id"),
        domain=record.text("domain", "tumor_type") or UNKNOWN_DOMAIN,
        marks=marks,
        lost=lost,
        size_l0=record.size_l0,
        mpp=record.mpp,
    )
