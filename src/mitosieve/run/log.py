"""log.txt: what a job did and when, for whoever looks at its folder. Never compared, never read by the package."""

import contextlib
import os
import platform
import shlex
import sys
import time
from collections.abc import Generator
from datetime import datetime
from pathlib import Path

from mitosieve.run import layout
from mitosieve.run.folder import storage_error
from mitosieve.run.progress import FOLDS, NOTE, SLIDES, STAGE, Fact, Progress
from mitosieve.run.words import Words, in_time

__all__ = ["EVERY_S", "FOLDS", "SLIDES", "STAGE", "JobLog", "Progress", "job_log"]

EVERY_S = 30.0
"""A job without anything to say says at least this often where it is."""

_MILESTONES = (STAGE, FOLDS)
"""Told whenever they come; slides too, where they are few."""

_FEW = 100


class JobLog:
    """A `Progress` that writes lines into a file and tells on what it is told.

    Args:
        path: the file; lines are added to it, so that a resumed job's follow the killed one's.
        further: told everything too.
    """

    def __init__(self, path: Path, further: Progress | None) -> None:
        self._path, self._further = path, further
        self._words = Words()
        self._began_s = self._told_s = time.monotonic()

    def __call__(self, what: str, done: int, total: int, /, **facts: Fact) -> None:
        """Take note; a line is written every EVERY_S, and when a stage, a fold or one of few slides is done."""
        if what == NOTE:
            self.line(f"warning: {facts.get('text')}")
        else:
            self._note(what, done, total, **facts)
        if self._further is not None:
            self._further(what, done, total, **facts)

    def _note(self, what: str, done: int, total: int, **facts: Fact) -> None:
        self._words.take(what, done, total, **facts)
        now = time.monotonic()
        step = what in _MILESTONES or (what == SLIDES and total <= _FEW)
        if step or now - self._told_s >= EVERY_S:
            self.line(str(self._words))
            self._told_s = now

    def line(self, text: str) -> None:
        """Write one line with the time before it.

        Raises:
            StorageError: the disk is full, or the folder not writable.
        """
        stamp = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(f"{stamp}  {part}\n" for part in text.splitlines())
        except OSError as error:
            raise storage_error(error, self._path) from error

    @property
    def took(self) -> str:
        return in_time(time.monotonic() - self._began_s)


@contextlib.contextmanager
def job_log(folder: Path, further: Progress | None) -> Generator[JobLog]:
    """The log of a job in its folder: first who and where, last how it ended, also where that was an error.

    Args:
        folder: of the job, or of a part of it; made if missing.
        further: told all that the log is told.
    """
    log = JobLog(folder / layout.LOG, further)
    log.line(f"begins: {shlex.join(['mitosieve', *sys.argv[1:]])}, on {platform.node()}, process {os.getpid()}")
    try:
        yield log
    except BaseException as error:
        with contextlib.suppress(Exception):  # what went wrong is raised; a full disk must not hide it
            log.line(f"ended after {log.took}: {type(error).__name__} {error}")
        raise
    log.line(f"done after {log.took}")
