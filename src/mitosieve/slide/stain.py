"""Optical density, the stain matrix of a slide, and moving one slide's colours to another's.

Knows nothing of files, slides or labels: pixels in, pixels out.

Optical density (OD) is the natural-log absorbance of a channel, -ln((I + 1) / 256): 0 for white (255), 5.55 for black.
Stains mix linearly in OD (Beer-Lambert), so a slide's colours are moved by one 3x3 matrix, made once per slide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled
from mitosieve.errors import FormatError

HAEMATOXYLIN_OD = (0.65, 0.70, 0.29)
"""OD of haematoxylin in red, green, blue. Source: Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291, table 1."""

EOSIN_OD = (0.07, 0.99, 0.11)
"""OD of eosin in red, green, blue. Source: as above."""

OD_OF_VALUE: NDArray[np.float64] = -np.log((np.arange(256) + 1.0) / 256.0)
"""OD of each 8-bit value; `OD_OF_VALUE[rgb]` is the OD of an image."""

_STEPS = 1024
"""Table steps per unit of OD: a step is at most 0.25 grey levels, so rounding is the only error."""

_TOP = 6
"""OD from which a pixel is black (ln 256 = 5.55)."""

_VALUE_OF_STEP: NDArray[np.uint8] = np.clip(
    np.rint(256.0 * np.exp(-np.arange(_TOP * _STEPS + 1) / _STEPS) - 1.0), 0, 255
).astype(np.uint8)

_MAX_GAIN = 4.0
"""Largest factor by which a stain is strengthened or weakened: beyond it, compression noise would be made visible."""


@dataclass(frozen=True, kw_only=True)
class MacenkoConfig:
    """How a slide's stain matrix is estimated.

    Source: Macenko et al. 2009 (ISBI, 1107-1110): OD floor 0.15, 1st and 99th percentile. The limits below them are
    ours: they refuse estimates that would spoil a slide.

    Attributes:
        od_floor: pixels whose mean OD over the channels is below this are glass. Differs: the paper's code drops a
            pixel where any channel is below it, which loses pale eosin (its red OD is near 0).
        dark_value: pixels with no channel above this are no stain (padding, pen, folds, dust) and are left out.
        angle_percentile: percentile of the angle in the stain plane taken as one stain; 100 minus it is the other.
        max_percentile: percentile of a stain's concentration taken as its maximum.
        min_tissue_fraction: share of pixels that must be tissue, else there is no estimate.
        min_tissue_px: number of sampled tissue pixels needed, else there is no estimate.
        max_sample_px: an estimate looks at no more pixels than this, taken on a fixed grid.
        min_angle_deg: a smaller angle between the two stains is one stain seen twice.
        max_deviation_deg: a stain further from its Ruifrok vector than this is another dye, ink or an artefact.
    """

    od_floor: float = 0.15
    dark_value: int = 20
    angle_percentile: float = 1.0
    max_percentile: float = 99.0
    min_tissue_fraction: float = 0.01
    min_tissue_px: int = 500
    max_sample_px: int = 250_000
    min_angle_deg: float = 8.0
    max_deviation_deg: float = 40.0


@dataclass(frozen=True)
class StainProfile:
    """The two stains of a slide and how strong they get.

    Attributes:
        matrix: (3, 2) float64, unit columns: OD in red, green, blue of haematoxylin, then of eosin. Haematoxylin is
            the column with the larger red OD (it looks blue, eosin lets red through).
        max_concentration: (2,) float64, OD of each stain where it is strong (99th percentile), haematoxylin first.
    """

    matrix: NDArray[np.float64]
    max_concentration: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.matrix.shape != (3, 2) or self.max_concentration.shape != (2,):
            raise ValueError(f"a profile has a (3, 2) matrix and 2 maxima, not {self.matrix.shape}")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.max_concentration).all()):
            raise ValueError("a stain profile holds a number that is not finite")
        if not (self.max_concentration > 0).all():
            raise ValueError("a stain's maximum concentration must be above 0")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, StainProfile)
            and np.array_equal(self.matrix, other.matrix)
            and np.array_equal(self.max_concentration, other.max_concentration)
        )

    __hash__ = None  # type: ignore[assignment] - arrays are compared by value and have no hash

    def to_json(self) -> dict[str, Any]:
        """Plain lists; every digit is kept."""
        return {"matrix": self.matrix.tolist(), "max_concentration": self.max_concentration.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "StainProfile":
        """The profile `to_json` wrote.

        Raises:
            FormatError: a key is missing or a value is not what a profile holds.
        """
        try:
            return cls(
                np.array(content["matrix"], dtype=np.float64), np.array(content["max_concentration"], dtype=np.float64)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"is not a stain profile ({error})",
                remedy="give matrix (3 rows of 2) and max_concentration (2 numbers)",
            ) from error


def reference_profile() -> StainProfile:
    """Ruifrok's vectors with concentrations usual for H&E; used where no training slide gives a profile."""
    matrix = np.array([HAEMATOXYLIN_OD, EOSIN_OD], dtype=np.float64).T
    return StainProfile(matrix / np.linalg.norm(matrix, axis=0), np.array([2.0, 1.0]))


