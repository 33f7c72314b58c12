"""Methods that were trained several times with different seeds and scored on the same slides: means over the seeds, and
intervals and differences over slides and seeds at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import FrameError
from mitosieve.score.interval import MIN_CASES, Interval, draw_times, interval_of, unit_of
from mitosieve.score.scored import BOUNDS, FIGURES, Scored

RESAMPLES = 5_000
"""Draws of slides and seeds behind each interval and p value."""

COMPARED = ("f1", "ap")
"""Figures whose differences are tested."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """One method's trainings.

    Attributes:
        name: of the method.
        by_seed: seed -> its detections, scored; all seeds on the same slides.
        control: another method that it is compared with besides the reference, such as itself without what it is
            about; empty is none, and one that is not there is passed over.
    """

    name: str
    by_seed: Mapping[int, Scored]
    control: str = ""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A figure's mean over the seeds, with its 95 % interval over slides and seeds; NaN where it is not defined."""

    mean: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A method minus another, mean over the seeds that both have.

    Attributes:
        seeds: those.
        value: with the interval, paired: the same slides and seeds for both. Not corrected for many comparisons.
        p: two-sided: the smallest level at which the percentile interval leaves 0 out; at least 2 / (resamples + 1).
        p_holm: p corrected for all differences of its kind in this figure: all methods that are compared with the
            reference, or all that are compared with a control of their own.
    """

    seeds: tuple[int, ...]
    value: Value
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is told of one method.

    Attributes:
        name: of the method.
        seeds: its trainings.
        counts: mean over the seeds of figures found, false alarms, figures missed.
        seed_counts: seed -> the same of that training.
        figures: name -> value, as `FIGURES`.
        seed_figures: seed -> name -> value on the slides as they are.
        differences: of `COMPARED`, to the reference; empty for the reference itself.
        control: the method that it is also compared with; empty where none was named.
        over_control: of `COMPARED`, to that one.
    """

    name: str
    seeds: tuple[int, ...]
    counts: tuple[float, float, float]
    seed_counts: Mapping[int, tuple[int, int, int]]
    figures: Mapping[str, Value]
    seed_figures: Mapping[int, Mapping[str, float]]
    differences: Mapping[str, Difference]
    control: str = ""
    over_control: Mapping[str, Difference] = field(default_factory=dict[str, Difference])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods on one set of slides.

    Attributes:
        rows: in the order given.
        cases, slides, figures: how much was scored.
        unit: what was drawn beside the seeds.
        note: what a reader must know of the intervals.
    """

    rows: tuple[Row, ...]
    cases: int
    slides: int
    figures: int
    unit: str
    note: str


def compare_repeats(
    methods: Sequence[Repeats],
    reference: str,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    min_cases: int = MIN_CASES,
    names: Sequence[str] = tuple(FIGURES),
) -> Comparison:
    """Means, intervals and differences by a bootstrap that draws slides (or cases) and seeds, crossed.

    In each resample the same slides are drawn for all methods, and as many of a method's seeds as it has, with
    replacement; the figure of each drawn seed is taken on the drawn slides, and averaged. A difference draws the same
    seeds for both methods, of those that both have: trainings of one seed see their cases in the same order, and two
    detectors of one training stay together. Of N seeds the means of such draws spread 1 / N too little in their square;
    they are drawn apart by that; an interval ends where its figure can be no more (`BOUNDS`). Where trainings lie as
    far apart as cases, p of a few seeds is below 0.05 more often than in a twentieth all the same; p of one seed is so
    however near they lie (`bench/few_seeds.py`).

    Args:
        methods: one or more; slides in any order, but the same for all.
        reference: name of the one that the others are compared with.
        generator: advanced by the draws.
        resamples: how often.
        min_cases: from how many cases on, cases are drawn and not slides within cases; always where no case has two.
        names: of the figures, of `FIGURES`.

    Raises:
        FrameError: trainings were scored on different slides or marks.
    """
    ordered = [
        replace(method, by_seed={seed: one.ordered() for seed, one in sorted(method.by_seed.items())})
        for method in methods
    ]
    slides = _same_slides(ordered)
    unit = unit_of([row[1] for row in slides], min_cases)
    times = draw_times(unit, generator, resamples)
    most = max(len(method.by_seed) for method in ordered)
    chance = generator.random((resamples, most))
    drawn = {
        (method.name, seed, name): FIGURES[name](one, times)
        for method in ordered
        for seed, one in method.by_seed.items()
        for name in names
    }
    exact = {
        (method.name, seed, name): float(FIGURES[name](one, one.once)[0])
        for method in ordered
        for seed, one in method.by_seed.items()
        for name in names
    }
    known = {method.name: method for method in ordered}
    pairs = [(method, known[reference]) for method in ordered if reference in known and method.name != reference]
    controlled = [(method, known[method.control]) for method in ordered if method.control in known]
    differences = _differences(pairs, exact, drawn, chance)
    over_controls = _differences(controlled, exact, drawn, chance)
    rows = [_row(method, names, exact, drawn, chance) for method in ordered]
    return Comparison(
        rows=tuple(
            replace(row, differences=_of(differences, row.name), over_control=_of(over_controls, row.name))
            for row in rows
        ),
        cases=len({row[1] for row in slides}),
        slides=len(slides),
        figures=sum(row[2] for row in slides),
        unit=unit.name,
        note=unit.note,
    )


_Exact = Mapping[tuple[str, int, str], float]
_Drawn = Mapping[tuple[str, int, str], NDArray[np.float64]]


def _same_slides(methods: Sequence[Repeats]) -> list[tuple[str, str, int]]:
    """(slide_id, case_id, figures) of every slide, the same for all trainings."""
    first: list[tuple[str, str, int]] | None = None
    for method in methods:
        for seed, one in method.by_seed.items():
            slides = [(row.slide_id, row.case_id, row.tp + row.fn) for row in one.slides]
            if first is None:
                first = slides
            elif slides != first:
                raise FrameError(
                    f"'{method.name}', seed {seed}, was scored on other slides or marks than '{methods[0].name}'",
                    remedy="score all of them on the same cohort and the same cases",
                )
    return first or []


def _row(
    method: Repeats,
    names: Sequence[str],
    exact: _Exact,
    drawn: _Drawn,
    chance: NDArray[np.float64],
) -> Row:
    seeds = tuple(method.by_seed)
    figures = {
        name: _value(
            [exact[method.name, seed, name] for seed in seeds],
            [drawn[method.name, seed, name] for seed in seeds],
            chance,
            *BOUNDS.get(name, ()),
        )
        for name in names
    }
    sums = np.array(
        [[(row.tp, row.fp, row.fn) for row in one.slides] for one in method.by_seed.values()], np.int64
    ).sum(axis=1)
    tp, fp, fn = sums.mean(axis=0).tolist()
    of_seed = {seed: (int(counts[0]), int(counts[1]), int(counts[2])) for seed, counts in zip(seeds, sums, strict=True)}
    return Row(
        name=method.name,
        seeds=seeds,
        counts=(tp, fp, fn),
        seed_counts=of_seed,
        figures=figures,
        seed_figures={seed: {name: exact[method.name, seed, name] for name in names} for seed in seeds},
        differences={},
        control=method.control,
    )


def _of(differences: Mapping[tuple[str, str], Difference], method: str) -> dict[str, Difference]:
    return {name: found for (whose, name), found in differences.items() if whose == method}


def _value(
    exact: Sequence[float],
    drawn: Sequence[NDArray[np.float64]],
    chance: NDArray[np.float64],
    least: float = -np.inf,
    most: float = np.inf,
) -> Value:
    """Mean over seeds; each resample takes the mean over as many seeds, drawn with replacement."""
    means = _over_seeds(np.stack(drawn), chance)
    return Value(mean=float(np.mean(exact)), interval=interval_of(np.clip(means, least, most)))


def _over_seeds(by_seed: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) of (N, B) values of N seeds: the mean over N seeds that `chance` (B, at least N) in [0, 1) draws, as far
    from the mean over all as such means lie: as they are drawn, they spread by (N - 1) / N of that in their square.

    Source: Rao and Wu, Journal of the American Statistical Association 83 (1988) 231-241, the rescaled bootstrap.
    """
    number, resamples = by_seed.shape
    if resamples == 0:
        return np.zeros(0)
    chosen = np.floor(chance[:, :number] * number).astype(np.intp)
    drawn = np.take_along_axis(by_seed.T, chosen, axis=1).mean(axis=1)
    if number == 1:
        return drawn
    middle = by_seed.mean(axis=0)
    return middle + np.sqrt(number / (number - 1)) * (drawn - middle)


