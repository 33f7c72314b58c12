"""One network trained on the negatives that one regime keeps, and judged on validation proposals.

A trial depends on its task and the run's files alone, so trials run one after another, side by side, or on many
machines, and a finished one is never done again.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections, suppress
from mitosieve.geometry import rescale_points
from mitosieve.method.finegrained.regime import Candidates, Regime, Trial, select
from mitosieve.network.loss import LossConfig
from mitosieve.network.registry import build_network, load_weights
from mitosieve.network.rototranslation import RotoTranslationConfig
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin
from mitosieve.patch.reader import PatchReader
from mitosieve.patch.view import View
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.run.seed import derive_generator
from mitosieve.score.evaluation import choose_threshold
from mitosieve.sieve.cascade import Scored, merge
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig
from mitosieve.train.pool import PatchPool, average_precision
from mitosieve.train.proposals import Places
from mitosieve.train.stage import StageTask, train_stage

CURVE_ROWS = 1500
"""Validation background that the curves along a training are drawn from, beside all figures."""

CROP_SIDES = 3
"""A slide with a side of less than this many patches is a crop: patches must lie wholly inside, or padding tells."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all trials of a run share; small and picklable, the pixels and places are files of the run.

    Attributes:
        frame: resolution and stain.
        margin_px: of the rendered frames.
        loss, augment: of the training.
        peak_um: radius within which only the highest score is a peak.
        crop_share: of the figures, and of the negatives, of a batch that come from crops where there are crops.
        merge_um, keep_above: of the detector to be.
        seed: of the run.
    """

    frame: FrameConfig
    margin_px: int
    loss: LossConfig
    augment: AugmentConfig | DistortionConfig
    peak_um: float
    crop_share: float
    merge_um: float
    keep_above: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """One trial.

    Attributes:
        job: of the run; its progress is not carried along.
        material: of the run.
        folder: of the trial, relative to the run.
        network: its shape.
        train: its length and rates.
        regime: which negatives.
        scores: file of the pool's scores (a ledger), relative to the run; None where nothing is scored yet, and the
            regime must then keep all or choose at random.
        seed: number of the training: equal numbers start from equal weights.
        without: (part, of how many) whose slides it must not learn from; None learns from all.
    """

    job: Job
    material: Material
    folder: str
    network: RotoTranslationConfig
    train: TrainConfig
    regime: Regime
    scores: str | None
    seed: int
    without: tuple[int, int] | None = None

    @property
    def place(self) -> Path:
        return self.job.file(self.folder)

    @property
    def weights(self) -> Path:
        return self.place / "networks" / "network.safetensors"

    @property
    def is_done(self) -> bool:
        return (self.place / "result.json").exists()

    def result(self) -> Trial:
        """What a finished trial found."""
        return Trial.from_json(json.loads((self.place / "result.json").read_text()))

    def load(self) -> nn.Module:
        """Its trained network."""
        return load_weights(build_network(self.network), self.weights)


def run_trial(task: TrialTask) -> Trial:
    """Train and judge, or take what an earlier try has found; a killed training goes on from its checkpoint.

    Raises:
        TrainingError: there is nothing to learn from, or a loss is not finite.
    """
    if task.is_done:
        return task.result()
    train, validation = pool_of(task, "train"), pool_of(task, "validation")
    rows = rows_of(task, train)
    inner = replace(task.job, run=RunFolder(task.place), progress=task.job.progress)
    network = train_stage(_stage_task(task, rows, train, validation), inner)
    score = validation.pool.score(network, np.arange(len(validation.places)), task.job.compute)
    chosen = choose_threshold(
        detections_of(task, validation.places, score), task.job.cohort, cases=task.job.fold.validation
    )
    counts = rows.used[train.seen(task)]
    known = validation.places.index.origin != Origin.NEAR.value
    trial = Trial(
        regime=task.regime,
        seed=task.seed,
        patches=int(counts.sum()),
        used_fraction=float(counts.sum() / len(counts)),
        f1=chosen.f1,
        threshold=chosen.threshold,
        average_precision=average_precision(validation.places.index.label[known], score[known]),
    )
    write_json(task.place / "result.json", trial.to_json())
    return trial


@dataclass(frozen=True, kw_only=True)
class TrialPool:
    """Places of a part of the fold and how a network sees them.

    Attributes:
        places: all of them.
        pool: their pixels.
        part: (N,) inner part of each row for a number of parts, by that number.
    """

    places: Places
    pool: PatchPool
    cohort: Cohort

    def seen(self, task: TrialTask) -> NDArray[np.bool_]:
        """Rows of slides that a trial may learn from, (N,)."""
        if task.without is None:
            return np.ones(len(self.places), dtype=bool)
        part, parts = task.without
        return inner_parts(self.places, self.cohort, parts, task.material.seed) != part


def pool_of(task: TrialTask, part: str) -> TrialPool:
    """The places of "train" or "validation" from the run's files."""
    places = _load_places(task.job.file(f"places/{part}.npz"))
    store = FrameStore(task.job.file("frames"), task.material.frame, margin_px=task.material.margin_px)
    mpp_l0 = {entry.slide_id: entry.mpp for entry in task.job.cohort.slides}
    side = task.network.input_px
    rooms = crop_rooms(task.job.cohort, task.material.frame.mpp, side)
    reader = PatchReader(places.index, store, mpp_l0, patch_px=side, rooms=rooms)
    pool = PatchPool(index=places.index, reader=reader, view=View(views="one", patch_px=side))
    return TrialPool(places=places, pool=pool, cohort=task.job.cohort)


