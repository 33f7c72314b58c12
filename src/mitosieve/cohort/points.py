"""A plain CSV of points, one marked cell a row. Knows this layout and no other.

    image,x,y,label[,case][,domain][,mpp][,roi][,slide_id][,score][,votes][,source]

`image` may also be called patch, slide or file; x and y are level-0 px of it. A row with x, y and label all empty
states an image that was searched and has no figure. `roi` is the area that was searched, as WKT in level-0 px;
`slide_id` the slide's name in the cohort, where that of the image would not do; `score` the share of raters who called
the cell a figure; `source` the file or set that the mark, not the image, came from.
"""

import math
from pathlib import Path

import shapely

from mitosieve.cohort.area import check_roi
from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Mark, MarkedImage, Reading, share
from mitosieve.cohort.table import Row, finite, read_table
from mitosieve.errors import FormatError

_IMAGE_NAMES = ("image", "patch", "slide", "file")
_REQUIRED = ("x", "y", "label")
_OPTIONAL = (*_IMAGE_NAMES, "case", "domain", "mpp", "roi", "slide_id", "score", "votes", "source")


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a points CSV; the listed images become labelled slides, others in the folder of images are left out.

    Without a column `case`, the image's name up to its first `_` is the case.

    Args:
        source: the CSV file.
        images: not needed to read the marks.

    Raises:
        FormatError: a column missing, a row of another length, a value that is not a finite number, a mark without
            a class, an area that is none, or rows of one image that disagree on its case, domain, mpp, roi or slide_id.
    """
    rows = read_table(source, required=_REQUIRED, optional=_OPTIONAL, given=True)
    if not rows:
        raise FormatError("holds no row", where=source, remedy="expected image,x,y,label and at least one row")
    by_image: dict[str, list[Row]] = {}
    names = relative_names([_image_name(row) for row in rows], where=source)
    for row, name in zip(rows, names, strict=True):
        by_image.setdefault(name, []).append(row)
    return Reading(images=tuple(_image(name, own) for name, own in by_image.items()))


def _image_name(row: Row) -> str:
    name = next((row.values[column] for column in _IMAGE_NAMES if row.values[column]), "")
    if not name:
        raise FormatError(
            "names no image",
            where=row.where,
            remedy="expected columns: image,x,y,label (image: also patch, slide, file)",
        )
    return name


def _image(name: str, rows: list[Row]) -> MarkedImage:
    mpp = _agreed(rows, "mpp")
    return MarkedImage(
        slide_id=slide_name(relative_names([_agreed(rows, "slide_id") or name], where=rows[0].where)[0]),
        file_name=name,
        case_id=_agreed(rows, "case"),
        domain=_agreed(rows, "domain") or UNKNOWN_DOMAIN,
        marks=tuple(_mark(row) for row in rows if any(row.values[column] for column in _REQUIRED)),
        mpp=finite(mpp, "mpp", where=rows[0].where) if mpp else None,
        roi_wkt=_roi(rows),
    )


def _roi(rows: list[Row]) -> str:
    """The area that was searched, checked to be one; empty is all of the image."""
    wkt = _agreed(rows, "roi")
    try:
        if wkt:
            check_roi(wkt)
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise FormatError(
            str(error), where=rows[0].where, remedy="write an area in level-0 px as WKT, or leave it empty"
        ) from error
    return wkt


def _agreed(rows: list[Row], column: str) -> str:
    """The one value of a column that all rows of an image share; empty values leave it to the others."""
    first = ""
    for row in rows:
        value = row.values[column]
        if first and value and value != first:
            raise FormatError(
                f"{column} is '{value}', but '{first}' in an earlier row of the same image",
                where=row.where,
                remedy=f"give each image one {column}",
            )
        first = first or value
    return first


def _mark(row: Row) -> Mark:
    values = row.values
    score = share(finite(values["score"], "score", where=row.where), where=row.where) if values["score"] else math.nan
    return Mark(
        x=finite(values["x"], "x", where=row.where),
        y=finite(values["y"], "y", where=row.where),
        name=_class(row),
        where=row.where,
        score=score,
        votes=values["votes"],
        source=values["source"] or row.path.name,
    )


def _class(row: Row) -> str:
    if not row.values["label"]:
        raise FormatError("label is ''", where=row.where, remedy="name the class of this mark, as mitotic figure")
    return row.values["label"]
