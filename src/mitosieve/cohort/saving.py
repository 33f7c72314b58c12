"""How a cohort's two files come to their place: both or neither, by one process at a time, over what was read.

Knows nothing of what they hold.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Generator
from pathlib import Path

from mitosieve.errors import CohortError
from mitosieve.run.folder import storage_error, write_atomic

SLIDES_FILE = "slides.csv"
ANNOTATIONS_FILE = "annotations.csv"
_LOCK = ".slides.csv.lock"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What disks answer that know no locks: some network disks, and some that a program makes up."""

WAIT_S = 10.0
"""How long a process waits for another that is writing; that takes a second or two."""


def write_both(folder: Path, texts: dict[str, str], *, over: str | None = None) -> None:
    """Write both files; on any fault, a full disk too, what was there before is still there.

    Both are written whole beside their place before either is moved to it. The marks move first: should the process
    die between the two moves, the slides wait alone, and whoever opens the folder next moves them (`settle`).

    Args:
        folder: of the cohort; made if missing.
        texts: the content of both, by name.
        over: `state_of` the folder when it was read; None writes over whatever is there.

    Raises:
        CohortError: another process is writing, or has written since.
        StorageError: the folder cannot be written.
    """
    with _alone(folder):
        settle(folder)
        if over is not None and state_of(folder) != over:
            raise CohortError(
                "another process has changed this cohort meanwhile, and nothing was written",
                where=folder,
                remedy="run the command again, now that the other has ended",
            )
        waiting = {name: _waiting(folder, name) for name in (ANNOTATIONS_FILE, SLIDES_FILE)}
        try:
            for name, path in waiting.items():
                write_atomic(path, texts[name])
            waiting[ANNOTATIONS_FILE].replace(folder / ANNOTATIONS_FILE)
            settle(folder)
        except OSError as error:
            raise storage_error(error, folder) from error
        finally:
            for path in reversed(waiting.values()):  # slides alone would be taken for a save that died
                with contextlib.suppress(OSError):  # what cannot be removed was reported by the write already
                    path.unlink(missing_ok=True)


def state_of(folder: Path) -> str:
    """A hash of both files as they are; of absent ones too."""
    state = hashlib.sha256()
    for name in (SLIDES_FILE, ANNOTATIONS_FILE):
        path = folder / name
        try:
            content = path.read_bytes() if path.exists() else b"absent"
        except OSError as error:
            raise storage_error(error, path) from error
        state.update(hashlib.sha256(content).digest())
    return state.hexdigest()


def settle(folder: Path) -> None:
    """End a save that died between its two moves: then the slides wait whole beside their place, and no marks do.

    Raises:
        StorageError: they cannot be moved.
    """
    slides = _waiting(folder, SLIDES_FILE)
    if slides.exists() and not _waiting(folder, ANNOTATIONS_FILE).exists():
        try:
            slides.replace(folder / SLIDES_FILE)
        except OSError as error:
            if not slides.exists() and (folder / SLIDES_FILE).exists():  # another process was as quick
                return
            raise storage_error(error, folder) from error


def _waiting(folder: Path, name: str) -> Path:
    """Where a table waits, written whole, until it is moved to its place."""
    return folder / f".{name}.new"


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Hold a folder while its files are written; the lock falls with the process, and its file is not kept."""
    path = folder / _LOCK
    until = time.monotonic() + WAIT_S
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while not _locks(path, held):
                if time.monotonic() >= until:
                    raise CohortError(
                        "is being written by another process", where=folder, remedy="run the command again when it ends"
                    )
                time.sleep(0.05)
        except OSError as error:
            raise storage_error(error, folder) from error
        yield


def _locks(path: Path, held: contextlib.ExitStack) -> bool:
    """Whether the lock could be taken; then it is given back, and its file removed, with `held`."""
    with contextlib.ExitStack() as trying:
        file = trying.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise  # a disk without locks: what was read is compared all the same
        try:
            is_its_own = path.stat().st_ino == os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            is_its_own = False
        if not is_its_own:  # removed by who held it before
            return False
        trying.callback(path.unlink, missing_ok=True)
        held.push(trying.pop_all())
    return True
