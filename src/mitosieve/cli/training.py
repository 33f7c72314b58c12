"""Commands that train."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mitosieve.cli.app import (
    SLIDES_FAILED,
    CohortArg,
    DeviceOpt,
    PrecisionOpt,
    ResumeOpt,
    SetOpt,
    ThreadsOpt,
    app,
    compute_of,
    split_of,
)
from mitosieve.errors import SlideError
from mitosieve.terminal import print_rounds, print_scores, progress_bars, say, warn


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe name or TOML file.")],
    cohort: CohortArg,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder.")],
    split: Annotated[Path, typer.Option("--split", help="Split file.")],
    fold: Annotated[str, typer.Option("--fold", help="Fold of the split.")],
    resume: ResumeOpt = False,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
    settings: SetOpt = None,
) -> None:
    """Train a recipe on one fold: thresholds from its validation cases, its test cases untouched."""
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.recipe import FoldRun, load_recipe, train_fold

    science, whole = load_recipe(recipe, settings or ()), Cohort.load(cohort)
    what = FoldRun(recipe=science, cohort=whole, split=split_of(split, whole), fold=fold, out=out)
    with progress_bars() as show:
        detector = train_fold(what, compute=compute_of(device, precision, threads), resume=resume, progress=show)
    print_rounds(json.loads((out / "mining.json").read_text())["rounds"])
    warn(detector.describe())
    say(out)


@app.command()
def crossval(
    recipe: Annotated[str, typer.Argument(help="Recipe name or TOML file.")],
    cohort: CohortArg,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the result.")],
    split: Annotated[Path, typer.Option("--split", help="Split file.")],
    folds: Annotated[str, typer.Option("--folds", help="Names, comma-separated; all by default.")] = "",
    resume: ResumeOpt = False,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
    settings: SetOpt = None,
) -> None:
    """Train, detect and score every fold, and pool the test cases."""
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.crossval import cross_validate
    from mitosieve.recipe import load_recipe

    science, whole = load_recipe(recipe, settings or ()), Cohort.load(cohort)
    chosen = split_of(split, whole)
    try:
        with progress_bars() as show:
            result = cross_validate(
                science,
                whole,
                chosen,
                out,
                folds=[name for name in folds.split(",") if name],
                compute=compute_of(device, precision, threads),
                resume=resume,
                progress=show,
            )
    except SlideError as error:
        warn(f"mitosieve: {error}")
        raise typer.Exit(SLIDES_FAILED) from error
    print_scores(result.to_json())
    say(out / "metrics.json")


@app.command()
def recipes() -> None:
    """Names of the recipes that come with the package."""
    from mitosieve.recipe import recipe_names

    print("\n".join(recipe_names()))
