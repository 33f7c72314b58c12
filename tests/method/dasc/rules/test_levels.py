"""Laws of the levels of difficulty, of the mixtures under them, and of what is kept."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.mixture import GaussianMixture

from mitosieve.errors import FrameError, TrainingError
from mitosieve.method.dasc.rules import mixture
from mitosieve.method.dasc.rules.levels import LevelConfig, LevelHits, difficulty_levels, kept_rows
from mitosieve.method.dasc.rules.mixture import fit_mixture, upper_component

QUICK = LevelConfig(n_init=1)
RATES = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 1), st.booleans())


def levels_of(forget, centroid, label=None, hard=None, config=QUICK, seed=0):
    """Levels and notes; whatever warns is an error."""
    n = len(forget)
    label = np.zeros(n, np.int8) if label is None else np.asarray(label)
    hard = np.ones(n, bool) if hard is None else np.asarray(hard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return difficulty_levels(np.array(forget, float), np.array(centroid, float), label, hard, config, seed)


def blobs(centres, each=20, seed=0, spread=0.01):
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.normal(centre, spread, (each, 2)) for centre in centres])


NOBODYS_THIRD = [(5, 1), (5, 2), (4, 1), (2, 5), (3, 1), (4, 2)]
"""Rates times 20, found by trying: of a mixture of three one component is at no sample the most probable."""


def a_generator():
    return np.random.default_rng(0)


def test_three_groups_are_three_levels_by_rising_forget_rate():
    """Well apart, in any order, each class for itself: level 1 is forgotten least."""
    centres = [(0.5, 0.2), (0.1, 0.8), (0.9, 0.5)]
    points = np.concatenate([blobs(centres), blobs([(c[0] / 3, c[1]) for c in centres], seed=1)])
    label = np.repeat([0, 1], 60)
    levels, notes = levels_of(*points.T, label=label)
    assert levels.dtype == np.int8
    assert levels.tolist() == np.tile(np.repeat([2, 1, 3], 20), 2).tolist()
    assert notes == []


def test_equal_forget_rates_are_ordered_by_centroid_rate():
    """A column without spread decides nothing and divides by nothing."""
    centroid = np.repeat([0.9, 0.1, 0.5], 15) + np.tile(np.linspace(0, 0.01, 15), 3)
    levels, notes = levels_of(np.full(45, 0.25), centroid)
    assert levels.tolist() == np.repeat([3, 1, 2], 15).tolist()
    levels, _ = levels_of(centroid, np.full(45, 0.25))
    assert levels.tolist() == np.repeat([3, 1, 2], 15).tolist()
    assert len(notes) == 1  # of the other class


@settings(max_examples=40, deadline=None)
@given(st.lists(RATES, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_levels_obey_their_laws(samples, random):
    """Levels only on hard rows, 1.. without a gap, mean forget rate rising; equal rows equal; order does not matter."""
    forget, centroid, label, hard = (np.array(column) for column in zip(*samples, strict=True))
    forget, centroid = forget / 20, centroid / 20
    levels, notes = levels_of(forget, centroid, label, hard)
    assert ((levels > 0) == hard).all()
    for number, name in enumerate(("other", "figure")):
        mine = hard & (label == number)
        used = np.unique(levels[mine])
        assert used.tolist() == list(range(1, len(used) + 1))
        means = [forget[mine & (levels == level)].mean() for level in used]
        assert all(a <= b + 1e-9 for a, b in pairwise(means))
        told = [note for note in notes if note.startswith(f"class {name}: ")]
        assert len(used) == 3 or told
    book = {}
    for sample, level in zip(samples, levels, strict=True):
        assert book.setdefault(sample, level) == level
    order = list(range(len(samples)))
    random.shuffle(order)
    again, _ = levels_of(forget[order], centroid[order], label[order], hard[order])
    assert (again == levels[order]).all()


def test_fewer_distinct_samples_than_components_are_fewer_levels():
    """As many levels as distinct points, each its own, with a note that names the class and the numbers."""
    levels, notes = levels_of([0.5, 0.1, 0.5, 0.1, 0.1], [0.2, 0.3, 0.2, 0.3, 0.3], label=[1] * 5)
    assert levels.tolist() == [2, 1, 2, 1, 1]
    assert notes == [
        "class other: no hard samples, so no levels",
        "class figure: 5 hard samples have 2 distinct points, so 2 of 3 levels",
    ]


@pytest.mark.parametrize("count", [1, 2, 40])
def test_identical_samples_are_one_level(count):
    """Zero variance: level 1, no NaN, no warning; differences in the last digits are none."""
    for wobble in (0, 1e-12, 1e-8):
        rates = 0.3 + wobble * np.arange(count) / count
        levels, notes = levels_of(rates, rates[::-1])
        assert levels.tolist() == [1] * count
        assert f"class other: {count} hard samples have" in notes[0]
        assert "1 of 3 levels" in notes[0]


def test_no_hard_samples_are_no_levels():
    """Each class without any is told; the rates of rows that are not hard are not looked at."""
    levels, notes = levels_of([np.nan, 0.5], [np.nan, 0.5], label=[0, 1], hard=[False, False])
    assert levels.tolist() == [0, 0]
    assert notes == [f"class {name}: no hard samples, so no levels" for name in ("other", "figure")]
    levels, notes = levels_of([], [])
    assert len(levels) == 0
    assert len(notes) == 2


def test_a_rate_that_is_no_number_is_refused():
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite"):
            levels_of([0.1, bad], [0.1, 0.2])


def test_a_fit_that_does_not_settle_is_told():
    """Two steps are too few: the levels of its last state are used, with a note instead of a warning."""
    points = np.random.default_rng(0).random((2, 50))
    levels, notes = levels_of(*points, config=LevelConfig(n_init=1, max_iter=2))
    assert set(levels) <= {1, 2, 3}
    assert notes[0] == "class other: the mixture did not settle; its last state is used"
    assert len(levels_of(*points)[1]) == 1


def from_the_truth(points, of):
    """Mean log density that a mixture of z-scored points reaches which starts at the groups themselves."""
    scaled = (points - points.mean(axis=0)) / points.std(axis=0)
    own = [scaled[of == number] for number in np.unique(of)]
    model = GaussianMixture(
        len(own),
        weights_init=[len(rows) / len(of) for rows in own],
        means_init=[rows.mean(axis=0) for rows in own],
        precisions_init=[np.linalg.inv(np.cov(rows.T, bias=True)) for rows in own],
    )
    return model.fit(scaled).score(scaled)


@pytest.mark.parametrize("sizes", [(300, 60, 25), (1000, 40, 20), (100, 100, 100), (2000, 300, 30), (30, 60, 300)])
def test_groups_clearly_apart_in_one_rate_are_found_by_every_seed(sizes):
    """The other rate tells nothing; k-means as a start halves the largest group along it. 10 of 10 seeds find all."""
    for seed in range(10):
        draw = np.random.default_rng(seed)
        of = np.repeat([0, 1, 2], sizes)
        points = np.stack([draw.normal(np.array([0.05, 0.4, 0.8])[of], 0.02), draw.normal(0.3, 0.1, len(of))], axis=1)
        fit = fit_mixture(points, components=3, n_init=10, generator=np.random.default_rng(seed))
        assert fit.log_likelihood > from_the_truth(points, of) - 1e-3
        assert fit.component.tolist() == of.tolist()
        levels, _ = levels_of(*points.T, config=LevelConfig(), seed=seed)
        assert levels.tolist() == (of + 1).tolist()


@pytest.mark.parametrize("counted", [20, 95])
def test_equal_counts_are_no_group_for_being_equal(counted):
    """Rates are counts: a spike on the samples never forgotten would be likelier than the groups that there are."""
    for seed in range(10):
        draw = np.random.default_rng(seed)
        of = np.repeat([0, 1, 2], (150, 80, 40))
        forget = draw.binomial(counted, np.array([0.05, 0.45, 0.9])[of]) / counted
        levels, _ = levels_of(forget, draw.normal(0.3, 0.1, len(of)), config=LevelConfig(), seed=seed)
        assert (levels == of + 1).mean() > 0.95


def test_an_empty_component_is_skipped_and_the_rest_renumbered():
    """A component that is nobody's most probable leaves no gap in the levels, and a note."""
    forget, centroid = np.array(NOBODYS_THIRD).T / 20
    levels, notes = levels_of(forget, centroid)
    assert set(levels) == {1, 2}
    assert notes[0] == "class other: 1 of 3 mixture components are empty, so 2 levels"
    assert forget[levels == 1].mean() <= forget[levels == 2].mean()


