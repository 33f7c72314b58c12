"""Commands about data: cohorts, splits, slides, and this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitosieve.cli.app import CohortArg, app
from mitosieve.cli.terminal import print_table, progress_bars, say, warn
from mitosieve.errors import InputError

if TYPE_CHECKING:
    from mitosieve.cohort.importing import ImportReport


@app.command("import")
def import_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="atypia14, midog, tupac, voc, coco, slide_runner, points; images: a folder of unlabelled ones; "
            "corrections: GeoJSON of an audit.",
        ),
    ],
    source: Annotated[Path, typer.Argument(help="Label file or folder of the format.")],
    cohort: CohortArg,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the images, checked and measured.")] = None,
    mpp: Annotated[str | None, typer.Option("--mpp", help="um per px, or a CSV with slide,mpp.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New cohort, of corrections only.")] = None,
    source_name: Annotated[str, typer.Option("--source-name", help="Data set of all slides, for slides.csv.")] = "",
    domain: Annotated[str, typer.Option("--domain", help="Domain of slides whose labels name none.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="NAME=figure|imposter|other|ignore|roi",
            help="What a class means whose name does not tell; may be given often.",
        ),
    ] = None,
    merge_um: Annotated[
        float | None, typer.Option("--merge-um", help="Marks of one kind nearer than this become one, e.g. 3.")
    ] = None,
) -> None:
    """Read a public annotation format, or unlabelled images, into a cohort; into an existing one: adds.

    Names of classes are understood in many spellings and languages; a class that has marks and is not understood is
    refused, with the --label to write: figure, imposter, other (surely no figure), ignore (may be one: its slides no
    longer count as searched), roi (the area that was searched).

    Corrections make a new version of COHORT in --out, and COHORT stays as it is.
    """
    from mitosieve.audit.corrections import FORMAT
    from mitosieve.cohort.importing import import_cohort
    from mitosieve.cohort.vocabulary import rulings_of

    if name == FORMAT:
        if images is not None or mpp is not None or source_name or domain or label or merge_um:
            raise InputError(
                "corrections know their images and classes",
                remedy="leave out --images, --mpp, --source-name, --domain, --label and --merge-um",
            )
        _import_corrections(source, cohort, out)
        return
    if out is not None:
        raise InputError("--out is for corrections only", remedy=f"leave it out: {name} is added to COHORT")
    report = import_cohort(
        name,
        source,
        cohort,
        images=images,
        mpp=mpp,
        set_name=source_name,
        domain=domain,
        rulings=rulings_of(label or ()),
        merge_um=merge_um,
    )
    _print_import(report)
    say(cohort)


def _print_import(report: "ImportReport") -> None:
    columns = ("domain", "cases", "slides", "labelled", "figures", "imposters", "warnings")
    print_table([[getattr(row, column) for column in columns] for row in (*report.rows, report.total)], columns)
    for warning in report.warnings:
        warn(f"warning: {warning}")


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Data set; none lists them.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where you unpacked it; none says what to fetch.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="COHORT", help="Cohort folder.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on where parts are missing.")] = False,
    mpp: Annotated[str | None, typer.Option("--mpp", help="um per px instead of the set's, as in import.")] = None,
) -> None:
    """Check a data set of the literature that you have fetched, and import it with its splits. Downloads nothing."""
    from mitosieve.cohort.published.contract import NO_HASH
    from mitosieve.cohort.published.getting import get as get_set
    from mitosieve.cohort.published.registry import PUBLISHED, published

    if name is None:
        rows = [
            [key, one.what, one.address, one.fetch, one.terms, one.digest_source or NO_HASH, ", ".join(one.splits)]
            for key, one in PUBLISHED.items()
        ]
        print_table(rows, ("set", "what it is", "from", "fetch", "terms", "SHA-256 verified with", "splits"))
        return
    if folder is None:
        one = published(name)
        verified = f"{', '.join(one.digests)} ({one.digest_source})" if one.digests else NO_HASH
        said = {"what": one.what, "from": one.address, "fetch": one.fetch, "terms": one.terms, "SHA-256": verified}
        print_table([*said.items(), ("splits", ", ".join(one.splits))], (name, ""))
        return
    if out is None:
        raise InputError("get makes a cohort", remedy="name its folder with --out")
    report = get_set(name, folder, out, partial=partial, mpp=mpp)
    _print_import(report.imported)
    print_table(
        [[one.name, one.path or "-", ", ".join(one.folds), *one.cases] for one in report.splits],
        ("split", "file", "folds", "train cases", "validation cases", "test cases"),
    )
    for one in report.splits:
        if one.note:
            warn(f"warning: {one.name}: {one.note}")
    say(out)


def _import_corrections(source: Path, cohort: Path, out: Path | None) -> None:
    from datetime import UTC, datetime

    from mitosieve.audit.corrections import import_corrections

    if out is None:
        raise InputError("corrections make a new version of the cohort", remedy="name its folder with --out")
    report = import_corrections(source, cohort, out, now=datetime.now(UTC))
    columns = ("slide_id", "to_figure", "to_imposter", "added")
    print_table(
        [[getattr(row, column) for column in columns] for row in (*report.rows, report.total)],
        ("slide", "changed to figure", "changed to imposter", "added"),
    )
    if not report.total.changed:
        warn("warning: 0 changes: the new version has the same marks")
    say(out)


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
    folds: Annotated[int, typer.Option(help="Number of folds, at least 3; 2 without validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of ties between equal cases.", min=0)] = 1,
    table: Annotated[Path | None, typer.Option("--table", help="CSV with fold,case,part instead.")] = None,
    no_validation: Annotated[
        bool,
        typer.Option("--no-validation", help="Train on what would be validation: for recipes with fixed thresholds."),
    ] = False,
) -> None:
    """Divide a cohort into folds, by case."""
    import numpy as np

    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import PARTS, Split

    whole = Cohort.load(cohort)
    if table is None:
        generator = np.random.default_rng(seed)
        made = Split.by_case(whole, folds=folds, generator=generator, validation=not no_validation)
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
def info(slide: Annotated[Path, typer.Argument(help="An image.")]) -> None:
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
