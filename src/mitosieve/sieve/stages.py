"""What one stage says of places: patches asked for, scored by its networks, fused; or maxima of its map."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mitosieve.geometry import Region, rescale_points
from mitosieve.network.compute import Compute
from mitosieve.network.config import map_stride_px
from mitosieve.patch.frames import Frame
from mitosieve.run.clock import Clock
from mitosieve.sieve.activation_peak import locate_reach_um
from mitosieve.sieve.detector import Detector, DetectorConfig, Network, Stage
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.score_counts import count_scores, no_scores
from mitosieve.sieve.tile_reader import CHUNK, Cut, Found, Keep, Request


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Places that a stage was given, or found, and what it says of them.

    Attributes:
        center_px: (N, 2) on the slide's lattice at the frame's mpp.
        score: (N, K) of the stage; K is 1, or its networks where they vote.
        counts: how often each score, of the first stage alone.
    """

    center_px: NDArray[np.float64]
    score: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Asks for a stage's scores of images (N, s, s, C); answered by (N, K), K as of `width_of`. Of whom they are does
    not matter: images of many tiles may be judged together.
    """

    stage: int
    images: NDArray[np.uint8]


class Scorer:
    """A detector's networks where they are computed.

    Args:
        detector: any.
        compute: machine.
        clock: gets the seconds of each stage.
    """

    def __init__(self, detector: Detector, compute: Compute, clock: Clock) -> None:
        self.detector = detector
        self.compute = compute
        self.clock = clock

    @property
    def may_gather(self) -> bool:
        """Whether images of several tiles are judged together: not where an image's score hangs on what else is in the
        batch, in its last digits, as torch's does; but on a device that wants full batches.
        """
        return self.compute.engine != "torch" or self.compute.device != "cpu"

    def answers(self, requests: Sequence[Judge]) -> list[NDArray[np.float64]]:
        """Scores of each request, all of one stage, computed together."""
        number = requests[0].stage
        stage = self.detector.config.stages[number]
        with self.clock.part(f"stage {stage.name}"):
            images = requests[0].images if len(requests) == 1 else np.concatenate([one.images for one in requests])
            scores = _columns(stage, self.detector.networks[number], images, self.compute)
        ends = np.cumsum([len(one.images) for one in requests])
        return np.split(scores, ends[:-1])


def plan_of(detector: Detector) -> Plan:
    """What reading needs to know of a detector."""
    config = detector.config
    return Plan(
        frame=config.frame,
        proposer=config.proposer,
        views=tuple(stage.view for stage in config.stages),
        reach_um=_reach_um(config),
        stain_target=detector.stain_target,
        has_budget=any(stage.per_mm2 is not None for stage in config.stages),
    )


def _reach_um(config: DetectorConfig) -> float:
    """How far a detection can lie from a place that it, or what it yields to, came from."""
    last = config.stages[-1]
    moved = config.proposer.settle_um if config.locating is None else locate_reach_um(config)
    voted = last.votes_um if last.fusion == "votes" else 0.0
    return moved + voted + config.merge_um + config.suppress_um


def gates_of(detector: Detector) -> tuple[float, ...]:
    """Score that a place needs to come through each stage; of the last, to be kept at all."""
    stages = detector.config.stages
    return (*(stage.threshold for stage in stages[:-1]), detector.config.floor)


def width_of(detector: Detector, number: int) -> int:
    """Columns of score of a stage."""
    return len(detector.networks[number]) if detector.config.stages[number].fusion == "votes" else 1


def seen_by(
    scorer: Scorer, number: int, core: Region, found: Found, center_px: NDArray[np.float64], gate: float
) -> Generator[Request | Judge, Any, Seen]:
    """A stage's scores of places of a tile; asks for their patches, and for these to be judged.

    Args:
        scorer: of the detector.
        number: of the stage.
        core: the tile.
        found: what it holds; the first stage sees its images, or proposes on its plane.
        center_px: (N, 2) places that came so far.
        gate: below which a dense first stage need not tell.
    """
    detector = scorer.detector
    stage = detector.config.stages[number]
    if number == 0 and found.plane is not None:
        with scorer.clock.part(f"stage {stage.name}"):
            center, score, passes = _dense(detector, found.plane, core, gate, scorer.compute)
        kept = yield Keep(core=core, center_px=center, everywhere=found.everywhere)
        counts, passes = count_scores(score[kept].max(axis=1)), passes & kept
        return Seen(center_px=center[passes], score=score[passes], counts=counts)
    ready = {0: found.images} if number == 0 else {}
    scores: list[NDArray[np.float64]] = []
    for start in range(0, len(center_px), CHUNK):
        images = ready.pop(start, None)
        if images is None:
            images = yield Cut(core=core, stage=number, center_px=center_px[start : start + CHUNK])
        scores.append((yield Judge(stage=number, images=images)))
    columns = np.concatenate([np.zeros((0, width_of(detector, number))), *scores])
    counts = count_scores(columns.max(axis=1)) if number == 0 else no_scores()
    return Seen(center_px=center_px, score=columns, counts=counts)


def _dense(
    detector: Detector, plane: Frame, core: Region, gate: float, compute: Compute
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Maxima over a tile of the first stage's map, the sigmoid of its networks' mean logit, or of each network's map
    where they vote: places that the core owns, at the frame's mpp, their (N, 1) or (N, K) scores, and whether the gate
    lets them pass, (N,). Some may be of glass or ink: the map is of the rectangle round the tissue.
    """
    proposer, networks = detector.config.proposer, detector.networks[0]
    first = detector.config.stages[0]
    stride = map_stride_px(first.network)
    assert stride is not None  # the configuration was checked
    image = plane.pixels[None]
    maps = [compute.engine_of(item, image, dense=True).scores(image)[0] for item in networks]
    if first.fusion == "mean" and len(maps) > 1:
        maps = [expit(np.mean([_logit(item.astype(np.float64)) for item in maps], axis=0))]
    mpp, frame_mpp = plan_of(detector).mpp, detector.config.frame.mpp
    peaks = [proposer.peaks(score, mpp, stride) for score in maps]
    passes = np.any([peak & (score >= gate) for peak, score in zip(peaks, maps, strict=True)], axis=0)
    rows, columns = np.nonzero(np.any(peaks, axis=0))
    center = np.stack([columns, rows], axis=1) * stride + (first.patch_px - 1) / 2 + np.array(plane.origin_px)
    in_core = core.holds(center)
    score = np.stack([item[rows, columns] for item in maps], axis=1).astype(np.float64)
    places = rescale_points(center[in_core], mpp_from=mpp, mpp_to=frame_mpp)
    return places, score[in_core], passes[rows, columns][in_core]


