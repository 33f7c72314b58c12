"""Which row a decision is about: found by place, and checked by id. Knows cells and ids; no files."""

import numpy as np
from numpy.typing import NDArray

from mitosieve.view.viewed import Cells

_DIGITS = 1000
"""Places are equal to 1/1000 px, as tables keep them."""


class RowsByPlace:
    """Rows of cells by slide and place; a slide is sorted when it is first asked for.

    Args:
        cells: of all slides.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._sorted: dict[int, tuple[NDArray[np.int64], NDArray[np.intp]]] = {}

    def find(self, slide: int, x: float, y: float, cell_id: str) -> int | None:
        """The row of a slide that lies at a place and has this id; None where there is none."""
        key, rows = self._of(slide)
        wanted = _keys(np.array([[x, y]]))[0]
        start, stop = np.searchsorted(key, [wanted, wanted + 1]).tolist()
        there = rows[start:stop]
        return next(
            (int(row) for row, name in zip(there, self._cells.names(there), strict=True) if name == cell_id), None
        )

    def _of(self, slide: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        if slide not in self._sorted:
            rows = self._cells.rows_of(slide)
            key = _keys(self._cells.center_l0[rows])
            order = np.argsort(key, kind="stable")
            self._sorted[slide] = key[order], order + rows.start
        return self._sorted[slide]


def _keys(center_l0: NDArray[np.float64]) -> NDArray[np.int64]:
    whole = np.round(center_l0 * _DIGITS).astype(np.int64)
    return whole[:, 0] * 2**32 + whole[:, 1]
