"""Stain concentration maps, and the windows through which single cells are painted into them.

Everything is drawn as the amount of haematoxylin and eosin in the light path; colours come later (`scanner`).
Lengths are um, in a window's own frame; the canvas is in level-0 px at `MPP`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import px_from_um

MPP = 0.25
"""um per px of every phantom slide: what 40x scanners give and MIDOG uses."""

Map = NDArray[np.floating]
"""Values over pixels, (h, w) or (n, n); float32 wherever it is stored."""


def smoothstep(low: float, high: float, value: Map) -> Map:
    """0 below `low`, 1 above `high`, and a smooth rise between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def blur(values: Map, sigma_px: float) -> Map:
    """Gaussian blur that repeats the edge."""
    soft = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, dtype=np.float32)


def value_noise(shape: tuple[int, int], cell_px: float, generator: np.random.Generator) -> Map:
    """A smooth random field (h, w) of about zero mean and unit variance, with features of `cell_px`."""
    h, w = shape
    rows, columns = int(np.ceil(h / cell_px)) + 3, int(np.ceil(w / cell_px)) + 3
    coarse = generator.standard_normal((rows, columns), dtype=np.float32)
    size = (max(w, round(columns * cell_px)), max(h, round(rows * cell_px)))
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    top, left = (size[1] - h) // 2, (size[0] - w) // 2
    return np.asarray(fine[top : top + h, left : left + w] * 1.35, dtype=np.float32)


@dataclass(frozen=True)
class Grain:
    """Ready-made noise of one slide, cut from at random: far cheaper than fresh noise for each of a thousand nuclei.

    Attributes:
        fine, clump, bend: (512, 512) unit-variance noise with features of about 0.4, 0.9 and 3.5 um.
    """

    fine: Map
    clump: Map
    bend: Map

    @classmethod
    def make(cls, generator: np.random.Generator) -> "Grain":
        def blurred(sigma_px: float) -> Map:
            white = generator.standard_normal((512, 512), dtype=np.float32)
            soft = blur(white, sigma_px)
            return np.asarray(soft / soft.std(), dtype=np.float32)

        return cls(fine=blurred(0.7), clump=blurred(1.7), bend=blurred(6.0))

    def cut(self, noise: Map, shape: tuple[int, int], generator: np.random.Generator) -> Map:
        """A random piece of one of the three."""
        top = int(generator.integers(0, noise.shape[0] - shape[0]))
        left = int(generator.integers(0, noise.shape[1] - shape[1]))
        return noise[top : top + shape[0], left : left + shape[1]]


@dataclass(frozen=True)
class Window:
    """A square of the canvas around a cell, with its own axes.

    Attributes:
        left, top: canvas px of the window's first pixel; may lie outside the canvas.
        u, v: (n, n) um from the cell's centre along and across its long axis.
    """

    left: int
    top: int
    u: Map
    v: Map

    @classmethod
    def around(cls, x_l0: float, y_l0: float, *, radius_um: float, angle: float) -> "Window":
        reach = int(np.ceil(px_from_um(radius_um, MPP))) + 1
        left, top = round(x_l0) - reach, round(y_l0) - reach
        steps = np.arange(2 * reach + 1, dtype=np.float32)
        dx = ((steps + (left - x_l0)) * MPP)[None, :]
        dy = ((steps + (top - y_l0)) * MPP)[:, None]
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        return cls(left, top, (cos * dx + sin * dy).astype(np.float32), (cos * dy - sin * dx).astype(np.float32))

    @property
    def shape(self) -> tuple[int, int]:
        return (self.u.shape[0], self.u.shape[1])


@dataclass(frozen=True)
class Stamp:
    """What a window's cell does to the canvas: where `cover` is 1 it replaces, where 0 it leaves alone.

    Attributes:
        cover: (n, n) 0..1.
        haematoxylin, eosin: (n, n) concentrations under the cover.
    """

    cover: Map
    haematoxylin: Map
    eosin: Map

    def defocused(self, sigma_px: float) -> "Stamp":
        """The same seen out of focus."""
        if sigma_px < 0.2:
            return self

        cover = blur(self.cover, sigma_px)
        weight = np.maximum(cover, 1e-3)
        return Stamp(
            cover=cover,
            haematoxylin=blur(self.haematoxylin * self.cover, sigma_px) / weight,
            eosin=blur(self.eosin * self.cover, sigma_px) / weight,
        )


class Canvas:
    """Haematoxylin and eosin concentration of a slide, painted over cell by cell.

    Args:
        haematoxylin, eosin: (h, w) float32; owned by the canvas from here on.
    """

    def __init__(self, haematoxylin: Map, eosin: Map) -> None:
        self.haematoxylin = haematoxylin
        self.eosin = eosin

    def paint(self, window: Window, stamp: Stamp) -> None:
        """Blend a stamp in; what falls outside the canvas is cut off."""
        h, w = self.haematoxylin.shape
        n = window.shape[0]
        x0, y0 = max(0, window.left), max(0, window.top)
        x1, y1 = min(w, window.left + n), min(h, window.top + n)
        if x0 >= x1 or y0 >= y1:
            return
        there = (slice(y0, y1), slice(x0, x1))
        here = (slice(y0 - window.top, y1 - window.top), slice(x0 - window.left, x1 - window.left))
        cover = stamp.cover[here]
        for target, values in ((self.haematoxylin, stamp.haematoxylin), (self.eosin, stamp.eosin)):
            target[there] += cover * (values[here] - target[there])
