"""Ranges of a configuration, checked. Knows numbers alone."""

from collections.abc import Callable


def within(low: float, high: float) -> Callable[[tuple[float, float]], tuple[float, float]]:
    """A check that a range is ordered and lies in low..high."""

    def check(value: tuple[float, float]) -> tuple[float, float]:
        if not low <= value[0] <= value[1] <= high:
            raise ValueError(f"a range is [low, high] with {low:g} <= low <= high <= {high:g}, not {list(value)}")
        return value

    return check
