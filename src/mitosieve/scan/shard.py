"""Parts of a job for the tasks of a job array: which slides are whose, from the command line's words alone."""

import re
from collections.abc import Sequence
from typing import TypeVar

from mitosieve.errors import InputError

Item = TypeVar("Item")

Shard = tuple[int, int]
"""(i, n): the i-th of n parts, the first is 1."""


def parse_shard(text: str) -> Shard:
    """A shard from "i/n".

    Raises:
        InputError: not two whole numbers with 1 <= i <= n.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise InputError(f"--shard {text} is not one of its parts", remedy="write 1/4, 2/4, 3/4, 4/4 for four parts")
    return number, count


def name_of(shard: Shard) -> str:
    """For files: "1-of-4"."""
    return f"{shard[0]}-of-{shard[1]}"


def of_shard(items: Sequence[Item], shard: Shard | None) -> list[Item]:
    """A shard's items, dealt round so that large slides that stand together are shared; all without a shard.

    The shards of one n partition the items.
    """
    return list(items) if shard is None else list(items[shard[0] - 1 :: shard[1]])
