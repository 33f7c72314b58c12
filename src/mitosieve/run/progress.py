"""How long work tells how far it is. Knows nothing of terminals: the command line draws the bar."""

from typing import Protocol

STAGE = "stage"
"""What is told when a part of a training begins; its fact is the part's `name`."""

NOTE = "note"
"""What is told when a person must know something of what is given; its fact is the `text`."""

SLIDES, FOLDS = "slides", "folds"
"""What is told before the first of these, and when one is done."""

BANDS_OF = "bands of "
"""What is told of a slide's rows of tiles begins so, and ends with the slide's name."""

Fact = str | float | None


class Progress(Protocol):
    """Told what is going on, how much of it is done, and of how much; may be called often."""

    def __call__(self, what: str, done: int, total: int, /, **facts: Fact) -> None:
        """Take note.

        Args:
            what: is counted.
            done: of `total`.
            total: of it; 0 where nobody knows.
            facts: what else is known: `loss` and `ap` of a network, `figures` and `mm2` so far, `name` of a stage;
                `kept`, where what was done since the last time is an earlier try's, at least in part.
        """
        ...
