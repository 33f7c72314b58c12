"""DASC: difficulty-aware supervised contrastive learning, on labels whose noise is found and left out.

Reads in the order of the method: candidates and negative search (NS), dynamic memory units (DMU), difficulty levels
(DLE), contrastive training (SDSCL), detection by activation peaks. The paper was not found; the numbers are those of
its public code, the parts that the code lacks are a reconstruction (docs/dasc.md says which).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.errors import TrainingError
from mitosieve.method.dasc.contrast import (
    ContrastStage,
    OutOfFoldStage,
    inner_parts,
    save_embedding,
    score_out_of_fold,
    train_contrast,
)
from mitosieve.method.dasc.course import Course, begun
from mitosieve.method.dasc.labels import LabelConfig, Labels, gather_labels
from mitosieve.method.dasc.negatives import Search, SearchConfig, balance, random_negatives, search_negatives
from mitosieve.method.dasc.verdicts import VERDICTS_FILE, LevelStage, MemoryStage, Verdicts, judge, remember
from mitosieve.network.resnet import ContrastNet, ResNetBody, ResNetConfig
from mitosieve.patch.augment.distortion import DistortionConfig, reach_px
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin
from mitosieve.patch.reader import PatchReader
from mitosieve.patch.view import View
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import ComponentProposer, NucleiProposer
from mitosieve.train.job import Job
from mitosieve.train.pool import PatchPool, render_frames
from mitosieve.train.stage import tuned

VALIDATION_NEGATIVES = 2000
"""Candidates of the validation cases that the curves are drawn from, beside all their marks."""

Part = Literal["search", "memory", "levels", "contrast"]
"""The stages NS, DMU, DLE and SDSCL by name, in their order."""

Control = Literal["search", "memory", "levels", "contrast", "rule"]
"""A part that is taken out; or "rule": the other of the two noise rules."""

Share = Annotated[float, Field(ge=0, le=1)]


class DascRecipe(BaseModel):
    """All numbers of one DASC training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["dasc"] = "dasc"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig()
    proposer: Annotated[ComponentProposer | NucleiProposer, Field(discriminator="kind")] = ComponentProposer()
    """Names the candidates, in training as in detection."""
    labels: LabelConfig = LabelConfig()
    network: ResNetConfig = ResNetConfig()
    """Shape; each stage says its own depth."""
    initial: Path | None = None
    """safetensors file with the first weights of all bodies, keys of the common public ResNet-18; None is random."""
    weak: DistortionConfig = DistortionConfig()
    strong: DistortionConfig = DistortionConfig()
    search: SearchConfig = SearchConfig()
    memory: MemoryStage = MemoryStage()
    levels: LevelStage = LevelStage()
    contrast: ContrastStage = ContrastStage()
    out_of_fold: OutOfFoldStage = OutOfFoldStage()
    controls: tuple[Control, ...] = ()
    """Parts of the method that are taken out, one at a time, each for a detector of its own; "rule" puts the other
    noise rule in the place of `memory.verdict.rule`."""
    threshold: Share | Literal["validation"] = "validation"
    locate_above: Share = 0.9
    """See `Stage.locate_above`."""
    locate_within_um: float = Field(default=5.0, gt=0, le=100)
    """See `Stage.locate_within_um`."""
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "DascRecipe":
        if len(set(self.controls)) < len(self.controls):
            raise ValueError("a part can be taken out only once")
        needed = ["memory" if part == "rule" else part for part in self.controls]
        off = [part for part in needed if not getattr(self, part).enabled]
        if off:
            raise ValueError(f"what is off cannot be taken out: {', '.join(off)}")
        if "levels" in self.controls and not self.memory.enabled:
            raise ValueError("levels cannot be taken out where memory is off: there are none")
        return self

    @property
    def deepest(self) -> int:
        """Residual stages of the deepest network."""
        parts = (self.search, self.memory, self.levels, self.contrast, self.out_of_fold)
        return max(part.stages for part in parts if part.enabled or part is self.contrast)

    @property
    def margin_px(self) -> int:
        """Of the rendered frames."""
        side = self.network.input_px
        return max(reach_px(augment, side) for augment in (self.weak, self.strong, self.search.augment))

    @property
    def view(self) -> View:
        return View(views="one", patch_px=self.network.input_px)

    @property
    def plan(self) -> Plan:
        """How candidates are named."""
        return Plan(frame=self.frame, proposer=self.proposer, views=(self.view,), reach_um=0.0, stain_target=None)

    def with_control(self, control: Control) -> "DascRecipe":
        """The same with one part switched off, or with the other noise rule."""
        if control == "rule":
            other = "literal" if self.memory.verdict.rule == "fraction" else "fraction"
            verdict = self.memory.verdict.model_copy(update={"rule": other})
            return self.model_copy(
                update={"memory": self.memory.model_copy(update={"verdict": verdict}), "controls": ()}
            )
        return self.without(control)

    def without(self, part: Part) -> "DascRecipe":
        """The same with one part switched off."""
        stage = getattr(self, part).model_copy(update={"enabled": False})
        return self.model_copy(update={part: stage, "controls": ()})