def estimate_profile(rgb: NDArray[np.uint8], config: MacenkoConfig | None = None) -> StainProfile | None:
    """The stain profile of a slide from its own pixels; labels are not looked at.

    The plane through white that holds most of the tissue's OD (SVD), and in it the two directions at the extremes of
    the angle. Deterministic: pixels are sampled on a fixed grid.

    Args:
        rgb: uint8 (h, w, 3) or (n, 3), of one slide or of several patches of it.
        config: limits and percentiles.

    Returns:
        None where there is too little tissue, one stain only, or stains that are not haematoxylin and eosin (a pen, an
        immunostain): such a slide is left as it is.
    """
    config = config or MacenkoConfig()
    od = _tissue_od(rgb, config)
    if od is None:
        return None
    plane = np.linalg.eigh(od.T @ od)[1][:, [2, 1]]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    along = od @ plane
    angle = np.arctan2(along[:, 1], along[:, 0])
    extremes = np.percentile(angle, [config.angle_percentile, 100 - config.angle_percentile])
    stains = plane @ np.vstack([np.cos(extremes), np.sin(extremes)])
    matrix = _order(stains)
    if not _is_plausible(matrix, config):
        return None
    concentration = od @ np.linalg.pinv(matrix).T
    maxima = np.percentile(concentration, config.max_percentile, axis=0)
    if not (np.isfinite(maxima).all() and (maxima > config.od_floor).all()):
        return None
    return StainProfile(matrix, maxima)


def _tissue_od(rgb: NDArray[np.uint8], config: MacenkoConfig) -> NDArray[np.float64] | None:
    """OD (n, 3) of the sampled tissue pixels; None where they are too few."""
    sample = _sample(rgb, config.max_sample_px)
    od = OD_OF_VALUE[sample]
    tissue = (od.mean(axis=1) >= config.od_floor) & (sample.max(axis=1, initial=0) > config.dark_value)
    needed = max(config.min_tissue_px, math.ceil(config.min_tissue_fraction * len(sample)))
    return od[tissue] if int(tissue.sum()) >= needed else None


def _sample(rgb: NDArray[np.uint8], max_px: int) -> NDArray[np.uint8]:
    """At most `max_px` pixels (n, 3), on a grid with equal steps."""
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or rgb.shape[-1] != 3:
        raise ValueError(f"expected uint8 (h, w, 3) or (n, 3), not {rgb.dtype} {rgb.shape}")
    if rgb.ndim == 2:
        return rgb[:: max(1, math.ceil(len(rgb) / max_px))]
    step = max(1, math.ceil(math.sqrt(rgb.shape[0] * rgb.shape[1] / max_px)))
    return rgb[::step, ::step].reshape(-1, 3)