def combined(stage: Stage, own: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N, K) of a stage with what it takes over of the stage before, whose scores (N,) are given, on the
    stage's scale.
    """
    if not stage.changes_score:
        return own
    both = (_logit(own) + stage.carry * _logit(before)[:, None]) / (1 + stage.carry)
    return expit(stage.slope * both + stage.offset)


def _columns(
    stage: Stage, networks: tuple[Network, ...], images: NDArray[np.uint8], compute: Compute
) -> NDArray[np.float64]:
    """The stage's score as a column (N, 1), or where its networks vote, the score of each alone (N, K)."""
    voters = [(network,) for network in networks] if stage.fusion == "votes" else [networks]
    return np.stack([_mean_score(stage, voter, images, compute) for voter in voters], axis=1)


def _mean_score(
    stage: Stage, networks: tuple[Network, ...], images: NDArray[np.uint8], compute: Compute
) -> NDArray[np.float64]:
    if len(images) == 0:
        return np.zeros(0)
    engines = [compute.engine_of(network, images) for network in networks]
    if stage.looks == "one" and len(engines) > 1:
        own = [_turned(images, number % stage.turns) for number in range(len(engines))]
        looks = [_logit(engine.scores(seen).astype(np.float64)) for engine, seen in zip(engines, own, strict=True)]
        return expit(np.mean(looks, axis=0))
    first = [engine.scores(images).astype(np.float64) for engine in engines]
    score = first[0] if len(first) == 1 else expit(np.mean([_logit(item) for item in first], axis=0))
    again = np.flatnonzero(score >= stage.turn_above) if stage.turns > 1 else np.zeros(0, dtype=np.intp)
    if len(again) == 0:
        return score
    logits = [_logit(item[again]) for item in first]
    for turned in _together((_turned(images[again], number) for number in range(1, stage.turns)), len(again)):
        for engine in engines:
            logits += list(_logit(engine.scores(turned).astype(np.float64)).reshape(-1, len(again)))
    score = score.copy()
    score[again] = expit(np.mean(logits, axis=0))
    return score


def _together(orientations: Iterator[NDArray[np.uint8]], images: int) -> Iterator[NDArray[np.uint8]]:
    """As many orientations one after the other as make CHUNK images or fewer: a device is not asked for a few seven
    times. Where there are more images than that, each orientation is a batch.
    """
    while part := list(islice(orientations, max(1, CHUNK // images))):
        yield np.concatenate(part)


def _turned(images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Images (N, s, s, C) in one of eight orientations: as they are, their three quarter turns, and the mirror images
    of these four.
    """
    turned = np.rot90(images, number % 4, axes=(1, 2))
    return np.ascontiguousarray(turned if number < 4 else turned[:, :, ::-1])


def _logit(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.clip(score, 1e-9, 1)) - np.log(np.clip(1 - score, 1e-9, 1))
