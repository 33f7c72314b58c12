"""The file of decisions beside a result: lines are added at its end and never rewritten.

A line counts when `append` has returned: it is then on the disk. A process that dies within `append` may leave a torn
last line; reading passes over it and says so, and the next `append` marks it as torn and goes on below. Processes take
turns by a lock on the file, which falls with the process. Knows nothing of what is decided about.
"""

import contextlib
import fcntl
import io
import logging
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from mitosieve.errors import FormatError
from mitosieve.review.decision import Decision
from mitosieve.run import layout
from mitosieve.run.folder import storage_error

_TORN = b"#torn"
"""Ends a line that a process died in: no line of JSON ends so."""

_log = logging.getLogger(__name__)


class DecisionLog:
    """Decisions of all readers about one result.

    Args:
        path: of the file, which need not be there; `DecisionLog.beside(folder)` knows its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, folder: Path) -> "DecisionLog":
        """The decisions about the result in a folder."""
        return cls(folder / layout.DECISIONS)

    def append(self, decision: Decision) -> Decision:
        """Add a line and wait until the disk has it.

        Returns:
            What was written.

        Raises:
            StorageError: the disk is full or the file not writable; what was there before still is.
        """
        line = decision.to_json().encode() + b"\n"
        try:
            is_new = not self.path.exists()
            with self.path.open("a+b", buffering=0) as file, _locked(file, fcntl.LOCK_EX):
                line = _end_of(file) + line
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            if is_new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise storage_error(error, self.path) from error
        return decision

    def read(self) -> list[Decision]:
        """All decisions, in the order in which they were written; none where there is no file.

        Raises:
            FormatError: a line is no decision (which, why), or the file cannot be read.
        """
        return self.since(0)[0]

    def since(self, offset: int) -> tuple[list[Decision], int]:
        """What was written after an earlier call.

        Args:
            offset: what the earlier call returned; 0 from the beginning.

        Returns:
            The decisions, and the offset for the next call.

        Raises:
            FormatError: as `read`; or the file is shorter than it was.
        """
        try:
            with self.path.open("rb") as file, _locked(file, fcntl.LOCK_SH):
                size = os.fstat(file.fileno()).st_size
                first = 1 + file.read(offset).count(b"\n")
                content = file.read()
        except FileNotFoundError:
            size, first, content = 0, 1, b""
        except OSError as error:
            raise FormatError(f"cannot be read ({error.strerror or error})", where=self.path) from error
        if size < offset:
            raise FormatError(
                "is shorter than it was: it was replaced or cut",
                where=self.path,
                remedy="open the result again; lines are only ever added to this file",
            )
        return self._parsed(content, first, offset)

    def _parsed(self, content: bytes, first: int, offset: int) -> tuple[list[Decision], int]:
        """Decisions of lines, the first of which has the number `first`, and where the last of them ends."""
        found: list[Decision] = []
        for number, line in enumerate(io.BytesIO(content), start=first):
            where = f"{self.path}, line {number}"
            if not line.endswith(b"\n") and not _is_decision(line):
                _log.warning("%s: is torn (a process died while it wrote it): passed over", where)
                break
            offset += len(line)
            if line.rstrip().endswith(_TORN):
                _log.warning("%s: is torn (a process died while it wrote it): passed over", where)
            elif line.strip():
                found.append(_decision(line, where))
        return found, offset


def _decision(line: bytes, where: str) -> Decision:
    try:
        return Decision.from_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 (byte {error.start})", where=where) from error
    except FormatError as error:
        raise FormatError(error.what, where=where, remedy=error.remedy) from error


def _is_decision(line: bytes) -> bool:
    """Whether a line without its end is whole otherwise: then the decision was made."""
    try:
        _decision(line, "")
    except FormatError:
        return False
    return True


def _end_of(file: io.FileIO) -> bytes:
    """What has to be written before a new line: nothing after a whole line, else the end of the last one."""
    size = file.seek(0, os.SEEK_END)
    last = b""
    while size > 0 and b"\n" not in last:
        start = max(0, size - 65536)
        file.seek(start)
        last, size = file.read(size - start) + last, start
    tail = last[last.rfind(b"\n") + 1 :]
    if not tail:
        return b""
    return b"\n" if _is_decision(tail) else _TORN + b"\n"


@contextlib.contextmanager
def _locked(file: io.BufferedIOBase | io.FileIO, kind: int) -> Generator[None]:
    fcntl.flock(file, kind)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def counting(decisions: Iterable[Decision], reader: str | None = None) -> Iterator[Decision]:
    """Decisions that were not undone, in their order, without the undos; None is all readers.

    A reader undoes only what is their own. An undo that was undone itself undoes nothing.
    """
    own = [decision for decision in decisions if reader in (None, decision.reader)]
    by_id = {decision.id: decision.reader for decision in own}
    undone: set[str] = set()
    for decision in reversed(own):
        what = decision.undoes
        if what is not None and decision.id not in undone and by_id.get(what) == decision.reader:
            undone.add(what)
    return (decision for decision in own if decision.kind != "undo" and decision.id not in undone)


def standing(decisions: Iterable[Decision], reader: str) -> dict[str, Decision]:
    """The latest decision of a reader about each cell that was not undone.

    Returns:
        By the detection's id; of an added cell by the id of the decision that added it. A later verdict about an added
        cell stands for it. Undoing it brings back what stood before.
    """
    found: dict[str, Decision] = {}
    for decision in counting(decisions, reader):
        if decision.key is not None:
            found[decision.key] = decision
    return found


def readers_of(decisions: Iterable[Decision]) -> tuple[str, ...]:
    """Who decided, in the order of their first decision."""
    return tuple(dict.fromkeys(decision.reader for decision in decisions))
