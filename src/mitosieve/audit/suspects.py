"""Labels that a person should look at again: what a page shows of each, kept beside it. Knows no pixels, no page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from mitosieve.audit.points import AuditedPlace

Place = tuple[str, float, float]
"""slide_id, and x, y in level-0 px."""

SPARK_WIDTH, SPARK_HEIGHT = 188, 36
_SPARK_EDGE = 2


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One label.

    Attributes:
        rank: by suspicion, 1 is the most suspicious.
        point: where, what it was called, and its record: what the file of verdicts says of it.
        score: share of experts who called it a figure; None where unknown.
        verdict: of the training.
        level: 0 easy, 1 to 3 hard; -1 none.
        suspicion: 0..1.
        out_of_fold: probability of "mitotic figure" by a network that has not seen the case.
        history: p(y) by epoch; None where not visited.
        rival: the place most like it of the other class; None where there is none.
        rival_label: what that is called.
        similarity: cosine to it; None where there is none.
    """

    rank: int
    point: AuditedPlace
    score: float | None
    verdict: str
    level: int
    suspicion: float
    out_of_fold: float
    history: Sequence[float | None]
    rival: Place | None
    rival_label: str
    similarity: float | None

    @property
    def place(self) -> Place:
        """Of the cell."""
        return self.point.slide_id, *self.point.center_l0

    @property
    def label(self) -> str:
        """What it was called."""
        return self.point.label

    @property
    def doubted(self) -> int:
        """Epochs in which the network gave the label less than one half."""
        return sum(value is not None and value < 0.5 for value in self.history)

    @property
    def epochs(self) -> int:
        """Epochs in which the label was seen."""
        return sum(value is not None for value in self.history)

    @property
    def figure_for_strangers(self) -> bool:
        """Whether a network that had not seen the patient calls it a figure."""
        return self.out_of_fold >= 0.5

    @property
    def lines(self) -> tuple[str, ...]:
        """The history as polylines of an SVG, broken where the label was not visited."""
        return sparkline(self.history)


@dataclass(frozen=True, kw_only=True)
class SuspectsOfSlide:
    """The cells of one slide.

    Attributes:
        slide_id: its name.
        cells: the most suspicious first.
    """

    slide_id: str
    cells: tuple[Suspect, ...]


@dataclass(frozen=True, kw_only=True)
class SuspectsView:
    """All that the page shows.

    Attributes:
        name: of the run.
        fold: of the run.
        cohort: its name.
        cases: how many were audited.
        slides: how many were audited.
        counts: rows of label and number by verdict, in the order of `verdicts`.
        verdicts: their names.
        agreement: rows of first ranking, second ranking, rank correlation (None: no order), shared, top.
        totals: rows of a direction of error, how many labels it has, and how many of them are shown.
        slides_shown: the labels by slide, that with the most suspicious one first.
        day: of the run, in words.
    """

    name: str
    fold: str
    cohort: str
    cases: int
    slides: int
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    verdicts: tuple[str, ...]
    agreement: tuple[tuple[str, str, float | None, int, int], ...]
    totals: tuple[tuple[str, int, int], ...]
    slides_shown: tuple[SuspectsOfSlide, ...]
    day: str = ""


SHOWN = TypeAdapter(SuspectsView)
"""How all of it is kept as JSON."""


def by_slide(cells: Sequence[Suspect]) -> tuple[SuspectsOfSlide, ...]:
    """Cells by slide, so that each slide is looked at once; slides and cells by their rank."""
    groups: dict[str, list[Suspect]] = {}
    for cell in sorted(cells, key=lambda cell: cell.rank):
        groups.setdefault(cell.point.slide_id, []).append(cell)
    return tuple(SuspectsOfSlide(slide_id=name, cells=tuple(group)) for name, group in groups.items())


def sparkline(history: Sequence[float | None]) -> tuple[str, ...]:
    """Points of SVG polylines through a history of 0..1, its first epoch at the left and 1 at the top.

    A visit between epochs without one is a line of no length, which a round cap shows as a dot.
    """
    values = np.asarray(history, dtype=np.float64)
    across = np.linspace(_SPARK_EDGE, SPARK_WIDTH - _SPARK_EDGE, max(2, len(values)))
    down = _SPARK_EDGE + (1 - values) * (SPARK_HEIGHT - 2 * _SPARK_EDGE)
    parts: list[list[str]] = [[]]
    for x, y in zip(across.tolist(), down.tolist(), strict=False):
        if math.isnan(y):
            parts.append([])
        else:
            parts[-1].append(f"{x:.1f},{y:.1f}")
    return tuple(" ".join(part * 2 if len(part) == 1 else part) for part in parts if part)
