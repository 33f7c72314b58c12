"""Scanners: how stain concentrations become the pixels of a file. Knows nothing of cells.

Light through stain follows Beer-Lambert: intensity = white * exp(-(H * haematoxylin + E * eosin)) per colour channel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.phantom.canvas import Canvas, blur

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """One domain: a laboratory's stain as seen by one scanner.

    Attributes:
        name: the cohort's domain name.
        haematoxylin, eosin: optical density of a unit concentration in red, green and blue.
        strength: factor on the haematoxylin and the eosin concentration.
        white: intensity of empty glass in red, green and blue, 0..1.
        blur_px: standard deviation of the point spread.
        sharpen: amount of the scanner's own unsharp masking, 0 for none.
        noise: standard deviation of the sensor's noise, of 1.
        jpeg_quality: of the file.
    """

    name: str
    haematoxylin: Vector
    eosin: Vector
    strength: tuple[float, float]
    white: Vector
    blur_px: float
    sharpen: float
    noise: float
    jpeg_quality: int


SCANNERS: tuple[Scanner, ...] = (
    Scanner(
        name="phantom scanner A",
        haematoxylin=(0.56, 0.76, 0.31), eosin=(0.15, 0.86, 0.34), strength=(1.0, 1.0),
        white=(0.955, 0.95, 0.96), blur_px=0.75, sharpen=0.6, noise=0.012, jpeg_quality=85,
    ),
    Scanner(
        name="phantom scanner B",
        haematoxylin=(0.66, 0.70, 0.28), eosin=(0.10, 0.72, 0.40), strength=(0.88, 0.86),
        white=(0.97, 0.965, 0.945), blur_px=0.95, sharpen=0.2, noise=0.009, jpeg_quality=90,
    ),
    Scanner(
        name="phantom scanner C",
        haematoxylin=(0.52, 0.80, 0.36), eosin=(0.22, 0.90, 0.32), strength=(1.12, 0.95),
        white=(0.92, 0.915, 0.945), blur_px=0.65, sharpen=0.9, noise=0.016, jpeg_quality=78,
    ),
    Scanner(
        name="phantom scanner D",
        haematoxylin=(0.60, 0.68, 0.24), eosin=(0.07, 0.66, 0.31), strength=(0.95, 1.15),
        white=(0.985, 0.975, 0.975), blur_px=1.1, sharpen=0.4, noise=0.007, jpeg_quality=92,
    ),
    Scanner(
        name="phantom scanner E",
        haematoxylin=(0.58, 0.72, 0.42), eosin=(0.17, 0.80, 0.48), strength=(1.08, 0.78),
        white=(0.94, 0.935, 0.915), blur_px=0.85, sharpen=0.3, noise=0.014, jpeg_quality=82,
    ),
)  # fmt: skip
"""The domains, in the order a cohort uses them. Vectors lie around those usually measured on H&E; chosen by eye."""


@dataclass(frozen=True, kw_only=True)
class Staining:
    """How one case's stain departs from its laboratory's.

    Attributes:
        haematoxylin, eosin: added to the scanner's stain vectors.
        strength: factor on the haematoxylin and the eosin concentration.
    """

    haematoxylin: Vector
    eosin: Vector
    strength: tuple[float, float]

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "Staining":
        h, e = generator.normal(0.0, 0.025, (2, 3))
        s = np.exp(generator.normal(0.0, (0.09, 0.12)))
        return cls(
            haematoxylin=(float(h[0]), float(h[1]), float(h[2])),
            eosin=(float(e[0]), float(e[1]), float(e[2])),
            strength=(float(s[0]), float(s[1])),
        )


def scan(canvas: Canvas, scanner: Scanner, staining: Staining, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) RGB before the file's compression."""
    density_h = scanner.strength[0] * staining.strength[0] * canvas.haematoxylin
    density_e = scanner.strength[1] * staining.strength[1] * canvas.eosin
    pixels = np.empty((*density_h.shape, 3), dtype=np.uint8)
    grain = generator.standard_normal(density_h.shape, dtype=np.float32)
    for channel in range(3):
        vector_h = max(0.0, scanner.haematoxylin[channel] + staining.haematoxylin[channel])
        vector_e = max(0.0, scanner.eosin[channel] + staining.eosin[channel])
        light = scanner.white[channel] * np.exp(-(vector_h * density_h + vector_e * density_e))
        light = blur(light, scanner.blur_px)
        if scanner.sharpen:
            soft = blur(light, 1.6)
            light = light + scanner.sharpen * (light - soft)
        own = generator.standard_normal(light.shape, dtype=np.float32)
        light = light + scanner.noise * np.sqrt(np.maximum(light, 0.02)) * (0.6 * grain + 0.8 * own)
        pixels[..., channel] = np.clip(light * 255.0 + 0.5, 0, 255)
    return pixels


def encode(pixels: NDArray[np.uint8], scanner: Scanner) -> bytes:
    """The scanner's JPEG file of RGB pixels."""
    _, buffer = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, scanner.jpeg_quality])
    return buffer.tobytes()
