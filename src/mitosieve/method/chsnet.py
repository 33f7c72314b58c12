"""CHS-NET: a cascade of a screening and a refined network, with hard example mining and semi-focal loss.

Reads like section 3 of Ma et al., ACML 2018: patches (3.4), screening network (3.1.1), hard example mining (3.2),
refined network (3.1.2), and the cascade that tests with both. Cascade, mining and loss can each be switched off, as in
their table 4.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.detection import Detections
from mitosieve.detector import Detector, DetectorConfig, GridProposer, Stage, build_network, load_weights, save_weights
from mitosieve.difficulty.ledger import Ledger
from mitosieve.difficulty.sampler import RatioSampler, derive_generator
from mitosieve.errors import TrainingError
from mitosieve.evaluation import choose_threshold
from mitosieve.export.table import write_detections
from mitosieve.method.job import Job
from mitosieve.method.pool import PatchFeed, PatchPool, make_pool, screening_table, validation_judge
from mitosieve.network.chsnet import ChsNetConfig
from mitosieve.network.loss import LossConfig
from mitosieve.patch.augment import AugmentConfig, paper_variants
from mitosieve.patch.frames import FrameConfig, FrameStore, fit_target
from mitosieve.patch.grid import WindowConfig
from mitosieve.patch.reader import margin_for
from mitosieve.runfolder import write_json
from mitosieve.sieve import detect
from mitosieve.train import TrainConfig, Training, train

VALIDATION_NEGATIVES = 500
"""Background windows of the validation cases that the curves are drawn from, beside all their figures."""

GATES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
"""Gates that are tried on the validation cases, where the recipe asks for it."""

_PAPER_REFINED = TrainConfig(
    epochs=15, rates=((0, 0.1), (2.5 / 15, 0.01), (6 / 15, 1e-3), (9.5 / 15, 1e-4), (13 / 15, 3e-5))
)


Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class MiningConfig(BaseModel):
    """Offline hard example mining (section 3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: the refined network is trained like the screening network, without false positives."""
    threshold: float = Field(default=0.2, ge=0, le=1)
    """Background windows that the screening network scores above this are false positives (section 3.1.1)."""
    scores: Literal["in-sample", "out-of-fold"] = "in-sample"
    """Whether windows are scored by the network that has trained on them (the paper), or by one that has not."""
    folds: int = Field(default=3, ge=2, le=20)
    """Inner folds for out-of-fold scores: by case, or by slide where there are fewer cases than folds."""


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
    done = job.file("detector")
    if (done / "detector.toml").exists():
        return Detector.load(done)
    with job.timed("patches"):
        patches = gather_patches(recipe, job)
    with job.timed("screening network"):
        screening = train_screening(recipe, job, patches)
    with job.timed("hard example mining"):
        mined = mine_false_positives(recipe, job, patches, screening)
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
    _render_frames(recipe, job, store)

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


def _render_frames(recipe: ChsNetRecipe, job: Job, store: FrameStore) -> None:
    """Fit the stain on training slides and render the slides of train and validation; test slides are not opened."""
    train_slides = [entry.slide_id for entry in job.cohort.of_cases(job.fold.train).slides if entry.labelled]
    held_out = [entry.slide_id for entry in job.cohort.of_cases(job.fold.validation).slides if entry.labelled]
    try:
        target = store.load_target()
    except FileNotFoundError:
        openers = [partial(job.cohort.open, slide_id) for slide_id in train_slides]
        target = fit_target(openers) if recipe.frame.stain == "macenko" else None
        store.save_target(target)
    everything = [*train_slides, *held_out]
    for number, slide_id in enumerate(everything, start=1):
        store.add(slide_id, partial(job.cohort.open, slide_id), target)
        if job.progress is not None:
            job.progress("frames", number, len(everything))


def train_screening(recipe: ChsNetRecipe, job: Job, patches: _Patches) -> nn.Module:
    """Section 3.1.1: keep nearly all figures, screen out what is easy."""
    pools = {"figures": patches.train.figures, "background": patches.train.background}
    ratio = dict(zip(pools, recipe.screening_ratio, strict=True))
    return _train_stage(recipe, job, patches, "screening", pools, ratio, recipe.screening, None)


def mine_false_positives(recipe: ChsNetRecipe, job: Job, patches: _Patches, screening: nn.Module) -> NDArray[np.intp]:
    """Section 3.2: background windows that the screening network takes for figures, as rows of the index."""
    pool, ledger = patches.train, patches.ledger
    path = job.file("mining.json")
    if path.exists() and (saved := job.file("ledger-mining.parquet")).exists():
        ledger.restore(Ledger.load(saved).arrays())
    else:
        for rows, network in _mining_parts(recipe, job, patches, screening):
            ledger.record_mined(rows, pool.score(network, rows, job.compute, job.progress))
        ledger.save(job.file("ledger-mining.parquet"))
        kept = screening_table(
            ledger.score_mined[pool.figures], ledger.score_mined[pool.background], recipe.mining.threshold
        )
        network = "screening" if recipe.mining.scores == "in-sample" else "inner screening networks"
        write_json(path, {"rounds": [{"network": network, "scores": recipe.mining.scores, **kept}]})
    background = pool.background
    return background[ledger.score_mined[background] > recipe.mining.threshold]


def _mining_parts(
    recipe: ChsNetRecipe, job: Job, patches: _Patches, screening: nn.Module
) -> list[tuple[NDArray[np.intp], nn.Module]]:
    """Which rows are scored by which network: all by the screening network, or each by one that has not seen it."""
    pool = patches.train
    everything = np.arange(len(pool.index))
    if recipe.mining.scores == "in-sample" or not recipe.mining.enabled:
        return [(everything, screening)]
    part_of = _inner_folds(recipe, job, patches)
    answer: list[tuple[NDArray[np.intp], nn.Module]] = []
    for number in range(recipe.mining.folds):
        seen = part_of != number
        pools = {"figures": pool.figures[seen[pool.figures]], "background": pool.background[seen[pool.background]]}
        ratio = dict(zip(pools, recipe.screening_ratio, strict=True))
        apart = _Patches(
            train=pool,
            validation=patches.validation,
            validation_rows=patches.validation_rows,
            ledger=Ledger.of(pool.index.patch_id),
            store=patches.store,
        )
        name = f"screening without part {number + 1}"
        answer.append(
            (np.flatnonzero(~seen), _train_stage(recipe, job, apart, name, pools, ratio, recipe.screening, None))
        )
    return answer


def _inner_folds(recipe: ChsNetRecipe, job: Job, patches: _Patches) -> NDArray[np.int64]:
    """Inner fold of each row: cases dealt round, or slides where there are fewer cases than folds."""
    slides = patches.train.index.slide_id
    case = {entry.slide_id: entry.case_id for entry in job.cohort.slides}
    group = np.array([case[str(slide_id)] for slide_id in slides])
    if len(np.unique(group)) < recipe.mining.folds:
        group = slides
    names = derive_generator(recipe.seed, "inner folds").permutation(np.unique(group))
    number = {name: i % recipe.mining.folds for i, name in enumerate(names)}
    return np.array([number[name] for name in group], dtype=np.int64)


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
    return _train_stage(recipe, job, patches, "refined", pools, ratio, recipe.refined, start)


def _train_stage(  # noqa: PLR0913 - the parts of one stage, used only here
    recipe: ChsNetRecipe,
    job: Job,
    patches: _Patches,
    name: str,
    pools: dict[str, NDArray[np.intp]],
    ratio: dict[str, float],
    config: TrainConfig,
    start: nn.Module | None,
) -> nn.Module:
    """Train one network and keep weights, ledger and history; or take them if they are there."""
    if len(pools["figures"]) == 0:
        raise TrainingError(
            f"'{name}' has no figure to learn from",
            where=job.run.path,
            remedy='use fewer mining.folds, or mining.scores = "in-sample"',
        )
    weights = job.file(f"networks/{name}.safetensors")
    ledger_file = job.file(f"ledger-{name}.parquet")
    torch.manual_seed(int(derive_generator(recipe.seed, f"{name} weights").integers(2**62)))
    network = build_network(recipe.network)
    if weights.exists():
        job.file(f"checkpoint/{name}.safetensors").unlink(missing_ok=True)  # a kill may have spared it
        patches.ledger.restore(Ledger.load(ledger_file).arrays())
        return load_weights(network, weights)
    if start is not None:
        network.load_state_dict(start.state_dict())
    sampler = RatioSampler(pools, ratio, batch_size=config.batch_size, seed=recipe.seed)
    training = Training(
        name=name,
        folder=job.run.path,
        feed=PatchFeed(
            name=name,
            pool=patches.train,
            sampler=sampler,
            augment=recipe.augment,
            fixed_figures=recipe.variants == "paper",
            seed=recipe.seed,
        ),
        steps=config.steps(len(pools["figures"]), sampler.count["figures"]),
        config=config,
        loss=recipe.loss,
        ledger=patches.ledger,
        seed=recipe.seed,
        compute=job.compute,
        validate=validation_judge(patches.validation, patches.validation_rows, recipe.loss, job.compute),
        progress=job.progress,
    )
    network, history = train(network, training)
    patches.ledger.save(ledger_file)
    write_json(job.file(f"history/{name}.json"), history)
    save_weights(network, weights)
    training.checkpoint.unlink(missing_ok=True)
    return network


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
        made[folder] = _tuned(recipe, job, folder, untuned)
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


def _tuned(recipe: ChsNetRecipe, job: Job, folder: str, untuned: Detector) -> Detector:
    """Detect on the validation cases, set the thresholds that are to come from there, keep what was found, and save."""
    if job.file(f"{folder}/detector.toml").exists():
        return Detector.load(job.file(folder))
    found = detect(untuned, job.cohort, cases=job.fold.validation, compute=job.compute, progress=job.progress)
    tuned = untuned
    if recipe.cascade.screening_threshold == "validation" and len(untuned.config.stages) > 1:
        tuned = untuned.with_gate(_best_gate(job, found))
        found = detect(tuned, job.cohort, cases=job.fold.validation, compute=job.compute, progress=job.progress)
    if recipe.cascade.refined_threshold == "validation":
        tuned = tuned.with_threshold(choose_threshold(found, job.cohort, cases=job.fold.validation).threshold)
    name = folder.replace("detector", "validation")
    write_detections(job.file(f"{name}/detections.csv"), found.at_threshold(tuned.config.threshold))
    return Detector.load(tuned.save(job.file(folder)))


def _best_gate(job: Job, found: Detections) -> float:
    """The gate whose survivors reach the best F1 on validation; of equal ones the lowest, which loses least.

    Judged on detections at the lowest gate: their strongest window must pass. The chosen gate is then run for real.
    """

    def best_f1(gate: float) -> float:
        survivors = found[found.stage_score[:, 0] >= gate]
        return choose_threshold(survivors, job.cohort, cases=job.fold.validation).f1

    return max(GATES, key=lambda gate: (best_f1(gate), -gate))