@dataclass(frozen=True, kw_only=True)
class _Material:
    """Candidates of train and validation slides and their pixels."""

    labels: Labels
    pool: PatchPool
    validation: PatchPool
    validation_rows: NDArray[np.intp]
    store: FrameStore


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
    with job.timed("candidates"):
        material = gather(recipe, job)
    with job.timed("negative search (NS)"):
        course = choose_labels(recipe, job, material, "")
        if recipe.out_of_fold.enabled:
            inner_parts(course, recipe.out_of_fold.parts)  # what cannot be parted is refused before hours of training
    network = learn(recipe, course)
    run_controls(recipe, job, material, course)
    with job.timed("for the audit"):
        save_embedding(network, course)
        if recipe.out_of_fold.enabled:
            score_out_of_fold(recipe.out_of_fold, course)
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, material.store, "detector", network)


def check_initial(recipe: DascRecipe) -> None:
    """Whether the recipe's first weights, where it names some, fit its deepest body.

    Raises:
        DetectorError: they do not, or there are none.
    """
    begun(ResNetBody(recipe.network.model_copy(update={"stages": recipe.deepest})), recipe.initial)


def gather(recipe: DascRecipe, job: Job) -> _Material:
    """Render the frames; index every mark and every candidate of train and validation slides."""
    store = FrameStore(job.file("frames"), recipe.frame, margin_px=recipe.margin_px)
    render_frames(job, store)
    found: dict[str, Labels] = {}
    for part, cases in (("train", job.fold.train), ("validation", job.fold.validation)):
        path = job.file(f"places/{part}.parquet")
        if not path.exists():
            gather_labels(cases, recipe.plan, recipe.labels, job).save(path)
        found[part] = Labels.load(path)
    write_json(job.file("patches.json"), {part: labels.index.count() for part, labels in found.items()})
    validation = found["validation"]
    background = validation.with_origin(Origin.BACKGROUND)
    chosen = derive_generator(recipe.seed, "validation candidates").permutation(background)[:VALIDATION_NEGATIVES]
    marks = np.flatnonzero(validation.mark >= 0)
    return _Material(
        labels=found["train"],
        pool=_pool(recipe, job, store, found["train"]),
        validation=_pool(recipe, job, store, validation),
        validation_rows=np.sort(np.concatenate([marks, chosen])),
        store=store,
    )


def _pool(recipe: DascRecipe, job: Job, store: FrameStore, labels: Labels) -> PatchPool:
    mpp_l0 = {entry.slide_id: entry.mpp for entry in job.cohort.slides}
    reader = PatchReader(labels.index, store, mpp_l0, patch_px=recipe.network.input_px)
    return PatchPool(index=labels.index, reader=reader, view=recipe.view)


def choose_labels(
    recipe: DascRecipe, job: Job, material: _Material, folder: str, negatives: int | None = None
) -> Course:
    """Stage NS: the figures, and the negatives that are worth learning from.

    Args:
        recipe: whose search may be off.
        job: of the run.
        material: all candidates.
        folder: of this way through the method.
        negatives: how many to draw where the search is off; None is `search.per_figure` a figure.
    """
    path = job.file(folder) / "labels.parquet"
    if not path.exists():
        what = Search(
            config=recipe.search,
            network=recipe.network,
            labels=material.labels,
            pool=material.pool,
            validation=material.validation,
            validation_rows=material.validation_rows,
            seed=recipe.seed,
            initial=recipe.initial,
        )
        if recipe.search.enabled:
            chosen, told = search_negatives(what, job)
        else:
            figures = len(material.labels.with_origin(Origin.FIGURE))
            chosen = random_negatives(what, recipe.search.per_figure * figures if negatives is None else negatives)
            told = balance(what, chosen, None)
        write_json(job.file(folder) / "negatives.json", told)
        material.labels[chosen].save(path)
    labels = Labels.load(path)
    return Course(
        job=job,
        folder=folder,
        labels=labels,
        pool=_pool(recipe, job, material.store, labels),
        validation=material.validation,
        validation_rows=material.validation_rows,
        network=recipe.network,
        weak=recipe.weak,
        strong=recipe.strong,
        initial=recipe.initial,
        seed=recipe.seed,
    )


