"""Laws of the maxima of a map: brute force, and equal scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.patch.view import View
from mitosieve.sieve.propose.dense import DenseProposer


@given(st.integers(0, 10_000), st.sampled_from([1.0, 4.0, 6.5, 9.0]), st.sampled_from([2, 4, 8]), st.booleans())
def test_a_peak_is_above_all_within_its_spacing(seed, spacing_um, stride, with_ties):
    """Higher than what comes before it by y, then x, not lower than what comes after; its neighbours always count."""
    generator = np.random.default_rng(seed)
    score = (generator.integers(0, 4, (12, 15)) / 4 if with_ties else generator.random((12, 15))).astype(np.float32)
    steps = max(1, int(spacing_um / 0.5 / stride))
    expected = np.zeros(score.shape, dtype=bool)
    for y, x in np.ndindex(*score.shape):
        others = [(j, i) for j, i in np.ndindex(*score.shape) if max(abs(j - y), abs(i - x)) <= steps]
        expected[y, x] = all(score[y, x] > score[at] for at in others if at < (y, x))
        expected[y, x] &= all(score[y, x] >= score[at] for at in others if at > (y, x))
    found = DenseProposer(spacing_um=spacing_um).peaks(score, 0.5, stride)
    assert np.array_equal(found, expected)


def test_its_plane_is_what_the_first_stage_sees():
    proposer = DenseProposer()
    assert proposer.plane_mpp(0.25, View(mpp=0.5, views="one", patch_px=32)) == 0.5
    assert proposer.plane_mpp(0.25, View(views="one", patch_px=32)) == 0.25


def test_a_dense_proposer_names_no_places_in_pixels():
    """Who asks is told so, rather than given none."""
    with pytest.raises(NotImplementedError, match="DenseProposer names no places in pixels"):
        DenseProposer().places(None, 0.0)
