"""Laws of mining regimes: what a regime keeps, which regimes a grid holds, and which one is best."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mitosieve.method.finegrained.regime import (
    Candidates,
    Regime,
    RegimeGrid,
    RegimeScore,
    Trial,
    best_regime,
    scored,
    select,
)

SHARES = st.one_of(st.sampled_from([0.0, 0.01, 0.07, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0]), st.floats(0, 1))
CAPS = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])
CHOICES = st.sampled_from(["hardest", "random"])
GRIDS = st.builds(
    RegimeGrid,
    labelled=st.lists(st.floats(0.01, 1), min_size=1, max_size=5, unique=True),
    unlabelled=st.one_of(st.just("same"), st.lists(SHARES, min_size=1, max_size=3, unique=True)),
    caps=st.lists(CAPS, min_size=1, max_size=3, unique=True),
    imposter_weights=st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
)


@st.composite
def pools(draw, max_size=30):
    """Candidates of few different scores, so that ties are common."""
    score = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.floats(0, 1))
    rows = draw(st.lists(st.tuples(st.booleans(), score, st.booleans()), max_size=max_size))
    return a_pool(rows)


def a_pool(rows):
    """Of (is_unlabelled, score, is_peak)."""
    unlabelled, score, peak = zip(*rows, strict=True) if rows else ((), (), ())
    return Candidates(
        is_unlabelled=np.array(unlabelled, np.bool_),
        score=np.array(score, np.float64),
        is_peak=np.array(peak, np.bool_),
    )


def a_generator(seed=7):
    return np.random.default_rng(seed)


def kept_by(regime, pool, seed=7):
    return select(regime, pool, a_generator(seed)).tolist()


def how_many(share, n):
    """The smallest count that is at least the share, counted up; a share such as 0.07 of 100 is 7, not 8."""
    count = 0
    while count < n and count < share * n - 1e-9:
        count += 1
    return count


def goes_before(pool, a, b):
    """Whether candidate a is taken before candidate b of its kind."""
    if pool.is_peak[a] != pool.is_peak[b]:
        return bool(pool.is_peak[a])
    if pool.score[a] != pool.score[b]:
        return bool(pool.score[a] > pool.score[b])
    return a < b


def kept_by_two_loops(regime, pool):
    """A candidate is kept if fewer of its kind than the count go before it."""
    kept = []
    for a in range(len(pool.score)):
        kind = pool.is_unlabelled[a]
        of_kind = [b for b in range(len(pool.score)) if pool.is_unlabelled[b] == kind]
        left = [b for b in of_kind if not (kind and regime.cap < 1 and pool.score[b] >= regime.cap)]
        before = sum(goes_before(pool, b, a) for b in left if b != a)
        if a in left and before < how_many(regime.unlabelled if kind else regime.labelled, len(of_kind)):
            kept.append(a)
    return kept


@given(pools(), SHARES, SHARES, CAPS)
def test_the_hardest_are_those_with_few_before_them(pool, labelled, unlabelled, cap):
    """Of each kind the count of its share, peaks first, then by score, then by row, without what the cap drops."""
    regime = Regime(labelled=labelled, unlabelled=unlabelled, cap=cap)
    assert kept_by(regime, pool) == kept_by_two_loops(regime, pool)


def test_peaks_go_before_harder_ones_that_are_none():
    """Four candidates: two peaks of low score, then the two others, the higher score first, ties by row."""
    pool = a_pool([(False, 0.9, False), (False, 0.1, True), (False, 0.2, True), (False, 0.9, False)])
    kept = [kept_by(Regime(labelled=share), pool) for share in (0.25, 0.5, 0.75, 1)]
    assert kept == [[2], [1, 2], [0, 1, 2], [0, 1, 2, 3]]


@given(pools(), SHARES, SHARES, st.integers(0, 99))
def test_at_random_each_kind_gives_its_share(pool, labelled, unlabelled, seed):
    """Ascending rows, each once; of each kind as many as the same regime keeps of the hardest."""
    regime = Regime(labelled=labelled, unlabelled=unlabelled, cap=0.25, choice="random")
    kept = kept_by(regime, pool, seed)
    assert kept == sorted(set(kept))
    hardest = kept_by(regime.model_copy(update={"choice": "hardest"}), pool, seed)
    assert pool.is_unlabelled[kept].sum() == pool.is_unlabelled[hardest].sum()
    assert len(kept) == len(hardest)


def test_at_random_each_candidate_has_the_same_chance():
    """Over 400 draws of 3 of 10 each is kept some 120 times; five standard deviations are 46."""
    pool = a_pool([(False, 0.1 * k, k % 2 == 0) for k in range(10)])
    regime = Regime(labelled=0.3, choice="random")
    seen = np.bincount(np.concatenate([kept_by(regime, pool, seed) for seed in range(400)]), minlength=10)
    assert seen.sum() == 1200
    assert (abs(seen - 120) < 46).all()


@given(pools(), CHOICES, CAPS, st.tuples(SHARES, SHARES), st.tuples(SHARES, SHARES))
def test_a_smaller_share_keeps_a_part_of_what_a_larger_one_keeps(pool, choice, cap, labelled, unlabelled):
    """Equal generators: the smaller regime's rows are among the larger one's, so the pool grows with the share."""
    small, large = (
        Regime(labelled=of(labelled), unlabelled=of(unlabelled), cap=cap, choice=choice) for of in (min, max)
    )
    assert set(kept_by(small, pool)) <= set(kept_by(large, pool))


@given(pools(), CHOICES)
def test_the_whole_share_without_a_cap_keeps_all(pool, choice):
    """The regime of all defaults is no mining at all."""
    assert kept_by(Regime(choice=choice), pool) == list(range(len(pool.score)))


@given(pools(), CHOICES)
def test_a_share_of_nothing_keeps_nothing(pool, choice):
    """Neither kind, however few there are."""
    assert kept_by(Regime(labelled=0, unlabelled=0, choice=choice), pool) == []


@given(pools(), CAPS)
def test_a_cap_drops_exactly_the_unlabelled_scores_from_it_on(pool, cap):
    """Labelled candidates are never dropped; a cap of 1 is none, a score that equals the cap is dropped."""
    kept = set(kept_by(Regime(cap=cap), pool))
    for row in range(len(pool.score)):
        is_dropped = cap < 1 and pool.is_unlabelled[row] and pool.score[row] >= cap
        assert (row not in kept) == is_dropped
        assert pool.capped(cap)[row] == is_dropped


@given(pools(), SHARES, SHARES, st.randoms())
def test_at_random_no_score_is_looked_at(pool, labelled, unlabelled, random):
    """Other scores and other peaks, without a cap: the same rows."""
    others = [(kind, random.random(), random.random() < 0.5) for kind in pool.is_unlabelled.tolist()]
    regime = Regime(labelled=labelled, unlabelled=unlabelled, choice="random")
    assert kept_by(regime, pool) == kept_by(regime, a_pool(others))


@given(pools(), SHARES, CHOICES)
def test_equal_generators_give_equal_bytes(pool, share, choice):
    """The same rows of the same type, and a generator left in the same state, whatever the regime."""
    regime = Regime(labelled=share, unlabelled=share, choice=choice)
    first, second, other = a_generator(), a_generator(), a_generator()
    kept = select(regime, pool, first)
    assert kept.dtype == np.intp
    assert kept.tobytes() == select(regime, pool, second).tobytes()
    select(Regime(cap=0.5), pool, other)
    assert first.random() == second.random() == other.random()


def test_candidates_need_columns_of_one_length_and_scores():
    """A missing score or a short column stops at once."""
    yes = np.ones(2, np.bool_)
    with pytest.raises(ValueError, match="one length"):
        Candidates(is_unlabelled=yes, score=np.zeros(3), is_peak=yes)
    with pytest.raises(ValueError, match="no score"):
        Candidates(is_unlabelled=yes, score=np.array([0.5, np.nan]), is_peak=yes)


@given(GRIDS, st.booleans(), st.booleans())
def test_a_grid_is_every_combination_once(grid, unlabelled, imposters):
    """Brute force over the axes; where there is nothing to choose from an axis has one value."""
    wanted = set()
    for labelled in grid.labelled:
        for share in (labelled,) if grid.unlabelled == "same" else grid.unlabelled:
            for cap in grid.caps:
                for weight in grid.imposter_weights:
                    of_unlabelled = share if unlabelled else 0.0
                    wanted.add((labelled, of_unlabelled, cap if of_unlabelled else 1.0, weight if imposters else 1))
    found = grid.regimes(unlabelled=unlabelled, imposters=imposters)
    told = [(each.labelled, each.unlabelled, each.cap, each.imposter_weight) for each in found]
    assert len(told) == len(set(told))
    assert set(told) == wanted
    assert len({each.name for each in found}) == len(found)


def test_the_grid_as_it_is_by_default_has_eleven_regimes():
    """One a share; the unlabelled share goes along, and is 0 without unlabelled slides."""
    grid = RegimeGrid()
    both = grid.regimes(unlabelled=True, imposters=True)
    assert [regime.unlabelled for regime in both] == [regime.labelled for regime in both] == list(grid.labelled)
    alone = grid.regimes(unlabelled=False, imposters=False)
    assert [(regime.unlabelled, regime.cap) for regime in alone] == [(0.0, 1.0)] * 11


def test_a_regime_that_keeps_no_candidate_is_not_tried():
    """A share of 0 of both kinds is left out, of one kind it is not."""
    grid = RegimeGrid(labelled=(0.0, 0.5), unlabelled=(0.0, 0.5))
    told = [(each.labelled, each.unlabelled) for each in grid.regimes(unlabelled=True, imposters=True)]
    assert told == [(0.0, 0.5), (0.5, 0.0), (0.5, 0.5)]
    assert [each.labelled for each in grid.regimes(unlabelled=False, imposters=True)] == [0.5]


@given(st.tuples(SHARES, SHARES), st.tuples(CAPS, CAPS), st.tuples(CHOICES, CHOICES))
def test_names_are_equal_exactly_where_regimes_are(shares, caps, choices):
    """Of any two regimes."""
    one, other = (
        Regime(labelled=share, unlabelled=share, cap=cap, choice=choice)
        for share, cap, choice in zip(shares, caps, choices, strict=True)
    )
    assert (one.name == other.name) == (one == other)


def test_shares_that_differ_late_have_names_that_differ():
    """The halfway share of two neighbours is another regime however near they are."""
    grid = RegimeGrid(labelled=(0.5, 0.50000001))
    assert len(grid.regimes(unlabelled=False, imposters=False)) == 2
    assert Regime(labelled=0.5, unlabelled=0.25, cap=0.5).name == "l0.5-u0.25-c0.5-w1"
    assert Regime(unlabelled=0, choice="random").name == "l1-u0-c1-w1-random"


@pytest.mark.parametrize(("at", "near"), [(0.4, [0.2, 0.8]), (0.1, [0.2]), (1.6 / 2, [0.4])])
def test_the_second_round_lies_halfway_to_the_neighbours(at, near):
    """Geometric means with the next smaller and the next larger share; the ends of the ladder have one."""
    grid = RegimeGrid(labelled=(0.8, 0.1, 0.4, 0.2))
    best = Regime(labelled=at, unlabelled=at, cap=0.5, imposter_weight=3)
    first, *others = grid.around(best)
    assert first == best
    assert [other.labelled for other in others] == [pytest.approx(math.sqrt(at * share)) for share in near]
    for other in others:
        assert other.unlabelled == other.labelled
        assert other.model_copy(update={"labelled": at, "unlabelled": at}) == best
        assert Regime.model_validate(other.model_dump()) == other


def test_the_second_round_leaves_an_unlabelled_share_of_its_own():
    """It moves along only where the grid says "same" and the best regime uses unlabelled candidates."""
    best = Regime(labelled=0.4, unlabelled=0.1, cap=0.5)
    apart = RegimeGrid(labelled=(0.4, 0.2), unlabelled=(0.1, 1.0)).around(best)
    assert [regime.unlabelled for regime in apart] == [0.1, 0.1]
    without = RegimeGrid(labelled=(0.4, 0.2)).around(Regime(labelled=0.4, unlabelled=0))
    assert [regime.unlabelled for regime in without] == [0, 0]


def test_the_second_round_of_one_share_is_the_best_alone():
    """Nothing lies between; nor beside a share of 0."""
    assert RegimeGrid(labelled=(0.3,)).around(Regime(labelled=0.3)) == (Regime(labelled=0.3),)
    grid = RegimeGrid(labelled=(0.0, 0.3), unlabelled=(0.5,))
    assert grid.around(Regime(labelled=0, unlabelled=0.5)) == (Regime(labelled=0, unlabelled=0.5),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, (bad,)) for key in ("labelled", "unlabelled", "caps") for bad in (1.2, -0.1, math.nan, math.inf)),
        *((key, value) for key in ("labelled", "unlabelled", "caps") for value in ((), (0.5, 0.2, 0.5))),
        *(("imposter_weights", value) for value in ((), (1, 1), (-1,), (101,), (0.5,))),
        ("labelled", (0.0,)),
        ("unlabelled", "all"),
        ("seeds", 0),
        ("rounds", 3),
        ("share", 0.5),
    ],
)
def test_an_impossible_grid_is_refused_by_the_name_of_its_key(key, value):
    """The message says which key is wrong."""
    with pytest.raises(ValidationError, match=key):
        RegimeGrid(**{key: value})


@pytest.mark.parametrize("key", ["labelled", "unlabelled", "cap"])
@pytest.mark.parametrize("value", [1.2, -0.1, math.nan])
def test_an_impossible_regime_is_refused_by_the_name_of_its_key(key, value):
    """No fraction, no regime."""
    with pytest.raises(ValidationError, match=key):
        Regime(**{key: value})


def test_a_grid_of_zeros_keeps_nothing_and_is_refused():
    """Also where the unlabelled share is listed."""
    with pytest.raises(ValidationError, match="labelled keeps no background"):
        RegimeGrid(labelled=(0.0,), unlabelled=(0.0,))


def a_trial(f1, seed=1, labelled=0.5, patches=100):
    return Trial(
        regime=Regime(labelled=labelled),
        seed=seed,
        patches=patches,
        used_fraction=patches / 1000,
        f1=f1,
        threshold=0.4,
        average_precision=0.6,
    )


def test_a_trial_comes_back_from_json():
    """Through text, with every regime's field."""
    trial = a_trial(0.7123456789)
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    shown = json.loads(json.dumps(scored([trial])[0].to_json()))
    assert shown["regime"] == Regime(labelled=0.5).model_dump()
    assert shown["mean"] == shown["low"] == shown["high"] == trial.f1


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5]), st.floats(0, 1)), max_size=12))
def test_a_score_is_the_mean_and_the_ends_of_its_trials(drawn):
    """One row a regime in the order of first appearance, whatever lies between its trials."""
    trials = [a_trial(f1, seed, labelled) for seed, (labelled, f1) in enumerate(drawn)]
    scores = scored(trials)
    assert [score.regime.labelled for score in scores] == list(dict.fromkeys(labelled for labelled, _ in drawn))
    for score in scores:
        f1 = [trial.f1 for trial in trials if trial.regime == score.regime]
        assert score.mean == pytest.approx(sum(f1) / len(f1))
        assert (score.low, score.high) == (min(f1), max(f1))
        assert (score.patches, score.used_fraction) == (100, 0.1)


def test_the_order_of_the_seeds_does_not_move_a_mean():
    """Else equal regimes would differ in the last digit."""
    f1 = [0.1, 0.7, 0.3, 0.20000000000000004]
    forth, back = (scored([a_trial(value) for value in values])[0].mean for values in (f1, f1[::-1]))
    assert forth == back


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7]), st.integers(1, 3)), min_size=1, max_size=8))
def test_the_best_has_the_highest_mean_then_the_fewest_patches_then_comes_first(drawn):
    """No regime beats it, and none before it is its equal."""
    scores = [
        RegimeScore(regime=Regime(), patches=patches, used_fraction=0.1, mean=mean, low=mean, high=number)
        for number, (mean, patches) in enumerate(drawn)
    ]
    best = best_regime(scores)
    at = scores.index(best)
    for number, other in enumerate(scores):
        assert other.mean <= best.mean
        if other.mean == best.mean:
            assert (other.patches, number) >= (best.patches, at)


def test_nothing_tried_has_no_best():
    """An empty search is an error, not a default."""
    with pytest.raises(ValueError, match="no regime"):
        best_regime([])
