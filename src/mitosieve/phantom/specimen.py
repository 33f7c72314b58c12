"""One phantom slide from layout to pixels: arranged, painted, scanned."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.phantom.arrangement import Census, arrange
from mitosieve.phantom.canvas import MPP, Grain
from mitosieve.phantom.cell import FIGURE_SHARES, IMPOSTER_SHARES, Cell, Kind
from mitosieve.phantom.figure import paint_figure
from mitosieve.phantom.imposter import paint_imposter
from mitosieve.phantom.nucleus import paint_nucleus
from mitosieve.phantom.scanner import Scanner, Staining, scan
from mitosieve.phantom.tissue import Habit, Layout, paint_ground


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What all slides of a case share."""

    habit: Habit
    staining: Staining
    scanner: Scanner

    @classmethod
    def draw(cls, scanner: Scanner, generator: np.random.Generator) -> "Patient":
        return cls(habit=Habit.draw(generator), staining=Staining.draw(generator), scanner=scanner)


def draw_slide(
    patient: Patient, size_px: tuple[int, int], census: Census, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[Cell, ...]]:
    """Pixels (h, w, 3) RGB of one slide of a patient, and every cell painted on it.

    Background nuclei whose centre lies off the slide are painted (its edge cuts them) but not returned.
    """
    w, h = size_px
    layout = Layout.draw((h, w), patient.habit, mpp=MPP, generator=generator)
    cells = arrange(layout, census, patient.habit, generator)
    in_nests = [c for c in cells if c.kind not in (Kind.SPINDLE, Kind.LYMPHOCYTE)]
    centers = np.array([(c.x_l0, c.y_l0) for c in in_nests], dtype=np.float64).reshape(-1, 2)
    inside = (np.abs(centers[:, 0] - w / 2) < w / 2 + 3) & (np.abs(centers[:, 1] - h / 2) < h / 2 + 3)
    canvas = paint_ground(layout, centers[inside], patient.habit, generator)
    grain = Grain.make(generator)
    for cell in reversed(cells):  # marked cells come first and are painted last, over their neighbours
        if cell.kind in FIGURE_SHARES:
            paint_figure(canvas, cell, grain, generator)
        elif cell.kind in IMPOSTER_SHARES:
            paint_imposter(canvas, cell, grain, generator)
        else:
            paint_nucleus(canvas, cell, patient.habit, grain, generator)
    pixels = scan(canvas, patient.scanner, patient.staining, generator)
    seen = tuple(c for c in cells if 0 <= c.x_l0 <= w - 1 and 0 <= c.y_l0 <= h - 1)
    return pixels, seen
