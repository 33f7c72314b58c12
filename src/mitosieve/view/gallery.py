"""Which cells a gallery shows, and in which order. Knows columns and decisions; no pixels."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import InputError
from mitosieve.view.viewed import CALLS, Call, Cells

Rank = Literal["score", "doubt", "suspicion", "place"]
Decided = Literal["any", "none", "figure", "imposter", "unsure"]

MOST_ROWS = 20_000
"""Cells of one gallery: more than a person judges in a day."""

_EDGE = 1e-6
"""Scores have 6 digits; 0 and 1 have no logit."""

BAND_UM = 64.0
"""By place: row by row of bands of this height."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person wants to see.

    Attributes:
        rank: by falling score; by doubt, nearest to the threshold first; by falling suspicion; by place.
        slide: its number; None is all.
        calls: what cells may have been called before.
        decided: what this reader decided of them.
        low, high: of the score, both ends included; cells without a score are always shown.
        threshold: that doubt is measured from, on the scale of logits.
    """

    rank: Rank = "score"
    slide: int | None = None
    calls: frozenset[Call] = frozenset(CALLS)
    decided: Decided = "any"
    low: float = 0.0
    high: float = 1.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.rank not in get_args(Rank) or self.decided not in get_args(Decided):
            raise InputError("there is no such order or filter")
        if not all(math.isfinite(value) for value in (self.low, self.high, self.threshold)):
            raise InputError("a score is a finite number")


def chosen(cells: Cells, wanted: Wanted, verdict_of: dict[int, str], mpp: Collection[float]) -> NDArray[np.intp]:
    """Rows to show, in order, at most MOST_ROWS; ties by row.

    Args:
        cells: all.
        wanted: which of them.
        verdict_of: row -> this reader's verdict.
        mpp: um per px of each slide along a column, for bands of equal height.
    """
    rows = (
        np.arange(len(cells)) if wanted.slide is None else np.arange(*cells.rows_of(wanted.slide).indices(len(cells)))
    )
    numbers = [CALLS.index(call) for call in wanted.calls]
    score = cells.score[rows]
    keep = np.isin(cells.call[rows], numbers) & (np.isnan(score) | ((score >= wanted.low) & (score <= wanted.high)))
    if wanted.decided != "any":
        if wanted.decided == "none":
            keep &= ~np.isin(rows, np.array(list(verdict_of), dtype=np.intp))
        else:
            having = [row for row, verdict in verdict_of.items() if verdict == wanted.decided]
            keep &= np.isin(rows, np.array(having, dtype=np.intp))
    rows = rows[keep]
    return rows[_order(cells, rows, wanted, mpp)][:MOST_ROWS]


def _order(cells: Cells, rows: NDArray[np.intp], wanted: Wanted, mpp: Collection[float]) -> NDArray[np.intp]:
    if wanted.rank == "score":
        return np.argsort(-np.nan_to_num(cells.score[rows], nan=-1.0), kind="stable")
    if wanted.rank == "suspicion":
        return np.argsort(-np.nan_to_num(cells.suspicion[rows], nan=-1.0), kind="stable")
    if wanted.rank == "doubt":
        distance = np.abs(_logit(cells.score[rows]) - _logit(np.array(wanted.threshold)))
        return np.argsort(np.nan_to_num(distance, nan=np.inf), kind="stable")
    slide = cells.slide[rows]
    band_px = BAND_UM / np.array(list(mpp) or [1.0])[slide]
    x, y = cells.center_l0[rows].T
    return np.lexsort((x, y // band_px, slide))


def _logit(score: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(score, _EDGE, 1 - _EDGE)
    return np.log(inside / (1 - inside))


def wanted_of(query: dict[str, str], slide: int | None, threshold: float) -> Wanted:
    """From the words of an address.

    Raises:
        InputError: a word that is none.
    """
    try:
        calls = frozenset(Call(word) for word in query.get("calls", "").split(",") if word) or frozenset(CALLS)
        low, high = float(query.get("low", 0)), float(query.get("high", 1))
        threshold = float(query.get("threshold", threshold))
    except ValueError as error:
        raise InputError("a filter is none") from error
    return Wanted(
        rank=cast("Rank", query.get("rank", "score")),
        slide=slide,
        calls=calls,
        decided=cast("Decided", query.get("decided", "any")),
        low=low,
        high=high,
        threshold=threshold,
    )
