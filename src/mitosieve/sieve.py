"""From a slide to detections: propose places, let each stage throw away what is easy, merge, re-centre, suppress.

Works through own-once tiles: every place of the grid belongs to exactly one tile, whose halo shows all it needs, so no
figure is lost or doubled at a seam. Knows no recipe and no marks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections, suppress
from mitosieve.detector import Detector, GridProposer, Stage
from mitosieve.geometry import Region, lattice, rescale_points, tiles_over
from mitosieve.network.compute import Compute, predict
from mitosieve.patch.frames import Frame, Look, look_at, render
from mitosieve.patch.grid import covering_line
from mitosieve.patch.reader import cut_patches, margin_for, two_views
from mitosieve.progress import Progress
from mitosieve.slide.slide import Slide

TILE_PX = 2048
"""Side of a tile's core, px at the detector's mpp: some 50 MB with its halo."""

BATCH = 256
"""Patches that go through a network at once."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Places that came through all stages of one slide.

    Attributes:
        center_px: (N, 2) on the slide's lattice at the detector's mpp.
        score: (N, S) of every stage.
    """

    center_px: NDArray[np.float64]
    score: NDArray[np.float64]


def detect(
    detector: Detector,
    cohort: Cohort,
    *,
    cases: tuple[str, ...] | None = None,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> Detections:
    """Detect on the slides of a cohort, inside their ROIs.

    Args:
        detector: any.
        cohort: gives images, mpp and ROIs; its marks are not looked at.
        cases: which; None is all.
        compute: machine; None chooses.
        progress: told after every slide.

    Returns:
        Detections of all slides, in the cohort's order.

    Raises:
        SlideError: a slide cannot be read.
    """
    compute = Compute.choose() if compute is None else compute
    chosen = cohort if cases is None else cohort.of_cases(cases)
    found: list[Detections] = [Detections.empty(detector.stage_names)]
    for number, entry in enumerate(chosen.slides, start=1):
        with cohort.open(entry.slide_id) as slide:
            found.append(detect_slide(detector, slide, compute=compute, roi=entry.roi))
        if progress is not None:
            progress("slides", number, len(chosen.slides))
    return Detections.concatenate(found)


def detect_slide(
    detector: Detector,
    slide: Slide,
    *,
    compute: Compute,
    roi: BaseGeometry | None = None,
    progress: Progress | None = None,
) -> Detections:
    """Detect on one slide.

    Args:
        detector: any.
        slide: opened, with its mpp.
        compute: machine.
        roi: area in level-0 px outside which nothing is reported; None is the whole slide.
        progress: told after every tile.

    Returns:
        Detections with a score of at least `keep_above`, strongest first; equal scores by place (y, then x).
    """
    look = look_at(slide, detector.stain_target)
    whole = lattice(slide.bounds, mpp_l0=slide.mpp, mpp=detector.config.frame.mpp)
    cores = [tile.core for tile in tiles_over(whole, core=TILE_PX, margin=0)]
    parts: list[Scored] = []
    for number, core in enumerate(cores, start=1):
        parts += _scan_tile(detector, slide, core, look, roi, compute)
        if progress is not None and len(cores) > 1:
            progress(f"tiles of {slide.slide_id}", number, len(cores))
    stages = len(detector.config.stages)
    centers = np.concatenate([np.zeros((0, 2)), *(part.center_px for part in parts)])
    scores = np.concatenate([np.zeros((0, stages)), *(part.score for part in parts)])
    center_px, score = merge(Scored(center_px=centers, score=scores), detector)
    mpp = detector.config.frame.mpp
    center_l0 = rescale_points(center_px, mpp_from=mpp, mpp_to=slide.mpp)
    if roi is not None:
        inside = shapely.contains_xy(roi, center_l0[:, 0], center_l0[:, 1])
        center_l0, score = center_l0[inside], score[inside]
    order = np.lexsort((center_l0[:, 0], center_l0[:, 1], -score[:, -1]))
    return Detections.of(
        slide_id=[slide.slide_id] * len(order),
        center_l0=center_l0[order],
        score=score[order, -1],
        threshold=detector.config.threshold,
        stage_names=detector.stage_names,
        stage_score=score[order],
    )


def merge(scored: Scored, detector: Detector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row a figure: windows join the strongest window near them, the figure lies at their weighted mean.

    Windows within `merge_um` of a stronger one join it. The place is the mean of the joined windows whose score is at
    least half of the strongest, weighted by score (a window's centre alone may be half a stride off); the scores
    are those of the strongest window. Then figures within `suppress_um` of a stronger one are dropped.

    Returns:
        center_px (M, 2) and score (M, S).
    """
    config = detector.config
    by_place = np.lexsort((scored.center_px[:, 0], scored.center_px[:, 1]))  # ties must not depend on the tiles
    scored = Scored(center_px=scored.center_px[by_place], score=scored.score[by_place])
    last = scored.score[:, -1]
    owner = suppress(scored.center_px * config.frame.mpp, last, radius_um=config.merge_um)
    weight = np.where(last >= last[owner] / 2, np.maximum(last, 1e-12), 0.0)
    kept = np.flatnonzero(owner == np.arange(len(owner)))
    total = np.bincount(owner, weight, minlength=len(owner))[kept]
    place = np.stack(
        [np.bincount(owner, weight * scored.center_px[:, axis], minlength=len(owner))[kept] / total for axis in (0, 1)],
        axis=1,
    )
    score = scored.score[kept]
    strong = score[:, -1] >= config.floor
    place, score = place[strong], score[strong]
    alone = suppress(place * config.frame.mpp, score[:, -1], radius_um=config.suppress_um) == np.arange(len(score))
    return place[alone], score[alone]


