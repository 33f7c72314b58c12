"""Figures of the curves, by their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.train.curve import average_precision


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=30))
def test_average_precision_equals_the_definition(rows):
    """Mean over figures of precision among all patches scored at least as high; ties count against."""
    target = np.array([int(figure) for figure, _ in rows])
    score = np.array([float(value) for _, value in rows])
    expected = [target[score >= s].mean() for s in score[target == 1]]
    assert average_precision(target, score) == pytest.approx(np.mean(expected) if expected else 0.0)
