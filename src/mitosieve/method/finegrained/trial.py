"""One network trained on the negatives that one regime keeps, and judged on validation proposals.

A trial depends on its task and the run's files alone, so trials run one after another, side by side, or on many
machines, and a finished one is never done again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mitosieve.detection import Detections, suppress
from mitosieve.geometry import Mpp, rescale_points, xy
from mitosieve.method.finegrained.regime import Candidates, Trial, select
from mitosieve.method.finegrained.task import NETWORK, TrialTask, pool_of, seen_by
from mitosieve.network.rototranslation import RotoTranslationNet
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.cascade import Scored, merge
from mitosieve.sieve.config import DetectorConfig
from mitosieve.train import (
    Lesson,
    PatchPool,
    Places,
    Pools,
    PoolScores,
    average_precision,
    classification,
    curve_rows,
    fresh,
    learn,
    operating_threshold,
)


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
    network = learn(_lesson(task, rows, train, validation), inner)
    score = validation.score(network, np.arange(len(validation.places)), task.job.compute)
    found = detections_of(task, validation.places, score)
    chosen = operating_threshold(found, task.job.cohort, task.job.fold.validation)
    patches, used_fraction = used_of(task, rows, train.places)
    known = validation.index.origin != Origin.NEAR.value
    trial = Trial(
        regime=task.regime,
        seed=task.seed,
        patches=patches,
        used_fraction=used_fraction,
        f1=float(np.nan_to_num(chosen.f1)),  # nothing was found: of the figures that there are, none
        threshold=chosen.threshold,
        average_precision=average_precision(validation.index.label[known], score[known]),
    )
    write_json(task.place / layout.TRIAL_RESULT, trial.to_json())
    return trial


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


def rows_of(task: TrialTask, train: PatchPool) -> Rows:
    """Figures, imposters and the chosen negatives of the slides that the trial may learn from."""
    index, seen = train.index, seen_by(task, train.places)
    by_origin = {origin: np.flatnonzero((index.origin == origin.value) & seen) for origin in Origin}
    rows = np.sort(np.concatenate([by_origin[Origin.BACKGROUND], by_origin[Origin.UNLABELLED]]))
    candidates = candidates_of(task, train.places, rows)
    generator = derive_generator(task.recipe.seed, "random negatives", task.seed)
    chosen = rows[select(task.regime, candidates, generator)]
    negatives = np.concatenate([*[by_origin[Origin.IMPOSTER]] * task.regime.imposter_weight, chosen])
    used = np.zeros(len(index), dtype=bool)
    used[by_origin[Origin.FIGURE]] = used[negatives] = True
    return Rows(figures=by_origin[Origin.FIGURE], negatives=negatives, used=used)


def used_of(task: TrialTask, rows: Rows, places: Places) -> tuple[int, float]:
    """How many patches a trial can draw, and which share that is of all that it may: figures, imposters and candidates,
    as a run's partition counts them; what lies near a figure is none of them.
    """
    wanted = seen_by(task, places) & (places.index.origin != Origin.NEAR.value)
    used = int(rows.used[wanted].sum())
    return used, float(used / wanted.sum())


def candidates_of(task: TrialTask, places: Places, rows: NDArray[np.intp]) -> Candidates:
    """The pool's candidates with their scores; without scores none is harder than another."""
    index = places.index
    score = np.zeros(len(index))
    if task.scores is not None:
        score = PoolScores.load(task.job.file(task.scores), index.patch_id).score.astype(np.float64)
    mpp = task.job.cohort.mpp_of
    return Candidates(
        is_unlabelled=index.origin[rows] == Origin.UNLABELLED.value,
        score=score[rows],
        is_peak=peaks(places, rows, score, mpp, task.recipe.peak_um),
    )


