"""Laws of the verdicts and of the ranking: rules written out sample by sample say the same."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mitosieve.errors import RecipeError, TrainingError
from mitosieve.method.dasc.rules.memory import Memory, MemoryConfig
from mitosieve.method.dasc.rules.verdict import Verdict, VerdictConfig, label_verdicts, suspicion

EPOCHS, WARM_UP = 24, 4
COUNTED = EPOCHS - WARM_UP
QUICK = VerdictConfig(n_init=1)
SAMPLE = st.tuples(
    st.integers(0, 1), st.integers(0, COUNTED), st.integers(0, COUNTED), st.integers(0, COUNTED), st.integers(0, 8)
)


def remembered(samples, *, scd_epochs=COUNTED - 1):
    """A memory of samples (label, noise, hard, forget, eighths of scd a epoch), each counted in every epoch."""
    label, noise, hard, forget, eighths = np.array(samples).reshape(-1, 5).T
    memory = Memory.of(
        np.arange(len(label)), label.astype(np.int8), MemoryConfig(warm_up=WARM_UP), epochs=EPOCHS, features=8
    )
    memory.seen[:] = EPOCHS
    memory.noise[:] = noise
    memory.hard[:] = np.minimum(hard, COUNTED - noise)
    memory.clean[:] = COUNTED - memory.noise - memory.hard
    memory.forget[:] = forget
    memory.learning[:] = COUNTED - forget
    memory.scd_epochs[:] = scd_epochs
    memory.scd[:] = eighths / 8 * scd_epochs
    memory.history[:] = ((COUNTED - forget) / COUNTED)[None, :]
    return memory


def a_class(label, *, right=30, wrong=6, seed=0):
    """Samples that are mostly learned, then some that never are and lie far away."""
    draw = np.random.default_rng([seed, label])
    rows = [(label, draw.integers(0, 2), 0, draw.integers(0, 2), draw.integers(0, 3)) for _ in range(right)]
    return rows + [(label, draw.integers(15, 20), 0, draw.integers(15, 20), draw.integers(6, 9)) for _ in range(wrong)]


@given(st.lists(SAMPLE, min_size=1, max_size=12))
def test_the_literal_rule_asks_whether_a_flag_was_ever_set(samples):
    """Noise if ever noise; hard if never noise and ever hard; whatever the shares."""
    memory = remembered(samples)
    found = label_verdicts(memory, VerdictConfig(rule="literal"), seed=0)
    for row, verdict in enumerate(found):
        expected = "noise" if memory.noise[row] else "hard" if memory.hard[row] else "clean"
        assert verdict == expected == Verdict(verdict)


def test_noise_is_what_is_never_believed():
    """Of both classes the six that are never learned are noise, of the others those seldom learned are hard."""
    samples = a_class(0) + a_class(1)
    found = label_verdicts(remembered(samples), VerdictConfig(), seed=0)
    for start in (0, 36):
        assert (found[start + 30 : start + 36] == "noise").all()
        for row in range(start, start + 30):
            assert found[row] == "clean", samples[row]  # a forget rate of 1 / 20 is not above 0.05


def test_noise_needs_all_three():
    """Flagged often but learned, or unlearned but at home in its class: hard, and not noise."""
    flagged, unlearned, near, both = (1, 18, 0, 0, 8), (1, 2, 0, 18, 8), (1, 18, 0, 18, 1), (1, 18, 0, 18, 8)
    found = label_verdicts(remembered([*a_class(1), flagged, unlearned, near, both]), VerdictConfig(), seed=0)
    assert found[-4:].tolist() == ["clean", "hard", "hard", "noise"]
    without = label_verdicts(remembered([*a_class(1), near]), VerdictConfig(centroid=False), seed=0)
    assert without[-1] == "noise"


def test_thresholds_are_where_the_rule_has_them():
    """Of 20 epochs: noise from 10 on, hard from 2 flags on or from 2 forgotten on, for 1 is not above 0.05."""
    edges = {
        (1, 10, 0, 18, 8): "noise",
        (1, 9, 0, 18, 8): "hard",
        (1, 0, 2, 0, 0): "hard",
        (1, 0, 1, 0, 0): "clean",
        (1, 0, 0, 1, 0): "clean",
        (1, 0, 0, 2, 0): "hard",
    }
    found = label_verdicts(remembered([*a_class(1), *edges]), VerdictConfig(), seed=0)
    assert found[-len(edges) :].tolist() == list(edges.values())
    lower = VerdictConfig(noise_share=0.45, hard_share=0.05, forget=0.0)
    found = label_verdicts(remembered([*a_class(1), *edges]), lower, seed=0)
    assert found[-len(edges) :].tolist() == ["noise", "noise", "hard", "hard", "hard", "hard"]


def test_what_is_high_is_asked_within_a_class():
    """A class that is forgotten as often as the other's noise has no noise of its own where all are alike."""
    like_noise = [(0, 18, 0, 18, 8)] * 10
    found = label_verdicts(remembered([*a_class(1), *like_noise]), VerdictConfig(), seed=0)
    assert (found[-10:] == "hard").all()
    assert (found[30:36] == "noise").all()


