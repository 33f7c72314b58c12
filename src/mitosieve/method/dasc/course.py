"""What the stages of DASC share on one way through the method: labels, pixels, distortions, and where files go."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.geometry import px_from_um
from mitosieve.method.dasc.labels import Labels
from mitosieve.network.resnet import ResNetBody, ResNetConfig, load_public_weights
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig, Training
from mitosieve.train.objective import Objective
from mitosieve.train.pool import PatchPool
from mitosieve.train.stage import Network, fresh, train_kept
from mitosieve.train.views import Sampler, ViewsFeed


@dataclass(frozen=True, kw_only=True)
class Course:
    """One way through the stages, on one set of labels.

    Attributes:
        job: of the run.
        folder: in the run, where this way's files are; empty is the run itself.
        labels: what is learned from; rows of all arrays are its rows.
        pool: their pixels.
        validation: figures, imposters and candidates of the validation slides, for curves.
        validation_rows: which of them.
        network: shape; each stage has a depth of its own.
        weak, strong: the two kinds of distortion.
        initial: safetensors file with the body's first weights; None is random ones.
        seed: of the run.
    """

    job: Job
    folder: str
    labels: Labels
    pool: PatchPool
    validation: PatchPool
    validation_rows: NDArray[np.intp]
    network: ResNetConfig
    weak: DistortionConfig
    strong: DistortionConfig
    initial: Path | None
    seed: int

    @property
    def label(self) -> NDArray[np.int8]:
        return self.labels.index.label

    def file(self, name: str) -> Path:
        return self.job.file(self.folder) / name

    def timed(self, part: str) -> AbstractContextManager[None]:
        """The run's clock for a part of this way."""
        return self.job.timed(f"{self.folder}: {part}" if self.folder else part)

    def shape(self, stages: int) -> ResNetConfig:
        """The network's shape with so many stages."""
        return self.network.model_copy(update={"stages": stages})

    def fresh(self, build: Callable[[], Network], stage: str) -> Network:
        """A network with the initial weights of this stage: the same on every way through the method."""
        return begun(fresh(build, self.seed, stage), self.initial)

    def trained(self, network: Network, lesson: "Lesson") -> Network:
        """Train a network and keep it; or take it from the run."""
        side = self.network.input_px
        feed = ViewsFeed(
            name=lesson.stage,
            pool=self.pool,
            sampler=lesson.sampler,
            augments=lesson.augments,
            target=lesson.target,
            offset_px=np.array([px_from_um(1, self.labels.index.mpp)]) * self.labels.offset_um,
            seed=self.seed,
        )
        assert self.pool.view.patch_px == side
        training = Training(
            name=f"{self.folder}/{lesson.stage}" if self.folder else lesson.stage,
            folder=self.job.run.path,
            feed=feed,
            steps=lesson.steps,
            config=lesson.config,
            objective=lesson.objective,
            ledger=Ledger.of(self.labels.index.patch_id),
            seed=self.seed,
            compute=self.job.compute,
            validate=lesson.validate,
            progress=self.job.progress,
        )
        return train_kept(network, training, self.job, lesson.keep)

    def is_trained(self, stage: str) -> bool:
        """Whether the run holds the stage's network and all that was kept with it; its checkpoint is then removed."""
        done = (self.job.file("networks") / self.folder / f"{stage}.safetensors").exists()
        if done:  # a kill may have spared it
            (self.job.file("checkpoint") / self.folder / f"{stage}.safetensors").unlink(missing_ok=True)
        return done


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One training of a course.

    Attributes:
        stage: names its files and random streams.
        sampler: which rows a batch is made of.
        augments: distortion of each view of a sample.
        target: (N,) what is to be learned of each row.
        steps: length.
        config: schedule.
        objective: what is made small.
        validate: for the curves; None draws none.
        keep: writes what the objective remembers, before the weights.
    """

    stage: str
    sampler: Sampler
    augments: tuple[DistortionConfig, ...]
    target: NDArray[np.number]
    steps: int
    config: TrainConfig
    objective: Objective
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    keep: Callable[[], object] | None = None


def begun(network: Network, initial: Path | None) -> Network:
    """The network with the weights of a safetensors file in all its bodies; as it is where there is no file.

    Raises:
        DetectorError: as `load_public_weights`.
    """
    if initial is not None:
        for module in network.modules():
            if isinstance(module, ResNetBody):
                load_public_weights(module, initial)
    return network


def whole_epochs(config: TrainConfig, *, warm_up: int = 0) -> int:
    """Number of epochs of a training that counts in them.

    Args:
        config: of the training.
        warm_up: epochs at its start that do not count.

    Raises:
        ValueError: it is not a whole number, the length is given as patches, or the warm-up leaves nothing; for a
            recipe's validator, so that it is said before anything is trained.
    """
    if config.patch_visits is not None or config.epochs != int(config.epochs):
        raise ValueError(
            "this stage counts by epochs: give train.epochs a whole number, and leave out train.patch_visits"
        )
    epochs = int(config.epochs)
    if epochs <= warm_up:
        raise ValueError(f"of {epochs} epochs {warm_up} are warm-up: raise train.epochs, or lower warm_up")
    return epochs
