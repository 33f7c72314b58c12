"""Where a cell may be: spots darker than their surroundings. Pixels in, places and strengths out.

Knows nothing of slides, tiles, labels or networks. All arithmetic up to the last subtraction is on integers, so a spot
has the same place and the same contrast, bit for bit, in whichever plane it is looked at.
"""

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.sieve.propose.blur import box_sums, box_widths
from mitosieve.sieve.propose.haematoxylin import STEPS_PER_OD, haematoxylin_steps
from mitosieve.slide.overview import COARSE_PX
from mitosieve.slide.slide import MAX_MPP, MIN_MPP
from mitosieve.slide.stain import OD_OF_VALUE

GRID_PX = 2
"""Spots are sought among 2 x 2 blocks of the plane's pixels, so all of them lie at half-integers."""

TOP_OD = 4.0
"""Optical density from which a pixel is black (5 of 255 grey levels)."""

CELL_UM, MOVE_UM = 2.5, 3.0
"""Standard deviation of the blur that centres a spot on its cell, and how far a spot may move."""

MAX_REACH_PX = 1024
"""Scales that would need a larger margin are refused: they are no scales of cells."""

_LEVELS, _STEP = 16368, GRID_PX * GRID_PX
_TOP = _LEVELS * _STEP
"""Table values are multiples of 4 below 2 ** 16, so means of 2 x 2 pixels are whole numbers and nothing is rounded."""

_EXACT_BITS = 18
"""Bits of a coarse value: interpolating between four of them in eighths then is exact in single precision."""


class ContrastConfig(BaseModel):
    """How dark spots are found.

    The defaults were chosen by recall alone on the 512 figures of all seven cases of MITOS-ATYPIA-14's training set
    (breast, one scanner), and `emphasis` also on crops round figures of MIDOG 2021 and TUPAC16, where a higher power
    finds more. No imposter's label was used. Other fields may differ; see `bench/proposer.py`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float = Field(default=0.5, ge=MIN_MPP, le=MAX_MPP)
    """um per px of the plane that spots are sought in."""
    small_um: float = Field(default=2.0, gt=0, le=50)
    """Standard deviation of the blur that stands for a cell; two box filters come nearest to it."""
    large_um: float = Field(default=8.0, gt=0, le=200)
    """Standard deviation of the blur that stands for its surroundings."""
    emphasis: float = Field(default=2.5, ge=1, le=4)
    """Power of the optical density: above 1, a small dark spot counts for more than a large pale one."""
    spacing_um: float = Field(default=4.0, gt=0, le=50)
    """No two spots are nearer than this: the stronger one stays."""
    channel: Literal["red", "haematoxylin"] = "red"
    """What is dark: the red channel's OD, or haematoxylin's share of it by the fixed matrix of Ruifrok & Johnston."""
    floor_od: float = Field(default=0.0, ge=0, le=TOP_OD)
    """0: contrast is a spot's difference from its surroundings. Above 0 it is the relative one, the difference over the
    surroundings: chromatin in a pale cell counts as much as darker chromatin among dark cells. To the surroundings this
    OD (to the power of `emphasis`) is added, so that specks on glass count for little."""
    per_mm2: float = Field(default=1600.0, gt=0, le=1e5)
    """Spots per mm2 of tissue that a slide's cut aims at."""

    @model_validator(mode="after")
    def _scales_are_of_cells(self) -> "ContrastConfig":
        if self.small_um >= self.large_um:
            raise ValueError("large_um must be larger than small_um: a cell is smaller than its surroundings")
        if reach_px(self) > MAX_REACH_PX:
            raise ValueError(f"large_um and spacing_um need a margin of over {MAX_REACH_PX} px at mpp {self.mpp:g}")
        return self


