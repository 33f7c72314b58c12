"""Aperio ImageScope's XML: a file a slide, regions in layers. Knows this layout and no other.

    <Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="mitosis"><Regions><Region Id="1" Type="0" Text="">
    <Vertices><Vertex X="1" Y="1"/></Vertices></Region></Regions></Annotation></Annotations>

The class is the layer's name, without one the region's text. Positions are level-0 px, taken as they stand. Types of
regions: 0 freehand, 1 rectangle, 2 ellipse (corners round it), 3 arrow, 4 ruler. With NegativeROA="1" a region is a
hole in the areas of its layer. Source: files as ImageScope 12 writes them.
"""

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.marked import UNCLASSIFIED, Mark, Reading
from mitosieve.cohort.outlined import Place, SlideFile, mark_of, mark_of_outline, reading_of
from mitosieve.cohort.resolution import usable
from mitosieve.cohort.table import finite, number_of
from mitosieve.cohort.xmlfile import read_root, xml_files
from mitosieve.errors import FormatError

_REMEDY = "expected <Annotations> with <Annotation Name><Regions><Region Type><Vertices><Vertex X Y/>"
_LINES = ("3", "4")


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read an ImageScope file, or a folder of them; the slide of a file is called as the file is.

    A region of one vertex is a mark there, another at the centroid of its outline. Arrows and rulers are left out, and
    told. What a layer excludes (`NegativeROA`) is taken off its areas and is no mark. A slide without any mark is kept
    as **unlabelled**. The resolution is the file's `MicronsPerPixel`.

    Args:
        source: the XML file, or the folder that holds them, with its folders below.
        images: not needed to read the marks.

    Raises:
        FormatError: no XML there, XML of another kind, or a position that is not two finite numbers.
        ResolutionError: a resolution that is none.
    """
    paths = xml_files(source)
    if not paths:
        raise FormatError("holds no XML file", where=source, remedy="name the folder of ImageScope's files")
    return reading_of([_slide_file(path) for path in paths], source)


def _slide_file(path: Path) -> SlideFile:
    root = read_root(path, root="Annotations", remedy=_REMEDY)
    marks: list[Mark] = []
    lost = 0
    numbers = itertools.count(1)
    for layer in root.iter("Annotation"):
        own: list[Mark] = []
        holes: list[BaseGeometry] = []
        for region, number in zip(layer.iter("Region"), numbers, strict=False):
            if region.get("Type") in _LINES:
                lost += 1
                continue
            mark = _mark(region, _class_of(layer, region), f"{path}, region {number}", path.name)
            if region.get("NegativeROA") != "1":
                own.append(mark)
            elif mark.outline is not None:
                holes.append(mark.outline)
        marks += _without(own, holes)
    stated = root.get("MicronsPerPixel")
    number = finite(stated, "MicronsPerPixel", where=path) if stated else 0.0  # 0 is written for what is not known
    mpp = usable(number, str(path)) if number else None
    return SlideFile(path=path, image=path.stem, marks=tuple(marks), mpp=mpp, lost=lost)


def _without(marks: list[Mark], holes: list[BaseGeometry]) -> list[Mark]:
    """Marks whose areas lack the holes; points stay."""
    if not holes:
        return marks
    hole = shapely.union_all(holes)
    return [
        mark
        if mark.outline is None
        else mark_of_outline(mark.outline.difference(hole), name=mark.name, where=mark.where, source=mark.source)
        for mark in marks
    ]


def _class_of(layer: ET.Element, region: ET.Element) -> str:
    """The layer's name, the region's text, or the layer's attribute called Description."""
    for item in layer.iter("Attribute"):
        if item.get("Name") == "Description" and (item.get("Value") or "").strip():
            described = str(item.get("Value")).strip()
            break
    else:
        described = ""
    return (layer.get("Name") or "").strip() or (region.get("Text") or "").strip() or described or UNCLASSIFIED


def _mark(region: ET.Element, name: str, where: str, source: str) -> Mark:
    places = [
        (finite(one.get("X"), "X", where=where), finite(one.get("Y"), "Y", where=where))
        for one in region.iter("Vertex")
    ]
    if len(places) == 2 or (region.get("Type") == "2" and len(places) > 1):
        places = _box(places)
    is_point = len(places) == 1 or (len(set(places)) == 1 and number_of(region.get("Type") or "0") == 0)
    return mark_of(places[:1] if is_point else places, area=not is_point, name=name, where=where, source=source)


def _box(places: list[Place]) -> list[Place]:
    """The corners of the box round some places; its middle is an ellipse's."""
    xs, ys = [x for x, _ in places], [y for _, y in places]
    return [(min(xs), min(ys)), (max(xs), min(ys)), (max(xs), max(ys)), (min(xs), max(ys))]
