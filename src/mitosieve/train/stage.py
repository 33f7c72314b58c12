"""Training one stage of a cascade, and setting the cascade's thresholds on validation cases; shared by the methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.detection import Detections
from mitosieve.errors import TrainingError
from mitosieve.export.table import write_detections
from mitosieve.network.loss import LossConfig
from mitosieve.network.registry import NetworkConfig, build_network, load_weights, save_weights
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.score.evaluation import choose_threshold
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig, Training, train
from mitosieve.train.objective import Supervised
from mitosieve.train.pool import PatchFeed, PatchPool, validation_judge
from mitosieve.train.sampler import RatioSampler

Network = TypeVar("Network", bound=nn.Module)

GATES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
"""Gates that are tried on the validation cases, where the recipe asks for it."""


@dataclass(frozen=True, kw_only=True)
class StageTask:
    """One network to be trained.

    Attributes:
        name: of the stage; names its files and random streams.
        network: its shape.
        config: how it is trained.
        loss: per sample.
        augment: how patches are varied.
        pool: training patches, as this stage sees them.
        rows: rows of the pool by kind; "figures" are always among them.
        ratio: share of each kind in a batch.
        validation: patches that curves are drawn from.
        validation_rows: which of them.
        ledger: of the training patches.
        seed: of the run.
        fixed_figures: whether figures come in fixed variants that are in the index already.
        start: network whose weights are taken first; None starts afresh.
    """

    name: str
    network: NetworkConfig
    config: TrainConfig
    loss: LossConfig
    augment: AugmentConfig | DistortionConfig
    pool: PatchPool
    rows: Mapping[str, NDArray[np.intp]]
    ratio: Mapping[str, float]
    validation: PatchPool
    validation_rows: NDArray[np.intp]
    ledger: Ledger
    seed: int
    fixed_figures: bool = False
    start: nn.Module | None = None


def train_stage(task: StageTask, job: Job) -> nn.Module:
    """Train one network and keep weights, ledger and history in the run; or take them if they are there.

    Raises:
        TrainingError: there is no figure to learn from.
    """
    name = task.name
    if len(task.rows["figures"]) == 0:
        raise TrainingError(
            f"'{name}' has no figure to learn from",
            where=job.run.path,
            remedy='use fewer mining.folds, or mining.scores = "in-sample"',
        )
    network = fresh(lambda: build_network(task.network), task.seed, name)
    if task.start is not None:
        network.load_state_dict(task.start.state_dict())
    return train_kept(network, _training(task, job), job)


def fresh(build: Callable[[], Network], seed: int, name: str) -> Network:
    """A network with the initial weights that (seed, name) gives."""
    torch.manual_seed(int(derive_generator(seed, f"{name} weights").integers(2**62)))
    return build()


def train_kept(network: Network, training: Training, job: Job, keep: Callable[[], object] | None = None) -> Network:
    """Train, and keep weights, ledger and history in the run; or take weights and ledger if they are there.

    Args:
        network: with its initial weights.
        training: its name names the files.
        job: of the run.
        keep: writes whatever else is to be kept, before the weights, whose file says that all is there.
    """
    name = training.name
    weights = job.file(f"networks/{name}.safetensors")
    ledger_file = job.file(f"ledger-{name}.parquet")
    if weights.exists():
        training.checkpoint.unlink(missing_ok=True)  # a kill may have spared it
        training.ledger.restore(Ledger.load(ledger_file).arrays())
        load_weights(network, weights)
        return network
    _, history = train(network, training)
    training.ledger.save(ledger_file)
    write_json(job.file(f"history/{name}.json"), history)
    if keep is not None:
        keep()
    save_weights(network, weights)
    training.checkpoint.unlink(missing_ok=True)
    return network


def _training(task: StageTask, job: Job) -> Training:
    sampler = RatioSampler(dict(task.rows), dict(task.ratio), batch_size=task.config.batch_size, seed=task.seed)
    feed = PatchFeed(
        name=task.name,
        pool=task.pool,
        sampler=sampler,
        augment=task.augment,
        fixed_figures=task.fixed_figures,
        seed=task.seed,
    )
    return Training(
        name=task.name,
        folder=job.run.path,
        feed=feed,
        steps=task.config.steps(len(task.rows["figures"]), sampler.count["figures"]),
        config=task.config,
        objective=Supervised(task.loss),
        ledger=task.ledger,
        seed=task.seed,
        compute=job.compute,
        validate=validation_judge(task.validation, task.validation_rows, task.loss, job.compute),
        progress=job.progress,
    )


def tuned(
    job: Job,
    folder: str,
    untuned: Detector,
    *,
    gate: float | Literal["validation"],
    last: float | Literal["validation"],
) -> Detector:
    """Detect on the validation cases, set the thresholds that are to come from there, keep what was found, and save.

    Args:
        job: of the run.
        folder: name of the detector's folder in the run; made whole already, it is only loaded.
        untuned: its first threshold must be the lowest of GATES where `gate` is "validation".
        gate: threshold of the first of several stages.
        last: operating threshold.
    """
    if job.file(f"{folder}/detector.toml").exists():
        return Detector.load(job.file(folder))
    found = detect(untuned, job.cohort, cases=job.fold.validation, compute=job.compute, progress=job.progress)
    ready = untuned
    if gate == "validation" and len(untuned.config.stages) > 1:
        ready = untuned.with_gate(_best_gate(job, found))
        found = detect(ready, job.cohort, cases=job.fold.validation, compute=job.compute, progress=job.progress)
    if last == "validation":
        ready = ready.with_threshold(choose_threshold(found, job.cohort, cases=job.fold.validation).threshold)
    name = folder.replace("detector", "validation")
    write_detections(job.file(f"{name}/detections.csv"), found.at_threshold(ready.config.threshold))
    return Detector.load(ready.save(job.file(folder)))


def _best_gate(job: Job, found: Detections) -> float:
    """The gate whose survivors reach the best F1 on validation; of equal ones the lowest, which loses least.

    Judged on detections at the lowest gate: their strongest window must pass. The chosen gate is then run for real.
    """

    def best_f1(gate: float) -> float:
        survivors = found[found.stage_score[:, 0] >= gate]
        return choose_threshold(survivors, job.cohort, cases=job.fold.validation).f1

    return max(GATES, key=lambda gate: (best_f1(gate), -gate))
