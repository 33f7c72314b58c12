"""Marks of programs that write one file a slide, in shapes: what image a file is of, and where a shape lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.image_name import relative_names, slide_name, told_apart
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading
from mitosieve.errors import plural, some

Place = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class SlideFile:
    """One file of annotations and what it holds.

    Attributes:
        path: the file.
        image: name of the image as far as the file's own name tells it.
        marks: in file order.
        mpp: um per px as the file says; None where it does not.
        lost: lines and arrows, which say no place of a cell.
    """

    path: Path
    image: str
    marks: tuple[Mark, ...]
    mpp: float | None = None
    lost: int = 0


def mark_of(places: Sequence[Place], *, area: bool, name: str, where: str, source: str) -> Mark:
    """A mark at one point, or at the centroid of an area.

    Args:
        places: the point, or the corners of the area; none, or an area of none, is no mark (`Mark.is_void`).
        area: whether they are corners.
        name: its class.
        where: it, for messages.
        source: the file it is in.
    """
    if not area and len(places) == 1:
        x, y = places[0]
        return Mark(x=x, y=y, name=name, where=where, source=source)
    return mark_of_outline(area_of(places), name=name, where=where, source=source)


def area_of(places: Sequence[Place]) -> BaseGeometry | None:
    """What corners enclose, where lines that a hand drew cross too; None of fewer than three."""
    return shapely.make_valid(shapely.Polygon(list(places))) if len(places) > 2 else None


def mark_of_outline(outline: BaseGeometry | None, *, name: str, where: str, source: str) -> Mark:
    """A mark at the centroid of a shape; without an area it is none (`Mark.is_void`)."""
    if outline is None or not outline.area > 0:
        return Mark(x=0.0, y=0.0, name=name, where=where, source=source, is_void=True)
    middle = outline.centroid
    return Mark(x=middle.x, y=middle.y, name=name, where=where, source=source, outline=outline)


def reading_of(files: Sequence[SlideFile], source: Path, *, classes: tuple[str, ...] | None = None) -> Reading:
    """All files as a reading. A slide without mark is unlabelled: such files do not say whether it was searched.

    Args:
        files: by path.
        source: what was read; files of one name in its folders are told apart by them.
        classes: that the files declare; None where they declare none.
    """
    folder = source if source.is_dir() else source.parent
    names = relative_names([one.image for one in files], where=source)
    folders = [one.path.parent.relative_to(folder).as_posix() for one in files]
    images = tuple(
        MarkedImage(
            slide_id=slide_name(name),
            file_name=name,
            case_id="",
            domain=UNKNOWN_DOMAIN,
            marks=one.marks,
            mpp=one.mpp,
        )
        for one, name in zip(files, told_apart(names, folders, where=source), strict=True)
    )
    lost = sum(one.lost for one in files)
    text = f"{plural(lost, 'line or arrow', 'lines or arrows')} left out, which say no place of a cell"
    text += f": {some(one.path.name for one in files if one.lost)}"
    cautions = (Caution(text=text),) if lost else ()
    return Reading(images=images, cautions=cautions, classes=classes, bare_is_searched=False)
