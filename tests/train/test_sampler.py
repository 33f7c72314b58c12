"""Laws of dealing: each row once a lap, the same deal for the same name, pools in their ratio."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import TrainingError
from mitosieve.run.seed import derive_generator
from mitosieve.train.sampler import CYCLE, BalancedSampler, Deck, EpochSampler, RatioSampler, balancing_repeats


def a_deck(n=7, seed=1, purpose="figures"):
    return Deck(np.arange(n) + 100, seed=seed, purpose=purpose)


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 1000))
def test_each_row_is_dealt_once_a_lap(n, lap, seed):
    """Any lap holds every row exactly once."""
    dealt = a_deck(n, seed).take(lap * n, n)
    assert np.sort(dealt).tolist() == list(range(100, 100 + n))


@given(st.integers(1, 20), st.integers(0, 80), st.integers(0, 60))
def test_a_take_is_a_slice_of_the_endless_deal(n, start, count):
    """Cards start .. start + count - 1 are the same whether taken at once, apart, or after others."""
    endless = a_deck(n).take(0, 140)
    assert (a_deck(n).take(start, count) == endless[start : start + count]).all()
    used = a_deck(n)
    used.take(97, 3)
    assert (used.take(start, count) == endless[start : start + count]).all()


def test_the_deal_depends_on_seed_and_purpose():
    """Equal seed and purpose, equal deal; another of either, another deal; laps differ."""
    deal = a_deck(50).take(0, 100)
    assert (a_deck(50).take(0, 100) == deal).all()
    assert (a_deck(50, seed=2).take(0, 100) != deal).any()
    assert (a_deck(50, purpose="background").take(0, 100) != deal).any()
    assert (deal[:50] != deal[50:]).any()


def test_streams_are_independent_and_fixed():
    """Purpose and counters each change the stream; the first number of one stream is documented."""
    first = {key: derive_generator(*key).random() for key in [(1, "a"), (1, "b"), (2, "a"), (1, "a", 1), (1, "a", 2)]}
    assert len(set(first.values())) == len(first)
    assert derive_generator(1, "a").random() == first[1, "a"]
    assert derive_generator(1, "a", 1).integers(2**32) == GOLDEN


GOLDEN = 325059176
"""If this changes, resumed trainings draw other batches than the runs they continue."""


def pools(figures=40, background=1000, mined=300):
    sizes = {"figures": figures, "background": background, "mined": mined}
    starts = dict(zip(sizes, (0, 1000, 5000), strict=True))
    return {name: np.arange(n) + starts[name] for name, n in sizes.items()}


RATIO = {"figures": 1, "background": 1, "mined": 3}


def of_pool(rows):
    return {"figures": int((rows < 1000).sum()), "mined": int((rows >= 5000).sum())} | {
        "background": int(((rows >= 1000) & (rows < 5000)).sum())
    }


def test_a_batch_of_192_holds_1_to_1_to_3():
    """38.4 : 38.4 : 115.2 is rounded, the largest pool taking the rest: 38, 38, 116; the same at every step."""
    sampler = RatioSampler(pools(), RATIO, batch_size=192, seed=1)
    assert sampler.count == {"figures": 38, "background": 38, "mined": 116}
    for step in (0, 1, 17):
        rows = sampler.rows(step)
        assert len(rows) == 192
        assert of_pool(rows) == sampler.count


@given(
    st.dictionaries(st.sampled_from(list(RATIO)), st.sampled_from([0.5, 1, 2, 3]), min_size=1),
    st.integers(12, 300),
)
def test_shares_are_within_a_row_or_two_of_the_ratio(ratio, batch_size):
    """A batch is full, and each pool's count is its share to rounding."""
    sampler = RatioSampler(pools(), ratio, batch_size=batch_size, seed=1)
    assert sum(sampler.count.values()) == batch_size
    for name, share in ratio.items():
        assert abs(sampler.count[name] - batch_size * share / sum(ratio.values())) <= 1.5


