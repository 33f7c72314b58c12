"""Where time goes: seconds by part of the work. Never written into a file that promises equal bytes."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Clock:
    """Adds up wall seconds by part. Parts of several processes run beside one another: the sum may exceed the wall."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Count the time of a block; a block round others, as "all" of a slide, counts theirs too."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({name: time.perf_counter() - start})

    def add(self, seconds: dict[str, float]) -> None:
        """Count what another clock has counted."""
        for name, value in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value

    def taken(self) -> dict[str, float]:
        """What was counted since the last call; starts anew."""
        counted, self.seconds = self.seconds, {}
        return counted
