"""One network of a sieve training, as any process is given it: whose patients it may see, what it learns from."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import CohortError, some
from mitosieve.method.sieve.recipe import MiningRule, SieveRecipe, SieveStage
from mitosieve.network.registry import build_network
from mitosieve.patch.augment.distortion import reach_px
from mitosieve.patch.frames import FrameStore
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.seed import derive_generator
from mitosieve.train import (
    CropRule,
    Job,
    Part,
    PatchPool,
    Places,
    Pools,
    PoolScores,
    ProposalRule,
    case_parts,
    classification,
    crop_rooms,
    fresh,
    is_kept,
    learn,
    linked,
    note_crops,
    places_of_fold,
    render_frames,
)

WHOLE = -1
"""Instead of the number of a part: trained on all patients."""


@dataclass(frozen=True, kw_only=True)
class NetworkTask:
    """A network to be trained.

    Attributes:
        job: of the run.
        recipe: of the run.
        stage: its name in the recipe.
        without: part of the patients that it never sees, or WHOLE.
    """

    job: Job
    recipe: SieveRecipe
    stage: str
    without: int

    @property
    def name(self) -> str:
        """Of its files."""
        return self.stage if self.without == WHOLE else f"{self.stage} without part {self.without + 1}"

    @property
    def part(self) -> SieveStage:
        return self.recipe.stages[self.stage]


def train_network(task: NetworkTask) -> nn.Module:
    """Train it, or take its weights where they are there."""
    network = fresh(lambda: build_network(task.part.network), task.recipe.seed, task.name)
    if is_kept(task.name, network, task.job):
        return network
    pool = pool_of(task.recipe, task.job, task.stage)
    seen = np.ones(len(pool.index), dtype=np.bool_)
    if task.without != WHOLE:
        seen = part_of_rows(task.recipe, task.job.cohort, pool.places) != task.without
    kinds = _kinds(task, pool, seen)
    nothing = np.zeros(0, dtype=np.intp)
    lesson = classification(
        task.name,
        network,
        Pools(train=pool, validation=pool_of(task.recipe, task.job, task.stage, "validation"), curve_rows=nothing),
        kinds,
        ratio=dict(zip(kinds, task.part.ratio, strict=False)),
        schedule=task.part.train,
        loss=task.recipe.loss,
        augment=task.part.augment,
        job=task.job,
        seed=task.recipe.seed,
        batches=task.recipe.batches,
    )
    return learn(lesson, task.job)


def train_quietly(task: NetworkTask) -> None:
    """The same for a map over processes, whose results are files."""
    train_network(replace(task, job=replace(task.job, mapper=None)))


def _kinds(task: NetworkTask, pool: PatchPool, seen: NDArray[np.bool_]) -> dict[str, NDArray[np.intp]]:
    """Rows of the pool by kind, of those (N,) that the network may see; every stage but the first has the false
    positives of the one before beside.

    What the scores of the rows that it may see say of the others is little and not nothing: they come from networks
    that have learned from them. Networks of their own for every pair of parts would cost `parts` times as much.
    """
    figures, background = pool.figures[seen[pool.figures]], pool.background[seen[pool.background]]
    before = stage_before(task.recipe, task.stage)
    if before is None:
        return {"figures": figures, "background": background}
    score = PoolScores.load(task.job.file(scores_file(before)), pool.index.patch_id).score
    source_of = task.job.cohort.source_of
    source = np.array([source_of[str(name)] for name in pool.index.slide_id], dtype=np.str_)
    generator = derive_generator(task.recipe.seed, f"mining at random for {task.stage}")
    known, mined = mined_rows(task.part.mining, background, score, source, generator)
    return {"figures": figures, "background": known, "false positives": mined}


def stage_before(recipe: SieveRecipe, stage: str) -> str | None:
    """Name of the stage whose survivors a stage is given; None for the first."""
    names = list(recipe.stages)
    return names[names.index(stage) - 1] if stage != names[0] else None


def scores_file(stage: str) -> str:
    """Where a run keeps the scores of all its places by those of a stage's networks that have not seen the patient."""
    return f"{layout.OUT_OF_FOLD_SLIDES}/{stage}-scores.parquet"


