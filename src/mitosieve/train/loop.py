"""The one training loop. Knows batches and losses: not where patches come from, nor how validation scores.

Everything random at a step is derived from (seed, step), so a training killed at any moment and resumed from its last
checkpoint ends with the same bytes as one that was never interrupted.
"""

import json
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from mitosieve.errors import RunFolderError, TrainingError
from mitosieve.network.compute import Compute
from mitosieve.network.memory import keep_memory
from mitosieve.network.registry import load_weights, save_weights
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic, write_json
from mitosieve.run.progress import Progress
from mitosieve.run.seed import derive_generator
from mitosieve.train.history import HistoryTable
from mitosieve.train.job import Job
from mitosieve.train.lesson import Lesson, Network

READERS = 4
"""Threads that read batches ahead where the network does not need the CPU; on a CPU one."""

_TOLD = {"loss": "loss", "validation_average_precision": "ap"}
"""Columns of the history that are told along a training, and what they are called then."""

LOG_EVERY = 20
"""Steps that one row of the history averages."""


def learn(lesson: Lesson[Network], job: Job) -> Network:
    """Train a network and keep weights and history in the run; or take the weights if they are there.

    What the lesson's `keep` writes stands before the weights, whose file says that all is there.

    Raises:
        TrainingError: as `train`.
        RunFolderError: a damaged checkpoint.
    """
    network = lesson.network
    if is_kept(lesson.name, network, job):
        return network
    weights, checkpoint = job.file(layout.weights_of(lesson.name)), job.file(layout.checkpoint_of(lesson.name))
    try:
        table = HistoryTable(job.file(layout.HISTORY_TABLE), lesson.name)
        history = train(lesson, checkpoint, job.compute, job.progress, table)
    except TrainingError as error:
        raise TrainingError(error.what, where=error.where or job.run.path, remedy=error.remedy) from error
    write_json(job.file(layout.history_of(lesson.name)), history)
    if lesson.keep is not None:
        lesson.keep()
    save_weights(network, weights)
    checkpoint.unlink(missing_ok=True)
    return network


def is_kept(name: str, network: nn.Module, job: Job) -> bool:
    """Whether the run has the weights of a lesson; then the network gets them, and needs no lesson.

    Args:
        name: of the lesson.
        network: of the same configuration; changed in place.
        job: of the run.
    """
    weights = job.file(layout.weights_of(name))
    if not weights.exists():
        return False
    job.file(layout.checkpoint_of(name)).unlink(missing_ok=True)  # a kill may have spared it
    load_weights(network, weights)
    return True


def train(
    lesson: Lesson[Network],
    checkpoint: Path,
    compute: Compute,
    progress: Progress | None = None,
    table: HistoryTable | None = None,
) -> list[dict[str, Any]]:
    """Train a lesson's network, going on from the checkpoint if there is one.

    Args:
        lesson: its network is changed in place: left with the moving average of its weights, in evaluation mode.
        checkpoint: file that a killed training goes on from.
        compute: machine.
        progress: told after every step.
        table: gets the history's rows as they come.

    Returns:
        The history: one row per LOG_EVERY steps (step, loss, rate, mean score of figures and of others) or validation.

    Raises:
        TrainingError: a loss is not finite; the message says at which step and rate.
    """
    if compute.device == "cpu":
        keep_memory()
    fabric = compute.fabric()
    schedule = lesson.schedule
    network = compute.place(lesson.network)
    optimizer = torch.optim.Adam(network.parameters(), lr=schedule.rate(0), weight_decay=schedule.weight_decay)
    wrapped, fast = fabric.setup(network.train(), optimizer)
    if lesson.objective.forward != "forward":
        wrapped.mark_forward_method(lesson.objective.forward)
    state = _State(network=network, optimizer=optimizer)
    start = state.restore(lesson, checkpoint)
    if table is not None:
        table.begin(state.log.rows)
    ahead = 1 if compute.device == "cpu" else READERS
    with ThreadPoolExecutor(max_workers=ahead) as readers:
        upcoming = deque(readers.submit(lesson.feed.batch, start + i) for i in range(min(ahead, lesson.steps - start)))
        for step in range(start, lesson.steps):
            batch = upcoming.popleft().result()
            if step + ahead < lesson.steps:
                upcoming.append(readers.submit(lesson.feed.batch, step + ahead))
            rate = schedule.rate(step / lesson.steps)
            torch.manual_seed(int(derive_generator(lesson.seed, f"{lesson.name} dropout", step).integers(2**62)))
            optimizer.param_groups[0]["lr"] = rate
            result = lesson.objective(wrapped, compute.to_tensor(batch.image), batch)
            _step(fabric, wrapped, fast, result.loss.mean(), schedule.clip_norm)
            _check_finite(result.loss, lesson.name, step, rate)
            state.move_average(schedule.ema_decay)
            state.log.add(result.loss.detach().cpu().numpy(), result.score.cpu().numpy(), batch.target, rate)
            lesson.objective.after(network, step + 1)
            _after(state, lesson, checkpoint, step + 1)
            if table is not None:
                table.tell(state.log.rows)
            if progress is not None:
                progress(lesson.name, step + 1, lesson.steps, **state.log.latest())
    network.load_state_dict({**network.state_dict(), **state.average})
    network.eval()
    return state.log.rows


