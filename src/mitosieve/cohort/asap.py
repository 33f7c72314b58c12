"""ASAP's XML: a file a slide, annotations in groups. Knows this layout and no other.

    <ASAP_Annotations><Annotations><Annotation Name="" Type="Dot" PartOfGroup="Mitosis"><Coordinates>
    <Coordinate Order="0" X="125" Y="130"/></Coordinates></Annotation></Annotations>
    <AnnotationGroups><Group Name="Mitosis" PartOfGroup="None"/></AnnotationGroups></ASAP_Annotations>

The group is the class. Positions are level-0 px, taken as they stand. Source: files as ASAP 2 writes them.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.marked import UNCLASSIFIED, Mark, Reading
from mitosieve.cohort.outlined import Place, SlideFile, mark_of, reading_of
from mitosieve.cohort.table import finite, number_of
from mitosieve.cohort.xmlfile import read_root, xml_files
from mitosieve.errors import FormatError

_REMEDY = "expected <ASAP_Annotations> with <Annotation Type PartOfGroup><Coordinates><Coordinate Order X Y/>"
_POINTS = ("dot", "pointset")


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read an ASAP file, or a folder of them; the slide of a file is called as the file is.

    A dot is a mark, and so is each point of a set; a polygon, rectangle or spline is one at its centroid. A slide
    without any mark is kept as **unlabelled**.

    Args:
        source: the XML file, or the folder that holds them, with its folders below.
        images: not needed to read the marks.

    Raises:
        FormatError: no XML there, XML of another kind, or a position that is not two finite numbers.
    """
    paths = xml_files(source)
    if not paths:
        raise FormatError("holds no XML file", where=source, remedy="name the folder of ASAP's files")
    roots = [(path, read_root(path, root="ASAP_Annotations", remedy=_REMEDY)) for path in paths]
    groups = [group.get("Name", "") for _, root in roots for group in root.iter("Group")]
    files = [SlideFile(path=path, image=path.stem, marks=tuple(_marks(root, path))) for path, root in roots]
    return reading_of(files, source, classes=tuple(dict.fromkeys(filter(None, groups))) or None)


def _marks(root: ET.Element, path: Path) -> list[Mark]:
    made: list[Mark] = []
    for number, item in enumerate(root.iter("Annotation"), start=1):
        where = f"{path}, annotation {number}"
        group = (item.get("PartOfGroup") or "").strip()
        name = UNCLASSIFIED if group in ("", "None") else group
        places = _places(item, where)
        if (item.get("Type") or "").lower() in _POINTS or len(places) == 1:
            made += [mark_of([one], area=False, name=name, where=where, source=path.name) for one in places]
        else:
            made.append(mark_of(places, area=True, name=name, where=where, source=path.name))
    return made


def _places(item: ET.Element, where: str) -> list[Place]:
    """Positions by their order."""
    found = [
        (
            number_of(one.get("Order", "")),
            (finite(one.get("X"), "X", where=where), finite(one.get("Y"), "Y", where=where)),
        )
        for one in item.iter("Coordinate")
    ]
    if all(order == order for order, _ in found):  # none is NaN
        found.sort(key=lambda one: one[0])
    return [place for _, place in found]
