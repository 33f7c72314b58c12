"""What the fine-grained search works on: frames and places of a fold's slides, gathered once and kept in the run."""

import json
from typing import Any

import numpy as np

from mitosieve.errors import TrainingError
from mitosieve.method.finegrained.recipe import FineGrainedRecipe
from mitosieve.method.finegrained.task import TrialTask, frame_store, pool_of
from mitosieve.method.finegrained.trial import candidates_of
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.seed import derive_generator
from mitosieve.train import CropRule, Job, Places, ProposalRule, inner_parts, places_of_fold, render_frames


def gather(recipe: FineGrainedRecipe, job: Job) -> list[str]:
    """Render the frames, find the places of train and validation slides, and count them into patches.json.

    Returns:
        What a reader of the run must know, a sentence each.

    Raises:
        CohortError: no figure, or no background, in the training or validation cases.
        TrainingError: too few slides with figures for the inner parts.
    """
    render_frames(job, frame_store(recipe, job), unlabelled=recipe.unlabelled)
    hidden = hidden_slides(recipe, job)
    proposals = ProposalRule(plan=recipe.plan, truth=recipe.truth, settle=True, hidden=hidden)
    rule = CropRule.of(job.cohort, proposals)
    places = places_of_fold(job, rule, unlabelled=recipe.unlabelled)["train"]
    _refuse_few_parts(recipe, job, places)
    return _notes(recipe, job, places, hidden)


def hidden_slides(recipe: FineGrainedRecipe, job: Job) -> frozenset[str]:
    """Labelled training slides whose marks are hidden: ceil(share * slides) of them, drawn with the run's seed."""
    names = sorted(entry.slide_id for entry in job.cohort.of_cases(job.fold.train).slides if entry.labelled)
    count = int(np.ceil(recipe.hidden * len(names) - 1e-9))
    chosen = derive_generator(recipe.seed, "hidden slides").permutation(len(names))[:count]
    return frozenset(names[i] for i in chosen)


def _refuse_few_parts(recipe: FineGrainedRecipe, job: Job, places: Places) -> None:
    """Every part must hold something, and without it there must be figures and background left to learn from."""
    labelled = places.index.origin != Origin.UNLABELLED.value
    for parts in recipe.part_counts:
        part = inner_parts(places.index.slide_id, job.cohort.case_of, parts, recipe.seed, held=labelled)
        for origin in (Origin.FIGURE, Origin.BACKGROUND):
            kind = part[places.with_origin(origin)]
            if any(not (kind != number).any() or not (part == number).any() for number in range(parts)):
                raise TrainingError(
                    f"{parts} parts are too many for the training slides: one is empty, or no {origin.value} is left "
                    "without it",
                    where=job.cohort.folder,
                    remedy="use fewer first.parts and ensemble.members (1 makes no parts), or add training slides",
                )


def _notes(recipe: FineGrainedRecipe, job: Job, places: Places, hidden: frozenset[str]) -> list[str]:
    notes: list[str] = []
    if not len(places.with_origin(Origin.UNLABELLED)):
        why = "" if recipe.unlabelled else " (recipe: unlabelled = false)"
        notes.append(f"no unlabelled slide among the training cases{why}: shares and caps of them are not searched")
    if not len(places.with_origin(Origin.IMPOSTER)):
        notes.append("no imposter is marked on the training slides: their weight is not searched")
    labelled = places.index.origin != Origin.UNLABELLED.value
    case = job.cohort.case_of
    if len({case[str(name)] for name in np.unique(places.index.slide_id[labelled])}) == 1:
        notes.append("one training case: inner parts are slides of one patient, so out-of-fold scores are too sure")
    if hidden:
        notes.append(f"the marks of {len(hidden)} labelled training slides were hidden: they serve as unlabelled")
    return notes


def partition(job: Job) -> dict[str, int]:
    """How many patches of each kind the training cases hold: what a used fraction is a fraction of (our reading)."""
    count: dict[str, int] = json.loads(job.file(layout.PATCHES).read_text())["train"]
    return {
        "figures": count[Origin.FIGURE.value],
        "imposters": count[Origin.IMPOSTER.value],
        "labelled": count[Origin.BACKGROUND.value],
        "unlabelled": count[Origin.UNLABELLED.value],
    }


def cap_report(task: TrialTask, *, hidden: bool) -> dict[str, Any]:
    """What a regime's cap drops of the unlabelled candidates; where marks were hidden, how many of it are figures."""
    train = pool_of(task, "train")
    rows = train.places.with_origin(Origin.UNLABELLED)
    dropped = candidates_of(task, train.places, rows).capped(task.regime.cap)
    figure = train.places.hidden_figure[rows]
    return {
        "dropped": int(dropped.sum()),
        "of": len(rows),
        "hidden_figures": int(figure.sum()) if hidden else None,
        "hidden_figures_dropped": int((dropped & figure).sum()) if hidden else None,
    }
