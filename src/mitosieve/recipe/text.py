"""Recipes as text: which there are, and what they say, before anything knows what it means. Imports no method."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mitosieve.errors import RecipeError, did_you_mean

DEFAULT = "swift"
"""What the name `default` stands for: what a CPU can train in minutes, and a slide needs."""

DEFAULT_NAME = "default"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    folder = resources.files("mitosieve.recipe")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """A recipe as it is written, with its comments; `name` of the package, "default", or a TOML file.

    Raises:
        RecipeError: no such recipe (with the nearest name), or it cannot be read.
    """
    return read_recipe(name)[0]


def read_recipe(name: str) -> tuple[str, str]:
    """Text of a recipe, and what to call it in messages.

    Raises:
        RecipeError: as `recipe_text`.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except FileNotFoundError as error:
            raise RecipeError(
                "there is no such recipe file",
                where=path,
                remedy="check the path, or write one: mitosieve recipes swift > mine.toml",
            ) from error
        except IsADirectoryError as error:
            raise RecipeError("is a folder, not a recipe", where=path, remedy="name the TOML file in it") from error
        except (UnicodeDecodeError, OSError) as error:
            raise RecipeError(
                f"cannot be read as text ({error})",
                where=path,
                remedy="name a recipe of `mitosieve recipes`, or a TOML",
            ) from error
    name = DEFAULT if name == DEFAULT_NAME else name
    known = recipe_names()
    if name not in known:
        raise RecipeError(
            f"there is no recipe '{name}'", remedy=f"{did_you_mean(name, known)}known: {', '.join(known)}"
        )
    return (resources.files("mitosieve.recipe") / f"{name}.toml").read_text(encoding="utf-8"), f"recipe {name}"


def recipe_content(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """What a recipe says as TOML, with `key=value` overrides, and what to call it in messages; nothing is judged.

    Raises:
        RecipeError: as `recipe_text`; it is not TOML, or an override is not key=value.
    """
    text, where = read_recipe(name)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"is not TOML ({error})", where=where, remedy="mend this line") from error
    for override in overrides:
        _override(content, override)
    return content, where


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {override} is not key=value", remedy="for example: --set network.width=0.25")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.strip().split(".")
    place = content
    for table in tables:
        place = place.setdefault(table, {})
        if not isinstance(place, dict):
            raise RecipeError(f"--set {key}: '{table}' is a value, not a table", remedy="name a key of a table")
    place[last] = value
