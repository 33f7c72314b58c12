"""The one training loop. Knows batches, losses and a ledger: not where patches come from, nor how validation scores.

Everything random at a step is derived from (seed, step), so a training killed at any moment and resumed from its last
checkpoint ends with the same bytes as one that was never interrupted.
"""

import json
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from mitosieve.errors import RunFolderError, TrainingError
from mitosieve.network.compute import Compute
from mitosieve.run.folder import write_atomic
from mitosieve.run.progress import Progress
from mitosieve.run.seed import derive_generator
from mitosieve.train.ledger import Ledger
from mitosieve.train.objective import Batch, Objective

READERS = 4
"""Threads that read batches ahead where the network does not need the CPU; on a CPU one."""

LOG_EVERY = 20
"""Steps that one row of the history averages."""


class TrainConfig(BaseModel):
    """How one network is trained; the defaults are the paper's screening network (section 4.2.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=192, ge=2)
    epochs: float = Field(default=10, gt=0)
    """Passes over all figure variants (our definition: with sampled ratios the paper's epoch is not defined)."""
    patch_visits: int | None = Field(default=None, gt=0)
    """Length of the training as patches seen; where given, `epochs` is not looked at."""
    rates: tuple[tuple[float, float], ...] = ((0.0, 0.1), (0.2, 0.01), (0.4, 0.001), (0.6, 1e-4), (0.8, 3e-5))
    """(share of the training done, learning rate); the first share is 0, shares ascend."""
    between: Literal["hold", "linear"] = "hold"
    """What the rate does between two points: hold the earlier one, or go straight to the next."""
    weight_decay: float = Field(default=2e-7, ge=0)
    ema_decay: float = Field(default=0.9, ge=0, lt=1)
    """Moving average of the weights; the average is what is kept."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest gradient norm; None does not clip."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; a killed training loses at most these."""
    validations: int = Field(default=4, ge=0)
    """How often validation is asked for along the way; for curves only, never for stopping."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        shares = [share for share, _ in self.rates]
        if not shares or shares[0] != 0 or shares != sorted(set(shares)) or shares[-1] > 1:
            raise ValueError("rates must be (share, rate) pairs with ascending shares from 0 to at most 1")
        if min(rate for _, rate in self.rates) < 0:
            raise ValueError("a learning rate cannot be negative")
        return self

    def steps(self, figures_per_epoch: int, figures_per_batch: int) -> int:
        """Number of steps of a whole training, at least one."""
        if self.patch_visits is not None:
            return max(1, math.ceil(self.patch_visits / self.batch_size))
        return max(1, math.ceil(self.epochs * figures_per_epoch / figures_per_batch))

    def rate(self, done: float) -> float:
        """Learning rate when a share `done` (0..1) of the training is over."""
        shares = [share for share, _ in self.rates]
        values = [value for _, value in self.rates]
        if self.between == "linear":
            return float(np.interp(done, shares, values))
        return values[int(np.searchsorted(shares, done, side="right")) - 1]


class Feed(Protocol):
    """Gives the batch of a step; the same step always gives the same batch, also when several threads ask."""

    def batch(self, step: int) -> Batch: ...


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that one training needs beside the network.

    Attributes:
        name: of the stage, e.g. "screening"; names its files and random streams.
        folder: of the run; the checkpoint lives in folder/checkpoint.
        feed: batches by step.
        steps: length.
        config: schedule.
        objective: what is made small.
        ledger: booked at every step; rows as in the batches.
        seed: of the run.
        compute: machine.
        validate: figures of the averaged network for the curves, by name; None for no validation.
        progress: told after every step.
    """

    name: str
    folder: Path
    feed: Feed
    steps: int
    config: TrainConfig
    objective: Objective
    ledger: Ledger
    seed: int
    compute: Compute
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    progress: Progress | None = None

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint" / f"{self.name}.safetensors"


def train(network: nn.Module, training: Training) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train a network, going on from the folder's checkpoint if there is one.

    Args:
        network: freshly initialised; changed in place, and left with the averaged weights.
        training: everything else. Its ledger is changed in place.

    Returns:
        The network with the moving average of its weights, in evaluation mode, and the history: one row per LOG_EVERY
        steps (step, loss, rate, mean score of figures and of others) or validation.

    Raises:
        TrainingError: a loss is not finite; the message says at which step and rate.
    """
    fabric = training.compute.fabric()
    network = training.compute.place(network)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=training.config.rate(0), weight_decay=training.config.weight_decay
    )
    wrapped, fast = fabric.setup(network.train(), optimizer)
    if training.objective.forward != "forward":
        wrapped.mark_forward_method(training.objective.forward)
    average = {name: value.detach().clone() for name, value in network.named_parameters()}
    log = _Log()
    start = _restore(network, optimizer, average, log, training)
    ahead = 1 if training.compute.device == "cpu" else READERS
    with ThreadPoolExecutor(max_workers=ahead) as readers:
        upcoming = deque(
            readers.submit(training.feed.batch, start + i) for i in range(min(ahead, training.steps - start))
        )
        for step in range(start, training.steps):
            batch = upcoming.popleft().result()
            if step + ahead < training.steps:
                upcoming.append(readers.submit(training.feed.batch, step + ahead))
            rate = training.config.rate(step / training.steps)
            torch.manual_seed(int(derive_generator(training.seed, f"{training.name} dropout", step).integers(2**62)))
            optimizer.param_groups[0]["lr"] = rate
            outcome = training.objective(wrapped, training.compute.to_tensor(batch.image), batch)
            _step(fabric, wrapped, fast, outcome.loss.mean(), training.config.clip_norm)
            _check_finite(outcome.loss, training, step, rate)
            _move_average(network, average, training.config.ema_decay)
            loss, score = outcome.loss.detach().cpu().numpy(), outcome.score.cpu().numpy()
            training.ledger.record(batch.row, loss, score)
            log.add(step, loss, score, batch.target, rate)
            training.objective.after(network, step + 1)
            _after(network, optimizer, average, log, training, step + 1)
    network.load_state_dict({**network.state_dict(), **average})
    return network.eval(), log.rows


def _step(fabric: Any, network: nn.Module, optimizer: Any, loss: Tensor, clip_norm: float | None) -> None:  # noqa: ANN401 - Fabric's wrappers have no public types
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    if clip_norm is not None:
        fabric.clip_gradients(network, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
    optimizer.step()


def _check_finite(loss: Tensor, training: Training, step: int, rate: float) -> None:
    if not bool(torch.isfinite(loss).all()):
        raise TrainingError(
            f"the loss of '{training.name}' is not finite at step {step} (learning rate {rate:g})",
            where=training.folder,
            remedy="lower the learning rates (recipe chsnet starts at 1e-3), or set clip_norm",
        )


def _move_average(network: nn.Module, average: dict[str, Tensor], decay: float) -> None:
    with torch.no_grad():
        for name, value in network.named_parameters():
            average[name].lerp_(value, 1 - decay)


def _after(
    network: nn.Module,
    optimizer: torch.optim.Adam,
    average: dict[str, Tensor],
    log: "_Log",
    training: Training,
    done: int,
) -> None:
    """Validation, checkpoint and progress at the end of step number `done`."""
    config = training.config
    last = done == training.steps
    every = -(-training.steps // config.validations) if config.validations else 0
    if last or done % LOG_EVERY == 0:
        log.close_row(done, config.batch_size)
    if training.validate is not None and every and (last or done % every == 0):
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict({**weights, **average})
        log.rows.append({"step": done, **training.validate(network.eval())})
        network.load_state_dict(weights)
        network.train()
    if last or done % config.checkpoint_every == 0:
        _save(network, optimizer, average, log, training, done)
    if training.progress is not None:
        training.progress(training.name, done, training.steps)


class _Log:
    """The history; rows are closed every LOG_EVERY steps, so checkpoints fall between rows or carry the open one."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.open: list[list[float]] = []

    def add(
        self,
        step: int,
        loss: NDArray[np.floating],
        score: NDArray[np.floating],
        target: NDArray[np.floating],
        rate: float,
    ) -> None:
        figure = target > 0.5
        self.open.append(
            [
                float(loss.mean()),
                float(score[figure].mean()) if figure.any() else math.nan,
                float(score[~figure].mean()) if (~figure).any() else math.nan,
                rate,
            ]
        )

    def close_row(self, done: int, batch_size: int) -> None:
        if not self.open:
            return
        means = [_mean(column) for column in np.array(self.open)[:, :3].T]
        names = ("loss", "score_figures", "score_others")
        row = {"step": done, "patches": done * batch_size, "rate": self.open[-1][3]}
        self.rows.append({**row, **dict(zip(names, means, strict=True))})
        self.open = []


def _mean(values: NDArray[np.floating]) -> float | None:
    """Mean of the finite values, to 6 digits; None where there is none (no figure in any batch)."""
    finite = values[np.isfinite(values)]
    return round(float(finite.mean()), 6) if len(finite) else None


def _save(
    network: nn.Module,
    optimizer: torch.optim.Adam,
    average: dict[str, Tensor],
    log: _Log,
    training: Training,
    done: int,
) -> None:
    tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for number, parameter in enumerate(network.parameters()):
        for key, value in optimizer.state[parameter].items():
            tensors[f"adam.{number}.{key}"] = value
    for name, column in training.ledger.arrays().items():
        tensors[f"ledger.{name}"] = torch.from_numpy(np.ascontiguousarray(column))
    for name, column in training.objective.arrays().items():
        tensors[f"objective.{name}"] = torch.from_numpy(np.ascontiguousarray(column))
    note = {"step": str(done), "history": json.dumps(log.rows), "open": json.dumps(log.open)}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomic(training.checkpoint, tensors_to_bytes(whole, metadata=note))


def _restore(
    network: nn.Module,
    optimizer: torch.optim.Adam,
    average: dict[str, Tensor],
    log: _Log,
    training: Training,
) -> int:
    """Take everything from the checkpoint, if there is one; returns the number of steps that are done."""
    if not training.checkpoint.exists():
        return 0
    try:
        with safe_open(training.checkpoint, framework="pt") as file:
            note = file.metadata()
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise RunFolderError(
            f"the checkpoint is damaged ({error})",
            where=training.checkpoint,
            remedy="delete it to begin this network anew, and repeat the command with --resume",
        ) from error

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    network.load_state_dict(under("network."))
    for name, value in under("average.").items():
        average[name].copy_(value)
    training.ledger.restore({name: value.numpy() for name, value in under("ledger.").items()})
    training.objective.restore({name: value.numpy() for name, value in under("objective.").items()})
    for number, parameter in enumerate(network.parameters()):
        state = under(f"adam.{number}.")
        if state:
            optimizer.state[parameter] = {
                key: value if key == "step" else torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                for key, value in state.items()
            }
    log.rows = json.loads(note["history"])
    log.open = json.loads(note["open"])
    return int(note["step"])
