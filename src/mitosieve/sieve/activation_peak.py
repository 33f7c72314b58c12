"""Where in its patch a figure lies, by the class-activation map of the network that called it. Knows no marks."""

from collections.abc import Generator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from mitosieve.geometry import Region
from mitosieve.network.compute import Compute
from mitosieve.run.clock import Clock
from mitosieve.sieve.detector import Detector, DetectorConfig, Network, Stage
from mitosieve.sieve.tile_reader import CHUNK, Cut, Request


def locate_reach_um(config: DetectorConfig) -> float:
    """How far a place can be moved, um: `locate_within_um`, at most half the diagonal of the patch; 0 without a stage
    that locates.
    """
    if config.locating is None:
        return 0.0
    stage = config.stages[config.locating]
    return min(stage.locate_within_um, stage.patch_px * stage.mpp_in(config.frame.mpp) / float(np.sqrt(2)))


def located(
    detector: Detector, core: Region, center_px: NDArray[np.float64], compute: Compute, clock: Clock
) -> Generator[Request, Any, NDArray[np.float64]]:
    """Places of a tile, (N, 2) at the frame's mpp, moved to the peaks of the locating stage's map; order stays.

    A place whose peak is farther than `locate_within_um` stays where it is; one that has no peak, see `locate_peaks`,
    is NaN, for the caller to drop.

    Patches are asked for again, of these places alone: few come through all stages. Peaks may leave the tile and, in
    a margin, the slide.
    """
    number = detector.config.locating
    assert number is not None
    stage, networks = detector.config.stages[number], detector.networks[number]
    frame_mpp = detector.config.frame.mpp
    scale = stage.mpp_in(frame_mpp) / frame_mpp
    moved = [np.zeros((0, 2))]
    for start in range(0, len(center_px), CHUNK):
        places = center_px[start : start + CHUNK]
        images = yield Cut(core=core, stage=number, center_px=places)
        with clock.part(f"stage {stage.name}"):
            offset = scale * locate_peaks(stage, networks, images, compute)
        far = np.linalg.norm(offset, axis=1) * frame_mpp > stage.locate_within_um
        moved.append(places + np.where(far[:, None], 0.0, offset))
    return np.concatenate(moved)


def locate_peaks(
    stage: Stage, networks: tuple[Network, ...], images: NDArray[np.uint8], compute: Compute
) -> NDArray[np.float64]:
    """Where the class-activation map of "mitotic figure" has its peak, px of the stage's patch from its centre.

    The map is the sigmoid of the network's, or of the mean of several networks' maps, resized bilinearly to the patch
    (to no effect where the network upsamples it itself: `ResNetConfig.align_corners`). Areas are 8-connected px of the
    patch of `locate_above` or more; those of fewer than `locate_least_px` are left out. The peak is the centroid of the
    area that holds the highest value; of equal ones the first by y, then x, counts. Where there is no area, there is no
    peak; but with `locate_least_px` 0 it is then the maximum's own place. The patch is looked at as it is: turns are
    for scores.

    Source: DASC's public code (sigmoid, resized to the patch, threshold 0.9, area 7 px). Differs: one peak a candidate,
    where the public code pastes all maps into one as large as the slide and takes every area of that; here
    `cascade.merge` joins the peaks of candidates that saw the same figure.

    Args:
        stage: of `locate` "activation".
        networks: its networks; each has a map.
        images: uint8 (N, s, s, 3), as `View.images` gives them.
        compute: machine.

    Returns:
        (N, 2) float64 x, y: within (s - 1) / 2 of 0 each; NaN where there is no peak.
    """
    if len(images) == 0:
        return np.zeros((0, 2))
    maps = [compute.engine_of(network, images, dense=True).scores(images) for network in networks]
    area = maps[0] if len(maps) == 1 else _fused(maps)
    side = images.shape[1]
    peaks = [_peak(cv2.resize(item, (side, side), interpolation=cv2.INTER_LINEAR), stage) for item in area]
    return np.array(peaks) - (side - 1) / 2


def _fused(maps: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The sigmoid of the mean of maps, of which the sigmoids (N, h, w) are given: fused as the scores are."""
    logits = logit(np.clip(np.stack(maps).astype(np.float64), 1e-9, 1 - 1e-9))
    return expit(logits.mean(axis=0)).astype(np.float32)


def _peak(area: NDArray[np.floating[Any]], stage: Stage) -> tuple[float, float]:
    """x, y of the peak of one map (s, s), px; NaN where there is none."""
    high = area >= stage.locate_above
    if not high.any() and not stage.locate_least_px:
        row, column = np.unravel_index(area.argmax(), area.shape)
        return float(column), float(row)
    labels = cv2.connectedComponents(high.astype(np.uint8), connectivity=8)[1].astype(np.intp)
    large = high & (np.bincount(labels.ravel()) >= stage.locate_least_px)[labels]
    if not large.any():
        return np.nan, np.nan
    rows, columns = np.nonzero(labels == labels.ravel()[np.where(large, area, -np.inf).argmax()])
    return float(columns.mean()), float(rows.mean())
