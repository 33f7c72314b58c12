"""CHS-NET: a cascade of a screening and a refined network, with hard example mining and semi-focal loss.

Reads like section 3 of Ma et al., ACML 2018: patches (3.4), screening network (3.1.1), hard example mining (3.2),
refined network (3.1.2), and the cascade that tests with both. Cascade, mining and loss can each be switched off, as in
their table 4.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from mitosieve.errors import RecipeError
from mitosieve.method.cascade.mining import MiningConfig, Mixture, Weight, find_survivors, parts_of_mining
from mitosieve.method.cascade.window_rule import WindowRule
from mitosieve.method.cascade.windows import WindowConfig
from mitosieve.network.chsnet import ChsNet, ChsNetConfig
from mitosieve.network.loss import LossConfig
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.patch.cutting import margin_for
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.view import View
from mitosieve.run import layout
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.sieve.propose.proposer import GridProposer
from mitosieve.train import (
    Job,
    Lesson,
    PatchPool,
    Pools,
    ThresholdRule,
    TrainConfig,
    classification,
    crop_rooms,
    curve_rows,
    fresh,
    hand_over,
    learn,
    note_crops,
    places_of_fold,
    render_frames,
)

_PAPER_REFINED = TrainConfig(
    epochs=15, rates=((0, 0.1), (2.5 / 15, 0.01), (6 / 15, 1e-3), (9.5 / 15, 1e-4), (13 / 15, 3e-5))
)


class CascadeConfig(BaseModel):
    """How the trained networks detect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: the refined network alone looks at every window."""
    proposer: GridProposer = GridProposer(stride_px=64, window_px=128)
    merge_um: float = Field(default=12.0, ge=0, le=100)
    """See `DetectorConfig.merge_um`; the paper's suppression has no numbers."""
    keep_above: float = Field(default=0.05, ge=0, le=1)
    parts_too: bool = False
    """Also write detectors of the refined network alone and of the screening network alone (rows of table 4)."""


class ChsNetRecipe(BaseModel):
    """All numbers of one CHS-NET training; the defaults are the paper's literal ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["chsnet"] = "chsnet"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig()
    windows: WindowConfig = WindowConfig()
    variants: Literal["paper", "fresh"] = "paper"
    """The 42 fixed variants of each figure, or a fresh variant at each visit."""
    augment: AugmentConfig = AugmentConfig(negatives=False)
    network: ChsNetConfig = ChsNetConfig()
    loss: LossConfig = LossConfig()
    screening: TrainConfig = TrainConfig()
    screening_ratio: tuple[Weight, Weight] = (1, 3)
    """Figures : background in a batch of the screening network (section 4.2.2)."""
    refined: TrainConfig = _PAPER_REFINED
    refined_ratio: tuple[Weight, Weight, Weight] = (1, 1, 3)
    """Figures : background : false positives in a batch of the refined network (section 3.2)."""
    refined_start: Literal["fresh", "screening"] = "fresh"
    """Initial weights of the refined network; "the same parameters" in section 4.2.3 can be read both ways. A training
    with --start has them from there."""
    mining: MiningConfig = MiningConfig()
    cascade: CascadeConfig = CascadeConfig()
    thresholds: ThresholdRule = ThresholdRule(gate=0.8, operating=0.85)
    """The paper tests with a gate of 0.80 (section 4.3) and describes 0.2 (section 3.1.2)."""
    curve_background: int = Field(default=500, ge=1)
    """Background windows of the validation cases that the curves are drawn from, beside all their figures."""

    @model_validator(mode="after")
    def _consistent(self) -> "ChsNetRecipe":
        if self.cascade.proposer.window_px not in (0, self.windows.patch_px):
            raise ValueError("cascade.proposer.window_px must be windows.patch_px, for windows are patches, or 0")
        return self

    @property
    def view(self) -> View:
        """What both networks see: the window halved, and its centre."""
        return View(patch_px=self.windows.patch_px)


def run_chsnet(recipe: ChsNetRecipe, job: Job) -> Detector:
    """Train the cascade on the fold's training cases; thresholds from its validation cases; the test is not touched.

    Every part leaves a file and is skipped when that file is there, so a killed run goes on where it was.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    store = frame_store(recipe, job)
    with job.timed("patches"):
        pools = gather_patches(recipe, job, store)
        parts_of_mining(recipe.mining, job, pools.train, recipe.seed)
    with job.timed("screening network"):
        screening = train_screening(recipe, job, pools)
    with job.timed("hard example mining"):
        survivors = mine(recipe, job, pools, screening)
    refined: nn.Module | None = None
    if recipe.mining.enabled or recipe.cascade.enabled:
        with job.timed("refined network"):
            refined = train_refined(recipe, job, pools, screening, survivors)
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, store, screening, refined)


