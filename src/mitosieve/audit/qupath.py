"""Points of a GeoJSON that QuPath wrote: what each says, not yet what it means. Knows no cohort.

Three kinds come back: points of an audit, which name their place; detections, which say by a measurement what the
detector called them; and points that a person set. The hotspot's outline is passed over.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from mitosieve.annotation import NO_MARK, Label
from mitosieve.cohort.jsonfile import read_any
from mitosieve.cohort.qupath import UNCLASSIFIED, class_of
from mitosieve.cohort.table import finite
from mitosieve.cohort.vocabulary import Meaning, Rulings, folded, meaning_of, refuse_strange_rulings, ruled
from mitosieve.errors import FormatError
from mitosieve.export.geojson import (
    BACKGROUND_CLASS,
    CALLED,
    CANDIDATE_CLASS,
    FIGURE_CLASS,
    HOTSPOT_CLASS,
    IMPOSTER_CLASS,
    UNSURE_CLASS,
)
from mitosieve.geometry import QUPATH_SHIFT
from mitosieve.run.folder import hash_file

_REMEDY = (
    "expected a GeoJSON of `mitosieve audit` or `mitosieve detect`, with the classes of its points changed in QuPath"
)

UNSURE = "unsure"
"""What a point says of which nobody is sure: nothing, but that its cell is none of its neighbours."""

_POINTS = ("Point", "MultiPoint")
_LABELS = {
    Meaning.FIGURE: Label.MITOTIC_FIGURE.value,
    Meaning.IMPOSTER: Label.IMPOSTER.value,
    Meaning.OTHER: NO_MARK,
    Meaning.IGNORE: UNSURE,
}
_WRITTEN = {
    str(one["name"]): what
    for one, what in (
        (FIGURE_CLASS, Meaning.FIGURE),
        (CANDIDATE_CLASS, Meaning.OTHER),
        (IMPOSTER_CLASS, Meaning.IMPOSTER),
        (BACKGROUND_CLASS, Meaning.OTHER),
        (UNSURE_CLASS, Meaning.IGNORE),
        (HOTSPOT_CLASS, Meaning.IGNORE),
    )
}
"""What the classes mean that we write; all others are the vocabulary's affair."""

_FOLDED = {folded(name): what for name, what in _WRITTEN.items()}
_FARTHEST_PX = 1e9
_ENDINGS = (".geojson", ".json")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One feature.

    Attributes:
        where: file and number of the feature, its slide where it says so, and its place, for messages.
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


def points_of(source: Path, rulings: Rulings | None = None) -> Iterator[Point]:
    """Every point that says something, of a file or of a folder's files: a FeatureCollection, a list or one feature
    alone, for QuPath's versions write all three.

    A person's points of one class may be one feature, as QuPath's tool sets them: they are points of their own. What is
    Unsure, or of a class that is to be ignored, and no point is passed over.

    Args:
        source: a GeoJSON file, or a folder with them (not below it).
        rulings: what the user says of classes.

    Raises:
        FormatError: a file is no GeoJSON, or a feature is no point or has no known class; the feature is named.
        InputError: a ruling on a class that is not there.
    """
    files = files_of(source)
    if rulings:
        names = dict.fromkeys(name for path in files for _, _, name in _features(path))
        refuse_strange_rulings(names, rulings, where=str(source))
    for path in files:
        features = list(_features(path))
        origin = f"{path.name} {hash_file(path)[:12]}"
        names = tuple(dict.fromkeys(name for _, _, name in features))
        meanings = {name: _meaning(name, names, rulings or {}) for name in names}
        for where, feature, name in features:
            is_point = _object(feature.get("geometry")).get("type") in _POINTS
            if is_point or meanings[name] is not Meaning.IGNORE:
                yield from _points(feature, where, origin, path.stem, (name, meanings[name]))


