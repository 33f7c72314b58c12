from dataclasses import replace

import numpy as np
import pytest

from mitosieve.errors import FrameError
from mitosieve.score.compare import ScoredMethod, compare
from mitosieve.score.interval import resample
from mitosieve.score.table import SlideScore, counts_of, intervals_of


def a_method(name, recall, *, num_slides=30, seed=0):
    draw = np.random.default_rng(seed)
    slides = []
    for k in range(num_slides):
        figures = 5 + k % 7
        tp = int(draw.binomial(figures, recall))
        slides.append(
            SlideScore(
                slide_id=f"s{k:02d}", case_id=f"c{k}", domain="d", area_mm2=1.0, tp=tp, fp=int(draw.integers(0, 4)),
                fn=figures - tp,
            )
        )  # fmt: skip
    return ScoredMethod(name=name, slides=tuple(slides), radius_um=7.5)


def the(comparison, figure):
    return next(d for d in comparison.differences if d.figure == figure)


def test_a_method_does_not_differ_from_itself():
    """Paired resamples: the difference is exactly zero in each, whatever the spread of the score."""
    one = a_method("one", 0.6)
    same = the(compare([one, replace(one, name="copy")], np.random.default_rng(0), resamples=500), "f1")
    assert (same.value, same.interval.low, same.interval.high) == (0, 0, 0)


def test_a_difference_is_second_minus_first_and_its_interval_holds_it():
    """Recall 0.9 against 0.5 is told apart; swapping the methods changes the sign."""
    low, high = a_method("low", 0.5), a_method("high", 0.9, seed=1)
    there = the(compare([low, high], np.random.default_rng(0), resamples=1000), "recall")
    back = the(compare([high, low], np.random.default_rng(0), resamples=1000), "recall")
    assert there.interval.low > 0
    assert there.interval.low <= there.value <= there.interval.high
    assert (back.value, back.interval.low) == pytest.approx((-there.value, -there.interval.high))


def test_pairing_narrows_the_interval():
    """Two methods that fail on the same slides differ by less than their own intervals suggest."""
    one = a_method("one", 0.6)
    slides = tuple(replace(row, tp=row.tp - 1, fn=row.fn + 1) if row.tp else row for row in one.slides)
    result = compare(
        [one, ScoredMethod(name="two", slides=slides, radius_um=7.5)], np.random.default_rng(0), resamples=1000
    )
    interval, own = the(result, "recall").interval, result.intervals[0]["recall"]
    assert interval.high - interval.low < 0.5 * (own.high - own.low)


def test_each_method_keeps_the_interval_it_has_alone():
    """The resamples are those of scoring it by itself, and slide order does not matter."""
    one, two = a_method("one", 0.6), a_method("two", 0.7, seed=1)
    shuffled = replace(two, slides=two.slides[::-1])
    result = compare([one, shuffled], np.random.default_rng(4), resamples=700)
    cases = [row.case_id for row in two.slides]
    alone = intervals_of(resample(counts_of(two.slides), cases, np.random.default_rng(4), resamples=700))
    assert result.intervals[1] == alone


def test_three_methods_give_three_pairs_in_order():
    """All pairs, first before second."""
    methods = [a_method(name, 0.6, seed=seed) for seed, name in enumerate("abc")]
    content = compare(methods, np.random.default_rng(0), resamples=50).to_json()
    pairs = [(d["first"], d["second"]) for d in content["differences"] if d["figure"] == "f1"]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [method["name"] for method in content["methods"]] == ["a", "b", "c"]
    assert content["bootstrap"]["unit"] == "cases"


def test_what_was_not_scored_alike_is_not_compared():
    """Other slides, other marks, another radius, or a single method: each refused by name."""
    one = a_method("one", 0.6)
    changed = replace(one.slides[0], fn=one.slides[0].fn + 1)
    faults = {
        "different slides: 's29'": replace(one, name="x", slides=one.slides[:-1]),
        "different marks: slide 's00'": replace(one, name="x", slides=(changed, *one.slides[1:])),
        "within 7.5 and 6 um": replace(one, name="x", radius_um=6.0),
    }
    for message, other in faults.items():
        with pytest.raises(FrameError, match=message):
            compare([one, other], np.random.default_rng(0))
    with pytest.raises(FrameError, match="at least two"):
        compare([one], np.random.default_rng(0))
