"""What a training step learns from and what it makes small. Knows no loop and no schedule."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mitosieve.network.loss import LossConfig, per_sample_loss


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step learns from.

    Attributes:
        image: (B, H, W, C) uint8.
        target: (B,) float32, 1 for a mitotic figure.
        row: (B,) rows of the pool.
        place_px: (B, V, 2) where in each of V views the cell lies, px; None where no objective asks.
    """

    image: NDArray[np.uint8]
    target: NDArray[np.float32]
    row: NDArray[np.intp]
    place_px: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What an objective says of a batch.

    Attributes:
        loss: (B,) of each sample, nats; their mean is made smaller.
        score: (B,) probability of "mitotic figure", without gradient; NaN where the network does not tell.
    """

    loss: Tensor
    score: Tensor


class Objective(Protocol):
    """What a training makes small, with all that it remembers between steps: that is kept in checkpoints too.

    Attributes:
        forward: name of the network's method that gives all that is needed.
    """

    @property
    def forward(self) -> str: ...

    def __call__(self, network: nn.Module, image: Tensor, batch: Batch) -> StepResult:
        """The result of one batch, `image` (B, C, H, W) in 0..1."""
        ...

    def after(self, network: nn.Module, done: int) -> None:
        """Told when `done` steps are over; leaves the network in training mode."""
        ...

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that is remembered, by name."""
        ...

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Take from a checkpoint what `arrays` gave."""
        ...


@dataclass(frozen=True)
class Supervised:
    """The plain objective: a per-sample loss of the network's logit. Remembers nothing."""

    config: LossConfig
    forward: str = "forward"

    def __call__(self, network: nn.Module, image: Tensor, batch: Batch) -> StepResult:
        logit = network(image).float()
        target = torch.from_numpy(batch.target).to(logit.device)
        return StepResult(loss=per_sample_loss(logit, target, self.config), score=torch.sigmoid(logit.detach()))

    def after(self, network: nn.Module, done: int) -> None:
        """Nothing to do."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {}

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Nothing to take."""