def _features(path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Where each feature of a file stands, itself, and the name of its class."""
    content = read_any(path, remedy=_REMEDY)
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    for number, item in enumerate(cast("list[Any]", content) if isinstance(content, list) else [content], start=1):
        where = f"{path}, feature {number}"
        if not isinstance(item, dict) or item.get("type") != "Feature":
            raise FormatError("is not a GeoJSON feature", where=where, remedy=_REMEDY)
        feature = cast("dict[str, Any]", item)
        name = class_of(feature.get("properties"), _with_place(where, feature))
        yield where, feature, name


def _with_place(where: str, feature: dict[str, Any], place: object = None) -> str:
    """Where a feature stands, with what it is found by in QuPath: its slide where it says so, and `place`, else its
    first position, in QuPath px.
    """
    slide_id = _object(_object(feature.get("properties")).get("metadata")).get("slide_id")
    place = _object(feature.get("geometry")).get("coordinates") if place is None else place
    while isinstance(place, list) and place and isinstance(place[0], list):
        place = cast("list[Any]", place)[0]
    told = [] if slide_id is None else [f"slide {slide_id}"]
    if isinstance(place, list | tuple):
        xy = cast("list[Any]", place)[:2]
        if len(xy) == 2 and all(isinstance(one, int | float) and abs(one) < _FARTHEST_PX for one in xy):
            told.append(f"at x {xy[0]:.1f}, y {xy[1]:.1f} px")
    return f"{where} ({', '.join(told)})" if told else where


def _points(
    item: dict[str, Any], where: str, origin: str, file: str, known: tuple[str, Meaning | None]
) -> Iterator[Point]:
    """The points of a feature, whose class has this name and meaning."""
    properties = _object(item.get("properties"))
    metadata = {str(key): str(value) for key, value in _object(properties.get("metadata")).items()}
    called = _object(properties.get("measurements")).get(CALLED)
    is_detection = called is not None or properties.get("objectType") == "detection"
    kind = "audited" if "row" in metadata else "detection" if is_detection else "added"
    places = _positions(_object(item.get("geometry")), _with_place(where, item))
    if kind != "added" and len(places) != 1:
        raise FormatError(
            f"is not one point but {len(places)}",
            where=_with_place(where, item),
            remedy="export the points as they were, one a feature",
        )
    label = _label(*known, _with_place(where, item))
    for x, y in places:
        yield Point(
            where=_with_place(where, item, (x, y)),
            origin=origin,
            file=file,
            id=str(item.get("id", "")).lower(),
            kind=kind,
            x=x - QUPATH_SHIFT,
            y=y - QUPATH_SHIFT,
            label=label,
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
        remedy='export the points alone, each an annotation of its own, or leave a class out: --label "NAME=ignore"',
    )


def _first_level(name: str) -> str:
    """What a class derives from in QuPath: "Mitotic figure" of "Mitotic figure: atypical"."""
    return name.split(":")[0].strip()


def _meaning(name: str, others: Iterable[str], rulings: Rulings) -> Meaning | None:
    """What a class, or what it derives from, means: as the user says, as we write it, as any import knows it."""
    base = _first_level(name)
    known = ruled(name, rulings) or _FOLDED.get(folded(base))
    return known or meaning_of(name, others) or meaning_of(base, others)


def _label(name: str, what: Meaning | None, where: str) -> str:
    """The label of a class of this meaning; a detection that is still a candidate has no mark."""
    label = None if what is None else _LABELS.get(what)
    if label is not None:
        return label
    if what is Meaning.REGION:
        raise FormatError(
            f"is of the class '{name}', an area that was searched: corrections are of cells",
            where=where,
            remedy=f'leave it out: --label "{name}=ignore"; areas are the column roi of slides.csv',
        )
    raise FormatError(
        "has no class" if name == UNCLASSIFIED else f"has the unknown class '{name}'",
        where=where,
        remedy=f'give it one in QuPath, or say what it means: --label "{name}=figure" (or imposter, other, ignore); '
        f"known classes: {', '.join(_WRITTEN)}, and what any import knows, such as Mitosis, Mitose or Non-mitotic",
    )
