"""What a job that is going on can say of itself in one line: where it is, how fast, how well, how long still."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mitosieve.run.progress import BANDS_OF, FOLDS, SLIDES, STAGE, Fact

_LEAST_S = 2.0
"""Younger than this, a rate is a guess and is not told."""


@dataclass
class _Counted:
    """Something that is counted, since when, and from where on: a resumed job begins in the middle.

    What an earlier try did (`kept`) is no work of this one: it moves the beginning, with its area and its moment. Speed
    is of what is done, until it was (`told_s`): time of the one that is going on is not yet time of any.
    """

    what: str
    done: int
    total: int
    since_s: float
    first: int
    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    first_mm2: float = 0.0
    told_s: float = 0.0

    def take(self, done: int, total: int, facts: dict[str, Fact], now_s: float) -> None:
        """Take note of how far it is now."""
        if facts.get("kept"):
            self.first += done - self.done
            self.first_mm2 += _number(facts.get("mm2", self.facts.get("mm2"))) - _number(self.facts.get("mm2"))
            self.since_s += now_s - self.told_s
        self.told_s = self.told_s if done == self.done else now_s
        self.done, self.total, self.facts = done, total, {**self.facts, **facts}

    def seconds_left(self, now_s: float, current_s: float | None = None) -> float | None:
        """For those to come, and for the one that is going on: `current_s`, or what it lacks to the mean of those done,
        which is none once it takes longer. None where none is done.
        """
        made, took_s = self.done - self.first, self.told_s - self.since_s
        if made <= 0 or took_s < _LEAST_S:
            return None
        each_s, left = took_s / made, self.total - self.done
        if left <= 0:
            return 0.0
        return each_s * (left - 1) + (max(0.0, each_s - (now_s - self.told_s)) if current_s is None else current_s)

    def mm2_per_s(self) -> float | None:
        took_s, mm2 = self.told_s - self.since_s, _number(self.facts.get("mm2")) - self.first_mm2
        return None if took_s < _LEAST_S or mm2 <= 0 else mm2 / took_s


class Words:
    """Takes what a job tells (`run.progress.Progress`) and puts it into words.

    Args:
        clock: seconds, from any zero.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: tuple[int, int, str] | None = None
        self._outer: dict[str, _Counted] = {}
        self._inner: _Counted | None = None

    def take(self, what: str, done: int, total: int, /, **facts: Fact) -> None:
        """Take note of one thing told."""
        if what == STAGE:
            self._stage, self._inner = (done, total, str(facts.get("name", ""))), None
            self._outer.pop(SLIDES, None)
        elif what in (SLIDES, FOLDS):
            self._outer[what] = self._counted(self._outer.get(what), what, done, total, facts)
            self._inner = None
            if what == FOLDS:
                self._stage = None
                self._outer.pop(SLIDES, None)
        else:
            self._inner = self._counted(self._inner, what, done, total, facts)

    def _counted(self, old: _Counted | None, what: str, done: int, total: int, facts: dict[str, Fact]) -> _Counted:
        now = self._clock()
        if old is None or old.what != what or done < old.done:
            return _Counted(what, done, total, now, done, facts, _number(facts.get("mm2")), now)
        old.take(done, total, facts, now)
        return old

    @property
    def share(self) -> tuple[float, float]:
        """(done, total) of what is counted: slides with their rows of tiles, or the steps of a network."""
        outer = self._outer.get(SLIDES) or self._outer.get(FOLDS)
        inner = 0.0 if self._inner is None or not self._inner.total else self._inner.done / self._inner.total
        if outer is not None:
            return min(outer.done + inner, outer.total), outer.total
        return (self._inner.done, self._inner.total) if self._inner is not None else (0, 1)

    def __str__(self) -> str:
        """One line, without its end."""
        said = [*self._places(), *self._facts()]
        left = self._left_s()
        if left is not None and left > 0:
            said.append(f"about {in_time(left)} left")
        return ", ".join(said) or "starting"

    def _places(self) -> list[str]:
        said: list[str] = []
        for what, one in ((FOLDS, "fold"), (SLIDES, "slide")):
            outer = self._outer.get(what)
            if outer is not None:
                ended = outer.done >= outer.total
                said.append(
                    f"{outer.total} of {outer.total} {what}" if ended else f"{one} {outer.done + 1} of {outer.total}"
                )
            if what == FOLDS and self._stage is not None:
                number, total, name = self._stage
                said.append(f"stage {number} of {total}: {name}" if number else f"stage: {name}")
        inner = self._inner
        if inner is not None:
            if inner.what.startswith(BANDS_OF):
                said.append(f"{inner.what.removeprefix(BANDS_OF)}: row of tiles {inner.done} of {inner.total}")
            elif "loss" in inner.facts:
                said.append(f"{inner.what} step {inner.done} of {inner.total}")
            else:
                said.append(f"{inner.what} {inner.done} of {inner.total}")
        return said

    def _facts(self) -> list[str]:
        inner = self._inner.facts if self._inner is not None else {}
        said: list[str] = []
        for name, text in (("loss", "loss {:.4f}"), ("ap", "AP {:.3f}")):
            value = inner.get(name)
            if isinstance(value, int | float):
                said.append(text.format(value))
        rates = (one.mm2_per_s() for one in (self._inner, self._outer.get(SLIDES)) if one is not None)
        rate = next((rate for rate in rates if rate is not None), None)
        if rate is not None:
            said.append(f"{rate:.2f} mm2/s")
        outer = self._outer.get(SLIDES)
        counted = [one.facts["figures"] for one in (outer, self._inner) if one is not None and "figures" in one.facts]
        if counted:
            figures = round(sum(map(_number, counted)))
            said.append(f"{figures} figure{'' if figures == 1 else 's'} so far")
        return said

    def _left_s(self) -> float | None:
        """Of all folds, else of all slides, else of what goes on; before the first of several is done nobody knows."""
        now = self._clock()
        own = self._inner.seconds_left(now) if self._inner is not None else None
        of_slide = own if self._inner is not None and self._inner.what.startswith(BANDS_OF) else None
        for what, current in ((FOLDS, None), (SLIDES, of_slide)):
            outer = self._outer.get(what)
            if outer is None:
                continue
            left = outer.seconds_left(now, current)
            if left is not None or outer.total - outer.done > 1:
                return left
        return own


def in_time(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{round(minutes)} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _number(value: Fact) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
