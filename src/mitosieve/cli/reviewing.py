"""Commands about what readers decided."""

from pathlib import Path

from mitosieve.cli.terminal import print_table, say, warn
from mitosieve.errors import InputError


def import_reviews_into(
    source: Path, cohort: Path, out: Path | None, told: tuple[Path | None, str, str], readers: tuple[str, ...]
) -> None:
    """`import reviews`: `told` are folder of images, domain and source of slides that the cohort has not."""
    from mitosieve.cohort.marked import UNKNOWN_DOMAIN
    from mitosieve.review.marks import import_reviews
    from mitosieve.review.slides import Told

    if out is None:
        raise InputError("reviews make a new version of the cohort", remedy="name its folder with --out")
    if not cohort.exists():
        warn(f"note: {cohort} is not there: the new cohort starts from nothing")
    images, domain, name = told
    given = Told(images=images, domain=domain or UNKNOWN_DOMAIN, source=name)
    report = import_reviews(source, cohort, out, told=given, readers=readers)
    columns = ("slide_id", "figures", "imposters", "changed", "confirmed", "left_out")
    print_table(
        [[getattr(row, column) for column in columns] for row in (*report.rows, report.total)],
        ("slide", "new figures", "new imposters", "changed", "confirmed", "left out"),
    )
    warn(f"decisions of {', '.join(report.readers)}")
    if report.new_slides:
        warn(f"note: {len(report.new_slides)} slides are new in the cohort, each a case of its own: see case_id")
    say(out)