def test_of_many_rows_an_even_share_is_fitted_and_all_are_assigned(monkeypatch):
    """A mixture of a part of the rows finds the same groups, and still does not mind their order."""
    points = blobs([(0.1, 0.8), (0.5, 0.2), (0.9, 0.5)], each=400)
    monkeypatch.setattr(mixture, "LARGEST_FIT", 100)
    fit = fit_mixture(points, components=3, n_init=1, generator=a_generator())
    assert fit.component.tolist() == np.repeat([0, 1, 2], 400).tolist()
    order = np.random.default_rng(1).permutation(1200)
    again = fit_mixture(points[order], components=3, n_init=1, generator=a_generator())
    assert (again.component == fit.component[order]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_a_higher_value_is_never_less_high(values):
    """The upper component has a lower end and no upper one; never all values, and none where all are the same."""
    values = np.array(values) / 40
    high = upper_component(values, n_init=1, generator=a_generator())
    assert not high.all()
    assert high.any() == (len(set(values)) > 1)
    if high.any():
        assert values[high].min() > values[~high].max()


def test_what_a_wide_component_takes_on_the_far_side_is_put_right():
    """A narrow group and a wide one that reaches beyond it on both sides: there is one boundary all the same."""
    draw = np.random.default_rng(0)
    for narrow, wide in ((0.1, 0.3), (0.9, 0.6)):
        values = np.concatenate([draw.normal(narrow, 0.005, 300), draw.normal(wide, 0.2, 100)])
        raw = fit_mixture(values[:, None], components=2, n_init=1, generator=a_generator()).component == 1
        assert values[raw].min() < values[~raw].max()  # the mixture alone interleaves
        high = upper_component(values, n_init=1, generator=a_generator())
        assert values[high].min() > values[~high].max()
        assert high[:300].mean() > 0.95 if narrow > wide else high[:300].mean() < 0.05


def test_groups_apart_are_told_apart():
    values = np.concatenate([np.linspace(0, 0.1, 30), np.linspace(0.8, 0.9, 5)])
    assert upper_component(values, n_init=1, generator=a_generator()).tolist() == [False] * 30 + [True] * 5


IDS = np.array([7, 3, 9, 1], dtype=np.int64)


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=6), max_size=5))
def test_hits_are_those_of_a_dictionary(batches):
    """Rows that stand in a batch several times count each time; a resumed count goes on as the whole one."""
    hits, half, book = LevelHits.of(IDS), LevelHits.of(IDS), {row: [] for row in range(4)}
    for number, batch in enumerate(batches):
        rows = np.array([row for row, _ in batch], dtype=np.intp)
        correct = np.array([right for _, right in batch], dtype=bool)
        hits.record(rows, correct)
        if number == 2:
            resumed = LevelHits.of(IDS)
            resumed.restore({name: array.copy() for name, array in half.arrays().items()})
            half = resumed
        half.record(rows, correct)
        for row, right in batch:
            book[row].append(right)
    assert hits.seen.tolist() == half.seen.tolist() == [len(book[row]) for row in range(4)]
    assert hits.correct.tolist() == half.correct.tolist() == [sum(book[row]) for row in range(4)]
    assert hits.rate().tolist() == [np.mean(book[row]) if book[row] else 0 for row in range(4)]