def _step(fabric: Any, network: nn.Module, optimizer: Any, loss: Tensor, clip_norm: float | None) -> None:  # noqa: ANN401 - Fabric's wrappers have no public types
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    if clip_norm is not None:
        fabric.clip_gradients(network, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
    optimizer.step()


def _check_finite(loss: Tensor, name: str, step: int, rate: float) -> None:
    if not bool(torch.isfinite(loss).all()):
        raise TrainingError(
            f"the loss of '{name}' is not finite at step {step} (learning rate {rate:g})",
            remedy="lower the learning rates (recipe chsnet starts at 1e-3), or set clip_norm",
        )


def _after(state: "_State", lesson: Lesson[Any], checkpoint: Path, done: int) -> None:
    """Validation and checkpoint at the end of step number `done`."""
    schedule, network = lesson.schedule, state.network
    last = done == lesson.steps
    every = -(-lesson.steps // schedule.validations) if schedule.validations else 0
    if last or done % LOG_EVERY == 0:
        state.log.close_row(done, schedule.batch_size)
    if lesson.validate is not None and every and (last or done % every == 0):
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict({**weights, **state.average})
        state.log.rows.append({"step": done, **lesson.validate(network.eval())})
        network.load_state_dict(weights)
        network.train()
    if last or done % schedule.checkpoint_every == 0:
        state.save(lesson, checkpoint, done)


class _Log:
    """The history; rows are closed every LOG_EVERY steps, so checkpoints fall between rows or carry the open one."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.open: list[list[float]] = []

    def add(
        self, loss: NDArray[np.floating], score: NDArray[np.floating], target: NDArray[np.floating], rate: float
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

    def latest(self) -> dict[str, float | None]:
        """Loss and average precision as they were last told."""
        seen = {name: row[key] for row in self.rows[-20:] for key, name in _TOLD.items() if key in row}
        return {"loss": self.open[-1][0] if self.open else None, **seen}

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


@dataclass(kw_only=True)
class _State:
    """All that changes along a training, but for what its objective remembers; kept in checkpoints.

    Attributes:
        network: as it is.
        optimizer: of its weights.
        average: moving average of each weight.
        log: the history.
    """

    network: nn.Module
    optimizer: torch.optim.Adam
    log: _Log = field(default_factory=_Log)
    average: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.average = {name: value.detach().clone() for name, value in self.network.named_parameters()}

    def move_average(self, decay: float) -> None:
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                self.average[name].lerp_(value, 1 - decay)

    def save(self, lesson: Lesson[Any], checkpoint: Path, done: int) -> None:
        """Write the checkpoint after step number `done`."""
        tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for number, parameter in enumerate(self.network.parameters()):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{number}.{key}"] = value
        for name, column in lesson.objective.arrays().items():
            tensors[f"objective.{name}"] = torch.from_numpy(np.ascontiguousarray(column))
        note = {"step": str(done), "history": json.dumps(self.log.rows), "open": json.dumps(self.log.open)}
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        write_atomic(checkpoint, tensors_to_bytes(whole, metadata=note))

    def restore(self, lesson: Lesson[Any], checkpoint: Path) -> int:
        """Take everything from the checkpoint, if there is one; returns the number of steps that are done."""
        if not checkpoint.exists():
            return 0
        note, tensors = _read_checkpoint(checkpoint)

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.network.load_state_dict(under("network."))
        for name, value in under("average.").items():
            self.average[name].copy_(value)
        lesson.objective.restore({name: value.numpy() for name, value in under("objective.").items()})
        for number, parameter in enumerate(self.network.parameters()):
            moments = under(f"adam.{number}.")
            if moments:
                self.optimizer.state[parameter] = {
                    key: value if key == "step" else torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                    for key, value in moments.items()
                }
        self.log.rows = json.loads(note["history"])
        self.log.open = json.loads(note["open"])
        return int(note["step"])


def _read_checkpoint(checkpoint: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(checkpoint, framework="pt") as file:
            return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise RunFolderError(
            f"the checkpoint is damaged ({error})",
            where=checkpoint,
            remedy="delete it to begin this network anew, and repeat the command with --resume",
        ) from error
