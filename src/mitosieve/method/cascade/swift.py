"""Swift: a cascade for CPUs. Proposed nuclei only, two small networks, trained with CHS-NET's hard example mining.

Reads in the order of a slide's way through it: proposals, the first network at low resolution, its false positives, the
second network at full resolution, thresholds. Ours; the mining, its threshold and the ratios are those of section 3.2
of Ma et al., ACML 2018.
"""

from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from torch import nn

from mitosieve.method.cascade.afforded import measure_budget
from mitosieve.method.cascade.mining import MiningConfig, Mixture, Weight, find_survivors, parts_of_mining
from mitosieve.network.config import SwiftConfig
from mitosieve.network.loss import LossConfig
from mitosieve.network.registry import build_network
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.patch.cutting import margin_for
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.view import View
from mitosieve.run import layout
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train import (
    BatchConfig,
    CropRule,
    Job,
    Part,
    PatchPool,
    Pools,
    ProposalRule,
    StageRecipe,
    ThresholdRule,
    TruthConfig,
    choose_thresholds,
    classification,
    crop_rooms,
    curve_rows,
    fresh,
    learn,
    note_crops,
    places_of_fold,
    render_frames,
    stained,
)


class VariedStage(StageRecipe):
    """A stage whose patches are turned, shifted and recoloured."""

    augment: AugmentConfig = AugmentConfig()


class SwiftRecipe(BaseModel):
    """All numbers of one swift training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["swift"] = "swift"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig()
    proposer: NucleiProposer = NucleiProposer()
    truth: TruthConfig = TruthConfig()
    loss: LossConfig = LossConfig()
    batches: BatchConfig = BatchConfig()
    screening: VariedStage = VariedStage(view=View(mpp=0.5, views="one", patch_px=32), network=SwiftConfig())
    screening_ratio: tuple[Weight, Weight] = (1, 3)
    """Figures : background in a batch of the screening network."""
    mining: MiningConfig = MiningConfig()
    refined: VariedStage = VariedStage(
        view=View(views="one", patch_px=64),
        network=SwiftConfig(input_px=64, widths=(32, 64, 96), depths=(1, 1, 1), residual=True),
    )
    refined_ratio: tuple[Weight, Weight, Weight] = (1, 1, 3)
    """Figures : background : false positives in a batch of the refined network."""
    refined_per_mm2: float | None = Field(default=None, ge=0, le=1e5)
    """Places a mm2 of tissue that the refined network can afford on a large slide (`Stage.per_mm2`): what a slide takes
    then does not hang on the gate that validation happens to choose. What it costs in recall is measured on validation
    (budget.json). None, or 0 in a file, is as many as pass the gate; runs of before do not name it."""
    thresholds: ThresholdRule = ThresholdRule()
    curve_background: int = Field(default=2000, ge=1)
    """Proposals of the validation cases that the curves are drawn from, beside all that are figures."""
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @field_validator("refined_per_mm2")
    @classmethod
    def _none_is_zero(cls, value: float | None) -> float | None:
        """TOML has no word for nothing."""
        return value or None

    @model_validator(mode="after")
    def _consistent(self) -> "SwiftRecipe":
        self.batches.check(self.loss)
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a budget a recipe is written as before there were any: runs and studies go on under their names."""
        content: dict[str, Any] = whole(self)
        if content.get("refined_per_mm2") is None:
            content.pop("refined_per_mm2", None)
        return content

    @property
    def parts(self) -> dict[str, VariedStage]:
        """The networks by name, in the order of a slide's way."""
        return {layout.SCREENING: self.screening, layout.REFINED: self.refined}

    @property
    def plan(self) -> Plan:
        """How proposals are named."""
        views = tuple(part.view for part in self.parts.values())
        return Plan(frame=self.frame, proposer=self.proposer, views=views, reach_um=0.0, stain_target=None)


def run_swift(recipe: SwiftRecipe, job: Job) -> Detector:
    """Train the cascade on the fold's training cases; thresholds from its validation cases; the test is not touched.

    Every part leaves a file and is skipped when that file is there, so a killed run goes on where it was.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    stores = {name: frame_store(recipe, job, name) for name in recipe.parts}
    with job.timed("proposals"):
        pools = gather_proposals(recipe, job, stores)
        parts_of_mining(recipe.mining, job, pools[layout.SCREENING].train, recipe.seed)
    with job.timed("screening network"):
        screening = train_screening(recipe, job, pools)
    with job.timed("hard example mining"):
        survivors = mine(recipe, job, pools, screening)
    with job.timed("refined network"):
        refined = train_refined(recipe, job, pools, survivors)
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, stores[layout.SCREENING], screening, refined)


def frame_store(recipe: SwiftRecipe, job: Job, name: str) -> FrameStore:
    """Where the stain-normalised frames of one network's resolution are."""
    part = recipe.parts[name]
    config = recipe.frame.model_copy(update={"mpp": part.view.mpp_in(recipe.frame.mpp)})
    margin = margin_for(part.view.patch_px, part.augment.translate_px)
    folder = job.file(f"{layout.FRAMES}/{name}")
    return FrameStore(folder, config, margin_px=margin, tissue=recipe.proposer.tissue)


