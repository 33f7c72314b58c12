"""What the intervals of a study's table draw, and what so few trainings say."""

from collections.abc import Callable, Mapping, Sequence

from mitosieve.score.repeated import Comparison, Difference, Row

ENOUGH_SEEDS = 5
"""From this many on nothing is said of how few they are: our choice, by `bench/few_seeds.py`."""


def _of_row(row: Row) -> Sequence[int]:
    return row.seeds


def of_difference(differences: Mapping[str, Difference]) -> Sequence[int]:
    """The seeds that both have; none where there is no difference."""
    return differences["f1"].seeds if differences else ()


def drawn(comparisons: Mapping[str, Comparison], seeds_of: Callable[[Row], Sequence[int]] = _of_row) -> str:
    """What intervals draw, a sentence for each kind, of parts with which they are of; and what so few seeds say.

    Args:
        comparisons: part -> what is told of it.
        seeds_of: the seeds that what is told of a row is of; none where nothing is.
    """
    of: dict[str, list[str]] = {}
    seeds = {
        name: {row.name: len(seeds_of(row)) for row in one.rows if seeds_of(row)} for name, one in comparisons.items()
    }
    for name, one in comparisons.items():
        words = "no interval" if one.unit == "none" else f"intervals (95 %) draw {one.unit}{_and_seeds(seeds[name])}"
        of.setdefault(f"{words}: {one.note}." if one.note else f"{words}.", []).append(name or "(not named)")
    if len(of) == 1:
        told = "".join(words[0].upper() + words[1:] for words in of)
    else:
        told = " ".join(f"{', '.join(names)}: {words}" for words, names in of.items())
    numbers = {number for part in seeds.values() for number in part.values()}
    if numbers <= {1}:
        return f"{told} One training a row and fold: how far trainings lie apart is not in them, nor in p."
    if min(numbers) >= ENOUGH_SEEDS:
        return told
    if 1 in numbers:
        few = f"fewer than {ENOUGH_SEEDS} say little"
        return f"{told} One seed, its p too, says nothing of how far trainings lie apart; {few}."
    few = f"{min(numbers)}" if len(numbers) == 1 else f"Fewer than {ENOUGH_SEEDS}"
    return f"{told} {few} seeds say little of how far trainings lie apart."


def _and_seeds(number: Mapping[str, int]) -> str:
    """Whether seeds are drawn too, and of which rows they are not."""
    alone = [name for name, seeds in number.items() if seeds == 1]
    if len(alone) == len(number):
        return ""
    return f" and seeds (not of {', '.join(alone)}: one seed)" if alone else " and seeds"
