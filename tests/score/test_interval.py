import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.score.compare import compare
from mitosieve.score.evaluation import EvaluateConfig
from mitosieve.score.interval import interval_of, resample, unit_of, wilson
from mitosieve.score.repeated import compare_repeats
from mitosieve.score.table import SlideScore, counts_of, interval_notes, intervals_of


def generator(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(0, 10_000), st.integers(10, 40))
def test_intervals_hold_the_estimate(seed, num_cases):
    """The pooled F1 of the sample itself lies inside its own percentile interval."""
    table = generator(seed).integers(0, 30, (num_cases, 3))
    drawn = resample(table, [f"c{k}" for k in range(num_cases)], generator(seed + 1), resamples=1500)
    interval = intervals_of(drawn)["f1"]
    tp, fp, fn = table.sum(axis=0)
    assert interval.low <= 2 * tp / (2 * tp + fp + fn) <= interval.high


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Over 300 samples of 40 cases from one population, near 95 % of the intervals hold the population's recall."""
    truth, hits = 0.6, 0
    for seed in range(300):
        draw = generator(seed)
        figures = draw.integers(5, 30, 40)
        tp = draw.binomial(figures, truth)
        table = np.stack([tp, np.zeros_like(tp), figures - tp], axis=1)
        drawn = resample(table, [str(k) for k in range(40)], draw, resamples=400)
        interval = intervals_of(drawn)["recall"]
        hits += interval.low <= truth <= interval.high
    assert 0.89 <= hits / 300 <= 0.99


def test_an_interval_leaves_out_a_fortieth_at_each_end():
    """95 %: of the numbers 0 to 1000 it goes from 25 to 975."""
    ends = interval_of(np.arange(1001.0))
    assert (ends.low, ends.high) == pytest.approx((25, 975))


def test_cases_are_drawn_whole():
    """With two slides a case, each of ten cases enters a resample with both slides or with neither."""
    table = np.repeat(10 ** np.arange(10), 2).reshape(20, 1)
    cases = [f"c{k // 2}" for k in range(20)]
    drawn = resample(table, cases, generator(), resamples=300)
    assert drawn.unit == "cases"
    assert drawn.note == ""
    assert (drawn.sums % 2 == 0).all()
    digits = np.array([[int(sign) for sign in f"{value // 2:011d}"] for value in drawn.sums[:, 0]])
    assert (digits.sum(axis=1) == 10).any()


@pytest.mark.parametrize("number", range(2, 12))
def test_cases_are_drawn_from_five_on_and_noted_below_ten(number):
    """The limits of docs/decisions/0016, the same for a score, a paired difference and rows of a study."""
    cases = [f"c{k // 2:02d}" for k in range(2 * number)]
    unit = unit_of(cases)
    assert unit.name == ("cases" if number >= 5 else "slides within cases")
    assert ("too narrow" in unit.note) == (number < 10)
    assert ("slides were drawn" in unit.note) == (number < 5)
    assert resample(np.ones((2 * number, 1), np.int64), cases, generator(), resamples=5).unit == unit.name
    takers = (resample, unit_of, compare, compare_repeats)
    limits = {inspect.signature(taker).parameters["min_cases"].default for taker in takers}
    assert limits == {EvaluateConfig().min_cases}


def test_below_five_cases_slides_are_drawn_within_cases():
    """Each case keeps its number of slides in every resample, and the note says that the interval is too narrow."""
    table = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    drawn = resample(table, ["a", "a", "a", "b", "b"], generator(), resamples=200)
    assert drawn.unit == "slides within cases"
    assert "too narrow" in drawn.note
    assert (drawn.sums == [3, 2]).all()
    values = np.array([[1], [2], [4], [8], [16]])
    spread = resample(values, ["a", "a", "a", "b", "b"], generator(), resamples=500).sums[:, 0]
    assert set(np.unique(spread)) <= {a + b for a in range(3, 13) for b in (16, 24, 32)}
    assert len(np.unique(spread)) > 5


def test_few_cases_of_one_slide_each_are_drawn_as_cases():
    """Drawing one slide within a case would give an interval of no width."""
    drawn = resample(np.array([[1], [2], [3]]), ["a", "b", "c"], generator(), resamples=100)
    assert drawn.unit == "cases"
    assert "only 3 cases" in drawn.note
    assert len(np.unique(drawn.sums)) > 3


