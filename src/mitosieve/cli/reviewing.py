"""Commands about what people decided: labels looked at again, a detector brought to a laboratory."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitosieve.cli.app import app
from mitosieve.cli.terminal import print_table, say, warn
from mitosieve.errors import InputError, plural, some
from mitosieve.score.printed import in_digits

if TYPE_CHECKING:
    from mitosieve.review.adapt import Estimate

ReaderOpt = Annotated[
    list[str] | None, typer.Option("--reader", metavar="NAME", help="Whose decisions count; all. Can be repeated.")
]


def _import_corrections(source: Path, cohort: Path, out: Path | None, given: dict[str, Any]) -> None:
    """`import corrections`."""
    from datetime import UTC, datetime

    from mitosieve.audit.corrections import import_corrections

    _refuse_others(given, ("all_seen", "label"), "corrections know their images and their marks")
    if out is None:
        raise InputError("corrections make a new version of the cohort", remedy="name its folder with --out")
    report = import_corrections(
        source, cohort, out, now=datetime.now(UTC), all_seen=given["all_seen"], rulings=given["label"]
    )
    columns = ("slide_id", "to_figure", "to_imposter", "added")
    print_table(
        [[getattr(row, column) for column in columns] for row in (*report.rows, report.total)],
        ("slide", "changed to figure", "changed to imposter", "added"),
    )
    if report.left:
        warn(
            "note: left as they were, so that nothing was taken of them: "
            f"{plural(report.left, 'detection called a figure', 'detections called figures')}; where all were looked "
            "at, say so with --all-seen"
        )
    if report.outside:
        warn(
            f"note: neither learned from nor scored: {plural(len(report.outside), 'new mark')} outside the area of the "
            f"slide that was searched: {some(report.outside, '; ')}; where that was searched too, widen roi in "
            f"{out}/slides.csv (empty is the whole slide)"
        )
    if report.unsearched:
        warn(
            "note: neither learned from nor scored: new marks on "
            f"{plural(len(report.unsearched), 'unlabelled slide')}: {some(report.unsearched)}; where "
            f"a slide was searched for all figures, write labelled = yes in {out}/slides.csv, and what was "
            "searched as its roi"
        )
    if not report.total.changed:
        warn("warning: 0 changes: the new version has the same marks")
    say(out)


def _import_reviews(source: Path, cohort: Path, out: Path | None, given: dict[str, Any]) -> None:
    """`import reviews`."""
    from mitosieve.review.marks import import_reviews
    from mitosieve.review.slides import Told

    taken = ("images", "source_name", "domain", "reader")
    _refuse_others(given, taken, "reviews know what was seen, and the resolution and case of their slides")
    if out is None:
        raise InputError("reviews make a new version of the cohort", remedy="name its folder with --out")
    if not cohort.exists():
        warn(f"note: {cohort} is not there: the new cohort starts from nothing")
    domain = {"domain": given["domain"]} if given["domain"] else {}
    told = Told(images=given["images"], source=given["source_name"], **domain)
    report = import_reviews(source, cohort, out, told=told, readers=tuple(given["reader"] or ()))
    columns = ("slide_id", "figures", "imposters", "changed", "confirmed", "left_out")
    print_table(
        [[getattr(row, column) for column in columns] for row in (*report.rows, report.total)],
        ("slide", "new figures", "new imposters", "changed", "confirmed", "left out"),
    )
    warn(f"decisions of {', '.join(report.readers)}")
    if report.left_out:
        warn(f"note: {report.left_out}")
    if report.new_slides:
        new = plural(len(report.new_slides), "slide is", "slides are")
        warn(f"note: {new} new in the cohort, each a case of its own: see case_id")
    say(out)


def _refuse_others(given: dict[str, Any], taken: tuple[str, ...], why: str) -> None:
    """Refuse options that say what such an import does not ask: they would be passed over without a word."""
    said = [name for name, value in given.items() if value is not None and value is not False and value not in ("", [])]
    others = [f"--{name.replace('_', '-')}" for name in said if name not in taken]
    if others:
        raise InputError(why, remedy=f"leave out {', '.join(others)}")


NEW_VERSIONS: dict[str, Callable[[Path, Path, Path | None, dict[str, Any]], None]] = {
    "corrections": _import_corrections,
    "reviews": _import_reviews,
}
"""Imports that make a new version of a cohort, by their name; each is given what the command's options say."""


