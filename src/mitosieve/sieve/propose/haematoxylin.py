"""Nuclei as blobs of haematoxylin: what an H&E pixel has of it, and its connected components.

Knows nothing of slides, tiles or networks. The numbers are those of DASC's public code, which counts in pixels, taken
here as 0.25 um.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.sieve.propose.blur import box_sums, box_widths
from mitosieve.slide.slide import MAX_MPP, MIN_MPP
from mitosieve.slide.stain import EOSIN_OD, HAEMATOXYLIN_OD, OD_OF_VALUE

STEPS_PER_OD = 4096
"""Haematoxylin is counted in whole steps, so a pixel has the same amount wherever it is looked at."""

MIN_NUCLEUS_OD = 0.15
"""Least threshold: below it, the noise of glass and eosin would be nuclei on a slide that has none."""

WHOLE_UM = 30.0
"""Components up to this long are whole in every plane whose core holds their centre: any nucleus, and small clumps."""

_MERGES = 3
"""Merging looks this many `merge_um` far: a centre is within one of its group's largest, the others of the group are
within one of that, and what might have taken those is within one more."""

_OTSU_STEPS = 64
_OTSU_TOP = 255


class ComponentConfig(BaseModel):
    """Candidates as DASC takes them for training; for inference its `min_area_um2` is 0.4375 and its `merge_um` 2.5.

    Source: the public code of DASC (antifen/DASC): 20 and 55 px; for inference 7 and 10 px.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float = Field(default=0.25, ge=MIN_MPP, le=MAX_MPP)
    """um per px of the plane."""
    blur_um: float = Field(default=0.5, ge=0, le=10)
    """Standard deviation of a blur against grain, by two box filters; 0 is none. Ours: how DASC made its haematoxylin
    images is not public, and without a blur the grain of a compressed image makes twice as many components."""
    min_area_um2: float = Field(default=1.25, ge=0, le=1000)
    """Smaller components are no candidates."""
    merge_um: float = Field(default=13.75, ge=0, le=200)
    """Components whose centres are nearer than this are one candidate."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Candidates of a plane, by y, then x.

    Attributes:
        center_px: (N, 2) float64 x, y in px of the plane, pixel centres at integers.
        area_um2: (N,) float64 haematoxylin area; of merged components the sum.
    """

    center_px: NDArray[np.float64]
    area_um2: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.center_px)


