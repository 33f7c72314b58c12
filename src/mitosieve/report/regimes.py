"""The search for the negatives to learn from, read from regimes.json and drawn: validation F1 against used fraction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mitosieve.cohort.table import read_text
from mitosieve.errors import FormatError
from mitosieve.method.finegrained.regime import REGIMES_FORMAT, RegimeScore, Trial
from mitosieve.report.chart import BLUE, GREEN, GREY, PURPLE, SKY, VERMILLION, YELLOW, Chart, chart_style, to_svg
from mitosieve.run import layout

PAPER_FRACTION = 0.196
"""Of the training patches, used by the best regime of Lafarge and Koelzer. Source: abstract of arXiv 2301.01079."""

_FAMILY_COLORS = (BLUE, SKY, YELLOW, GREY)
_LINES = ("-", "--", ":")
_CONTROL_MARKERS = "s^vP*X<>"
_WIDTH = 6.4
_LEAST_RANGE, _LEAST_F1 = 8.0, 0.06
"""Axes show at least this ratio of used fractions and difference of F1, so that a small difference looks small."""

Count = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Partition(_Record):
    """Patches of the training cases: figures, imposters, and candidates of labelled and of unlabelled slides."""

    figures: Count
    imposters: Count
    labelled: Count
    unlabelled: Count

    @property
    def total(self) -> int:
        return self.figures + self.imposters + self.labelled + self.unlabelled


class SearchRound(_Record):
    """Regimes tried with one set of scores."""

    scores: str
    trials: tuple[Trial, ...]
    regimes: tuple[RegimeScore, ...] = Field(min_length=1)


class ControlResult(_Record):
    """A comparison trained like the chosen regime but for what it is about."""

    name: str
    about: str = ""
    trials: tuple[Trial, ...]
    score: RegimeScore


class CapResult(_Record):
    """Unlabelled candidates that the chosen regime's cap dropped; the hidden figures are None where not known."""

    dropped: Count
    candidates: Count = Field(alias="of")
    hidden_figures: Count | None = None
    hidden_figures_dropped: Count | None = None


class RegimeSearch(_Record):
    """Content of regimes.json."""

    format: Literal[1]
    partition: Partition
    rounds: tuple[SearchRound, ...] = Field(min_length=1)
    chosen: RegimeScore
    controls: tuple[ControlResult, ...] = ()
    cap: CapResult
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fractions(self) -> "RegimeSearch":
        if not all(0 < each.used_fraction <= 1 for each in (*self.scores, *self.trials)):
            raise ValueError("a used_fraction is not above 0 and at most 1")
        f1 = [*(trial.f1 for trial in self.trials), *(x for s in self.scores for x in (s.low, s.mean, s.high))]
        if not all(0 <= value <= 1 for value in f1):
            raise ValueError("an F1 is not between 0 and 1")
        return self

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All networks that were trained, those of the controls last."""
        return tuple(trial for part in (*self.rounds, *self.controls) for trial in part.trials)

    @property
    def scores(self) -> tuple[RegimeScore, ...]:
        """All rows: of the rounds, the chosen one, of the controls."""
        of_rounds = tuple(score for part in self.rounds for score in part.regimes)
        return (*of_rounds, self.chosen, *(control.score for control in self.controls))


@dataclass(frozen=True, kw_only=True)
class SearchView:
    """A search as the page shows it.

    Attributes:
        source: its record.
        chart: F1 against used fraction.
        height: of the chart, of a width of 1.
    """

    source: RegimeSearch
    chart: Chart
    height: float


def read_search(run: Path) -> RegimeSearch | None:
    """The search of a run; None where it has none.

    Raises:
        FormatError: regimes.json is damaged or of another version; the message names the first key that is wrong.
    """
    path = run / layout.REGIMES
    if not path.exists():
        return None
    try:
        return RegimeSearch.model_validate_json(read_text(path))
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "json_invalid":
            raise FormatError(f"is not JSON ({fault['msg']})", where=path, remedy="make the file again") from error
        key = ".".join(str(part) for part in fault["loc"])
        raise FormatError(
            f"is no record of a search of format {REGIMES_FORMAT}: {key}{': ' if key else ''}{fault['msg']}",
            where=path,
            remedy="train again with this version, or take the file away to have a page without the search",
        ) from error


def view_search(search: RegimeSearch) -> SearchView:
    """The page's part of a search."""
    chosen, used = search.chosen, percent(search.chosen.used_fraction)
    controls = "; ".join(
        f"{each.name} {each.score.mean:.3f} at {percent(each.score.used_fraction)}" for each in search.controls
    )
    alt = (
        f"Best F1 on the validation cases against the used fraction of the training patches, "
        f"{sum(len(part.regimes) for part in search.rounds)} regimes. The chosen one uses {used} and has a mean F1 of "
        f"{chosen.mean:.3f}, seeds {chosen.low:.3f} to {chosen.high:.3f}."
    )
    with chart_style():
        figure = draw_searches({"": search})
        svg = to_svg(figure)
    chart = Chart(
        title="F1 on validation against the used fraction",
        alt=alt + (f" Controls: {controls}." if controls else ""),
        svg=svg,
    )
    return SearchView(source=search, chart=chart, height=figure.get_figheight() / figure.get_figwidth())


