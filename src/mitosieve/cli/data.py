"""Commands about data: synthetic cohorts, splits, slides, and this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitosieve.cli.app import CohortArg, NewCohortArg, app
from mitosieve.cli.arguments import a_new_file, a_slide
from mitosieve.cli.terminal import print_table, progress_bars, say, split_command, tell_next, train_command, warn
from mitosieve.errors import InputError, SplitError

if TYPE_CHECKING:
    from mitosieve.cohort.split import Split


@app.command()
def phantom(
    cohort: NewCohortArg,
    cases: Annotated[int, typer.Option(help="Number of cases.")] = 12,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.", min=0)] = 7,
    slides_per_case: Annotated[int, typer.Option(help="Slides of each case.")] = 2,
    size: Annotated[int, typer.Option(help="Side of a slide, px at 0.25 um/px.")] = 1024,
    difficulty: Annotated[float | None, typer.Option(help="0 easy to 1 hard.")] = None,
    flipped: Annotated[float, typer.Option(help="Share of labels planted wrong.")] = 0.0,
    missed: Annotated[float, typer.Option(help="Share of figures left unmarked.")] = 0.0,
    added: Annotated[float, typer.Option(help="Background marked as figures, as a share of figures.")] = 0.0,
    unlabelled_cases: Annotated[int, typer.Option(help="Cases without any mark.")] = 0,
) -> None:
    """Draw a synthetic cohort whose truth is known. Its scores say nothing of accuracy on tissue."""
    import numpy as np

    from mitosieve.phantom import PhantomConfig, make_phantom

    choices: dict[str, Any] = {} if difficulty is None else {"difficulty": difficulty}
    config = PhantomConfig(
        cases=cases,
        slides_per_case=slides_per_case,
        size_px=(size, size),
        flipped=flipped,
        missed=missed,
        added=added,
        unlabelled_cases=unlabelled_cases,
        **choices,
    )
    with progress_bars() as show:
        made = make_phantom(
            cohort, config, np.random.default_rng(seed), progress=lambda done, total: show("slides", done, total)
        )
    print_table([list(made.counts().values())], tuple(made.counts()))
    say(cohort)
    tell_next(split_command(cohort))


@app.command()
def split(
    cohort: CohortArg,
    out: Annotated[Path, typer.Option("--out", help="Split file to write.", callback=a_new_file)],
    folds: Annotated[
        int | None, typer.Option(help="Number of folds, at least 3; 2 without validation.", show_default="5")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of ties between equal cases.", min=0, show_default="1")] = None,
    table: Annotated[Path | None, typer.Option("--table", help="CSV with fold,case,part instead.")] = None,
    no_validation: Annotated[
        bool,
        typer.Option("--no-validation", help="Train on what would be validation: for recipes with fixed thresholds."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what may put one patient on both sides, instead of saying it.")
    ] = False,
) -> None:
    """Divide a cohort into folds, by case."""
    import numpy as np

    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.merged import doubtful_patients
    from mitosieve.cohort.split import PARTS, Split, known_figures

    if table is not None and (folds is not None or seed is not None):
        raise InputError(
            "--table says what the folds are, --folds and --seed how they are made", remedy="leave out one of the two"
        )
    whole = Cohort.load(cohort)
    doubts = [caution.text for caution in doubtful_patients(whole)]
    if doubts and strict:
        raise SplitError("; ".join(doubts), where=cohort, remedy="mend slides.csv, or leave out --strict")
    for doubt in doubts:
        warn(f"warning: {doubt}")
    if table is None:
        generator = np.random.default_rng(1 if seed is None else seed)
        number = 5 if folds is None else folds
        made = Split.by_case(whole, folds=number, generator=generator, validation=not no_validation)
    else:
        given = Split.from_table(table)
        made = given.with_unlabelled(whole)
        added = len(made.cases - given.cases)
        if added:
            warn(f"{added} unlabelled cases that {table} does not name are in the train part of every fold")
        if no_validation:
            made = made.without_validation()
    made.check(whole, where=table)
    if not no_validation:
        made.require_validation(
            made.folds,
            why="most recipes choose their thresholds on them",
            remedy="give validation at least one case, or say --no-validation, for recipes with fixed thresholds",
            where=table,
        )
    _save(made, out)
    figures = known_figures(whole)
    print_table(
        [
            [name, *(f"{len(cases)}, {sum(figures[case] for case in cases)}" for cases in map(fold.part, PARTS))]
            for name, fold in made.folds.items()
        ],
        ("fold", *(f"{part}: cases, figures" for part in PARTS)),
    )
    say(out)
    name, fold = next(iter(made.folds.items()))
    tell_next(train_command(cohort, out, name, validates=bool(fold.validation)))


def _save(made: "Split", out: Path) -> None:
    """Write a split; one of other content that it takes the place of is told."""
    before = out.read_bytes() if out.is_file() else None
    made.save(out)
    if before not in (None, out.read_bytes()):
        warn(f"warning: {out} held another split, which is gone")


@app.command()
def info(slide: Annotated[Path, typer.Argument(help="An image.", callback=a_slide)]) -> None:
    """What a slide says of itself."""
    from mitosieve.slide.slide import facts

    print_table(facts(slide).rows(), (slide.name, ""))


@app.command()
def doctor() -> None:
    """What works on this machine; exit 1 where something needed does not."""
    from mitosieve.cli.doctor import examine

    findings = examine()
    print_table([(f.status, f.name, f.detail, f.remedy) for f in findings], ("status", "tried", "found", "remedy"))
    if any(f.status == "fail" for f in findings):
        raise typer.Exit(1)