def haematoxylin_steps(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Haematoxylin's part of the red channel's OD of each pixel, in whole steps of 1 / STEPS_PER_OD, at least 0.

    The stain matrix is fixed; its third colour is at right angles to both stains.

    Args:
        pixels: (h, w, 3) uint8 RGB.

    Source: Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291.
    """
    if pixels.size == 0:
        return np.zeros(pixels.shape[:2], dtype=np.int32)
    red, green, blue = (cv2.LUT(cv2.extractChannel(pixels, i), table) for i, table in enumerate(_STEPS_OF_VALUE))
    return np.maximum(np.asarray(red + green + blue, dtype=np.int32), 0)


def blurred_steps(pixels: NDArray[np.uint8], config: ComponentConfig) -> NDArray[np.int32]:
    """`haematoxylin_steps` after the blur of `blur_um`, rounded down to whole steps."""
    steps = haematoxylin_steps(pixels)
    if steps.size == 0:
        return steps
    sums, weight = box_sums(steps, box_widths(config.blur_um / config.mpp), top=_TOP_STEPS)
    return (sums // weight).astype(np.int32)


def component_reach_px(config: ComponentConfig) -> int:
    """Margin that a plane needs round its core so that the candidates of the core are those of any other plane.

    Two things may still differ: a component longer than WHOLE_UM, which a plane's edge may cut, so that its centre lies
    elsewhere and near a seam it may be found twice or not at all; and where components stand in a row so that each
    decides whether the next is merged, farther than three times `merge_um`.
    """
    blur = sum(width // 2 for width in box_widths(config.blur_um / config.mpp))
    return math.ceil((WHOLE_UM + _MERGES * config.merge_um) / config.mpp) + blur + 1


def nucleus_threshold(planes: Sequence[NDArray[np.uint8]], config: ComponentConfig) -> float:
    """One threshold for a slide: Otsu's on the haematoxylin OD of a fixed sample of it, at least MIN_NUCLEUS_OD.

    Args:
        planes: (h, w, 3) uint8 RGB each; black pixels (padding) are left out.
        config: resolution and blur.
    """
    counts = np.zeros(_OTSU_TOP + 1, dtype=np.int64)
    for plane in planes:
        level = np.minimum(blurred_steps(plane, config) // (STEPS_PER_OD // _OTSU_STEPS), _OTSU_TOP)
        counts += np.bincount(level[_not_black(plane)], minlength=_OTSU_TOP + 1)
    return max(MIN_NUCLEUS_OD, _otsu(counts) / _OTSU_STEPS)


def find_components(pixels: NDArray[np.uint8], threshold_od: float, config: ComponentConfig) -> Components:
    """Connected areas of haematoxylin: 8-connected, large enough, and those near each other merged.

    Black pixels (0, 0, 0) are padding and belong to none.

    Components are taken largest first (ties by y, then x); each takes in all that are left nearer than `merge_um`, and
    the candidate lies at the plain mean of their centres. Means are not merged again, so two may be nearer than that.

    Args:
        pixels: (h, w, 3) uint8 RGB at `config.mpp`.
        threshold_od: haematoxylin OD of a nucleus's pixel, or more; `nucleus_threshold` of the slide.
        config: sizes.
    """
    mask = (blurred_steps(pixels, config) >= threshold_od * STEPS_PER_OD) & _not_black(pixels)
    if mask.size == 0:
        return Components(center_px=np.zeros((0, 2)), area_um2=np.zeros(0))
    count, _, stats, centers = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    area = stats[1:count, cv2.CC_STAT_AREA].astype(np.float64) * config.mpp**2
    kept = area >= config.min_area_um2 - 1e-9
    return _merged(np.asarray(centers[1:count][kept], dtype=np.float64), area[kept], config.merge_um / config.mpp)


def _not_black(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels are not padding; by channels, since reducing over an axis of three is slow."""
    return (pixels[..., 0] | pixels[..., 1] | pixels[..., 2]) != 0


def _merged(center: NDArray[np.float64], area: NDArray[np.float64], distance_px: float) -> Components:
    order = np.lexsort((center[:, 0], center[:, 1], -area))
    center, area = center[order], area[order]
    group = np.full(len(center), -1, dtype=np.intp)
    within = KDTree(center).query_ball_point(center, distance_px) if len(center) else []
    for seed, found in enumerate(within):
        if group[seed] < 0:
            near = np.array(found, dtype=np.intp)
            near = near[np.linalg.norm(center[near] - center[seed], axis=1) < distance_px] if len(near) > 1 else near
            group[near[group[near] < 0]] = seed
            group[seed] = seed
    _, group = np.unique(group, return_inverse=True)
    size = np.bincount(group)
    mean = np.stack([np.bincount(group, weights=center[:, axis]) / size for axis in (0, 1)], axis=1)
    total = np.bincount(group, weights=area).astype(np.float64)
    order = np.lexsort((mean[:, 0], mean[:, 1]))
    return Components(center_px=mean[order], area_um2=total[order])


def _otsu(counts: NDArray[np.int64]) -> int:
    """First level of the upper of two classes whose means differ most for their sizes; 0 where there is one level.

    Source: Otsu 1979, IEEE Trans Syst Man Cybern 9:62.
    """
    level = np.arange(len(counts))
    below = np.cumsum(counts)[:-1].astype(np.float64)
    moment = np.cumsum(counts * level).astype(np.float64)
    above = counts.sum() - below
    both = (below > 0) & (above > 0)
    if not both.any():
        return 0
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment[:-1] / below - (moment[-1] - moment[:-1]) / above) ** 2
    return int(np.argmax(np.where(both, between, -1.0))) + 1


def _steps_of_value() -> list[NDArray[np.int32]]:
    """For each channel, the steps that a pixel's value adds."""
    stains = np.array([HAEMATOXYLIN_OD, EOSIN_OD, np.cross(HAEMATOXYLIN_OD, EOSIN_OD)])
    weights = np.linalg.inv(stains)[:, 0] * HAEMATOXYLIN_OD[0]
    return [np.rint(OD_OF_VALUE * weight * STEPS_PER_OD).astype(np.int32) for weight in weights]


_STEPS_OF_VALUE = _steps_of_value()

_TOP_STEPS = sum(int(abs(table).max()) for table in _STEPS_OF_VALUE)