def draw_searches(searches: Mapping[str, RegimeSearch]) -> Figure:
    """A panel for each search under its name, side by side with common F1, and one legend below.

    Draw, and save, within `chart_style`.
    """
    count = len(searches)
    figure = Figure(layout="constrained")
    panels: list[Axes] = figure.subplots(1, count, sharey=True, squeeze=False)[0].tolist()
    families = list(dict.fromkeys(name for search in searches.values() for name in _families(search)))
    controls = list(dict.fromkeys(control.name for search in searches.values() for control in search.controls))
    for axes, (name, search) in zip(panels, searches.items(), strict=True):
        _draw_curve(axes, search, families)
        _draw_rest(axes, search, controls)
        _scale_x(axes, [score.used_fraction for score in search.scores])
        axes.set_xlabel("Used fraction of the training patches")
        if name:
            axes.set_title(f"{name}: {_title(search.chosen)}", fontsize=9)
    _scale_f1(panels[0], list(searches.values()))
    panels[0].set_ylabel("F1 on validation, at its best threshold")
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)  # same label, same look
    }
    columns = min(4, 1 + count)
    figure.set_size_inches(_WIDTH if count == 1 else 0.7 + 3.1 * count, 3.4 + 0.19 * math.ceil(len(handles) / columns))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)
    return figure


def percent(value: float) -> str:
    """A fraction as percent, three digits."""
    return f"{100 * value:.3g} %"


def _title(score: RegimeScore) -> str:
    return f"{percent(score.used_fraction)} used, F1 {score.mean:.3f}"


def _families(search: RegimeSearch) -> dict[str, list[RegimeScore]]:
    """Regimes of the first round that differ in the labelled share alone (the unlabelled one may go along)."""
    scores = search.rounds[0].regimes
    regimes = [score.regime for score in scores]
    along = all(r.unlabelled == r.labelled for r in regimes) or not any(r.unlabelled for r in regimes)
    found: dict[str, list[RegimeScore]] = {}
    for score, regime in zip(scores, regimes, strict=True):
        cap = f"cap {regime.cap:g}, " if regime.unlabelled else ""
        apart = "" if along else f"unlabelled {percent(regime.unlabelled)}, "
        name = f"{apart}{cap}imposters × {regime.imposter_weight}"
        found.setdefault(name, []).append(score)
    return {name: sorted(group, key=lambda score: score.used_fraction) for name, group in found.items()}


