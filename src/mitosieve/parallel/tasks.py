"""A list of tasks through a cluster: submitted a few at a time, tried again where a worker dies, answered in order."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from mitosieve.errors import ClusterError, MitosieveError, StorageError
from mitosieve.parallel.connection import ClusterConfig, connection
from mitosieve.parallel.worker import Answer, Mark, in_worker, mark_in
from mitosieve.run.progress import Progress

Given = TypeVar("Given")
Made = TypeVar("Made")

_LEAST_SUBMITTED = 16
_POLL_S = 1.0
_LOOK_S = 5.0
_CANCELLED_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Given]):
    """What one call of the function is given.

    Attributes:
        name: for people.
        given: the argument; small and picklable.
        needs: files and folders that the worker must see. Those that are not on this machine either are not checked:
            a missing slide is the task's own finding.
    """

    name: str
    given: Given
    needs: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskResult(Generic[Made]):
    """What became of a task: exactly one of value and error is None, unless the function makes None.

    Attributes:
        name: of the task.
        value: what the function made.
        error: why the task failed.
        tries: how often it was begun.
    """

    name: str
    value: Made | None
    error: MitosieveError | None
    tries: int


def run_tasks(
    function: Callable[[Given], Made],
    tasks: Sequence[Task[Given]],
    *,
    config: ClusterConfig,
    shared: Path,
    progress: Callable[[int, int, TaskResult[Made]], None] | None = None,
) -> list[TaskResult[Made]]:
    """Do a function for many tasks on a cluster.

    A task that raises a MitosieveError has failed and is not tried again; the others go on. A task whose worker process
    or machine dies is tried again up to `config.retries` times. Only a few more tasks than the cluster has room for are
    submitted at a time. However this ends (an error, Ctrl-C), no task is left running.

    Args:
        function: of a module that workers can import; may be called more than once for a task whose worker died.
        tasks: what to do.
        config: the cluster.
        shared: folder that this and every machine of the cluster see at the same path; must exist.
        progress: told (finished tasks, all tasks, what became of it) after each finished task.

    Returns:
        One result a task, in the order of the tasks.

    Raises:
        ClusterError: Ray is not installed, the cluster cannot be reached or has no machine with room for a task, or a
            machine does not see the folders or has another version of mitosieve.
        StorageError: a task could not write; the tasks after it would not either.
        Exception: whatever else a task raised, as it would without a cluster.
    """
    if not tasks:
        return []
    with connection(config) as ray, mark_in(shared) as mark:
        return _Run(ray, function, tasks, config).all(mark, progress)


@dataclass(frozen=True, kw_only=True)
class ClusterMap(Generic[Given, Made]):
    """A `map` whose calls run on a cluster, for jobs that take a function to map with and know no cluster.

    Attributes:
        config: the cluster.
        shared: folder of the job; every machine sees it.
        task: name and needs of what is given.
        failed: the result that stands for a task that failed.
        progress: told (what, finished, all) after each; whoever asks for tasks tells of the beginning.
        what: word for the tasks in the progress.
        kept: whether a result took no work, for an earlier try's stood there; None where nobody knows.
    """

    config: ClusterConfig
    shared: Path
    task: Callable[[Given], Task[Given]]
    failed: Callable[[Given, MitosieveError], Made]
    progress: Progress | None = None
    what: str = "slides"
    kept: Callable[[Made], bool] | None = None

    def __call__(self, function: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
        """Results in the order of what is given; raises what `run_tasks` raises."""
        results = run_tasks(
            function,
            [self.task(one) for one in given],
            config=self.config,
            shared=self.shared,
            progress=None if self.progress is None else self.tell,
        )
        return [
            self.failed(one, result.error) if result.error is not None else result.value  # type: ignore[misc]
            for one, result in zip(given, results, strict=True)
        ]

    def tell(self, done: int, total: int, result: TaskResult[Made]) -> None:
        """Tell the progress of a finished task; one that failed is no measure of the time of others either."""
        is_kept = self.kept is not None and (result.error is not None or self.kept(result.value))  # type: ignore[arg-type]
        if self.progress is not None:
            self.progress(self.what, done, total, **({"kept": 1.0} if is_kept else {}))


class _Run:
    """The state of one call of `run_tasks`."""

    def __init__(
        self, ray: ModuleType, function: Callable[[Any], Any], tasks: Sequence[Task[Any]], config: ClusterConfig
    ) -> None:
        self.ray, self.function, self.tasks, self.config = ray, function, tasks, config
        self.waiting = deque((number, 1) for number in range(len(tasks)))
        self.running: dict[Any, tuple[int, int]] = {}
        self.results: dict[int, TaskResult[Any]] = {}
        self.remote = ray.remote(
            num_cpus=config.num_cpus,
            num_gpus=config.num_gpus,
            max_retries=0,  # counted here: Ray's own count leaves out workers killed for memory
            scheduling_strategy="SPREAD",  # a second try goes to another machine where there is one
        )(in_worker)
        self.room, self.looked_s, self.fits_s = 0, -math.inf, time.monotonic()

    def all(self, mark: Mark, progress: Callable[[int, int, TaskResult[Any]], None] | None) -> list[TaskResult[Any]]:
        try:
            while self.waiting or self.running:
                self.look()
                while self.waiting and len(self.running) < max(_LEAST_SUBMITTED, 2 * self.room):
                    self.submit(mark)
                ready, _ = self.ray.wait(list(self.running), timeout=_POLL_S)
                for reference in ready:
                    finished = self.take(reference)
                    if finished is not None and progress is not None:
                        progress(len(self.results), len(self.tasks), finished)
        finally:
            self.cancel()
        return [self.results[number] for number in range(len(self.tasks))]

    def look(self) -> None:
        """How many tasks the cluster has room for now; machines come and go.

        Raises:
            ClusterError: for too long there was no machine with room for one.
        """
        now = time.monotonic()
        if now - self.looked_s < _LOOK_S:
            return
        self.looked_s = now
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        self.room = sum(_room(machine, self.config) for machine in alive)
        if self.room:
            self.fits_s = now
        elif now - self.fits_s > self.config.patience_s or not alive:
            asked = f"{self.config.num_cpus:g} CPUs and {self.config.num_gpus:g} GPUs"
            raise ClusterError(
                f"no machine of the cluster has the {asked} that a task takes",
                remedy="take fewer (--threads, --device), or add machines; then run again with --resume",
            )

    def submit(self, mark: Mark) -> None:
        number, tries = self.waiting.popleft()
        task = self.tasks[number]
        needs = tuple(path for path in task.needs if path.exists())
        reference = self.remote.options(name=task.name).remote(self.function, task.given, needs, mark)
        self.running[reference] = (number, tries)

    def take(self, reference: Any) -> TaskResult[Any] | None:  # noqa: ANN401 - Ray's own type
        """Keep what a task gave, and give it; None where it was put back in the queue."""
        number, tries = self.running.pop(reference)
        name = self.tasks[number].name
        try:
            answer: Answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as death:
            if tries <= self.config.retries:
                self.waiting.appendleft((number, tries + 1))
                return None
            answer = Answer(error=_died(name, tries, type(death).__name__))
        if answer.unfit is not None:
            raise answer.unfit
        if isinstance(answer.error, StorageError):
            raise answer.error
        self.results[number] = TaskResult(name=name, value=answer.value, error=answer.error, tries=tries)
        return self.results[number]

    def cancel(self) -> None:
        """Kill what is running, and wait until it is gone: nobody writes into the folder after this."""
        left = list(self.running)
        for reference in left:
            self.ray.cancel(reference, force=True)
        if left:
            self.ray.wait(left, num_returns=len(left), timeout=_CANCELLED_WITHIN_S)


def _room(machine: dict[str, float], config: ClusterConfig) -> int:
    """Tasks that a machine has room for at once; many where a task takes nothing."""
    wanted = {"CPU": config.num_cpus, "GPU": config.num_gpus}
    rooms = [machine.get(name, 0.0) / share + 1e-9 for name, share in wanted.items() if share > 0]
    return math.floor(min(rooms, default=_LEAST_SUBMITTED))


def _died(name: str, tries: int, how: str) -> ClusterError:
    for_memory = how == "OutOfMemoryError"
    return ClusterError(
        f"its worker process {'ran out of memory' if for_memory else 'died'} {tries} times ({how})",
        where=name,
        remedy="let a task take more CPUs, so that fewer run at once on a machine"
        if for_memory
        else "try it without --cluster to see why",
    )