def reach_px(config: ContrastConfig) -> int:
    """Margin that a plane needs round its core so that what is found in the core is what any other plane finds there.

    The plane must also start at a multiple of COARSE_PX on the slide's lattice.
    """
    small = GRID_PX * sum(width // 2 for width in _small_boxes(config))
    large = COARSE_PX * (sum(width // 2 for width in _large_boxes(config)) + 2)
    centring = GRID_PX * (_move(config) + 1 + sum(width // 2 for width in _center_boxes(config)))
    return max(GRID_PX * (_spacing(config) + 1) + max(small, large), centring)


def contrast_maxima(
    pixels: NDArray[np.uint8], config: ContrastConfig
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Spots that are darker than what lies within `spacing_um` of them and than their surroundings.

    A spot's contrast is the blurred power of its optical density less the same of its surroundings. A stain of twice
    the density multiplies all contrasts of a slide alike, so their order is no matter of stain strength; of relative
    contrast (`floor_od`) this is so where the surroundings are darker than its floor.
    Of equal spots within `spacing_um` the first by y, then x, is taken.

    Args:
        pixels: (h, w, 3) uint8 RGB at `config.mpp`, its origin at a multiple of COARSE_PX on the slide's lattice.
        config: scales.

    Returns:
        (N, 2) float64 x, y in px of the plane, pixel centres at integers, both half-integer, so an even-sided patch
        needs no interpolation; (N,) float32 contrast, all positive. Strongest first; ties by y, then x.
    """
    height, width = pixels.shape[:2]
    if height == 0 or width == 0:
        return np.zeros((0, 2)), np.zeros(0, dtype=np.float32)
    contrast = _contrast(pixels, config)
    before, after = _halves_of_disc(config)
    peak = (contrast > cv2.dilate(contrast, before)) & (contrast >= cv2.dilate(contrast, after)) & (contrast > 0)
    row, column = np.nonzero(peak[: height // GRID_PX, : width // GRID_PX])
    value = contrast[row, column]
    order = np.argsort(-value, kind="stable")
    center = np.stack([column, row], axis=1)[order].astype(np.float64) * GRID_PX + (GRID_PX - 1) / 2
    return center, value[order]


def contrast_cut(values: Sequence[NDArray[np.floating]], area_mm2: float, config: ContrastConfig) -> float:
    """The contrast from which on a slide's spots are `per_mm2` per mm2 of tissue: one threshold for all of it.

    Args:
        values: contrasts of all spots in parts of the slide's tissue.
        area_mm2: tissue area of those parts together.
        config: the density aimed at.

    Returns:
        Spots with a contrast of this or more are proposed; 0 where there are too few to choose from. Of spots that are
        equal at the cut all are proposed.
    """
    pooled = np.concatenate([np.zeros(0, dtype=np.float32), *values])
    wanted = math.ceil(config.per_mm2 * max(0.0, area_mm2))
    if wanted == 0 or wanted >= len(pooled):
        return 0.0
    return float(np.partition(pooled, len(pooled) - wanted)[len(pooled) - wanted])


def recentre(pixels: NDArray[np.uint8], center_px: NDArray[np.floating], config: ContrastConfig) -> NDArray[np.float64]:
    """Move spots to where their cell as a whole is: the darkest place nearby after a blur as wide as a nucleus.

    A spot sits on the darkest chromatin, a mark on the middle of the cell. Here all of the density counts alike,
    without `emphasis`. What is beyond the plane's edge repeats it; a margin of `reach_px` is enough.

    Args:
        pixels: the plane that the spots were found in.
        center_px: (N, 2) from `contrast_maxima`.
        config: the same.

    Returns:
        (N, 2) float64, at half-integers again, each at most MOVE_UM from its spot; of equally dark places the nearest,
        then the first by y, then x. Two spots may come to lie at one place.
    """
    radius = _move(config)
    fine = _mean_of_blocks(_whole_blocks(_density(pixels, config.channel, 1.0)), GRID_PX)
    dark, _ = box_sums(fine, _center_boxes(config), top=_TOP)
    dark = np.pad(dark, radius, constant_values=-1)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    near = np.lexsort((x.ravel(), y.ravel(), (x**2 + y**2).ravel()))
    near = near[(x**2 + y**2).ravel()[near] <= radius**2]
    step = np.stack([x.ravel()[near], y.ravel()[near]], axis=1)
    block = np.rint((np.asarray(center_px, dtype=np.float64) - 0.5) / GRID_PX).astype(np.intp)
    seen = dark[block[:, 1, None] + radius + step[:, 1], block[:, 0, None] + radius + step[:, 0]]
    return (block + step[seen.argmax(axis=1)]).astype(np.float64) * GRID_PX + (GRID_PX - 1) / 2


def _contrast(pixels: NDArray[np.uint8], config: ContrastConfig) -> NDArray[np.float32]:
    """Contrast of each 2 x 2 block, in units of OD ** emphasis, or relative; what lacks to coarse blocks repeats.

    Relative: (cell - around) / (around + floor), Weber's fraction but for the floor.
    """
    fine = _mean_of_blocks(_whole_blocks(_density(pixels, config.channel, config.emphasis)), GRID_PX)
    small, small_weight = box_sums(fine, _small_boxes(config), top=_TOP)
    large, large_weight = box_sums(_coarse(fine), _large_boxes(config), top=_TOP)
    shift = max(0, (_TOP * large_weight).bit_length() - _EXACT_BITS)
    coarse = np.floor(large / float(2**shift)).astype(np.float32)
    around = cv2.resize(coarse, (fine.shape[1], fine.shape[0]), interpolation=cv2.INTER_LINEAR)
    unit = TOP_OD**config.emphasis / _TOP
    cell = small.astype(np.float32) * np.float32(unit / small_weight)
    around *= np.float32(unit * 2**shift / large_weight)
    if config.floor_od:
        floor = np.float32(config.floor_od**config.emphasis)  # one rounding a step, so alike in every plane
        return np.asarray((cell + floor) / (around + floor) - np.float32(1), dtype=np.float32)
    return np.asarray(cell - around, dtype=np.float32)


def _whole_blocks(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """With the last row and column repeated until coarse blocks are whole."""
    bottom, right = (-side % COARSE_PX for side in values.shape)
    return np.pad(values, ((0, bottom), (0, right)), mode="edge") if bottom or right else values


def _density(pixels: NDArray[np.uint8], channel: str, power: float) -> NDArray[np.uint16]:
    """OD ** power of each pixel, in units of TOP_OD ** power / (4 * 16368), as multiples of 4."""
    if channel == "red":
        table = _table(np.minimum(OD_OF_VALUE, TOP_OD), power)
        return np.asarray(cv2.LUT(cv2.extractChannel(pixels, 0), table), dtype=np.uint16)
    table = _table(np.arange(int(TOP_OD * STEPS_PER_OD) + 1) / STEPS_PER_OD, power)
    return table[np.minimum(haematoxylin_steps(pixels), len(table) - 1)]


def _table(od: NDArray[np.float64], power: float) -> NDArray[np.uint16]:
    return (_STEP * np.rint(_LEVELS * (od / TOP_OD) ** power)).astype(np.uint16)


def _mean_of_blocks(values: NDArray[np.uint16], side: int) -> NDArray[np.uint16]:
    shape = (values.shape[1] // side, values.shape[0] // side)
    return np.asarray(cv2.resize(values, shape, interpolation=cv2.INTER_AREA), dtype=np.uint16)


def _coarse(fine: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Means of 4 x 4 blocks, each rounded to a multiple of 16 first, so their mean is a whole number."""
    return _mean_of_blocks((fine + np.uint16(8)) & np.uint16(0xFFF0), COARSE_PX // GRID_PX)


def _small_boxes(config: ContrastConfig) -> tuple[int, int]:
    return box_widths(config.small_um / (config.mpp * GRID_PX))


def _large_boxes(config: ContrastConfig) -> tuple[int, int]:
    return box_widths(config.large_um / (config.mpp * COARSE_PX))


def _center_boxes(config: ContrastConfig) -> tuple[int, int]:
    return box_widths(CELL_UM / (config.mpp * GRID_PX))


def _move(config: ContrastConfig) -> int:
    """Blocks that a spot may move by."""
    return int(MOVE_UM / (config.mpp * GRID_PX) + 1e-9)


def _spacing(config: ContrastConfig) -> int:
    """Blocks within which a spot must be the strongest: those nearer than `spacing_um`, and at least its neighbours."""
    return max(1, math.ceil(config.spacing_um / (config.mpp * GRID_PX) - 1e-9) - 1)


def _halves_of_disc(config: ContrastConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What comes before a block and what comes after it, by y, then x, within `spacing_um`, as masks."""
    radius = _spacing(config)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    near = (x**2 + y**2 < (config.spacing_um / (config.mpp * GRID_PX)) ** 2 - 1e-9) | (np.maximum(abs(x), abs(y)) <= 1)
    before = near & ((y < 0) | ((y == 0) & (x < 0)))
    return before.astype(np.uint8), before[::-1, ::-1].astype(np.uint8)
