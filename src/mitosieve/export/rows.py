"""Many rows as text, by chunks: memory does not grow with the rows. Knows nothing of what the rows mean."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mitosieve.run.folder import write_atomic

CHUNK = 16_384
"""Rows that are text at once: some 5 MB, and larger ones are no faster."""


def chunks(count: int) -> Iterator[slice]:
    """Slices of at most `CHUNK` rows that cover `count` rows in order."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def fill(
    template: Callable[[int], str],
    kind: NDArray[np.integer],
    values: NDArray[np.float64],
    *,
    between: str = ",\n",
    ends: Sequence[str] | None = None,
) -> str:
    """Rows as text, each its kind's %-template filled with the row's numbers.

    One formatting call for all rows is faster than one a row.

    Args:
        template: of a kind, with one %-field for each number that rows of this kind have.
        kind: (N,).
        values: (N, V); NaN where a row has no such number.
        between: what stands between two rows.
        ends: (N,) a text that ends each row, without a percent sign; None where rows end with their template.
    """
    texts = {number: template(number) for number in np.unique(kind).tolist()}
    rows = [texts[number] for number in kind.tolist()]
    if ends is not None:
        rows = [row + end for row, end in zip(rows, ends, strict=True)]
    return between.join(rows) % tuple(values[~np.isnan(values)].tolist())


def write_list(path: Path, *, head: str, rows: Iterable[str], tail: str) -> Path:
    """Write a JSON list between `head` and `tail`; `rows` are texts of rows, each joined by commas already.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """

    def write(file: IO[bytes]) -> None:
        file.write(head.encode())
        between = "\n"
        for text in rows:
            if text:
                file.write((between + text).encode())
                between = ",\n"
        file.write(("\n" + tail).encode())

    return write_atomic(path, write)
