"""Recipes: all the science of a run in one TOML file. Loads, overrides, checks and writes them; trains one fold.

Asks the registry of methods; knows nothing of how they work.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tomli_w
from pydantic import ValidationError

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Fold, Split
from mitosieve.errors import RecipeError, RunFolderError, SlideError, SplitError, some
from mitosieve.method.registry import METHODS, Recipe, run_recipe
from mitosieve.network.compute import Compute, machine
from mitosieve.recipe.keys import check_keys, known_keys, unknown_key
from mitosieve.recipe.text import recipe_content
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, made_with, write_atomic
from mitosieve.run.log import JobLog, job_log
from mitosieve.run.progress import NOTE, Progress
from mitosieve.sieve.detector import Detector
from mitosieve.train.job import Job, Mapper, Start
from mitosieve.train.known_images import check_images, forget_image, unlike_images

ALL = "all"
"""Name of the fold that has every case in train."""


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, with `key=value` overrides.

    Args:
        name: of a recipe of the package, "default", or the path of a TOML file.
        overrides: e.g. "network.width=0.25"; the value is read as TOML, a bare word as text.

    Raises:
        RecipeError: no such recipe, not TOML, an unknown key (with the nearest valid one), a wrong type, or a value out
            of range; the message names file and key. Or values that no detector can have together.
    """
    content, where = recipe_content(name, overrides)
    check_keys(content, where)
    method = str(content["method"])
    try:
        recipe = cast(Recipe, METHODS[method].recipe.model_validate(content))
    except ValidationError as error:
        raise _explain(error, method, where) from error
    try:
        METHODS[method].detector(recipe)
    except ValidationError as error:
        fault = error.errors()[0]
        what = ": ".join([*(str(part) for part in fault["loc"]), fault["msg"].removeprefix("Value error, ")])
        raise RecipeError(
            f"its detector could not be made: {what}", where=where, remedy="give other values to what it names"
        ) from error
    return recipe


