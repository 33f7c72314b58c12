"""Functions that numba compiles when they are first called: importing it takes longer than looking at a small field."""

import functools
import threading
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_COMPILING = threading.RLock()


class Compiled(Generic[P, R]):
    """A function over arrays, and the same compiled; the machine code is kept on disk (`numba.njit(cache=True)`).

    Attributes:
        plain: the function as Python runs it: the same answer, and for a few elements the sooner one.
    """

    def __init__(self, plain: Callable[P, R], *, nogil: bool) -> None:
        self.plain = plain
        self._nogil = nogil
        self._dispatcher: Callable[P, R] | None = None
        functools.update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return (self._dispatcher or self._made())(*args, **kwargs)

    def _made(self) -> Callable[P, R]:
        """Numba's own, with those of the compiled functions that it calls in their places: numba knows no others."""
        import numba

        with _COMPILING:
            if self._dispatcher is None:
                known: dict[str, Any] = self.plain.__globals__
                for name in self.plain.__code__.co_names:
                    if isinstance(known.get(name), Compiled):
                        known[name] = known[name]._made()
                self._dispatcher = numba.njit(cache=True, nogil=self._nogil)(self.plain)
            return self._dispatcher


def compiled(*, nogil: bool = False) -> Callable[[Callable[P, R]], Compiled[P, R]]:
    """Decorator: have numba compile a function at its first call.

    Args:
        nogil: whether other threads may run meanwhile.
    """
    return lambda plain: Compiled(plain, nogil=nogil)
