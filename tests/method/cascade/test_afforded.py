"""What a budget costs: by brute force, and in the run of a recipe that has one; without one nothing is different."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mitosieve import Detector
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Fold
from mitosieve.method.cascade.afforded import measure_budget
from mitosieve.method.cascade.swift import SwiftRecipe
from mitosieve.network.compute import Compute
from mitosieve.network.config import SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder
from mitosieve.sieve.cascade import sieve_slide
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train import Job
from tiny import a_cohort

NETWORK = SwiftConfig(input_px=32, widths=(8, 16), depths=(1, 1), head=16, stem=8)
RADIUS_UM = 7.5


def a_detector(per_mm2, threshold):
    torch.manual_seed(0)
    first = Stage(name="screening", network=NETWORK, views="one", patch_px=32, threshold=threshold)
    stages = (first, first.model_copy(update={"name": "refined", "per_mm2": per_mm2}))
    networks = tuple((build_network(NETWORK).eval(),) for _ in stages)
    return Detector(config=DetectorConfig(proposer=NucleiProposer(), stages=stages), networks=networks)


def a_job(folder):
    cohort = Cohort.load(a_cohort())
    cases = tuple(sorted(cohort.cases))
    fold = Fold(train=cases[:1], validation=cases[1:2], test=())
    run = RunFolder.create(folder, {}, kind=layout.Kind.TRAIN, resume=False)
    return Job(cohort=cohort, fold=fold, run=run, compute=Compute.choose("cpu"))


@pytest.mark.parametrize("per_mm2", [20.0, 150.0, 1e5])
def test_recall_within_a_budget_is_that_of_the_strongest_places(tmp_path, per_mm2):
    """Of all places of the first stage, as many of the strongest as the budget has room for on all their tissue."""
    job = a_job(tmp_path / "run")
    detector = a_detector(per_mm2, threshold=0.0)
    told = measure_budget(job, detector, RADIUS_UM, tmp_path / "budget.json")
    alone = detector.config.stages[0].model_copy(update={"threshold": 0.0})
    bare = {"stages": (alone,), "merge_um": 0.0, "suppress_um": 0.0, "keep_above": 0.0}
    single = Detector(config=detector.config.model_copy(update=bare), networks=detector.networks[:1])
    places, score, marks, area = [], [], [], 0.0
    for number, entry in enumerate(job.cohort.of_cases(job.fold.validation).slides):
        with job.cohort.open(entry.slide_id) as slide:
            sieved = sieve_slide(single, slide, compute=job.compute, roi=entry.roi)
        area += sieved.survey.tissue.area_mm2
        shift = np.array([1e6 * number, 0.0])
        places.append(sieved.found.center_l0 * entry.mpp + shift)
        score.append(sieved.found.score)
        own = job.cohort.annotations.of_slide(entry.slide_id)
        figures = own[np.array([label == "mitotic figure" for label in own.label], dtype=bool)]
        marks.append(figures.center_l0 * entry.mpp + shift)
    places, score, marks = np.concatenate(places), np.concatenate(score), np.concatenate(marks)
    kept = places[np.argsort(-score)[: int(per_mm2 * area)]]
    near = np.linalg.norm(marks[:, None] - kept[None], axis=2) <= RADIUS_UM
    assert told.figures == len(marks) > 0
    assert told.recall_within == pytest.approx(near.any(axis=1).mean())
    assert told.lost == pytest.approx(told.recall - told.recall_within)
    assert json.loads((tmp_path / "budget.json").read_text())["lost"] == told.lost


def test_a_budget_lets_its_places_through_whatever_the_threshold(tmp_path):
    """As on a large slide: with room for all, figures that the threshold drops are kept, and none is lost."""
    told = measure_budget(a_job(tmp_path / "run"), a_detector(1e5, threshold=0.99), RADIUS_UM, tmp_path / "budget.json")
    assert told.gate == 0 < told.threshold
    assert told.recall_within > told.recall
    assert told.lost < 0


def test_an_unlabelled_slide_of_a_validation_case_is_not_measured_on(tmp_path):
    """Its figures are not known: told is what is told without it."""
    job, detector = a_job(tmp_path / "run"), a_detector(60.0, threshold=0.1)
    entry = job.cohort.of_cases(job.fold.validation).slides[0]
    more = replace(entry, slide_id="unlabelled", labelled=False)
    wider = replace(job, cohort=Cohort(job.cohort.folder, (*job.cohort.slides, more), job.cohort.annotations))
    told = [measure_budget(one, detector, RADIUS_UM, tmp_path / "budget.json") for one in (job, wider)]
    assert told[0] == told[1]


def test_without_a_budget_nothing_is_measured(tmp_path):
    assert measure_budget(a_job(tmp_path / "run"), a_detector(None, 0.1), RADIUS_UM, tmp_path / "budget.json") is None
    assert not (tmp_path / "budget.json").exists()


def test_a_recipe_without_a_budget_is_written_as_before():
    """What names a run of a study has no word of budgets; with one it has."""
    assert "refined_per_mm2" not in SwiftRecipe().model_dump(mode="json")
    assert SwiftRecipe(refined_per_mm2=0) == SwiftRecipe()
    assert SwiftRecipe(refined_per_mm2=60).model_dump(mode="json")["refined_per_mm2"] == 60
