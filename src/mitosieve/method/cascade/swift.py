"""Swift: a cascade for CPUs. Proposed nuclei only, two small networks, trained with CHS-NET's hard example mining.

Reads in the order of a slide's way through it: proposals, the first network at low resolution, its false positives, the
second network at full resolution, thresholds. Ours; the mining, its threshold and the ratios are those of section 3.2
of Ma et al., ACML 2018.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import SlideEntry
from mitosieve.errors import CohortError
from mitosieve.method.cascade.mining import MiningConfig, mine_false_positives
from mitosieve.network.loss import LossConfig
from mitosieve.network.registry import NetworkConfig
from mitosieve.network.swift import SwiftConfig
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader, margin_for
from mitosieve.patch.view import View
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig
from mitosieve.train.pool import PatchPool, render_frames
from mitosieve.train.proposals import TruthConfig, propose, sort_proposals
from mitosieve.train.stage import GATES, StageTask, train_stage, tuned

VALIDATION_NEGATIVES = 2000
"""Proposals of the validation cases that the curves are drawn from, beside all that are figures."""

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class StageRecipe(BaseModel):
    """One network: what it sees, its shape, its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View
    network: Annotated[NetworkConfig, Field(discriminator="kind")]
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    turns: Literal[1, 4, 8] = 1
    """See `Stage.turns`."""
    turn_above: float = Field(default=0.05, ge=0, le=1)
    """See `Stage.turn_above`."""


class SwiftRecipe(BaseModel):
    """All numbers of one swift training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["swift"] = "swift"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig()
    proposer: NucleiProposer = NucleiProposer()
    truth: TruthConfig = TruthConfig()
    loss: LossConfig = LossConfig()
    screening: StageRecipe = StageRecipe(view=View(mpp=0.5, views="one", patch_px=32), network=SwiftConfig())
    screening_ratio: tuple[Weight, Weight] = (1, 3)
    """Figures : background in a batch of the screening network."""
    mining: MiningConfig = MiningConfig()
    refined: StageRecipe = StageRecipe(
        view=View(views="one", patch_px=64),
        network=SwiftConfig(input_px=64, widths=(32, 64, 96), depths=(1, 1, 1), residual=True),
    )
    refined_ratio: tuple[Weight, Weight, Weight] = (1, 1, 3)
    """Figures : background : false positives in a batch of the refined network."""
    screening_threshold: Share | Literal["validation"] = "validation"
    refined_threshold: Share | Literal["validation"] = "validation"
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class _Patches:
    """The same proposals as each network sees them."""

    train: dict[str, PatchPool]
    validation: dict[str, PatchPool]
    validation_rows: NDArray[np.intp]
    ledger: Ledger
    store: FrameStore


def run_swift(recipe: SwiftRecipe, job: Job) -> Detector:
    """Train the cascade on the fold's training cases; thresholds from its validation cases; the test is not touched.

    Every part leaves a file and is skipped when that file is there, so a killed run goes on where it was.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    with job.timed("proposals"):
        patches = gather_proposals(recipe, job)
    with job.timed("screening network"):
        screening = train_screening(recipe, job, patches)
    with job.timed("hard example mining"):
        mined = mine(recipe, job, patches, screening)
    with job.timed("refined network"):
        refined = train_refined(recipe, job, patches, mined)
    patches.ledger.save(job.file("ledger.parquet"))
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, patches.store, screening, refined)


def gather_proposals(recipe: SwiftRecipe, job: Job) -> _Patches:
    """Stain-normalised frames at both resolutions, and the proposals of train and validation slides."""
    parts = {"screening": recipe.screening, "refined": recipe.refined}
    stores: dict[str, FrameStore] = {}
    for name, part in parts.items():
        config = recipe.frame.model_copy(update={"mpp": part.view.mpp_in(recipe.frame.mpp)})
        margin = margin_for(part.view.patch_px, part.augment.translate_px)
        stores[name] = FrameStore(job.file(f"frames/{name}"), config, margin_px=margin)
    render_frames(job, *stores.values())
    indices = {
        "train": _index(recipe, job, job.fold.train),
        "validation": _index(recipe, job, job.fold.validation),
    }
    pools = {
        which: {name: _pool(index, stores[name], parts[name].view, job) for name in parts}
        for which, index in indices.items()
    }
    write_json(job.file("patches.json"), {which: index.count() for which, index in indices.items()})
    validation = pools["validation"]["screening"]
    chosen = derive_generator(recipe.seed, "validation proposals").permutation(validation.background)
    return _Patches(
        train=pools["train"],
        validation=pools["validation"],
        validation_rows=np.sort(np.concatenate([validation.figures, chosen[:VALIDATION_NEGATIVES]])),
        ledger=Ledger.of(indices["train"].patch_id),
        store=stores["screening"],
    )


def _pool(index: PatchIndex, store: FrameStore, view: View, job: Job) -> PatchPool:
    mpp_l0 = {entry.slide_id: entry.mpp for entry in job.cohort.slides}
    return PatchPool(index=index, reader=PatchReader(index, store, mpp_l0, patch_px=view.patch_px), view=view)


