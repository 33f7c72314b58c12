"""Which images a training learns from: size and content of each, kept in the run, so that a resume knows them again.

The cohort's hash says which slides and marks there are, and nothing of pixels: a scan that was exported anew between
two tries would be half of a training, with the stain of the other half.
"""

import hashlib
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import RunFolderError, SlideError, some
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, hash_file, read_json, write_json


def check_images(run: RunFolder, cohort: Cohort, cases: tuple[str, ...]) -> None:
    """Keep what the images of a training are, or refuse those that are others than when it was started.

    An image that is absent is left to whoever opens it; in a run that has rendered it, nobody does. A run that does not
    say what its images were, because an older version made it, renders them again: its stain target and its frames may
    be of others.

    Args:
        run: held by this process.
        cohort: of the training.
        cases: of its train and validation parts.

    Raises:
        RunFolderError: an image has another size or other bytes.
        SlideError: an image cannot be read.
        StorageError: the run cannot be written.
    """
    path = run / layout.IMAGES
    known: dict[str, Any] = read_json(path, {})
    if not known:
        shutil.rmtree(run / layout.FRAMES, ignore_errors=True)
    found = {entry.slide_id: _facts(cohort.path_of(entry.slide_id)) for entry in cohort.of_cases(cases).slides}
    here = {name: facts for name, facts in found.items() if facts is not None}
    changed = [name for name, facts in here.items() if known.get(name, facts) != facts]
    if changed:
        raise RunFolderError(
            f"was started with other images of {len(changed)} slides: {some(changed)}; resuming would mix two runs",
            where=run.path,
            remedy=f"put the images back (sizes and hashes are in {layout.IMAGES}), or choose another --out",
        )
    if {**known, **here} != known:
        write_json(path, {**known, **here})


def unlike_images(run: RunFolder, cohort: Cohort, *, by_content: bool) -> list[str]:
    """Slides of a cohort whose image differs from that which a run learned from; one that is absent does not.

    Args:
        run: of a training.
        cohort: of equal tables.
        by_content: else by their sizes, and by content where a file was written after the run knew it: that takes no
            time on whole slides that lie as they lay.

    Raises:
        SlideError: an image cannot be read.
    """
    known: dict[str, Any] = read_json(run / layout.IMAGES, {})
    there = {entry.slide_id: cohort.path_of(entry.slide_id) for entry in cohort.slides if entry.slide_id in known}
    if by_content:
        return sorted(name for name, path in there.items() if _facts(path) not in (None, known[name]))
    since = (run / layout.IMAGES).stat().st_mtime_ns if known else 0
    return sorted(name for name, path in there.items() if _is_other(path, known[name], since))


def _is_other(path: Path, known: dict[str, Any], since_ns: int) -> bool:
    """By size; else by content where a file came since, by its own time or the disk's, for who unpacks or copies a file
    may keep its own.
    """
    size = _bytes(path)
    if size not in (None, known.get("bytes")):
        return True
    try:
        states = [file.stat() for file in _files(path)]
    except OSError as error:
        raise _unreadable(path, error) from error
    is_later = any(max(state.st_mtime_ns, state.st_ctime_ns) > since_ns for state in states)
    return is_later and _facts(path) not in (None, known)


def forget_image(run: RunFolder, cohort: Cohort, error: SlideError) -> None:
    """Of an image that could not be read at first nothing was learned: mended, it is another, and the training goes on.

    Frames and stain target are made again then: they may be of what was readable of it. Where the training's places are
    found every image has been read, and networks may have learned from it: it stays known.
    """
    if (run / layout.places_of("train")).exists():
        return
    path = run / layout.IMAGES
    known: dict[str, Any] = read_json(path, {})
    names = [name for name in known if (error.where or "").startswith(str(cohort.path_of(name)))]
    if names:
        shutil.rmtree(run / layout.FRAMES, ignore_errors=True)
        write_json(path, {name: facts for name, facts in known.items() if name not in names})


def _bytes(path: Path) -> int | None:
    """Of an image, of all its files where it has several; None where it is absent."""
    try:
        return sum(file.stat().st_size for file in _files(path)) or None
    except OSError as error:
        raise _unreadable(path, error) from error


def _facts(path: Path) -> dict[str, Any] | None:
    """Bytes and sha256 of an image, of all its files where it has several; None where it is absent."""
    try:
        files = _files(path)
        if not files:
            return None
        stats = [(file, file.stat()) for file in files]
        hashes = [_hash(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats]
    except OSError as error:
        raise _unreadable(path, error) from error
    size = sum(stat.st_size for _, stat in stats)
    if len(hashes) == 1:
        return {"bytes": size, "sha256": hashes[0]}
    named = "".join(f"{file.name} {digest}\n" for file, digest in zip(files, hashes, strict=True))
    return {"bytes": size, "sha256": hashlib.sha256(named.encode("utf-8", "surrogateescape")).hexdigest()}


def _unreadable(path: Path, error: OSError) -> SlideError:
    return SlideError(f"cannot be read ({error.strerror})", where=path, remedy="restore it")


def _files(path: Path) -> list[Path]:
    """Files that hold an image: itself and those of a folder of its name (MRXS), or all of a folder (DICOM); what is
    hidden there, as a system adds it, is none.
    """
    if path.is_dir():
        return sorted(file for file in path.glob("[!.]*") if file.is_file())
    if not path.is_file():
        return []
    if path.suffix.lower() != ".mrxs":  # of another image a folder of its name is somebody's own
        return [path]
    beside = path.with_suffix("")
    return [path, *(sorted(file for file in beside.glob("[!.]*") if file.is_file()) if beside.is_dir() else ())]


@lru_cache(maxsize=100_000)
def _hash(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Of a file as it is now; once a process, where folds share their images."""
    del size, mtime_ns, ctime_ns  # they tell a changed file from the one that was hashed before
    return hash_file(path)