def test_hits_of_another_index_are_refused():
    for ids in (IDS[::-1], np.append(IDS, 5), IDS + 1):
        with pytest.raises(FrameError, match="another patch index"):
            LevelHits.of(IDS).restore(LevelHits.of(ids).arrays())
    with pytest.raises(ValueError, match="twice"):
        LevelHits.of(np.array([1, 1]))


def hits_of(pairs):
    hits = LevelHits.of(np.arange(len(pairs)))
    hits.correct[:], hits.seen[:] = zip(*pairs, strict=True)
    return hits


def test_clean_is_kept_noise_is_not_and_hard_if_it_can_be_learned():
    """From half of its visits on; never seen is not learnable, whatever is asked; hits of others do not matter."""
    verdict = np.array(["clean", "noise", "hard", "hard", "hard", "hard", "clean"])
    levels, label = np.array([0, 0, 1, 2, 3, 1, 0]), np.array([1, 1, 1, 1, 0, 0, 0])
    hits = hits_of([(0, 9), (9, 9), (2, 4), (1, 3), (3, 3), (0, 0), (0, 0)])
    kept, learnable = kept_rows(verdict, levels, hits, label, LevelConfig())
    assert learnable.tolist() == [False, False, True, False, True, False, False]
    assert kept.tolist() == [True, False, True, False, True, False, True]
    kept, learnable = kept_rows(verdict, levels, hits, label, LevelConfig(hit=0))
    assert learnable.tolist() == [False, False, True, True, True, False, False]
    kept, learnable = kept_rows(verdict, levels, hits, label, LevelConfig(hit=1))
    assert learnable.tolist() == [False, False, False, False, True, False, False]


def test_a_class_with_nothing_left_stops_the_training():
    """All noise, all noise or unlearnable, or no sample at all: it says which class and why."""
    config, label = LevelConfig(), np.array([0, 1, 1])
    for verdict, hits, told in (
        (["clean", "noise", "noise"], [(0, 0)] * 3, "of 2 samples 2 are noise and 0 hard and not learnable"),
        (["clean", "noise", "hard"], [(0, 0), (0, 0), (1, 3)], "of 2 samples 1 are noise and 1 hard"),
        (["clean", "hard", "hard"], [(0, 0)] * 3, "of 2 samples 0 are noise and 2 hard"),
    ):
        verdict = np.array(verdict)
        with pytest.raises(TrainingError, match=f"of class figure nothing is left to learn from: {told}"):
            kept_rows(verdict, (verdict == "hard").astype(np.int8), hits_of(hits), label, config)
    with pytest.raises(TrainingError, match="of class other nothing is left"):
        kept_rows(np.array(["clean"]), np.array([0]), hits_of([(0, 0)]), np.array([1]), config)


def test_levels_must_be_of_the_verdict():
    for verdict, level in (("hard", 0), ("clean", 1), ("noise", 2)):
        with pytest.raises(ValueError, match="levels must be"):
            kept_rows(np.array([verdict]), np.array([level]), hits_of([(0, 0)]), np.array([1]), LevelConfig())


@pytest.mark.parametrize(
    "wrong", [{"components": 0}, {"n_init": 0}, {"hit": 1.5}, {"hit": float("nan")}, {"levels": 3}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        LevelConfig(**wrong)
