"""Files that exist only when whole, and the folder of one run: its version, lock and provenance.

Knows nothing of what the files mean. Wall times never enter a file that is compared byte for byte.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

from mitosieve.errors import FormatError, RunFolderError
from mitosieve.run import layout
from mitosieve.run.layout import Kind
from mitosieve.run.made_with import made_with
from mitosieve.run.storage import as_bytes, storage_error

RUN_FORMAT = 2
"""Version of the run folder's layout; raised when an older run could be misread."""

JOIN_WITHIN_S = 5.0
"""How long a part of a job waits for the part that is just starting the folder."""


def write_atomic(path: Path, content: bytes | str | Callable[[IO[bytes]], None]) -> Path:
    """Write a file so that it is either whole or not there: to a temporary neighbour, flushed, then renamed.

    Args:
        path: where to; its folder is made if missing.
        content: the bytes, the text (written as UTF-8), or a function that writes to the open binary file.

    Raises:
        StorageError: the disk is full or the folder not writable; nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(as_bytes(content) if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, content: Any) -> Path:  # noqa: ANN401 - whatever JSON can hold
    """Write JSON with sorted keys, so that equal content is equal bytes."""
    return write_atomic(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, default: Any, *, remedy: str = "make the file again") -> Any:  # noqa: ANN401 - any JSON
    """The content of a file that a job wrote, or `default` where there is none.

    Raises:
        FormatError: it cannot be read, is not JSON, or holds another type than the default's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, no JSON, thousands of digits
        raise FormatError(f"is not JSON ({error})", where=path, remedy=remedy) from error
    if not isinstance(content, type(default)):
        raise FormatError(f"holds no {type(default).__name__}", where=path, remedy=remedy)
    return content


