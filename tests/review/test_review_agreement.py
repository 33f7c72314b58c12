"""Two blind readers compared, against counting by hand."""

import math
from itertools import product

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.review.agreement import VERDICTS, agree
from mitosieve.review.cell import Cell

VOTES = st.sampled_from([None, *VERDICTS])


def a_cell(key, first, second, *, added=False, place=(0.0, 0.0)):
    votes = {name: vote for name, vote in (("a", first), ("b", second)) if vote is not None}
    return Cell(
        key=str(key),
        slide_id="s",
        x_px=place[0],
        y_px=place[1],
        score=None,
        is_added=added,
        detector="",
        votes=votes,
        is_passed_over=added,
    )


@given(st.lists(st.tuples(VOTES, VOTES), max_size=40))
def test_agreement_is_what_counting_by_hand_says(votes):
    """Counts, Cohen's kappa by its formula, and F1 of one reader's figures against the other's, both ways."""
    cells = [a_cell(number, *pair) for number, pair in enumerate(votes) if pair != (None, None)]
    result = agree(cells, "a", "b")
    for row, column in product(range(3), range(3)):
        assert result.counts[row][column] == votes.count((VERDICTS[row], VERDICTS[column]))
    assert result.only_first == sum(one is not None and other is None for one, other in votes)
    assert result.only_second == sum(one is None and other is not None for one, other in votes)
    sure = [pair for pair in votes if None not in pair and "unsure" not in pair]
    both = sum(one == other == "figure" for one, other in sure)
    assert (result.first_by_second.tp, result.second_by_first.tp) == (both, both)
    assert result.first_by_second.fp == result.second_by_first.fn == votes.count(("imposter", "figure"))
    n = len(sure)
    yes = [sum(pair[i] == "figure" for pair in sure) / n if n else 0 for i in range(2)]
    chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
    if n == 0 or chance == 1:
        assert math.isnan(result.kappa)
    else:
        seen = sum(one == other for one, other in sure) / n
        assert result.kappa == pytest.approx((seen - chance) / (1 - chance))


def test_disagreements_come_with_the_plain_ones_first():
    """Figure against imposter before whatever one is unsure of; agreement is none."""
    votes = [
        ("unsure", "figure"),
        ("figure", "imposter"),
        ("figure", "figure"),
        ("imposter", "figure"),
        ("figure", None),
    ]
    result = agree([a_cell(n, *pair) for n, pair in enumerate(votes)], "a", "b")
    assert [cell.key for cell in result.disagreements] == ["1", "3", "0"]
    told = result.to_json()
    assert told["disagreements"] == ["1", "3", "0"]
    assert told["counts"]["figure"]["imposter"] == 1
    assert np.isfinite(told["kappa"])


def test_an_added_cell_was_passed_over_only_where_the_other_looked():
    """What one reader added counts as missed by the other inside the area that the other went through, else not."""
    inside, outside = (
        a_cell(1, "figure", None, added=True, place=(5, 5)),
        a_cell(2, "figure", None, added=True, place=(50, 5)),
    )
    detection = a_cell(3, "figure", None, place=(5, 6))
    result = agree([inside, outside, detection], "a", "b", {("b", "s"): shapely.box(0, 0, 10, 10)})
    assert (result.first_by_second.tp, result.first_by_second.fn, result.first_by_second.fp) == (0, 1, 0)
    assert (result.second_by_first.fp, result.second_by_first.fn) == (1, 0)
    assert [cell.key for cell in result.disagreements] == ["1"]


def test_what_f1_counts_against_a_reader_is_to_be_settled():
    """Each cell that one calls a figure and the other does not is listed once, passed over or not, and no other but
    what one is unsure of: plain ones first, then passed over ones, then unsure ones.
    """
    verdicts = ("figure", "imposter", "unsure", None)
    cells = [
        a_cell(f"{added}{one}{other}{x}", one, other, added=added, place=(x, 5))
        for added in (False, True)
        for one in verdicts
        for other in verdicts
        for x in (5, 50)
        if one or other
    ]
    area = shapely.box(0, 0, 10, 10)
    result = agree(cells, "a", "b", {("a", "s"): area, ("b", "s"): area})
    unsure = [cell for cell in result.disagreements if "unsure" in cell.votes.values()]
    opposed = [cell for cell in result.disagreements if cell not in unsure]
    assert len(opposed) == result.first_by_second.fp + result.first_by_second.fn
    assert all(len(cell.votes) == 2 for cell in unsure)
    passed = [cell for cell in opposed if len(cell.votes) == 1]
    assert [list(cell.votes.values()) for cell in passed] == [["figure"], ["figure"]]
    assert result.disagreements == (*(cell for cell in opposed if cell not in passed), *passed, *unsure)
