"""Sieve: CHS-NET's cascade and false positives, the regimes of fine-grained mining, batches that do not tell a source,
and an ensemble over patients whose members judge what they have not seen. Ours.

Reads in the order of the work: places; of each stage its networks and, for the next, their false positives; the gates,
out-of-fold detections, operating points. Nothing is chosen by a score on a patient that had a part in it, and the
fold's test cases are not touched.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.split import Fold
from mitosieve.errors import plural, some
from mitosieve.method.sieve.choice import Gate, choose, report
from mitosieve.method.sieve.out_of_fold import detect_out_of_fold, scale_of, tissue_mm2, whole_slides
from mitosieve.method.sieve.recipe import SieveRecipe
from mitosieve.method.sieve.task import (
    WHOLE,
    NetworkTask,
    crops_of,
    frame_store,
    gather,
    part_of_rows,
    parts_of_cases,
    pool_of,
    scores_file,
    train_network,
    train_quietly,
)
from mitosieve.run import layout
from mitosieve.sieve.budget import gate_for
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.train import Job, Places, PoolScores, keep


def run_sieve(recipe: SieveRecipe, job: Job) -> Detector:
    """Train the detector on the fold's training cases; every part leaves a file and is skipped where it is there.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    learned = learned_fold(recipe, job.fold)
    if job.fold.validation and learned.train != job.fold.train:
        job.note(
            f"the {plural(len(job.fold.validation), 'validation case')} of the fold, {some(job.fold.validation)}, are "
            "learned from too (thresholds come out of fold): a score on them is no test"
        )
    job = replace(job, fold=learned)
    with job.timed("places"):
        gather(recipe, job)
    networks: dict[str, list[nn.Module]] = {}
    for stage in recipe.stages:
        last = stage == recipe.names[-1]
        with job.timed(f"{stage} networks"):
            networks[stage] = train_all(recipe, job, stage, (() if last else (WHOLE,)) + tuple(range(recipe.parts)))
        if not last:
            with job.timed(f"{stage} scores out of fold"):
                score_out_of_fold(recipe, job, stage, networks[stage][1:])
    with job.timed("out-of-fold detections"):
        return assemble(recipe, job, networks)


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


def score_out_of_fold(recipe: SieveRecipe, job: Job, stage: str, apart: list[nn.Module]) -> None:
    """Score every place by the network of a stage that has not seen its patient."""
    path = job.file(scores_file(stage))
    if path.exists():
        return
    pool = pool_of(recipe, job, stage)
    part = part_of_rows(recipe, job.cohort, pool.places)
    score = np.zeros(len(pool.index), dtype=np.float32)
    for number, network in enumerate(apart):
        rows = np.flatnonzero(part == number)
        score[rows] = pool.score(network, rows, job.compute, job.progress)
    path.parent.mkdir(exist_ok=True)
    PoolScores(patch_id=pool.index.patch_id, score=score).save(path)


def assemble(recipe: SieveRecipe, job: Job, networks: dict[str, list[nn.Module]]) -> Detector:
    """Gates from what each stage can afford, operating points from detections out of fold, all networks together."""
    first = recipe.names[0]
    places = pool_of(recipe, job, first).places
    slides = whole_slides(job.cohort, job.fold.train, set(crops_of(recipe, job.cohort)))
    on_slides = np.isin(places.index.slide_id, [entry.slide_id for entry in slides.slides])
    gates = open_gates(recipe, job, places, on_slides, tissue_mm2(slides, recipe.proposer.tissue))
    target = frame_store(recipe, job, first).load_target()
    stain_target = None if target is None else target.to_json()
    config = detector_config(recipe, {name: gate.threshold for name, gate in gates.items()})
    config = config.model_copy(update={"stain_target": stain_target})
    apart = [networks[stage][-recipe.parts :] for stage in recipe.stages]
    members = [Detector(config=config, networks=tuple((each,) for each in one)) for one in zip(*apart, strict=True)]
    found, counts = detect_out_of_fold(job, slides, members, parts_of_cases(recipe, job.cohort, places))
    chosen = choose(recipe, job, slides, found)
    strong = tuple(networks[recipe.names[-1]])
    whole = Detector(config=config, networks=(*((networks[name][0],) for name in recipe.names[:-1]), strong))
    scale = scale_of(job, whole, members)
    report(job, gates, places.index.label[on_slides] == 1, chosen.points, asdict(scale))
    ready = whole.with_scale(scale.slope, scale.offset).with_points(chosen.points, chosen.calibration)
    return keep(job, layout.DETECTOR, ready, counts, scores_of="training slides out of fold")


def open_gates(
    recipe: SieveRecipe, job: Job, places: Places, on_slides: NDArray[np.bool_], area_mm2: float
) -> dict[str, Gate]:
    """The gate behind each stage but the last, from scores of networks that have not seen the patient.

    Args:
        recipe: of the run.
        job: of the run.
        places: all that were named.
        on_slides: (N,) which of them lie on whole slides.
        area_mm2: of these slides' tissue, within their ROIs.
    """
    gates: dict[str, Gate] = {}
    passing = np.ones(int(on_slides.sum()), dtype=np.bool_)
    for stage, after in pairwise(recipe.names):
        score = PoolScores.load(job.file(scores_file(stage)), places.index.patch_id).score[on_slides]
        threshold = gate_for(score[passing], area_mm2, recipe.affordable(after))
        passing = passing & (score >= threshold)
        gates[stage] = Gate(threshold=threshold, passing=passing)
    return gates


def detector_config(recipe: SieveRecipe, gates: Mapping[str, float] | None = None) -> DetectorConfig:
    """Proposer and stages; the operating threshold is still to be chosen, and so are gates where none are given.

    Raises:
        ValidationError: there is no such detector.
    """
    stages = tuple(
        Stage(
            name=name,
            network=stage.network,
            per_mm2=stage.per_mm2,
            carry=stage.carry,
            turns=stage.turns,
            turn_above=stage.turn_above,
            looks=stage.looks,
            threshold=(gates or {}).get(name, 0.5),
            **stage.view.model_dump(),
        )
        for name, stage in recipe.stages.items()
    )
    return DetectorConfig(
        made_by="mitosieve recipe sieve",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=stages,
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
    )
