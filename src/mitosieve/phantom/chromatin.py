"""Condensed chromatin as masses of small pieces: plates, rings, clumps, pairs, with ragged arms.

Figures and imposters draw from here; in doubt, both draw from the same pool.
"""

import numpy as np
from numpy.typing import NDArray

from mitosieve.phantom.canvas import Grain, Stamp, Window, smoothstep

Points = NDArray[np.float64]
"""(k, 2) um in a window's frame: pieces of chromosome."""

DOUBTFUL_DENSITY = (1.35, 2.4)
"""Range of the haematoxylin concentration of doubtful chromatin."""

_PIECE_UM = 0.52
"""Mean radius of a piece: half the width of a condensed chromosome and its blur in the section."""


def doubtful(generator: np.random.Generator, *, paired: bool) -> Points:
    """A mass that could be a figure's or an imposter's: one lump, or two, with stubs of arms."""
    arm = float(generator.uniform(0.15, 0.75))
    if paired:
        apart, length = float(generator.uniform(4.0, 8.5)), float(generator.uniform(2.5, 5.5))
        return pair(generator, apart=apart, length=length, arm=arm, cup=0.02)
    if generator.random() < 0.5:
        length, thick = float(generator.uniform(4.5, 8.0)), float(generator.uniform(0.8, 1.5))
        return plate(generator, length=length, thick=thick, arm=arm)
    return clump(generator, radius=float(generator.uniform(1.9, 3.3)), arm=arm)


def _arms(roots: Points, outward: Points, length: float, generator: np.random.Generator) -> Points:
    """Short chains of pieces that leave the mass: what makes the edge of a figure hairy."""
    count = len(roots)
    lengths = length * generator.uniform(0.3, 1.6, (count, 1))
    direction = outward + generator.normal(0.0, 0.45, (count, 2))
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    return np.concatenate([roots + direction * lengths * part for part in (0.4, 0.6, 0.8, 1.0)])


def plate(generator: np.random.Generator, *, length: float, thick: float, arm: float) -> Points:
    """A metaphase plate seen from its side: pieces along u, arms to both poles."""
    u = generator.uniform(-0.5, 0.5, 46) * length
    bow = float(generator.normal(0.0, 0.012))
    v = generator.normal(0.0, thick * 0.6, 46) + bow * u**2
    core = np.stack([u, v], axis=1)
    roots = core[:14]
    side = np.sign(generator.uniform(-1, 1, 14))
    outward = np.stack([0.25 * roots[:, 0] / length, side], axis=1)
    return np.concatenate([core, _arms(roots, outward, arm * 1.3, generator)])


def ring(generator: np.random.Generator, *, radius: float, arm: float) -> Points:
    """A metaphase plate seen from a pole: a ring with arms outward."""
    angle = generator.uniform(0, 2 * np.pi, 52)
    distance = radius + generator.normal(0.0, 0.42, 52)
    out = np.stack([np.cos(angle), 0.86 * np.sin(angle)], axis=1)
    core = out * distance[:, None]
    return np.concatenate([core, _arms(core[:16], out[:16], arm * 1.1, generator)])


def clump(generator: np.random.Generator, *, radius: float, arm: float) -> Points:
    """A knot of chromosomes without order, as in prometaphase."""
    angle = generator.uniform(0, 2 * np.pi, 40)
    distance = radius * np.sqrt(generator.uniform(0.0, 1.0, 40))
    stretch = np.array([1.15, float(generator.uniform(0.65, 0.95))])
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    core = out * distance[:, None] * stretch
    return np.concatenate([core, _arms(core[:18], out[:18], arm * 1.2, generator)])


def pair(generator: np.random.Generator, *, apart: float, length: float, arm: float, cup: float) -> Points:
    """Two plates across u, each cupped towards its pole's far side, arms trailing to the middle."""
    halves: list[Points] = []
    for sign in (-1.0, 1.0):
        v = generator.uniform(-0.5, 0.5, 30) * length * float(generator.uniform(0.88, 1.08))
        u = sign * (apart / 2 - cup * v**2) + generator.normal(0.0, 0.38, 30)
        core = np.stack([u, v], axis=1)
        roots = core[:12]
        inward = np.stack([np.full(12, -sign), 0.5 * roots[:, 1] / length], axis=1)
        halves += [core, _arms(roots, inward, arm * 1.2, generator)]
    return np.concatenate(halves)


def condensed(
    window: Window,
    pieces: Points,
    *,
    density: float,
    grain: Grain,
    generator: np.random.Generator,
) -> Stamp:
    """Pieces run together into one dark mass with a ragged edge."""
    n = window.shape[0]
    mass = np.zeros(n * n, dtype=np.float32)
    u, v = window.u.ravel(), window.v.ravel()
    near = np.flatnonzero(np.hypot(u, v) < np.hypot(pieces[:, 0], pieces[:, 1]).max() + 2.0)
    radii = _PIECE_UM * generator.uniform(0.6, 1.2, len(pieces))
    away = (u[near, None] - pieces[:, 0].astype(np.float32)) ** 2 + (
        v[near, None] - pieces[:, 1].astype(np.float32)
    ) ** 2
    mass[near] = np.exp(-away / (2.0 * radii.astype(np.float32) ** 2)).sum(axis=1)
    mass = mass.reshape(n, n)
    clumps = grain.cut(grain.clump, window.shape, generator)
    fine = grain.cut(grain.fine, window.shape, generator)
    cover = smoothstep(0.45, 0.95, mass + 0.12 * clumps + 0.10 * fine)
    haematoxylin = density * (0.72 + 0.28 * smoothstep(0.6, 2.6, mass)) * (1.0 + 0.12 * clumps + 0.06 * fine)
    eosin = np.full(window.shape, 0.30, dtype=np.float32)
    return Stamp(cover, haematoxylin.astype(np.float32), eosin)
