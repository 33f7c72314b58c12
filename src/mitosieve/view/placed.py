"""Which row a decision is about: found by place, and checked by id; and what lies near a place. Knows cells and ids; no
files.
"""

import numpy as np
from numpy.typing import NDArray

from mitosieve.view.viewed import Cells

_DIGITS = 1000
"""Places are equal to 1/1000 px, as tables keep them."""


def in_thousandths(center_l0: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (..., 2) in level-0 px as decisions keep them."""
    return np.round(center_l0 * _DIGITS) / _DIGITS


class RowsByPlace:
    """Rows of cells by slide and place; a slide is sorted when it is first asked for.

    Args:
        cells: of all slides.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._sorted: dict[int, tuple[NDArray[np.int64], NDArray[np.intp]]] = {}

    def find(self, slide: int, x: float, y: float, cell_id: str) -> int | None:
        """The row of a slide that lies at a place and has this id; None where there is none.

        A half of the last digit may have been rounded either way: the next thousandths count too, the id decides.
        """
        step = 1.5 / _DIGITS
        there = self._within(slide, (x - step, x + step), (y - step, y + step))
        return next(
            (int(row) for row, name in zip(there, self._cells.names(there), strict=True) if name == cell_id), None
        )

    def near(self, slide: int, place: tuple[float, float], reach_l0: tuple[float, float]) -> NDArray[np.intp]:
        """Rows of a slide that lie within so many level-0 px of a place along x and along y, in no order."""
        return self._within(slide, *((one - reach, one + reach) for one, reach in zip(place, reach_l0, strict=True)))

    def _within(self, slide: int, x: tuple[float, float], y: tuple[float, float]) -> NDArray[np.intp]:
        """Rows of a slide between two x and two y, both included."""
        key, rows = self._of(slide)
        low, high = (np.floor(x[0] * _DIGITS) * 2**32, np.ceil(x[1] * _DIGITS + 1) * 2**32)
        strip = rows[slice(*np.searchsorted(key, [int(low) - 2**31, int(high)]).tolist())]
        center = self._cells.center_l0[strip]
        inside = (center >= (x[0], y[0])) & (center <= (x[1], y[1]))
        return strip[inside.all(axis=1)]

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
