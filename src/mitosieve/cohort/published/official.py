"""Splits of the literature, as tables of the package (`splits/NAME.csv`: fold, case, part; sources in its README).

A split is written for a cohort as far as the cohort has its cases; whether it can be trained on, `Split.check` says.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import PARTS, Fold, Split
from mitosieve.errors import SplitError, did_you_mean, plural, some

FOLDER = "splits"
"""Where a cohort's split files of the literature lie, below it."""


@dataclass(frozen=True, kw_only=True)
class WrittenSplit:
    """What became of one table.

    Attributes:
        name: of the table.
        path: the split file; None where it was not written.
        folds: names of its folds.
        cases: over all folds, how many different cases train, validate and test.
        note: what a user should know; empty where there is nothing.
        trainable: whether it fits the cohort as it stands.
        validates: whether every fold has validation cases.
    """

    name: str
    path: Path | None
    folds: tuple[str, ...]
    cases: tuple[int, int, int]
    note: str = ""
    trainable: bool = False
    validates: bool = False


def official_names() -> list[str]:
    """Names of the tables that come with the package, sorted."""
    folder = resources.files("mitosieve.cohort.published") / FOLDER
    return sorted(item.name.removesuffix(".csv") for item in folder.iterdir() if item.name.endswith(".csv"))


def official_split(name: str) -> Split:
    """The whole split of a table.

    Raises:
        SplitError: no such table.
    """
    names = official_names()
    if name not in names:
        raise SplitError(f"there is no split '{name}'", remedy=f"{did_you_mean(name, names)}known: {', '.join(names)}")
    with resources.as_file(resources.files("mitosieve.cohort.published") / FOLDER / f"{name}.csv") as path:
        return Split.from_table(path)


def write_official(name: str, cohort: Cohort) -> WrittenSplit:
    """Write one table as COHORT/splits/NAME.json, for the cases that the cohort has.

    Unlabelled cases that it does not name train in every fold, and the note says so; what it leaves out stays out. A
    part that the table fills and the cohort leaves without a labelled case is no split any more: then nothing is
    written, and the note says so.

    Raises:
        SplitError: no such table.
        StorageError: it cannot be written.
    """
    whole = official_split(name)
    dealt = {case for fold in whole.folds.values() for part in PARTS for case in fold.part(part)}
    absent = sorted(dealt - set(cohort.cases))
    present = {fold_name: _present(fold, cohort) for fold_name, fold in whole.folds.items()}
    folds = tuple(whole.folds)
    emptied = _emptied(whole, present, cohort)
    if emptied:
        note = f"not written: no labelled case of its {emptied} is here"
        return WrittenSplit(name=name, path=None, folds=folds, cases=_count(present), note=note)
    split = Split(folds=present).with_unlabelled(cohort)
    gone = plural(len(absent), "of its cases is not here and was", "of its cases are not here and were")
    notes = [f"{gone} left out: {some(absent)}"] if absent else []
    added = sorted(split.cases - whole.cases)
    if added:
        of_train = plural(
            len(added), "unlabelled case that it does not name is", "unlabelled cases that it does not name are"
        )
        notes.append(f"{of_train} in train: {some(added)}")
    trainable = True
    try:
        split.check(cohort)
    except SplitError as fault:
        trainable = False
        notes.append(f"as it stands `mitosieve train` refuses it: {fault.what}")
    path = split.save(cohort.folder / FOLDER / f"{name}.json")
    return WrittenSplit(
        name=name,
        path=path,
        folds=folds,
        cases=_count(split.folds),
        note="; ".join(notes),
        trainable=trainable,
        validates=all(fold.validation for fold in split.folds.values()),
    )


def _present(fold: Fold, cohort: Cohort) -> Fold:
    known = set(cohort.cases)
    here = {part: tuple(case for case in fold.part(part) if case in known) for part in PARTS}
    return Fold(**here, left_out=tuple(case for case in fold.left_out if case in known))


def _emptied(whole: Split, present: dict[str, Fold], cohort: Cohort) -> str:
    """The first part of a fold that the table fills and that has no labelled case in the cohort."""
    labelled = {entry.case_id for entry in cohort.slides if entry.labelled}
    for name, fold in whole.folds.items():
        for part in PARTS:
            if fold.part(part) and not labelled & set(present[name].part(part)):
                return f"{part} part (fold {name})"
    return ""


def _count(folds: dict[str, Fold]) -> tuple[int, int, int]:
    train, validation, test = (len({case for fold in folds.values() for case in fold.part(part)}) for part in PARTS)
    return train, validation, test
