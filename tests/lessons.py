"""What networks are shown while they learn, told by their lessons: no network may see what it is to judge."""

import contextlib
from unittest import mock

import numpy as np

from mitosieve.train import loop


@contextlib.contextmanager
def rows_shown():
    """Rows of the pool that each training begun meanwhile draws from its first step to its last, by lesson name."""
    shown = {}
    real = loop.train

    def train(lesson, *more):
        rows = [lesson.feed.sampler.rows(step) for step in range(lesson.steps)]
        shown[lesson.name] = np.unique(np.concatenate(rows))
        return real(lesson, *more)

    with mock.patch.object(loop, "train", train):
        yield shown