@lru_cache(maxsize=4)
def _load_places(path: Path) -> Places:
    return Places.load(path)


def crop_rooms(cohort: Cohort, mpp: float, patch_px: int) -> dict[str, tuple[float, float, float, float]]:
    """Where patches of crops must stay: the lattice at `mpp` of slides with a side of less than CROP_SIDES patches."""
    rooms: dict[str, tuple[float, float, float, float]] = {}
    for entry in cohort.slides:
        width, height = (side * entry.mpp / mpp for side in (entry.width_l0, entry.height_l0))
        if 0 < min(width, height) < CROP_SIDES * patch_px:
            rooms[entry.slide_id] = (-0.5, -0.5, width - 0.5, height - 0.5)
    return rooms


def inner_parts(places: Places, cohort: Cohort, parts: int, seed: int) -> NDArray[np.int64]:
    """Inner part of each row, (N,): cases dealt round, or slides where there are fewer labelled cases than parts.

    Unlabelled rows are in no part (-1): every network may learn from them.
    """
    slides = places.index.slide_id
    case = {entry.slide_id: entry.case_id for entry in cohort.slides}
    group = np.array([case[str(slide_id)] for slide_id in slides])
    labelled = places.index.origin != Origin.UNLABELLED.value
    if len(np.unique(group[labelled])) < parts:
        group = slides
    names = derive_generator(seed, "inner parts").permutation(np.unique(group[labelled]))
    number = {name: i % parts for i, name in enumerate(names)}
    return np.array(
        [number[name] if known else -1 for name, known in zip(group, labelled, strict=True)], dtype=np.int64
    )


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a trial learns from.

    Attributes:
        figures: rows of the pool.
        negatives: rows that negatives are drawn from; imposters stand as often as they weigh.
        used: (N,) bool, rows that can be drawn at all.
    """

    figures: NDArray[np.intp]
    negatives: NDArray[np.intp]
    used: NDArray[np.bool_]


def rows_of(task: TrialTask, train: TrialPool) -> Rows:
    """Figures, imposters and the chosen negatives of the slides that the trial may learn from."""
    index, seen = train.places.index, train.seen(task)
    of = {origin: np.flatnonzero((index.origin == origin.value) & seen) for origin in Origin}
    rows = np.sort(np.concatenate([of[Origin.BACKGROUND], of[Origin.UNLABELLED]]))
    candidates = candidates_of(task, train, rows)
    generator = derive_generator(task.material.seed, "random negatives", task.seed)
    chosen = rows[select(task.regime, candidates, generator)]
    negatives = np.concatenate([*[of[Origin.IMPOSTER]] * task.regime.imposter_weight, chosen])
    used = np.zeros(len(index), dtype=bool)
    used[of[Origin.FIGURE]] = used[negatives] = True
    return Rows(figures=of[Origin.FIGURE], negatives=negatives, used=used)


def candidates_of(task: TrialTask, train: TrialPool, rows: NDArray[np.intp]) -> Candidates:
    """The pool's candidates with their scores; without scores none is harder than another."""
    index = train.places.index
    score = np.zeros(len(index))
    if task.scores is not None:
        score = Ledger.load(task.job.file(task.scores)).score_mined.astype(np.float64)
    mpp = {entry.slide_id: entry.mpp for entry in task.job.cohort.slides}
    return Candidates(
        is_unlabelled=index.origin[rows] == Origin.UNLABELLED.value,
        score=score[rows],
        is_peak=peaks(train.places, rows, score, mpp, task.material.peak_um),
    )