def _index(recipe: SwiftRecipe, job: Job, cases: tuple[str, ...]) -> PatchIndex:
    """Proposals of the labelled slides of `cases`, each a figure or background.

    Raises:
        CohortError: there is no figure, or no background, among them.
    """
    entries = [entry for entry in job.cohort.of_cases(cases).slides if entry.labelled]
    pieces: list[PatchIndex] = []
    for number, entry in enumerate(entries, start=1):
        pieces += _proposals_of(recipe, job, entry)
        if job.progress is not None:
            job.progress("proposals", number, len(entries))
    index = PatchIndex.concatenate(pieces) if pieces else None
    for origin in (Origin.FIGURE, Origin.BACKGROUND):
        if index is None or len(index.with_origin(origin)) == 0:
            raise CohortError(
                f"the cases {', '.join(cases)} have no proposal that is {origin.value} to learn from",
                where=job.cohort.folder,
                remedy="move a case with labelled figures into this part of the fold",
            )
    assert index is not None
    return index


def _proposals_of(recipe: SwiftRecipe, job: Job, entry: SlideEntry) -> Iterator[PatchIndex]:
    """Figures, then background, of one slide, as detection will see them; inside its ROI, outside nothing is known."""
    views = (recipe.screening.view, recipe.refined.view)
    plan = Plan(frame=recipe.frame, proposer=recipe.proposer, views=views, reach_um=0.0, stain_target=None)
    center_l0 = propose(job.cohort, entry, plan).center_l0
    figures_l0 = job.cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE).center_l0
    is_figure, is_background = sort_proposals(center_l0 * entry.mpp, figures_l0 * entry.mpp, recipe.truth)
    for mine, origin in ((is_figure, Origin.FIGURE), (is_background, Origin.BACKGROUND)):
        yield PatchIndex.of(slide_id=entry.slide_id, center_l0=center_l0[mine], origin=origin, mpp=recipe.frame.mpp)


def train_screening(recipe: SwiftRecipe, job: Job, patches: _Patches) -> nn.Module:
    """The first network: sees every proposal, small and coarse; keeps nearly all figures."""
    pool = patches.train["screening"]
    kinds = {"figures": pool.figures, "background": pool.background}
    ratio = dict(zip(kinds, recipe.screening_ratio, strict=True))
    return train_stage(_task(recipe, patches, "screening", "screening", kinds, ratio), job)


def mine(recipe: SwiftRecipe, job: Job, patches: _Patches, screening: nn.Module) -> NDArray[np.intp]:
    """Background that the first network takes for figures, as rows of the index."""
    pool = patches.train["screening"]

    def train_apart(name: str, seen: NDArray[np.bool_]) -> nn.Module:
        kinds = {"figures": pool.figures[seen[pool.figures]], "background": pool.background[seen[pool.background]]}
        ratio = dict(zip(kinds, recipe.screening_ratio, strict=True))
        apart = replace(patches, ledger=Ledger.of(pool.index.patch_id))
        return train_stage(_task(recipe, apart, "screening", name, kinds, ratio), job)

    return mine_false_positives(recipe.mining, job, pool, patches.ledger, screening, train_apart, recipe.seed)


def train_refined(recipe: SwiftRecipe, job: Job, patches: _Patches, mined: NDArray[np.intp]) -> nn.Module:
    """The second network: sees what the first lets through; figures, background and false positives as 1 : 1 : 3."""
    pool = patches.train["refined"]
    kinds = {"figures": pool.figures, "background": pool.background}
    ratio = dict(zip(kinds, recipe.screening_ratio, strict=True))
    if recipe.mining.enabled:
        kinds["false positives"] = mined
        ratio = dict(zip(kinds, recipe.refined_ratio, strict=True))
    return train_stage(_task(recipe, patches, "refined", "refined", kinds, ratio), job)


def _task(
    recipe: SwiftRecipe,
    patches: _Patches,
    stage: Literal["screening", "refined"],
    name: str,
    kinds: dict[str, NDArray[np.intp]],
    ratio: dict[str, float],
) -> StageTask:
    part = recipe.screening if stage == "screening" else recipe.refined
    return StageTask(
        name=name,
        network=part.network,
        config=part.train,
        loss=recipe.loss,
        augment=part.augment,
        pool=patches.train[stage],
        rows=kinds,
        ratio=ratio,
        validation=patches.validation[stage],
        validation_rows=patches.validation_rows,
        ledger=patches.ledger,
        seed=recipe.seed,
    )


def assemble(recipe: SwiftRecipe, job: Job, store: FrameStore, screening: nn.Module, refined: nn.Module) -> Detector:
    """Proposer and both networks as one detector, thresholds from the validation cases where the recipe says so."""
    gate = min(GATES) if recipe.screening_threshold == "validation" else recipe.screening_threshold
    last = 0.5 if recipe.refined_threshold == "validation" else recipe.refined_threshold
    target = store.load_target()
    stages = tuple(
        Stage(
            name=name,
            network=part.network,
            threshold=threshold,
            turns=part.turns,
            turn_above=part.turn_above,
            **part.view.model_dump(),
        )
        for name, part, threshold in (("screening", recipe.screening, gate), ("refined", recipe.refined, last))
    )
    config = DetectorConfig(
        made_by="mitosieve recipe swift",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=stages,
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
        stain_target=None if target is None else target.to_json(),
    )
    untuned = Detector(config=config, networks=((screening,), (refined,)))
    return tuned(job, "detector", untuned, gate=recipe.screening_threshold, last=recipe.refined_threshold)
