"""The command that compares: a study file to one table and one page."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitosieve.cli.app import (
    SLIDES_FAILED,
    DeviceOpt,
    PrecisionOpt,
    QuietOpt,
    ResumeOpt,
    SetOpt,
    ThreadsOpt,
    VerboseOpt,
    app,
    compute_of,
    split_of,
)
from mitosieve.cli.arguments import a_cohort, a_split, kept_trainings
from mitosieve.cli.terminal import print_table, progress_bars, say, tell_next, warn
from mitosieve.cli.training import ClusterOpt, WorkersOpt, mapper_of
from mitosieve.errors import InputError
from mitosieve.run import layout

if TYPE_CHECKING:
    from mitosieve.study.study import Study


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="Study name or TOML file.")],
    cohort: Annotated[
        Path | None, typer.Argument(metavar="COHORT", help="Cohort folder; that of the file.", callback=a_cohort)
    ] = None,
    split: Annotated[
        Path | None, typer.Option("--split", help="Split file; that of the file.", callback=a_split)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for table and page.")] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", metavar="DIR", help="Run folders, shared by studies; DIR/runs.")
    ] = None,
    trainings: Annotated[
        list[Path] | None,
        typer.Option(
            "--trainings",
            metavar="DIR",
            help="Trainings that were done elsewhere, as another study keeps them in DIR/trainings; repeatable.",
            callback=kept_trainings,
        ),
    ] = None,
    folds: Annotated[str, typer.Option("--folds", help="Names, comma-separated; those of the file.")] = "",
    seeds: Annotated[str, typer.Option("--seeds", help="Whole numbers, comma-separated; those of the file.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trainings and do none.")] = False,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Table and page of what is done.")] = False,
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
    """Train, detect and score many recipes on the same folds and seeds: one table, one page, each training done once.

    Studies of the package: `mitosieve studies`. A study file names its rows (a recipe, overrides, one of the detectors
    that the training leaves), the row that the others are compared with, and seeds; docs/studies.md has an example.
    Trainings are ordinary run folders; one that is there already, from whatever study, is not done again.
    """
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.study.study import load_study

    asked = _asked(load_study(name), folds, seeds).with_overrides(settings or ())
    where, split_file = cohort or _given(asked.cohort, "COHORT"), split or _given(asked.split, "--split")
    asked = asked.model_copy(update={"cohort": str(where), "split": str(split_file)})
    whole = Cohort.load(where)
    chosen = split_of(split_file, whole)
    if out is None and not dry_run:
        raise InputError("there is no folder for the table", remedy="add --out DIR")
    from mitosieve.study.plan import plan_study  # from here on it takes seconds
    from mitosieve.study.run import StudyJob, run_study

    kept = runs or (out or Path()) / layout.RUNS
    records = [(out or Path()) / layout.TRAININGS, *(trainings or ())]
    plan = plan_study(asked, whole, chosen, kept, records)
    if dry_run or out is None:
        rows = [("done" if one.is_done else "to do", one.folder.name, one.fold, one.seed, " ".join(one.detectors))
                for one in plan.trainings]  # fmt: skip
        print_table(rows, ("", "training", "fold", "seed", "scored"))
        return
    compute = compute_of(device, precision, threads)
    job = StudyJob(
        study=asked, cohort=whole, split=chosen, plan=plan, out=out, command=_command(name, folds, seeds, settings)
    )
    with progress_bars() as show, mapper_of(workers, cluster, threads, compute.device, kept, show) as mapper:
        result, done = run_study(
            job, compute=compute, resume=resume, train=not tables_only, mapper=mapper, progress=show
        )
    for one in done:
        if one.failed:
            warn(f"failed: {one.folder.name}: {one.failed}")
    for text in result.missing:
        warn(f"not done: {text}")
    for text in result.apart:
        warn(f"note: {text}")
    from mitosieve.study.table import tables_of

    tables = tables_of(result)
    if result.pooled is not None:
        print_table(tables[0].rows, tables[0].columns)
    say(out / layout.STUDY_PAGE)
    tell_next("open the page in a browser; study.csv and study.md beside it have the same numbers")
    if any(one.failed for one in done):
        raise typer.Exit(SLIDES_FAILED)


@app.command()
def studies() -> None:
    """Studies that come with the package, with what each asks."""
    from mitosieve.study.study import load_study, study_names

    print_table([(name, load_study(name).title) for name in study_names()], ("study", "what it compares"))


def _asked(study: "Study", folds: str, seeds: str) -> "Study":
    """The study with fewer or other folds and seeds."""
    changed: dict[str, object] = {}
    if folds:
        changed["folds"] = tuple(word for word in folds.split(",") if word)
    if seeds:
        words = [word.strip() for word in seeds.split(",") if word.strip()]
        if not all(word.isdecimal() for word in words) or not words:
            raise InputError(f"--seeds {seeds}: not whole numbers", remedy="for example: --seeds 1,2,3")
        changed["seeds"] = tuple(dict.fromkeys(int(word) for word in words))
    return study.model_copy(update=changed)


def _given(text: str, what: str) -> Path:
    if not text:
        raise InputError(f"neither the study's file nor the command names a value for {what}", remedy=f"add {what}")
    return Path(text)


def _command(name: str, folds: str, seeds: str, settings: list[str] | None) -> str:
    """What a reader repeats, with the data's places left open."""
    words = ["mitosieve", "study", Path(name).name, "COHORT", "--split", "SPLIT", "--out", "DIR"]
    words += ["--folds", folds] if folds else []
    words += ["--seeds", seeds] if seeds else []
    for setting in settings or ():
        words += ["--set", setting]
    return shlex.join(words)
