"""Commands that score, compare and report."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mitosieve.cli.app import (
    SLIDES_FAILED,
    CohortArg,
    DeviceOpt,
    FoldOpt,
    PartOpt,
    PrecisionOpt,
    QuietOpt,
    SplitOpt,
    TheFoldOpt,
    TheSplitOpt,
    ThreadsOpt,
    VerboseOpt,
    app,
    cases_of,
    compute_of,
    split_of,
)
from mitosieve.cli.arguments import a_new_file, a_run, comparable, detections_in, new_folder
from mitosieve.cli.terminal import print_scores, print_table, progress_bars, say, tell_next, warn
from mitosieve.errors import InputError
from mitosieve.run import layout
from mitosieve.score.printed import MEASURES, drawn_in_words, in_digits


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with detections.csv.", callback=detections_in)],
    cohort: CohortArg,
    split: SplitOpt = None,
    fold: FoldOpt = None,
    part: PartOpt = None,
    radius_um: Annotated[
        float, typer.Option("--radius-um", min=0.1, max=100, help="Largest distance of a pair.")
    ] = 7.5,
    out: Annotated[
        Path | None, typer.Option("--out", help="NAME.json; CSV, LaTeX and outcomes beside it; DIR/metrics.json.")
    ] = None,
) -> None:
    """Score detections by the official rule: one-to-one within 7.5 um, pooled over slides."""
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.score.evaluated import EvaluateConfig, evaluate_folder

    whole = Cohort.load(cohort)
    cases = cases_of(split, fold, part, whole)
    result = evaluate_folder(folder, whole, cases=cases, config=EvaluateConfig(radius_um=radius_um), out=out)
    print_scores(result.to_json())
    say(folder / layout.METRICS if out is None else out)
    tell_next(f"mitosieve report {shlex.quote(str(folder))}, or mitosieve compare with another evaluated folder")


@app.command("patch-table")
def patch_table_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Finished run of a CHS-NET recipe.", callback=a_run)],
    cohort: CohortArg,
    split: TheSplitOpt,
    fold: TheFoldOpt,
    parts: Annotated[str, typer.Option("--parts", help="Parts of the fold, comma-separated.")] = "train,test",
    out: Annotated[
        Path | None, typer.Option("--out", help="The CSV; RUN/patch-table.csv.", callback=a_new_file)
    ] = None,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
    quiet: QuietOpt = False,
    verbose: VerboseOpt = False,
) -> None:
    """How CHS-NET's networks sort figures and windows, as the paper's tables 2 and 3 count them."""
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.method.cascade.patch_table import COLUMNS, check_patch_table, patch_table, write_patch_table

    if out is not None:
        check_patch_table(out)
    named = [name.strip() for name in parts.split(",") if name.strip()]
    whole = Cohort.load(cohort)
    compute = compute_of(device, precision, threads)
    with progress_bars() as show:
        rows = patch_table(run, whole, split_of(split, whole), fold, parts=named, compute=compute, progress=show)
    print_table([[in_digits(v) if isinstance(v, float) else v for v in row.values()] for row in rows], COLUMNS)
    say(write_patch_table(run / layout.PATCH_TABLE if out is None else out, rows))


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Evaluated folders, at least two.", callback=comparable)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="JSON to write; CSV and LaTeX beside it.", callback=a_new_file),
    ] = None,
) -> None:
    """Differences between evaluated detectors, with paired 95 % intervals."""
    from mitosieve.score.evaluated import check_place, compare_folders, write_comparison

    if len(folders) < 2:
        raise InputError("there is nothing to compare with", remedy="name at least two evaluated folders")
    if out is not None:
        check_place(out, "compare")
    compared = compare_folders(folders)
    result = compared.to_json()
    print_table(
        [
            [row["name"], *(in_digits(row[key], row[f"{key}_interval"]) for key in MEASURES)]
            for row in result["methods"]
        ],
        ("detector", *MEASURES),
    )
    print_table(
        [
            [f"{row['second']} - {row['first']}", row["figure"], in_digits(row["difference"], row["interval"])]
            for row in result["differences"]
        ],
        ("difference", "figure", "value [95 % interval]"),
    )
    for note in (drawn_in_words(result["bootstrap"]), *result["notes"]):
        warn(f"note: {note}")
    if out is not None:
        say(write_comparison(out, compared))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of train, detect or crossval.", callback=a_run)],
    evaluated: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR...", help="More evaluated folders.", callback=comparable)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page; RUN/report.html.")] = None,
) -> None:
    """One self-contained HTML page: score, curves, galleries."""
    from mitosieve.report.page import write_report

    say(write_report(run, evaluated or (), out=out))
    tell_next("open the page in a browser: it needs no network")


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of recipe dasc.", callback=a_run)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the result.")],
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="Cells of each direction on the page.")] = 60,
    background: Annotated[
        int, typer.Option("--background", min=0, help="Places without a mark in the files for QuPath, in all.")
    ] = 100,
) -> None:
    """Rank a run's training labels by how probably they are wrong: table, page, points to correct in QuPath."""
    new_folder(out)
    from mitosieve.audit.dasc_run import VERDICTS
    from mitosieve.audit.report import audit as audit_run

    report = audit_run(run, out, top=top, background=background)
    print_table([[label, *numbers] for label, numbers in report.audit.counts()], ("label", *VERDICTS))
    say(out / layout.AUDIT_PAGE)
    points = shlex.quote(str(out / layout.AUDIT_POINTS))
    tell_next(f"correct {points} in QuPath, then: mitosieve import corrections {points} COHORT --out NEW")
    for why in report.failed:
        warn(f"failed: {why}")
    if report.failed:
        raise typer.Exit(SLIDES_FAILED)
