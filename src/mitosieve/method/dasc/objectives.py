"""What the trainings of DASC make small, and what each of them remembers on the way (stages DMU, DLE and SDSCL).

Row numbers are those of the run's labels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from mitosieve.method.dasc.rules.clusters import class_temperatures, cluster_temperatures, subclasses
from mitosieve.method.dasc.rules.levels import LevelHits
from mitosieve.method.dasc.rules.memory import Memory
from mitosieve.network.contrast import ContrastConfig, subclass_contrast, supervised_contrast
from mitosieve.network.location import LocationConfig, location_loss
from mitosieve.network.loss import cross_entropy, generalised_cross_entropy, smoothed_cross_entropy
from mitosieve.train.objective import Batch, StepResult

BRANCH_WEIGHTS = (0.25, 0.25, 0.5)
"""Of the weak branch, the strong branch and their fusion in the loss of the memory units."""


def over_views(image: Tensor) -> Tensor:
    """Images (B, 3V, H, W) of V views as one batch (B * V, 3, H, W): a sample's views stand together."""
    return image.reshape(-1, 3, *image.shape[2:])


@dataclass(kw_only=True)
class MemoryObjective:
    """Two branches and their fusion, each sample's past kept in memory: stage DMU.

    Source: DASC's public code, stage 2: 0.25 CE(weak) + 0.25 CE(strong) + 0.5 CE(fused).

    Attributes:
        memory: of the labels.
        steps_per_epoch: when an epoch is over.
    """

    memory: Memory
    steps_per_epoch: int
    forward: str = "with_features"

    def __call__(self, network: nn.Module, image: Tensor, batch: Batch) -> StepResult:
        logits, features = getattr(network, self.forward)(image)
        logits = logits.float()
        target = torch.from_numpy(batch.target).to(logits.device)
        weights = torch.tensor(BRANCH_WEIGHTS, device=logits.device)
        loss = (cross_entropy(logits, target[:, None].expand_as(logits)) * weights).sum(dim=1)
        score = torch.sigmoid(logits.detach())
        active = (features.detach() > 0).cpu().numpy()
        self.memory.visit(batch.row, score.cpu().numpy(), active)
        return StepResult(loss=loss, score=score[:, 2])

    def after(self, network: nn.Module, done: int) -> None:
        if done % self.steps_per_epoch == 0:
            self.memory.end_epoch(done // self.steps_per_epoch - 1)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return self.memory.arrays()

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self.memory.restore(arrays)


@dataclass(kw_only=True)
class LevelObjective:
    """Which difficulty level a hard sample is of, and how often the network was right: stage DLE.

    Source: DASC's public code, stage 3.

    Attributes:
        hits: of the labels.
        warm_up_steps: until when hits are not counted.
    """

    hits: LevelHits
    warm_up_steps: int
    forward: str = "forward"
    _done: int = field(default=0, init=False)

    def __call__(self, network: nn.Module, image: Tensor, batch: Batch) -> StepResult:
        logits = network(image).float()
        level = torch.from_numpy(batch.target).long().to(logits.device)
        loss = functional.cross_entropy(logits, level, reduction="none")
        if self._done >= self.warm_up_steps:
            right = (logits.detach().argmax(dim=1) == level).cpu().numpy()
            self.hits.record(batch.row, right)
        return StepResult(loss=loss, score=torch.full_like(loss.detach(), torch.nan))

    def after(self, network: nn.Module, done: int) -> None:
        self._done = done

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {**self.hits.arrays(), "done": np.array([self._done])}

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        kept = dict(arrays)
        self._done = int(kept.pop("done")[0])
        self.hits.restore(kept)


class SdsclConfig(BaseModel):
    """The loss of the last stage; the defaults are those of DASC's public code where it has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: ContrastConfig = ContrastConfig()
    location: LocationConfig = LocationConfig()
    alpha_ce: float = Field(default=1.0, ge=0, le=100)
    """Weight of the classification terms."""
    alpha_sup: float = Field(default=0.1, ge=0, le=100)
    """Weight of the contrastive term; after the warm-up, in which it stands alone with weight 1."""
    hard_loss: Literal["generalised", "smoothed", "cross-entropy"] = "generalised"
    """Loss of hard samples: generalised cross-entropy, which pulls less at what is wrong, or label smoothing. Which of
    them the public code uses for which sample is not known; ours."""
    q: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Exponent of the generalised cross-entropy."""
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    clusters: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (4, 4)
    """Subclasses of the negatives and of the figures."""
    renew_epochs: int = Field(default=10, ge=1)
    """Epochs between renewals of the subclasses; until the first renewal a class is one subclass."""
    temperatures: Literal["class", "cluster"] = "class"
    """What the class term has a temperature for: each class (SBCL, and so the public code), or each subclass: ours."""
    warm_up: int = Field(default=10, ge=0)
    """Epochs of plain supervised contrast alone: classes without subclasses, levels without weights."""


@dataclass(kw_only=True)
class ContrastObjective:
    """Subclass contrast, classification by difficulty, and localisation: stage SDSCL.

    Source: DASC's public code (stage 4), SBCL (ICCV 2023); how the terms are put together is a
    reconstruction (docs/dasc.md).

    Attributes:
        config: weights and numbers.
        label: (N,) classes.
        level: (N,) 0 for easy, 1 to 3; -1 of rows that are not learned from.
        is_figure: (N,) rows whose place the activation map should find.
        embed: unit vectors (N', D) of rows by the network as it is; leaves it in training mode.
        rows: (N',) rows that are learned from.
        steps_per_epoch: by which epochs are counted.
        patch_px: side of a patch.
        seed: of the run.
    """

    config: SdsclConfig
    label: NDArray[np.integer]
    level: NDArray[np.integer]
    is_figure: NDArray[np.bool_]
    embed: Callable[[nn.Module, NDArray[np.intp]], NDArray[np.float32]]
    rows: NDArray[np.intp]
    steps_per_epoch: int
    patch_px: int
    seed: int
    forward: str = "with_projection"

    def __post_init__(self) -> None:
        self.cluster = self.label.astype(np.int64)
        self.temperature = np.full(len(self.label), self.config.contrast.temperature, dtype=np.float32)
        self.done = 0

    def __call__(self, network: nn.Module, image: Tensor, batch: Batch) -> StepResult:
        logit, activation, z = getattr(network, self.forward)(over_views(image))
        views = len(logit) // len(batch.row)
        logit = logit.float().view(-1, views)
        rows, device = batch.row, logit.device

        def of_rows(values: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values[rows])).to(device)

        z = z.float().view(len(rows), views, -1)
        score = torch.sigmoid(logit.detach()).mean(dim=1)
        if self.done < self.config.warm_up * self.steps_per_epoch:
            return StepResult(loss=supervised_contrast(z, of_rows(self.label), self.config.contrast), score=score)
        contrast = subclass_contrast(
            z,
            of_rows(self.label),
            of_rows(self.cluster),
            of_rows(self.level),
            of_rows(self.temperature),
            self.config.contrast,
        )
        target = torch.from_numpy(batch.target).to(device)[:, None].expand_as(logit)
        classified = self._classified(logit, target, of_rows(self.level)[:, None])
        loss = self.config.alpha_ce * classified.mean(dim=1) + self.config.alpha_sup * contrast
        if self.config.location.weight > 0 and batch.place_px is not None:
            place = np.where(self.is_figure[rows, None, None], batch.place_px, np.nan).reshape(-1, 2)
            located = location_loss(
                activation.float(), torch.from_numpy(place).to(device), self.patch_px, self.config.location
            )
            loss = loss + self.config.location.weight * located.view(-1, views).mean(dim=1)
        return StepResult(loss=loss, score=score)

    def _classified(self, logit: Tensor, target: Tensor, level: Tensor) -> Tensor:
        easy = cross_entropy(logit, target)
        if self.config.hard_loss == "cross-entropy":
            return easy
        if self.config.hard_loss == "smoothed":
            hard = smoothed_cross_entropy(logit, target, smoothing=self.config.smoothing)
        else:
            hard = generalised_cross_entropy(logit, target, q=self.config.q)
        return torch.where(level > 0, hard, easy)

    def after(self, network: nn.Module, done: int) -> None:
        """Renew the subclasses at the end of every `renew_epochs` epochs; ids are written back by row."""
        self.done = done
        epoch, over = divmod(done, self.steps_per_epoch)
        if over or epoch % self.config.renew_epochs:
            return
        z = self.embed(network, self.rows)
        label = self.label[self.rows]
        ids = subclasses(z, label, self.config.clusters, self.seed, epoch // self.config.renew_epochs)
        self.cluster[self.rows] = ids
        tau = self.config.contrast.temperature
        if self.config.temperatures == "class":
            self.temperature[self.rows] = class_temperatures(z, ids, label, tau)[label]
        else:
            self.temperature[self.rows] = cluster_temperatures(z, ids, label, tau)[ids]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"cluster": self.cluster, "temperature": self.temperature, "done": np.array([self.done])}

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self.cluster[:] = arrays["cluster"]
        self.temperature[:] = arrays["temperature"]
        self.done = int(arrays["done"][0])
