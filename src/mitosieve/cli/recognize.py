"""What lies at a path, told by its names and first bytes alone: so that a wrong argument is called what it is.

Imports nothing heavy: it runs before anything is done.
"""

import json
import tomllib
from enum import StrEnum
from pathlib import Path

from mitosieve.run import layout
from mitosieve.slide.endings import SLIDE_SUFFIXES

_IMAGES = SLIDE_SUFFIXES | {".mha"}
"""Endings by which a file is called an image in a message; what is read is decided by its content elsewhere."""


class Thing(StrEnum):
    """What a path may be; the value is what messages call it."""

    MISSING = "missing"
    COHORT = "a cohort folder"
    RUN = "the run folder of a training"
    RESULT = "a folder of detect"
    CROSSVAL = "a folder of crossval"
    STUDY_RESULT = "a folder of study"
    EVALUATED = "an evaluated folder"
    DETECTOR = "a detector folder"
    AUDIT = "a folder of audit"
    SLIDES = "a folder of images"
    EMPTY = "an empty folder"
    FOLDER = "a folder"
    SPLIT = "a split file"
    RECIPE = "a recipe file"
    STUDY = "a study file"
    IMAGE = "an image"
    DETECTIONS = "a table of detections"
    SCORES = "the scores of evaluate"
    MEMBER = "a file of a folder"
    TABLE = "a table"
    FILE = "a file"


def thing_at(path: Path) -> Thing:
    """What lies at a path."""
    if path.is_dir():
        return _folder(path)
    return _file(path) if path.exists() else Thing.MISSING


def called(path: Path) -> str:
    """What a message says that a path is: "is a split file, not ..." begins with it."""
    thing = thing_at(path)
    return "is missing" if thing is Thing.MISSING else f"is {thing}"


def _folder(path: Path) -> Thing:
    marked = _kind(path)
    if marked is not None:
        return marked
    for name, thing in (
        ("annotations.csv", Thing.COHORT),
        (layout.DETECTOR_CONFIG, Thing.DETECTOR),
        (layout.METRICS, Thing.EVALUATED),
        (layout.DETECTIONS, Thing.RESULT),
        (layout.AUDIT, Thing.AUDIT),
    ):
        if (path / name).exists():
            return thing
    names = [item.name for item in path.iterdir() if not item.name.startswith(".")]
    if not names:
        return Thing.EMPTY
    return Thing.SLIDES if any(Path(name).suffix.lower() in _IMAGES for name in names) else Thing.FOLDER


def _kind(path: Path) -> Thing | None:
    """By run.json."""
    try:
        kind = json.loads((path / layout.RUN).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {
        layout.Kind.TRAIN.value: Thing.RUN,
        layout.Kind.DETECT.value: Thing.RESULT,
        layout.Kind.CROSSVAL.value: Thing.CROSSVAL,
        layout.Kind.STUDY.value: Thing.STUDY_RESULT,
    }.get(kind)


def _file(path: Path) -> Thing:
    suffix = path.suffix.lower()
    if path.name in (layout.DETECTOR_CONFIG, layout.RUN, layout.REQUEST, "slides.csv", "annotations.csv"):
        return Thing.MEMBER
    if suffix == ".json":
        return _json(path)
    if suffix == ".toml":
        return _toml(path)
    if suffix == ".csv":
        return Thing.DETECTIONS if set(layout.DETECTION_COLUMNS) <= set(header_of(path)) else Thing.TABLE
    return Thing.IMAGE if suffix in _IMAGES else Thing.FILE


def _json(path: Path) -> Thing:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Thing.FILE
    if isinstance(content, dict):
        if "folds" in content:
            return Thing.SPLIT
        if "pooled" in content:
            return Thing.SCORES
    return Thing.FILE


def _toml(path: Path) -> Thing:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Thing.FILE
    if "rows" in content:
        return Thing.STUDY
    return Thing.RECIPE if "method" in content else Thing.FILE


def header_of(path: Path) -> list[str]:
    """Names of a table's columns; none where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return [name.strip() for name in file.readline().split(",")]
    except (OSError, UnicodeDecodeError):
        return []
