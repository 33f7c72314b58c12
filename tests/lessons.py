"""What networks are shown while they learn: no network may see what it is to judge."""

import contextlib
from dataclasses import replace
from unittest import mock

import numpy as np

from mitosieve.train import loop


def hardest_first(first, label, score):
    """Whether the rows of a first batch are those of each class that scores are most wrong about; one pool a class."""
    wrong = np.abs(label - score)
    held = np.isin(np.arange(len(label)), first)
    rest = [wrong[(label == value) & ~held].max(initial=0) for value in (0, 1)]
    return all(wrong[(label == value) & held].min() >= rest[value] for value in (0, 1)) and max(rest) > 0


class Noting:
    """An objective that notes which rows it is asked about, and is otherwise another one."""

    def __init__(self, objective, rows):
        self.objective, self.rows = objective, rows

    def __getattr__(self, name):
        return getattr(self.objective, name)

    def __call__(self, network, image, batch):
        assert len(image) == len(batch.row)
        self.rows.append(batch.row)
        return self.objective(network, image, batch)


@contextlib.contextmanager
def rows_shown(of=lambda batches: np.unique(np.concatenate(batches))):
    """Rows of the pool that each training begun meanwhile has learned from, by lesson name; or what `of` makes of the
    rows of its batches.
    """
    shown = {}
    real = loop.train

    def train(lesson, *more):
        rows = []
        history = real(replace(lesson, objective=Noting(lesson.objective, rows)), *more)
        shown[lesson.name] = of(rows)
        return history

    with mock.patch.object(loop, "train", train):
        yield shown
