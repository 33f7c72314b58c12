"""One way through the stages of DASC: a recipe on one set of labels, and where its files go."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitosieve.method.dasc.recipe import DascRecipe
from mitosieve.network.resnet import ResNetBody, ResNetConfig, load_public_weights
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.run import layout
from mitosieve.train import Feed, Job, Network, Places, Pools, Sampler, fresh
from mitosieve.train.appearance import looks_for


@dataclass(frozen=True, kw_only=True)
class Course:
    """One way through the stages: the method itself, or a control of it.

    Attributes:
        recipe: of this way.
        job: of the run.
        folder: in the run, where this way's files are; empty is the run itself.
        pools: `pools.train` holds the chosen labels; rows of all arrays are theirs.
    """

    recipe: DascRecipe
    job: Job
    folder: str
    pools: Pools

    @property
    def labels(self) -> Places:
        """What is learned from."""
        return self.pools.train.places

    @property
    def label(self) -> NDArray[np.int8]:
        """(N,) 1 for a figure, 0 for anything else."""
        return self.labels.index.label

    def file(self, name: str) -> Path:
        return self.job.file(self.folder) / name

    def timed(self, part: str) -> AbstractContextManager[None]:
        """The run's clock for a part of this way."""
        return self.job.timed(f"{self.folder}: {part}" if self.folder else part)

    def name_of(self, stage: str) -> str:
        """What a stage's lesson is called in files."""
        return f"{self.folder}/{stage}" if self.folder else stage

    def shape(self, stages: int) -> ResNetConfig:
        """The network's shape with so many stages."""
        return self.recipe.network.model_copy(update={"stages": stages})

    def fresh(self, build: Callable[[], Network], stage: str) -> Network:
        """A network with the initial weights of this stage: the same on every way through the method."""
        return begun(fresh(build, self.recipe.seed, stage), self.recipe.initial)

    def feed(
        self,
        stage: str,
        sampler: Sampler,
        augments: tuple[DistortionConfig, ...],
        target: NDArray[np.number],
        learned: NDArray[np.intp],
    ) -> Feed:
        """Batches of the labels `learned`, each seen once a distortion; random streams are the same on every way."""
        return Feed(
            pool=self.pools.train,
            sampler=sampler,
            augments=augments,
            streams=tuple(f"{stage} view {number}" for number in range(1, len(augments) + 1)),
            target=target,
            seed=self.recipe.seed,
            looks=looks_for(self.pools.train, [learned], self.job.cohort, *(augment.exchange for augment in augments)),
            places=True,
        )

    def is_trained(self, stage: str) -> bool:
        """Whether the run holds the stage's network and all that was kept with it; its checkpoint is then removed."""
        name = self.name_of(stage)
        done = self.job.file(layout.weights_of(name)).exists()
        if done:  # a kill may have spared it
            self.job.file(layout.checkpoint_of(name)).unlink(missing_ok=True)
        return done


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
