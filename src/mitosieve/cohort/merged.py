"""What is checked over a whole cohort: ids, images and patients that come twice."""

from collections import Counter
from pathlib import Path

from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.marked import Caution
from mitosieve.errors import CohortError, FormatError, some


def refuse_clashes(old: Cohort, entries: list[SlideEntry], source: Path) -> None:
    """Refuse new slides whose id or image the cohort has already, or that share an id.

    Raises:
        FormatError: two new slides share an id.
        CohortError: the cohort has a slide or an image already.
    """
    ids = [entry.slide_id for entry in entries]
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise FormatError(
            f"two images would get the slide_id {some(twice)}", where=source, remedy="give the images different names"
        )
    there = {entry.slide_id for entry in old.slides}
    clash = [name for name in ids if name in there]
    if clash:
        raise CohortError(
            f"{len(clash)} slides of {source} are in this cohort already: {some(clash)}",
            where=old.folder,
            remedy="if they were imported before, nothing is left to do; else import into another cohort folder",
        )
    _refuse_known_images(old, entries)


def _refuse_known_images(old: Cohort, entries: list[SlideEntry]) -> None:
    """Refuse an image that the cohort has under another slide_id: its case may differ, and then folds leak."""
    there = {(old.folder / entry.path).resolve(): entry.slide_id for entry in old.slides}
    again = {path: there[path] for entry in entries if (path := (old.folder / entry.path).resolve()) in there}
    if again:
        raise CohortError(
            f"{len(again)} images are in this cohort already: {some(f'{p} as {name}' for p, name in again.items())}",
            where=old.folder,
            remedy="import the others alone, or into another cohort folder",
        )


def shared_cases(old: Cohort, entries: list[SlideEntry]) -> list[Caution]:
    """What to say of new slides whose cases the cohort has already."""
    shared = sorted({entry.case_id for entry in entries} & set(old.cases))
    if not shared:
        return []
    text = (
        "are in the cohort already and are taken for the same patients; if they are not, change case_id in slides.csv"
    )
    return [Caution(text=f"the cases {some(shared)} {text}")]