def _scan_tile(
    detector: Detector, slide: Slide, core: Region, look: Look, roi: BaseGeometry | None, compute: Compute
) -> Iterator[Scored]:
    """The surviving places that a tile's core owns; nothing where it owns none."""
    config = detector.config
    mpp = config.frame.mpp
    whole = lattice(slide.bounds, mpp_l0=slide.mpp, mpp=mpp)
    columns = covering_line(whole.w, stride_px=config.proposer.stride_px)
    rows = covering_line(whole.h, stride_px=config.proposer.stride_px)
    centers = _own(core, whole, columns, rows)
    if roi is not None:
        places = rescale_points(centers, mpp_from=mpp, mpp_to=slide.mpp)
        reach = (config.proposer.stride_px * mpp + config.merge_um) / slide.mpp  # what may pull a place in
        centers = centers[shapely.dwithin(roi, shapely.points(places), reach)]
    if len(centers):
        margin = margin_for(max(stage.patch_px for stage in config.stages), config.proposer.stride_px)
        frame = render(slide, _source(core, slide, mpp), mpp=mpp, margin_px=margin, look=look)
        yield _sieve(detector, frame, _propose(config.proposer, frame, centers, mpp), compute)


def _own(core: Region, whole: Region, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grid centres that a core owns; centres beyond the slide's edge belong to the tile at that edge."""
    x = np.clip(columns, 0, whole.w - 1)
    y = np.clip(rows, 0, whole.h - 1)
    own_x = columns[(x >= core.x) & (x < core.x + core.w)]
    own_y = rows[(y >= core.y) & (y < core.y + core.h)]
    grid_x, grid_y = np.meshgrid(own_x, own_y)
    return np.stack([grid_x.ravel(), grid_y.ravel()], axis=1).astype(np.float64)


def _source(core: Region, slide: Slide, mpp: float) -> Region:
    """Level-0 region whose lattice pixels include those of `core`."""
    scale = mpp / slide.mpp
    x, y = int(core.x * scale), int(core.y * scale)
    right, bottom = int(np.ceil((core.x + core.w) * scale)) + 1, int(np.ceil((core.y + core.h) * scale)) + 1
    return Region(x=x, y=y, w=right - x, h=bottom - y).clip(slide.bounds)


def _propose(proposer: GridProposer, frame: Frame, centers: NDArray[np.float64], mpp: float) -> NDArray[np.float64]:
    """The centres whose cell holds something dark enough to be a figure."""
    if proposer.min_darkness == 0:
        return centers
    red = cv2.GaussianBlur(frame.pixels[..., 0], (0, 0), 1.0 / mpp)
    side = proposer.stride_px + 2 * (proposer.stride_px // 4) + 1
    darkest = np.asarray(cv2.erode(red, np.ones((side, side), dtype=np.uint8)))
    local = np.floor(centers - np.array(frame.origin_px)).astype(int)
    value = darkest[local[:, 1], local[:, 0]].astype(np.float64)
    return centers[-np.log((value + 1) / 256) >= proposer.min_darkness]


def _sieve(detector: Detector, frame: Frame, centers: NDArray[np.float64], compute: Compute) -> Scored:
    """Each stage sees only what the last one left."""
    scores = np.zeros((len(centers), 0))
    for number, (stage, networks) in enumerate(zip(detector.config.stages, detector.networks, strict=True), start=1):
        score = score_places(stage, networks, frame, centers, compute)
        last = number == len(detector.config.stages)
        passed = score >= (detector.config.floor if last else stage.threshold)
        centers = centers[passed]
        scores = np.concatenate([scores[passed], score[passed, None]], axis=1)
    return Scored(center_px=centers, score=scores)


def score_places(
    stage: Stage,
    networks: tuple[nn.Module, ...],
    frame: Frame,
    centers: NDArray[np.float64],
    compute: Compute,
) -> NDArray[np.float64]:
    """Score of one stage at places of a frame, (N,): the sigmoid of the networks' mean logit."""

    def batches() -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(centers), BATCH):
            yield two_views(cut_patches(frame, centers[start : start + BATCH], patch_px=stage.patch_px))

    if len(networks) == 1:
        return predict(networks[0], batches(), compute).astype(np.float64)
    found = [predict(network, batches(), compute).astype(np.float64) for network in networks]
    logit = np.mean([np.log(np.clip(p, 1e-9, 1)) - np.log(np.clip(1 - p, 1e-9, 1)) for p in found], axis=0)
    return torch.sigmoid(torch.from_numpy(logit)).numpy()
