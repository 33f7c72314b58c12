"""Readers of a slide beside the process that scorer: threads of it, or processes.

A reader answers one request at a time and each is fed by a thread of its own, so a large answer never blocks a reader
that could go on, and nothing can wait for itself.
"""

import itertools
import multiprocessing
import queue
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import cv2

from mitosieve.errors import SlideError
from mitosieve.sieve.reader_process import Answering, Reply, serve
from mitosieve.sieve.tile_reader import Cut, Keep, Settle


@contextmanager
def _deaf() -> Generator[None]:
    """Processes started here do not hear Ctrl-C, which is for the main process: it then ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's; the reader itself turns deaf as soon as it runs
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


class Reader(ABC):
    """Answers one request at a time, and is asked by a thread of its own.

    Args:
        answers: where every answer goes, with the key of its request.
    """

    def __init__(self, answers: "queue.SimpleQueue[tuple[Any, Any]]") -> None:
        self._requests: queue.PriorityQueue[tuple[int, int, Any, Any]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._answers = answers
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def ask(self, key: Any, request: Any) -> None:  # noqa: ANN401 - whatever the caller wants back
        """Send a request when the one before is answered; its `Reply` comes with `key`.

        Patches of a tile that was read go before reading a new one: its pixels are still at hand.
        """
        self._requests.put((0 if isinstance(request, Cut | Keep | Settle) else 1, next(self._count), key, request))

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it can answer."""

    def end(self) -> None:
        """Ask for nothing more; what was asked and not begun is lost."""
        self._requests.put((-1, 0, None, None))

    def close(self) -> None:
        """End, and wait for what was begun, but not long."""
        self.end()
        self._thread.join(timeout=5)

    @abstractmethod
    def _exchange(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Its reply; whatever goes wrong is one."""

    def _feed(self) -> None:
        while True:
            order, _, key, request = self._requests.get()
            if order < 0:
                self._leave()
                return
            self._answers.put((key, self._exchange(request)))

    def _leave(self) -> None:  # noqa: B027 - most have nothing to leave
        """What the feeding thread does last."""


class ThreadReader(Reader):
    """Reads in this process: at once, where a process takes a second to start; decoding leaves other threads their
    turn, what Python does in between does not.
    """

    def __init__(self, answers: "queue.SimpleQueue[tuple[Any, Any]]") -> None:
        cv2.setNumThreads(1)
        self._answering = Answering()
        super().__init__(answers)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _exchange(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        return self._answering.reply(request)

    def _leave(self) -> None:
        """Close the slide: nobody else may, while it is read."""
        self._answering.close()


class ProcessReader(Reader):
    """Reads in a process of its own."""

    def __init__(self, answers: "queue.SimpleQueue[tuple[Any, Any]]") -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        with _deaf():
            self._process.start()
        theirs.close()
        super().__init__(answers)

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def close(self) -> None:
        """End the process at once."""
        self.end()
        self._process.terminate()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
        super().close()

    def _exchange(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        try:
            self._pipe.send(request)
            return self._pipe.recv()
        except Exception as error:  # noqa: BLE001 - whatever it is, the main loop waits for an answer
            if not isinstance(error, EOFError | OSError):
                self._process.kill()
            self._process.join(timeout=5)
            failure = SlideError(
                f"a reader process ended (exit code {self._process.exitcode}; {type(error).__name__})",
                remedy="it may have run out of memory: use fewer --workers, and go on with --resume",
            )
            return Reply(value=failure, seconds={})


class Readers:
    """Some readers that live for a whole job; use as a context, or close them.

    Args:
        workers: how many.
        kind: threads or processes.
    """

    def __init__(self, workers: int, kind: type[ThreadReader] | type[ProcessReader] = ProcessReader) -> None:
        self._kind = kind
        self._answers: queue.SimpleQueue[tuple[Any, Reply]] = queue.SimpleQueue()
        self._readers: list[Reader] = [kind(self._answers) for _ in range(workers)]

    def __len__(self) -> int:
        return len(self._readers)

    def __enter__(self) -> "Readers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for reader in self._readers:
            reader.end()
        for reader in self._readers:
            reader.close()

    def renew(self) -> None:
        """Replace every reader that has ended. What is still unanswered comes later, under its own key."""
        for number, reader in enumerate(self._readers):
            if not reader.alive:
                reader.close()
                self._readers[number] = self._kind(self._answers)

    def ask(self, reader: int, key: Any, request: Any) -> None:  # noqa: ANN401 - whatever the caller wants back
        self._readers[reader].ask(key, request)

    def answer(self, *, wait: bool) -> tuple[Any, Reply] | None:
        """The next key and reply; waits in short steps so that an interrupt is heard, or does not and may be None."""
        while True:
            try:
                return self._answers.get(timeout=0.5) if wait else self._answers.get_nowait()
            except queue.Empty:
                if not wait:
                    return None
