"""Laws of the Nottingham mitotic score."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.count.nottingham import CUT_OFFS, SOURCE, mitotic_score, score_where_held

AREAS = st.floats(0.01, 100)


@pytest.mark.parametrize(
    ("area", "scores"),
    [
        (2.0, {0: 1, 7: 1, 8: 2, 14: 2, 15: 3, 500: 3}),
        (2.37, {0: 1, 8: 1, 9: 2, 17: 2, 18: 3}),
        (2.74, {9: 1, 10: 2, 19: 2, 20: 3}),  # as HL7 gives it for fields of 0.274 mm2
        (10 * math.pi * 0.2**2, {4: 1, 5: 2, 9: 2, 10: 3}),
        (10 * math.pi * 0.345**2, {13: 1, 14: 2, 27: 2, 28: 3}),
    ],
)
def test_scores_are_those_of_the_published_rows(area, scores):
    """On both sides of both cut-offs; the source is said."""
    for count, score in scores.items():
        assert mitotic_score(count, area).score == score
        assert SOURCE in mitotic_score(count, area).reason


def test_every_cut_off_is_that_of_the_table():
    """Typed a second time, from 0.40 to 0.69 mm: the largest counts of score 1 and of score 2."""
    typed = (
        "4,9 4,9 5,10 5,10 5,11 5,11 6,12 6,12 6,13 6,13 7,14 7,14 7,15 8,16 8,16 "
        "8,17 8,17 9,18 9,19 9,19 10,20 10,21 11,22 11,22 11,23 12,24 12,24 12,25 13,26 13,27"
    )
    assert " ".join(f"{one},{two}" for one, two in CUT_OFFS.values()) == typed


def test_two_square_millimetres_lie_between_rows_that_agree():
    """0.505 mm: the cut-offs are the same whichever neighbour is taken."""
    diameter = 2 * math.sqrt(2 / (10 * math.pi))
    assert 0.50 < diameter < 0.51
    assert CUT_OFFS[50] == CUT_OFFS[51]


@pytest.mark.parametrize("area", [0.5, 1.2, 3.9, 10.0])
def test_an_area_outside_the_table_has_no_score(area):
    """And the reason says which diameters there are."""
    told = mitotic_score(9, area)
    assert told.score is None
    assert "0.40 to 0.69 mm only" in told.reason


def test_the_table_has_every_step_and_rises():
    """No gap; more area, never a lower cut-off; about as many per mm2 in every row."""
    assert list(CUT_OFFS) == list(range(40, 70))
    for above, below in itertools.pairwise(CUT_OFFS.values()):
        assert above <= below
        assert above[1] <= below[1]
    for row, (one, two) in CUT_OFFS.items():
        area = 10 * math.pi * (row / 200) ** 2
        assert 3 < (one + 1) / area < 4.4
        assert 6.8 < (two + 1) / area < 8.2


@given(st.integers(0, 100), AREAS)
def test_more_figures_never_score_lower(count, area):
    """In the same area."""
    less, more = mitotic_score(count, area).score, mitotic_score(count + 1, area).score
    assert (less is None) == (more is None)
    assert less is None or less <= more <= 3


@pytest.mark.parametrize(("count", "area"), [(-1, 2.0), (1, 0.0), (1, math.nan)])
def test_what_cannot_be_is_refused(count, area):
    """Before the table is asked."""
    with pytest.raises(ValueError, match="no score for"):
        mitotic_score(count, area)


@given(count=st.integers(0, 60), area=st.floats(1.3, 3.7), share=st.floats(0.01, 1))
def test_a_score_of_a_region_with_glass_is_that_of_the_same_density_without(count, area, share):
    """The count's own where both are the same, else none and the reason has the numbers; all tissue changes nothing."""
    own = mitotic_score(count, area)
    dense = mitotic_score(math.floor(count / share + 0.5), area)
    told = score_where_held(count, area, area * share)
    assert told.score == (own.score if own.score == dense.score else None)
    if told.score is None:
        assert f"its count of {count} would be score {own.score}" in told.reason
        assert f"score {dense.score}" in told.reason
    assert score_where_held(count, area, area) == own


def test_a_region_without_any_tissue_has_a_score_only_where_it_holds_nothing():
    """There is no density to go by; no figure is the least of any."""
    assert score_where_held(0, 2.0, 0.0).score == 1
    assert score_where_held(30, 2.0, 0.0).score is None