@contextlib.contextmanager
def reading(path: Path) -> Generator[None]:
    """For reading a table or arrays that a run holds: broken, the file is named.

    Raises:
        FormatError: what is done inside finds no such file, or not what was written.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:  # all that numpy and arrow raise
        raise FormatError(
            f"cannot be read ({error})",
            where=path,
            remedy="put the file back; or delete it and the files of the stages after it, and use --resume",
        ) from error


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


THEN = "then"
"""In machine.json and versions.json: what else a training was done with, after kills."""

PLACES = frozenset({"cohort"})
"""Keys of a provenance that say where data lie, not what they are: a run may go on from elsewhere."""

_MADE_WITH = "made_with"
"""Key of a provenance whose parts are told one by one where they differ: version, engine, device, precision."""


@dataclass(frozen=True, kw_only=True)
class RunMark:
    """Content of run.json.

    Attributes:
        kind: what the folder is of.
        provenance: JSON facts that fix the result; a resume must agree with them.
    """

    kind: Kind
    provenance: dict[str, Any]


class RunFolder:
    """One run on disk. `run.json` is written first and says what the run is of and how it was made; `layout` names the
    other files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @classmethod
    def create(
        cls, path: Path, provenance: dict[str, Any], *, kind: Kind, resume: bool, parts: Collection[str] = ()
    ) -> "RunFolder":
        """Start a run, or take up an interrupted one.

        Args:
            path: the folder; made if missing.
            provenance: JSON facts that fix the result (recipe, split and data hashes); compared on resume.
            kind: what the run is of.
            resume: whether an existing run of the same kind and provenance may be continued.
            parts: names of runs inside that may, on a resume, be there before this one: folds trained one by one.

        Raises:
            RunFolderError: the folder holds another run, another version, or files that are not a run's.
        """
        run = cls(path)
        if (path / layout.RUN).exists() and resume:
            run.check_same(kind, provenance)
            return run
        allowed = parts if resume else ()
        run.check_new(allowed)
        with run.lock():
            run.check_new(allowed)  # of two that start at once, one is first
            write_json(path / layout.RUN, {"format": RUN_FORMAT, "kind": kind.value, "provenance": provenance})
            write_json(path / layout.VERSIONS, made_with())
        return run

    @classmethod
    def join(cls, path: Path, provenance: dict[str, Any], *, kind: Kind) -> "RunFolder":
        """Start a run, or take part in one that another process has started from the same; for parts of a job.

        Raises:
            RunFolderError: the folder holds another run, or stays in use by one that is no part of this.
        """
        until = time.monotonic() + JOIN_WITHIN_S
        while True:
            try:
                return cls.create(path, provenance, kind=kind, resume=True)
            except RunFolderError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.1)  # another part is just starting it

    def check_new(self, parts: Collection[str] = ()) -> None:
        """Refuse to start where something is already, but for runs called as in `parts`.

        Raises:
            RunFolderError: the folder holds a run, runs of another version, or other files, or is a file itself.
        """
        if (self.path / layout.RUN).exists():
            raise RunFolderError(
                "holds a run already", where=self.path, remedy="add --resume to continue it, or choose another --out"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError("is a file, not a folder", where=self.path, remedy="choose a new folder for --out")
        known = {layout.LOCK, *parts}
        if self.path.exists() and any(
            item for item in self.path.iterdir() if item.name not in known and item.suffix != ".part"
        ):
            for inside in sorted(self.path.glob(f"*/{layout.RUN}")):
                RunFolder(inside.parent).read_mark()  # a cross-validation of another version: that is what to say
            raise RunFolderError(
                "is not empty and not a run", where=self.path, remedy="choose an empty or new folder for --out"
            )

    def read_mark(self) -> RunMark:
        """Read run.json.

        Raises:
            RunFolderError: there is none, it cannot be read, or it is of another version.
        """
        mark = self.path / layout.RUN
        if not mark.exists():
            raise RunFolderError(
                f"is not a run folder (no {layout.RUN})",
                where=self.path,
                remedy="name a folder made by train, detect or crossval",
            )
        try:
            content: dict[str, Any] = json.loads(mark.read_text())
            version = content["format"]
            if version == RUN_FORMAT:
                return RunMark(kind=Kind(content["kind"]), provenance=content["provenance"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunFolderError(
                f"cannot be read ({error})", where=mark, remedy="make the run again in a new folder"
            ) from error
        raise RunFolderError(
            f"is a run of format {version}; this version reads format {RUN_FORMAT}",
            where=self.path,
            remedy="make it again with this version in a new folder, or use the version that made it "
            f"({layout.VERSIONS}); a detector inside can still be used, as RUN/{layout.DETECTOR}",
        )

    def check_kind(self, kind: Kind) -> RunMark:
        """The run's mark.

        Raises:
            RunFolderError: the run is of another kind; or as `read_mark`.
        """
        mark = self.read_mark()
        if mark.kind is not kind:
            raise RunFolderError(
                f"was made by {mark.kind.value}, not by {kind.value}",
                where=self.path,
                remedy=f"name a folder made by {kind.value}",
            )
        return mark

    def check_same(self, kind: Kind, provenance: dict[str, Any]) -> None:
        """Refuse to continue a run that was started from something else; where that lies does not matter."""
        old = self.check_kind(kind).provenance
        normal = json.loads(json.dumps(provenance))
        changed = sorted(key for key in {*old, *normal} - PLACES if old.get(key) != normal.get(key))
        if changed:
            made, now = old.get(_MADE_WITH) or {}, normal.get(_MADE_WITH) or {}
            parts = [key for key in sorted({*made, *now}) if made.get(key) != now.get(key)]
            words = [word for key in changed for word in (parts if key == _MADE_WITH else [key.removesuffix("_hash")])]
            named = ", ".join(words)
            raise RunFolderError(
                f"was started with another {named}; resuming would mix two runs",
                where=self.path,
                remedy="repeat the original command with --resume, or choose another --out",
            )

    def keep_places(self, provenance: dict[str, Any]) -> None:
        """Write where the data lie now, for whoever looks for them after a run that went on from elsewhere.

        Raises:
            RunFolderError: run.json cannot be read.
            StorageError: it cannot be written.
        """
        mark = self.read_mark()
        now = {key: value for key, value in provenance.items() if key in PLACES}
        if now != {key: value for key, value in mark.provenance.items() if key in PLACES}:
            content = {"format": RUN_FORMAT, "kind": mark.kind.value, "provenance": {**mark.provenance, **now}}
            write_json(self.path / layout.RUN, content)

    def keep_later(self, name: str, now: dict[str, Any], *, is_over: bool) -> dict[str, Any] | None:
        """Keep in a file what the run began with, and under THEN what it went on with.

        Args:
            name: of the file; made where it is missing.
            now: what the run is done with from here on.
            is_over: whether nothing is computed any more: the file stays as it is.

        Returns:
            What the run began with, where something else goes on; None where that is known, or there is none.

        Raises:
            FormatError: the file cannot be read.
            StorageError: it cannot be written.
        """
        told: dict[str, Any] = read_json(self.path / name, {})
        first = {key: told[key] for key in now if key in told}
        if told and (is_over or now in (first, *told.get(THEN, []))):
            return None
        write_json(self.path / name, {**told, THEN: [*told.get(THEN, []), now]} if told else now)
        return first or None

    @contextlib.contextmanager
    def lock(self, part: str = "", *, within_s: float = 0.0) -> Generator[None]:
        """Hold the folder for this process; the lock falls with the process, so a killed run leaves none behind.

        What a killed process was writing is removed.

        Args:
            part: name of a part of the job that may run beside other parts, but not beside the whole; then nothing is
                removed, for another part may be writing it.
            within_s: how long to wait for a process that is just starting the folder.

        Raises:
            RunFolderError: another process holds it, or the whole of it, or a part of it.
            StorageError: the folder cannot be written, or its disk knows no locks.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            parts = [f"{layout.LOCK}-{part}"] if part else [p.name for p in self.path.glob(f"{layout.LOCK}-*")]
        except OSError as error:
            raise storage_error(error, self.path) from error
        with contextlib.ExitStack() as held:
            for name in sorted({layout.LOCK, *parts}):
                shared = bool(part) and name == layout.LOCK  # the whole is shared by its parts
                held.enter_context(_locked(self.path / name, shared=shared, within_s=within_s))
            if not part:
                self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what a killed process was writing; not in runs inside, which another process may hold."""
        for folder, inside, files in os.walk(self.path):
            place = Path(folder)
            if place != self.path and {layout.RUN, layout.LOCK} & set(files):
                inside.clear()
                continue
            for name in files:
                if name.startswith(".") and name.endswith(".part"):
                    (place / name).unlink(missing_ok=True)


def kind_of(path: Path) -> Kind | None:
    """What a folder is of; None where it is no run.

    Raises:
        RunFolderError: it is a run of another version, or its run.json cannot be read.
    """
    return RunFolder(path).read_mark().kind if (path / layout.RUN).exists() else None


@contextlib.contextmanager
def _locked(path: Path, *, shared: bool, within_s: float) -> Generator[None]:
    """Hold a lock file; opened for reading too, without which a network disk gives no shared lock."""
    until = time.monotonic() + within_s
    try:
        file = path.open("a+")
    except OSError as error:
        raise storage_error(error, path.parent) from error
    with file:
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise RunFolderError(
                        "is in use by another process", where=path.parent, remedy="wait for it, or choose another --out"
                    ) from error
            except OSError as error:
                raise storage_error(error, path.parent) from error
            time.sleep(0.1)
        yield
