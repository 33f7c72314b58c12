"""Sieve: CHS-NET's cascade and false positives, the regimes of fine-grained mining, batches that do not tell a source,
and an ensemble over patients whose members judge what they have not seen. Ours.

Reads in the order of the work: places, screening networks, false positives, strong networks, the gate, out-of-fold
detections, operating points. Nothing is chosen by a score on a patient that had a part in it, and the fold's test cases
are not touched.
"""

from dataclasses import replace

import numpy as np
from torch import nn

from mitosieve.cohort.split import Fold
from mitosieve.method.sieve.choice import choose, gate_for, report
from mitosieve.method.sieve.out_of_fold import detect_out_of_fold, whole_slides
from mitosieve.method.sieve.recipe import STRONG, SieveRecipe
from mitosieve.method.sieve.task import (
    WHOLE,
    NetworkTask,
    crops_of,
    frame_store,
    gather,
    part_of_rows,
    parts_of_cases,
    pool_of,
    train_network,
    train_quietly,
)
from mitosieve.run import layout
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.train import Job, PoolScores, keep


def run_sieve(recipe: SieveRecipe, job: Job) -> Detector:
    """Train the detector on the fold's training cases; every part leaves a file and is skipped where it is there.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    job = replace(job, fold=learned_fold(recipe, job.fold))
    with job.timed("places"):
        gather(recipe, job)
    with job.timed("screening networks"):
        screening = train_all(recipe, job, layout.SCREENING, (WHOLE, *range(recipe.parts)))
    with job.timed("false positives"):
        score_out_of_fold(recipe, job, screening[1:])
    with job.timed("strong networks"):
        strong = train_all(recipe, job, STRONG, tuple(range(recipe.parts)))
    with job.timed("out-of-fold detections"):
        return assemble(recipe, job, screening, strong)


def learned_fold(recipe: SieveRecipe, fold: Fold) -> Fold:
    """The fold as it is learned from: thresholds need no validation case, so these teach too."""
    more = fold.validation if recipe.validation == "learned" else ()
    return Fold(train=tuple(sorted((*fold.train, *more))), validation=(), test=fold.test)


def train_all(recipe: SieveRecipe, job: Job, stage: str, without: tuple[int, ...]) -> list[nn.Module]:
    """Networks of a stage, one for each part that is left out; side by side where the job has somewhere to do so."""
    tasks = [NetworkTask(job=job, recipe=recipe, stage=stage, without=number) for number in without]
    if job.mapper is not None:
        quiet = replace(job, progress=None, mapper=None)
        job.each(train_quietly, [replace(task, job=quiet) for task in tasks], f"{stage} networks")
    return [train_network(task) for task in tasks]


def score_out_of_fold(recipe: SieveRecipe, job: Job, apart: list[nn.Module]) -> None:
    """Score every place by the screening network that has not seen its patient."""
    path = job.file(layout.MINING_SCORES)
    if path.exists():
        return
    pool = pool_of(recipe, job, layout.SCREENING)
    part = part_of_rows(recipe, job, pool.places)
    score = np.zeros(len(pool.index), dtype=np.float32)
    for number, network in enumerate(apart):
        rows = np.flatnonzero(part == number)
        score[rows] = pool.score(network, rows, job.compute, job.progress)
    PoolScores(patch_id=pool.index.patch_id, score=score).save(path)


def assemble(recipe: SieveRecipe, job: Job, screening: list[nn.Module], strong: list[nn.Module]) -> Detector:
    """The gate from the budget, operating points from detections out of fold, all networks as one detector."""
    pool = pool_of(recipe, job, layout.SCREENING)
    slides = whole_slides(job.cohort, job.fold.train, set(crops_of(recipe, job.cohort)))
    on_slides = np.isin(pool.index.slide_id, [entry.slide_id for entry in slides.slides])
    score = PoolScores.load(job.file(layout.MINING_SCORES), pool.index.patch_id).score[on_slides]
    area_mm2 = float(np.nansum([entry.area_mm2 for entry in slides.slides]))
    gate = gate_for(score, area_mm2, recipe.gate_per_mm2)
    config = detector_config(recipe, job, gate)
    members = [
        Detector(config=config, networks=((first,), (second,)))
        for first, second in zip(screening[1:], strong, strict=True)
    ]
    part_of_case = parts_of_cases(recipe, job, pool.places)
    found, counts = detect_out_of_fold(job, slides, members, part_of_case)
    chosen = choose(recipe, job, slides, found)
    is_figure = pool.index.label[on_slides] == 1
    report(job, gate=gate, kept=score >= gate, is_figure=is_figure, points=chosen.points)
    whole = Detector(config=config, networks=((screening[0],), tuple(strong)))
    ready = whole.with_points(chosen.points, chosen.calibration)
    return keep(job, layout.DETECTOR, ready, counts, scores_of="training slides out of fold")


def detector_config(recipe: SieveRecipe, job: Job, gate: float) -> DetectorConfig:
    """Proposer and stages; the operating threshold is still to be chosen."""
    stages = tuple(
        Stage(
            name=name,
            network=stage.network,
            turns=stage.turns,
            turn_above=stage.turn_above,
            threshold=gate if name == layout.SCREENING else 0.5,
            **stage.view.model_dump(),
        )
        for name, stage in recipe.stages.items()
    )
    target = frame_store(recipe, job, layout.SCREENING).load_target()
    return DetectorConfig(
        made_by="mitosieve recipe sieve",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=stages,
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
        stain_target=None if target is None else target.to_json(),
    )
