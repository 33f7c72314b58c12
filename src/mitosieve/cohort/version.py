"""A new version of a cohort in a folder of its own: the old one stays."""

from dataclasses import replace
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import CohortError


def refuse_used(out: Path) -> None:
    """Refuse to write a new version over something.

    Raises:
        CohortError: the folder holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CohortError("holds something already", where=out, remedy="name a new or empty folder for --out")


def relocated(cohort: Cohort, folder: Path) -> Cohort:
    """The same cohort for saving in another folder: relative slide paths become absolute."""
    moved = cohort.with_entries(lambda e: replace(e, path=str(cohort.place_of(e))))
    return Cohort(folder, moved.slides, moved.annotations)
