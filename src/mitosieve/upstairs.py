"""A door from classes to the rooms above them: methods that are for a person at a notebook, not for the package.

`Detections.show` belongs where people look for it, and the pictures it makes belong above slides and scores. The room
`notebook` is looked up by name when such a method is called; nothing in the package calls one (docs/decisions/0013).
"""

from importlib import import_module
from typing import Any


def notebook(module: str) -> Any:  # noqa: ANN401 - a module
    """A module of the room `notebook`."""
    return import_module(f"mitosieve.notebook.{module}")
