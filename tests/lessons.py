"""What networks are shown while they learn: no network may see what it is to judge."""

import contextlib
from dataclasses import replace
from unittest import mock

import numpy as np

from mitosieve.train import loop


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
def rows_shown():
    """Rows of the pool that each training begun meanwhile has learned from, by lesson name."""
    shown = {}
    real = loop.train

    def train(lesson, *more):
        rows = []
        history = real(replace(lesson, objective=Noting(lesson.objective, rows)), *more)
        shown[lesson.name] = np.unique(np.concatenate(rows))
        return history

    with mock.patch.object(loop, "train", train):
        yield shown
