"""Where a detector lies: in the package by name, whole or refused; or in a folder, or the run that it is of."""

import tomllib
from pathlib import Path
from typing import Any

from mitosieve.errors import DetectorError, did_you_mean
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, write_atomic

BOX = Path(__file__).parent
"""Package data: a detector folder for each name."""

DEFAULT = "sieve"
"""What the name `default` stands for, and what `mitosieve detect` uses where none is named."""

LIMIT_BYTES = 12_000_000
"""Of all that is in the box: a package that is installed for its importers must not be heavy."""

DETECTOR_FORMAT = 1
"""Version of a detector folder's layout."""

_AGAIN = "install mitosieve again from its wheel or its whole sources, or name a detector folder"


def names(box: Path | None = None) -> tuple[str, ...]:
    """Names of the detectors that are here, sorted; none where the package was installed without its data."""
    box = BOX if box is None else box
    files = (layout.HASHES, layout.DETECTOR_CONFIG, layout.CARD_DATA)  # one that is left makes the others missed
    found = {path.parent.name for file in files for path in box.glob(f"*/{file}")}
    return tuple(sorted(name for name in found if not name.startswith(".")))


def find(word: str, box: Path | None = None) -> str | None:
    """The name that a word stands for, `default` being one; None where it is no name of the box."""
    name = DEFAULT if word == "default" else word
    return name if word == "default" or name in names(box) else None


def folder_of(word: str, box: Path | None = None) -> Path:
    """Folder of a shipped detector, each of whose files was checked against the hashes that it was shipped with.

    Raises:
        DetectorError: no such name (with the nearest), a package without its data, or a file missing or altered.
    """
    box = BOX if box is None else box
    name, known = find(word, box), names(box)
    if not known:
        raise DetectorError(
            "the package holds no detector: it was installed without its data", where=box, remedy=_AGAIN
        )
    if name is None:
        raise DetectorError(
            f"there is no detector '{word}', neither as a folder nor in the package",
            remedy=f"{did_you_mean(word, [*known, 'default'])}in the package: {', '.join(known)}",
        )
    folder = box / name
    for file, digest in _hashes(folder / layout.HASHES).items():
        path = folder / file
        if not path.exists():
            raise DetectorError("is missing from the package", where=path, remedy=_AGAIN)
        if hash_file(path) != digest:
            raise DetectorError(f"was altered: its sha256 is not the one in {layout.HASHES}", where=path, remedy=_AGAIN)
    return folder


def detector_folder(named: str | Path) -> Path:
    """Folder of a detector: by its name in the package (text alone), its own, or that of the run that it is of.

    Raises:
        DetectorError: text that is neither a name nor a folder, with the nearest name; or a shipped detector that is
            not whole.
    """
    if isinstance(named, str) and (find(named) is not None or not (_is_path(named) or Path(named).exists())):
        return folder_of(named)
    folder = Path(named)
    inner = folder / layout.DETECTOR
    is_run = not (folder / layout.DETECTOR_CONFIG).exists() and (inner / layout.DETECTOR_CONFIG).exists()
    return inner if is_run else folder


def read_content(path: Path) -> dict[str, Any]:
    """What a detector.toml says, of this version's format; what its keys mean is known elsewhere.

    Raises:
        DetectorError: there is none, it is not TOML, or it is of another version.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DetectorError(
            "there is no detector here",
            where=path,
            remedy="name a detector folder, a run whose training has ended, or one that `mitosieve models` lists",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DetectorError(f"is not TOML ({error})", where=path, remedy="copy the whole folder again") from error
    if content.get("format") != DETECTOR_FORMAT:
        raise DetectorError(
            f"is a detector of format {content.get('format')}; this version reads format {DETECTOR_FORMAT}",
            where=path,
            remedy="use the version of mitosieve that made it (made_by), or train again",
        )
    return content


def is_detector(folder: Path) -> bool:
    """Whether a folder is a detector, or a training run, which may have none yet."""
    return any((folder / name).exists() for name in (layout.DETECTOR_CONFIG, layout.DETECTOR, layout.RECIPE))


def _is_path(text: str) -> bool:
    """Text with a separator, which no name has, or the names of this folder and the one above."""
    return text in (".", "..") or text != Path(text).name


def size_bytes(folder: Path) -> int:
    """Of all files of a detector, or of the detectors of a box."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    return sum(path.stat().st_size for path in files)


def seal(folder: Path) -> Path:
    """Write the hashes of all files of a detector folder, as `sha256sum` lays them out and checks them.

    Raises:
        StorageError: the file cannot be written.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != layout.HASHES)
    lines = "".join(f"{hash_file(path)}  {path.name}\n" for path in files)
    return write_atomic(folder / layout.HASHES, lines)


def _hashes(path: Path) -> dict[str, str]:
    """File name -> sha256."""
    try:
        rows = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        found = {name: digest for digest, name in rows}
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DetectorError("the list of hashes is missing or broken", where=path, remedy=_AGAIN) from error
    if layout.DETECTOR_CONFIG not in found:
        raise DetectorError("the list of hashes names no detector.toml", where=path, remedy=_AGAIN)
    return found
