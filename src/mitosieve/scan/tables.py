"""What a job of detection says of itself: detect.json and slides.csv, written and read again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.table import Row, read_table
from mitosieve.run import layout
from mitosieve.run.folder import read_json, write_atomic, write_json

SLIDE_COLUMNS = ("slide_id", "mpp", "tissue_mm2", "figures", "error")
"""Of slides.csv: um per level-0 px, and empty where the slide failed but for its name and the error."""


def write_request(folder: Path, request: dict[str, Any]) -> Path:
    """Write detect.json: where detector, cohort and slides came from, and the threshold.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_json(folder / layout.REQUEST, request)


def read_request(folder: Path) -> dict[str, Any]:
    """Content of a folder's detect.json; empty where there is none.

    Raises:
        FormatError: it is no JSON object.
    """
    request: dict[str, Any] = read_json(folder / layout.REQUEST, {})
    return request


def write_slides(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write slides.csv: a row a slide with the columns SLIDE_COLUMNS, in the order given.

    Raises:
        StorageError: the file cannot be written.
    """
    table = pd.DataFrame(rows, columns=list(SLIDE_COLUMNS), dtype=object)
    return write_atomic(folder / layout.SLIDES, table.to_csv(index=False, lineterminator="\n"))


def read_slides(folder: Path, *, optional: tuple[str, ...] = ()) -> list[Row]:
    """The rows of a folder's slides.csv; none where there is none.

    Args:
        folder: of a job.
        optional: further columns that are empty where the file lacks them; slide_id and error are always there.

    Raises:
        FormatError: a column is missing, or a row is broken.
    """
    path = folder / layout.SLIDES
    return read_table(path, required=("slide_id", "error"), optional=optional) if path.exists() else []


def failed_slides(folder: Path) -> dict[str, str]:
    """slide_id -> why, of the slides that a job could not do.

    Raises:
        FormatError: as `read_slides`.
    """
    return {row.values["slide_id"]: row.values["error"] for row in read_slides(folder) if row.values["error"]}


def not_looked_at(folder: Path, cohort: Cohort, cases: tuple[str, ...] | None) -> list[str]:
    """Labelled slides of the cases that a scan into `folder` failed on or was not given; none where it was no scan."""
    if not (folder / layout.SLIDES).exists():
        return []
    seen = {row.values["slide_id"] for row in read_slides(folder) if not row.values["error"]}
    part = cohort if cases is None else cohort.of_cases(cases)
    return [entry.slide_id for entry in part.slides if entry.labelled and entry.slide_id not in seen]
