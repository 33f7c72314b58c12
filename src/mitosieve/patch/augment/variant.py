"""How a patch is varied: where its axes lie and how its stain is scaled. Draws numbers; pixels change by lookup."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mitosieve.patch.augment.exchange import ExchangeConfig
from mitosieve.patch.resampling import INTERPOLATION, Interpolation

PAPER_TRANSLATIONS, PAPER_ROTATIONS = 5, 6
"""Variants beside the original: (1 + 5) x (1 + 6) = 42 a figure (Ma et al. 2018, section 3.4.2)."""


class AugmentConfig(BaseModel):
    """Ranges of a random variant. Everything is drawn anew for each sample at each visit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    translate_px: float = Field(default=16.0, ge=0, le=64)
    """Largest shift in x and in y, px at the network's mpp; uniform (the paper's maximum offset)."""
    rotate: Literal["any", "right", "none"] = "any"
    """Any angle, multiples of 90 degrees, or none."""
    flip: bool = False
    """Mirror half of the samples; the paper does not, a mirrored cell is as likely."""
    stain: float = Field(default=0.0, ge=0, le=0.8)
    """Optical density of each channel is scaled by 1 + U(-stain, stain): another staining or scanner."""
    brightness: float = Field(default=0.0, ge=0, le=0.5)
    """Transmitted light of the whole patch is scaled by 1 + U(-brightness, brightness)."""
    interpolation: Interpolation = INTERPOLATION
    """How a patch is sampled where it does not keep the pixel grid."""
    negatives: bool = True
    """Whether negatives are varied like figures. If not, resampling itself tells the classes apart (the paper: not)."""
    exchange: ExchangeConfig | None = None
    """Whether samples of all classes take the appearance of another source of the cohort; it comes after all else."""

    def draw(self, n: int, generator: np.random.Generator) -> "Variant":
        """A fresh variant for each of `n` samples; see `draw_variants`."""
        return draw_variants(n, self, generator)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One drawn variant a row.

    Attributes:
        shift_px: (B, 2) added to the centre, px at the network's mpp.
        angle_deg: (B,) rotation of the patch's axes.
        mirrored: (B,) bool.
        gain: (B, 3) factor on the optical density of each channel.
        light: (B,) factor on transmitted light.
    """

    shift_px: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    gain: NDArray[np.float64]
    light: NDArray[np.float64]

    @classmethod
    def plain(cls, n: int) -> "Variant":
        """No change at all."""
        return cls(
            shift_px=np.zeros((n, 2)),
            angle_deg=np.zeros(n),
            mirrored=np.zeros(n, dtype=bool),
            gain=np.ones((n, 3)),
            light=np.ones(n),
        )

    def only(self, varied: NDArray[np.bool_]) -> "Variant":
        """The variant where `varied`, no change elsewhere."""
        none = Variant.plain(len(self.light))
        return Variant(
            shift_px=np.where(varied[:, None], self.shift_px, none.shift_px),
            angle_deg=np.where(varied, self.angle_deg, none.angle_deg),
            mirrored=np.where(varied, self.mirrored, none.mirrored),
            gain=np.where(varied[:, None], self.gain, none.gain),
            light=np.where(varied, self.light, none.light),
        )


def draw_variants(n: int, config: AugmentConfig, generator: np.random.Generator) -> Variant:
    """A fresh variant for each of `n` samples; the same numbers are consumed whatever the configuration."""
    shift = generator.uniform(-1, 1, (n, 2)) * config.translate_px
    turn = generator.uniform(0, 360, n)
    angle = {"any": turn, "right": np.floor(turn / 90) * 90, "none": np.zeros(n)}[config.rotate]
    mirrored = (generator.random(n) < 0.5) & config.flip
    gain = 1 + generator.uniform(-1, 1, (n, 3)) * config.stain
    light = 1 + generator.uniform(-1, 1, n) * config.brightness
    return Variant(shift_px=shift, angle_deg=angle, mirrored=mirrored, gain=gain, light=light)


def paper_variants(
    generator: np.random.Generator, *, translate_px: float = 16.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fixed 42 variants of one figure: the original and five translations, each as it is and under six rotations.

    Returns:
        shift_px (42, 2) and angle_deg (42,); the first row is the unchanged figure.

    Source: Ma et al. 2018, section 3.4.2. "Offset less than 16" is read as each axis uniform in +-16 px.
    """
    shifts = np.concatenate([np.zeros((1, 2)), generator.uniform(-translate_px, translate_px, (PAPER_TRANSLATIONS, 2))])
    angles = generator.uniform(0, 360, (len(shifts), PAPER_ROTATIONS))
    angles = np.concatenate([np.zeros((len(shifts), 1)), angles], axis=1)
    return np.repeat(shifts, angles.shape[1], axis=0), angles.ravel()


def recolour(patches: NDArray[np.uint8], variant: Variant) -> NDArray[np.uint8]:
    """Scale each channel's optical density and the light of each patch, by lookup.

    Args:
        patches: (B, h, w, 3) RGB.
        variant: the drawn gains; a row of ones leaves its patch untouched.

    Returns:
        uint8 of the same shape: 255 * light * (v / 255) ** gain, which is Beer-Lambert with scaled density.
    """
    changed = np.flatnonzero((variant.gain != 1).any(axis=1) | (variant.light != 1))
    if len(changed) == 0:
        return patches
    ramp = np.arange(256) / 255.0
    answer = patches.copy()
    for row in changed:
        table = 255 * variant.light[row] * ramp[:, None] ** variant.gain[row]
        answer[row] = cv2.LUT(patches[row], np.clip(np.round(table), 0, 255).astype(np.uint8)[None])
    return answer
