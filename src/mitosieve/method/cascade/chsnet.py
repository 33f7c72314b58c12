"""CHS-NET: a cascade of a screening and a refined network, with hard example mining and semi-focal loss.

Reads like section 3 of Ma et al., ACML 2018: patches (3.4), screening network (3.1.1), hard example mining (3.2),
refined network (3.1.2), and the cascade that tests with both. Cascade, mining and loss can each be switched off, as in
their table 4.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.method.cascade.mining import MiningConfig, mine_false_positives
from mitosieve.network.chsnet import ChsNetConfig
from mitosieve.network.loss import LossConfig
from mitosieve.patch.augment.variant import AugmentConfig, paper_variants
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.reader import margin_for
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.sieve.propose.proposer import GridProposer
from mitosieve.sieve.propose.windows import WindowConfig
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig
from mitosieve.train.pool import PatchPool, make_pool, render_frames
from mitosieve.train.stage import GATES, StageTask, train_stage, tuned

VALIDATION_NEGATIVES = 500
"""Background windows of the validation cases that the curves are drawn from, beside all their figures."""

_PAPER_REFINED = TrainConfig(
    epochs=15, rates=((0, 0.1), (2.5 / 15, 0.01), (6 / 15, 1e-3), (9.5 / 15, 1e-4), (13 / 15, 3e-5))
)


Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class CascadeConfig(BaseModel):
    """How the trained networks detect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: the refined network alone looks at every window."""
    proposer: GridProposer = GridProposer(stride_px=64)
    screening_threshold: Share | Literal["validation"] = 0.8
    """Gate of the screening network. The paper tests with 0.80 (section 4.3) and describes 0.2 (section 3.1.2);
    "validation" takes, of GATES, the one of best F1 on the validation cases."""
    refined_threshold: Share | Literal["validation"] = 0.85
    """Operating threshold; "validation" takes the one of best F1 on the validation cases."""
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
    """Initial weights of the refined network; "the same parameters" in section 4.2.3 can be read both ways."""
    mining: MiningConfig = MiningConfig()
    cascade: CascadeConfig = CascadeConfig()


@dataclass(frozen=True, kw_only=True)
class _Patches:
    """What both networks learn from."""

    train: PatchPool
    validation: PatchPool
    validation_rows: NDArray[np.intp]
    ledger: Ledger
    store: FrameStore


def run_chsnet(recipe: ChsNetRecipe, job: Job) -> Detector:
    """Train the cascade on the fold's training cases; thresholds from its validation cases; the test is not touched.

    Every part leaves a file and is skipped when that file is there, so a killed run goes on where it was.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    with job.timed("patches"):
        patches = gather_patches(recipe, job)
    with job.timed("screening network"):
        screening = train_screening(recipe, job, patches)
    with job.timed("hard example mining"):
        mined = mine(recipe, job, patches, screening)
    refined: nn.Module | None = None
    if recipe.mining.enabled or recipe.cascade.enabled:
        with job.timed("refined network"):
            refined = train_refined(recipe, job, patches, screening, mined)
    patches.ledger.save(job.file("ledger.parquet"))
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, patches.store, screening, refined)