def learn(recipe: DascRecipe, course: Course) -> ContrastNet:
    """Stages DMU, DLE and SDSCL on chosen labels."""
    found = find_verdicts(recipe, course)
    with course.timed("contrastive training (SDSCL)"):
        return train_contrast(recipe.contrast, course, found)


def find_verdicts(recipe: DascRecipe, course: Course) -> Verdicts:
    """Stages DMU and DLE; where there is no memory, every label is clean."""
    path = course.file(VERDICTS_FILE)
    patch_id = course.labels.index.patch_id
    if path.exists():
        return Verdicts.load(path, patch_id)
    notes: list[str] = []
    found = Verdicts.all_clean(patch_id)
    if recipe.memory.enabled:
        with course.timed("memory units (DMU)"):
            memory = remember(recipe.memory, course)
        with course.timed("difficulty levels (DLE)"):
            found, notes = judge(recipe.memory, recipe.levels, course, memory)
    save_verdicts(found, notes, course)
    return found


def save_verdicts(found: Verdicts, notes: list[str], course: Course) -> None:
    """Write verdicts.json, for people, then the verdicts."""
    counts: dict[str, Any] = found.count(course.label)
    write_json(course.file("verdicts.json"), {**counts, "notes": notes})
    found.save(course.file(VERDICTS_FILE))


def run_controls(recipe: DascRecipe, job: Job, material: _Material, course: Course) -> None:
    """Train every control. One that leaves nothing to learn from is named in verdicts.json and does not end the run."""
    for control in recipe.controls:
        try:
            run_control(recipe, job, material, course, control)
        except TrainingError as error:
            told = json.loads(course.file("verdicts.json").read_text())
            note = f"control {control_name(control)} could not be trained: {error}"
            write_json(course.file("verdicts.json"), {**told, "notes": sorted({*told["notes"], note})})


def control_name(control: Control) -> str:
    """What its files are called."""
    return "other-rule" if control == "rule" else f"without-{control}"


def run_control(recipe: DascRecipe, job: Job, material: _Material, course: Course, control: Control) -> None:
    """Train again without one part of the method, or with the other noise rule; stages before it are not repeated."""
    name = f"detector-{control_name(control)}"
    if (job.file(name) / "detector.toml").exists():
        return
    folder, less = f"controls/{control_name(control)}", recipe.with_control(control)
    if control == "search":
        drawn = len(course.labels.with_origin(Origin.BACKGROUND))
        own = choose_labels(less, job, material, folder, drawn)
    else:
        own = _same_labels(recipe, course, material, folder)
    if control in ("levels", "rule") and not own.file(VERDICTS_FILE).exists():
        found, notes = judge(less.memory, less.levels, own, remember(recipe.memory, course))
        save_verdicts(found, notes, own)
    elif control == "contrast":
        find_verdicts(recipe, course).save(own.file(VERDICTS_FILE))
    network = learn(less, own)
    assemble(recipe, job, material.store, name, network)


def _same_labels(recipe: DascRecipe, course: Course, material: _Material, folder: str) -> Course:
    course.labels.save(course.job.file(folder) / "labels.parquet")
    return choose_labels(recipe, course.job, material, folder)


def assemble(recipe: DascRecipe, job: Job, store: FrameStore, folder: str, network: ContrastNet) -> Detector:
    """Candidates, the network, and the peak of its activation map as one detector; threshold from validation."""
    target = store.load_target()
    stage = Stage(
        name="classifier",
        network=network.config,
        threshold=0.5 if recipe.threshold == "validation" else recipe.threshold,
        locate="activation",
        locate_above=recipe.locate_above,
        locate_within_um=recipe.locate_within_um,
        **recipe.view.model_dump(),
    )
    config = DetectorConfig(
        made_by="mitosieve recipe dasc",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=(stage,),
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
        stain_target=None if target is None else target.to_json(),
    )
    untuned = Detector(config=config, networks=((network.detached(),),))
    return tuned(job, folder, untuned, gate=recipe.keep_above, last=recipe.threshold)
