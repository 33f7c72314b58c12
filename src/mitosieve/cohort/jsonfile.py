"""JSON files of annotation, read strictly: a fault names the file and the remedy. Knows nothing of what they hold."""

import json
from pathlib import Path
from typing import Any

from mitosieve.cohort.table import quoted, read_text
from mitosieve.errors import FormatError


def read_any(source: Path, *, remedy: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """What a JSON file holds.

    Args:
        source: the file, UTF-8.
        remedy: what the format looks like.

    Raises:
        FormatError: not readable, or as `loads`.
    """
    return loads(read_text(source), where=source, remedy=remedy)


def loads(text: str, *, where: Path, remedy: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """What JSON text holds.

    Args:
        text: the text.
        where: the file it is from, for messages.
        remedy: what the format looks like.

    Raises:
        FormatError: it is not JSON, has a number of more digits than can be one, is nested too deeply, or an object
            names a key twice: which of the two is meant nobody knows.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise FormatError(f"is not JSON ({error.msg})", where=f"{where}, line {error.lineno}", remedy=remedy) from error
    except _TwiceError as error:
        raise FormatError(
            f"names the key {quoted(str(error))} twice in one object", where=where, remedy=remedy
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise FormatError("holds a number of too many digits", where=where, remedy=remedy) from error
    except RecursionError as error:
        raise FormatError("is not JSON that can be read (nested too deeply)", where=where, remedy=remedy) from error


class _TwiceError(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))
    return made


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
