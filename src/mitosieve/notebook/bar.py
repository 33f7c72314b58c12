"""Progress in a notebook: one line that tqdm draws; elsewhere nothing, for a library does not write to terminals."""

import contextlib
import sys
from collections.abc import Generator

from mitosieve.run.progress import Fact, Progress
from mitosieve.run.words import Words


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel, by IPython's own account; IPython is not imported for it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


@contextlib.contextmanager
def watching(progress: Progress | None) -> Generator[Progress | None]:
    """The progress that was asked for; else a bar in a notebook; else None."""
    if progress is not None or not in_notebook():
        yield progress
        return
    from tqdm import tqdm  # the plain one: the other asks for widgets that may not be there

    words = Words()
    with tqdm(total=1.0, bar_format="{percentage:3.0f}%|{bar:20}| {elapsed} {desc}", leave=False) as bar:

        def tell(what: str, done: int, total: int, /, **facts: Fact) -> None:
            words.take(what, done, total, **facts)
            made, of = words.share
            bar.n = made / of if of else 0.0
            bar.set_description_str(str(words), refresh=True)

        yield tell
