"""Methods scored on the same slides, and the paired bootstrap intervals of their differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mitosieve.errors import FrameError
from mitosieve.score.interval import MIN_CASES, RESAMPLES, Interval, Resampled, interval_of, resample
from mitosieve.score.judged import Judged, check_same
from mitosieve.score.table import MEASURES, Score, SlideScore, counts_of, figures_of, number, pool


@dataclass(frozen=True, kw_only=True)
class ScoredMethod:
    """One method's result: what it is called, its counts, the radius they were made with, and what was noted of them,
    but for what its intervals draw: a comparison draws anew.
    """

    name: str
    slides: tuple[SlideScore, ...]
    radius_um: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`second` minus `first`, in precision, recall or F1, pooled over the same slides.

    Attributes:
        interval: 95 %, from the same resamples for both; where it holds 0, the data do not tell the two apart.
    """

    first: str
    second: str
    figure: str
    value: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "figure": self.figure,
            "difference": number(self.value),
            "interval": self.interval.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods, each with its score and intervals, the differences of all pairs in the order given, and what was
    noted of single methods' scores.
    """

    names: tuple[str, ...]
    scores: tuple[Score, ...]
    intervals: tuple[dict[str, Interval], ...]
    differences: tuple[Difference, ...]
    bootstrap: Resampled
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        rows = zip(self.names, self.scores, self.intervals, strict=True)
        return {
            "methods": [
                {"name": name, **score.to_json(), **{f"{key}_interval": i.to_json() for key, i in intervals.items()}}
                for name, score, intervals in rows
            ],
            "differences": [difference.to_json() for difference in self.differences],
            "bootstrap": self.bootstrap.to_json(),
            "notes": list(self.notes),
        }


def compare(
    methods: Sequence[ScoredMethod],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    min_cases: int = MIN_CASES,
) -> Comparison:
    """Compare methods pairwise by a paired bootstrap: each resample holds the same slides for all of them.

    Args:
        methods: two or more, scored on the same slides against the same figures.
        generator: advanced by the draws.
        resamples: how often.
        min_cases: from how many cases on, cases are drawn (see `interval.resample`).

    Raises:
        FrameError: fewer than two methods, or their slides, figures or radii differ.
    """
    if len(methods) < 2:
        raise FrameError("a comparison needs at least two methods", remedy="name two or more evaluated folders")
    check_same([_judged(method) for method in methods])
    ordered = [_ordered(method) for method in methods]
    counts = [counts_of(slides) for slides in ordered]
    drawn = resample(
        np.concatenate(counts, axis=1),
        [row.case_id for row in ordered[0]],
        generator,
        resamples=resamples,
        min_cases=min_cases,
    )
    resampled = [figures_of(drawn.sums[:, 3 * k : 3 * k + 3]) for k in range(len(methods))]
    pooled = [figures_of(table.sum(axis=0)) for table in counts]
    return Comparison(
        names=tuple(method.name for method in methods),
        scores=tuple(pool(slides) for slides in ordered),
        intervals=tuple({figure: interval_of(values[figure]) for figure in MEASURES} for values in resampled),
        differences=tuple(
            Difference(
                first=methods[a].name,
                second=methods[b].name,
                figure=figure,
                value=float(pooled[b][figure] - pooled[a][figure]),
                interval=interval_of(resampled[b][figure] - resampled[a][figure]),
            )
            for a, b in combinations(range(len(methods)), 2)
            for figure in MEASURES
        ),
        bootstrap=drawn,
        notes=_notes_of(methods),
    )


def _notes_of(methods: Sequence[ScoredMethod]) -> tuple[str, ...]:
    """What was noted of each, once, after the names of those that it is of."""
    of: dict[str, list[str]] = {}
    for method in methods:
        for note in method.notes:
            of.setdefault(note, []).append(method.name)
    return tuple(f"{', '.join(names)}: {note}" for note, names in of.items())


def _judged(method: ScoredMethod) -> Judged:
    return Judged(
        name=method.name,
        radius_um=method.radius_um,
        slides={row.slide_id: (row.case_id, row.tp + row.fn) for row in method.slides},
    )


def _ordered(method: ScoredMethod) -> tuple[SlideScore, ...]:
    return tuple(sorted(method.slides, key=lambda row: row.slide_id))
