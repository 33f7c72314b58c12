"""Slides that a job of detection has not seen, by its slides.csv: where they are scored, their figures count as missed.

Reads what `scan.tables` writes; stands here because scoring must know it, whoever asks for scores.
"""

from collections.abc import Iterable
from pathlib import Path

from mitosieve.cohort.table import Row, read_table
from mitosieve.run import layout


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


def unseen_in(folder: Path, slide_ids: Iterable[str]) -> list[str]:
    """Of these slides those that a job into `folder` failed on or was not given; none where it was no job.

    Raises:
        FormatError: as `read_slides`.
    """
    if not (folder / layout.SLIDES).exists():
        return []
    seen = {row.values["slide_id"] for row in read_slides(folder) if not row.values["error"]}
    return [name for name in slide_ids if name not in seen]