def _order(stains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns as haematoxylin, eosin; small negative OD, which no stain has, set to 0."""
    stains = np.maximum(stains, 0.0)
    stains = stains / np.maximum(np.linalg.norm(stains, axis=0), 1e-12)
    return stains[:, ::-1] if stains[0, 1] > stains[0, 0] else stains


def _is_plausible(matrix: NDArray[np.float64], config: MacenkoConfig) -> bool:
    """Whether the columns differ enough and each looks like its stain."""
    if _angle_deg(matrix[:, 0], matrix[:, 1]) < config.min_angle_deg:
        return False
    usual = reference_profile().matrix
    return all(_angle_deg(matrix[:, k], usual[:, k]) <= config.max_deviation_deg for k in (0, 1))


def _angle_deg(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return math.degrees(math.acos(min(1.0, max(-1.0, float(a @ b)))))


def average_profiles(profiles: Sequence[StainProfile]) -> StainProfile:
    """One target for all: the median of each number, with the columns made unit again.

    Take the profiles of training cases only; the median lets single odd slides pass without effect.

    Raises:
        ValueError: there is no profile.
    """
    if not profiles:
        raise ValueError("no stain profile to average")
    matrix = np.median([p.matrix for p in profiles], axis=0)
    maxima = np.median([p.max_concentration for p in profiles], axis=0)
    return StainProfile(matrix / np.linalg.norm(matrix, axis=0), np.asarray(maxima, dtype=np.float64))


def od_transform(source: StainProfile | None, target: StainProfile) -> NDArray[np.float64]:
    """The (3, 3) matrix that takes OD of the source's stains to OD of the target's: od_target = T @ od_source.

    Each stain is turned to the target's direction and scaled so that the maxima agree (by at most a factor of 4). What
    lies off the stain plane (pigment, noise) keeps its amount along the target plane's normal. T of a profile with
    itself is the identity.

    Args:
        source: the slide's own profile; None (no estimate) gives the identity.
        target: where to.
    """
    if source is None:
        return np.eye(3)
    gain = np.clip(target.max_concentration / source.max_concentration, 1 / _MAX_GAIN, _MAX_GAIN)
    return _with_normal(target.matrix * gain, target.matrix) @ np.linalg.inv(_with_normal(source.matrix, source.matrix))


def _with_normal(columns: NDArray[np.float64], plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two columns and, as the third, the unit normal of a plane."""
    normal = np.cross(plane[:, 0], plane[:, 1])
    return np.column_stack([columns, normal / np.linalg.norm(normal)])


def apply_transform(rgb: NDArray[np.uint8], transform: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pixels after a matrix in OD space; white stays white, values are rounded and clipped to 0..255.

    Args:
        rgb: uint8 (..., 3); not changed.
        transform: (3, 3) from `od_transform`. The identity gives every pixel back unchanged.

    Returns:
        uint8 of the same shape, a new array.
    """
    if rgb.dtype != np.uint8 or rgb.shape[-1] != 3:
        raise ValueError(f"expected uint8 (..., 3), not {rgb.dtype} {rgb.shape}")
    matrix = np.asarray(transform, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError("a colour transform is a (3, 3) matrix of finite numbers")
    if np.array_equal(matrix, np.eye(3)):
        return rgb.copy()
    flat = np.ascontiguousarray(rgb).reshape(-1, 3)
    share = (OD_OF_VALUE[None, :, None] * matrix.T[:, None, :] * _STEPS).astype(np.float32)
    answer = np.empty_like(flat)
    _apply(flat, share, _VALUE_OF_STEP, answer)
    return answer.reshape(rgb.shape)


@compiled(nogil=True)
def _apply(
    flat: NDArray[np.uint8], share: NDArray[np.float32], value_of_step: NDArray[np.uint8], answer: NDArray[np.uint8]
) -> None:  # pragma: no cover - compiled
    """`share[c, v, k]` is what value v of channel c adds to channel k's OD, in table steps."""
    top = len(value_of_step) - 1
    half = np.float32(0.5)
    for i in range(flat.shape[0]):
        r, g, b = flat[i, 0], flat[i, 1], flat[i, 2]
        for k in range(3):
            step = np.int32(share[0, r, k] + share[1, g, k] + share[2, b, k] + half)
            answer[i, k] = value_of_step[min(max(step, 0), top)]
