"""QuPath's GeoJSON: a file a slide, objects with a class. Knows this layout and no other.

    {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]},
      "properties": {"objectType": "annotation", "classification": {"name": "Mitosis"}}}]}

Older versions write a list of features, or one alone; a classification may be text, {"name": ...} or, of several
levels, {"names": [...]}. QuPath's first pixel covers 0 to 1, ours -0.5 to 0.5: half a pixel is taken off.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.image_name import ImageFolder, files_below
from mitosieve.cohort.jsonfile import loads, read_any
from mitosieve.cohort.marked import UNCLASSIFIED, Mark, Reading
from mitosieve.cohort.outlined import Place, SlideFile, mark_of, mark_of_outline, reading_of
from mitosieve.cohort.table import finite, quoted
from mitosieve.errors import FormatError
from mitosieve.geometry import QUPATH_SHIFT

ENDINGS = (".geojson.gz", ".json.gz", ".geojson", ".json")
_REMEDY = "expected GeoJSON as QuPath exports it: a FeatureCollection, or a list of features, each with a geometry"
_LINES = ("LineString", "MultiLineString")
MAX_BYTES = 2**31
"""Largest content of a packed file: what packs better was made to do harm."""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a GeoJSON file, or a folder with its folders below; the slide of a file is called as the file is.

    A point is a mark, and so is each point of a set of points; a polygon, ellipse or rectangle is one at its centroid.
    Outlines of a class for regions become the area that was searched. Lines are left out, and told. A slide without any
    mark is kept as **unlabelled**.

    Args:
        source: a file (.geojson, .json, either also .gz), or a folder of them.
        images: not needed to read the marks.

    Raises:
        FormatError: no such file, no GeoJSON, a geometry that is none, or a classification that cannot be read.
    """
    paths = [source] if source.is_file() else _files(source)
    if not paths:
        raise FormatError("holds no GeoJSON file", where=source, remedy="name the file, or the folder that holds them")
    return reading_of([_slide_file(path) for path in paths], source)


def _files(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.name.lower().endswith(ENDINGS)]


def _slide_file(path: Path) -> SlideFile:
    marks: list[Mark] = []
    lost = 0
    for number, item in enumerate(_features(path), start=1):
        where = f"{path}, feature {number}"
        if not isinstance(item, dict) or item.get("type") != "Feature":
            raise FormatError("is not a GeoJSON feature", where=where, remedy=_REMEDY)
        name = class_of(item.get("properties"), where)
        own, lines = _marks(item.get("geometry"), name, where, path.name)
        marks += own
        lost += lines
    ending = next((end for end in ENDINGS if path.name.lower().endswith(end)), "")
    image = path.name[: len(path.name) - len(ending)] or path.name
    return SlideFile(path=path, image=image, marks=tuple(marks), lost=lost)


def _features(path: Path) -> list[Any]:
    content = _content(path)
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
        if not isinstance(content, list):
            raise FormatError("is a FeatureCollection without a list of features", where=path, remedy=_REMEDY)
    return cast("list[Any]", content) if isinstance(content, list) else [content]


def _content(path: Path) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if not path.name.lower().endswith(".gz"):
        return read_any(path, remedy=_REMEDY)
    try:
        with gzip.open(path) as file:
            packed = file.read(MAX_BYTES + 1)
        text = packed.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise FormatError(f"cannot be unpacked as gzip of UTF-8 text ({error})", where=path, remedy=_REMEDY) from error
    if len(packed) > MAX_BYTES:
        raise FormatError("holds more than 2 GiB", where=path, remedy="export fewer objects")
    return loads(text, where=path, remedy=_REMEDY)


def class_of(properties: object, where: str) -> str:
    """The name of an object's class; of several levels with `: ` between them, as QuPath shows it.

    Raises:
        FormatError: the classification is none.
    """
    known = properties if isinstance(properties, dict) else {}
    value: Any = known.get("classification")
    if isinstance(value, dict):
        value = value.get("names") or value.get("name")
    if value in (None, "", []):
        return UNCLASSIFIED
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise FormatError(
            f"its classification is {quoted(known.get('classification'))}",
            where=where,
            remedy='a class is {"name": TEXT}, {"names": [TEXT, ...]} or text',
        )
    return ": ".join(names).strip() or UNCLASSIFIED


def _marks(geometry: object, name: str, where: str, source: str) -> tuple[list[Mark], int]:
    """The marks of a geometry, and how many lines were left out."""
    if geometry is None:
        return [mark_of([], area=True, name=name, where=where, source=source)], 0
    if not isinstance(geometry, dict):
        raise FormatError(f"its geometry is {quoted(geometry)}", where=where, remedy=_REMEDY)
    kind, values = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        parts = [_marks(one, name, where, source) for one in _list(geometry.get("geometries"), where)]
        return [mark for marks, _ in parts for mark in marks], sum(lines for _, lines in parts)
    if kind in _LINES:
        return [], 1
    if kind in ("Point", "MultiPoint"):
        places = [_place(values, where)] if kind == "Point" and values else []
        places += [_place(one, where) for one in _list(values, where)] if kind == "MultiPoint" else []
        made = [mark_of([one], area=False, name=name, where=where, source=source) for one in places]
        return made or [mark_of([], area=True, name=name, where=where, source=source)], 0
    if kind in ("Polygon", "MultiPolygon"):
        polygons = [values] if kind == "Polygon" else _list(values, where)
        outline = shapely.union_all([_polygon(one, where) for one in polygons])
        return [mark_of_outline(outline, name=name, where=where, source=source)], 0
    raise FormatError(f"its geometry is of the type {quoted(kind)}", where=where, remedy=_REMEDY)


def _polygon(rings: object, where: str) -> BaseGeometry:
    places = [[_place(one, where) for one in _list(ring, where)] for ring in _list(rings, where)]
    closed = [ring for ring in places if len(ring) > 2]
    if not closed or len(places[0]) < 3:
        return shapely.Polygon()
    return shapely.make_valid(shapely.Polygon(closed[0], closed[1:]))


def _list(value: object, where: str) -> Iterator[Any]:
    if not isinstance(value, list):
        raise FormatError(f"its coordinates are {quoted(value)}", where=where, remedy=_REMEDY)
    return iter(cast("list[Any]", value))


def _place(value: object, where: str) -> Place:
    if not isinstance(value, list) or len(value) < 2:
        raise FormatError(f"a position is {quoted(value)}", where=where, remedy="a position is [x, y] in level-0 px")
    return finite(value[0], "x", where=where) - QUPATH_SHIFT, finite(value[1], "y", where=where) - QUPATH_SHIFT
