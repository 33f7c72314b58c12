"""history.csv of a run: curves of its networks while they are trained, for people who watch."""

import csv
import fcntl
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mitosieve.run.folder import storage_error

COLUMNS = (
    "network",
    "step",
    "patches",
    "rate",
    "loss",
    "score_figures",
    "score_others",
    "validation_loss",
    "validation_average_precision",
)


class HistoryTable:
    """Rows of one network in the table of its run; others may write theirs beside it, each row at once.

    Args:
        path: the file.
        network: what the network is called.
    """

    def __init__(self, path: Path, network: str) -> None:
        self._path, self._network, self._written = path, network, 0

    def begin(self, rows: Sequence[dict[str, Any]]) -> None:
        """Start with rows that are known already; those that a killed training wrote after them go.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+", encoding="utf-8", newline="") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                others = [row for row in csv.reader(file) if row and row[0] not in (COLUMNS[0], self._network)]
                file.seek(0)
                file.truncate()
                file.write(_lines([list(COLUMNS), *others]) + self._lines_of(rows))
        except OSError as error:
            raise storage_error(error, self._path) from error
        self._written = len(rows)

    def tell(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add the rows that are new since the last call.

        Raises:
            StorageError: the file cannot be written.
        """
        new = rows[self._written :]
        if not new:
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(self._lines_of(new))
        except OSError as error:
            raise storage_error(error, self._path) from error
        self._written = len(rows)

    def _lines_of(self, rows: Sequence[dict[str, Any]]) -> str:
        named = [{**row, "network": self._network} for row in rows]
        return _lines([["" if row.get(name) is None else row[name] for name in COLUMNS] for row in named])


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
