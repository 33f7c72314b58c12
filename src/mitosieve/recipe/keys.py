"""Keys of recipes: a misspelt one is told before any method, and so torch, is imported.

`keys.json` holds them by method. It is made of the recipes' classes by `python docs/make_recipe_keys.py`, and a test
keeps it equal to them; the classes have the last word, and values are theirs alone.
"""

import difflib
import json
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import Any

from mitosieve.errors import RecipeError

ANY = "*"
"""Ends the path of a table whose keys are free."""


@cache
def known_keys() -> dict[str, dict[str, list[str]]]:
    """For each method its keys, dotted ("keys"), and those that it had under other names ("renamed")."""
    content: dict[str, dict[str, list[str]]] = json.loads(
        (resources.files("mitosieve.recipe") / "keys.json").read_text(encoding="utf-8")
    )
    return content


def check_keys(content: Mapping[str, Any], where: str) -> None:
    """Refuse a recipe that names no method or an unknown key; what its values are worth is not looked at.

    Raises:
        RecipeError: with the nearest valid key, at whatever depth it stands.
    """
    methods = known_keys()
    method = content.get("method")
    if method not in methods:
        raise RecipeError(
            f"method is '{method}'", where=where, remedy=f'write method = "NAME" with one of {", ".join(methods)}'
        )
    known = methods[method]
    for path in _paths(content):
        if path not in known["renamed"] and not _is_known(path, known["keys"]):
            raise unknown_key(path, known["keys"], where)


def unknown_key(path: str, known: Collection[str], where: str) -> RecipeError:
    """The refusal of a key, with the nearest valid one and those that stand beside it."""
    table = path.rpartition(".")[0]
    near = nearest_key(path, known)
    beside = sorted({_step(key, table) for key in known if _below(key, table)})
    here = beside or sorted({_step(key, "") for key in known})
    meant = f"did you mean '{near}'? " if near else ""
    return RecipeError(
        f"unknown key '{path}'",
        where=where,
        remedy=f"{meant}valid keys here: {', '.join(here)}",
    )


def nearest_key(path: str, known: Collection[str]) -> str | None:
    """The valid key that a wrong one most probably means; None where none is near.

    First one of the same last word, whose tables are most like the ones that were written: people forget a table more
    often than they misspell. Else the one whose whole path is most alike.
    """
    last = path.rpartition(".")[2]
    words = sorted({key.rpartition(".")[2] for key in known})
    for word in (last, *difflib.get_close_matches(last, words, n=1, cutoff=0.75)):
        same = [key for key in known if key.rpartition(".")[2] == word]
        if same:
            return max(
                sorted(same), key=lambda key: (_shared(key, path), difflib.SequenceMatcher(None, key, path).ratio())
            )
    return next(iter(difflib.get_close_matches(path, sorted(known), n=1, cutoff=0.7)), None)


def _shared(key: str, path: str) -> int:
    """How many words of two paths agree from the beginning."""
    pairs = zip(key.split("."), path.split("."), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(key.count("."), path.count(".")) + 1)


def _paths(content: Mapping[str, Any], above: str = "") -> list[str]:
    """Dotted paths of all values, tables of a list among them."""
    found: list[str] = []
    for name, value in content.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            found += _paths(value, f"{path}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for item in value:
                found += _paths(item, f"{path}.")
        else:
            found.append(path)
    return found


def _is_known(path: str, known: Collection[str]) -> bool:
    if path in known or any(key.startswith(f"{path}.") for key in known):  # an empty table is its table
        return True
    words = path.split(".")
    return any(".".join([*words[:i], ANY]) in known for i in range(len(words)))


def _below(key: str, table: str) -> bool:
    return not table or key.startswith(f"{table}.")


def _step(key: str, table: str) -> str:
    return key.removeprefix(f"{table}.").partition(".")[0] if table else key.partition(".")[0]
