"""Bootstrap intervals over cases, for figures made of per-slide counts and for differences of two methods.

Takes a table with a row per slide; several methods side by side in its columns share their resamples, which is what
makes a comparison paired. Knows nothing of detections.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import plural
from mitosieve.score.metrics import number

RESAMPLES = 10_000
"""Draws with replacement. Source: the MIDOG 2021 challenge paper repeats 10,000 times."""

MIN_CASES = 5
"""Below this many cases, slides within cases are drawn instead of cases. Our choice, measured (`bench/few_cases.py`):
from five on, drawing cases holds the truth more often, of one method and of a difference; of less the difference of two
methods is held more often by slides."""

ENOUGH_CASES = 10
"""Below this many cases an interval that draws cases is noted as too narrow."""

COVERAGE = 0.95
_Z = 1.959963984540054
"""Quantile of the normal distribution at 1 - (1 - COVERAGE) / 2."""
_CHUNK = 1000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Percentile bootstrap interval; NaN where it is not defined."""

    low: float
    high: float

    @property
    def is_point(self) -> bool:
        """Whether both ends are one: all resamples were equal, and say nothing of how far the value may be off."""
        return self.low == self.high

    def to_json(self) -> list[float | None]:
        return [number(self.low), number(self.high)]


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Column sums of resampled slides.

    Attributes:
        sums: (B, K) int64; B = 0 where a single slide leaves nothing to draw from.
        unit: what was drawn: "cases", "slides within cases", or "none".
        note: what a reader must know of these intervals; empty where nothing.
    """

    sums: NDArray[np.int64]
    unit: str
    note: str

    def to_json(self) -> dict[str, str | int | float]:
        return {"unit": self.unit, "resamples": len(self.sums), "coverage": COVERAGE, "note": self.note}


def resample(
    table: NDArray[np.int64],
    case_id: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    min_cases: int = MIN_CASES,
) -> Resampled:
    """Draw cases with replacement, as often as there are cases, and sum their rows; `resamples` times.

    Below `min_cases` cases, the slides of each case are drawn with replacement within it: what differs between patients
    is then not in the interval, which is too narrow and noted so. Where no case has two slides, cases are drawn
    whatever their number. A single slide gives no draws.

    Args:
        table: (S, K) counts, a row a slide.
        case_id: (S,) case of each row; row order within a case and order of cases fix which draw hits which.
        generator: advanced by the draws.
        resamples: how often.
        min_cases: from how many cases on, cases are drawn.
    """
    unit = unit_of(case_id, min_cases)
    if unit.name == "none":
        return Resampled(sums=np.zeros((0, table.shape[1]), np.int64), unit=unit.name, note=unit.note)
    if unit.name == "cases":
        by_case = np.zeros((int(unit.case.max()) + 1, table.shape[1]), dtype=np.int64)
        np.add.at(by_case, unit.case, table)
        return Resampled(sums=_draw(by_case, generator, resamples), unit=unit.name, note=unit.note)
    sums = np.zeros((resamples, table.shape[1]), dtype=np.int64)
    for number_of_case in range(int(unit.case.max()) + 1):
        sums += _draw(table[unit.case == number_of_case], generator, resamples)
    return Resampled(sums=sums, unit=unit.name, note=unit.note)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a bootstrap of slides draws.

    Attributes:
        name: "cases", "slides within cases", or "none".
        case: (S,) intp, number of each slide's case.
        note: what a reader must know of the intervals; empty where nothing.
    """

    name: str
    case: NDArray[np.intp]
    note: str


def unit_of(case_id: Sequence[str], min_cases: int = MIN_CASES) -> Unit:
    """Cases from `min_cases` of them on, or where none has two slides; else slides within cases; of one slide none."""
    cases, case = np.unique(np.asarray(case_id, dtype=np.str_), return_inverse=True)
    if len(case_id) < 2:
        return Unit(name="none", case=case, note="one slide only: no interval can be estimated")
    if len(cases) >= min_cases or np.bincount(case).max() == 1:
        few = f"only {plural(len(cases), 'case')}: the interval is too narrow" if len(cases) < ENOUGH_CASES else ""
        return Unit(name="cases", case=case, note=few)
    return Unit(
        name="slides within cases",
        case=case,
        note=f"only {plural(len(cases), 'case')}: slides were drawn within cases; the interval is too narrow, "
        "for it leaves out how patients differ",
    )


def draw_times(unit: Unit, generator: np.random.Generator, resamples: int) -> NDArray[np.int32]:
    """(B, S) how often each slide is in each resample; B is 0 where nothing can be drawn.

    For figures that are no sum over slides; `resample` needs less memory.
    """
    if unit.name == "none":
        return np.zeros((0, len(unit.case)), np.int32)
    if unit.name == "cases":
        n = int(unit.case.max()) + 1
        return generator.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.int32)[:, unit.case]
    times = np.zeros((resamples, len(unit.case)), np.int32)
    for number_of_case in range(int(unit.case.max()) + 1):
        rows = np.flatnonzero(unit.case == number_of_case)
        times[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    return times


def _draw(rows: NDArray[np.int64], generator: np.random.Generator, resamples: int) -> NDArray[np.int64]:
    """(resamples, K) sums of len(rows) rows drawn with replacement; in chunks, to bound the memory."""
    n = len(rows)
    share = np.full(n, 1 / n)
    values = rows.astype(np.float64)  # a float product is fast, and exact below 2^53
    sums = np.empty((resamples, rows.shape[1]), dtype=np.int64)
    for begin in range(0, resamples, _CHUNK):
        times = generator.multinomial(n, share, size=min(_CHUNK, resamples - begin))
        sums[begin : begin + _CHUNK] = times.astype(np.float64) @ values
    return sums


def interval_of(values: NDArray[np.float64]) -> Interval:
    """The central 95 % of resampled values; those that are not defined (NaN) are left out."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Interval(low=float("nan"), high=float("nan"))
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def wilson(found: int, of: int) -> Interval:
    """The score interval of a share, which needs no resampling and is never a point.

    It takes what is counted as independent of one another, which cells of one slide are not: it is too narrow where
    slides differ, and honest where all or none were found. Source: Wilson 1927, JASA 22 (158), 209-212.

    Args:
        found: how many.
        of: out of how many; of none no interval is defined (NaN).
    """
    if of == 0:
        return Interval(low=float("nan"), high=float("nan"))
    z2 = _Z**2
    middle = (found + z2 / 2) / (of + z2)
    half = _Z / (of + z2) * math.sqrt(found * (of - found) / of + z2 / 4)
    return Interval(low=middle - half if found else 0.0, high=middle + half if found < of else 1.0)