def _differences(
    pairs: Sequence[tuple[Repeats, Repeats]], exact: _Exact, drawn: _Drawn, chance: NDArray[np.float64]
) -> dict[tuple[str, str], Difference]:
    """(first of a pair, figure) -> its difference to the second, for pairs that share a seed."""
    found: dict[tuple[str, str], Difference] = {}
    for name in COMPARED:
        values: dict[str, tuple[tuple[int, ...], Value, float]] = {}
        for method, base in pairs:
            seeds = [seed for seed in method.by_seed if seed in base.by_seed]
            if not seeds:
                continue
            apart = np.stack([drawn[method.name, seed, name] - drawn[base.name, seed, name] for seed in seeds])
            value = _value(
                [exact[method.name, seed, name] - exact[base.name, seed, name] for seed in seeds], list(apart), chance
            )
            values[method.name] = tuple(seeds), value, p_value(_over_seeds(apart, chance))
        corrected = holm([p for *_, p in values.values()])
        for (whose, (seeds, value, p)), p_holm in zip(values.items(), corrected, strict=True):
            found[whose, name] = Difference(seeds=seeds, value=value, p=p, p_holm=p_holm)
    return found


def p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided: twice the smaller share of resampled differences at or beyond 0, each with one more; NaN of none.

    Source: the plus one is of Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.2.
    """
    defined = differences[np.isfinite(differences)]
    if not len(defined):
        return float("nan")
    tail = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(defined) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for as many comparisons, step down; NaN stays and does not count.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    corrected = [float("nan")] * len(p)
    known = sorted((value, place) for place, value in enumerate(p) if np.isfinite(value))
    least = 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * value))
        corrected[place] = least
    return corrected
