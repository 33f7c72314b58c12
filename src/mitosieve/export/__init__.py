"""One file per format out. `FORMATS` is what `detect --format` knows; to add one, write its module and name it here."""

from collections.abc import Callable
from pathlib import Path

from mitosieve.detection import Detections
from mitosieve.export.geojson import write_geojson
from mitosieve.export.grand_challenge import write_points

Writer = Callable[[Path, Detections, float], Path]
"""Writes the detections of one slide, in level-0 px, given its um per px; returns the path."""

FORMATS: dict[str, Writer] = {"geojson": write_geojson, "midog": write_points}

SUFFIXES: dict[str, str] = {"geojson": ".geojson", "midog": ".json"}
"""What a format's file is called after the slide's name."""
