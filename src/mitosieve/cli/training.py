"""Commands that train."""

import contextlib
import json
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitosieve.cli.app import (
    SLIDES_FAILED,
    CohortArg,
    DeviceOpt,
    FoldOpt,
    PrecisionOpt,
    QuietOpt,
    RecipeArg,
    ResumeOpt,
    SetOpt,
    TheSplitOpt,
    ThreadsOpt,
    VerboseOpt,
    app,
    compute_of,
    split_of,
)
from mitosieve.cli.arguments import a_split, images_are_there, new_folder
from mitosieve.cli.terminal import (
    print_balance,
    print_budget,
    print_regimes,
    print_rounds,
    print_scores,
    print_verdicts,
    progress_bars,
    say,
    tell_next,
    voice,
    warn,
)
from mitosieve.errors import InputError, SlideError
from mitosieve.run import layout

if TYPE_CHECKING:
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import Split
    from mitosieve.recipe.recipe import FoldRun, Recipe
    from mitosieve.run.progress import Progress
    from mitosieve.train.job import Mapper

WorkersOpt = Annotated[
    int, typer.Option("--workers", min=1, help="Processes for trainings that are independent of each other.")
]
ClusterOpt = Annotated[
    str | None,
    typer.Option("--cluster", metavar="auto|HOST:PORT", help="Do independent trainings on a Ray cluster."),
]

_PRINT: dict[str, Callable[[dict[str, Any]], None]] = {
    layout.MINING: print_rounds,
    layout.BUDGET: print_budget,
    layout.NEGATIVES: print_balance,
    layout.VERDICTS_SUMMARY: print_verdicts,
    layout.REGIMES: print_regimes,
}
"""How a table that a method leaves is shown in a terminal."""


@app.command()
def train(
    recipe: RecipeArg,
    cohort: CohortArg,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder.")],
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            help="Split file; with --start none is all cases, thresholds of the start.",
            callback=a_split,
        ),
    ] = None,
    fold: FoldOpt = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="NAME|FOLDER", help="Detector whose networks are trained on.")
    ] = None,
    resume: ResumeOpt = False,
    workers: WorkersOpt = 1,
    cluster: ClusterOpt = None,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
    quiet: QuietOpt = False,
    verbose: VerboseOpt = False,
    settings: SetOpt = None,
) -> None:
    """Train a recipe on one fold: thresholds from validation cases, the recipe or out of fold, test cases untouched.

    `mitosieve recipes` lists the recipes of the package, `mitosieve recipe NAME` prints one with its comments:
    what it prints, changed and saved as mine.toml, is a recipe too.

    Controls are trainings beside the method that differ from it in one stated thing, so that a part's worth can be
    told. finegrained: tables [[controls]] in the recipe, each the chosen regime with something changed; 'controls=[]'
    leaves them out. dasc: the stages to go without, and "rule" for the other noise rule, --set
    'controls=["search","memory","levels","contrast","rule"]'. finegrained's end as RUN/detector-NAME, dasc's as
    RUN/detector-without-NAME and RUN/detector-other-rule, beside RUN/detector.

    Parts are how the training slides are divided within, so that what judges a patch has not learned from it:
    out-of-fold scores come from as many networks as a recipe's `parts` or `mining.folds` says. Test cases are no
    part of it; validation cases are in `sieve` alone, which learns from them too.

    --start goes on from a detector with networks of the recipe's kind (methods swift and chsnet): its weights and its
    stain, each network shown first what it is most wrong about. Recipe `swift-tune` is swift for that. Take the old
    cohort with the reviews: on reviews alone a detector forgets what nobody reviewed.
    """
    if (split is None) != (fold is None) or (split is None and start is None):
        raise InputError("a training needs both --split and --fold", remedy="name both; --start can do without")
    new_folder(out, joins=resume)
    whole = _looked_at(cohort)
    from mitosieve.method.registry import METHODS  # from here on it takes seconds
    from mitosieve.recipe.recipe import ALL, FoldRun, Start, check_validation, load_recipe, train_fold, whole_cohort

    begun = None if start is None else Start.load(start)
    given = (*(begun.thresholds if begun is not None and split is None else ()), *(settings or ()))
    science = load_recipe(recipe, given)
    chosen = whole_cohort(whole) if split is None else split_of(split, whole)
    fold = ALL if fold is None else fold
    check_validation(science, chosen, [fold], where=split)
    what = FoldRun(recipe=science, cohort=whole, split=chosen, fold=fold, out=out, start=begun)
    if begun is not None:
        _warn_of_start(what)
    compute = compute_of(device, precision, threads)
    with progress_bars() as show, mapper_of(workers, cluster, threads, compute.device, out, show) as mapper:
        detector = train_fold(what, compute=compute, resume=resume, progress=show, mapper=mapper)
    _note_bare(science, chosen, [fold])
    for name in METHODS[science.method].tables:
        if (out / name).exists():
            _PRINT[name](json.loads((out / name).read_text()))
    if not voice.quiet:
        warn(detector.describe())
    say(out)
    words = ["--detector", str(out)]
    words = (
        ["SLIDES", *words]
        if split is None
        else ["--cohort", str(cohort), "--split", str(split), "--fold", fold, *words]
    )
    tell_next(f"mitosieve detect {shlex.join(words)} --out {shlex.quote(str(out / layout.TEST))}")


