"""Charts as SVG, drawn from the numbers in metrics.json and history/*.json and nothing else.

Called charts because a figure, here, is a cell. No global state of matplotlib is touched for longer than a drawing.
"""

import base64
import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mitosieve.score.interval import ENOUGH_CASES

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5b6573"
SKY, YELLOW, PURPLE = "#56B4E9", "#E69F00", "#CC79A7"
"""Told apart by all kinds of colour vision. Source: Okabe and Ito, Color Universal Design, 2008."""

_SIZE = (4.4, 3.7)
Numbers = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing and its words.

    Attributes:
        title: what it is.
        alt: what it shows, for those who cannot see it.
        svg: the drawing.
    """

    title: str
    alt: str
    svg: bytes

    @property
    def uri(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


def score_charts(metrics: dict[str, Any]) -> list[Chart]:
    """Precision-recall, FROC and count agreement; those that are not defined for these slides are left out."""
    charts = [precision_recall(metrics), froc(metrics), agreement(metrics)]
    return [chart for chart in charts if chart is not None]


def precision_recall(metrics: dict[str, Any]) -> Chart | None:
    """The curve, the operating point with its 95 % intervals, and lines of equal F1; None without figures."""
    curve, pooled = metrics["pr_curve"], metrics["pooled"]
    recall, precision = _pairs(curve["recall"], curve["precision"])
    if not len(recall):
        return None
    with chart_style():
        figure, axes = _canvas("Recall", "Precision")
        _equal_f1(axes)
        axes.plot(recall, precision, color=BLUE, label=f"every threshold, AP {_text(metrics['ap'])}")
        if pooled["precision"] is not None and pooled["recall"] is not None:
            axes.errorbar(
                pooled["recall"],
                pooled["precision"],
                xerr=_arms(pooled["recall"], pooled.get("recall_interval")),
                yerr=_arms(pooled["precision"], pooled.get("precision_interval")),
                fmt="o",
                color=VERMILLION,
                elinewidth=1,
                capsize=2,
                label="operating point, 95 % intervals",
            )
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        _legend_below(axes)
        alt = (
            f"Precision against recall at every threshold; average precision {_text(metrics['ap'])}. The operating "
            f"point has precision {_text(pooled['precision'])} and recall {_text(pooled['recall'])}."
        )
        return Chart(title="Precision and recall", alt=alt, svg=to_svg(figure))


def froc(metrics: dict[str, Any]) -> Chart | None:
    """Recall against false alarms per slide, 0..8, as MIDOG 2025 defines it; None without figures."""
    curve, pooled = metrics["froc"], metrics["pooled"]
    alarms, recall = _pairs(curve["fp_per_image"], curve["recall"])
    if not len(alarms):
        return None
    at = pooled["fp"] / pooled["slides"]
    with chart_style():
        figure, axes = _canvas("False alarms per slide", "Recall")
        area = f"area {_text(curve['area'])} of {curve['max_area']:g}"
        axes.plot(alarms, recall, color=BLUE, label=f"40 thresholds, {area}")
        axes.plot([at], [pooled["recall"]], "o", color=VERMILLION, label="operating point")
        axes.set(xlim=(-0.1, max(curve["max_area"], 1.05 * at)), ylim=(0, 1.02))
        _legend_below(axes)
        alt = (
            f"Recall against false alarms per slide, {area}. The operating point has {at:.2f} false alarms per slide "
            f"and recall {_text(pooled['recall'])}."
        )
        return Chart(title="FROC", alt=alt, svg=to_svg(figure))


def densities(metrics: dict[str, Any]) -> tuple[str, NDArray[np.float64]]:
    """Mitotic figures per mm2, predicted and true: per case, or per slide where they are fewer than ENOUGH_CASES.

    Returns:
        "case" or "slide", and (N, 2) predicted, true; slides of unknown area are left out, and cases that have one.
    """
    unit = "case" if metrics["pooled"]["cases"] >= ENOUGH_CASES else "slide"
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in metrics["per_slide"]:
        groups.setdefault(row[f"{unit}_id"], []).append(row)
    rows: list[tuple[float, float]] = []
    for group in groups.values():
        if all(row["area_mm2"] for row in group):
            area = sum(row["area_mm2"] for row in group)
            rows.append((sum(r["tp"] + r["fp"] for r in group) / area, sum(r["tp"] + r["fn"] for r in group) / area))
    return unit, np.array(rows, dtype=np.float64).reshape(-1, 2)


def agreement(metrics: dict[str, Any]) -> Chart | None:
    """Difference of predicted and true count against their mean (Bland-Altman); None where no area is known."""
    unit, points = densities(metrics)
    agreed = metrics["count_agreement"][f"per_{unit}"]
    if not len(points):
        return None
    with chart_style():
        figure, axes = _canvas("Mean of predicted and true, per mm²", "Predicted − true, per mm²")
        axes.scatter(points.mean(axis=1), points[:, 0] - points[:, 1], s=16, color=BLUE, alpha=0.6, linewidths=0)
        lines = {"mean_difference": ("mean ", "-"), "lower_limit": ("", "--"), "upper_limit": ("", "--")}
        drawn: list[tuple[float, str]] = []
        for name, (word, style) in lines.items():
            value = agreed[f"{name}_per_mm2"]
            if value is not None:
                axes.axhline(value, color=VERMILLION, linewidth=1.2, linestyle=style)
                drawn.append((float(value), word + f"{value:+.1f}".replace("-", "−")))
        axes.axhline(0, color=GREY, linewidth=0.8)
        _labels_beside(axes, drawn)
        noun = unit if len(points) == 1 else f"{unit}s"
        alt = (
            f"Predicted minus true mitotic count per mm² of {len(points)} {noun} against their mean. Mean difference "
            f"{_text(agreed['mean_difference_per_mm2'], 1)}, limits of agreement "
            f"{_text(agreed['lower_limit_per_mm2'], 1)} to {_text(agreed['upper_limit_per_mm2'], 1)}."
        )
        return Chart(title=f"Mitotic count, agreement per {unit}", alt=alt, svg=to_svg(figure))


def training(stage: str, history: Sequence[dict[str, Any]]) -> Chart | None:
    """Loss and validation average precision of one stage, by step; None without rows.

    Without validation cases the loss of the training alone.
    """
    if not history:
        return None
    last = [row["validation_average_precision"] for row in history if "validation_average_precision" in row]
    with chart_style():
        figure = Figure(figsize=(6.4, 2.9))
        figure.subplots_adjust(left=0.085, right=0.985, bottom=0.27, top=0.97, wspace=0.28)
        parts = figure.subplots(1, 2 if last else 1, squeeze=False)[0]
        for axes, label in zip(parts, ("Loss", "Average precision"), strict=False):
            axes.set(xlabel="Step", ylabel=label)
        for place, key, label, color in (
            (0, "loss", "training", BLUE),
            (0, "validation_loss", "validation", VERMILLION),
            (1, "validation_average_precision", "validation", VERMILLION),
        ):
            step, value = _pairs([row["step"] for row in history], [row.get(key) for row in history])
            if len(step):
                marker = "o" if len(step) < 12 else ""
                parts[place].plot(step, value, color=color, label=label, marker=marker, markersize=3)
        for axes in parts:
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        if last:
            parts[1].set_ylim(0, 1.02)
        _legend_below(parts[0], -0.22, columns=2)
        alt = f"Loss{' and validation average precision' if last else ''} of the stage {stage} over " + (
            f"{history[-1]['step']} steps" + (f"; average precision ends at {last[-1]:.3f}." if last else ".")
        )
        return Chart(title=f"Training of {stage}", alt=alt, svg=to_svg(figure))


def chart_style() -> contextlib.AbstractContextManager[None]:
    """The look of all charts, for the length of one drawing."""
    return mpl.rc_context(
        {
            "svg.fonttype": "path",  # the page looks the same where a font is missing
            "svg.hashsalt": "mitosieve",  # equal content, equal bytes
            "font.size": 9.0,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.labelcolor": "#1d2733",
            "axes.axisbelow": True,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "axes.grid": True,
            "grid.color": "#e3e7ec",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "legend.fontsize": 8.0,
        }
    )


def _canvas(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.16, right=0.84, bottom=0.25, top=0.97)
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure, axes


def _legend_below(axes: Axes, down: float = -0.18, *, columns: int = 1) -> None:
    """Under the axes, where it hides no point."""
    axes.legend(loc="upper left", bbox_to_anchor=(0, down), borderaxespad=0, ncols=columns, handlelength=1.4)


def _labels_beside(axes: Axes, lines: Sequence[tuple[float, str]]) -> None:
    """Words at the heights of horizontal lines, right of the axes, set apart where the lines lie close."""
    low, high = axes.get_ylim()
    least = 0.065 * (high - low)
    height = -math.inf
    for value, words in sorted(lines):
        height = max(value, height + least)
        axes.annotate(
            words,
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=VERMILLION,
            fontsize=8,
            annotation_clip=False,
        )


def _equal_f1(axes: Axes) -> None:
    """Where F1 = f: precision = f r / (2 r - f)."""
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(f1 / (2 - f1), 1, 60)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#c3cad3", linewidth=0.8, linestyle=":")
        axes.annotate(f"F1 {f1:g}", (1, f1 / (2 - f1)), ha="right", va="bottom", fontsize=7.5, color=GREY)


def _pairs(x: Numbers, y: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both columns where both are known."""
    known = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    columns = np.array(known, dtype=np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _arms(value: float, interval: Sequence[float | None] | None) -> list[list[float]] | None:
    """Lengths of an error bar below and above; None where the interval is not known."""
    if interval is None or interval[0] is None or interval[1] is None:
        return None
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def _text(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def to_svg(figure: Figure) -> bytes:
    """The drawing without date or maker: equal content, equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return file.getvalue()
