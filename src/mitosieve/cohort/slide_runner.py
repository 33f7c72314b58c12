"""SlideRunner's SQLite database: slides, annotations of several people, and their agreed class. Knows this layout only.

Tables: Slides (uid, filename, width, height), Classes (uid, name), Annotations (uid, slide, agreedClass; newer
versions also deleted), Annotations_coordinates (annoId, coordinateX, coordinateY), Annotations_label (annoId, person,
class: one vote). Source: the README of SlideRunner and the databases of the MIDOG group.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mitosieve.annotation import Label
from mitosieve.cohort.case_id import case_of
from mitosieve.cohort.image_name import ImageFolder, slide_name
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.table import finite
from mitosieve.cohort.vocabulary import label_of
from mitosieve.errors import FormatError, some

_NEEDED = {
    "Slides": ("uid", "filename"),
    "Classes": ("uid", "name"),
    "Annotations": ("uid", "slide", "agreedClass"),
    "Annotations_coordinates": ("annoId", "coordinateX", "coordinateY"),
    "Annotations_label": ("annoId", "class"),
}
_REMEDY = "expected a database of SlideRunner with the tables " + ", ".join(_NEEDED)
_JOINED_NAMES = {"nonmitosis": "non mitosis", "nonmitoticfigure": "non mitotic figure"}


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

    A mark's label is the agreed class; the classes of all votes are kept, and the score is the share of votes for
    figure. A spot lies at its coordinate, an area, circle or polygon at the middle of its coordinates' bounding box.
    Left out, and told: deleted annotations, those without an agreed class, and classes that are neither figure nor
    imposter. A slide without any mark is kept as **unlabelled**: the database does not say whether it was searched.
    The case is the file's name up to its first `_`; the database names none.

    Args:
        source: the file.
        images: not needed to read the marks.

    Raises:
        FormatError: no SQLite database, a table or column missing, no class that is a figure or an imposter, an
            annotation of an unknown slide or class, or one without a usable coordinate.
    """
    tables = _load(source)
    labels, others = _labels(tables.classes, source)
    marks: dict[Any, list[Mark]] = {row["uid"]: [] for row in tables.slides}
    places = _by_annotation(tables.coordinates)
    votes = _by_annotation(tables.votes)
    left_out: dict[str, int] = {}
    for row in tables.annotations:
        where = f"{source}, annotation {row['uid']}"
        if row["slide"] not in marks:
            raise FormatError(f"names the unknown slide {row['slide']}", where=where, remedy=_REMEDY)
        reason = _reason_to_leave_out(row, labels, others, where)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        x, y = _center(places.get(row["uid"], []), where)
        own = [vote["class"] for vote in votes.get(row["uid"], [])]
        agreed = sum(labels.get(vote) is Label.MITOTIC_FIGURE for vote in own)
        marks[row["slide"]].append(
            Mark(
                x=x,
                y=y,
                label=labels[row["agreedClass"]],
                where=where,
                score=agreed / len(own) if own else math.nan,
                votes=" ".join(map(str, own)),
                source=source.name,
            )
        )
    made = tuple(_image(row, tuple(marks[row["uid"]]), source) for row in tables.slides)
    return Reading(images=made, cautions=tuple(_cautions(made, left_out)))


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
    return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY rowid")]


def _labels(classes: list[dict[str, Any]], source: Path) -> tuple[dict[Any, Label], dict[Any, str]]:
    """Label by class id, and the names of the classes that are neither figure nor imposter."""
    labels: dict[Any, Label] = {}
    others: dict[Any, str] = {}
    for row in classes:
        name = str(row["name"])
        try:
            labels[row["uid"]] = label_of(_JOINED_NAMES.get(name.strip().lower(), name), where=str(source))
        except FormatError:
            others[row["uid"]] = name
    if not labels:
        raise FormatError(
            f"none of its classes is a mitotic figure or an imposter: {some(others.values()) or 'there are none'}",
            where=source,
            remedy="rename one to 'mitotic figure' (and look-alikes to 'imposter')",
        )
    return labels, others


def _by_annotation(rows: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["annoId"], []).append(row)
    return found


def _reason_to_leave_out(
    row: dict[str, Any], labels: dict[Any, Label], others: dict[Any, str], where: str
) -> str | None:
    """Why an annotation is no mark, in words that are equal for all alike; None where it is one."""
    if row.get("deleted"):
        return "are deleted"
    agreed = row["agreedClass"]
    if agreed in labels:
        return None
    if agreed in others:
        return f"are of the class '{others[agreed]}' (neither figure nor imposter)"
    if not agreed:
        return "have no agreed class"
    raise FormatError(f"names the unknown class {agreed}", where=where, remedy=_REMEDY)


def _center(places: list[dict[str, Any]], where: str) -> tuple[float, float]:
    """The middle of the bounding box of all coordinates."""
    if not places:
        raise FormatError("has no coordinate", where=where, remedy="remove it in SlideRunner, or mark it again")
    xs = [finite(place["coordinateX"], "coordinateX", where=where) for place in places]
    ys = [finite(place["coordinateY"], "coordinateY", where=where) for place in places]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2


def _image(row: dict[str, Any], marks: tuple[Mark, ...], source: Path) -> MarkedImage:
    file_name = PurePosixPath(str(row["filename"] or "").replace("\\", "/")).name
    if not file_name:
        raise FormatError("has no filename", where=f"{source}, slide {row['uid']}", remedy=_REMEDY)
    return MarkedImage(
        slide_id=slide_name(file_name),
        file_name=file_name,
        case_id=case_of(file_name),
        domain=UNKNOWN_DOMAIN,
        marks=marks,
        labelled=bool(marks),
        size_l0=_size(row, f"{source}, slide {row['uid']}"),
    )


def _size(row: dict[str, Any], where: str) -> tuple[int, int] | None:
    """Width and height; None where SlideRunner has not opened the slide yet and left them empty."""
    if not row.get("width") or not row.get("height"):
        return None
    width, height = (finite(row[name], name, where=where) for name in ("width", "height"))
    return (int(width), int(height)) if width >= 1 and height >= 1 else None


def _cautions(images: tuple[MarkedImage, ...], left_out: dict[str, int]) -> Iterator[Caution]:
    yield Caution(
        text="SlideRunner names no cases: an image's name up to its first '_' was taken; check case_id in slides.csv"
    )
    for reason, number in left_out.items():
        yield Caution(text=f"{number} annotations {reason} and were left out")
    unmarked = [image.file_name for image in images if not image.marks]
    if unmarked:
        text = (
            f"{len(unmarked)} slides have no mark at all and are kept as unlabelled, not as free of figures: "
            f"{some(unmarked)}; where a slide was searched, write labelled = yes in slides.csv"
        )
        yield Caution(text=text)