def gather_proposals(recipe: SwiftRecipe, job: Job, stores: dict[str, FrameStore]) -> dict[str, Pools]:
    """Frames at both resolutions, and the proposals of train and validation slides as each network sees them."""
    render_frames(job, *stores.values())
    proposals = ProposalRule(plan=recipe.plan, truth=recipe.truth, imposters=False, near=False)
    rule = CropRule.of(job.cohort, proposals)
    found = places_of_fold(job, rule)
    recipe.batches.note_left_out(job, found["train"], crops=rule.rooms)
    note_crops(job, found["train"], rule.rooms)
    validation = found["validation"]
    figures = validation.index.label.nonzero()[0]
    rows = curve_rows(validation, figures, background=recipe.curve_background, seed=recipe.seed)

    def pool(name: str, part: Part) -> PatchPool:
        view = recipe.parts[name].view
        rooms = crop_rooms(job.cohort, view.mpp_in(recipe.frame.mpp), rule.patch_um)
        return PatchPool.of_places(found[part], stores[name], view, job.cohort, rooms)

    return {
        name: Pools(train=pool(name, "train"), validation=pool(name, "validation"), curve_rows=rows)
        for name in recipe.parts
    }


def train_screening(recipe: SwiftRecipe, job: Job, pools: dict[str, Pools]) -> nn.Module:
    """The first network: sees every proposal, small and coarse; keeps nearly all figures."""
    return learn_screening(recipe, job, pools, layout.SCREENING)


def learn_screening(
    recipe: SwiftRecipe, job: Job, pools: dict[str, Pools], name: str, seen: NDArray[np.bool_] | None = None
) -> nn.Module:
    """A screening network that learns from the rows `seen` (N,) of the training pool alone; None is all."""
    mixture = Mixture.screening(pools[layout.SCREENING].train, recipe.screening_ratio, seen)
    return _learn(recipe, job, name, pools[layout.SCREENING], mixture)


def mine(recipe: SwiftRecipe, job: Job, pools: dict[str, Pools], screening: nn.Module) -> NDArray[np.intp]:
    """Proposals that the first network takes for figures, as rows of the index."""
    train_apart = partial(learn_screening, recipe, job, pools)
    pool = pools[layout.SCREENING].train
    return find_survivors(recipe.mining, job, pool, screening, train_apart, recipe.seed)


def train_refined(recipe: SwiftRecipe, job: Job, pools: dict[str, Pools], survivors: NDArray[np.intp]) -> nn.Module:
    """The second network: sees what the first lets through; figures, background and false positives as 1 : 1 : 3.

    Or what `mining.kind` says instead.
    """
    pool = pools[layout.REFINED].train
    mixture = Mixture.screening(pool, recipe.screening_ratio)
    if recipe.mining.enabled:
        mixture = Mixture.refined(recipe.mining, pool, recipe.refined_ratio, survivors)
    return _learn(recipe, job, layout.REFINED, pools[layout.REFINED], mixture)


def _learn(recipe: SwiftRecipe, job: Job, name: str, pools: Pools, mixture: Mixture) -> nn.Module:
    part = recipe.refined if name == layout.REFINED else recipe.screening
    network = fresh(lambda: build_network(part.network), recipe.seed, name)
    hardness = pools.train.begin(name, network, job)
    lesson = classification(
        name,
        network,
        pools,
        mixture.kinds,
        ratio=mixture.ratio,
        schedule=part.train,
        loss=recipe.loss,
        augment=part.augment,
        job=job,
        seed=recipe.seed,
        batches=recipe.batches,
        hardness=hardness,
    )
    return learn(lesson, job)


def detector_config(recipe: SwiftRecipe) -> DetectorConfig:
    """Proposer and stages; thresholds are still to be chosen.

    Raises:
        ValidationError: there is no such detector.
    """
    stages = tuple(
        Stage(
            name=name,
            network=part.network,
            turns=part.turns,
            turn_above=part.turn_above,
            per_mm2=recipe.refined_per_mm2 if name == layout.REFINED else None,
            **part.view.model_dump(),
        )
        for name, part in recipe.parts.items()
    )
    return DetectorConfig(
        made_by="mitosieve recipe swift",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=stages,
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
    )


def assemble(recipe: SwiftRecipe, job: Job, store: FrameStore, screening: nn.Module, refined: nn.Module) -> Detector:
    """Proposer and both networks as one detector, thresholds by the recipe's rule."""
    measure = partial(measure_budget, job, radius_um=recipe.truth.reach_um, file=job.file(layout.BUDGET))
    detector = stained(detector_config(recipe), [(screening,), (refined,)], store)
    return choose_thresholds(job, layout.DETECTOR, detector, recipe.thresholds, measure=measure)
