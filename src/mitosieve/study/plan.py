"""Which trainings a study needs: each is an ordinary run folder, named by what is asked for (recipe, fold and data, not
what computes it), and done once however many rows, studies or tries ask for it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.errors import RecipeError, SplitError
from mitosieve.recipe.recipe import FoldRun, Recipe, load_recipe
from mitosieve.study.record import copy_record, is_kept, is_scored, is_whole, keep, test_of, windows_of
from mitosieve.study.study import Study

_HASH_LETTERS = 10


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of one fold with one seed, and which of its detectors are scored.

    Attributes:
        recipe: the science; its seed is the study's.
        fold, seed: of it.
        folder: its run folder.
        kept: where a record of it may be: first the study's own, then those of other studies.
        detectors: names of detector folders in it.
        windows: whether its networks are asked about the paper's windows too.
    """

    recipe: Recipe
    fold: str
    seed: int
    folder: Path
    kept: tuple[Path, ...]
    detectors: tuple[str, ...]
    windows: bool = False

    @property
    def is_run(self) -> bool:
        """Whether its run folder has all its detectors scored on the test cases, and what else is asked."""
        return is_whole(self.folder, self.detectors, windows=self.windows)

    @property
    def record(self) -> Path | None:
        """The first record that has all that; None where none has."""
        whole = (folder for folder in self.kept if is_kept(folder, self.detectors, windows=self.windows))
        return next(whole, None)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.is_run or self.record is not None

    def test(self, detector: str) -> Path:
        """Folder in the run of what a detector finds on the test cases."""
        return self.folder / test_of(detector)

    def is_tested(self, detector: str) -> bool:
        """Whether the run has scores of a detector on all test slides."""
        return is_scored(self.test(detector))

    def has_windows(self) -> bool:
        """Whether the run has a whole table of the paper's windows."""
        return windows_of(self.folder) is not None

    def keep(self) -> None:
        """Write the study's own record of it: of its run folder, else of another study's record.

        A run of which a part is scored gives way to a record that has all.

        Raises:
            FormatError: a file of the run is broken, or a record that is needed.
            StorageError: the record cannot be written.
        """
        own = self.kept[0]
        whole = None if self.is_run else self.record
        if whole is None:
            keep(self.folder, own, self.detectors)
        elif whole != own:
            copy_record(whole, own)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study's trainings.

    Attributes:
        trainings: by seed, then by row, then by fold: after the first seed the whole table stands once.
        of: (row, fold, seed) -> its training.
        folds: names.
    """

    trainings: tuple[Training, ...]
    of: dict[tuple[str, str, int], Training]
    folds: tuple[str, ...]


def plan_study(study: Study, cohort: Cohort, split: Split, runs: Path, records: Sequence[Path]) -> Plan:
    """The trainings of a study, each once.

    Args:
        study: what is compared.
        cohort: the data.
        split: its folds.
        runs: where run folders are, and are looked for.
        records: where records are looked for; those of the study itself first.

    Raises:
        RecipeError: a row's recipe cannot be read, or is of no method that knows the paper's windows though the study
            asks for them.
        SplitError: the split does not fit the cohort, has no such fold, or tests a case twice.
        RunFolderError: a run folder was trained on other images of the same names.
        MitosieveError: what a method refuses before it starts.
    """
    split.check(cohort)
    folds = study.folds or tuple(split.folds)
    tested = [case for name in folds for case in split.fold(name).test]
    twice = sorted({case for case in tested if tested.count(case) > 1})
    if twice:
        raise SplitError(f"the case {twice[0]} is tested in more than one of the folds", remedy="choose other folds")
    wanted: dict[Path, tuple[Recipe, str, int, list[str]]] = {}
    names: dict[tuple[str, str, int], Path] = {}
    for seed in study.seeds:
        for row in study.rows:
            recipe = load_recipe(study.recipe_of(row), study.overrides_of(row, seed))
            if study.windows and recipe.method != "chsnet":
                raise RecipeError(
                    f"row '{row.name}' is of method {recipe.method}: only CHS-NET's recipes have the paper's windows",
                    remedy="drop windows = true, or choose a recipe of method chsnet",
                )
            for fold in folds:
                what = FoldRun(recipe=recipe, cohort=cohort, split=split, fold=fold, out=runs)
                folder = runs / _folder_name(study.recipe_of(row), what, seed)
                names[row.name, fold, seed] = folder
                if folder not in wanted:
                    replace(what, out=folder).refuse_other_images()
                detectors = wanted.setdefault(folder, (recipe, fold, seed, []))[3]
                if row.detector not in detectors:
                    detectors.append(row.detector)
    trainings = {
        folder: Training(
            recipe=recipe,
            fold=fold,
            seed=seed,
            folder=folder,
            kept=tuple(where / folder.name for where in records),
            detectors=tuple(detectors),
            windows=study.windows,
        )
        for folder, (recipe, fold, seed, detectors) in wanted.items()
    }
    of = {cell: trainings[folder] for cell, folder in names.items()}
    return Plan(trainings=tuple(trainings.values()), of=of, folds=folds)


def _folder_name(recipe: str, what: FoldRun, seed: int) -> str:
    """For eyes the recipe, fold and seed; for machines a hash of all that is asked for but where the data lie.

    What computes it is not in it: version of the package, device, precision, threads.
    """
    provenance = {key: value for key, value in what.provenance().items() if key != "cohort"}
    text = json.dumps(provenance, sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LETTERS]
    words = [re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in (Path(recipe).stem, what.fold)]
    return f"{words[0]}-{words[1]}-seed{seed}-{mark}"
