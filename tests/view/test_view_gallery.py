"""Which cells come first: orders and filters against the plainest sort and loop."""

import itertools

import numpy as np
import pytest
from found import some_detections
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.detection import Detections
from mitosieve.errors import InputError
from mitosieve.view.gallery import BAND_UM, Wanted, chosen, wanted_of
from mitosieve.view.results import cells_of

MPP = [0.25, 0.5]


def cells(n=40, seed=0, threshold=0.5):
    found = Detections.concatenate(
        [some_detections(name, n=n, seed=seed + k, threshold=threshold) for k, name in enumerate("ab")]
    )
    return cells_of(found, ["a", "b"], "")


def test_cells_lie_by_slide_and_falling_score():
    """Also where the table had them otherwise; rows of unknown slides are left out."""
    found = Detections.concatenate([some_detections(name, n=9, seed=3) for name in ("b", "x", "a")])
    held = cells_of(found, ["a", "b"], "")
    assert held.slide.tolist() == [0] * 9 + [1] * 9
    for slide in (0, 1):
        assert (np.diff(held.score[held.rows_of(slide)]) <= 0).all()


@given(seed=st.integers(0, 9), threshold=st.floats(0.05, 0.95))
def test_doubt_is_nearness_to_the_threshold(seed, threshold):
    """On the scale of logits: no cell is nearer than one before it, and the threshold itself is nearest of all."""
    held = cells(seed=seed)
    rows = chosen(held, Wanted(rank="doubt", threshold=threshold), {}, MPP)
    far = [abs(np.log(s / (1 - s)) - np.log(threshold / (1 - threshold))) for s in held.score[rows].tolist()]
    assert sorted(rows.tolist()) == list(range(len(held)))
    assert all(one <= other + 1e-9 for one, other in itertools.pairwise(far))


def test_place_goes_slide_by_slide_band_by_band():
    """In a band from left to right; bands are of equal um whatever a px is."""
    held = cells()
    rows = chosen(held, Wanted(rank="place"), {}, MPP).tolist()

    def place(row):
        slide = int(held.slide[row])
        x, y = held.center_l0[row]
        return slide, int(y * MPP[slide] // BAND_UM), x

    assert rows == sorted(range(len(held)), key=place)


@given(
    slide=st.sampled_from([None, 0, 1]),
    calls=st.sampled_from(["", "figure", "candidate", "figure,candidate"]),
    decided=st.sampled_from(["any", "none", "figure", "imposter", "unsure"]),
    low=st.sampled_from([0, 0.3]),
    high=st.sampled_from([0.8, 1]),
)
def test_filters_keep_what_they_say(slide, calls, decided, low, high):
    """As a loop over all cells."""
    held = cells()
    verdicts = {3: "figure", 10: "imposter", 45: "unsure", 60: "figure"}
    words = {"calls": calls, "decided": decided, "low": str(low), "high": str(high)}
    rows = chosen(held, wanted_of(words, slide, 0.5), verdicts, MPP)
    names = ["candidate", "figure", "imposter", "background"]
    kept = [
        row
        for row in range(len(held))
        if (slide is None or held.slide[row] == slide)
        and (not calls or names[held.call[row]] in calls.split(","))
        and (decided == "any" or verdicts.get(row, "none") == decided)
        and low <= held.score[row] <= high
    ]
    assert sorted(rows.tolist()) == kept


@pytest.mark.parametrize("words", [{"rank": "x"}, {"decided": "x"}, {"calls": "x"}, {"low": "x"}, {"threshold": "nan"}])
def test_words_that_are_none_are_refused(words):
    """Whatever a page sends."""
    with pytest.raises(InputError):
        wanted_of(words, None, 0.5)
