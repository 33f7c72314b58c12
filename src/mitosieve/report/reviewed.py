"""What people decided about a job's slides, as its pages tell it: reviewed numbers beside the automatic ones."""

from dataclasses import dataclass
from pathlib import Path

from mitosieve.errors import MitosieveError
from mitosieve.review.result import FoundResult
from mitosieve.review.reviews import Reviews
from mitosieve.run import layout


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """The reviewed counts of a job.

    Attributes:
        rows: by slide: the columns of summary.csv after review, and those of `ReviewedCount.row`;
            or an `error` in place of them.
        readers: who decided, in the order of their first decision.
        fault: why there are no counts though there are decisions; empty where there are.
    """

    rows: dict[str, dict[str, str]]
    readers: tuple[str, ...]
    fault: str = ""

    @property
    def num_decided(self) -> int:
        """Detections that were judged, and figures that were added, over all slides."""
        return sum(int(row["judged"]) + int(row["added"]) for row in self.rows.values() if not row.get("error"))


def read_reviewed(folder: Path) -> Reviewed | None:
    """What all readers decided about the result in a folder; None where nobody decided anything.

    A page of a result is written whatever became of its decisions: where they cannot be counted it says why.
    """
    if not (folder / layout.DECISIONS).exists():
        return None
    try:
        result = FoundResult.load(folder)
        told = Reviews.of(result) if result.decisions else None
    except MitosieveError as error:
        where = "" if error.where is None else f"{Path(str(error.where)).name}: "
        return Reviewed(rows={}, readers=(), fault=f"{where}{error.what}")
    if told is None or not told.cells:
        return None
    rows = {name: {**count.reviewed.row(), **count.row()} for name, count in told.counts.items()}
    return Reviewed(rows=rows, readers=told.readers)
