"""What people decided about a job's slides, as its pages tell it: reviewed numbers beside the automatic ones."""

from pathlib import Path

from mitosieve.count.summary import counted_again, summary_rows
from mitosieve.errors import MitosieveError
from mitosieve.report.scanned import Reviewed
from mitosieve.review.result import FoundResult
from mitosieve.review.reviews import Reviews
from mitosieve.run import layout


def read_reviewed(folder: Path) -> Reviewed | None:
    """What all readers decided about the result in a folder; None where nobody decided anything.

    A page of a result is written whatever became of its decisions: where they cannot be counted it says why.
    """
    if not (folder / layout.DECISIONS).exists():
        return None
    try:
        result = FoundResult.load(folder)
        told = Reviews.of(result, only_judged=True) if result.decisions else None
    except MitosieveError as error:
        where = "" if error.where is None else f"{Path(str(error.where)).name}: "
        return Reviewed(rows={}, readers=(), fault=f"{where}{error.what}")
    if told is None or not (told.cells or told.left_out):
        return None
    if not told.cells:
        return Reviewed(rows={}, readers=(), fault=told.left_out)
    stated = summary_rows(folder)
    counts = told.counts.items()
    rows = {name: {**counted_again(count.reviewed, stated.get(name, {})), **count.row()} for name, count in counts}
    return Reviewed(rows=rows, readers=told.readers, note=told.left_out)
