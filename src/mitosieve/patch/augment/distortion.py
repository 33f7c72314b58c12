"""The aggressive distortion of patches, in place and in colour: its ranges and the numbers drawn. Touches no pixel.

Lafarge & Koelzer (MIDOG 2022) say of their augmentation that it is aggressive and works on colour and geometry. Which
operations, how far and how often is our reconstruction: nothing of it is known from their text. The ranges were
narrowed until figures stayed recognisable to the eye with all of them at once (docs/images/augment.jpg).
"""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from scipy.interpolate import CubicSpline

from mitosieve.patch.augment.exchange import ExchangeConfig
from mitosieve.patch.augment.ranges import within
from mitosieve.patch.augment.variant import Variant
from mitosieve.patch.resampling import INTERPOLATION, Interpolation

MAX_GRID = 8
"""Control points a side that are drawn whatever `elastic_grid` is: the count of numbers consumed is fixed."""

_NUMBERS = 33 + 2 * MAX_GRID**2
"""Uniform numbers that a sample takes."""


class DistortionConfig(BaseModel):
    """Ranges of the aggressive distortion. Everything is drawn anew for each sample at each visit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["aggressive"] = "aggressive"
    """Tells this table from that of the plain variants."""

    interpolation: Interpolation = INTERPOLATION
    """How a patch is sampled where it does not keep the pixel grid."""
    shift_px: float = Field(default=6.0, ge=0, le=64)
    """Largest shift in x and in y, px at the network's mpp, fractions included; uniform."""
    rotate: Literal["any", "right", "none"] = "any"
    """Any angle, multiples of 90 degrees, or none."""
    flip: bool = True
    """Mirror half of the samples."""
    scale: Annotated[tuple[float, float], AfterValidator(within(0.5, 2.0))] = (0.8, 1.25)
    """A cell appears so many times larger; log-uniform."""
    elastic_px: float = Field(default=1.5, ge=0, le=4)
    """Standard deviation, in x and in y, of the smooth displacement of a point of the patch, px; bounded."""
    elastic_grid: int = Field(default=4, ge=2, le=MAX_GRID)
    """Control points of the displacement along a side; more are a finer grain."""
    p_elastic: float = Field(default=0.5, ge=0, le=1)
    """Share of samples that are displaced."""

    channel_gain: float = Field(default=0.1, ge=0, le=0.5)
    """Each channel's light is scaled by 1 + U(-channel_gain, channel_gain): a cast of the lamp."""
    channel_offset: float = Field(default=0.05, ge=0, le=0.3)
    """Each channel is moved by U(-channel_offset, channel_offset) of its full range."""
    hue: float = Field(default=0.06, ge=0, le=0.5)
    """Colours are turned about the grey axis by U(-hue, hue) turns; towards green from red where positive."""
    saturation: Annotated[tuple[float, float], AfterValidator(within(0.0, 3.0))] = (0.6, 1.4)
    """Distance from grey is scaled by so much; uniform."""
    p_colour: float = Field(default=0.8, ge=0, le=1)
    """Share of samples whose channels, hue and saturation change."""

    brightness: Annotated[tuple[float, float], AfterValidator(within(0.2, 3.0))] = (0.75, 1.25)
    """Values are scaled by so much; uniform."""
    contrast: Annotated[tuple[float, float], AfterValidator(within(0.0, 3.0))] = (0.7, 1.4)
    """Distance from the patch's mean colour is scaled by so much; uniform."""
    gamma: Annotated[tuple[float, float], AfterValidator(within(0.2, 5.0))] = (0.7, 1.5)
    """Exponent of the light, which is a factor on optical density: below 1 is paler; log-uniform."""
    p_light: float = Field(default=0.8, ge=0, le=1)
    """Share of samples whose brightness, contrast and gamma change."""

    hed: float = Field(default=0.1, ge=0, le=0.8)
    """Density of haematoxylin, of eosin and of what is neither is scaled by 1 + U(-hed, hed) each."""
    hed_shift: float = Field(default=0.03, ge=0, le=0.5)
    """Density of each of these stains is moved by U(-hed_shift, hed_shift), in OD (natural log) along the stain."""
    p_hed: float = Field(default=0.8, ge=0, le=1)
    """Share of samples whose stains change."""

    sharpness: Annotated[tuple[float, float], AfterValidator(within(-1.0, 3.0))] = (-0.8, 1.0)
    """So many times the difference from the blurred patch is added: -1 is the blurred patch, 1 sharpened; uniform."""
    sharpness_sigma_px: Annotated[tuple[float, float], AfterValidator(within(0.2, 3.0))] = (0.5, 1.2)
    """Standard deviation of that blur, px; uniform."""
    p_sharpness: float = Field(default=0.5, ge=0, le=1)
    """Share of samples that are blurred or sharpened."""

    noise: float = Field(default=0.04, ge=0, le=0.3)
    """The noise's standard deviation is U(0, noise) of the full range; independent in each channel of each pixel."""
    p_noise: float = Field(default=0.5, ge=0, le=1)
    """Share of samples with noise."""

    jpeg: Annotated[tuple[int, int], AfterValidator(within(1, 100))] = (40, 95)
    """Quality of a JPEG compression (libjpeg's scale); uniform over whole numbers."""
    p_jpeg: float = Field(default=0.5, ge=0, le=1)
    """Share of samples that are compressed."""

    exchange: ExchangeConfig | None = None
    """See `AugmentConfig.exchange`; it comes after all of these."""

    def draw(self, n: int, generator: np.random.Generator) -> "Distortion":
        """A fresh distortion for each of `n` samples; see `draw_distortions`."""
        return draw_distortions(n, self, generator)


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """One drawn distortion a row. Neutral values are those of `plain`.

    Attributes:
        shift_px: (B, 2) added to the centre, px at the network's mpp.
        angle_deg: (B,) rotation of the patch's axes, counter-clockwise as seen.
        mirrored: (B,) bool, whether the patch's x axis is reversed.
        scale: (B,) a cell appears so many times larger.
        elastic_px: (B, 2, g, g) displacement in x and in y of control points, row by row, over the patch, px of it.
        channel_gain: (B, 3) factor on light.
        channel_offset: (B, 3) in full ranges.
        hue: (B,) turns.
        saturation: (B,) factor.
        brightness: (B,) factor.
        contrast: (B,) factor.
        gamma: (B,) factor on optical density.
        hed_gain: (B, 3) factor on haematoxylin, eosin, rest.
        hed_shift: (B, 3) OD added to them.
        sharpness: (B,) share of the difference from the blurred patch that is added.
        sharpness_sigma_px: (B,) of that blur.
        noise: (B,) standard deviation in full ranges.
        noise_seed: (B,) uint64, what the noise of each pixel comes from.
        jpeg: (B,) int, quality; 0 is no compression.
    """

    shift_px: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    scale: NDArray[np.float64]
    elastic_px: NDArray[np.float64]
    channel_gain: NDArray[np.float64]
    channel_offset: NDArray[np.float64]
    hue: NDArray[np.float64]
    saturation: NDArray[np.float64]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    gamma: NDArray[np.float64]
    hed_gain: NDArray[np.float64]
    hed_shift: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    sharpness_sigma_px: NDArray[np.float64]
    noise: NDArray[np.float64]
    noise_seed: NDArray[np.uint64]
    jpeg: NDArray[np.int64]

    @classmethod
    def plain(cls, n: int, *, elastic_grid: int = 2) -> "Distortion":
        """No change at all."""
        zero, one = np.zeros(n), np.ones(n)
        return cls(
            shift_px=np.zeros((n, 2)),
            angle_deg=zero,
            mirrored=np.zeros(n, dtype=bool),
            scale=one,
            elastic_px=np.zeros((n, 2, elastic_grid, elastic_grid)),
            channel_gain=np.ones((n, 3)),
            channel_offset=np.zeros((n, 3)),
            hue=zero,
            saturation=one,
            brightness=one,
            contrast=one,
            gamma=one,
            hed_gain=np.ones((n, 3)),
            hed_shift=np.zeros((n, 3)),
            sharpness=zero,
            sharpness_sigma_px=one,
            noise=zero,
            noise_seed=np.zeros(n, dtype=np.uint64),
            jpeg=np.zeros(n, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "Distortion":
        return Distortion(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


class _Deal:
    """Uniform numbers of a batch, dealt column by column, as what they are to be; a row's do not depend on others'."""

    def __init__(self, n: int, generator: np.random.Generator) -> None:
        self._numbers = generator.random((n, _NUMBERS))
        self._next = 0

    def uniform(self, columns: int) -> NDArray[np.float64]:
        """(B, columns) in 0..1."""
        self._next += columns
        return self._numbers[:, self._next - columns : self._next]

    def signed(self, columns: int) -> NDArray[np.float64]:
        """(B, columns) in -1..1."""
        return 2 * self.uniform(columns) - 1

    def between(self, ends: tuple[float, float]) -> NDArray[np.float64]:
        """(B,) in the range."""
        return np.clip(ends[0] + (ends[1] - ends[0]) * self.uniform(1)[:, 0], *ends)

    def whole(self, ends: tuple[int, int]) -> NDArray[np.float64]:
        """(B,) whole numbers in the range, its ends included."""
        return np.floor(ends[0] + (ends[1] - ends[0] + 1) * self.uniform(1)[:, 0])

    def log_between(self, ends: tuple[float, float]) -> NDArray[np.float64]:
        """(B,) in the range, equally often in equal factors."""
        low, high = (float(np.log(end)) for end in ends)
        return np.clip(np.exp(self.between((low, high))), *ends)

    def chance(self, share: float) -> NDArray[np.bool_]:
        """(B,) true with this probability."""
        return self.uniform(1)[:, 0] < share


def draw_distortions(n: int, config: DistortionConfig, generator: np.random.Generator) -> Distortion:
    """A fresh distortion for each of `n` samples; the same numbers are consumed whatever the configuration.

    Args:
        n: samples.
        config: ranges and shares.
        generator: the only source of chance, that of the noise in the pixels included.
    """
    deal = _Deal(n, generator)
    shift = deal.signed(2) * config.shift_px
    turn = 360 * deal.uniform(1)[:, 0]
    angle = {"any": turn, "right": np.floor(turn / 90) * 90, "none": np.zeros(n)}[config.rotate]
    mirrored, scale = deal.chance(0.5) & config.flip, deal.log_between(config.scale)
    colour, light, hed = (deal.chance(share) for share in (config.p_colour, config.p_light, config.p_hed))
    bent, sharp = deal.chance(config.p_elastic), deal.chance(config.p_sharpness)
    noisy, packed = deal.chance(config.p_noise), deal.chance(config.p_jpeg)
    return Distortion(
        shift_px=shift,
        angle_deg=angle,
        mirrored=mirrored,
        scale=scale,
        channel_gain=1 + _where(colour, deal.signed(3) * config.channel_gain, 0),
        channel_offset=_where(colour, deal.signed(3) * config.channel_offset, 0),
        hue=_where(colour, deal.signed(1)[:, 0] * config.hue, 0),
        saturation=_where(colour, deal.between(config.saturation), 1),
        brightness=_where(light, deal.between(config.brightness), 1),
        contrast=_where(light, deal.between(config.contrast), 1),
        gamma=_where(light, deal.log_between(config.gamma), 1),
        hed_gain=1 + _where(hed, deal.signed(3) * config.hed, 0),
        hed_shift=_where(hed, deal.signed(3) * config.hed_shift, 0),
        sharpness=_where(sharp, deal.between(config.sharpness), 0),
        sharpness_sigma_px=deal.between(config.sharpness_sigma_px),
        noise=_where(noisy, deal.uniform(1)[:, 0] * config.noise, 0),
        jpeg=_where(packed, deal.whole(config.jpeg), 0).astype(np.int64),
        elastic_px=_where(bent, _control_points(deal, config), 0),
        noise_seed=generator.integers(2**64, size=n, dtype=np.uint64),
    )


def _where(rows: NDArray[np.bool_], value: NDArray[np.float64], neutral: float) -> NDArray[np.float64]:
    return np.where(rows.reshape(-1, *(1,) * (value.ndim - 1)), value, neutral)


def _control_points(deal: _Deal, config: DistortionConfig) -> NDArray[np.float64]:
    """(B, 2, g, g) displacements; uniform and not normal, so that no point leaves the margin of a frame."""
    points = deal.signed(2 * MAX_GRID**2).reshape(-1, 2, MAX_GRID, MAX_GRID)
    return points[:, :, : config.elastic_grid, : config.elastic_grid] * np.sqrt(3) * config.elastic_px


@lru_cache(maxsize=32)
def elastic_basis(patch_px: int, grid: int) -> NDArray[np.float64]:
    """Weights (patch_px, grid) of control points along a side: natural cubic splines through equally spaced points.

    They are scaled so that independent control points of one standard deviation give a displacement of the same one, as
    the root mean square over the patch: between its points a spline is calmer.
    """
    at, knots = np.linspace(0, 1, patch_px), np.linspace(0, 1, grid)
    weights = np.asarray(CubicSpline(knots, np.eye(grid), bc_type="natural")(at), dtype=np.float64)
    weights /= np.sqrt((weights**2).sum(axis=1).mean())
    weights.setflags(write=False)
    return weights


def reach_px(config: DistortionConfig, patch_px: int) -> int:
    """Margin in px that a frame needs so that every distorted patch centred on the slide lies inside it."""
    spread = float(np.abs(elastic_basis(patch_px, config.elastic_grid)).sum(axis=1).max()) ** 2
    bent = np.sqrt(3) * config.elastic_px * spread if config.p_elastic > 0 else 0.0
    return int(np.ceil((patch_px / 2 + bent) * np.sqrt(2) / config.scale[0] + config.shift_px)) + 2


def confine(
    distortion: Distortion, center_px: NDArray[np.floating], room_px: NDArray[np.floating], patch_px: int
) -> Distortion:
    """The distortion with its patches kept inside their rooms, so that padding never tells the class.

    Where a room is limited, the angle goes to the nearest right angle, nothing is displaced and nothing appears
    smaller than it is: at a room's edge it could not, and in a crop the figure lies in the middle and background at
    the edge, so its scale, and with it its sharpness, would tell the class. A centre whose plain patch does not fit
    is first moved by the least shift that makes it fit; about this place a patch may not reach farther than the
    room (the scale is raised), and then the drawn shift is cut to what is left.

    Args:
        distortion: as drawn, with the angle of the place itself added.
        center_px: (B, 2) places before any shift, on the slide's lattice.
        room_px: (B, 4) x0, y0, x1, y1 on the same lattice, infinite where there is no limit. Edges, not pixel centres:
            a whole image is -0.5, -0.5, width - 0.5, height - 0.5.
        patch_px: side. A room smaller than it is met by a larger scale.

    Returns:
        Limited rows are sampled no farther out than the centres of the outermost pixels of their rooms.
    """
    limited = np.asarray(np.isfinite(room_px).any(axis=1), dtype=np.bool_)
    if not limited.any():
        return distortion
    center, half = np.asarray(center_px, dtype=np.float64), (patch_px - 1) / 2
    # the first and last pixel of the lattice with its centre in the room: `geometry.lattice` renders no other
    low, high = np.ceil(room_px[:, :2] - 1e-9), np.ceil(room_px[:, 2:] - 1e-9) - 1
    base = _clip(center, low + half, high - half)
    free = np.minimum(base - low, high - base).min(axis=1)
    scale = np.maximum(np.maximum(distortion.scale, 1), half / np.maximum(free, 1e-6))
    reach = (half / scale)[:, None]
    place = _clip(base + distortion.shift_px, low + reach, high - reach)
    return dataclasses.replace(
        distortion,
        shift_px=np.where(limited[:, None], place - center, distortion.shift_px),
        angle_deg=np.where(limited, np.round(distortion.angle_deg / 90) * 90, distortion.angle_deg),
        scale=np.where(limited, scale, distortion.scale),
        elastic_px=_where(~limited, distortion.elastic_px, 0),
    )


def confine_variant(
    variant: Variant, center_px: NDArray[np.floating], room_px: NDArray[np.floating], patch_px: int
) -> Variant:
    """A plain variant with its patches kept inside their rooms: `confine`'s rule of angle and shift.

    A variant has no scale: where a room is smaller than the patch, the patch reaches beyond it.
    """
    if not np.isfinite(room_px).any():
        return variant
    plain = Distortion.plain(len(center_px))
    drawn = dataclasses.replace(plain, shift_px=variant.shift_px, angle_deg=variant.angle_deg)
    kept = confine(drawn, center_px, room_px, patch_px)
    return dataclasses.replace(variant, shift_px=kept.shift_px, angle_deg=kept.angle_deg)


def _clip(value: NDArray[np.float64], low: NDArray[np.floating], high: NDArray[np.floating]) -> NDArray[np.float64]:
    """Into low..high, or to their middle where they cross."""
    crossed = low > high
    middle = np.where(crossed, (np.where(crossed, low, 0) + np.where(crossed, high, 0)) / 2, 0)
    return np.where(crossed, middle, np.minimum(np.maximum(value, low), high))
