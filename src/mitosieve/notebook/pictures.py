"""Pictures for a notebook's cell: cells of a slide, slides of a cohort, curves of an evaluation. Returns figures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.errors import InputError
from mitosieve.geometry import rescale_points
from mitosieve.report.gallery import cut_crop
from mitosieve.score.evaluation import Evaluation
from mitosieve.slide.slide import Slide, open_slide

CROP_UM = 40.0
"""Side of a cell's picture: the cell and its neighbours."""

_COLUMNS = 6
_INCH = 1.5


def show_detections(
    found: Detections, slide: str | Path | Slide, *, most: int = 24, mpp: float | None = None, crop_um: float = CROP_UM
) -> Figure:
    """A grid of the slide's detections, the strongest first; figures in a green frame, candidates in an orange one.

    Args:
        found: of any slides; those of this slide are shown.
        slide: its path, or the opened slide.
        most: cells at most.
        mpp: um per px of a path that states none.
        crop_um: side of each picture.

    Raises:
        InputError: there is no detection on this slide, and there are on others.
        SlideError: the slide cannot be read.
    """
    if isinstance(slide, Slide):
        return _grid(found, slide, most, crop_um)
    with open_slide(slide, mpp=mpp) as opened:
        return _grid(found, opened, most, crop_um)


def _grid(found: Detections, slide: Slide, most: int, crop_um: float) -> Figure:
    here = found.of_slide(slide.slide_id)
    if len(found) and not len(here):
        names = sorted(set(found.slide_id.tolist()))
        raise InputError(
            f"these detections are of {', '.join(names[:3])}, not of '{slide.slide_id}'",
            where=slide.path,
            remedy="show them on their own slide",
        )
    chosen = here[np.argsort(-here.score, kind="stable")[:most]]
    figure, axes = _canvas(max(1, len(chosen)))
    for place, cell in enumerate(axes[: len(chosen)]):
        cell.imshow(cut_crop(slide, chosen.center_l0[place], crop_um=crop_um))
        cell.set_title(f"{chosen.score[place]:.2f}", fontsize=8)
        colour = "#00a000" if chosen.is_figure[place] else "#ff9900"
        for side in cell.spines.values():
            side.set(visible=True, color=colour, linewidth=2)
    figure.suptitle(f"{slide.slide_id}: {len(here.figures)} figures, {len(chosen)} of {len(here)} detections shown")
    return figure


def show_cohort(cohort: Cohort, *, most: int = 12) -> Figure:
    """Slides of a cohort, small, with their marks: figures green, imposters orange.

    Raises:
        SlideError: a slide cannot be read.
    """
    chosen = cohort.slides[:most]
    figure, axes = _canvas(max(1, len(chosen)), inch=2.5, columns=4)
    for cell, entry in zip(axes, chosen, strict=False):
        marks = cohort.annotations[cohort.annotations.slide_id == entry.slide_id]
        with cohort.open(entry.slide_id) as slide:
            mpp = max(slide.mpp, slide.mpp * max(slide.size_l0) / 400)
            cell.imshow(slide.read(mpp=mpp))
        for label, colour in (("mitotic figure", "#00c000"), ("imposter", "#ff9900")):
            x, y = rescale_points(marks.center_l0[marks.label == label], mpp_from=slide.mpp_xy, mpp_to=mpp).T
            cell.plot(x, y, "o", color=colour, markersize=5, fillstyle="none")
        cell.set_title(entry.slide_id, fontsize=8)
    figure.suptitle(f"{len(chosen)} of {len(cohort)} slides; figures green, imposters orange")
    return figure


def plot_evaluation(result: Evaluation) -> Figure:
    """Precision against recall at every threshold, with the operating point and F1 with its interval."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(result.curve.recall, result.curve.precision, color="#2a6fb0", label=f"AP {result.ap:.3f}")
    f1, (low, high) = result.f1, (result.interval.low, result.interval.high)
    axes.plot([result.recall], [result.precision], "o", color="#c03030", label=f"F1 {f1:.3f} [{low:.3f}, {high:.3f}]")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(loc="lower left", frameon=False)
    return figure


def _canvas(number: int, *, inch: float = _INCH, columns: int = _COLUMNS) -> tuple[Figure, list[Any]]:
    """A figure with a place for each picture; it belongs to no window, so that a notebook shows it once."""
    columns = min(columns, number)
    rows = math.ceil(number / columns)
    figure = Figure(figsize=(columns * inch, rows * (inch + 0.2) + 0.3), layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for cell in axes:
        cell.set(xticks=[], yticks=[])
        for side in cell.spines.values():
            side.set_visible(False)
    return figure, axes
