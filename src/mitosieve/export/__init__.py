"""One file per format out. `FORMATS` is what `detect --format` knows; to add one, write its module and name it here."""

from collections.abc import Callable
from pathlib import Path

from mitosieve.detection import Detections
from mitosieve.export.context import HotspotOutline, SlideContext
from mitosieve.export.geojson import write_geojson
from mitosieve.export.grand_challenge import write_points, write_points_2021
from mitosieve.export.table import write_detections

__all__ = ["FORMATS", "SUFFIXES", "HotspotOutline", "SlideContext", "Writer", "write_geojson", "write_points"]

Writer = Callable[[Path, Detections, SlideContext], Path]
"""Writes the detections of one slide, in level-0 px; returns the path. Equal detections of an equal slide give equal
bytes. A format that cannot say "nothing found" (DICOM) leaves no file there."""


def _write_csv(path: Path, detections: Detections, slide: SlideContext) -> Path:
    slide.check(detections)
    return write_detections(path, detections, detector=slide.detector)


def _write_parquet(path: Path, detections: Detections, slide: SlideContext) -> Path:
    from mitosieve.export.parquet import write_parquet  # as for DICOM

    slide.check(detections)
    return write_parquet(path, detections, slide.told, detector=slide.detector)


def _write_dicom(path: Path, detections: Detections, slide: SlideContext) -> Path:
    from mitosieve.export.dicom import write_annotations  # its library takes half a second to import

    return write_annotations(path, detections, slide)


FORMATS: dict[str, Writer] = {
    "geojson": write_geojson,
    "midog": write_points,
    "midog2021": write_points_2021,
    "csv": _write_csv,
    "parquet": _write_parquet,
    "dicom": _write_dicom,
}
"""`midog` is the layout of 2022 to 2025."""

SUFFIXES: dict[str, str] = {
    "geojson": ".geojson",
    "midog": ".json",
    "midog2021": ".json",
    "csv": ".csv",
    "parquet": ".parquet",
    "dicom": ".dcm",
}
"""What a format's file is called after the slide's name."""
