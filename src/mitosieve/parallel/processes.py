"""Independent trainings side by side on this machine: processes, each with its threads and, where there are, its GPU.

Knows no methods: it is handed a function and tasks, as a cluster is.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from multiprocessing.queues import SimpleQueue
from typing import Any, Generic, TypeVar

import psutil

from mitosieve.errors import TrainingError
from mitosieve.run.progress import Progress

Given = TypeVar("Given")
Made = TypeVar("Made")

_POLL_S = 1.0

_VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Where a scheduler names the GPUs that are ours."""


@dataclass(frozen=True)
class WithThreads(Generic[Given, Made]):
    """A function that computes with a stated number of threads, wherever it runs; results depend on that number.

    Attributes:
        function: of a module that other processes can import.
        threads: of torch; OpenCV gets one.
    """

    function: Callable[[Given], Made]
    threads: int

    def __call__(self, given: Given) -> Made:
        from mitosieve.network.threads import use_threads

        use_threads(self.threads)
        return self.function(given)


class ProcessMap:
    """A `map` whose calls run in processes of this machine; a context that ends them.

    They are started at the first call and serve all others: each has torch to import, which takes seconds.

    Args:
        workers: processes.
        threads: torch threads of each.
        gpus: number of CUDA devices to deal out, one a process in turn; 0 for none.
        what: word for the tasks in the progress.
        progress: told (what, finished, all).
    """

    def __init__(
        self,
        *,
        workers: int,
        threads: int,
        gpus: int = 0,
        what: str = "trainings",
        progress: Progress | None = None,
    ) -> None:
        self.workers, self.threads, self.gpus = workers, threads, gpus
        self.what, self.progress = what, progress
        self._started: tuple[ProcessPoolExecutor, SimpleQueue[int]] | None = None

    def __enter__(self) -> "ProcessMap":
        return self

    def __exit__(self, *why: object) -> None:
        self.close()

    def __call__(self, function: Callable[[Given], Made], tasks: Sequence[Given]) -> list[Made]:
        """Results in the order of the tasks; the first error ends all, and nothing is left running.

        Raises:
            TrainingError: a process was killed.
            Exception: what a task raised.
        """
        if not tasks:
            return []
        try:
            futures = [self._executor().submit(WithThreads(function, self.threads), task) for task in tasks]
            self._await(futures)
            return [future.result() for future in futures]
        except BaseException as error:
            self.close()
            if isinstance(error, BrokenProcessPool):
                raise TrainingError(
                    "a process that trained was killed", remedy="free some memory or use fewer --workers, and --resume"
                ) from error
            raise

    def close(self) -> None:
        """End the processes, whatever they do; a later call starts others."""
        if self._started is not None:
            executor, pids = self._started
            self._started = None
            _end(executor, pids)

    def _executor(self) -> ProcessPoolExecutor:
        if self._started is None:
            context = multiprocessing.get_context("spawn")
            turns: SimpleQueue[int] = context.SimpleQueue()
            for number in range(self.workers):
                turns.put(number)
            pids: SimpleQueue[int] = context.SimpleQueue()
            executor = ProcessPoolExecutor(self.workers, context, _begin, initargs=(turns, pids, self.gpus))
            self._started = executor, pids
        return self._started[0]

    def _await(self, futures: Sequence[Future[Any]]) -> None:
        left = set(futures)
        while left:
            done, left = wait(left, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if self.progress is not None:
                self.progress(self.what, sum(future.done() for future in futures), len(futures))


def _begin(turns: "SimpleQueue[int]", pids: "SimpleQueue[int]", gpus: int) -> None:
    """Each process: deaf to Ctrl-C, which is for the main one; ends with that one; sees one GPU."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    pids.put(os.getpid())
    if gpus:
        names = visible_gpus(gpus)
        os.environ[_VISIBLE] = names[turns.get() % len(names)]


def visible_gpus(count: int) -> list[str]:
    """What this process's GPUs are called: as whoever allotted them to it names them (numbers or UUIDs), else numbers.

    Args:
        count: of them.
    """
    allotted = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return allotted[:count] or [str(number) for number in range(count)]


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that went, and whatever runs here.

    A pool's process asks for its next task only when it is done with one: it would train on for hours for nobody, and
    hold the run that `--resume` wants. To be killed is what runs are made for.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_when_gone, args=(parent.sentinel,), name="end with parent", daemon=True).start()


def _when_gone(sentinel: int) -> None:
    wait_for([sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _end(executor: ProcessPoolExecutor, pids: "SimpleQueue[int]") -> None:
    """Whatever happened, no process goes on."""
    executor.shutdown(wait=False, cancel_futures=True)
    while not pids.empty():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pids.get())
            if process.ppid() == os.getpid():
                process.kill()
