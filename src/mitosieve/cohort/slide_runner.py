"""SlideRunner's SQLite database: slides, annotations of several people, and their agreed class. Knows this layout only.

Tables: Slides (uid, filename, width, height), Classes (uid, name), Annotations (uid, slide, agreedClass; newer
versions also deleted), Annotations_coordinates (annoId, coordinateX, coordinateY), Annotations_label (annoId, person,
class: one vote, 0 where a person gave none). Source: the README of SlideRunner and the databases of the MIDOG group.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name, told_apart
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.table import finite, pixels, quoted
from mitosieve.errors import FormatError, plural, some

_NEEDED = {
    "Slides": ("uid", "filename"),
    "Classes": ("uid", "name"),
    "Annotations": ("uid", "slide", "agreedClass"),
    "Annotations_coordinates": ("annoId", "coordinateX", "coordinateY"),
    "Annotations_label": ("annoId", "class"),
}
_REMEDY = "expected a database of SlideRunner with the tables " + ", ".join(_NEEDED)
_AREA, _CIRCLE = 2, 5
"""Types of annotations whose two coordinates are corners, of a box and round an ellipse.

Source: SlideRunner's annotation types."""

_UNDECIDED = "have no agreed class"
"""Why an annotation is left out; it may be what any of its voters called it, and anything where nobody called it."""


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """The five tables as rows by column name."""

    slides: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    coordinates: list[dict[str, Any]]
    votes: list[dict[str, Any]]


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a SlideRunner database, without writing to it.

    A mark's class is the agreed one; the classes of all votes are kept, and their share for figure becomes the score.
    A spot lies at its coordinate, an area, circle or polygon at the middle of its coordinates' bounding box, and has an
    outline. Left out, and told: deleted annotations and those without an agreed class, whose slides are unlabelled
    where a vote may mean a figure, or nobody voted. A slide without any mark is kept as **unlabelled**: the database
    does not say whether it was searched. The case is the file's name up to its first `_`; the database names none.

    Args:
        source: the file.
        images: not needed to read the marks.

    Raises:
        FormatError: no SQLite database, a table or column missing, an annotation of an unknown slide or class, or one
            without a usable coordinate.
    """
    tables = _load(source)
    names = {row["uid"]: str(row["name"]) for row in tables.classes}
    marks: dict[Any, list[Mark]] = {row["uid"]: [] for row in tables.slides}
    undecided: dict[Any, list[str]] = {row["uid"]: [] for row in tables.slides}
    places = _by_annotation(tables.coordinates)
    votes = _by_annotation(tables.votes)
    left_out: dict[str, int] = {}
    for row in tables.annotations:
        where = f"{source}, annotation {quoted(row['uid'])}"
        if row["slide"] not in marks:
            raise FormatError(f"names the unknown slide {quoted(row['slide'])}", where=where, remedy=_REMEDY)
        own = [vote["class"] for vote in votes.get(row["uid"], [])]
        voted = tuple(names[vote] for vote in own if vote in names)
        reason = _reason_to_leave_out(row, names, where)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            undecided[row["slide"]] += (voted or names.values()) if reason == _UNDECIDED else ()
            continue
        corners = _corners(places.get(row["uid"], []), where)
        xs, ys = zip(*corners, strict=True)
        marks[row["slide"]].append(
            Mark(
                x=(min(xs) + max(xs)) / 2,
                y=(min(ys) + max(ys)) / 2,
                name=names[row["agreedClass"]],
                where=where,
                votes=" ".join(map(str, own)),
                voted=voted,
                source=source.name,
                outline=_outline(corners, row.get("type")),
                is_void=row.get("type") == _AREA and len(set(xs)) * len(set(ys)) == 1,
            )
        )
    bases = [_base_name(row, source) for row in tables.slides]
    files = told_apart(bases, [str(row.get("directory") or "") for row in tables.slides], where=source)
    made = tuple(
        replace(_image(row, name, tuple(marks[row["uid"]]), source), undecided=tuple(undecided[row["uid"]]))
        for row, name in zip(tables.slides, files, strict=True)
    )
    cautions = (*_cautions(left_out), *_by_directory(made))
    return Reading(images=made, cautions=cautions, classes=tuple(names.values()), bare_is_searched=False)


def _load(source: Path) -> _Tables:
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            rows = {table: _rows(database, table, source) for table in _NEEDED}
    except sqlite3.Error as error:
        raise FormatError(
            f"is not a SQLite database that can be read ({error})", where=source, remedy=_REMEDY
        ) from error
    return _Tables(
        slides=rows["Slides"],
        classes=rows["Classes"],
        annotations=rows["Annotations"],
        coordinates=rows["Annotations_coordinates"],
        votes=rows["Annotations_label"],
    )


def _rows(database: sqlite3.Connection, table: str, source: Path) -> list[dict[str, Any]]:
    """A table in its order of entry, after its columns were checked."""
    columns = [row["name"] for row in database.execute(f"PRAGMA table_info({table})")]
    if not columns:
        raise FormatError(f"has no table {table}", where=source, remedy=_REMEDY)
    missing = [name for name in _NEEDED[table] if name not in columns]
    if missing:
        raise FormatError(f"the table {table} lacks the column {', '.join(missing)}", where=source, remedy=_REMEDY)
    order = "orderIdx, rowid" if "orderIdx" in columns else "rowid"
    return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY {order}")]


def _by_annotation(rows: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["annoId"], []).append(row)
    return found


def _reason_to_leave_out(row: dict[str, Any], names: dict[Any, str], where: str) -> str | None:
    """Why an annotation is no mark, in words that are equal for all alike; None where it is one."""
    if row.get("deleted"):
        return "are deleted"
    agreed = row["agreedClass"]
    if agreed in names:
        return None
    if not agreed:
        return _UNDECIDED
    raise FormatError(f"names the unknown class {quoted(agreed)}", where=where, remedy=_REMEDY)


def _corners(places: list[dict[str, Any]], where: str) -> list[tuple[float, float]]:
    """All coordinates of an annotation, in their order."""
    if not places:
        raise FormatError("has no coordinate", where=where, remedy="remove it in SlideRunner, or mark it again")
    return [
        (
            finite(place["coordinateX"], "coordinateX", where=where),
            finite(place["coordinateY"], "coordinateY", where=where),
        )
        for place in places
    ]


def _outline(corners: list[tuple[float, float]], kind: object) -> BaseGeometry | None:
    """The shape of an annotation: an ellipse or a box in two corners, a polygon of more; None of a spot."""
    if len(corners) < 2:
        return None
    (x0, y0), (x1, y1) = corners[0], corners[-1]
    if kind == _CIRCLE and len(corners) == 2:
        round_one = shapely.Point(0, 0).buffer(0.5, quad_segs=16)
        shape = affinity.translate(affinity.scale(round_one, x1 - x0, y1 - y0), (x0 + x1) / 2, (y0 + y1) / 2)
    else:
        shape = shapely.box(x0, y0, x1, y1) if len(corners) == 2 else shapely.Polygon(corners)
    return shape if shape.area > 0 else None


def _base_name(row: dict[str, Any], source: Path) -> str:
    where = f"{source}, slide {quoted(row['uid'])}"
    if not row["filename"]:
        raise FormatError("has no filename", where=where, remedy=_REMEDY)
    return relative_names([str(row["filename"])], where=where)[0].rsplit("/", 1)[-1]


def _image(row: dict[str, Any], file_name: str, marks: tuple[Mark, ...], source: Path) -> MarkedImage:
    """One slide; where its name was told apart by its directory, that is the best guess of its case."""
    directory, _, _ = file_name.rpartition("/")
    return MarkedImage(
        slide_id=slide_name(file_name),
        file_name=file_name,
        case_id=directory.rsplit("/", 1)[-1],
        domain=UNKNOWN_DOMAIN,
        marks=marks,
        size_l0=_size(row, f"{source}, slide {quoted(row['uid'])}"),
    )


def _size(row: dict[str, Any], where: str) -> tuple[int, int] | None:
    """Width and height; None where SlideRunner has not opened the slide yet and left them empty."""
    if not row.get("width") or not row.get("height"):
        return None
    width, height = (pixels(row[name], name, where=where) for name in ("width", "height"))
    return width, height


def _cautions(left_out: dict[str, int]) -> Iterator[Caution]:
    for reason, number in left_out.items():
        yield Caution(text=f"{number} annotations {reason} and were left out")


def _by_directory(images: tuple[MarkedImage, ...]) -> Iterator[Caution]:
    told = [f"{image.file_name} (case {image.case_id})" for image in images if "/" in image.file_name]
    if told:
        yield Caution(
            text=f"{plural(len(told), 'slide')} of a file name that another has: the directory tells them apart, and "
            f"was taken for the case: {some(told)}; check case_id in slides.csv"
        )
