"""JSON files of annotation, read strictly: a fault names the file and the remedy. Knows nothing of what they hold."""

import json
from pathlib import Path
from typing import Any

from mitosieve.cohort.table import read_text
from mitosieve.errors import FormatError


def read_any(source: Path, *, remedy: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """What a JSON file holds.

    Args:
        source: the file, UTF-8.
        remedy: what the format looks like.

    Raises:
        FormatError: not readable, or not JSON.
    """
    try:
        return json.loads(read_text(source))
    except json.JSONDecodeError as error:
        raise FormatError(
            f"is not JSON ({error.msg})", where=f"{source}, line {error.lineno}", remedy=remedy
        ) from error
    except RecursionError as error:
        raise FormatError("is not JSON that can be read (nested too deeply)", where=source, remedy=remedy) from error


def read_object(source: Path, *, what: str, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        source: the file, UTF-8.
        what: the format that was expected, as "a MIDOG file".
        remedy: what the format looks like.

    Raises:
        FormatError: not readable, not JSON, or no object.
    """
    content = read_any(source, remedy=remedy)
    if not isinstance(content, dict):
        raise FormatError(f"is not {what}", where=source, remedy=remedy)
    return content


def read_items(content: dict[str, Any], key: str, *, source: Path, remedy: str) -> list[dict[str, Any]]:
    """The list of objects below a key.

    Raises:
        FormatError: there is none, or one of its items is no object.
    """
    items = content.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FormatError(f"has no list of {key}", where=source, remedy=remedy)
    return items