def _data(cohort: Path, split: Path) -> "tuple[Cohort, Split]":
    """A cohort whose images are there, and a split that fits it."""
    whole = _looked_at(cohort)
    return whole, split_of(split, whole)


def _looked_at(cohort: Path) -> "Cohort":
    """A cohort whose images are there."""
    from mitosieve.cohort.cohort import Cohort

    whole = Cohort.load(cohort)
    images_are_there(cohort, [whole.path_of(entry.slide_id) for entry in whole.slides])
    return whole


def _warn_of_start(what: "FoldRun") -> None:
    """Say that nobody can tell what the start has seen, or that a cohort holds nothing but reviews."""
    if what.unknown_of_start:
        warn(what.unknown_of_start)
    if set(what.cohort.annotations.source.tolist()) <= {"reviews"}:
        warn(
            "warning: every mark of this cohort is a review: networks forget what nobody reviewed, and lean towards "
            "what was shown to the reader; import the reviews into the cohort that the detector learned from"
        )


def _note_bare(recipe: "Recipe", split: "Split", folds: Sequence[str]) -> None:
    """Say which of the trained folds were not looked at along their training."""
    come = "are numbers, of the recipe or the start" if hasattr(recipe, "thresholds") else "come out of fold"
    bare = [name for name in folds if not split.fold(name).validation]
    if bare:
        warn(
            f"note: no validation case in {', '.join(bare)}: thresholds {come}, "
            "and the curves are of the training alone"
        )


@contextlib.contextmanager
def mapper_of(
    workers: int, cluster: str | None, threads: int, device: str, out: Path, show: "Progress"
) -> "Generator[Mapper | None]":
    """Where independent trainings run: here one after another (None), in processes of this machine, on a cluster.

    A process or task computes with one thread unless told otherwise. Results depend on the number of threads alone.
    """
    if cluster is not None and workers > 1:
        raise InputError("--cluster and --workers both say where trainings run", remedy="use one of them")
    if cluster is not None:
        yield _on_cluster(cluster, max(1, threads), device, out, show)
        return
    if workers == 1:
        yield None
        return
    from mitosieve.parallel.processes import ProcessMap

    gpus = 0
    if device == "cuda":
        import torch

        gpus = torch.cuda.device_count()
    with ProcessMap(workers=workers, threads=max(1, threads), gpus=gpus, progress=show) as mapper:
        yield mapper


def _on_cluster(address: str, threads: int, device: str, out: Path, show: "Progress") -> "Mapper":
    """A map over trainings that runs on a Ray cluster: one task a training."""
    from mitosieve.errors import MitosieveError
    from mitosieve.parallel import ClusterConfig, ClusterMap, Task
    from mitosieve.parallel.processes import WithThreads

    def task(given: Any) -> "Task[Any]":  # noqa: ANN401 - whatever a method's trainings are given
        return Task(name=str(getattr(given, "folder", "training")), given=given, needs=(out.absolute(),))

    def failed(given: Any, error: MitosieveError) -> Any:  # noqa: ANN401 - it never returns
        raise error

    config = ClusterConfig.of_task(address, device=device, threads=threads)
    whole = ClusterMap(config=config, shared=out, task=task, failed=failed, progress=show, what="trainings")
    return _Threaded(lambda function, tasks: whole(WithThreads(function, threads), tasks), threads)


@dataclass(frozen=True)
class _Threaded:
    """A map over trainings that tells with how many threads each computes, as `ProcessMap` does."""

    mapper: "Mapper"
    threads: int

    def __call__(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return list(self.mapper(function, tasks))


@app.command()
def crossval(
    recipe: RecipeArg,
    cohort: CohortArg,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the result.")],
    split: TheSplitOpt,
    folds: Annotated[str, typer.Option("--folds", help="Names, comma-separated; all by default.")] = "",
    resume: ResumeOpt = False,
    workers: WorkersOpt = 1,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
    quiet: QuietOpt = False,
    verbose: VerboseOpt = False,
    settings: SetOpt = None,
) -> None:
    """Train, detect and score every fold, and pool the test cases."""
    whole, chosen = _data(cohort, split)
    from mitosieve.recipe.crossval import cross_validate  # from here on it takes seconds
    from mitosieve.recipe.recipe import check_validation, load_recipe

    science = load_recipe(recipe, settings or ())
    names = [name for name in folds.split(",") if name]
    check_validation(science, chosen, names or list(chosen.folds), where=split)
    compute = compute_of(device, precision, threads)
    try:
        with progress_bars() as show, mapper_of(workers, None, threads, compute.device, out, show) as mapper:
            result = cross_validate(
                science,
                whole,
                chosen,
                out,
                folds=names,
                compute=compute,
                resume=resume,
                progress=show,
                mapper=mapper,
            )
    except SlideError as error:
        warn(f"mitosieve: {error}")
        raise typer.Exit(SLIDES_FAILED) from error
    _note_bare(science, chosen, names or list(chosen.folds))
    print_scores(result.to_json())
    say(out / layout.METRICS)
    tell_next(f"mitosieve report {shlex.quote(str(out))}")
