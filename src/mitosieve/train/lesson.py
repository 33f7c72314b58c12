"""One training: a network, what it is fed, what is made small, for how long. A recipe is turned into lessons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.errors import TrainingError
from mitosieve.network.loss import LossConfig
from mitosieve.run.seed import derive_generator
from mitosieve.train.curve import validation_curve
from mitosieve.train.feed import Augment, Feed, unvaried_rows
from mitosieve.train.job import Job
from mitosieve.train.objective import Objective, Supervised
from mitosieve.train.pool import Pools
from mitosieve.train.sampler import RatioSampler
from mitosieve.train.schedule import TrainConfig

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Lesson(Generic[Network]):
    """All that one training is; what it runs on is its job's.

    Attributes:
        name: names its files, folders included, and the stream of its dropout.
        network: freshly initialised; changed in place.
        feed: batches by step.
        steps: length.
        schedule: learning rates, checkpoints, validations.
        objective: what is made small, with all that it remembers.
        seed: of the run.
        validate: figures of the averaged network for the curves, by name; None for no validation.
        keep: writes what the objective remembers, before the weights.
    """

    name: str
    network: Network
    feed: Feed
    steps: int
    schedule: TrainConfig
    objective: Objective
    seed: int
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    keep: Callable[[], object] | None = None


def fresh(build: Callable[[], Network], seed: int, name: str) -> Network:
    """A network with the initial weights that (seed, name) gives."""
    torch.manual_seed(int(derive_generator(seed, f"{name} weights").integers(2**62)))
    return build()


def classification(  # noqa: PLR0913 - what tells one such training from another, by name
    name: str,
    network: Network,
    pools: Pools,
    kinds: Mapping[str, NDArray[np.intp]],
    *,
    ratio: Mapping[str, float],
    schedule: TrainConfig,
    loss: LossConfig,
    augment: Augment,
    job: Job,
    seed: int,
    fixed_figures: bool = False,
) -> Lesson[Network]:
    """The plain lesson: figures against the rest, kinds in a fixed ratio.

    Args:
        name: of the lesson.
        network: with its initial weights.
        pools: what is learned from and judged on.
        kinds: rows of the training pool by kind; "figures" are always among them.
        ratio: share of each kind in a batch.
        schedule: an epoch shows each figure once.
        loss: per sample.
        augment: how patches are varied.
        job: of the run.
        seed: of the run.
        fixed_figures: whether figures come in fixed variants that are in the index already.

    Raises:
        TrainingError: there is no figure to learn from.
    """
    if len(kinds["figures"]) == 0:
        raise TrainingError(
            f"'{name}' has no figure to learn from",
            where=job.run.path,
            remedy="add training cases with figures",
        )
    sampler = RatioSampler(dict(kinds), dict(ratio), batch_size=schedule.batch_size, seed=seed)
    feed = Feed(
        pool=pools.train,
        sampler=sampler,
        augments=(augment,),
        streams=(f"{name} variants",),
        target=pools.train.index.label,
        seed=seed,
        unvaried=unvaried_rows(pools.train, augment, fixed_figures=fixed_figures),
    )
    return Lesson(
        name=name,
        network=network,
        feed=feed,
        steps=schedule.steps(len(kinds["figures"]), sampler.count["figures"]),
        schedule=schedule,
        objective=Supervised(loss),
        seed=seed,
        validate=validation_curve(pools.validation, pools.curve_rows, loss, job.compute),
    )
