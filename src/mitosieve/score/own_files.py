"""Where scores are written: which files stand beside NAME.json, and whose are left alone."""

from collections.abc import Sequence
from pathlib import Path

from mitosieve.errors import FormatError, InputError
from mitosieve.run import layout
from mitosieve.run.folder import read_json

_LAYOUT = frozenset(
    name for name in vars(layout).values() if isinstance(name, str) and name.endswith((".json", ".csv", ".tex"))
)
"""Files that mean something in a folder: no table of scores may be called as one of them."""

_KEYS = {"evaluate": ("format", "pooled"), "compare": ("methods", "differences")}
"""What the JSON of a command holds."""


def outcomes_of(metrics: Path) -> Path:
    """Where the fate of every cell stands: the folder's own beside its own metrics.json, else called as the JSON is."""
    own = metrics.name == layout.METRICS
    return metrics.with_name(layout.OUTCOMES if own else f"{metrics.stem}-{layout.OUTCOMES}")


def check_place(out: Path, command: str) -> None:
    """Refuse a place for scores where a file would be lost that the command did not write.

    Args:
        out: the JSON to write.
        command: "evaluate" or "compare".

    Raises:
        InputError: it is no .json, or it or a table beside it is another file of a folder, or is there already and
            not by this command.
    """
    if out.suffix != ".json":
        raise InputError("is no name of a JSON file", where=out, remedy=f"name it {out.name}.json")
    tables = [out.with_suffix(".csv"), out.with_suffix(".tex")]
    tables += [outcomes_of(out)] if command == "evaluate" else []
    own = (layout.METRICS, layout.OUTCOMES) if command == "evaluate" and out.name == layout.METRICS else ()
    for path in (out, *tables):
        if path.name not in own:
            _refuse_of_folder(path)
    there = [path for path in (out, *tables) if path.exists()]
    if there and not own and not _wrote(out, _KEYS[command]):
        raise _lost(there[0], command)


def check_table(out: Path, command: str, *, own: str, columns: Sequence[str]) -> None:
    """The same for a command that writes one CSV.

    Args:
        out: the CSV to write.
        command: that writes it.
        own: what it is called in a folder of ours; a file of that name is the command's.
        columns: with which every table of the command begins.

    Raises:
        InputError: it is no .csv, or another file of a folder, or is there already and not by this command.
    """
    if out.suffix != ".csv":
        raise InputError("is no name of a CSV file", where=out, remedy=f"name it {out.name}.csv")
    if out.name == own:
        return
    _refuse_of_folder(out)
    if out.exists() and not (out.is_file() and out.read_bytes().startswith(",".join(columns).encode())):
        raise _lost(out, command)


def _refuse_of_folder(path: Path) -> None:
    if path.name in _LAYOUT:
        raise InputError(f"{path.name} is another file of a folder", where=path, remedy="choose another name")


def _lost(path: Path, command: str) -> InputError:
    return InputError(f"is there, and not by {command}: it would be lost", where=path, remedy="choose another name")


def _wrote(out: Path, keys: Sequence[str]) -> bool:
    """Whether the JSON is there and the command's: then the tables beside it are too."""
    try:
        content = read_json(out, {})
    except FormatError:
        return False
    return all(key in content for key in keys)