def test_one_slide_gives_no_interval():
    """Nothing can be drawn from it, and an interval of no width would lie."""
    drawn = resample(np.array([[3, 1, 2]]), ["a"], generator(), resamples=100)
    assert drawn.unit == "none"
    assert intervals_of(drawn)["f1"].to_json() == [None, None]


def test_the_mean_and_spread_are_those_of_drawing_with_replacement():
    """Multinomial counts equal indices drawn one by one, in mean and variance."""
    table = generator(5).integers(0, 100, (15, 1))
    drawn = resample(table, [str(k) for k in range(15)], generator(), resamples=20_000).sums[:, 0]
    assert drawn.mean() == pytest.approx(table.sum(), rel=0.01)
    assert drawn.var() == pytest.approx(15 * table.var(), rel=0.05)


def test_equal_generators_give_equal_draws_and_more_columns_change_none():
    """So that methods set side by side share their resamples."""
    table = generator(1).integers(0, 9, (30, 3))
    cases = [str(k) for k in range(30)]
    one = resample(table, cases, generator(2), resamples=1200).sums
    both = resample(np.concatenate([table[:, ::-1], table], axis=1), cases, generator(2), resamples=1200).sums
    assert (both[:, 3:] == one).all()


def test_undefined_values_are_left_out_of_an_interval():
    """A resample without figures has no recall; what is left makes the interval."""
    assert interval_of(np.array([np.nan, 0.5, 0.5])).to_json() == [0.5, 0.5]
    assert interval_of(np.array([np.nan])).to_json() == [None, None]


def test_a_slide_row_survives_json():
    """Unknown area becomes null and comes back as NaN."""
    row = SlideScore(slide_id="s", case_id="c", domain="d", area_mm2=float("nan"), tp=1, fp=2, fn=3)
    assert row.to_json()["area_mm2"] is None
    assert SlideScore.from_json(row.to_json()).to_json() == row.to_json()


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_solves_its_own_equation(found, of):
    """Its ends are the shares p at which the observed share is 1.96 standard errors of p away; never a point."""
    found = min(found, of)
    ends = wilson(found, of)
    assert 0 <= ends.low <= found / of <= ends.high <= 1
    assert ends.high - ends.low > 0.01
    for p in (ends.low, ends.high):
        if 0 < p < 1:
            assert abs(found / of - p) / np.sqrt(p * (1 - p) / of) == pytest.approx(1.959964, abs=1e-5)


def test_wilson_of_nothing_is_not_defined():
    """And all of ten is from 0.722 on, as tables have it."""
    assert np.isnan(wilson(0, 0).low)
    assert (wilson(10, 10).low, wilson(10, 10).high) == (pytest.approx(0.7225, abs=1e-4), 1)


def slides(counts):
    return [
        SlideScore(slide_id=f"s{i}", case_id=f"c{i}", domain="d", area_mm2=1.0, tp=tp, fp=fp, fn=fn)
        for i, (tp, fp, fn) in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([(1, 0, 0)] * 11 + [(0, 0, 0)], ["the same precision, recall, f1", "all of 11 figures were found"]),
        ([(0, 0, 1)] * 11, ["the same recall, f1", "none of 11 figures was found"]),
        ([(0, 1, 1)] * 11, ["the same precision, recall, f1", "none of 11 figures was found"]),
        ([(3, 1, 1), (1, 2, 3), (2, 0, 1), (0, 3, 0), (0, 1, 0)], ["only 3 slides with marked figures"]),
        ([(3, 1, 1), (1, 2, 3), (2, 0, 1), (1, 3, 2), (4, 1, 1)], []),
    ],
)
def test_an_interval_that_resampling_cannot_give_is_said_to_be_so(counts, said):
    """Perfect, empty and wrong detections, and few slides with figures."""
    scored = slides(counts)
    drawn = resample(counts_of(scored), [row.case_id for row in scored], generator(), resamples=500)
    notes = interval_notes(scored, drawn)
    assert len(notes) == len(said)
    assert all(words in note for words, note in zip(said, notes, strict=True))
