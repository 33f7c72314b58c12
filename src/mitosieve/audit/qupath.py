"""Points of a GeoJSON that QuPath wrote: what each says, not yet what it means. Knows no cohort.

Three kinds come back: points of an audit, which name their place; detections, which say by a measurement what the
detector called them; and points that a person set. The hotspot's outline is passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from mitosieve.annotation import NO_MARK, Label
from mitosieve.cohort.jsonfile import read_any
from mitosieve.cohort.place import LABEL_OF
from mitosieve.cohort.qupath import UNCLASSIFIED, class_of
from mitosieve.cohort.table import finite
from mitosieve.errors import FormatError
from mitosieve.export.geojson import CALLED, CANDIDATE_CLASS, HOTSPOT_CLASS, UNSURE_CLASS
from mitosieve.geometry import QUPATH_SHIFT
from mitosieve.run.folder import hash_file

_REMEDY = (
    "expected a GeoJSON of `mitosieve audit` or `mitosieve detect`, with the classes of its points changed in QuPath"
)

UNSURE = "unsure"
"""What a point says of which nobody is sure: nothing, but that its cell is none of its neighbours."""

_POINTS = ("Point", "MultiPoint")
_ENDINGS = (".geojson", ".json")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One feature.

    Attributes:
        where: file and number of the feature, for messages.
        origin: name and hash of its file.
        file: its file's name without ending.
        id: of the feature, lower case.
        kind: "audited" where its metadata name a place; "detection"; "added" by a person.
        x, y: level-0 px.
        label: a label, NO_MARK or UNSURE.
        called: of a detection, whether the detector called it a figure; None where it does not say.
        metadata: of the feature, as texts.
    """

    where: str
    origin: str
    file: str
    id: str
    kind: Literal["audited", "detection", "added"]
    x: float
    y: float
    label: str
    called: bool | None
    metadata: dict[str, str]

    @property
    def stated(self) -> tuple[str, float, float] | None:
        """slide_id, x and y that its metadata state; None where they do not."""
        try:
            return self.metadata["slide_id"], float(self.metadata["x"]), float(self.metadata["y"])
        except (KeyError, ValueError):
            return None

    @property
    def is_left(self) -> bool:
        """Whether it is a detection of the class that the detector gave it."""
        return self.called is not None and self.label == (Label.MITOTIC_FIGURE if self.called else NO_MARK)


def files_of(source: Path) -> list[Path]:
    """The file itself, or the GeoJSON files of a folder, by name.

    Raises:
        FormatError: the folder has none.
    """
    if not source.is_dir():
        return [source]
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in _ENDINGS and path.name[0] != ".")
    if not paths:
        raise FormatError("holds no GeoJSON file", where=source, remedy="name the folder `qupath` of an audit")
    return paths


def points_of(path: Path) -> Iterator[Point]:
    """Every point of a file that says something, of a FeatureCollection, a list or alone: QuPath's versions write all
    three.

    A person's points of one class may be one feature, as QuPath's tool sets them: they are points of their own. What is
    Unsure and no point is passed over.

    Raises:
        FormatError: the file is no GeoJSON, or a feature is no point or has no known class; the feature is named.
    """
    content = read_any(path, remedy=_REMEDY)
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    items = cast("list[Any]", content) if isinstance(content, list) else [content]
    origin = f"{path.name} {hash_file(path)[:12]}"
    for number, item in enumerate(items, start=1):
        where = f"{path}, feature {number}"
        if not isinstance(item, dict) or item.get("type") != "Feature":
            raise FormatError("is not a GeoJSON feature", where=where, remedy=_REMEDY)
        feature = cast("dict[str, Any]", item)
        name = _first_level(class_of(feature.get("properties"), where))
        is_outline = name == UNSURE_CLASS["name"] and _object(feature.get("geometry")).get("type") not in _POINTS
        if name != HOTSPOT_CLASS["name"] and not is_outline:
            yield from _points(feature, where, origin, path.stem)


def _points(item: dict[str, Any], where: str, origin: str, file: str) -> Iterator[Point]:
    properties = _object(item.get("properties"))
    metadata = {str(key): str(value) for key, value in _object(properties.get("metadata")).items()}
    called = _object(properties.get("measurements")).get(CALLED)
    is_detection = called is not None or properties.get("objectType") == "detection"
    kind = "audited" if "row" in metadata else "detection" if is_detection else "added"
    places = _positions(_object(item.get("geometry")), where)
    if kind != "added" and len(places) != 1:
        raise FormatError(
            f"is not one point but {len(places)}", where=where, remedy="export the points as they were, one a feature"
        )
    for x, y in places:
        yield Point(
            where=where,
            origin=origin,
            file=file,
            id=str(item.get("id", "")).lower(),
            kind=kind,
            x=x - QUPATH_SHIFT,
            y=y - QUPATH_SHIFT,
            label=_label(class_of(properties, where), where),
            called=None if called is None else bool(called),
            metadata=metadata,
        )


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _positions(geometry: dict[str, Any], where: str) -> list[tuple[float, float]]:
    """x, y in QuPath px of a Point or of a MultiPoint: QuPath's points are sets of points."""
    kind, values = geometry.get("type"), geometry.get("coordinates")
    points = values if kind == "MultiPoint" else [values]
    if kind not in _POINTS or not isinstance(points, list) or not points:
        raise _no_point(kind, where)
    found: list[tuple[float, float]] = []
    for one in cast("list[Any]", points):
        if not isinstance(one, list) or len(cast("list[Any]", one)) < 2:
            raise _no_point(kind, where)
        found.append((finite(one[0], "x", where=where), finite(one[1], "y", where=where)))
    return found


def _no_point(kind: object, where: str) -> FormatError:
    return FormatError(
        f"is not one point (its geometry is {kind or 'none'})",
        where=where,
        remedy="export the points alone, each an annotation of its own",
    )


def _first_level(name: str) -> str:
    """What a class derives from in QuPath: "Mitotic figure" of "Mitotic figure: atypical"."""
    return name.split(":")[0].strip()


def _label(name: str, where: str) -> str:
    """The label of a class, or of what it derives from; a detection that is still a candidate has no mark."""
    known = _first_level(name)
    if known == CANDIDATE_CLASS["name"]:
        return NO_MARK
    label = UNSURE if known == UNSURE_CLASS["name"] else LABEL_OF.get(known)
    if label is None:
        what = "has no class" if name == UNCLASSIFIED else f"has the unknown class '{name}'"
        raise FormatError(what, where=where, remedy=f"known classes: {', '.join(LABEL_OF)}")
    return label