def shapes(recipe: ChsNetRecipe) -> dict[str, tuple[BaseModel, View]]:
    """Network and view of each stage, for a training that goes on from a detector.

    Raises:
        RecipeError: the recipe has other weights for the refined network to begin with.
    """
    if recipe.refined_start != "fresh":
        raise RecipeError(
            f'refined_start is "{recipe.refined_start}", and with --start both networks begin with the weights of that',
            remedy='give refined_start = "fresh", or leave out --start',
        )
    return dict.fromkeys((layout.SCREENING, layout.REFINED), (recipe.network, recipe.view))


def frame_store(recipe: ChsNetRecipe, job: Job) -> FrameStore:
    """Where the stain-normalised frames are."""
    return frames_in(recipe, job.file(layout.FRAMES))


def frames_in(recipe: ChsNetRecipe, folder: Path) -> FrameStore:
    """Frames in a folder, with the margin that patches need."""
    margin = margin_for(recipe.windows.patch_px, recipe.augment.translate_px)
    return FrameStore(folder, recipe.frame, margin_px=margin, tissue=recipe.cascade.proposer.tissue)


def window_rule(recipe: ChsNetRecipe, store: FrameStore, *, varied: frozenset[str]) -> WindowRule:
    """Section 3.4 as a rule of places.

    Args:
        recipe: whose windows.
        store: of the slides.
        varied: training slides, whose figures come in fixed variants where the recipe has them.
    """
    return WindowRule(
        store=store,
        windows=recipe.windows,
        translate_px=recipe.augment.translate_px,
        varied=varied if recipe.variants == "paper" else frozenset(),
        seed=recipe.seed,
    )


def gather_patches(recipe: ChsNetRecipe, job: Job, store: FrameStore) -> Pools:
    """Section 3.4: stain-normalised frames, figures with their variants, windows that may be negative."""
    render_frames(job, store)
    varied = frozenset(entry.slide_id for entry in job.cohort.of_cases(job.fold.train).slides)
    found = places_of_fold(job, window_rule(recipe, store, varied=varied))
    note_crops(job, found["train"], crop_rooms(job.cohort, recipe.frame.mpp, recipe.view.patch_px * recipe.frame.mpp))
    train, validation = (
        PatchPool.of_places(found[part], store, recipe.view, job.cohort) for part in ("train", "validation")
    )
    rows = curve_rows(validation.places, validation.figures, background=recipe.curve_background, seed=recipe.seed)
    return Pools(train=train, validation=validation, curve_rows=rows)


def train_screening(recipe: ChsNetRecipe, job: Job, pools: Pools) -> nn.Module:
    """Section 3.1.1: keep nearly all figures, screen out what is easy."""
    return learn_screening(recipe, job, pools, layout.SCREENING)


def learn_screening(
    recipe: ChsNetRecipe, job: Job, pools: Pools, name: str, seen: NDArray[np.bool_] | None = None
) -> nn.Module:
    """A screening network that learns from the rows `seen` (N,) of the training pool alone; None is all."""
    mixture = Mixture.screening(pools.train, recipe.screening_ratio, seen)
    return learn(_lesson(recipe, job, pools, name, mixture), job)


