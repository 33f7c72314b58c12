"""Commands that make cohorts of labels: of public formats, of data sets of the literature, of corrections."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitosieve.cli.app import NewCohortArg, app
from mitosieve.cli.arguments import a_source, an_import_format
from mitosieve.cli.reviewing import NEW_VERSIONS
from mitosieve.cli.terminal import print_table, say, split_command, tell_next, train_command, warn
from mitosieve.errors import InputError

if TYPE_CHECKING:
    from mitosieve.cohort.importing import ImportReport


@app.command("import")
def import_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="midog, coco, voc, points, slide_runner, qupath, yolo, asap, image_scope, tupac, atypia14, icpr12; "
            "images: a folder of unlabelled ones; corrections: GeoJSON of an audit or a result; reviews: a folder that "
            "was looked at with `mitosieve view`.",
            callback=an_import_format,
        ),
    ],
    source: Annotated[Path, typer.Argument(help="Label file or folder of the format.", callback=a_source)],
    cohort: NewCohortArg,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the images, checked and measured.")] = None,
    mpp: Annotated[str | None, typer.Option("--mpp", help="um per px, or a CSV with slide,mpp.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New cohort, of corrections and reviews.")] = None,
    readers: Annotated[
        list[str] | None, typer.Option("--reader", metavar="NAME", help="Of reviews: whose decisions; all.")
    ] = None,
    all_seen: Annotated[
        bool,
        typer.Option("--all-seen", help="Of corrections: detections left as figures are figures."),
    ] = False,
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
    absent: Annotated[
        str | None,
        typer.Option("--absent", metavar="searched|unlabelled", help="tupac: what cases without a CSV are."),
    ] = None,
    case_prefix: Annotated[
        str, typer.Option("--case-prefix", help="Before every case id: for sources that number patients alike.")
    ] = "",
    whole_canvas: Annotated[
        bool,
        typer.Option("--whole-canvas", help="Positions count on a scanner's whole canvas (ASAP), not as in QuPath."),
    ] = False,
) -> None:
    """Read a public annotation format, or unlabelled images, into a cohort; into an existing one: adds.

    Names of classes are understood in many spellings and languages; a class that has marks and is not understood is
    refused, with the --label to write: figure, imposter, other (surely no figure), ignore (may be one: its slides no
    longer count as searched), roi (the area that was searched).

    Corrections and reviews make a new version of COHORT in --out, and COHORT stays as it is. Reviews also make a new
    cohort where COHORT is empty or not there.
    """
    from mitosieve.cohort.importing import import_cohort
    from mitosieve.cohort.vocabulary import rulings_of

    if name in NEW_VERSIONS:
        given = {
            "images": images,
            "mpp": mpp,
            "source_name": source_name,
            "domain": domain,
            "label": rulings_of(label) if label else None,
            "merge_um": merge_um,
            "absent": absent,
            "case_prefix": case_prefix,
            "whole_canvas": whole_canvas,
            "reader": readers,
            "all_seen": all_seen,
        }
        NEW_VERSIONS[name](source, cohort, out, given)
        return
    others = {"--out": (out, "corrections and reviews"), "--reader": (readers, "reviews")}
    for option, (value, kinds) in {**others, "--all-seen": (all_seen or None, "corrections")}.items():
        if value is not None:
            raise InputError(f"{option} is for {kinds} only", remedy=f"leave it out: {name} is added to COHORT")
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
        case_prefix=case_prefix,
        absent=absent,
        whole_canvas=whole_canvas,
    )
    _print_import(report)
    say(cohort)
    tell_next(split_command(cohort))


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
    from mitosieve.cohort.published.getting import get as get_set
    from mitosieve.cohort.published.registry import PUBLISHED, published

    if name is None:
        rows = [
            [
                key,
                one.what,
                one.address,
                one.fetch,
                one.terms,
                one.verified_with,
                ", ".join(one.splits) or "none",
            ]
            for key, one in PUBLISHED.items()
        ]
        rows = [[*row[:-1], row[-1] or "none"] for row in rows]
        print_table(rows, ("set", "what it is", "from", "fetch", "terms", "SHA-256 verified with", "splits"))
        return
    if folder is None:
        one = published(name)
        verified = f"{', '.join(one.digests)} ({one.digest_source})" if one.digests else one.verified_with
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
    fit = next(((one, one.path) for one in report.splits if one.path and one.trainable), None)
    if fit is None:
        tell_next(split_command(out))
    else:
        one, file = fit
        tell_next(train_command(out, file, one.folds[0], validates=one.validates))
