"""Nuclei that do not divide: vesicular and dense epithelial ones, spindle cells of the stroma, lymphocytes."""

import numpy as np

from mitosieve.phantom.canvas import Canvas, Grain, Map, Stamp, Window, smoothstep
from mitosieve.phantom.cell import Cell, Kind
from mitosieve.phantom.tissue import Habit


def body(
    window: Window, grain: Grain, *, axes_um: tuple[float, float], bend: float, generator: np.random.Generator
) -> Map:
    """Depth in um below the surface of a rounded body of half-axes `axes_um`, negative outside.

    `bend` is how far its outline is bent, relative to its radius.
    """
    du = grain.cut(grain.bend, window.shape, generator)
    dv = grain.cut(grain.bend, window.shape, generator)
    a, b = axes_um
    reach = np.sqrt((window.u / a + bend * du) ** 2 + (window.v / b + bend * dv) ** 2)
    return ((1.0 - reach) * min(a, b)).astype(np.float32)


def paint_nucleus(canvas: Canvas, cell: Cell, habit: Habit, grain: Grain, generator: np.random.Generator) -> None:
    """Paint one background nucleus of any kind."""
    size = float(np.exp(generator.normal(0.0, habit.pleomorphism)))
    if cell.kind is Kind.SPINDLE:
        axes = (float(generator.uniform(4.2, 7.2)), float(generator.uniform(1.1, 2.0)))
        clear, density, bend = 0.15, float(generator.uniform(0.8, 1.35)), 0.10
    elif cell.kind is Kind.LYMPHOCYTE:
        axes = (float(generator.uniform(2.6, 3.4)), float(generator.uniform(2.4, 3.1)))
        clear, density, bend = 0.05, float(generator.uniform(1.15, 1.9)), 0.06
    else:
        oval = float(generator.uniform(0.66, 0.98))
        axes = (habit.nucleus_um * size, habit.nucleus_um * size * oval)
        clear = float(np.clip(habit.vesicular + generator.normal(0, 0.15), 0, 1))
        density, bend = float(generator.uniform(0.8, 1.25)), 0.055
    if cell.kind is Kind.HYPERCHROMATIC:
        axes = (axes[0] * 0.95, axes[1] * 0.75)
        clear, density, bend = 0.0, float(generator.uniform(1.4, 2.4)), 0.12
    window = Window.around(cell.x_l0, cell.y_l0, radius_um=max(axes) * 1.35 + 0.8, angle=cell.angle)
    depth = body(window, grain, axes_um=axes, bend=bend, generator=generator)
    stamp = _chromatin(window, depth, grain, clear=clear, density=density, generator=generator)
    if cell.kind in (Kind.LYMPHOCYTE, Kind.SPINDLE, Kind.HYPERCHROMATIC):
        canvas.paint(window, stamp.defocused(float(generator.uniform(0.0, 1.1))))
        return
    canvas.paint(window, _with_nucleoli(window, stamp, axes, generator).defocused(float(generator.uniform(0.0, 0.9))))


def _chromatin(
    window: Window, depth: Map, grain: Grain, *, clear: float, density: float, generator: np.random.Generator
) -> Stamp:
    """Rim, clumps and clearing of interphase chromatin."""
    clumps = grain.cut(grain.clump, window.shape, generator)
    fine = grain.cut(grain.fine, window.shape, generator)
    rim = np.exp(-(((depth - 0.25) / 0.38) ** 2))
    coarse = smoothstep(0.1, 1.5, clumps + 0.35 * fine)
    dense = 0.76 + 0.18 * clumps + 0.08 * fine + 0.14 * rim
    open_ = 0.16 + 0.07 * fine + 0.75 * coarse + 0.95 * rim * (0.75 + 0.3 * clumps)
    haematoxylin = density * (dense + clear * (open_ - dense))
    cover = 0.96 * smoothstep(-0.30, 0.30, depth)
    eosin = np.full(window.shape, 0.44 - 0.20 * clear, dtype=np.float32) + 0.05 * fine
    return Stamp(cover.astype(np.float32), np.maximum(haematoxylin, 0.02).astype(np.float32), eosin)


def _with_nucleoli(window: Window, stamp: Stamp, axes: tuple[float, float], generator: np.random.Generator) -> Stamp:
    """One or two nucleoli inside an epithelial nucleus."""
    haematoxylin, eosin = stamp.haematoxylin.copy(), stamp.eosin.copy()
    for _ in range(int(generator.integers(0, 3))):
        at_u, at_v = generator.uniform(-0.45, 0.45, 2) * axes
        radius = float(generator.uniform(0.45, 0.95))
        spot = np.exp(-((((window.u - at_u) ** 2 + (window.v - at_v) ** 2) / radius**2) ** 2))
        haematoxylin += 0.75 * spot
        eosin += 0.35 * spot
    return Stamp(stamp.cover, haematoxylin.astype(np.float32), eosin.astype(np.float32))
