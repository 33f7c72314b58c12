"""Slides that a job of detection has not seen, by its slides.csv: where they are scored, their figures count as missed.

Reads what `scan.tables` writes; stands here because scoring must know it, whoever asks for scores.
"""

from collections.abc import Iterable, Sequence
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


def unseen_in(jobs: Sequence[Path], slide_ids: Iterable[str]) -> list[str]:
    """Of these slides those that jobs into these folders failed on or were not given. A folder without slides.csv may
    have seen any slide: then those alone that others failed on.

    Raises:
        FormatError: as `read_slides`.
    """
    rows = [row for job in jobs for row in read_slides(job)]
    given = {row.values["slide_id"] for row in rows}
    seen = {row.values["slide_id"] for row in rows if not row.values["error"]}
    all_tell = all((job / layout.SLIDES).exists() for job in jobs)
    return [name for name in slide_ids if name not in seen and (all_tell or name in given)]
