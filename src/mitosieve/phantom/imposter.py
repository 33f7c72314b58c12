"""Imposters: dark cells that experts mark as look-alikes.

Smooth where figures are ragged, pink where figures are clear.
"""

import cv2
import numpy as np

from mitosieve.phantom.canvas import Canvas, Grain, Map, Stamp, Window, smoothstep
from mitosieve.phantom.cell import Cell, Kind
from mitosieve.phantom.chromatin import DOUBTFUL_DENSITY, condensed, doubtful
from mitosieve.phantom.cytoplasm import Body, paint_body
from mitosieve.phantom.nucleus import body

_REACH_UM = 9.5
"""Half the side of an imposter's window."""


def paint_imposter(canvas: Canvas, cell: Cell, grain: Grain, generator: np.random.Generator) -> None:
    """Paint an imposter: its cytoplasm, then its dense chromatin.

    Each of the two is, with the cell's difficulty as probability, one that a figure may have as well.
    """
    window = Window.around(cell.x_l0, cell.y_l0, radius_um=_REACH_UM, angle=cell.angle)
    if generator.random() < cell.difficulty:
        canvas.paint(window, paint_body(window, Body.doubtful(generator), grain, generator))
    elif cell.kind is not Kind.CRUSHED:
        shrunken = Body.of_decay(generator, scant=cell.kind is Kind.DARK_LYMPHOCYTE)
        canvas.paint(window, paint_body(window, shrunken, grain, generator))
    if generator.random() < cell.difficulty:
        pieces = doubtful(generator, paired=cell.kind is Kind.APOPTOTIC and generator.random() < 0.6)
        density = float(generator.uniform(*DOUBTFUL_DENSITY))
        stamp = condensed(window, pieces, density=density, grain=grain, generator=generator)
    else:
        depth = _outline(window, cell, grain, generator)
        stamp = _dense(
            window, depth, cell, density=float(generator.uniform(1.4, 2.5)), grain=grain, generator=generator
        )
        if cell.kind is Kind.CRUSHED:
            stamp = _smeared(stamp, cell.angle)
    canvas.paint(window, stamp.defocused(float(generator.uniform(0.0, 1.1))))


def _outline(window: Window, cell: Cell, grain: Grain, generator: np.random.Generator) -> Map:
    """Depth in um below the surface of the chromatin."""
    if cell.kind is Kind.APOPTOTIC:
        depth = _globules(window, generator)
    elif cell.kind is Kind.CRUSHED:
        sway = 1.6 * np.sin(window.u / float(generator.uniform(2.5, 5.0)) + float(generator.uniform(0, 6)))
        bent = Window(window.left, window.top, window.u, (window.v + sway).astype(np.float32))
        axes = (float(generator.uniform(4.0, 7.0)), float(generator.uniform(0.9, 1.7)))
        depth = body(bent, grain, axes_um=axes, bend=0.10, generator=generator)
    elif cell.kind is Kind.DARK_LYMPHOCYTE:
        axes = (float(generator.uniform(2.9, 3.5)), float(generator.uniform(2.6, 3.2)))
        depth = body(window, grain, axes_um=axes, bend=0.06, generator=generator)
    else:
        long, short = float(generator.uniform(2.8, 4.8)), float(generator.uniform(1.7, 3.0))
        depth = body(window, grain, axes_um=(long, short), bend=0.12, generator=generator)
    rough = grain.cut(grain.clump, window.shape, generator)
    return (depth + float(generator.uniform(0.05, 0.3)) * rough).astype(np.float32)


def _globules(window: Window, generator: np.random.Generator) -> Map:
    """One to four round drops of condensed chromatin near each other."""
    depth = np.full(window.shape, -9.0, dtype=np.float32)
    count = int(generator.integers(1, 5))
    for number in range(count):
        radius = float(generator.uniform(1.5, 2.7) if number == 0 else generator.uniform(0.6, 1.6))
        at = (0.0, 0.0) if number == 0 else tuple(generator.normal(0.0, 2.1, 2))
        drop = radius - np.hypot(window.u - at[0], window.v - at[1])
        depth = np.maximum(depth, drop)
    return depth.astype(np.float32)


def _dense(
    window: Window, depth: Map, cell: Cell, *, density: float, grain: Grain, generator: np.random.Generator
) -> Stamp:
    """Structureless chromatin; in lymphocytes somewhat clumped."""
    clumped = 0.05 + (0.12 if cell.kind is Kind.DARK_LYMPHOCYTE else 0.0)
    clumps = grain.cut(grain.clump, window.shape, generator)
    cover = smoothstep(-0.35, 0.40, depth)
    inner = 0.80 + 0.20 * smoothstep(0.0, 1.4, depth)
    haematoxylin = density * inner * (1.0 + clumped * clumps)
    eosin = np.full(window.shape, 0.42, dtype=np.float32)
    return Stamp(cover, np.maximum(haematoxylin, 0.1).astype(np.float32), eosin)


def _smeared(stamp: Stamp, angle: float) -> Stamp:
    """Chromatin dragged out along the cell's axis."""
    n = 13
    line = np.zeros((n, n), dtype=np.float32)
    reach = 5.0
    middle = n // 2
    ends = [(round(middle + s * reach * np.cos(angle)), round(middle + s * reach * np.sin(angle))) for s in (-1, 1)]
    cv2.line(line, ends[0], ends[1], 1.0, 1)
    line /= line.sum()
    cover = cv2.filter2D(stamp.cover, -1, line, borderType=cv2.BORDER_REPLICATE)
    return Stamp(np.asarray(0.95 * cover, dtype=np.float32), stamp.haematoxylin, stamp.eosin)
