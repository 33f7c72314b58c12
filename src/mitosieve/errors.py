"""Every error a user can be shown, as one tree. Knows nothing of the rest of the package.

MitosieveError
├── InputError            what was asked cannot be done as asked
│   ├── FormatError       a file does not have the layout its format demands
│   ├── ResolutionError   a slide without a usable um-per-px
│   ├── CohortError       a cohort folder that is missing, broken or contradicts itself
│   ├── SplitError        a split that leaks, or that does not fit its cohort
│   ├── RecipeError       an unknown key, a wrong type, a value out of range
│   ├── DetectorError     a detector folder that is incomplete or altered
│   ├── RunFolderError    a run of another version, or in use by another process
│   └── FrameError        records that speak of different slides or frames
├── SlideError            one slide cannot be read; where others can, they finish
├── ClusterError          a cluster that cannot be reached or used, or a task whose worker died again and again
├── TrainingError         the numbers went wrong (a loss that is not finite), or there is nothing to learn from
└── StorageError          the disk is full or not writable

An error that ends a command is exit code 2. Slides that failed while others finished are named and are exit code 1.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def did_you_mean(word: str, valid: Sequence[str]) -> str:
    """The beginning of a remedy: the valid name nearest to a word that is none; empty where none is near."""
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'? " if close else ""


def some(names: Iterable[str], separator: str = ", ", most: int = 5) -> str:
    """The first few of many names, and how many more there are."""
    items = list(names)
    return separator.join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def plural(number: int, noun: str, others: str = "") -> str:
    """A number with its noun: `1 slide`, `2 slides`; `1 box`, `2 boxes` where the plural is given."""
    return f"{number} {noun if number == 1 else others or noun + 's'}"


LONGEST_LINE = 2000
"""Letters of a message's line; none that we write ourselves comes near."""


class MitosieveError(Exception):
    """What went wrong, where, and how to mend it, as one message of at most three lines.

    Args:
        what: the fault, as a sentence without full stop.
        where: the file (and row or key) it was found in.
        remedy: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(what, self.where, remedy)

    def __reduce__(self) -> tuple[Callable[..., "MitosieveError"], tuple[object, ...]]:
        """Errors travel between processes; keyword arguments are lost by the way of `Exception`."""
        return _again, (type(self), self.what, self.where, self.remedy)

    def __str__(self) -> str:
        lines = [self.what if self.where is None else f"{self.where}: {self.what}"]
        if self.remedy is not None:
            lines.append(f"remedy: {self.remedy}")
        return "\n".join(map(_shown, lines))


def _shown(text: str) -> str:
    """Text that any terminal takes: what cannot be printed, such as a zero byte of a damaged file, is written out, and
    of a line of thousands of letters (a damaged name) the middle is left out.
    """
    if len(text) > LONGEST_LINE:
        text = f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 4 :]}"
    return "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in text)


def _again(kind: type[MitosieveError], what: str, where: str | None, remedy: str | None) -> MitosieveError:
    return kind(what, where=where, remedy=remedy)


class InputError(MitosieveError):
    """What was asked cannot be done as asked."""


class FormatError(InputError):
    """A file does not have the layout its format demands."""


class ResolutionError(InputError):
    """A slide has no usable resolution, and none is guessed."""


class CohortError(InputError):
    """A cohort folder is missing, broken, or contradicts itself."""


class SplitError(InputError):
    """A split leaks between parts or does not fit its cohort."""


class RecipeError(InputError):
    """A recipe has an unknown key, a wrong type, or a value out of range."""


class DetectorError(InputError):
    """A detector folder is incomplete or was altered."""


class RunFolderError(InputError):
    """A run folder is of another version, or in use."""


class FrameError(InputError):
    """Records that must speak of the same slides or frame do not."""


class SlideError(MitosieveError):
    """One slide cannot be read; the others can."""


class ClusterError(MitosieveError):
    """A cluster cannot be reached or used, or a task's worker process died more often than it may."""


class TrainingError(MitosieveError):
    """Training cannot go on: a number is not finite, or there is nothing to learn from."""


class StorageError(MitosieveError):
    """The disk is full, or the folder cannot be written."""