def test_without_spread_nothing_is_noise():
    """All samples alike, or a single one of a class: no upper component, no warning, no NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for samples in ([(1, 20, 0, 20, 8)] * 5 + [(0, 0, 0, 0, 0)], [(1, 20, 0, 20, 8)], [(0, 20, 0, 20, 0)] * 2):
            found = label_verdicts(remembered(samples), VerdictConfig(), seed=0)
            assert "noise" not in found
            assert np.isfinite(suspicion(remembered(samples))).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(SAMPLE, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_no_verdict(samples, random):
    """Each sample takes its verdict and its suspicion along; equal samples have equal ones."""
    samples = samples + samples[:2]
    order = list(range(len(samples)))
    random.shuffle(order)
    memory, moved = remembered(samples), remembered([samples[row] for row in order])
    found, rank = label_verdicts(memory, QUICK, seed=3), suspicion(memory)
    assert (label_verdicts(moved, QUICK, seed=3) == found[order]).all()
    assert np.array_equal(suspicion(moved), rank[order])
    book = {}
    for sample, verdict, value in zip(samples, found, rank, strict=True):
        assert book.setdefault(sample, (verdict, value)) == (verdict, value)


@given(st.lists(SAMPLE, min_size=1, max_size=12))
def test_suspicion_is_the_mean_of_three_percent_ranks(samples):
    """(samples below + half of the equal ones + 1/2) / n within the label, for each quantity, by counting."""
    memory = remembered(samples)
    quantities = [
        [noise / COUNTED for noise in memory.noise],
        [1.0 if forget == COUNTED else forget / COUNTED for forget in memory.forget],
        list(-memory.history[-1].astype(float)),
    ]
    found = suspicion(memory)
    for row, value in enumerate(found):
        own = [other for other in range(len(samples)) if memory.label[other] == memory.label[row]]
        expected = 0
        for quantity in quantities:
            below = sum(quantity[other] < quantity[row] for other in own)
            equal = sum(quantity[other] == quantity[row] for other in own)
            expected += (below + (equal + 1) / 2) / len(own) / 3
        assert value == pytest.approx(expected)
    assert ((found > 0) & (found <= 1)).all()


def test_the_worst_in_all_is_at_the_top():
    """It has 1; wrong labels come before right ones in each class, also where the classes differ in size."""
    samples = [*a_class(0, right=50), *a_class(1, right=10), (1, 20, 0, 20, 9)]
    found = suspicion(remembered(samples))
    assert found[-1] == 1
    assert found[50:56].min() > found[:50].max()
    assert found[66:72].min() > found[56:66].max()


def test_a_sample_never_visited_is_an_error():
    """Nor one visited in warm-up only: there is no verdict without evidence, and no rank."""
    memory = remembered(a_class(1))
    for array in (memory.learning, memory.forget, memory.clean, memory.noise, memory.hard):
        array[[3, 7]] = 0
    for job in (
        lambda: label_verdicts(memory, VerdictConfig(), seed=0),
        lambda: label_verdicts(memory, VerdictConfig(rule="literal"), seed=0),
        lambda: suspicion(memory),
    ):
        with pytest.raises(TrainingError, match="2 of 36 samples were never visited after warm-up"):
            job()


def test_noise_by_distance_needs_distances():
    """A memory without firing patterns says so, instead of finding no noise; without the third condition it goes."""
    memory = remembered(a_class(1), scd_epochs=0)
    with pytest.raises(RecipeError, match="no centroid distances"):
        label_verdicts(memory, VerdictConfig(), seed=0)
    found = label_verdicts(memory, VerdictConfig(centroid=False), seed=0)
    assert (found[30:] == "noise").all()
    assert (label_verdicts(memory, VerdictConfig(rule="literal"), seed=0)[30:] == "noise").all()


@pytest.mark.parametrize(
    "wrong", [{"rule": "ever"}, {"noise_share": 1.5}, {"forget": -0.1}, {"hard_share": float("nan")}, {"share": 0.5}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        VerdictConfig(**wrong)
