"""Laws of means, intervals and differences over seeds and slides."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import FrameError
from mitosieve.score.interval import draw_times, resample, unit_of
from mitosieve.score.repeated import Repeats, compare_repeats, holm, p_value
from mitosieve.score.scored import FIGURES, Scored
from mitosieve.score.table import SlideScore

NUM_SLIDES = 30


def a_scored(recall, seed, *, slides=NUM_SLIDES, false=1.0, figures=6):
    """Slides of a case each with `figures` marks; found ones score high, false alarms low."""
    draw = np.random.default_rng(seed)
    tp = draw.binomial(figures, recall, slides)
    fp = draw.poisson(false, slides)
    gain = np.repeat([1, 0], [tp.sum(), fp.sum()])
    slide = np.concatenate([np.repeat(np.arange(slides), tp), np.repeat(np.arange(slides), fp)])
    score = draw.uniform(0.3, 1.0, len(gain)) * np.where(gain, 1.0, 0.8)
    order = np.argsort(-score, kind="stable")
    rows = tuple(
        SlideScore(slide_id=f"s{k:03d}", case_id=f"c{k}", domain="d", area_mm2=0.1, tp=int(tp[k]), fp=int(fp[k]),
                   fn=int(figures - tp[k]))
        for k in range(slides)
    )  # fmt: skip
    return Scored(slides=rows, score=score[order], slide=slide[order], gain=gain[order])


def a_method(name, recall, seeds=(1, 2, 3), **more):
    return Repeats(name=name, by_seed={seed: a_scored(recall, 100 * seed + len(name), **more) for seed in seeds})


def compared(*methods, reference=None, resamples=400):
    return compare_repeats(methods, reference or methods[0].name, np.random.default_rng(0), resamples=resamples)


def the(comparison, name):
    return next(row for row in comparison.rows if row.name == name)


def test_values_are_means_over_the_seeds():
    """Of every figure, and of the counts; each seed's own values stand beside."""
    method = a_method("one", 0.6)
    row = compared(method).rows[0]
    for name, figure in FIGURES.items():
        alone = [float(figure(one, one.once)[0]) for one in method.by_seed.values()]
        assert row.figures[name].mean == pytest.approx(np.mean(alone))
        assert [row.seed_figures[seed][name] for seed in (1, 2, 3)] == pytest.approx(alone)
    tp = np.mean([sum(slide.tp for slide in one.slides) for one in method.by_seed.values()])
    assert row.counts[0] == pytest.approx(tp)
    assert np.mean(list(row.seed_counts.values()), axis=0) == pytest.approx(row.counts)


def test_one_seed_has_the_interval_of_its_slides_alone():
    """As `interval.resample` draws it, from as many draws by another generator: ends agree to their own noise."""
    one = a_method("one", 0.6, seeds=(1,))
    row = compare_repeats([one], "one", np.random.default_rng(1), resamples=4000).rows[0]
    counts = np.array([(r.tp, r.fp, r.fn) for r in one.by_seed[1].slides])
    sums = resample(counts, [r.case_id for r in one.by_seed[1].slides], np.random.default_rng(2), resamples=4000).sums
    f1 = 2 * sums[:, 0] / (2 * sums[:, 0] + sums[:, 1] + sums[:, 2])
    assert row.figures["f1"].interval.low == pytest.approx(np.quantile(f1, 0.025), abs=0.01)
    assert row.figures["f1"].interval.high == pytest.approx(np.quantile(f1, 0.975), abs=0.01)


def test_seeds_that_differ_widen_the_interval():
    """Three trainings far apart tell less than three alike: their spread is in the interval."""
    alike = Repeats(name="alike", by_seed={seed: a_scored(0.6, 5) for seed in (1, 2, 3)})
    apart = Repeats(name="apart", by_seed={1: a_scored(0.3, 5), 2: a_scored(0.6, 5), 3: a_scored(0.9, 5)})
    result = compared(alike, apart)
    narrow, wide = (the(result, name).figures["f1"].interval for name in ("alike", "apart"))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("number", [2, 3])