def recipe_to_toml(recipe: Recipe) -> str:
    """The effective recipe: every value, also the defaults."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _explain(error: ValidationError, method: str, where: str) -> RecipeError:
    """The first fault of a recipe in words: where, what, and the nearest valid key."""
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path) or "the recipe"
    renamed = METHODS[method].renamed
    if key in renamed:
        return RecipeError(f"the key '{key}' has another name", where=where, remedy=f"write {renamed[key]}")
    if fault["type"] == "extra_forbidden":
        return unknown_key(key, known_keys()[method]["keys"], where)
    given = "" if isinstance(fault.get("input"), dict) else f" (given: {fault.get('input')!r})"
    return RecipeError(f"{key}: {fault['msg']}{given}", where=where, remedy="mend this value")


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """One training of one fold: what fixes its result, and where it goes.

    Attributes:
        recipe: the science.
        cohort: the data.
        split: its folds.
        fold: which of them.
        out: run folder.
        start: detector to go on from; None begins with fresh networks.
    """

    recipe: Recipe
    cohort: Cohort
    split: Split
    fold: str
    out: Path
    start: Start | None = None

    def provenance(self) -> dict[str, Any]:
        """What a resumed run must agree with: recipe, fold and data."""
        return {
            **provenance_of(self.recipe, self.cohort),
            "fold": {"name": self.fold, **parts_of(self.split, self.fold)},
            **({} if self.start is None else {"start": self.start.detector.digest}),
        }

    def refuse_other_images(self) -> None:
        """Refuse a run at `out` that has learned from other images of the same names, be they exported anew or the same
        frames with their stain exchanged. Where the cohort lies where it did, their sizes are looked at, and the
        content of files that were written since.

        Raises:
            RunFolderError: naming them.
            SlideError: an image cannot be read.
        """
        run = RunFolder(self.out)
        if not (run / layout.RUN).exists():
            return
        is_moved = run.read_mark().provenance.get("cohort") != str(self.cohort.folder.resolve())
        other = unlike_images(run, self.cohort, by_content=is_moved)
        if other:
            raise RunFolderError(
                f"was trained on other images of {len(other)} slides: {some(other)}",
                where=self.out,
                remedy="give --runs a folder of its own for each version of the images",
            )

    @property
    def unknown_of_start(self) -> str:
        """What is to be said where a fold is judged and nobody can tell all that the start has learned from."""
        fold = self.split.fold(self.fold)
        if self.start is None or self.start.learned.all_known or not (fold.validation or fold.test):
            return ""
        return (
            f"warning: nobody can tell all cases that {self.start.named} has learned from: see yourself that no "
            f"validation or test case of fold {self.fold} is one of them"
        )


def provenance_of(recipe: Recipe, cohort: Cohort) -> dict[str, Any]:
    """What is asked of every training of a recipe on a cohort; what computes it is not in it.

    Raises:
        MitosieveError: what the method can refuse before it starts.
    """
    return {
        **METHODS[recipe.method].provenance(recipe),
        "recipe": recipe.model_dump(mode="json"),
        "cohort": str(cohort.folder.resolve()),
        "cohort_hash": cohort.hash(),
    }


def check_validation(recipe: Recipe, split: Split, folds: Sequence[str], *, where: str | Path | None = None) -> None:
    """Refuse, before anything is made, folds without validation cases for a recipe that chooses on them.

    Args:
        recipe: what is chosen is its affair.
        split: of the folds.
        folds: that are to be trained.
        where: file of the split, where it is known.

    Raises:
        SplitError: naming the folds and what is chosen; or there is no such fold.
    """
    chosen = METHODS[recipe.method].chosen(recipe)
    if chosen:
        split.require_validation(
            folds,
            why=f"this recipe of method {recipe.method} chooses {chosen} on them",
            where=where,
            remedy="take a split with validation cases"
            + (", or give these thresholds as numbers" if chosen.startswith("thresholds") else ""),
        )


def check_start(recipe: Recipe, start: Start) -> None:
    """Refuse a training that cannot go on from a detector.

    Raises:
        RecipeError: the method begins with fresh networks alone, or the networks are others.
    """
    method = METHODS[recipe.method]
    if method.shapes is None:
        able = [name for name, one in METHODS.items() if one.shapes is not None]
        raise RecipeError(
            f"method {recipe.method} cannot go on from a detector: {method.no_start}",
            remedy=f"take a recipe of method {' or '.join(able)}, or leave out --start",
        )
    start.check(method.shapes(recipe), mpp=recipe.frame.mpp, stain=recipe.frame.stain)


def check_unseen(start: Start, cohort: Cohort, split: Split, fold: str) -> None:
    """Refuse a fold that would be judged on what the start has learned from.

    Raises:
        SplitError: a validation or test case is a training case of the start, or of what that went on from, in whatever
            way it is written (`case_id.alike`).
    """
    judged = {*split.fold(fold).validation, *split.fold(fold).test}
    seen = start.learned.among(judged, ((entry.slide_id, entry.case_id) for entry in cohort.slides))
    if seen:
        raise SplitError(
            f"validation and test of fold {fold} hold {len(seen)} cases that the start has trained on: "
            f"{', '.join(seen[:5])}",
            where=start.named,
            remedy="take the fold that the start was trained on, or leave out --split to train on all cases",
        )


def whole_cohort(cohort: Cohort) -> Split:
    """A split of one fold, `all`, that trains on every case and judges on none."""
    return Split(folds={ALL: Fold(train=cohort.cases, validation=(), test=())})


def parts_of(split: Split, fold: str) -> dict[str, list[str]]:
    """Cases of each part of a fold."""
    return split.fold(fold).parts


def train_fold(
    what: FoldRun,
    *,
    compute: Compute,
    resume: bool,
    progress: Progress | None = None,
    mapper: Mapper | None = None,
) -> Detector:
    """Train one fold into its run folder.

    Args:
        what: to train.
        compute: machine.
        resume: whether to go on with an earlier try.
        progress: told how far the work is.
        mapper: does the independent trainings of a search side by side or elsewhere.

    Raises:
        SplitError: the split does not fit the cohort, there is no such fold, or it has no validation case and the
            recipe chooses something there.
        RunFolderError: the folder holds another run, or one of images that have changed since, or is in use.
        RecipeError: the recipe cannot go on from the start.
        SlideError: an image cannot be read.
    """
    what.split.check(what.cohort, judged=what.fold != ALL)
    check_validation(what.recipe, what.split, [what.fold])
    if what.start is not None:
        check_start(what.recipe, what.start)
        check_unseen(what.start, what.cohort, what.split, what.fold)
    fold = what.split.fold(what.fold)
    facts = what.provenance()
    run = RunFolder.create(what.out, facts, kind=layout.Kind.TRAIN, resume=resume)
    with run.lock(), job_log(run.path, progress) as log:
        check_images(run, what.cohort, (*fold.train, *fold.validation))
        run.keep_places(facts)
        write_atomic(run / layout.RECIPE, recipe_to_toml(what.recipe))
        what.split.save(run / layout.SPLIT)
        _keep_makers(run, dict(machine(compute)), log)
        if what.start is not None:
            what.start.keep_learned(run.path, facts)
            log.line(what.unknown_of_start or _of_known(what.start))
        job = Job(
            cohort=what.cohort,
            fold=fold,
            run=run,
            compute=compute,
            progress=log,
            mapper=mapper,
            stages=METHODS[what.recipe.method].stages(what.recipe),
            start=what.start,
        )
        try:
            detector = run_recipe(what.recipe, job)
        except SlideError as error:
            forget_image(run, what.cohort, error)
            raise
        if what.start is not None:  # so that whoever copies the detector out of its run has it too
            what.start.keep_learned(run.path, facts).save(run / layout.DETECTOR)
        shutil.rmtree(run / layout.FRAMES, ignore_errors=True)
    return detector


def _of_known(start: Start) -> str:
    """For the log of a training that goes on, where nothing is to be warned of."""
    if start.learned.all_known:
        return "what the start has learned from is known, and is not judged on"
    return f"nobody can tell all cases that {start.named} has learned from; this fold judges nothing"


def _keep_makers(run: RunFolder, now: dict[str, Any], log: JobLog) -> None:
    """Write by which machine and which code the training began; where others go on, add them and say so. A finished one
    has no others.
    """
    is_over = (run / layout.DETECTOR / layout.DETECTOR_CONFIG).exists()
    for name, facts in ((layout.MACHINE, now), (layout.VERSIONS, made_with())):
        first = run.keep_later(name, facts, is_over=is_over)
        if first is not None:
            other = f"goes on as {_unlike(facts, first)}, and began as {_unlike(first, facts)}"
            log(NOTE, 0, 0, text=f"{other}: what is computed may differ, often in last digits alone")


def _unlike(facts: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """Those of the facts that others do not have, in words."""
    flat, flat_others = ({**one, **one.get("versions", {})} for one in (facts, others))
    unlike = (key for key in flat if key != "versions" and flat[key] != flat_others.get(key))
    return ", ".join(f"{key} {flat[key]}" for key in unlike) or "something else"