def mine(recipe: ChsNetRecipe, job: Job, pools: Pools, screening: nn.Module) -> NDArray[np.intp]:
    """Section 3.2: windows that the screening network takes for figures, as rows of the index."""
    train_apart = partial(learn_screening, recipe, job, pools)
    return find_survivors(recipe.mining, job, pools.train, screening, train_apart, recipe.seed)


def train_refined(
    recipe: ChsNetRecipe, job: Job, pools: Pools, screening: nn.Module, survivors: NDArray[np.intp]
) -> nn.Module:
    """Section 3.1.2 with the sampling of 3.2: figures, background and false positives as 1 : 1 : 3.

    Or, by `mining.kind`, the ordinary cascade of 3.1.2, and a control.
    """
    mixture = Mixture.screening(pools.train, recipe.screening_ratio)
    if recipe.mining.enabled:
        mixture = Mixture.refined(recipe.mining, pools.train, recipe.refined_ratio, survivors)
    lesson = _lesson(recipe, job, pools, layout.REFINED, mixture)
    if recipe.refined_start == "screening" and job.start is None:
        lesson.network.load_state_dict(screening.state_dict())
    return learn(lesson, job)


def _lesson(recipe: ChsNetRecipe, job: Job, pools: Pools, name: str, mixture: Mixture) -> Lesson[ChsNet]:
    """One network of the cascade; both are alike but for what they are fed."""
    network = fresh(lambda: ChsNet(recipe.network), recipe.seed, name)
    hardness = pools.train.begin(name, network, job)
    return classification(
        name,
        network,
        pools,
        mixture.kinds,
        ratio=mixture.ratio,
        schedule=recipe.refined if name == layout.REFINED else recipe.screening,
        loss=recipe.loss,
        augment=recipe.augment,
        job=job,
        seed=recipe.seed,
        fixed_figures=recipe.variants == "paper",
        hardness=hardness,
    )


def detector_config(recipe: ChsNetRecipe, stages: tuple[str, ...] | None = None) -> DetectorConfig:
    """Proposer and some of the stages, all by default; thresholds are still to be chosen.

    Raises:
        ValidationError: there is no such detector.
    """
    names = (layout.SCREENING, layout.REFINED) if stages is None else stages
    return DetectorConfig(
        made_by="mitosieve recipe chsnet",
        frame=recipe.frame,
        proposer=recipe.cascade.proposer,
        stages=tuple(Stage(name=name, network=recipe.network, patch_px=recipe.windows.patch_px) for name in names),
        merge_um=recipe.cascade.merge_um,
        keep_above=recipe.cascade.keep_above,
    )


def assemble(
    recipe: ChsNetRecipe, job: Job, store: FrameStore, screening: nn.Module, refined: nn.Module | None
) -> Detector:
    """Section 4.3: both networks must agree; then the parts alone, if asked for, each with its own threshold."""
    trained = {layout.SCREENING: screening} | ({} if refined is None else {layout.REFINED: refined})
    chosen: dict[str, tuple[str, ...]] = {}
    if recipe.cascade.parts_too:
        chosen |= {f"{layout.DETECTOR}-{name}-alone": (name,) for name in trained}
    names = tuple(trained)
    chosen[layout.DETECTOR] = names if recipe.cascade.enabled else names[-1:]  # last: where it is, the run is done
    made: dict[str, Detector] = {}
    for folder, stages in chosen.items():
        config = detector_config(recipe, stages)
        networks = [(trained[name],) for name in stages]
        made[folder] = hand_over(job, folder, config, networks, store, _rule_of(recipe, stages))
    return made[layout.DETECTOR]


def _rule_of(recipe: ChsNetRecipe, stages: tuple[str, ...]) -> ThresholdRule:
    """The screening network alone operates at its gate, unless validation is asked."""
    rule = recipe.thresholds
    if stages == (layout.SCREENING,) and rule.operating != "validation":
        return rule.model_copy(update={"operating": rule.gate})
    return rule
