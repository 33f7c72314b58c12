"""The colour of distorted patches: stain and light, cast and contrast, sharpness, noise and compression, in order.

Everything up to sharpness is two affine maps: one of optical density, where gains of light, gamma and stains are
linear, and one of values. So a pixel goes through one logarithm (a table), one exponential and two small matrices.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled
from mitosieve.patch.augment.distortion import Distortion
from mitosieve.slide.stain import OD_OF_VALUE, reference_profile

_OD_OF_VALUE: NDArray[np.float32] = OD_OF_VALUE.astype(np.float32)


def recolour_distorted(patches: NDArray[np.uint8], distortion: Distortion) -> NDArray[np.uint8]:
    """Patches in the colours of their distortions; rows do not see each other.

    With v the values 0..255 and D their optical density -ln((v + 1) / 256), in this order:

    1. stains: the amounts of haematoxylin, eosin and the rest in D are scaled by `hed_gain` and moved by `hed_shift`;
       D is scaled by `gamma`; the light 256 exp(-D) of each channel is scaled by `channel_gain`
    2. v is scaled by `brightness`; its distance from the patch's mean colour by `contrast`; its distance from grey (the
       mean of its channels) by `saturation`; it is turned about the grey axis by `hue` and moved by `channel_offset`
    3. `sharpness` times the difference from the blurred patch is added
    4. noise is added; values are rounded and clipped to 0..255
    5. the patch goes through JPEG

    Args:
        patches: (B, h, w, 3) RGB; not changed.
        distortion: one row a patch; neutral steps are left out, so a neutral row is its patch.

    Returns:
        uint8 of the same shape, a new array.
    """
    answer = patches.copy()
    dense, plain = _density_maps(distortion), _value_maps(distortion)
    toned = (dense != np.eye(3, 4)).any(axis=(1, 2)) | (plain != np.eye(3, 7)).any(axis=(1, 2))
    for row in np.flatnonzero(toned | (distortion.sharpness != 0) | (distortion.noise > 0)):
        values = _toned(patches[row], dense[row], plain[row]) if toned[row] else patches[row].astype(np.float32)
        if distortion.sharpness[row] != 0:
            values = _sharpened(values, float(distortion.sharpness[row]), float(distortion.sharpness_sigma_px[row]))
        _add_noise(values, np.float32(255 * distortion.noise[row]), distortion.noise_seed[row], answer[row])
    for row in np.flatnonzero(distortion.jpeg > 0):
        answer[row] = _compressed(answer[row], int(distortion.jpeg[row]))
    return answer


def stain_vectors() -> NDArray[np.float64]:
    """(3, 3) unit columns in OD of red, green, blue: haematoxylin, eosin, and the normal of both, which is the rest."""
    stains = reference_profile().matrix
    normal = np.cross(stains[:, 0], stains[:, 1])
    return np.column_stack([stains, normal / np.linalg.norm(normal)])


def _density_maps(distortion: Distortion) -> NDArray[np.float64]:
    """(B, 3, 4) step 1 as a matrix and a shift of OD."""
    stains = stain_vectors()
    matrix = (stains * distortion.hed_gain[:, None]) @ np.linalg.inv(stains)
    same = (distortion.hed_gain == 1).all(axis=1)
    matrix[same] = np.eye(3)
    shift = distortion.hed_shift @ stains.T
    gamma = distortion.gamma[:, None, None]
    light = np.log(distortion.channel_gain)
    return np.concatenate([gamma * matrix, gamma * shift[..., None] - light[..., None]], axis=2)


def _value_maps(distortion: Distortion) -> NDArray[np.float64]:
    """(B, 3, 7) step 2 as a matrix of v, a matrix of the patch's mean and a shift."""
    chroma = distortion.saturation[:, None, None] * _turns(distortion.hue) @ (np.eye(3) - 1 / 3) + 1 / 3
    still = (distortion.saturation == 1) & (distortion.hue == 0)
    chroma[still] = np.eye(3)
    bright, contrast = distortion.brightness[:, None, None], distortion.contrast[:, None, None]
    return np.concatenate(
        [chroma * bright * contrast, chroma * bright * (1 - contrast), 255 * distortion.channel_offset[..., None]],
        axis=2,
    )


def _turns(hue: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 3, 3) rotations about the grey axis by turns, from red towards green."""
    cos, sin = np.cos(2 * np.pi * hue)[:, None, None], np.sin(2 * np.pi * hue)[:, None, None]
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * np.eye(3) + sin * cross + (1 - cos) / 3


def _toned(patch: NDArray[np.uint8], dense: NDArray[np.float64], plain: NDArray[np.float64]) -> NDArray[np.float32]:
    """Steps 1 and 2 of one patch, values not clipped."""
    density = cv2.transform(cv2.LUT(patch, _OD_OF_VALUE), -dense)
    light = cv2.exp(density)
    mean = 256 * np.array(cv2.mean(light)[:3]) - 1
    matrix, of_mean, shift = plain[:, :3], plain[:, 3:6], plain[:, 6]
    moved = of_mean @ mean + shift - matrix.sum(axis=1)
    return np.asarray(cv2.transform(light, np.column_stack([256 * matrix, moved])), dtype=np.float32)


def _sharpened(values: NDArray[np.float32], amount: float, sigma: float) -> NDArray[np.float32]:
    side = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(values, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.addWeighted(values, 1 + amount, blurred, -amount, 0), dtype=np.float32)


def _compressed(patch: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Through JPEG and back; the codec takes its channels as blue, green, red."""
    done, code = cv2.imencode(".jpg", cv2.cvtColor(patch, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert done
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


@compiled(nogil=True)
def _add_noise(
    values: NDArray[np.float32], sigma: np.float32, seed: np.uint64, answer: NDArray[np.uint8]
) -> None:  # pragma: no cover - compiled
    """Add noise, round, clip. A value's noise is the sum of four uniform 16-bit numbers, near to normal and bounded.

    The 64 bits are a counter through the finaliser of splitmix64: a value's noise depends on seed and place alone.
    """
    flat, out = values.reshape(-1), answer.reshape(-1)
    # a uniform whole number below 2**16 has the variance (2**32 - 1) / 12
    unit = np.float32(sigma / math.sqrt(4 * (2.0**32 - 1) / 12))
    middle = np.float32(2 * 65535)
    for i in range(flat.shape[0]):
        z = seed + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        low = np.uint64(0xFFFF)
        total = (z & low) + ((z >> np.uint64(16)) & low) + ((z >> np.uint64(32)) & low) + (z >> np.uint64(48))
        value = flat[i] + unit * (np.float32(np.int32(total)) - middle)
        out[i] = np.uint8(min(max(value, np.float32(0)), np.float32(255)) + np.float32(0.5))
