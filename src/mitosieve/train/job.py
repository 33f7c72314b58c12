"""What every method is given: data, fold, run folder and machine; and a clock for the parts of its work."""

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Fold
from mitosieve.network.compute import Compute
from mitosieve.run import layout
from mitosieve.run.folder import THEN, RunFolder, read_json, write_json
from mitosieve.run.progress import NOTE, STAGE, Progress
from mitosieve.train.scores import PoolScores
from mitosieve.train.start import Start

Given = TypeVar("Given")
Made = TypeVar("Made")
Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Does a function for many independent tasks somewhere, and gives the results in the tasks' order."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training to be done.

    Attributes:
        cohort: all of it; only the fold's train and validation cases may be touched.
        fold: which cases are for what.
        run: where everything is written.
        compute: machine.
        progress: told how far the work is; None for silence.
        mapper: does independent trainings side by side or elsewhere; None does them here, one after another.
        stages: names of the parts of the whole work, as `timed` is told them, in their order; for people.
        start: detector whose networks are trained on; None begins with fresh ones.
    """

    cohort: Cohort
    fold: Fold
    run: RunFolder
    compute: Compute
    progress: Progress | None = None
    mapper: Mapper | None = None
    stages: tuple[str, ...] = ()
    start: Start | None = None

    def each(self, function: Callable[[Given], Made], tasks: Sequence[Given], what: str) -> list[Made]:
        """The function's result for each task, in their order; tasks know by their files what is done already."""
        if self.mapper is not None:
            self._note_threads()
            return list(self.mapper(function, tasks))
        made: list[Made] = []
        for number, task in enumerate(tasks, start=1):
            made.append(function(task))
            if self.progress is not None:
                self.progress(what, number, len(tasks))
        return made

    def note(self, text: str) -> None:
        """Tell a person something of the data, in the run's log and on the error stream; nothing if it is empty."""
        if text and self.progress is not None:
            self.progress(NOTE, 0, 0, text=text)

    def _note_threads(self) -> None:
        """Add to machine.json with how many threads the processes compute that do a part of this training."""
        threads = getattr(self.mapper, "threads", None)
        if threads is None or self.file(f"{layout.DETECTOR}/{layout.DETECTOR_CONFIG}").exists():
            return  # of a finished training nothing is computed any more
        known: dict[str, Any] = read_json(self.file(layout.MACHINE), {})
        then: list[dict[str, Any]] = known.get(THEN, [])
        latest = max((i for i, one in enumerate(then, start=1) if "torch_threads" in one), default=0)
        its_own = {one.get("worker_threads") for one in (known, *then)[latest:]}  # of the machine that went on last
        if not then and its_own == {None}:
            write_json(self.file(layout.MACHINE), {**known, "worker_threads": threads})
        elif threads not in its_own:
            if known.get("worker_threads", threads) != threads:
                self.note(f"goes on with {threads} threads a process, and began with {known['worker_threads']}")
            write_json(self.file(layout.MACHINE), {**known, THEN: [*then, {"worker_threads": threads}]})

    def begin(
        self,
        lesson: str,
        network: nn.Module,
        patch_id: NDArray[np.int64],
        label: NDArray[np.integer],
        score: Callable[[nn.Module], NDArray[np.float32]],
    ) -> NDArray[np.floating] | None:
        """Give a network the weights of the job's start, and say how wrong they are about each training place.

        Args:
            lesson: its name.
            network: with initial weights, which are replaced where the start has a stage of this name.
            patch_id: (N,) of the places.
            label: (N,) 1 for a figure.
            score: scores them all by the network.

        Returns:
            (N,) distance of the score from the label, 0 to 1; None where the job has no start for this lesson, or its
            weights are trained already.
        """
        if self.start is None or self.file(layout.weights_of(lesson)).exists() or not self.start.give(lesson, network):
            return None
        path = self.file(layout.start_scores_of(lesson))
        if not path.exists():
            PoolScores(patch_id=patch_id, score=score(network.eval())).save(path)
        return np.abs(label - PoolScores.load(path, patch_id).score)

    def file(self, name: str) -> Path:
        return self.run.path / name

    @contextlib.contextmanager
    def timed(self, part: str) -> Generator[None]:
        """Add the wall time of the block to timing.json, which is never compared; that of a killed process is lost."""
        start = time.perf_counter()
        path = self.file(layout.TIMING)
        if self.progress is not None:
            number = self.stages.index(part) + 1 if part in self.stages else 0
            self.progress(STAGE, number, len(self.stages), name=part)
        try:
            yield
        finally:
            self._add_time(path, part, time.perf_counter() - start)

    def _add_time(self, path: Path, part: str, seconds: float) -> None:
        known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        known[part] = round(known.get(part, 0.0) + seconds, 2)
        write_json(path, known)
