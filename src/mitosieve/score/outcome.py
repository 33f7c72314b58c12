"""What became of each cell: found, missed or false alarm; the table behind galleries. Knows nothing of pixels."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.cohort.table import Row, read_table
from mitosieve.errors import FormatError
from mitosieve.run.folder import write_atomic
from mitosieve.score.counted import Counted, Places
from mitosieve.score.match import Pairs, match_greedy, near_pairs

OUTCOME_COLUMNS = ("slide_id", "x", "y", "outcome", "score", "distance_um", "on_imposter")


class Outcome(StrEnum):
    """A detection is found or a false alarm; a figure without a detection is missed."""

    FOUND = "found"
    MISSED = "missed"
    FALSE_ALARM = "false alarm"


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """One row a cell: every detection at the operating point, then every missed figure.

    Attributes:
        slide_id: (N,) str.
        center_l0: (N, 2) float64, level-0 px: of the detection; of the mark where the figure was missed.
        outcome: (N,) str, each an `Outcome` value.
        score: (N,) float64; for a missed figure that of the detection below the threshold that matches it, NaN without.
        distance_um: (N,) float64 from the mark to that detection; NaN without.
        on_imposter: (N,) bool, whether an expert's imposter lies within the matching radius.
    """

    slide_id: NDArray[np.str_]
    center_l0: NDArray[np.float64]
    outcome: NDArray[np.str_]
    score: NDArray[np.float64]
    distance_um: NDArray[np.float64]
    on_imposter: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.slide_id)

    def of(self, outcome: Outcome) -> NDArray[np.intp]:
        """Rows of one outcome, the highest score first; unknown scores last, ties in row order."""
        rows = np.flatnonzero(self.outcome == outcome.value)
        return rows[np.argsort(-np.nan_to_num(self.score[rows], nan=-np.inf), kind="stable")]


def outcomes(counted: Counted, pairs: Pairs, chosen: NDArray[np.int64], *, radius_um: float) -> Outcomes:
    """The fate of every cell at the operating point.

    Args:
        counted: what is scored.
        pairs: of all its figures and all its detections, also those below the threshold.
        chosen: (F,) the official match at the operating point, as positions in `pairs`; -1 where missed.
        radius_um: of the match; also decides `on_imposter`.
    """
    is_missed = chosen < 0
    hit = chosen[~is_missed]
    distance = np.full(len(counted.detections), np.nan)
    distance[pairs.detection[hit]] = pairs.distance_um[hit]
    shown = np.flatnonzero(counted.is_figure)
    late = pairs.among(~counted.is_figure, is_missed)
    later = match_greedy(late)[is_missed]
    is_late = later >= 0
    late_score, late_distance = np.full(len(later), np.nan), np.full(len(later), np.nan)
    late_score[is_late] = counted.score[late.detection[later[is_late]]]
    late_distance[is_late] = late.distance_um[later[is_late]]
    where = _join(counted.detections[shown], counted.figures[is_missed])
    ids = np.array([entry.slide_id for entry in counted.slides], dtype=np.str_)
    fate = np.where(np.isfinite(distance[shown]), Outcome.FOUND.value, Outcome.FALSE_ALARM.value)
    return Outcomes(
        slide_id=ids[where.slide],
        center_l0=where.center_l0,
        outcome=np.concatenate([fate, np.full(len(later), Outcome.MISSED.value)]),
        score=np.concatenate([counted.score[shown], late_score]),
        distance_um=np.concatenate([distance[shown], late_distance]),
        on_imposter=is_near(where, counted.imposters, counted.mpp, radius_um=radius_um),
    )


def is_near(places: Places, marks: Places, mpp: NDArray[np.float64], *, radius_um: float) -> NDArray[np.bool_]:
    """(N,) whether any of `marks` lies within the radius of each place; one mark may serve many places."""
    near = np.zeros(len(places), dtype=np.bool_)
    near[near_pairs(marks, places, mpp=mpp, radius_um=radius_um).detection] = True
    return near


def _join(first: Places, second: Places) -> Places:
    return Places(
        slide=np.concatenate([first.slide, second.slide]),
        center_l0=np.concatenate([first.center_l0, second.center_l0]),
    )


def write_outcomes(path: Path, cells: Outcomes) -> Path:
    """Write a CSV with the columns `OUTCOME_COLUMNS`; x and y in level-0 px, unknown values empty.

    Raises:
        StorageError: the folder cannot be written.
    """
    table = pd.DataFrame(
        {
            "slide_id": cells.slide_id,
            "x": list(_text(cells.center_l0[:, 0], ".10g")),
            "y": list(_text(cells.center_l0[:, 1], ".10g")),
            "outcome": cells.outcome,
            "score": list(_text(cells.score, ".6g")),
            "distance_um": list(_text(cells.distance_um, ".4g")),
            "on_imposter": np.where(cells.on_imposter, "yes", "no"),
        },
        columns=list(OUTCOME_COLUMNS),
    )
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return write_atomic(path, text.getvalue())


def _text(values: NDArray[np.float64], form: str) -> Iterator[str]:
    return ("" if math.isnan(value) else format(value, form) for value in values.tolist())


def read_outcomes(path: Path) -> Outcomes:
    """Read what `write_outcomes` wrote.

    Raises:
        FormatError: a column is missing, or a value is not what it should be; the line is named.
    """
    rows = read_table(path, required=OUTCOME_COLUMNS)
    columns = {
        name: np.array([_number(row, name) for row in rows], dtype=np.float64)
        for name in ("x", "y", "score", "distance_um")
    }
    return Outcomes(
        slide_id=np.array([row.values["slide_id"] for row in rows], dtype=np.str_),
        center_l0=np.column_stack([columns["x"], columns["y"]]).reshape(len(rows), 2),
        outcome=np.array([_outcome(row) for row in rows], dtype=np.str_),
        score=columns["score"],
        distance_um=columns["distance_um"],
        on_imposter=np.array([row.values["on_imposter"] == "yes" for row in rows], dtype=np.bool_),
    )


def _number(row: Row, name: str) -> float:
    text = row.values[name]
    try:
        value = float(text) if text or name in ("x", "y") else math.nan
    except ValueError as error:
        raise FormatError(f"{name} is '{text}', not a number", where=row.where, remedy="evaluate again") from error
    if name in ("x", "y") and not math.isfinite(value):
        raise FormatError(f"{name} is '{text}', not a place", where=row.where, remedy="evaluate again")
    return value


def _outcome(row: Row) -> str:
    try:
        return Outcome(row.values["outcome"]).value
    except ValueError as error:
        known = ", ".join(outcome.value for outcome in Outcome)
        raise FormatError(f"outcome is none of {known}", where=row.where, remedy="evaluate again") from error
