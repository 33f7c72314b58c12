"""Which rows a batch is made of: pools dealt like decks of cards, in a fixed ratio. Knows rows and numbers only.

What is drawn at a step depends on (seed, purpose, step) alone, so a resumed training draws the same.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import TrainingError
from mitosieve.run.seed import derive_generator

FIGURES = "figures"
"""The pool of figures; whatever a pool is called else, it holds negatives."""

CYCLE = 64
"""Batches after which groups have had their shares to a row."""


class Deck:
    """An endless deal of `rows`: all once in random order, then all once again in another.

    Args:
        rows: what is dealt; not empty.
        seed: of the run.
        purpose: name of the stream; two decks with different names are shuffled independently.
        hardness: (N,) of each row of the pool; the first deal is by it, falling, not by chance. None has no such deal.
    """

    def __init__(
        self, rows: NDArray[np.intp], *, seed: int, purpose: str, hardness: NDArray[np.floating] | None = None
    ) -> None:
        if len(rows) == 0:
            raise TrainingError(f"there is nothing to draw from for '{purpose}'")
        self.rows = rows
        self.seed = seed
        self.purpose = purpose
        self._hardest = None if hardness is None else rows[np.argsort(-hardness[rows], kind="stable")]
        self._shuffled: tuple[int, NDArray[np.intp]] = (-1, rows)

    def take(self, start: int, count: int) -> NDArray[np.intp]:
        """Cards number `start` to `start + count - 1` of the endless deal."""
        positions = np.arange(start, start + count)
        lap, place = positions // len(self.rows), positions % len(self.rows)
        answer = np.empty(count, dtype=np.intp)
        for number in np.unique(lap):
            in_lap = lap == number
            answer[in_lap] = self._lap(int(number))[place[in_lap]]
        return answer

    def _lap(self, number: int) -> NDArray[np.intp]:
        if number == 0 and self._hardest is not None:
            return self._hardest
        last, shuffled = self._shuffled  # several threads may read ahead: what is returned is never looked up twice
        if last != number:
            order = derive_generator(self.seed, self.purpose, number).permutation(len(self.rows))
            shuffled = self.rows[order]
            self._shuffled = (number, shuffled)
        return shuffled


class RatioSampler:
    """Batches that hold pools in a fixed ratio, e.g. figures : background = 1 : 3.

    Args:
        pools: name -> rows; empty pools are left out and their share goes to the others.
        ratio: name -> share; names of `pools`.
        batch_size: rows a batch; shares that do not divide it are rounded, the largest pool taking the rest.
        seed: of the run.
        hardness: (N,) of each row; the hardest are dealt first (`Deck`).
    """

    def __init__(
        self,
        pools: Mapping[str, NDArray[np.intp]],
        ratio: Mapping[str, float],
        *,
        batch_size: int,
        seed: int,
        hardness: NDArray[np.floating] | None = None,
    ) -> None:
        self.count = _counts(pools, ratio, batch_size)
        self.decks = {name: Deck(pools[name], seed=seed, purpose=name, hardness=hardness) for name in self.count}

    def rows(self, step: int) -> NDArray[np.intp]:
        """Rows (batch_size,) of the batch at `step`, pool after pool."""
        return np.concatenate([self.decks[name].take(step * n, n) for name, n in self.count.items()])


def _counts(pools: Mapping[str, NDArray[np.intp]], ratio: Mapping[str, float], batch_size: int) -> dict[str, int]:
    """Rows of each pool in a batch, by the rule of `RatioSampler`; pools that give none are not named."""
    used = {name: share for name, share in ratio.items() if len(pools[name]) > 0 and share > 0}
    if not used:
        raise TrainingError("every pool to sample from is empty")
    total = sum(used.values())
    count = {name: round(batch_size * share / total) for name, share in used.items()}
    largest = max(used, key=lambda name: used[name])
    count[largest] += batch_size - sum(count.values())
    if min(count.values()) < 1:
        raise TrainingError(
            f"a batch of {batch_size} cannot hold the ratio {dict(ratio)}", remedy="use a larger batch_size"
        )
    return count


class BalancedSampler:
    """Batches in a fixed ratio of pools, in which every group gives as many negatives a figure as any other.

    A group's share of each pool's rows is its number of figures, or of negatives, to the power `weight_power`, over the
    sum of all groups. Shares of a few rows are met on the average of CYCLE batches, and to one row in each: the rows of
    a pool are spread over the groups' intervals by one comb, which is moved by the same part of a step in every pool of
    a batch.

    Where a group has no row of some kind of negatives, its other negatives stand in. A group without figures, or
    without negatives, would tell the class: it is left out.

    Args:
        pools: name -> rows; "figures", all others are negatives.
        ratio: name -> share; names of `pools`.
        group: (N,) of each row of all pools.
        batch_size: rows a batch; rounded as in `RatioSampler`.
        seed: of the run.
        weight_power: 0 gives all groups one share, 1 as much as they have rows of what is counted.
        weigh_by: what is counted: figures, or negatives, of which crops round figures have few.
        hardness: (N,) of each row; the hardest of each group are dealt first (`Deck`).

    Attributes:
        count: rows of each pool in a batch.
        groups: those that are dealt from, sorted.
        share: (G,) of each of them in a batch.
        left_out: groups of one class, sorted.

    Raises:
        TrainingError: no group has both figures and negatives; or as `RatioSampler`.
    """

    def __init__(  # noqa: PLR0913 - what a recipe says of its batches
        self,
        pools: Mapping[str, NDArray[np.intp]],
        ratio: Mapping[str, float],
        group: NDArray[np.str_],
        *,
        batch_size: int,
        seed: int,
        weight_power: float,
        weigh_by: Literal["figures", "negatives"] = "figures",
        hardness: NDArray[np.floating] | None = None,
    ) -> None:
        self.count = _counts(pools, ratio, batch_size)
        negatives = [name for name in self.count if name != FIGURES]
        of_negatives = np.concatenate([np.zeros(0, dtype=np.intp), *(pools[name] for name in negatives)])
        figures = pools[FIGURES] if FIGURES in self.count else np.zeros(0, dtype=np.intp)
        held = [set(np.unique(group[rows]).tolist()) for rows in (figures, of_negatives)]
        self.groups, self.left_out = sorted(held[0] & held[1]), sorted(held[0] ^ held[1])
        if not self.groups:
            raise TrainingError(
                f"batches cannot be balanced: none of {', '.join(self.left_out) or 'the sources'} has both figures "
                "and negatives",
                remedy='add slides with both, or take balance = "none"',
            )
        counted = figures if weigh_by == FIGURES else np.unique(of_negatives)
        weight = np.array([float((group[counted] == name).sum()) ** weight_power for name in self.groups])
        self.share = weight / weight.sum()
        self._decks: dict[str, list[Deck]] = {}
        for name in self.count:
            own = [pools[name][group[pools[name]] == one] for one in self.groups]
            spare = [np.unique(of_negatives[group[of_negatives] == one]) for one in self.groups]
            self._decks[name] = [
                Deck(rows if len(rows) else other, seed=seed, purpose=f"{name} of {one}", hardness=hardness)
                for rows, other, one in zip(own, spare, self.groups, strict=True)
            ]
        turn = (derive_generator(seed, "balance").permutation(CYCLE) + 0.5) / CYCLE
        self._dealt = {name: self._comb(count, turn) for name, count in self.count.items()}

    def _comb(self, count: int, turn: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows of each group in each batch of a cycle, (CYCLE, G)."""
        place = (np.arange(count)[None] + turn[:, None]) / count
        owner = np.searchsorted(np.cumsum(self.share)[:-1], place, side="right")
        return np.stack([(owner == number).sum(axis=1) for number in range(len(self.groups))], axis=1)

    def rows(self, step: int) -> NDArray[np.intp]:
        """Rows (batch_size,) of the batch at `step`, pool after pool, group after group."""
        cycle, number = divmod(step, CYCLE)
        parts: list[NDArray[np.intp]] = []
        for name, dealt in self._dealt.items():
            start = cycle * dealt.sum(axis=0) + dealt[:number].sum(axis=0)
            parts += [
                deck.take(int(first), int(count))
                for deck, first, count in zip(self._decks[name], start, dealt[number], strict=True)
            ]
        return np.concatenate(parts)


