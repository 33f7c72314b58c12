"""The appearance of another source put on a patch: its stain, its sharpness, its compression. Pixels in, pixels out.

A network can tell where a patch comes from, and where classes are unequal in number from source to source, that tells
it the class. Here a patch of any class is shown as if another source had stained, scanned and stored it. Ours.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mitosieve.patch.augment.ranges import within
from mitosieve.slide.stain import OD_OF_VALUE

_OD_OF_VALUE: NDArray[np.float32] = OD_OF_VALUE.astype(np.float32)

FINE_PX, COARSE_PX = 0.8, 1.6
"""Standard deviations of the blurs between which detail is compared: finer than the first against first to second."""

TISSUE_OD = 0.15
"""Pixels of a smaller mean OD are glass (the floor of `slide.stain.MacenkoConfig`)."""

MAX_GAIN = 2.5
"""Largest factor, either way, on the spread of OD in any direction: beyond it compression noise becomes visible."""

SHARPEN_PX = 1.2
"""Standard deviation of the blur whose difference from a patch is added to it."""

AMOUNTS = (-0.95, -0.75, -0.5, -0.25, 0.0, 0.5, 1.0, 1.75, 2.5)
"""Shares of that difference at which an appearance's detail is measured; the ends are the least and most added."""

_AS_IT_IS = AMOUNTS.index(0.0)

_JPEG_BLOCK = 8
_NUMBERS = 7
"""Uniform numbers that a sample takes."""


class ExchangeConfig(BaseModel):
    """How often, and how far, a sample takes the appearance of another source; classes are treated alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of samples that do."""
    stain: Annotated[tuple[float, float], AfterValidator(within(0.0, 1.0))] = (0.5, 1.0)
    """How far the mean and spread of OD go to the other's: 0 not at all, 1 all the way; uniform."""
    sharpness: Annotated[tuple[float, float], AfterValidator(within(0.0, 1.0))] = (0.5, 1.0)
    """The same of fine detail, by blur or sharpening."""
    p_jpeg: float = Field(default=1.0, ge=0, le=1)
    """Share of those samples that are compressed as the other's files are, where these are JPEG."""


@dataclass(frozen=True, kw_only=True)
class Appearances:
    """What sets sources apart in their patches, one row an appearance: such as a patient's slides of one source.

    Attributes:
        source: (A,) str.
        mean: (A, 3) OD of tissue in red, green, blue.
        covariance: (A, 3, 3) of the same.
        detail: (A, K) spread of what is finer than FINE_PX over the spread between FINE_PX and COARSE_PX, when each of
            AMOUNTS is added; ascending.
        jpeg: (A,) int, quality of the files; 0 is no JPEG.
    """

    source: NDArray[np.str_]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    detail: NDArray[np.float64]
    jpeg: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, kw_only=True)
class Exchanged:
    """One drawn exchange a row; a neutral row leaves its patch.

    Attributes:
        density: (B, 3, 4) map of OD, matrix and shift.
        sharpness: (B,) share of the difference from the blurred patch that is added.
        jpeg: (B,) int, quality; 0 is no compression.
        phase_px: (B, 2) int, where in a patch the first blocks of the compression end, x, y in 0..7.
    """

    density: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    jpeg: NDArray[np.int64]
    phase_px: NDArray[np.int64]