def test_the_means_of_drawn_seeds_spread_as_such_means_do(number):
    """Of trainings that find the same on every slide, so that seeds alone are drawn: brute force over all draws of
    them, moved apart from their middle until their variance is the unbiased one of a mean.
    """

    def alike(tp):
        rows = tuple(
            SlideScore(slide_id=f"s{k:03d}", case_id=f"c{k}", domain="d", area_mm2=0.1, tp=tp, fp=1, fn=6 - tp)
            for k in range(8)
        )  # fmt: skip
        gain = np.tile([1] * tp + [0], 8)
        return Scored(slides=rows, score=np.full(len(gain), 0.5), slide=np.repeat(np.arange(8), tp + 1), gain=gain)

    method = Repeats(
        name="one", by_seed={seed: alike(tp) for seed, tp in zip((1, 2, 3), (1, 3, 6)[:number], strict=False)}
    )
    f1 = [float(FIGURES["f1"](one, one.once)[0]) for one in method.by_seed.values()]
    every = np.array([np.mean(draw) for draw in itertools.product(f1, repeat=number)])
    wide = np.mean(f1) + np.sqrt(number / (number - 1)) * (every - np.mean(f1))
    assert wide.var() == pytest.approx(np.var(f1, ddof=1) / number)
    got = compare_repeats([method], "one", np.random.default_rng(3), resamples=20_000, names=("f1",))
    ends = got.rows[0].figures["f1"].interval
    assert (ends.low, ends.high) == pytest.approx(
        (wide.min(), wide.max()) if number == 2 else np.quantile(wide, (0.025, 0.975), method="inverted_cdf")
    )


def test_a_method_does_not_differ_from_itself_and_pairs_share_seeds():
    """Exactly 0 in every resample, though the seeds differ widely; p is 1."""
    seeds = {1: a_scored(0.3, 1), 2: a_scored(0.6, 2), 3: a_scored(0.9, 3)}
    result = compared(Repeats(name="one", by_seed=seeds), Repeats(name="copy", by_seed=seeds))
    for found in the(result, "copy").differences.values():
        assert (found.value.mean, found.value.interval.low, found.value.interval.high) == (0, 0, 0)
        assert (found.p, found.p_holm) == (1, 1)
    assert not the(result, "one").differences


def test_a_clear_difference_is_told_and_changes_its_sign_with_the_reference():
    """Recall 0.9 against 0.4 on 30 slides."""
    low, high = a_method("low", 0.4), a_method("high", 0.9)
    up = the(compared(low, high), "high").differences["f1"]
    down = the(compared(low, high, reference="high"), "low").differences["f1"]
    assert up.value.interval.low > 0
    assert up.p_holm < 0.01
    assert down.value.mean == pytest.approx(-up.value.mean)
    assert down.value.interval.low == pytest.approx(-up.value.interval.high)


def test_a_difference_takes_only_seeds_that_both_have():
    """A row that is not done yet is compared on what is done; one that shares no seed is not compared."""
    base, some, none = a_method("base", 0.5), a_method("some", 0.5, seeds=(2,)), a_method("none", 0.5, seeds=(7,))
    result = compared(base, some, none)
    expected = [float(FIGURES["f1"](one.by_seed[2], one.by_seed[2].once)[0]) for one in (some, base)]
    assert the(result, "some").differences["f1"].value.mean == pytest.approx(expected[0] - expected[1])
    assert the(result, "some").differences["f1"].seeds == (2,)
    assert not the(result, "none").differences


def test_a_control_is_a_reference_of_its_own():
    """The same difference as where it is the reference, corrected over those that have a control, and no more."""
    methods = [a_method(name, recall) for name, recall in (("b", 0.5), ("lo", 0.5), ("hi", 0.6), ("o", 0.6))]
    pairs = {"hi": "lo", "o": "b", "b": "gone"}
    both = compared(*(replace(method, control=pairs.get(method.name, "")) for method in methods))
    plain = compared(*methods)
    turned = compared(*methods, reference="lo")
    assert [row.differences for row in both.rows] == [row.differences for row in plain.rows]
    assert {row.name: set(row.over_control) for row in both.rows if row.over_control} == {
        "hi": {"f1", "ap"}, "o": {"f1", "ap"},
    }  # fmt: skip
    for name in ("f1", "ap"):
        found = [the(both, row).over_control[name] for row in ("hi", "o")]
        assert found[0].value == the(turned, "hi").differences[name].value
        assert found[1].value == the(plain, "o").differences[name].value
        assert [one.p_holm for one in found] == holm([one.p for one in found])


