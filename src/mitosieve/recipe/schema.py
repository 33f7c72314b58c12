"""The keys of recipes as their classes have them, of which keys.json is made."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from mitosieve.method.registry import METHODS
from mitosieve.recipe.keys import ANY


def keys_of_methods() -> dict[str, dict[str, list[str]]]:
    """For each method its keys and those that were renamed: the content of keys.json."""
    return {
        name: {"keys": sorted(set(keys_of(method.recipe))), "renamed": sorted(method.renamed)}
        for name, method in METHODS.items()
    }


def keys_of(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Dotted paths of all values of a recipe class; of a table that may be one of several kinds, those of all."""
    for name, field in model.model_fields.items():
        yield from _keys_of(field.annotation, f"{above}{name}")


def _keys_of(annotation: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - whatever a field may be
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from keys_of(annotation, f"{path}.")
        return
    origin = get_origin(annotation)
    if origin is dict:
        yield f"{path}.{ANY}"
    elif origin is Annotated:
        yield from _keys_of(get_args(annotation)[0], path)
    elif origin in (Union, types.UnionType, tuple, list):
        for part in get_args(annotation):
            if part not in (type(None), ...):
                yield from _keys_of(part, path)
    else:
        yield path
