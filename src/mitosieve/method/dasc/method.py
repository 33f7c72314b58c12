"""DASC: difficulty-aware supervised contrastive learning, on labels whose noise is found and left out.

Reads in the order of the method: candidates and negative search (NS), dynamic memory units (DMU), difficulty levels
(DLE), contrastive training (SDSCL), detection by activation peaks. The paper was not found; the numbers are those of
its public code, the parts that the code lacks are a reconstruction (docs/dasc.md says which).
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from mitosieve.errors import TrainingError
from mitosieve.method.dasc.contrast import label_parts, save_embedding, score_out_of_fold, train_contrast
from mitosieve.method.dasc.course import Course, begun
from mitosieve.method.dasc.labels import MarkRule
from mitosieve.method.dasc.negatives import balance, candidate_rows, random_negatives, search_negatives
from mitosieve.method.dasc.recipe import Control, DascRecipe
from mitosieve.method.dasc.verdicts import Verdicts, judge, remember
from mitosieve.network.resnet import ContrastNet, ResNetBody
from mitosieve.patch.frames import FrameStore
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, write_json
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.train import (
    NO_MARK,
    Job,
    PatchPool,
    Places,
    Pools,
    crop_rooms,
    curve_rows,
    hand_over,
    note_crops,
    parts_note,
    places_of_fold,
    render_frames,
)


def run_dasc(recipe: DascRecipe, job: Job) -> Detector:
    """Train on the fold's training cases; the threshold comes from its validation cases; the test is not touched.

    Every stage leaves files and is skipped where they are there, so a killed run goes on where it was, and a stage can
    be run again by deleting its files and those of the stages after it.

    Returns:
        The detector, which is also in the run's folder `detector`.

    Raises:
        DetectorError: the file of initial weights does not fit; said before anything is made.
    """
    check_initial(recipe)
    tissue = recipe.proposer.tissue
    store = FrameStore(job.file(layout.FRAMES), recipe.frame, margin_px=recipe.margin_px, tissue=tissue)
    with job.timed("candidates"):
        candidates = gather(recipe, job, store)
    with job.timed("negative search (NS)"):
        course = choose_labels(recipe, job, candidates, store)
        if recipe.out_of_fold.enabled:
            label_parts(course)  # what cannot be parted is refused before hours of training
            slides = course.labels.index.slide_id
            job.note(parts_note(slides, job.cohort.case_of, recipe.out_of_fold.parts))
    network = learn_course(course)
    run_controls(course, candidates, store)
    with job.timed("for the audit"):
        save_embedding(network, course)
        if recipe.out_of_fold.enabled:
            score_out_of_fold(course)
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, store, layout.DETECTOR, network)


def check_initial(recipe: DascRecipe) -> None:
    """Whether the recipe's first weights, where it names some, fit its deepest body.

    Raises:
        DetectorError: they do not, or there are none.
    """
    begun(ResNetBody(recipe.network.model_copy(update={"stages": recipe.deepest})), recipe.initial)


def provenance(recipe: DascRecipe) -> dict[str, Any]:
    """What a resumed run must agree with beside its recipe: the bytes of its first weights.

    Raises:
        DetectorError: they do not fit; said before there is a run folder.
    """
    if recipe.initial is None:
        return {}
    check_initial(recipe)
    return {"initial_sha256": hash_file(recipe.initial)}


def gather(recipe: DascRecipe, job: Job, store: FrameStore) -> Pools:
    """Render the frames; every mark and every candidate of train and validation slides."""
    render_frames(job, store)
    found = places_of_fold(job, MarkRule(plan=recipe.plan, config=recipe.labels, imposters=recipe.search.imposters))
    note_crops(job, found["train"], crop_rooms(job.cohort, recipe.frame.mpp, recipe.plan.largest_patch_um))
    marked = np.flatnonzero(found["validation"].mark != NO_MARK)
    return Pools(
        train=PatchPool.of_places(found["train"], store, recipe.view, job.cohort),
        validation=PatchPool.of_places(found["validation"], store, recipe.view, job.cohort),
        curve_rows=curve_rows(found["validation"], marked, background=recipe.curve_background, seed=recipe.seed),
    )


def choose_labels(
    recipe: DascRecipe,
    job: Job,
    candidates: Pools,
    store: FrameStore,
    *,
    folder: str = "",
    negatives: int | None = None,
) -> Course:
    """Stage NS: the figures, and the negatives that are worth learning from.

    Args:
        recipe: whose search may be off.
        job: of the run.
        candidates: all of them.
        store: rendered frames.
        folder: of this way through the method.
        negatives: how many to draw where the search is off; None is `search.per_figure` a figure.
    """
    path = job.file(folder) / layout.LABELS
    if not path.exists():
        places, score = candidates.train.places, None
        if recipe.search.enabled:
            chosen, score = search_negatives(recipe, job, candidates)
        else:
            figures = len(places.with_origin(Origin.FIGURE))
            count = recipe.search.per_figure * figures if negatives is None else negatives
            chosen = random_negatives(recipe, places, count)
        write_json(job.file(folder) / layout.NEGATIVES, balance(recipe, places, chosen, score))
        places[chosen].save(path)
    return _course_of(recipe, job, candidates, store, folder)


def _course_of(recipe: DascRecipe, job: Job, candidates: Pools, store: FrameStore, folder: str) -> Course:
    """The way whose labels are chosen."""
    labels = Places.load(job.file(folder) / layout.LABELS)
    pools = replace(candidates, train=PatchPool.of_places(labels, store, recipe.view, job.cohort))
    return Course(recipe=recipe, job=job, folder=folder, pools=pools)


def learn_course(course: Course) -> ContrastNet:
    """Stages DMU, DLE and SDSCL on chosen labels."""
    found = find_verdicts(course)
    with course.timed("contrastive training (SDSCL)"):
        return train_contrast(course, found)


def find_verdicts(course: Course) -> Verdicts:
    """Stages DMU and DLE; where there is no memory, every label is clean."""
    path = course.file(layout.VERDICTS)
    patch_id = course.labels.index.patch_id
    if path.exists():
        return Verdicts.load(path, patch_id)
    notes: list[str] = []
    found = Verdicts.all_clean(patch_id)
    if course.recipe.memory.enabled:
        with course.timed("memory units (DMU)"):
            memory = remember(course)
        with course.timed("difficulty levels (DLE)"):
            found, notes = judge(course, memory)
    save_verdicts(found, notes, course)
    return found


def save_verdicts(found: Verdicts, notes: list[str], course: Course) -> None:
    """Write verdicts.json, for people, then the verdicts."""
    counts: dict[str, Any] = found.count(course.label)
    write_json(course.file(layout.VERDICTS_SUMMARY), {**counts, "notes": notes})
    found.save(course.file(layout.VERDICTS))


def run_controls(course: Course, candidates: Pools, store: FrameStore) -> None:
    """Train every control. One that leaves nothing to learn from is named in verdicts.json and does not end the run."""
    for control in course.recipe.controls:
        try:
            run_control(course, candidates, store, control)
        except TrainingError as error:
            path = course.file(layout.VERDICTS_SUMMARY)
            summary = json.loads(path.read_text())
            note = f"control {control_name(control)} could not be trained: {error}"
            write_json(path, {**summary, "notes": sorted({*summary["notes"], note})})


def control_name(control: Control) -> str:
    """What its files are called."""
    return "other-rule" if control == "rule" else f"without-{control}"


def run_control(course: Course, candidates: Pools, store: FrameStore, control: Control) -> None:
    """Train again without one part of the method, or with the other noise rule; stages before it are not repeated."""
    job, name = course.job, f"{layout.DETECTOR}-{control_name(control)}"
    if (job.file(name) / layout.DETECTOR_CONFIG).exists():
        return
    folder, less = f"{layout.CONTROLS}/{control_name(control)}", course.recipe.with_control(control)
    if control == "search":
        drawn = len(candidate_rows(less, course.labels))
        way = choose_labels(less, job, candidates, store, folder=folder, negatives=drawn)
    else:
        course.labels.save(job.file(folder) / layout.LABELS)
        way = _course_of(less, job, candidates, store, folder)
    if control in ("levels", "rule") and not way.file(layout.VERDICTS).exists():
        found, notes = judge(way, remember(course))
        save_verdicts(found, notes, way)
    elif control == "contrast":
        find_verdicts(course).save(way.file(layout.VERDICTS))
    assemble(less, job, store, name, learn_course(way))


def detector_config(recipe: DascRecipe) -> DetectorConfig:
    """Candidates, the last network, and the peak of its activation map; the threshold is still to be chosen.

    Raises:
        ValidationError: there is no such detector.
    """
    stage = Stage(
        name="classifier",
        network=recipe.network.model_copy(update={"stages": recipe.contrast.stages}),
        locate="activation",
        locate_above=recipe.locate_above,
        locate_within_um=recipe.locate_within_um,
        locate_least_px=recipe.locate_least_px,
        **recipe.view.model_dump(),
    )
    return DetectorConfig(
        made_by="mitosieve recipe dasc",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=(stage,),
        merge_um=recipe.merge_um,
        suppress_um=min(recipe.merge_um, DetectorConfig.model_fields["suppress_um"].default),
        keep_above=recipe.keep_above,
    )


def assemble(recipe: DascRecipe, job: Job, store: FrameStore, folder: str, network: ContrastNet) -> Detector:
    """The network as a detector, its threshold by the recipe's rule."""
    return hand_over(job, folder, detector_config(recipe), [(network.detached(),)], store, recipe.thresholds)