def mined_rows(
    rule: MiningRule,
    negatives: NDArray[np.intp],
    score: NDArray[np.floating],
    source: NDArray[np.str_],
    generator: np.random.Generator,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Negatives that are learned from, and the false positives among them: the hardest share of each source.

    Args:
        rule: which.
        negatives: rows of the places without a figure.
        score: (N,) of all places, by networks of the stage before that have not seen the patient.
        source: (N,) of each place.
        generator: of the control.
    """
    known = negatives[score[negatives] < rule.cap] if rule.cap < 1 else negatives
    order = score[known].astype(np.float64)
    if rule.choice == "random":
        order = generator.random(len(known))
    mined: list[NDArray[np.intp]] = []
    for name in np.unique(source[known]):
        rows = np.flatnonzero(source[known] == name)
        hardest = rows[np.argsort(-order[rows], kind="stable")]
        mined.append(known[hardest[: max(1, round(rule.share * len(rows)))]])
    return known, np.sort(np.concatenate(mined)) if mined else known


def frame_store(recipe: SieveRecipe, job: Job, stage: str) -> FrameStore:
    """Where the frames of one stage's resolution are."""
    part = recipe.stages[stage]
    config = recipe.frame.model_copy(update={"mpp": part.view.mpp_in(recipe.frame.mpp)})
    margin_px = reach_px(part.augment, part.view.patch_px)
    folder = job.file(f"{layout.FRAMES}/{stage}")
    return FrameStore(folder, config, margin_px=margin_px, tissue=recipe.proposer.tissue)


def gather(recipe: SieveRecipe, job: Job) -> None:
    """Render the slides for all stages and find the places, once; whoever comes later reads files.

    Raises:
        CohortError: as `places_of_fold` and `parts_of_cases`; or the labelled training slides, or those with figures,
            are crops alone.
    """
    crops = crops_of(recipe, job.cohort)
    labelled = job.cohort.of_cases(job.fold.train).labelled.slides
    if labelled and all(entry.slide_id in crops for entry in labelled):
        raise CohortError(
            f"holds crops alone to learn from ({len(labelled)}): a threshold is chosen on whole slides, where figures "
            "lie as they lie",
            where=job.cohort.folder,
            remedy="add whole slides or fields, or take the recipe swift",
        )
    marks = job.cohort.of_cases(job.fold.train).known_figures
    if len(marks) and set(marks.slide_id.tolist()) <= set(crops):
        raise CohortError(
            f"has figures on crops alone ({len(marks)}): a threshold is chosen on whole slides, where figures lie as "
            "they lie",
            where=job.cohort.folder,
            remedy="add whole slides or fields with figures, or take the recipe swift",
        )
    render_frames(job, *(frame_store(recipe, job, stage) for stage in recipe.stages))
    found = places_of_fold(job, _rule(recipe, job.cohort))
    places = found["train"]
    recipe.batches.note_left_out(job, places, part_of_rows(recipe, job.cohort, places), crops)
    note_crops(job, places, crops)


def _rule(recipe: SieveRecipe, cohort: Cohort) -> CropRule:
    return CropRule.of(cohort, ProposalRule(plan=recipe.plan, truth=recipe.truth, imposters=False, near=False))


def pool_of(recipe: SieveRecipe, job: Job, stage: str, part: Part = "train") -> PatchPool:
    """The places of a part of the fold as a stage's networks see them."""
    rule = _rule(recipe, job.cohort)
    view = recipe.stages[stage].view
    rooms = crop_rooms(job.cohort, view.mpp_in(recipe.frame.mpp), rule.patch_um)
    places = places_of_fold(job, rule)[part]
    return PatchPool.of_places(places, frame_store(recipe, job, stage), view, job.cohort, rooms)


def part_of_rows(recipe: SieveRecipe, cohort: Cohort, places: Places) -> NDArray[np.int64]:
    """(N,) part of the patient of each place."""
    part = parts_of_cases(recipe, cohort, places)
    case = cohort.case_of
    return np.array([part[case[str(name)]] for name in places.index.slide_id], dtype=np.int64)


def parts_of_cases(recipe: SieveRecipe, cohort: Cohort, places: Places) -> dict[str, int]:
    """Part of each patient: those with whole slides and those of crops alone are dealt apart, each by their figures.

    Where domains are dealt, a patient goes where its group of domains goes (`linked`).

    Raises:
        CohortError: a part would be empty: its network would have learned from all; or one would hold all figures.
    """
    crops, case_of = set(crops_of(recipe, cohort)), cohort.case_of
    names, slide = np.unique(places.index.slide_id, return_inverse=True)
    count = np.bincount(slide, weights=places.index.origin == Origin.FIGURE.value, minlength=len(names))
    group = _groups(recipe, cohort, {str(name) for name in names})
    figures: Counter[str] = Counter()
    for name, number in zip(names, count, strict=True):
        figures[group[case_of[str(name)]]] += int(number)
    whole = {group[case_of[str(name)]] for name in names if str(name) not in crops}
    of_whole = {name: number for name, number in figures.items() if name in whole}
    of_crops = {name: number for name, number in figures.items() if name not in whole}
    part = case_parts(of_whole, recipe.parts, recipe.seed) | case_parts(of_crops, recipe.parts, recipe.seed)
    most = len(set(part.values()))
    if most < recipe.parts:
        remedy = f"add {recipe.dealt}" + (", or deal patients" if recipe.dealt != "patients" else "")
        raise CohortError(
            f"fills {most} of {recipe.parts} parts: it has {some(sorted(part))} to deal, whole slides and crops apart",
            where=cohort.folder,
            remedy=f"--set parts={most}" if most > 1 else remedy,
        )
    of_part = Counter({number: 0 for number in part.values()})
    for name, number in figures.items():
        of_part[part[name]] += number
    if max(of_part.values()) == of_part.total():
        raise CohortError(
            f"of {recipe.parts} inner parts one holds all figures ({of_part.total()}): without it there is none to "
            "learn from",
            where=cohort.folder,
            remedy=f"add {recipe.dealt} with figures",
        )
    return {case: part[name] for case, name in group.items()}


def _groups(recipe: SieveRecipe, cohort: Cohort, slides: set[str]) -> dict[str, str]:
    """What each patient of some slides is dealt with: itself, or the first of its domains."""
    entries = [entry for entry in cohort.slides if entry.slide_id in slides]
    if recipe.dealt == "patients":
        return {entry.case_id: entry.case_id for entry in entries}
    cases_of: dict[str, set[str]] = {}
    for entry in entries:
        cases_of.setdefault(entry.domain, set()).add(entry.case_id)
    return linked(cases_of)


def crops_of(recipe: SieveRecipe, cohort: Cohort) -> list[str]:
    """Slides that are crops."""
    rule = _rule(recipe, cohort)
    return sorted(rule.rooms)
