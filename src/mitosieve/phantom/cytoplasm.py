"""The bodies of cells that figures and imposters lie in: cleared, shrunken and pink, or neither."""

from dataclasses import dataclass

import numpy as np

from mitosieve.phantom.canvas import Grain, Stamp, Window, smoothstep
from mitosieve.phantom.nucleus import body


@dataclass(frozen=True, kw_only=True)
class Body:
    """Traits of a cell body.

    Attributes:
        radius_um: of the rounded cell.
        pink: 0 ordinary cytoplasm, 1 strongly eosinophilic.
        cleared: 0 ordinary cytoplasm, 1 almost empty.
        halo_um: width of the white rim where the cell shrank from its neighbours; 0 for none.
    """

    radius_um: float
    pink: float
    cleared: float
    halo_um: float

    @classmethod
    def of_division(cls, generator: np.random.Generator) -> "Body":
        """A dividing cell's: large, round, pale."""
        halo = float(generator.uniform(0.35, 1.1)) if generator.random() < 0.35 else 0.0
        clear = float(generator.uniform(0.2, 1.0))
        return cls(radius_um=float(generator.uniform(5.9, 7.9)), pink=0.0, cleared=clear, halo_um=halo)

    @classmethod
    def of_decay(cls, generator: np.random.Generator, *, scant: bool) -> "Body":
        """A dying cell's: small, pink, often in a white halo; `scant` as a lymphocyte's, with hardly any of it."""
        halo = float(generator.uniform(0.4, 1.3)) if generator.random() < 0.5 else 0.0
        radius = float(generator.uniform(3.6, 4.6) if scant else generator.uniform(4.5, 6.4))
        pink = float(generator.uniform(0.0, 0.2) if scant else generator.uniform(0.2, 1.0))
        return cls(radius_um=radius, pink=pink, cleared=0.0, halo_um=halo)

    @classmethod
    def doubtful(cls, generator: np.random.Generator) -> "Body":
        """One that tells nothing: figures and imposters have it alike."""
        halo = float(generator.uniform(0.35, 1.2)) if generator.random() < 0.4 else 0.0
        pink = float(generator.uniform(0.0, 0.5))
        clear = float(generator.uniform(0.0, 0.5))
        return cls(radius_um=float(generator.uniform(5.0, 7.2)), pink=pink, cleared=clear, halo_um=halo)


def paint_body(
    window: Window, traits: Body, grain: Grain, generator: np.random.Generator, *, divided: bool = False
) -> Stamp:
    """A cell body as a stamp; `divided` draws it out along u with a cleavage furrow, as in telophase."""
    stretch = 1.25 if divided else float(generator.uniform(1.0, 1.12))
    axes = (traits.radius_um * stretch, traits.radius_um)
    depth = body(window, grain, axes_um=axes, bend=0.06, generator=generator)
    if divided:
        furrow = 2.2 * float(generator.uniform(0.2, 1.0)) * np.exp(-((window.u / 1.6) ** 2))
        depth = (depth - furrow).astype(np.float32)
    clumps = grain.cut(grain.clump, window.shape, generator)
    fine = grain.cut(grain.fine, window.shape, generator)
    membrane = np.exp(-(((depth - 0.3) / 0.4) ** 2))
    pale = traits.cleared * smoothstep(0.3, 2.5, depth)
    eosin = (0.48 + 0.52 * traits.pink + 0.12 * membrane) * (1.0 - 0.55 * pale) * (1.0 + 0.13 * clumps + 0.09 * fine)
    haematoxylin = (0.15 - 0.06 * pale) * (1.0 + 0.3 * clumps + 0.2 * fine)
    cover = 0.9 * smoothstep(-0.45, 0.35, depth)
    if traits.halo_um > 0.0:
        patchy = smoothstep(-0.65, 0.8, grain.cut(grain.bend, window.shape, generator))
        halo = patchy * np.exp(-(((depth + 0.8 * traits.halo_um) / traits.halo_um) ** 2))
        eosin, haematoxylin = eosin * (1.0 - 0.92 * halo), haematoxylin * (1.0 - 0.92 * halo)
        cover = np.maximum(cover, 0.87 * halo)
    return Stamp(cover.astype(np.float32), haematoxylin.astype(np.float32), eosin.astype(np.float32))
