"""What happens in a worker process of a cluster, and how it is known that the process is in the right place."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from mitosieve import __version__
from mitosieve.errors import ClusterError, MitosieveError
from mitosieve.run.folder import write_atomic

Given = TypeVar("Given")
Made = TypeVar("Made")

_SEEN_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How a worker knows that it is in the right place.

    Attributes:
        folder: where this process works; relative paths mean the same in the worker.
        file: what the shared folder holds while the tasks run.
        version: of mitosieve.
    """

    folder: Path
    file: Path
    version: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a worker sends back; `unfit` says why the machine cannot be used at all."""

    value: Any = None
    error: MitosieveError | None = None
    unfit: ClusterError | None = None


def in_worker(function: Callable[[Given], Made], given: Given, needs: Sequence[Path], mark: Mark) -> Answer:
    """What runs in a worker process."""
    try:
        check_worker(mark, needs)
    except ClusterError as unfit:
        return Answer(unfit=unfit)
    try:
        return Answer(value=function(given))
    except MitosieveError as error:
        return Answer(error=error)


def check_worker(mark: Mark, needs: Sequence[Path]) -> None:
    """Make sure that this process sees what the one that submits sees, and works where it works.

    Raises:
        ClusterError: it does not, or runs another version.
    """
    machine = socket.gethostname()
    if mark.version != __version__:
        raise ClusterError(
            f"the machine {machine} of the cluster has mitosieve {__version__}, and this one {mark.version}",
            remedy="install one version on all machines",
        )
    if mark.folder.is_dir():
        os.chdir(mark.folder)
    _check_shared(mark.file, machine)
    for path in needs:
        if not path.exists():
            raise ClusterError(
                f"the machine {machine} of the cluster does not see this file or folder",
                where=mark.folder / path,
                remedy="keep slides, detectors and results on a disk that all machines see at the same path",
            )


@lru_cache(maxsize=1)
def _check_shared(file: Path, machine: str) -> None:
    """Look for the file for a while: a shared disk may show it late."""
    end = time.monotonic() + _SEEN_WITHIN_S
    while not file.exists():
        if time.monotonic() > end:
            raise ClusterError(
                f"the machine {machine} of the cluster does not see this folder",
                where=file.parent,
                remedy="choose an --out on a disk that all machines see at the same path",
            )
        time.sleep(0.1)
        if file.parent.is_dir():
            os.listdir(file.parent)  # noqa: PTH208 - makes a network disk look again


@contextmanager
def mark_in(shared: Path) -> Generator[Mark]:
    """Leave a mark in the shared folder for as long as tasks run."""
    file = shared.absolute() / f".cluster-{secrets.token_hex(8)}.part"
    write_atomic(file, b"")
    try:
        yield Mark(folder=Path.cwd(), file=file, version=__version__)
    finally:
        file.unlink(missing_ok=True)
