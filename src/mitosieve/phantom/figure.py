"""Mitotic figures of every phase: condensed chromosomes with ragged arms, in a cell body without a nuclear membrane."""

import numpy as np

from mitosieve.phantom.canvas import Canvas, Grain, Window
from mitosieve.phantom.cell import Cell, Kind
from mitosieve.phantom.chromatin import DOUBTFUL_DENSITY, Points, clump, condensed, doubtful, pair, plate, ring
from mitosieve.phantom.cytoplasm import Body, paint_body

_REACH_UM = 11.5
"""Half the side of a figure's window: late telophase with its cell body fits."""


def paint_figure(canvas: Canvas, cell: Cell, grain: Grain, generator: np.random.Generator) -> None:
    """Paint a mitotic figure: first the cell body, then the chromosomes.

    Each of the two is, with the cell's difficulty as probability, one that an imposter may have as well.
    """
    window = Window.around(cell.x_l0, cell.y_l0, radius_um=_REACH_UM, angle=cell.angle)
    paired = cell.kind in (Kind.ANAPHASE, Kind.TELOPHASE)
    traits = Body.doubtful(generator) if generator.random() < cell.difficulty else Body.of_division(generator)
    canvas.paint(window, paint_body(window, traits, grain, generator, divided=cell.kind is Kind.TELOPHASE))
    unclear = generator.random() < cell.difficulty
    pieces = doubtful(generator, paired=paired) if unclear else _chromosomes(cell.kind, generator)
    density = float(generator.uniform(*DOUBTFUL_DENSITY) if unclear else generator.uniform(1.3, 2.3))
    stamp = condensed(window, pieces, density=density, grain=grain, generator=generator)
    canvas.paint(window, stamp.defocused(float(generator.uniform(0.0, 1.1))))


def _chromosomes(kind: Kind, generator: np.random.Generator) -> Points:
    """Where the pieces of chromosome lie in a clear figure; the spindle's axis is v for plates, u for pairs."""
    arm = float(generator.uniform(0.4, 1.5))
    if kind is Kind.METAPHASE_SIDE:
        length, thick = float(generator.uniform(6.0, 10.5)), float(generator.uniform(0.55, 1.1))
        return plate(generator, length=length, thick=thick, arm=arm)
    if kind is Kind.METAPHASE_END:
        return ring(generator, radius=float(generator.uniform(2.2, 3.3)), arm=arm)
    if kind is Kind.ANAPHASE:
        apart, length = float(generator.uniform(3.2, 6.0)), float(generator.uniform(5.5, 8.5))
        return pair(generator, apart=apart, length=length, arm=arm, cup=0.035)
    if kind is Kind.TELOPHASE:
        apart, length = float(generator.uniform(7.5, 10.5)), float(generator.uniform(4.2, 6.5))
        return pair(generator, apart=apart, length=length, arm=0.35 * arm, cup=0.02)
    return clump(generator, radius=float(generator.uniform(2.4, 4.0)), arm=arm)
