"""Doing a study's trainings: train, detect on the test cases, score; side by side, and each only once."""

from dataclasses import dataclass
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.errors import FormatError, MitosieveError
from mitosieve.method.cascade.patch_table import patch_table, write_patch_table
from mitosieve.network.compute import Compute
from mitosieve.recipe.recipe import FoldRun, train_fold
from mitosieve.run import layout
from mitosieve.run.progress import Progress
from mitosieve.scan import Scan, items_of_cohort, origin_of, scan
from mitosieve.score.evaluated import evaluate_folder
from mitosieve.study.plan import Plan, Training
from mitosieve.train.job import Mapper


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training as another process is given it.

    Attributes:
        training: what to do.
        cohort: folder of the data.
        split: the folds.
        compute: machine.
    """

    training: Training
    cohort: Path
    split: Split
    compute: Compute

    @property
    def folder(self) -> Path:
        return self.training.folder


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a training: why it failed; empty where it did not."""

    folder: Path
    failed: str = ""


def do_trainings(
    plan: Plan,
    cohort: Cohort,
    split: Split,
    *,
    compute: Compute,
    mapper: Mapper | None = None,
    progress: Progress | None = None,
) -> list[Done]:
    """Do what is not done yet. One that fails does not end the others.

    Args:
        plan: the trainings; finished ones are left alone, interrupted ones go on.
        cohort: the data.
        split: its folds.
        compute: machine.
        mapper: does them side by side or elsewhere; None one after another.
        progress: told how far the work is.
    """
    left = [one for one in plan.trainings if not one.is_done]
    tasks = [Task(training=one, cohort=cohort.folder, split=split, compute=compute) for one in left]
    if mapper is not None:
        return list(mapper(do_training, tasks))
    return [do_training(task, progress) for task in tasks]


def do_training(task: Task, progress: Progress | None = None) -> Done:
    """Train, detect with every detector that is asked for, and score; a fault of data or disk is told, not raised."""
    one = task.training
    try:
        cohort = Cohort.load(task.cohort)
        what = FoldRun(recipe=one.recipe, cohort=cohort, split=task.split, fold=one.fold, out=one.folder)
        train_fold(what, compute=task.compute, resume=True, progress=progress)
        cases = task.split.fold(one.fold).test
        failed: dict[str, str] = {}
        for name in one.detectors:
            failed |= _score(one, name, cohort, cases, task.compute, progress)
        if not failed and one.windows and not one.has_windows():
            rows = patch_table(one.folder, cohort, task.split, one.fold, compute=task.compute, progress=progress)
            write_patch_table(one.folder / layout.PATCH_TABLE, rows)
        one.keep()
    except MitosieveError as error:
        return Done(folder=one.folder, failed=str(error))
    broken = "; ".join(f"{slide}: {why}" for slide, why in failed.items())
    return Done(folder=one.folder, failed=f"not scored, for slides failed: {broken}" if broken else "")


def _score(
    one: Training, name: str, cohort: Cohort, cases: tuple[str, ...], compute: Compute, progress: Progress | None
) -> dict[str, str]:
    """Detect and score with one detector of the run; where a slide failed nothing is scored: slide_id -> why."""
    if one.is_tested(name):
        return {}
    if not (one.folder / name / layout.DETECTOR_CONFIG).exists():
        there = sorted(path.parent.name for path in one.folder.glob(f"*/{layout.DETECTOR_CONFIG}"))
        raise FormatError(
            f"left no detector '{name}'",
            where=one.folder,
            remedy=f"name one of {', '.join(there)}, or give the recipe the control or part that leaves it",
        )
    job = Scan(
        detector=one.folder if name == layout.DETECTOR else one.folder / name,
        items=items_of_cohort(cohort, cases),
        out=one.test(name),
        origin=origin_of(cohort, one.fold, layout.TEST),
        compute=compute,
        resume=True,
        formats=(),
        progress=progress,
    )
    failed = scan(job).failed
    if not failed:
        evaluate_folder(job.out, cohort, cases=cases)
    return failed
