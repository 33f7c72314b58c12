"""The command line: loads, calls one job, prints where the result is.

Exit code 0: all done; 1: some slides failed, named, and the others are done; 2: bad input; 130: interrupted.

Heavy imports happen inside the commands, so that --help answers at once.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitosieve.errors import InputError, MitosieveError, SlideError
from mitosieve.terminal import MEASURES, in_digits, print_rounds, print_scores, print_table, progress_bars, say, warn

if TYPE_CHECKING:
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import Split
    from mitosieve.network.compute import Compute

SLIDES_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Find mitotic figures in H&E histology, and train the detectors that do. Research use, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
CohortArg = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort folder.")]
SplitOpt = Annotated[Path | None, typer.Option("--split", help="Split file.")]
FoldOpt = Annotated[str | None, typer.Option("--fold", help="Fold of the split.")]
PartOpt = Annotated[str, typer.Option("--part", help="train, validation or test.")]
DeviceOpt = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
PrecisionOpt = Annotated[str, typer.Option("--precision", help="auto, 32-true or bf16-mixed.")]
ThreadsOpt = Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0 is all.")]
ResumeOpt = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted job in the same folder.")]
SetOpt = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value.")]


def main() -> None:
    """Entry point: an error of the package that ends the command becomes one message and exit code 2."""
    try:
        app(prog_name="mitosieve", standalone_mode=True)
    except MitosieveError as error:
        warn(f"mitosieve: {error}")
        sys.exit(BAD_INPUT)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            warn("mitosieve: interrupted; train, detect and crossval go on when repeated with --resume")
        raise


@app.command("import")
def import_command(
    name: Annotated[str, typer.Argument(metavar="FORMAT", help="atypia14, midog, tupac, voc or points.")],
    source: Annotated[Path, typer.Argument(help="Label file or folder of the format.")],
    cohort: CohortArg,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the images, checked and measured.")] = None,
    mpp: Annotated[str | None, typer.Option("--mpp", help="um per px, or a CSV with slide,mpp.")] = None,
) -> None:
    """Read a public annotation format into a cohort; into an existing one: adds."""
    from mitosieve.cohort.importing import import_cohort

    report = import_cohort(name, source, cohort, images=images, mpp=mpp)
    columns = ("domain", "cases", "slides", "labelled", "figures", "imposters", "warnings")
    print_table([[getattr(row, column) for column in columns] for row in (*report.rows, report.total)], columns)
    for warning in report.warnings:
        warn(f"warning: {warning}")
    say(cohort)


@app.command()
def phantom(
    cohort: CohortArg,
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


@app.command()
def split(
    cohort: CohortArg,
    out: Annotated[Path, typer.Option("--out", help="Split file to write.")],
    folds: Annotated[int, typer.Option(help="Number of folds, at least 3.")] = 5,
    seed: Annotated[int, typer.Option(help="Of ties between equal cases.", min=0)] = 1,
    table: Annotated[Path | None, typer.Option("--table", help="CSV with fold,case,part instead.")] = None,
) -> None:
    """Divide a cohort into folds, by case."""
    import numpy as np

    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import PARTS, Split

    whole = Cohort.load(cohort)
    made = (
        Split.by_case(whole, folds=folds, generator=np.random.default_rng(seed))
        if table is None
        else Split.from_table(table)
    )
    made.check(whole, where=table)
    made.save(out)
    print_table(
        [
            [name, *(f"{len(cases)}, {whole.of_cases(cases).counts()['figures']}" for cases in map(fold.part, PARTS))]
            for name, fold in made.folds.items()
        ],
        ("fold", *(f"{part}: cases, figures" for part in PARTS)),
    )
    say(out)


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
    what = FoldRun(recipe=science, cohort=whole, split=_split(split, whole), fold=fold, out=out)
    with progress_bars() as show:
        detector = train_fold(what, compute=_compute(device, precision, threads), resume=resume, progress=show)
    print_rounds(json.loads((out / "mining.json").read_text())["rounds"])
    warn(detector.describe())
    say(out)


@app.command()
def detect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run or detector folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the result.")],
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE...", help="Images to look at.")] = None,
    mpp: Annotated[str | None, typer.Option("--mpp", help="um per px, or a CSV with slide,mpp.")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0, max=1, help="Instead of the detector's.")
    ] = None,
    roi: Annotated[Path | None, typer.Option("--roi", help="GeoJSON area to look in, level-0 px.")] = None,
    formats: Annotated[str, typer.Option("--format", help="Extra files a slide: geojson,midog.")] = "geojson",
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Slides of a cohort instead of images.")] = None,
    split: SplitOpt = None,
    fold: FoldOpt = None,
    part: PartOpt = "test",
    resume: ResumeOpt = False,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
) -> None:
    """Find mitotic figures in images, or in the slides of a cohort."""
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.detector import Detector
    from mitosieve.export.geojson import read_roi
    from mitosieve.scan import Scan, items_of_cohort, items_of_images, origin_of, scan

    if (cohort is None) == (not images):
        raise InputError("name either images or --cohort, not both", remedy="see: mitosieve detect --help")
    detector = Detector.load(run)
    detector = detector if threshold is None else detector.with_threshold(threshold)
    whole = None if cohort is None else Cohort.load(cohort)
    if whole is None:
        if split is not None or fold is not None:
            raise InputError("--split and --fold choose slides of a cohort", remedy="add --cohort, or leave them out")
        items = items_of_images(images or [], mpp=mpp, roi=None if roi is None else read_roi(roi))
    else:
        if mpp is not None or roi is not None:
            raise InputError("mpp and ROI come from the cohort", remedy="leave out --mpp and --roi, or name images")
        items = items_of_cohort(whole, _cases(split, fold, part, whole))
    with progress_bars() as show:
        job = Scan(
            detector=detector,
            items=items,
            out=out,
            formats=[name for name in formats.split(",") if name],
            origin=origin_of(run, whole, fold, part if whole is not None else None),
            compute=_compute(device, precision, threads),
            resume=resume,
            progress=show,
        )
        failed = scan(job)
    say(out / "detections.csv")
    for slide_id, why in failed.items():
        warn(f"failed: {slide_id}: {why}")
    if failed:
        raise typer.Exit(SLIDES_FAILED)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with detections.csv.")],
    cohort: CohortArg,
    split: SplitOpt = None,
    fold: FoldOpt = None,
    part: PartOpt = "test",
    radius_um: Annotated[
        float, typer.Option("--radius-um", min=0.1, max=100, help="Largest distance of a pair.")
    ] = 7.5,
    out: Annotated[Path | None, typer.Option("--out", help="File for the figures; DIR/metrics.json.")] = None,
) -> None:
    """Score detections by the official rule: one-to-one within 7.5 um, pooled over slides."""
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.marked import some
    from mitosieve.evaluation import EvaluateConfig, evaluate_folder
    from mitosieve.scan import not_looked_at

    whole = Cohort.load(cohort)
    cases = _cases(split, fold, part, whole)
    result = evaluate_folder(folder, whole, cases=cases, config=EvaluateConfig(radius_um=radius_um), out=out)
    print_scores(result.to_json())
    unseen = not_looked_at(folder, whole, cases)
    if unseen:
        warn(f"note: {len(unseen)} scored slides were not looked at, their figures count as missed: {some(unseen)}")
    say(folder / "metrics.json" if out is None else out)


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
    chosen = _split(split, whole)
    try:
        with progress_bars() as show:
            result = cross_validate(
                science,
                whole,
                chosen,
                out,
                folds=[name for name in folds.split(",") if name],
                compute=_compute(device, precision, threads),
                resume=resume,
                progress=show,
            )
    except SlideError as error:
        warn(f"mitosieve: {error}")
        raise typer.Exit(SLIDES_FAILED) from error
    print_scores(result.to_json())
    say(out / "metrics.json")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Evaluated folders, at least two.")],
    out: Annotated[Path | None, typer.Option("--out", help="Also write the figures as JSON.")] = None,
) -> None:
    """Differences between evaluated detectors, with paired 95 % intervals."""
    from mitosieve.evaluation import compare_folders
    from mitosieve.runfolder import write_json

    if len(folders) < 2:
        raise InputError("there is nothing to compare with", remedy="name at least two evaluated folders")
    result = compare_folders(folders).to_json()
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
    if out is not None:
        write_json(out, result)
        say(out)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run or crossval folder.")],
    evaluated: Annotated[list[Path] | None, typer.Argument(metavar="DIR...", help="More evaluated folders.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page; RUN/report.html.")] = None,
) -> None:
    """One self-contained HTML page: score, curves, galleries."""
    from mitosieve.report.page import write_report

    say(write_report(run, evaluated or (), out=out))


@app.command()
def info(slide: Annotated[Path, typer.Argument(help="An image.")]) -> None:
    """What a slide says of itself."""
    from mitosieve.slide.slide import facts

    print_table(facts(slide).rows(), (slide.name, ""))


@app.command()
def doctor() -> None:
    """What works on this machine; exit 1 where something needed does not."""
    from mitosieve.doctor import examine

    findings = examine()
    print_table([(f.status, f.name, f.detail, f.remedy) for f in findings], ("status", "tried", "found", "remedy"))
    if any(f.status == "fail" for f in findings):
        raise typer.Exit(1)


@app.command()
def recipes() -> None:
    """Names of the recipes that come with the package."""
    from mitosieve.recipe import recipe_names

    print("\n".join(recipe_names()))


def _compute(device: str, precision: str, threads: int) -> "Compute":
    import cv2
    import torch

    from mitosieve.network.compute import Compute

    if threads:
        torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    return Compute.choose(device, precision)


def _cases(split: Path | None, fold: str | None, part: str, cohort: "Cohort") -> tuple[str, ...] | None:
    """Cases of a part of a fold; None where no split is named."""
    if split is None:
        if fold is not None:
            raise InputError("--fold needs --split", remedy="name the split file the fold is in")
        return None
    if fold is None:
        raise InputError("--split needs --fold", remedy="name one of its folds")
    return _split(split, cohort).fold(fold).part(part)


def _split(path: Path, cohort: "Cohort") -> "Split":
    """A split file that fits the cohort."""
    from mitosieve.cohort.split import Split

    read = Split.load(path)
    read.check(cohort, where=path)
    return read


if __name__ == "__main__":
    main()