def test_under_no_difference_p_is_below_a_twentieth_about_as_rarely():
    """80 pairs of methods with equal recall, one seed each: at most a fifth are called different at 0.05."""
    called = 0
    for number in range(80):
        pair = [Repeats(name=name, by_seed={1: a_scored(0.6, 1000 + 2 * number + k)}) for k, name in enumerate("ab")]
        result = compare_repeats(pair, "a", np.random.default_rng(number), resamples=200, names=("f1", "ap"))
        called += the(result, "b").differences["f1"].p < 0.05
    assert 0 < called <= 16


def test_other_slides_or_marks_are_refused():
    """A comparison of different cohorts is silently wrong otherwise."""
    with pytest.raises(FrameError, match="'two', seed 1, was scored on other slides"):
        compared(a_method("one", 0.5), a_method("two", 0.5, slides=NUM_SLIDES - 1))
    with pytest.raises(FrameError, match="marks"):
        compared(a_method("one", 0.5), a_method("two", 0.5, figures=7))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_rule_rejects(p):
    """At every level: the smallest against level / m, the next against level / (m - 1), until one fails."""
    corrected = holm(p)
    for level in (0.001, 0.01, 0.05, 0.2, 0.5):
        rejected = set()
        for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
            if p[place] * (len(p) - rank) > level:
                break
            rejected.add(place)
        assert {place for place, value in enumerate(corrected) if value <= level} == rejected


def test_values_that_are_not_known_do_not_count_as_comparisons():
    """NaN stays NaN, and the others are corrected for themselves alone."""
    corrected = holm([0.02, float("nan"), 0.03])
    assert corrected[0] == pytest.approx(0.04)
    assert np.isnan(corrected[1])
    assert corrected[2] == pytest.approx(0.04)
    assert np.isnan(p_value(np.array([])))


def test_p_is_the_level_at_which_the_interval_leaves_zero_out():
    """Of 999 differences 10 are below 0: twice 11 of 1000."""
    assert p_value(np.concatenate([np.full(10, -1.0), np.full(989, 1.0)])) == pytest.approx(0.022)
    assert p_value(np.full(999, -1.0)) == pytest.approx(0.002)
    assert p_value(np.zeros(99)) == 1


def test_drawn_times_are_whole_draws_of_cases_or_of_slides_within_them():
    """Each draw has as many cases (or slides of each case) as there are."""
    cases = ["a", "a", "b", "b", "b", "c"]
    few = draw_times(unit_of(cases, min_cases=10), np.random.default_rng(0), 50)
    assert (few[:, :2].sum(axis=1) == 2).all()
    assert (few[:, 2:5].sum(axis=1) == 3).all()
    assert (few[:, 5] == 1).all()
    whole = draw_times(unit_of(cases, min_cases=3), np.random.default_rng(0), 50)
    assert (whole[:, 0] == whole[:, 1]).all()
    assert (whole[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert draw_times(unit_of(["a"]), np.random.default_rng(0), 50).shape == (0, 1)


@pytest.mark.parametrize(("recalls", "false"), [((1.0, 0.8), 0.1), ((0.03, 0.001), 3.0), ((0.9, 0.1), 1.0)])
def test_no_interval_ends_where_its_figure_cannot_be(recalls, false):
    """Means of two drawn seeds are drawn apart, past one where the better one found all, past none where one did."""
    by_seed = {seed: a_scored(recall, seed, slides=12, false=false) for seed, recall in enumerate(recalls)}
    row = compared(Repeats(name="one", by_seed=by_seed), reference="one").rows[0]
    for name, most in (("f1", 1), ("precision", 1), ("recall", 1), ("ap", 1), ("froc", 8)):
        ends = row.figures[name].interval
        assert 0 <= ends.low <= row.figures[name].mean <= ends.high <= most, name
