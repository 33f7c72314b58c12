"""A study's page: the tables of study.md, differences and curves as pictures; offline, without scripts."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mitosieve.report.chart import BLUE, GREEN, GREY, PURPLE, SKY, VERMILLION, YELLOW, Chart, chart_style, to_svg
from mitosieve.report.words import environment, in_days
from mitosieve.score.froc import froc
from mitosieve.score.repeated import Difference
from mitosieve.score.sweep import thin
from mitosieve.score.table import pool
from mitosieve.study.result import StudyResult
from mitosieve.study.table import notes_of, tables_of

_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, YELLOW, SKY, GREY)
_LINES = ("-", "--", ":", "-.")
_MOST_POINTS = 400


def render(result: StudyResult, command: str) -> str:
    """The page as HTML text.

    Args:
        result: what the study found.
        command: that made it.
    """
    charts = [differences(result), over_controls(result), precision_recall(result), froc_curves(result)]
    return (
        environment()
        .get_template("study.html.jinja")
        .render(
            study=result.study,
            command=command,
            day="" if result.newest is None else in_days(result.newest),
            tables=tables_of(result),
            charts=[chart for chart in charts if chart is not None],
            notes=notes_of(result),
        )
    )


def differences(result: StudyResult) -> Chart | None:
    """F1 of every row minus the reference, with 95 % intervals; None where nothing is compared."""
    rows = [] if result.pooled is None else result.pooled.rows
    found = {row.name: row.differences["f1"] for row in rows if "f1" in row.differences}
    return _of_differences(found, f"that of {result.study.reference}")


def over_controls(result: StudyResult) -> Chart | None:
    """F1 of every row minus its own control's, with 95 % intervals; None where no row has one."""
    rows = [] if result.pooled is None else result.pooled.rows
    found = {row.name: row.over_control["f1"] for row in rows if "f1" in row.over_control}
    return _of_differences(found, "that of its control")


def _of_differences(rows: Mapping[str, Difference], whose: str) -> Chart | None:
    if not rows:
        return None
    with chart_style():
        figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(rows)))
        figure.subplots_adjust(left=0.42, right=0.98, bottom=0.55 / (0.9 + 0.32 * len(rows)), top=0.97)
        axes = figure.add_subplot()
        for place, found in enumerate(rows.values()):
            low, high = found.value.interval.low, found.value.interval.high
            clear = found.p_holm < 0.05
            axes.plot([low, high], [place, place], color=BLUE if clear else GREY, linewidth=1.6)
            axes.plot([found.value.mean], [place], "o", color=BLUE if clear else GREY, markersize=5)
        axes.axvline(0, color=VERMILLION, linewidth=1)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set_xlabel(f"F1 minus {whose}")
        told = "; ".join(f"{name} {found.value.mean:+.3f}" for name, found in rows.items())
        return Chart(
            title=f"F1 minus {whose}, with 95 % intervals (blue: p below 0.05 after Holm's correction)",
            alt=f"Differences to {whose}: {told}.",
            svg=to_svg(figure),
        )


def precision_recall(result: StudyResult) -> Chart | None:
    """Precision against recall of every training, all folds' test cases pooled; None where no row is whole."""
    if not result.curves:
        return None
    with chart_style():
        figure, axes = _canvas("Recall", "Precision")
        for number, (name, trainings) in enumerate(result.curves.items()):
            for seed, one in enumerate(trainings):
                curve = one.sweep()
                keep = thin(curve, _MOST_POINTS)
                label = name if seed == 0 else None
                _draw(axes, curve.recall[keep], curve.precision[keep], number, label)
                at = pool(one.slides)
                axes.plot([at.recall], [at.precision], "o", color=_COLORS[number % len(_COLORS)], markersize=4)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=7.5)
        return Chart(
            title="Precision and recall at every threshold, a line a seed; dots are the operating points",
            alt="Precision-recall curves of " + ", ".join(result.curves) + ".",
            svg=to_svg(figure),
        )


def froc_curves(result: StudyResult) -> Chart | None:
    """Recall against false alarms per slide of every training; None where no row is whole."""
    if not result.curves:
        return None
    with chart_style():
        figure, axes = _canvas("False alarms per slide", "Recall")
        for number, (name, trainings) in enumerate(result.curves.items()):
            for seed, one in enumerate(trainings):
                curve = froc(one.sweep(), num_images=len(one.slides))
                label = name if seed == 0 else None
                _draw(axes, curve.fp_per_image, curve.recall, number, label)
        axes.set(xlim=(0, 8.1), ylim=(0, 1.02))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=7.5)
        return Chart(
            title="FROC, a line a training",
            alt="Recall against false alarms per slide of " + ", ".join(result.curves) + ".",
            svg=to_svg(figure),
        )


def _canvas(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.4))
    figure.subplots_adjust(left=0.085, right=0.64, bottom=0.14, top=0.97)
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure, axes


def _draw(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], number: int, label: str | None) -> None:
    """One line in the colour and dash of its row."""
    color, dash = _COLORS[number % len(_COLORS)], _LINES[number // len(_COLORS) % len(_LINES)]
    axes.plot(x, y, label=label, linewidth=1.1, color=color, linestyle=dash)
