"""mitosieve.toml: a laboratory's defaults for the machine and for what it looks with, never for science.

    threads = 8
    device = "cuda"
    detector = "detectors/ours"    # a name of `mitosieve models`, or a folder, from the folder of this file
    tissue = "breast"

The one in the folder where a command is given goes before the one in the user's configuration directory
(~/.config/mitosieve on Linux); a word on the command line goes before both.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitosieve.errors import FormatError, did_you_mean

FILE = "mitosieve.toml"

KEYS: dict[str, type[int] | type[str]] = {
    "threads": int,
    "device": str,
    "precision": str,
    "engine": str,
    "detector": str,
    "tissue": str,
}
"""What may stand in it, each the option of that name."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Defaults of options.

    Attributes:
        values: option -> value.
        files: that they come from, the stronger one last.
    """

    values: dict[str, Any]
    files: tuple[Path, ...]

    def for_commands(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """As click takes defaults: a command has no use for options that it does not know."""
        return {name: dict(self.values) for name in names}


def places() -> tuple[Path, Path]:
    """Where a configuration may lie, the weaker first: the user's configuration directory, the current folder."""
    from platformdirs import user_config_path

    return user_config_path("mitosieve", appauthor=False) / FILE, Path.cwd() / FILE


def configuration() -> Configuration:
    """What the files say, as far as there are any.

    Raises:
        FormatError: one cannot be read, or has an unknown key or a value of a wrong type.
    """
    values: dict[str, Any] = {}
    files = tuple(path for path in places() if path.is_file())
    for path in files:
        values |= _read(path)
    return Configuration(values=values, files=files)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"cannot be read ({error})", where=path, remedy="mend it, or move it away") from error
    for key, value in content.items():
        if key not in KEYS:
            raise FormatError(
                f"unknown key '{key}'",
                where=path,
                remedy=f"{did_you_mean(key, list(KEYS))}it may hold {', '.join(KEYS)}; science belongs in a recipe",
            )
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            kind = "a whole number" if KEYS[key] is int else "text"
            raise FormatError(f"{key} is {value!r}", where=path, remedy=f"write {kind}")
    detector = content.get("detector")
    if detector is not None and (path.parent / detector).exists():
        content["detector"] = str(path.parent / detector)
    return content