@app.command()
def reviews(
    found: Annotated[
        Path, typer.Argument(metavar="FOUND", help="What `detect` found, looked at with `mitosieve view`.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for tables and GeoJSON.")] = None,
    readers: ReaderOpt = None,
) -> None:
    """What readers decided: the reviewed count beside the automatic one, and how far readers agree."""
    from mitosieve.review.result import FoundResult
    from mitosieve.review.reviews import Reviews
    from mitosieve.review.tables import save

    result = FoundResult.load(found)
    told = Reviews.of(result, tuple(readers or ()))
    columns = ("figures", "in hotspot", "mitotic score")
    rows: list[list[str]] = []
    for name, count in told.counts.items():
        row = {**count.reviewed.row(), **count.row()}
        keys = ("figures", "hotspot_figures", "nottingham_mitotic_score")
        both = [f"{row[f'automatic_{key}'] or '-'} > {row[key] or '-'}" for key in keys]
        rows.append([name, *both, row["judged"], row["added"], row["open"], row["deciding"]])
    print_table(rows, ("slide, automatic > reviewed", *columns, "judged", "added", "open", "can change the score"))
    if told.left_out:
        warn(f"note: {told.left_out}")
    for pair in told.agreements:
        kappa = "not defined" if pair.kappa != pair.kappa else f"{pair.kappa:.3f}"
        warn(
            f"{pair.first} and {pair.second}: {plural(pair.both, 'cell')} judged by both, kappa {kappa}, F1 "
            f"{in_digits(pair.to_json()['first_by_second']['f1'])}, {len(pair.disagreements)} to settle"
        )
    if any(not count.is_exact for count in told.counts.values()):
        warn("note: 'can change the score' may be a few too many: not all answers of the others were tried")
    say(found if out is None else save(told, out, result))


@app.command()
def adapt(
    detector: Annotated[str, typer.Argument(metavar="DETECTOR", help="As in `detect --detector`.")],
    found: Annotated[Path, typer.Argument(metavar="FOUND", help="What it found, looked at: `mitosieve view FOUND`.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder of the adapted detector.")],
    readers: ReaderOpt = None,
) -> None:
    """A laboratory's own threshold from some 50 decisions about what a detector found there.

    Networks stay as they are: the threshold, the named operating points and the meaning of a score are fitted again.
    """
    from mitosieve.review.adapted import adapt_detector
    from mitosieve.review.result import FoundResult

    made = adapt_detector(detector, FoundResult.load(found), out, readers=tuple(readers or ()))
    rows = [_expected("before", made.before), _expected("after", made.after)]
    print_table(rows, ("", "threshold", "F1 expected", "precision", "recall"))
    low, high = made.interval.low, made.interval.high
    more = (
        "more than 19 times as many decisions" if made.more is None else f"about {plural(made.more, 'more decision')}"
    )
    warn(
        f"{plural(made.judged, 'decision')}, {made.figures} of them figures: threshold {made.after.threshold:.3f} "
        f"[{low:.3f}, {high:.3f}]; {more} would halve this interval"
    )
    warn(
        f"F1 expected after less before: {made.after.f1 - made.before.f1:+.3f} [{made.gain.low:+.3f}, \
{made.gain.high:+.3f}]"
    )
    for note in made.notes:
        warn(f"note: {note}")
    say(out)


def _expected(name: str, one: "Estimate") -> list[str]:
    measures = [(getattr(one, key), getattr(one, f"{key}_interval")) for key in ("f1", "precision", "recall")]
    return [name, f"{one.threshold:.4f}", *(in_digits(value, (at.low, at.high)) for value, at in measures)]