def peaks(
    places: Places, rows: NDArray[np.intp], score: NDArray[np.floating], mpp: dict[str, float], radius_um: float
) -> NDArray[np.bool_]:
    """Which rows no row of higher score of their slide stands in for, within `radius_um`; equal scores: the first."""
    found = np.zeros(len(rows), dtype=bool)
    names = places.index.slide_id[rows]
    for name in np.unique(names):
        mine = np.flatnonzero(names == name)
        center_um = places.index.center_l0[rows[mine]] * mpp[str(name)]
        owner = suppress(center_um, score[rows[mine]], radius_um=radius_um)
        found[mine] = owner == np.arange(len(mine))
    return found


def _stage_task(task: TrialTask, rows: Rows, train: TrialPool, validation: TrialPool) -> StageTask:
    pools, ratio = _by_source(task, rows, train)
    generator = derive_generator(task.material.seed, "curve rows")
    background = generator.permutation(validation.pool.background)[:CURVE_ROWS]
    return StageTask(
        name="network",
        network=task.network,
        config=task.train,
        loss=task.material.loss,
        augment=task.material.augment,
        pool=train.pool,
        rows=pools,
        ratio=ratio,
        validation=validation.pool,
        validation_rows=np.sort(np.concatenate([validation.pool.figures, background])),
        ledger=Ledger.of(train.places.index.patch_id),
        seed=int(derive_generator(task.material.seed, "trial", task.seed).integers(2**31)),
    )


def _by_source(task: TrialTask, rows: Rows, train: TrialPool) -> tuple[dict[str, NDArray[np.intp]], dict[str, float]]:
    """Rows by kind with the share of each in a batch: half figures; crops have one share of both classes.

    Otherwise a network could tell by the source (its compression, its scanner) what class is likely. Where either class
    has no crop, or nothing but crops, sources are not told apart.
    """
    of_crop = np.isin(train.places.index.slide_id, list(train.pool.reader.rooms))
    kinds = {"figures": rows.figures, "negatives": rows.negatives}
    if any(len(np.unique(of_crop[own])) < 2 for own in kinds.values()) or not 0 < task.material.crop_share < 1:
        return kinds, dict.fromkeys(kinds, 1.0)
    pools: dict[str, NDArray[np.intp]] = {}
    ratio: dict[str, float] = {}
    for name, own in kinds.items():
        for suffix, mine, share in (
            ("", ~of_crop[own], 1 - task.material.crop_share),
            (" of crops", of_crop[own], task.material.crop_share),
        ):
            pools[name + suffix], ratio[name + suffix] = own[mine], share
    return pools, ratio


def detections_of(task: TrialTask, places: Places, score: NDArray[np.floating]) -> Detections:
    """What a detector of this one network would find on proposals that it scored, without reading a slide again."""
    frame, names = task.material.frame, places.index.slide_id
    mpp = {entry.slide_id: entry.mpp for entry in task.job.cohort.slides}
    stage = Stage(name="network", network=task.network, views="one", patch_px=task.network.input_px)
    config = DetectorConfig(
        frame=frame, stages=(stage,), merge_um=task.material.merge_um, keep_above=task.material.keep_above
    )
    parts = [Detections.empty(("network",))]
    for name in np.unique(names):
        mine = (names == name) & (score >= config.floor)
        center_px = rescale_points(places.settled_l0[mine], mpp_from=mpp[str(name)], mpp_to=frame.mpp)
        scored = Scored(center_px=center_px, score=score[mine, None].astype(np.float64))
        place_px, stage_score = merge(scored, Detector(config=config, networks=()))
        parts.append(
            Detections.of(
                slide_id=[str(name)] * len(place_px),
                center_l0=rescale_points(place_px, mpp_from=frame.mpp, mpp_to=mpp[str(name)]),
                score=stage_score[:, -1],
                threshold=config.threshold,
                stage_names=("network",),
                stage_score=stage_score,
            )
        )
    return Detections.concatenate(parts)
