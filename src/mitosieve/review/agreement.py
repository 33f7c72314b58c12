"""How far two readers agree who did not see each other's decisions, and where they do not. Knows no file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from mitosieve.review.cell import Cell
from mitosieve.review.decision import Verdict
from mitosieve.score.metrics import Score, number

VERDICTS: tuple[Verdict, ...] = ("figure", "imposter", "unsure")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two readers, on the cells that both judged.

    Attributes:
        first, second: their names.
        counts: (3, 3) cells by what the first says (row) and the second (column), in the order of VERDICTS.
        only_first, only_second: cells that one of them judged, or added, and the other did not.
        kappa: Cohen's kappa of figure against imposter, on cells where both are sure; NaN where both called all of them
            the same, for chance alone then agrees too, or where there is none.
        first_by_second: figures of the first reader as truth, those of the second as found, where both are sure; an
            added cell counts as passed over by a reader who went through that place. second_by_first: the other way
            round; F1 is the same, precision and recall change places.
        disagreements: cells that one calls a figure and the other an imposter; then those that one calls a figure and
            the other passed over; then those where one is unsure.
    """

    first: str
    second: str
    counts: tuple[tuple[int, ...], ...]
    only_first: int
    only_second: int
    kappa: float
    first_by_second: Score
    second_by_first: Score
    disagreements: tuple[Cell, ...]

    @property
    def both(self) -> int:
        """Cells that both judged."""
        return sum(map(sum, self.counts))

    def to_json(self) -> dict[str, Any]:
        """Numbers alone; the cells by key."""
        return {
            "first": self.first,
            "second": self.second,
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "counts": {
                row: dict(zip(VERDICTS, values, strict=True)) for row, values in zip(VERDICTS, self.counts, strict=True)
            },
            "kappa": number(self.kappa),
            "first_by_second": self.first_by_second.to_json(),
            "second_by_first": self.second_by_first.to_json(),
            "disagreements": [cell.key for cell in self.disagreements],
        }


def agree(
    cells: Sequence[Cell],
    first: str,
    second: str,
    searched: Mapping[tuple[str, str], BaseGeometry] | None = None,
) -> Agreement:
    """How two readers agree.

    Args:
        cells: of `cells_of`, by all readers.
        first: a reader.
        second: another one.
        searched: of `searched_areas`. A cell that one reader added is one that the other passed over, and called no
            figure, where it lies in what the other went through; elsewhere the other says nothing of it.

    Source: Cohen, Educational and Psychological Measurement 20 (1960), as scikit-learn computes it.
    """
    both = [cell for cell in cells if first in cell.votes and second in cell.votes]
    votes = [(cell.votes[first], cell.votes[second]) for cell in both]
    rows, columns = [one for one, _ in votes], [other for _, other in votes]
    table = confusion_matrix(rows, columns, labels=list(VERDICTS)) if both else np.zeros((3, 3), np.int64)
    said = [(_says(cell, first, searched or {}), _says(cell, second, searched or {})) for cell in cells]
    found = [said.count(pair) for pair in ((True, True), (False, True), (True, False))]
    opposed = [cell for cell, pair in zip(cells, said, strict=True) if set(pair) == {True, False}]
    unsure = [cell for cell, pair in zip(both, votes, strict=True) if pair.count("unsure") == 1]
    return Agreement(
        first=first,
        second=second,
        counts=tuple(tuple(int(value) for value in row) for row in table),
        only_first=sum(first in cell.votes for cell in cells) - len(both),
        only_second=sum(second in cell.votes for cell in cells) - len(both),
        kappa=_kappa([pair for pair in votes if "unsure" not in pair]),
        first_by_second=Score(tp=found[0], fp=found[1], fn=found[2]),
        second_by_first=Score(tp=found[0], fp=found[2], fn=found[1]),
        disagreements=(*sorted(opposed, key=lambda cell: not {first, second} <= cell.votes.keys()), *unsure),
    )


def _kappa(votes: Sequence[tuple[str, str]]) -> float:
    """NaN where it is not defined, of which scikit-learn would warn."""
    if len({vote for pair in votes for vote in pair}) < 2:
        return float("nan")
    return float(cohen_kappa_score([one for one, _ in votes], [other for _, other in votes]))


def _says(cell: Cell, reader: str, searched: Mapping[tuple[str, str], BaseGeometry]) -> bool | None:
    """Whether a reader calls a cell a figure; None where the reader says nothing, or is unsure."""
    vote = cell.votes.get(reader)
    if vote is not None:
        return None if vote == "unsure" else vote == "figure"
    area = searched.get((reader, cell.slide_id))
    passed_over = cell.is_passed_over and area is not None and shapely.intersects_xy(area, cell.x_px, cell.y_px)
    return False if passed_over else None
