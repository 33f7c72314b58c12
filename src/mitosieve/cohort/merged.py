"""What is checked over a whole cohort: ids, images and patients that come twice."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from mitosieve.cohort.case_id import alike, case_of, tissues_of
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.marked import Caution
from mitosieve.errors import CohortError, FormatError, plural, some
from mitosieve.run.folder import hash_file

_ENDS = 65536
"""Bytes of each end of a file that are compared before all of it is read: frames of one camera have one size."""


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
            plural(len(clash), f"slide of {source} is", f"slides of {source} are")
            + f" in this cohort already: {some(clash)}",
            where=old.folder,
            remedy="if they were imported before, nothing is left to do; else import into another cohort folder",
        )
    _refuse_known_images(old, entries)


def _refuse_known_images(old: Cohort, entries: list[SlideEntry]) -> None:
    """Refuse an image that the cohort has under another slide_id: its case may differ, and then folds leak."""

    def known_by(entry: SlideEntry) -> tuple[object, Path]:
        """Its slide and its content's place: a link to an image of the cohort is that image."""
        return old.image_of(entry), (old.folder / entry.path).resolve()

    there = {key: entry.slide_id for entry in old.slides for key in known_by(entry)}
    keys = [known_by(entry) for entry in entries]
    again = {real: there[key] for slide, real in keys for key in (slide, real) if key in there}
    if again:
        raise CohortError(
            f"{plural(len(again), 'image is', 'images are')} in this cohort already: "
            + some(f"{p} as {name}" for p, name in again.items()),
            where=old.folder,
            remedy="import the others alone, or into another cohort folder",
        )


def shared_cases(old: Cohort, entries: Sequence[SlideEntry]) -> list[str]:
    """Cases of new slides that the cohort has already, sorted."""
    return sorted({entry.case_id for entry in entries} & set(old.cases))


def told_shared(shared: Sequence[str], source: str) -> list[Caution]:
    """What is said of cases that two imports have.

    Args:
        shared: the cases.
        source: what the new slides' source is called where nobody has said it; empty where somebody has.
    """
    if not shared:
        return []
    marked = f"; the new slides have the source '{source}', so that split can say this again" if source else ""
    text = (
        f"the cases {some(shared)} are in the cohort already and are taken for the same patients{marked}; if they are "
        "other patients, import into the cohort as it was with --case-prefix, or change case_id in slides.csv"
    )
    return [Caution(text=text)]


def doubtful_patients(cohort: Cohort) -> list[Caution]:
    """What may put one patient on both sides of a split: for every import over the whole cohort, and for split.

    Case ids that differ only in how they are written (of a MITOS tissue also with its scanner's letter or without); a
    case id of two sources; one whose images have one name in several folders, each of which may be a patient; images of
    equal bytes.
    """
    return [*_alike(cohort), *_of_two_sources(cohort), *_of_several_folders(cohort), *_equal_images(cohort)]


def _alike(cohort: Cohort) -> list[Caution]:
    groups = alike(cohort.cases, tissues_of((entry.slide_id, entry.case_id) for entry in cohort.slides))
    if not groups:
        return []
    shown = some((" = ".join(f"'{case}'" for case in group) for group in groups), "; ")
    text = f"{plural(len(groups), 'patient')} perhaps written in several ways, and counted as several cases: {shown}"
    return [Caution(text=f"{text}; write one case_id for each in slides.csv")]


def _of_two_sources(cohort: Cohort) -> list[Caution]:
    sources: dict[str, set[str]] = {}
    for entry in cohort.slides:
        sources.setdefault(entry.case_id, set()).add(entry.source)
    shared = {case: sorted(own) for case, own in sources.items() if len(own) > 1}
    if not shared:
        return []
    shown = some(f"'{case}' ({' and '.join(repr(one) for one in own)})" for case, own in sorted(shared.items()))
    text = f"{plural(len(shared), 'case id')} in two sources, taken for the same patient in both: {shown}"
    return [
        Caution(
            text=f"{text}; if they are others, import one source with --case-prefix; if they are the same, write one "
            "source for both in slides.csv"
        )
    ]


def _of_several_folders(cohort: Cohort) -> list[Caution]:
    """Cases that images' names gave, where the folders may have been the patients: P1/01.png and P2/01.png."""
    folders: dict[tuple[str, str], list[Path]] = {}
    for entry in cohort.slides:
        path = cohort.place_of(entry)
        if entry.case_id == case_of(path.name):
            folders.setdefault((entry.case_id, path.name), []).append(path.parent)
    found = {case: _apart(places) for (case, _), places in folders.items() if len(set(places)) > 1}
    if not found:
        return []
    shown = some(f"'{case}' ({' and '.join(names)})" for case, names in sorted(found.items()))
    text = f"{plural(len(found), 'case id')} of images that have one name in several folders: {shown}"
    return [
        Caution(
            text=f"{text}; if each folder is a patient, write it as case_id in slides.csv; if they are one patient, "
            "write another id than the images' name"
        )
    ]


def _apart(folders: Sequence[Path]) -> list[str]:
    """Folders by what their paths do not share."""
    shared = Path(os.path.commonpath(folders))
    return sorted({str(folder.relative_to(shared)) if folder != shared else shared.name for folder in folders})


def _equal_images(cohort: Cohort) -> list[Caution]:
    """Images of the same bytes: by size, then by their ends, then by all of them."""
    paths = {entry.slide_id: cohort.path_of(entry.slide_id) for entry in cohort.slides}
    groups: list[list[str]] = [[name for name, path in paths.items() if path.is_file()]]
    for key in (_size, _ends_hash, _whole_hash):
        groups = [part for group in groups for part in _parted(group, paths, key)]
    if not groups:
        return []
    case = cohort.case_of
    leaks = [group for group in groups if len({case[name] for name in group}) > 1]
    shown = some((" = ".join(f"{name} (case {case[name]})" for name in group) for group in leaks or groups), "; ")
    copies = sum(map(len, groups)) - len(groups)
    twice = f"{plural(copies, 'image is a copy', 'images are copies')} of another, byte for byte"
    across = f", {len(leaks)} of them under another case" if leaks else ""
    return [Caution(text=f"{twice}{across}: {shown}; keep one of each")]


def _parted(group: list[str], paths: dict[str, Path], key: Callable[[Path], object]) -> list[list[str]]:
    """A group in parts of equal key, those of one left out; so is what cannot be read."""
    parts: dict[object, list[str]] = {}
    for name in group:
        with contextlib.suppress(OSError):
            parts.setdefault(key(paths[name]), []).append(name)
    return [part for part in parts.values() if len(part) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _ends_hash(path: Path) -> str:
    with path.open("rb") as file:
        first = file.read(_ENDS)
        file.seek(max(0, path.stat().st_size - _ENDS))
        return hashlib.sha256(first + file.read(_ENDS)).hexdigest()


def _whole_hash(path: Path) -> str:
    return hash_file(path)