def _draw_curve(axes: Axes, search: RegimeSearch, names: Sequence[str]) -> None:
    """The first round: a line of means, a band of seeds and the trials of each family.

    Where there are too many families to tell bands apart, the trials alone show the seeds.
    """
    for name, group in _families(search).items():
        turn, place = divmod(names.index(name), len(_FAMILY_COLORS))
        color = _FAMILY_COLORS[place]
        used, mean = [score.used_fraction for score in group], [score.mean for score in group]
        label = "mean of the seeds" if len(names) == 1 else name
        if len(group) == 1:
            _ranges(axes, group, fmt="o", color=color, label=label)
        else:
            axes.plot(used, mean, "o", linestyle=_LINES[turn % len(_LINES)], color=color, markersize=4, label=label)
        if len(group) > 1 and len(names) <= len(_FAMILY_COLORS):
            low, high = [score.low for score in group], [score.high for score in group]
            band = "lowest to highest seed (no confidence interval)" if name == names[0] else None
            axes.fill_between(used, low, high, color=color, alpha=0.16, linewidth=0, label=band)
        regimes = {score.regime.name for score in group}
        trials = [trial for trial in search.rounds[0].trials if trial.regime.name in regimes]
        _dots(axes, trials, color, label="one network" if name == names[-1] else None)


def _draw_rest(axes: Axes, search: RegimeSearch, names: Sequence[str]) -> None:
    """Later rounds, controls, the chosen regime, and where the paper's is."""
    for part in search.rounds[1:]:
        _ranges(axes, part.regimes, fmt="D", color=GREEN, label="second round")
        _dots(axes, part.trials, GREEN)
    for control in search.controls:
        marker = _CONTROL_MARKERS[names.index(control.name) % len(_CONTROL_MARKERS)]
        _ranges(axes, [control.score], fmt=marker, color=PURPLE, label=f"control: {control.name}")
        _dots(axes, control.trials, PURPLE)
    axes.plot(
        [search.chosen.used_fraction],
        [search.chosen.mean],
        "o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=VERMILLION,
        markeredgewidth=1.8,
        label="chosen regime",
    )
    axes.axvline(PAPER_FRACTION, color=GREY, linewidth=1, linestyle=":", label=f"the paper's {percent(PAPER_FRACTION)}")


def _ranges(axes: Axes, scores: Sequence[RegimeScore], *, fmt: str, color: str, label: str) -> None:
    mean = [score.mean for score in scores]
    arms = [
        [max(0.0, score.mean - score.low) for score in scores],
        [max(0.0, score.high - score.mean) for score in scores],
    ]
    used = [score.used_fraction for score in scores]
    axes.errorbar(used, mean, yerr=arms, fmt=fmt, color=color, markersize=5, elinewidth=1, capsize=2, label=label)


def _dots(axes: Axes, trials: Sequence[Trial], color: str, *, label: str | None = None) -> None:
    used, f1 = [trial.used_fraction for trial in trials], [trial.f1 for trial in trials]
    axes.plot(used, f1, "o", color=color, markersize=3, alpha=0.7, markeredgewidth=0, label=label)


def _scale_x(axes: Axes, used: Sequence[float]) -> None:
    low, high = min(*used, PAPER_FRACTION) / 1.3, max(*used, PAPER_FRACTION) * 1.3
    widen = max(1.0, math.sqrt(_LEAST_RANGE * low / high))
    high = min(1.15, high * widen)
    low = min(low / widen, high / _LEAST_RANGE)
    ticks = [base * 10.0**power for power in range(-8, 1) for base in (1, 2, 5) if low <= base * 10.0**power <= high]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if f"{tick:.0e}".startswith("1")]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: percent(tick)))


def _scale_f1(axes: Axes, searches: Sequence[RegimeSearch]) -> None:
    values = [value for search in searches for score in search.scores for value in (score.low, score.high)]
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), (_LEAST_F1 - (high - low)) / 2)
    axes.set_ylim(max(-0.02, low - room), min(1.02, high + room))
