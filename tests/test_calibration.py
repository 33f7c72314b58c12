"""Laws of the maps from scores to shares: they rise, they stay in 0..1, and a broken record is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mitosieve.calibration import Calibration, Isotonic, Logistic

MAPS = [Logistic(slope=1.3, offset=-0.7), Logistic(slope=0, offset=2), Isotonic(score=(0.2, 0.9), share=(0.1, 0.8))]


@pytest.mark.parametrize("one", MAPS, ids=lambda one: one.kind)
@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_higher_score_is_never_worth_less(one, scores):
    """Over any scores, their ends 0 and 1 included, shares rise and are shares."""
    shares = one.probability(np.sort([0.0, *scores, 1.0]))
    assert np.isfinite(shares).all()
    assert (np.diff(shares) >= -1e-15).all()
    assert 0 <= shares.min() <= shares.max() <= 1


def test_known_values():
    """Slope 1 without offset changes nothing; between knots a line, beyond them the last knot's share."""
    score = np.array([0.05, 0.2, 0.375, 0.55, 0.9, 0.99])
    assert Logistic(slope=1, offset=0).probability(score) == pytest.approx(score)
    assert Logistic(slope=2, offset=0).probability(np.array([0.75])) == pytest.approx([9 / 10])  # odds 3 squared
    line = Isotonic(score=(0.2, 0.55, 0.9), share=(0.1, 0.1, 0.8)).probability(score)
    assert line == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.8, 0.8])
    assert Isotonic(score=(0.2, 0.6), share=(0.0, 1.0)).probability(np.array([0.3])) == pytest.approx([0.25])


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "isotonic", "score": [0.2, 0.2], "share": [0.1, 0.2]},
        {"kind": "isotonic", "score": [0.2, 0.3], "share": [0.2, 0.1]},
        {"kind": "isotonic", "score": [0.2, 0.3], "share": [0.2]},
        {"kind": "isotonic", "score": [], "share": []},
        {"kind": "logistic", "slope": -1, "offset": 0},
        {"kind": "logistic", "slope": float("inf"), "offset": 0},
        {"kind": "temperature", "slope": 1},
    ],
)
def test_what_is_no_map_is_refused(record):
    """Falling knots, knots without shares, a falling slope, an unknown kind."""
    with pytest.raises(ValidationError):
        TypeAdapter(Calibration).validate_python(record)
