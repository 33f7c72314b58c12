"""Where the cells of a slide lie: figures and imposters first, then the nuclei that fill the room between them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import mm2_from_px2, px_from_um
from mitosieve.phantom.canvas import MPP
from mitosieve.phantom.cell import FIGURE_SHARES, IMPOSTER_SHARES, Cell, Kind
from mitosieve.phantom.tissue import Habit, Layout

FIGURE_SPACING_UM = 13.0
"""Smallest distance of two figures or imposters: beyond the 7.5 um of scoring and any suppression radius in use."""

BORDER_UM = 2.0
"""Centres of marked cells keep this far from the slide's edge, so that some are cut by it, as on real frames."""

_ROOM_UM: dict[Kind, float] = {Kind.SPINDLE: 3.4, Kind.LYMPHOCYTE: 3.1}
_TRIES = 400
_HYPERCHROMATIC = 0.07
_SPINDLE_MM2 = 1500.0
_STROMAL = (Kind.CRUSHED, Kind.DARK_LYMPHOCYTE)


class _Crowd:
    """Discs that keep their distance."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._x: list[float] = []
        self._y: list[float] = []
        self._room: list[float] = []
        self._packed: NDArray[np.float64] = np.empty((0, 3))

    def admits(self, x: float, y: float, room_px: float) -> bool:
        if len(self._packed) < len(self._x):
            self._packed = np.array([self._x, self._y, self._room]).T
        gap = np.hypot(self._packed[:, 0] - x, self._packed[:, 1] - y) - self._packed[:, 2]
        return bool((gap >= room_px).all())

    def add(self, cell: Cell, room_px: float) -> None:
        self.cells.append(cell)
        self._x.append(cell.x_l0)
        self._y.append(cell.y_l0)
        self._room.append(room_px)


@dataclass(frozen=True, kw_only=True)
class Census:
    """How many marked cells a slide shall hold, and how hard they are on average (0..1)."""

    figures: int
    imposters: int
    difficulty: float


def arrange(layout: Layout, census: Census, habit: Habit, generator: np.random.Generator) -> tuple[Cell, ...]:
    """The cells of a slide, figures and imposters before the background.

    Figures lie in epithelium; crushed nuclei and dark lymphocytes in stroma where there is any. Where a slide has no
    room left for a marked cell, it has one fewer.
    """
    crowd = _Crowd()
    for shares, count in ((FIGURE_SHARES, census.figures), (IMPOSTER_SHARES, census.imposters)):
        for kind in _draw_kinds(shares, count, generator):
            _place_marked(crowd, kind, layout, census.difficulty, generator)
    _fill_epithelium(crowd, layout, habit, generator)
    _fill_stroma(crowd, layout, habit, generator)
    return tuple(crowd.cells)


def _draw_kinds(shares: Mapping[Kind, float], count: int, generator: np.random.Generator) -> list[Kind]:
    kinds = list(shares)
    return [kinds[int(number)] for number in generator.choice(len(kinds), size=count, p=list(shares.values()))]


def _difficulty(mean: float, generator: np.random.Generator) -> float:
    """A cell's difficulty, spread around the cohort's mean; exactly 0 or 1 where the mean is."""
    if mean in (0.0, 1.0):
        return mean
    return round(float(generator.beta(3.0 * mean, 3.0 * (1.0 - mean))), 4)


def _place_marked(crowd: _Crowd, kind: Kind, layout: Layout, difficulty: float, generator: np.random.Generator) -> None:
    h, w = layout.epithelium.shape
    border, room = px_from_um(BORDER_UM, MPP), px_from_um(FIGURE_SPACING_UM / 2, MPP)
    for attempt in range(_TRIES):
        x, y = (float(value) for value in generator.uniform(border, (w - 1 - border, h - 1 - border)))
        row, column = round(y), round(x)
        inside, empty = float(layout.epithelium[row, column]), float(layout.gap[row, column])
        wanted = 1.0 - inside if kind in _STROMAL and attempt < _TRIES // 2 else inside
        if (wanted > 0.9 or attempt > 0.9 * _TRIES) and empty < 0.1 and crowd.admits(x, y, room):
            angle = float(layout.flow[row, column]) if kind is Kind.CRUSHED else float(generator.uniform(0, np.pi))
            hard = _difficulty(difficulty, generator)
            crowd.add(Cell(x_l0=x, y_l0=y, kind=kind, difficulty=hard, angle=angle), room)
            return


def _fill_epithelium(crowd: _Crowd, layout: Layout, habit: Habit, generator: np.random.Generator) -> None:
    """Nuclei on a shaken hexagonal lattice, also just outside the slide, so that its edge cuts nuclei."""
    h, w = layout.epithelium.shape
    step = px_from_um(habit.spacing_um, MPP)
    room = 0.40 * step
    rows = np.arange(-step, h + step, step * 0.866)
    for number, y0 in enumerate(rows):
        for x0 in np.arange(-step + (number % 2) * step / 2, w + step, step):
            x, y = float(x0 + generator.normal(0.0, 0.2 * step)), float(y0 + generator.normal(0.0, 0.2 * step))
            row, column = min(max(round(y), 0), h - 1), min(max(round(x), 0), w - 1)
            if layout.epithelium[row, column] < 0.7 or layout.gap[row, column] > 0.1 or generator.random() < 0.05:
                continue
            if crowd.admits(x, y, room):
                kind = Kind.HYPERCHROMATIC if generator.random() < _HYPERCHROMATIC else Kind.EPITHELIAL
                angle = float(layout.flow[row, column] + np.pi / 2 + generator.normal(0.0, 0.7))
                crowd.add(Cell(x_l0=x, y_l0=y, kind=kind, angle=angle), room)


def _fill_stroma(crowd: _Crowd, layout: Layout, habit: Habit, generator: np.random.Generator) -> None:
    """Spindle nuclei along the fibres and lymphocytes in loose crowds; a few lymphocytes stray into the epithelium."""
    h, w = layout.epithelium.shape
    area = mm2_from_px2(float((1.0 - layout.epithelium).sum()), MPP)
    _scatter(crowd, Kind.SPINDLE, round(_SPINDLE_MM2 * area), layout, generator)
    wanted = round(habit.lymphocytes_mm2 * area)
    hubs = generator.uniform((0, 0), (w, h), (max(1, wanted // 12), 2))
    spread = px_from_um(15.0, MPP)
    for _ in range(2 * wanted):
        x, y = hubs[int(generator.integers(len(hubs)))] + generator.normal(0.0, spread, 2)
        _try_background(crowd, Kind.LYMPHOCYTE, (float(x), float(y)), layout, generator)


def _scatter(crowd: _Crowd, kind: Kind, count: int, layout: Layout, generator: np.random.Generator) -> None:
    h, w = layout.epithelium.shape
    for _ in range(3 * count):
        x, y = generator.uniform((0, 0), (w, h))
        _try_background(crowd, kind, (float(x), float(y)), layout, generator)


def _try_background(
    crowd: _Crowd, kind: Kind, at_l0: tuple[float, float], layout: Layout, generator: np.random.Generator
) -> None:
    h, w = layout.epithelium.shape
    x, y = at_l0
    row, column = round(y), round(x)
    room = px_from_um(_ROOM_UM[kind], MPP)
    if not (0 <= row < h and 0 <= column < w) or layout.gap[row, column] > 0.3:
        return
    if layout.epithelium[row, column] > (0.3 if kind is Kind.SPINDLE or generator.random() < 0.85 else 1.0):
        return
    if crowd.admits(x, y, room):
        angle = float(layout.flow[row, column] + generator.normal(0.0, 0.15))
        crowd.add(Cell(x_l0=x, y_l0=y, kind=kind, angle=angle), room)