def gather_patches(recipe: ChsNetRecipe, job: Job) -> _Patches:
    """Section 3.4: stain-normalised frames, figures with their variants, windows that may be negative."""
    margin = margin_for(recipe.windows.patch_px, recipe.augment.translate_px)
    store = FrameStore(job.file("frames"), recipe.frame, margin_px=margin)
    render_frames(job, store)

    def variants(slide_id: str, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        generator = derive_generator(recipe.seed, f"paper variants of {slide_id}", number)
        return paper_variants(generator, translate_px=recipe.augment.translate_px)

    pool = make_pool(
        job.cohort, job.fold.train, store, recipe.windows, variants if recipe.variants == "paper" else None
    )
    validation = make_pool(job.cohort, job.fold.validation, store, recipe.windows)
    chosen = derive_generator(recipe.seed, "validation windows").permutation(validation.background)
    rows = np.sort(np.concatenate([validation.figures, chosen[:VALIDATION_NEGATIVES]]))
    write_json(job.file("patches.json"), {"train": pool.index.count(), "validation": validation.index.count()})
    return _Patches(
        train=pool, validation=validation, validation_rows=rows, ledger=Ledger.of(pool.index.patch_id), store=store
    )


def train_screening(recipe: ChsNetRecipe, job: Job, patches: _Patches) -> nn.Module:
    """Section 3.1.1: keep nearly all figures, screen out what is easy."""
    pools = {"figures": patches.train.figures, "background": patches.train.background}
    ratio = dict(zip(pools, recipe.screening_ratio, strict=True))
    return _train(recipe, job, patches, "screening", pools, ratio, recipe.screening, None)


def mine(recipe: ChsNetRecipe, job: Job, patches: _Patches, screening: nn.Module) -> NDArray[np.intp]:
    """Section 3.2: background windows that the screening network takes for figures, as rows of the index."""
    return mine_false_positives(
        recipe.mining,
        job,
        patches.train,
        patches.ledger,
        screening,
        lambda name, seen: train_apart(recipe, job, patches, name, seen),
        recipe.seed,
    )


def train_apart(recipe: ChsNetRecipe, job: Job, patches: _Patches, name: str, seen: NDArray[np.bool_]) -> nn.Module:
    """A screening network that has learned from the rows `seen` alone."""
    pool = patches.train
    pools = {"figures": pool.figures[seen[pool.figures]], "background": pool.background[seen[pool.background]]}
    ratio = dict(zip(pools, recipe.screening_ratio, strict=True))
    apart = replace(patches, ledger=Ledger.of(pool.index.patch_id))
    return _train(recipe, job, apart, name, pools, ratio, recipe.screening, None)


def train_refined(
    recipe: ChsNetRecipe, job: Job, patches: _Patches, screening: nn.Module, mined: NDArray[np.intp]
) -> nn.Module:
    """Section 3.1.2 with the sampling of 3.2: figures, background and false positives as 1 : 1 : 3."""
    pools = {"figures": patches.train.figures, "background": patches.train.background}
    ratio = dict(zip(pools, recipe.screening_ratio, strict=True))
    if recipe.mining.enabled:
        pools["false positives"] = mined
        ratio = dict(zip(pools, recipe.refined_ratio, strict=True))
    start = screening if recipe.refined_start == "screening" else None
    return _train(recipe, job, patches, "refined", pools, ratio, recipe.refined, start)


def _train(  # noqa: PLR0913 - the parts of one stage, used only here
    recipe: ChsNetRecipe,
    job: Job,
    patches: _Patches,
    name: str,
    pools: dict[str, NDArray[np.intp]],
    ratio: dict[str, float],
    config: TrainConfig,
    start: nn.Module | None,
) -> nn.Module:
    """One network of the cascade; both are alike but for what they are fed."""
    task = StageTask(
        name=name,
        network=recipe.network,
        config=config,
        loss=recipe.loss,
        augment=recipe.augment,
        pool=patches.train,
        rows=pools,
        ratio=ratio,
        validation=patches.validation,
        validation_rows=patches.validation_rows,
        ledger=patches.ledger,
        seed=recipe.seed,
        fixed_figures=recipe.variants == "paper",
        start=start,
    )
    return train_stage(task, job)


def assemble(
    recipe: ChsNetRecipe, job: Job, store: FrameStore, screening: nn.Module, refined: nn.Module | None
) -> Detector:
    """Section 4.3: both networks must agree; then the parts alone, if asked for, each with its own threshold."""
    both = _stages(recipe, screening, refined)
    parts: dict[str, list[tuple[Stage, nn.Module]]] = {}
    if recipe.cascade.parts_too:
        parts |= {f"detector-{stage.name}-alone": [(stage, network)] for stage, network in both}
    parts["detector"] = both if recipe.cascade.enabled else both[-1:]  # last: where it is, the run is done
    made: dict[str, Detector] = {}
    target = store.load_target()
    for folder, stages in parts.items():
        config = DetectorConfig(
            made_by="mitosieve recipe chsnet",
            frame=recipe.frame,
            proposer=recipe.cascade.proposer,
            stages=tuple(stage for stage, _ in stages),
            merge_um=recipe.cascade.merge_um,
            keep_above=recipe.cascade.keep_above,
            stain_target=None if target is None else target.to_json(),
        )
        untuned = Detector(config=config, networks=tuple((network,) for _, network in stages))
        made[folder] = tuned(
            job,
            folder,
            untuned,
            gate=recipe.cascade.screening_threshold,
            last=recipe.cascade.refined_threshold,
        )
    return made["detector"]


def _stages(recipe: ChsNetRecipe, screening: nn.Module, refined: nn.Module | None) -> list[tuple[Stage, nn.Module]]:
    def stage(name: str, threshold: float) -> Stage:
        return Stage(name=name, network=recipe.network, patch_px=recipe.windows.patch_px, threshold=threshold)

    asked = recipe.cascade
    gate = min(GATES) if asked.screening_threshold == "validation" else asked.screening_threshold
    stages = [(stage("screening", gate), screening)]
    if refined is not None:
        last = 0.5 if asked.refined_threshold == "validation" else asked.refined_threshold
        stages.append((stage("refined", last), refined))
    return stages
