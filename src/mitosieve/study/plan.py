"""Which trainings a study needs: each is an ordinary run folder, named by what is asked for (recipe, fold and data, not
what computes it), and done once however many rows, studies or tries ask for it.
"""

import csv
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.errors import RecipeError, SplitError
from mitosieve.recipe.recipe import FoldRun, Recipe, load_recipe
from mitosieve.run import layout
from mitosieve.scan.tables import failed_slides
from mitosieve.study.study import Study

_HASH_LETTERS = 10
_WINDOW_PARTS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of one fold with one seed, and which of its detectors are scored.

    Attributes:
        recipe: the science; its seed is the study's.
        fold, seed: of it.
        folder: its run folder.
        detectors: names of detector folders in it.
        windows: whether its networks are asked about the paper's windows too.
    """

    recipe: Recipe
    fold: str
    seed: int
    folder: Path
    detectors: tuple[str, ...]
    windows: bool = False

    @property
    def is_done(self) -> bool:
        """Whether all its detectors have been scored on the test cases, and what else is asked stands."""
        scored = all(is_scored(self.folder / test_of(name)) for name in self.detectors)
        return scored and (not self.windows or windows_of(self.folder) is not None)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study's trainings.

    Attributes:
        trainings: by seed, then by row, then by fold: after the first seed the whole table stands once.
        folders: (row, fold, seed) -> run folder.
        folds: names.
    """

    trainings: tuple[Training, ...]
    folders: dict[tuple[str, str, int], Path]
    folds: tuple[str, ...]


def test_of(detector: str) -> str:
    """Folder in a run with a detector's detections on the test cases: "test", "test-chosen"."""
    return detector.replace(layout.DETECTOR, layout.TEST, 1)


def is_scored(test: Path) -> bool:
    """Whether a folder has scores of all its slides: one that failed would count as without a single figure found.

    Raises:
        FormatError: its slides.csv is broken.
    """
    return (test / layout.METRICS).exists() and not failed_slides(test)


def windows_of(folder: Path) -> list[dict[str, str]] | None:
    """Rows of a run's table of patches, of the training and the test part; None where it lacks one of them, as one that
    was made for another part alone, or the detections that the run has.
    """
    file = folder / layout.PATCH_TABLE
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("part") in _WINDOW_PARTS]
    wanted = {(part, "patches") for part in _WINDOW_PARTS}
    wanted |= {(layout.TEST, "detections")} if (folder / layout.TEST / layout.METRICS).exists() else set()
    return rows if wanted <= {(row["part"], row.get("counted")) for row in rows} else None


def plan_study(study: Study, cohort: Cohort, split: Split, runs: Path) -> Plan:
    """The trainings of a study, each once.

    Args:
        study: what is compared.
        cohort: the data.
        split: its folds.
        runs: where run folders are, and are looked for.

    Raises:
        RecipeError: a row's recipe cannot be read, or is of no method that knows the paper's windows though the study
            asks for them.
        SplitError: the split does not fit the cohort, has no such fold, or tests a case twice.
        MitosieveError: what a method refuses before it starts.
    """
    split.check(cohort)
    folds = study.folds or tuple(split.folds)
    tested = [case for name in folds for case in split.fold(name).test]
    twice = sorted({case for case in tested if tested.count(case) > 1})
    if twice:
        raise SplitError(f"the case {twice[0]} is tested in more than one of the folds", remedy="choose other folds")
    wanted: dict[Path, tuple[Recipe, str, int, list[str]]] = {}
    folders: dict[tuple[str, str, int], Path] = {}
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
                folders[row.name, fold, seed] = folder
                detectors = wanted.setdefault(folder, (recipe, fold, seed, []))[3]
                if row.detector not in detectors:
                    detectors.append(row.detector)
    trainings = tuple(
        Training(recipe=recipe, fold=fold, seed=seed, folder=folder, detectors=tuple(detectors), windows=study.windows)
        for folder, (recipe, fold, seed, detectors) in wanted.items()
    )
    return Plan(trainings=trainings, folders=folders, folds=folds)


def _folder_name(recipe: str, what: FoldRun, seed: int) -> str:
    """For eyes the recipe, fold and seed; for machines a hash of all that is asked for but where the data lie.

    What computes it is not in it: version of the package, device, precision, threads.
    """
    provenance = {key: value for key, value in what.provenance().items() if key != "cohort"}
    text = json.dumps(provenance, sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LETTERS]
    words = [re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in (Path(recipe).stem, what.fold)]
    return f"{words[0]}-{words[1]}-seed{seed}-{mark}"