def statistics(
    patches: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (3,) and covariance (3, 3) of the OD of tissue, and detail (K,), of patches (B, s, s, 3).

    What lies nearer to a patch's middle than a third of its side is left out: it is the cell in question, and sources
    differ in how many of them are figures. Patches of hardly any tissue count with all their pixels.
    """
    side = patches.shape[1]
    along = np.arange(side) - (side - 1) / 2
    around = np.hypot(along[:, None], along[None]) > side / 3
    density = OD_OF_VALUE[patches[:, around]].reshape(-1, 3)
    tissue = density.mean(axis=1) > TISSUE_OD
    density = density[tissue] if tissue.sum() > 100 else density
    band = np.full((2, len(AMOUNTS)), 1e-3)
    for patch in patches:
        grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
        for number, amount in enumerate(AMOUNTS):
            shown = _sharpened(grey, amount)
            first, second = _blurred(shown, FINE_PX), _blurred(shown, COARSE_PX)
            band[0, number] += float(((shown - first)[around] ** 2).mean())
            band[1, number] += float(((first - second)[around] ** 2).mean())
    detail = np.maximum.accumulate(np.sqrt(band[0] / band[1]))
    return density.mean(axis=0), np.cov(density.T) + 1e-4 * np.eye(3), detail


def draw_exchange(
    own: NDArray[np.intp], among: Appearances, config: ExchangeConfig, generator: np.random.Generator
) -> Exchanged:
    """An exchange for each sample; a sample's numbers do not depend on the configuration or on the other samples.

    The other source is any but the sample's own, all alike, and the appearance any of that source's. Where there is
    but one source, nothing is exchanged.

    OD moves by the linear map between normal distributions that costs least (Monge-Kantorovich: Pitie & Kokaram 2007,
    "The linear Monge-Kantorovitch linear colour mapping"), here of OD instead of values, so far along it as is drawn.

    Args:
        own: (B,) appearance of each sample.
        among: all appearances.
        config: shares and ranges.
        generator: the only source of chance.
    """
    number = generator.random((len(own), _NUMBERS))
    other = _others(own, among, number[:, 0], number[:, 1])
    moved = (number[:, 2] < config.share) & (other != own)
    far, crisp = (low + (high - low) * number[:, k] for k, (low, high) in ((3, config.stain), (4, config.sharpness)))
    matrix = _least_cost(among.covariance[own], among.covariance[other])
    matrix = np.where(
        moved[:, None, None], (1 - far)[:, None, None] * np.eye(3) + far[:, None, None] * matrix, np.eye(3)
    )
    target = among.mean[own] + np.where(moved, far, 0)[:, None] * (among.mean[other] - among.mean[own])
    shift = target - np.einsum("bij,bj->bi", matrix, among.mean[own])
    wanted = among.detail[own, _AS_IT_IS] + crisp * (among.detail[other, _AS_IT_IS] - among.detail[own, _AS_IT_IS])
    added = [np.interp(value, curve, AMOUNTS) for value, curve in zip(wanted, among.detail[own], strict=True)]
    sharpness = np.where(moved & (crisp > 0), np.array(added), 0)
    packed = moved & (number[:, 5] < config.p_jpeg)
    phase = np.floor(number[:, 6] * _JPEG_BLOCK**2).astype(np.int64)
    return Exchanged(
        density=np.concatenate([matrix, np.where(moved[:, None], shift, 0)[..., None]], axis=2),
        sharpness=sharpness,
        jpeg=np.where(packed, among.jpeg[other], 0),
        phase_px=np.stack([phase % _JPEG_BLOCK, phase // _JPEG_BLOCK], axis=1),
    )


def _others(
    own: NDArray[np.intp], among: Appearances, which: NDArray[np.float64], whose: NDArray[np.float64]
) -> NDArray[np.intp]:
    """An appearance (B,) of another source, by two uniform numbers a sample; its own where there is no other."""
    names, source = np.unique(among.source, return_inverse=True)
    if len(names) < 2:
        return own
    chosen = np.floor(which * (len(names) - 1)).astype(np.intp)
    chosen += chosen >= source[own]
    order = np.argsort(source, kind="stable")
    first = np.searchsorted(source[order], np.arange(len(names)))
    count = np.bincount(source, minlength=len(names))
    return np.asarray(order[first[chosen] + np.floor(whose * count[chosen]).astype(np.intp)])


def _least_cost(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 3, 3) symmetric maps from one covariance to another, their gains within MAX_GAIN."""
    root = _power(own, 0.5)
    inverse = _power(own, -0.5)
    matrix = inverse @ _power(root @ other @ root, 0.5) @ inverse
    value, vector = np.linalg.eigh((matrix + matrix.transpose(0, 2, 1)) / 2)
    return (vector * np.clip(value, 1 / MAX_GAIN, MAX_GAIN)[:, None]) @ vector.transpose(0, 2, 1)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    value, vector = np.linalg.eigh(matrix)
    return (vector * np.maximum(value, 1e-9)[:, None] ** exponent) @ vector.transpose(0, 2, 1)


def exchange(patches: NDArray[np.uint8], drawn: Exchanged) -> NDArray[np.uint8]:
    """Patches (B, s, s, 3) under their exchanges: stain, then sharpness, then compression; a new array."""
    answer = patches.copy()
    toned = (drawn.density != np.eye(3, 4)).any(axis=(1, 2))
    for row in np.flatnonzero(toned | (drawn.sharpness != 0)):
        values = _stained(patches[row], drawn.density[row]) if toned[row] else patches[row].astype(np.float32)
        amount = float(drawn.sharpness[row])
        if amount:
            values = _sharpened(values, amount)
        answer[row] = np.clip(np.rint(values), 0, 255)
    for row in np.flatnonzero(drawn.jpeg > 0):
        answer[row] = _compressed(answer[row], int(drawn.jpeg[row]), drawn.phase_px[row])
    return answer


def _stained(patch: NDArray[np.uint8], density: NDArray[np.float64]) -> NDArray[np.float32]:
    """A patch whose OD went through a map (3, 4); values not clipped."""
    light = cv2.exp(cv2.transform(cv2.LUT(patch, _OD_OF_VALUE), -density))
    return np.asarray(256 * light - 1, dtype=np.float32)


def _sharpened(values: NDArray[np.float32], amount: float) -> NDArray[np.float32]:
    return np.asarray(cv2.addWeighted(values, 1 + amount, _blurred(values, SHARPEN_PX), -amount, 0), dtype=np.float32)


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    side = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(values, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.float32)


def _compressed(patch: NDArray[np.uint8], quality: int, phase_px: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Through JPEG and back, its blocks anywhere, as they are in a patch that was cut from a file."""
    x, y = ((_JPEG_BLOCK - int(at)) % _JPEG_BLOCK for at in phase_px)
    framed = cv2.copyMakeBorder(patch, y, 0, x, 0, cv2.BORDER_REFLECT_101)
    bgr = cv2.cvtColor(framed, cv2.COLOR_RGB2BGR)
    done, code = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert done
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)[y:, x:]