def test_consecutive_batches_deal_a_pool_through():
    """Over the steps each pool is dealt like one deck: visits of 40 figures differ by at most one."""
    sampler = RatioSampler(pools(), RATIO, batch_size=192, seed=1)
    dealt = np.concatenate([sampler.rows(step) for step in range(20)])
    seen = np.bincount(dealt[dealt < 1000], minlength=40)
    assert seen.sum() == 20 * 38
    assert seen.max() - seen.min() <= 1


def test_batches_depend_on_the_step_alone():
    """A fresh sampler asked for step 9 gives what another gave after nine steps."""
    went = RatioSampler(pools(), RATIO, batch_size=30, seed=4)
    for step in range(9):
        went.rows(step)
    assert (went.rows(9) == RatioSampler(pools(), RATIO, batch_size=30, seed=4).rows(9)).all()


def test_an_empty_pool_leaves_its_share_to_the_others():
    """Where nothing was mined, figures and background are 1 : 1; a share of 0 is the same as an empty pool."""
    sampler = RatioSampler(pools(mined=0), RATIO, batch_size=192, seed=1)
    assert sampler.count == {"figures": 96, "background": 96}
    assert (RatioSampler(pools(), {**RATIO, "mined": 0}, batch_size=192, seed=1).rows(3) == sampler.rows(3)).all()


def test_what_cannot_be_sampled_is_refused():
    """Nothing to draw from, or a batch too small for the ratio, stops at once with the reason."""
    with pytest.raises(TrainingError, match="every pool"):
        RatioSampler(pools(0, 0, 0), RATIO, batch_size=192, seed=1)
    with pytest.raises(TrainingError, match="cannot hold the ratio"):
        RatioSampler(pools(), {"figures": 1, "background": 9}, batch_size=4, seed=1)
    with pytest.raises(TrainingError, match="nothing to draw"):
        a_deck(0)


@pytest.mark.parametrize(("n", "batch_size"), [(10, 5), (10, 4), (3, 7), (1, 4)])
def test_an_epoch_deals_every_row_as_often_as_asked(n, batch_size):
    """The first rows of an epoch fill its last batch; resuming at any step deals the same."""
    rows = np.arange(100, 100 + n)
    repeats = 1 + np.arange(n) % 3
    sampler = EpochSampler(rows, repeats=repeats, batch_size=batch_size, seed=1, purpose="test")
    total = int(repeats.sum())
    assert sampler.steps_per_epoch == int(np.ceil(total / batch_size))
    orders = []
    for epoch in range(3):
        first = epoch * sampler.steps_per_epoch
        dealt = np.concatenate([sampler.rows(first + i) for i in range(sampler.steps_per_epoch)])
        assert len(dealt) == sampler.steps_per_epoch * batch_size
        whole = dealt[:total]
        np.testing.assert_array_equal(np.sort(whole), np.sort(np.repeat(rows, repeats)))
        np.testing.assert_array_equal(dealt[total:], np.resize(whole, len(dealt))[total:])
        orders.append(tuple(whole))
    assert n == 1 or len(set(orders)) > 1
    again = EpochSampler(rows, repeats=repeats, batch_size=batch_size, seed=1, purpose="test")
    late = sampler.steps_per_epoch + sampler.steps_per_epoch // 2
    np.testing.assert_array_equal(again.rows(late), sampler.rows(late))


def test_an_epoch_of_nothing_is_refused():
    with pytest.raises(TrainingError, match="nothing to draw"):
        EpochSampler(np.zeros(0, dtype=np.intp), batch_size=2, seed=1, purpose="test")


def test_balancing_repeats_weigh_classes_alike():
    label = np.array([1, 0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(balancing_repeats(label), [3, 1, 1, 1, 1, 1, 1, 3])
    np.testing.assert_array_equal(balancing_repeats(np.zeros(3, dtype=int)), [1, 1, 1])
    assert len(balancing_repeats(np.zeros(0, dtype=int))) == 0


def in_groups(figures, negatives, mined=None):
    """Pools of rows by the sizes of each group, and the group of each row."""
    pools, group, start = {}, [], 0
    for kind, sizes in (("figures", figures), ("background", negatives), ("mined", mined or {})):
        total = sum(sizes.values())
        pools[kind] = np.arange(start, start + total)
        group += [name for name, n in sizes.items() for _ in range(n)]
        start += total
    return pools, np.array(group)


sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60), min_size=2)