def peaks(
    places: Places, rows: NDArray[np.intp], score: NDArray[np.floating], mpp: Mapping[str, Mpp], radius_um: float
) -> NDArray[np.bool_]:
    """Which rows no row of higher score of their slide stands in for, within `radius_um`; equal scores: the first."""
    found = np.zeros(len(rows), dtype=bool)
    names = places.index.slide_id[rows]
    for name in np.unique(names):
        of_slide = np.flatnonzero(names == name)
        center_um = places.index.center_l0[rows[of_slide]] * np.array(xy(mpp[str(name)]))
        owner = suppress(center_um, score[rows[of_slide]], radius_um=radius_um)
        found[of_slide] = owner == np.arange(len(of_slide))
    return found


def _lesson(task: TrialTask, rows: Rows, train: PatchPool, validation: PatchPool) -> Lesson[RotoTranslationNet]:
    recipe = task.recipe
    kinds, ratio = _by_source(task, rows, train)
    curve = curve_rows(validation.places, validation.figures, background=recipe.curve_background, seed=recipe.seed)
    seed = int(derive_generator(recipe.seed, "trial", task.seed).integers(2**31))
    return classification(
        NETWORK,
        fresh(lambda: RotoTranslationNet(task.network), seed, NETWORK),
        Pools(train=train, validation=validation, curve_rows=curve),
        kinds,
        ratio=ratio,
        schedule=task.schedule,
        loss=recipe.loss,
        augment=recipe.augment,
        job=task.job,
        seed=seed,
    )


def _by_source(task: TrialTask, rows: Rows, train: PatchPool) -> tuple[dict[str, NDArray[np.intp]], dict[str, float]]:
    """Rows by kind with the share of each in a batch: half figures; crops have one share of both classes.

    Otherwise a network could tell by the source (its compression, its scanner) what class is likely. Where either class
    has no crop, or nothing but crops, sources are not told apart. A share of 0 is of whole slides alone, of 1 of crops,
    where these have both classes.
    """
    of_crop = np.isin(train.index.slide_id, list(train.reader.rooms))
    kinds = {"figures": rows.figures, "negatives": rows.negatives}
    share = task.recipe.crop_share
    alone = {name: kind[of_crop[kind] == bool(share)] for name, kind in kinds.items()}
    if share in (0, 1) and all(map(len, alone.values())):
        return alone, dict.fromkeys(kinds, 1.0)
    if any(len(np.unique(of_crop[kind])) < 2 for kind in kinds.values()):
        return kinds, dict.fromkeys(kinds, 1.0)
    pools: dict[str, NDArray[np.intp]] = {}
    ratio: dict[str, float] = {}
    for name, kind in kinds.items():
        pools[name], ratio[name] = kind[~of_crop[kind]], 1 - share
        pools[f"{name} of crops"], ratio[f"{name} of crops"] = kind[of_crop[kind]], share
    return pools, ratio


def detections_of(task: TrialTask, places: Places, score: NDArray[np.floating]) -> Detections:
    """What a detector of this one network would find on proposals that it scored, without reading a slide again."""
    frame, names = task.recipe.frame, places.index.slide_id
    mpp = task.job.cohort.mpp_of
    config = DetectorConfig(
        frame=frame, stages=(task.stage,), merge_um=task.recipe.merge_um, keep_above=task.recipe.keep_above
    )
    parts = [Detections.empty((NETWORK,))]
    for name in np.unique(names):
        kept = (names == name) & (score >= config.floor)
        center_px = rescale_points(places.settled_l0[kept], mpp_from=mpp[str(name)], mpp_to=frame.mpp)
        scored = Scored(center_px=center_px, score=score[kept, None].astype(np.float64))
        place_px, stage_score = merge(scored, config)
        parts.append(
            Detections.of(
                slide_id=[str(name)] * len(place_px),
                center_l0=rescale_points(place_px, mpp_from=frame.mpp, mpp_to=mpp[str(name)]),
                score=stage_score[:, -1],
                threshold=config.threshold,
                stage_names=(NETWORK,),
                stage_score=stage_score,
            )
        )
    return Detections.concatenate(parts)
