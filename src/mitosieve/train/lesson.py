"""One training: a network, what it is fed, what is made small, for how long. A recipe is turned into lessons."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.annotation import Annotations
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import TrainingError
from mitosieve.network.loss import LossConfig
from mitosieve.run.seed import derive_generator
from mitosieve.train.appearance import looks_for
from mitosieve.train.curve import validation_curve
from mitosieve.train.feed import Augment, Feed, unvaried_rows
from mitosieve.train.job import Job
from mitosieve.train.objective import Objective, Supervised
from mitosieve.train.places import NO_MARK, Places
from mitosieve.train.pool import Pools
from mitosieve.train.sampler import BalancedSampler, RatioSampler
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


class BatchConfig(BaseModel):
    """Targets and balance of the batches of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: Literal["hard", "agreement"] = "hard"
    """What is learned of a place: "hard" 1 for a figure and 0 for all else; "agreement" the share of raters who called
    its mark a figure, where that is known and no correction or review has overruled them: then it is "hard". For the
    cross-entropy alone."""
    balance: Literal["none", "source", "domain"] = "none"
    """By what figures and negatives are balanced: each source, or domain, gives a batch as many negatives a figure as
    every other, so that neither tells the class."""
    weight_power: float = Field(default=0.5, ge=0, le=1)
    """Share of a source in a batch: its figures, or negatives, to this power. 0 makes all sources alike."""
    weigh_by: Literal["figures", "negatives"] = "figures"
    """What is counted for that share. Crops round figures are many figures and little tissue: by figures they crowd out
    the slides that false alarms are learned on."""

    def check(self, *losses: LossConfig) -> None:
        """Refuse losses that take no target between 0 and 1.

        Raises:
            ValueError: for a recipe's validator.
        """
        wrong = sorted({loss.kind for loss in losses if loss.kind != "cross-entropy"})
        if self.targets == "agreement" and wrong:
            raise ValueError(
                f'targets = "agreement" lie between 0 and 1, which the {wrong[0]} loss does not take: '
                'give loss.kind = "cross-entropy", or targets = "hard"'
            )

    def target(self, places: Places, annotations: Annotations) -> NDArray[np.float32]:
        """What is to be learned of each place, (N,) in 0..1.

        Args:
            places: the rule that found them tells their marks.
            annotations: of the cohort.
        """
        hard = places.index.label.astype(np.float32)
        if self.targets == "hard":
            return hard
        marked = places.mark != NO_MARK
        soft = np.full(len(places), np.nan)
        overruled = (annotations.label_before != "") & (annotations.label_before != annotations.label)
        soft[marked] = np.where(overruled, np.nan, annotations.score)[places.mark[marked]]
        return np.where(np.isnan(soft), hard, soft).astype(np.float32)

    def note_left_out(
        self,
        job: Job,
        places: Places,
        part: NDArray[np.int64] | None = None,
        crops: Collection[str] = (),
    ) -> None:
        """Say which sources, or domains, have places of one class alone: they would tell it, and are never dealt; and
        which hold crops and whole slides, between which nothing is balanced.

        Args:
            job: of the run.
            places: of its training slides.
            part: (N,) of each place, where networks are trained that each leave one part out; a source that has one
                class left then is told too.
            crops: names of the cohort's crops.
        """
        if self.balance == "none":
            return
        group = self._groups(places.index.slide_id, job.cohort)
        of_crop = np.isin(places.index.slide_id, sorted(crops))
        both = sorted(set(group[of_crop].tolist()) & set(group[~of_crop].tolist()))
        if both:
            job.note(
                f"{self.balance} {', '.join(repr(name) for name in both)} holds crops and whole slides: what a crop "
                "looks like tells the class where crops have more figures a negative. Give crops a source and domain "
                "of their own (import --source-name, --domain): batches are balanced between them then"
            )
        told: set[str] = set()
        left_out = [] if part is None else np.unique(part).tolist()
        for number in (None, *left_out):
            seen = np.ones(len(group), dtype=np.bool_) if part is None or number is None else part != number
            figures, negatives = (set(group[seen & (places.index.label == label)].tolist()) for label in (1, 0))
            where = "" if number is None else f" where part {number + 1} of the patients is left out"
            for name in sorted((figures ^ negatives) - told):
                held, lacking = ("figures", "background") if name in figures else ("background", "figure")
                job.note(
                    f"{self.balance} '{name}' has no {lacking} to learn from{where}: its "
                    f"{int((seen & (group == name)).sum())} places, all {held}, are left out of batches that are "
                    f'balanced by {self.balance} (batches.balance = "none" would take them)'
                )
            told |= figures ^ negatives if number is None else set()

    def _groups(self, slide_id: NDArray[np.str_], cohort: Cohort) -> NDArray[np.str_]:
        """Source or domain (N,) of each row's slide."""
        domain_of = {entry.slide_id: entry.domain for entry in cohort.slides}
        group_of = cohort.source_of if self.balance == "source" else domain_of
        names, row_of = np.unique(slide_id, return_inverse=True)
        return np.array([group_of[str(name)] for name in names], dtype=np.str_)[row_of]

    def sampler(  # noqa: PLR0913 - what tells one sampler from another, by name
        self,
        kinds: Mapping[str, NDArray[np.intp]],
        ratio: Mapping[str, float],
        slide_id: NDArray[np.str_],
        cohort: Cohort,
        *,
        batch_size: int,
        seed: int,
        hardness: NDArray[np.floating] | None = None,
    ) -> RatioSampler | BalancedSampler:
        """The sampler of a lesson's batches.

        Args:
            kinds: rows by kind; "figures" are always among them, all others are negatives.
            ratio: share of each kind.
            slide_id: (N,) slide of each row of the pool.
            cohort: tells the slides' sources and domains.
            batch_size: rows a batch.
            seed: of the run.
            hardness: (N,) of each row of the pool; the hardest are dealt first.

        Raises:
            TrainingError: as the samplers; or no source has both figures and negatives.
        """
        if self.balance == "none":
            return RatioSampler(kinds, ratio, batch_size=batch_size, seed=seed, hardness=hardness)
        return BalancedSampler(
            kinds,
            ratio,
            self._groups(slide_id, cohort),
            batch_size=batch_size,
            seed=seed,
            weight_power=self.weight_power,
            weigh_by=self.weigh_by,
            hardness=hardness,
        )


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
    batches: BatchConfig | None = None,
    fixed_figures: bool = False,
    hardness: NDArray[np.floating] | None = None,
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
        batches: targets and balance; None is hard targets, sources as they come.
        fixed_figures: whether figures come in fixed variants that are in the index already.
        hardness: (N,) of each training place; the hardest are shown first. None shows them as chance has it.

    Raises:
        TrainingError: there is no figure to learn from.
    """
    if len(kinds["figures"]) == 0:
        raise TrainingError(
            f"'{name}' has no figure to learn from",
            where=job.run.path,
            remedy="add training cases with figures",
        )
    config = BatchConfig() if batches is None else batches
    slide_id = pools.train.index.slide_id
    sampler = config.sampler(
        kinds,
        ratio,
        slide_id,
        job.cohort,
        batch_size=schedule.batch_size,
        seed=seed,
        hardness=hardness,
    )
    feed = Feed(
        pool=pools.train,
        sampler=sampler,
        augments=(augment,),
        streams=(f"{name} variants",),
        target=config.target(pools.train.places, job.cohort.annotations),
        seed=seed,
        unvaried=unvaried_rows(pools.train, augment, fixed_figures=fixed_figures),
        looks=looks_for(pools.train, kinds.values(), job.cohort, augment.exchange),
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
