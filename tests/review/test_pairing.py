"""Which places are one cell."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.review.pairing import same_cells


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
)
def test_cells_are_paired_the_nearest_first(here, there):
    """By brute force over all pairs in order of distance: each place once, none farther than 7.5 um."""
    one, other = np.array(here) * 2.5, np.array(there) * 2.5
    pairs = sorted((math.dist(p, q), i, j) for i, p in enumerate(one) for j, q in enumerate(other))
    wanted = {}
    for distance, i, j in pairs:
        if distance <= 7.5 and i not in wanted and j not in wanted.values():
            wanted[i] = j
    assert same_cells(one, other) == wanted