@given(sizes, sizes, st.sampled_from([0, 0.5, 1]), st.integers(10, 60), st.sampled_from(["figures", "negatives"]))
def test_every_group_gives_as_many_negatives_a_figure(figures, negatives, power, batch_size, weigh_by):
    """Over a cycle a group's rows of each pool are its share to a row, and in each batch too."""
    pools, group = in_groups(figures, negatives)
    both = sorted(name for name in figures if figures[name] and negatives.get(name))
    if not both:
        return
    ratio = {"figures": 1, "background": 4}
    made = BalancedSampler(pools, ratio, group, batch_size=batch_size, seed=1, weight_power=power, weigh_by=weigh_by)
    counted = figures if weigh_by == "figures" else negatives
    weight = np.array([counted[name] ** power for name in both])
    assert made.groups == both
    np.testing.assert_allclose(made.share, weight / weight.sum())
    dealt = np.array([of_kind(made.rows(step), pools, group, both) for step in range(CYCLE)])
    assert (dealt.sum(axis=2) == [made.count["figures"], made.count["background"]]).all()
    expected = made.share * np.array([made.count["figures"], made.count["background"]])[:, None]
    assert np.abs(dealt - expected).max() < 1 + 1e-9
    assert np.abs(dealt.sum(axis=0) - CYCLE * expected).max() <= 1 + 1e-9


def of_kind(rows, pools, group, names):
    """Rows of a batch by kind and group."""
    kinds = [rows[np.isin(rows, pools[kind])] for kind in ("figures", "background")]
    return [[int((group[own] == name).sum()) for name in names] for own in kinds]


def test_balanced_batches_depend_on_the_step_alone_and_deal_each_group_through():
    """Steps may be asked in any order, beyond a cycle too; visits of a group's rows differ by at most one."""
    pools, group = in_groups({"a": 7, "b": 40}, {"a": 90, "b": 11})
    make = lambda: BalancedSampler(pools, RATIO2, group, batch_size=20, seed=3, weight_power=0.5)  # noqa: E731
    went = make()
    batches = [went.rows(step) for step in range(2 * CYCLE + 5)]
    for step in (2 * CYCLE + 4, 0, CYCLE, 17):
        assert (make().rows(step) == batches[step]).all()
    visits = np.bincount(np.concatenate(batches), minlength=len(group))
    for rows in (pools["figures"], pools["background"]):
        for name in "ab":
            own = visits[rows[group[rows] == name]]
            assert own.max() - own.min() <= 1


RATIO2 = {"figures": 1, "background": 3}


def test_a_group_without_mined_negatives_gives_its_others():
    """Its ratio of figures to negatives stays that of all; no row of another group stands in."""
    pools, group = in_groups({"a": 9, "b": 9}, {"a": 30, "b": 30}, {"a": 20})
    made = BalancedSampler(
        pools, {"figures": 1, "background": 1, "mined": 3}, group, batch_size=50, seed=1, weight_power=0
    )
    rows = np.concatenate([made.rows(step) for step in range(CYCLE)])
    for name in "ab":
        of_group = rows[group[rows] == name]
        assert len(of_group) == pytest.approx(25 * CYCLE, abs=3)
        assert np.isin(of_group, pools["figures"]).mean() == pytest.approx(0.2, abs=0.005)


def test_groups_of_one_class_are_left_out_and_named():
    """Where no group has both classes, training stops with their names."""
    pools, group = in_groups({"a": 5, "b": 5}, {"b": 9, "c": 9})
    made = BalancedSampler(pools, RATIO2, group, batch_size=8, seed=1, weight_power=0.5)
    assert (made.groups, made.left_out) == (["b"], ["a", "c"])
    assert set(group[made.rows(3)]) == {"b"}
    pools, group = in_groups({"a": 5}, {"c": 9})
    with pytest.raises(TrainingError, match=r"none of a, c has both"):
        BalancedSampler(pools, RATIO2, group, batch_size=8, seed=1, weight_power=0.5)