class EpochSampler:
    """Batches of whole epochs: in each epoch every row stands `repeats` times, in random order.

    An epoch is a whole number of batches; the last one is filled up with the first rows of its epoch, so nobody is
    left out and no batch is short.

    Args:
        rows: to be dealt.
        repeats: (N,) how often each stands in an epoch, at least 1; None is once.
        batch_size: rows a batch.
        seed: of the run.
        purpose: name of the stream.

    Raises:
        TrainingError: no rows.
    """

    def __init__(
        self,
        rows: NDArray[np.intp],
        *,
        repeats: NDArray[np.integer] | None = None,
        batch_size: int,
        seed: int,
        purpose: str,
    ) -> None:
        if len(rows) == 0:
            raise TrainingError(f"there is nothing to draw from for '{purpose}'")
        self.dealt = rows if repeats is None else np.repeat(rows, np.maximum(repeats, 1))
        self.batch_size = batch_size
        self.steps_per_epoch = -(-len(self.dealt) // batch_size)
        self.seed = seed
        self.purpose = purpose
        self._shuffled: tuple[int, NDArray[np.intp]] = (-1, self.dealt)

    def rows(self, step: int) -> NDArray[np.intp]:
        """Rows (batch_size,) of the batch at `step`."""
        epoch, number = divmod(step, self.steps_per_epoch)
        last, shuffled = self._shuffled  # see `Deck`
        if last != epoch:
            order = derive_generator(self.seed, self.purpose, epoch).permutation(len(self.dealt))
            shuffled = np.resize(self.dealt[order], self.steps_per_epoch * self.batch_size)
            self._shuffled = (epoch, shuffled)
        return shuffled[number * self.batch_size : (number + 1) * self.batch_size]


def balancing_repeats(label: NDArray[np.integer]) -> NDArray[np.int64]:
    """How often each row (N,) stands in an epoch so that the classes weigh alike: round(largest class / own class)."""
    classes, class_of, count = np.unique(label, return_inverse=True, return_counts=True)
    each = np.maximum(1, np.round(count.max(initial=1) / np.maximum(count, 1))).astype(np.int64)
    return each[class_of] if len(classes) else np.zeros(0, dtype=np.int64)
