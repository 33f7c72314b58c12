"""Laws of the dynamic memory: a slow loop over samples would remember the same."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mitosieve.errors import FormatError, FrameError, RecipeError, TrainingError
from mitosieve.method.dasc.rules.memory import Memory, MemoryConfig
from mitosieve.run import layout

N, F, EPOCHS = 5, 11, 6
LABEL = np.array([1, 0, 1, 0, 0], dtype=np.int8)
CONFIG = MemoryConfig(momentum=0.9, warm_up=2)
PROBABILITY = st.sampled_from([0.0, 0.25, 0.5, 0.5625, 0.75, 1.0]) | st.floats(0, 1, width=32)
VISIT = st.tuples(st.integers(0, N - 1), st.tuples(PROBABILITY, PROBABILITY, PROBABILITY), st.integers(0, 2**F - 1))
TRAINING = st.lists(st.lists(st.lists(VISIT, min_size=1, max_size=5), max_size=3), min_size=EPOCHS, max_size=EPOCHS)
COUNTS = ("seen", "learning", "forget", "clean", "hard", "noise", "scd_epochs")
STATE = (*COUNTS, "scd", "centroid", "confidence", "history", "ended", "visited")


def a_memory(label=LABEL, config=CONFIG, epochs=EPOCHS, features=F):
    ids = np.arange(len(label), dtype=np.int64) * 10**15 - 5
    return Memory.of(ids, np.asarray(label), config, epochs=epochs, features=features)


def bits(number):
    return [bool(number >> place & 1) for place in range(F)]


def visit(memory, batch):
    memory.visit(
        np.array([row for row, _, _ in batch]),
        np.array([probability for _, probability, _ in batch], dtype=np.float32),
        np.array([bits(number) for _, _, number in batch]) if memory.features else None,
    )


def trained(training, memory=None, features=F):
    memory = memory or a_memory(features=features)
    for epoch, batches in enumerate(training):
        for batch in batches:
            visit(memory, batch)
        memory.end_epoch(epoch)
    return memory


def a_training(seed=0, epochs=EPOCHS, n=N):
    draw = np.random.default_rng(seed)
    return [
        [
            [(int(row), tuple(draw.random(3, dtype=np.float32)), int(draw.integers(2**F))) for row in half]
            for half in np.array_split(draw.permutation(n), 2)
        ]
        for _ in range(epochs)
    ]


def same(a, b):
    return all(np.array_equal(x, b.arrays()[name], equal_nan=True) for name, x in a.arrays().items())


def slow_distances(patterns, labels):
    """Root of the sum over features of the squared difference from the class mean."""
    answer = []
    for pattern, label in zip(patterns, labels, strict=True):
        own = [other for other, its in zip(patterns, labels, strict=True) if its == label]
        mean = [sum(column) / len(own) for column in zip(*own, strict=True)]
        answer.append(math.sqrt(sum((a - m) ** 2 for a, m in zip(pattern, mean, strict=True))))
    return answer


class SlowMemory:
    """The memory by a dictionary and loops."""

    def __init__(self):
        names = (*COUNTS, "scd")
        self.rows = [dict.fromkeys(names, 0) | {"d": 1 - 1 / N, "c": [1 / N] * 3, "past": {}} for _ in range(N)]

    def epoch(self, epoch, batches):
        last = {row: (probability, bits(number)) for batch in batches for row, probability, number in batch}
        rows = sorted(last)
        distances = slow_distances([last[row][1] for row in rows], [LABEL[row] for row in rows])
        keep = 0.9 ** (100 / EPOCHS)
        for row, distance in zip(rows, distances, strict=True):
            spread = max(distances) - min(distances)
            scaled = (distance - min(distances)) / spread if spread > 1e-9 else 0
            self.one(self.rows[row], int(LABEL[row]), [float(p) for p in last[row][0]], scaled, epoch, keep)

    def one(self, book, label, figure, scaled, epoch, keep):
        of_label = [p if label else 1 - p for p in figure]
        if epoch >= CONFIG.warm_up:
            sure = sum(of_label[view] > book["c"][view] for view in (0, 1))
            book[("noise", "hard", "clean")[sure]] += 1
            book["learning" if of_label[2] > 0.5 else "forget"] += 1
        book["c"] = [keep * c + (1 - keep) * max(p, 1 - p) for c, p in zip(book["c"], figure, strict=True)]
        book["d"] = keep * book["d"] - (1 - keep) * scaled
        if epoch > CONFIG.warm_up:
            book["scd"] += scaled
            book["scd_epochs"] += 1
        book["past"][epoch] = of_label[2]
        book["seen"] += 1


@settings(max_examples=60)
@given(TRAINING)
def test_the_memory_is_that_of_a_slow_loop(training):
    """Whoever is visited when, in batches that repeat rows too: every count, running value and history agrees."""
    memory, slow = trained(training), SlowMemory()
    for epoch, batches in enumerate(training):
        slow.epoch(epoch, batches)
    for row, book in enumerate(slow.rows):
        for name in COUNTS:
            assert getattr(memory, name)[row] == book[name], name
        assert memory.scd[row] == pytest.approx(book["scd"], abs=1e-9)
        assert memory.centroid[row] == pytest.approx(book["d"], abs=1e-9)
        assert memory.confidence[:, row].tolist() == pytest.approx(book["c"], abs=1e-12)
        for epoch in range(EPOCHS):
            expected = book["past"].get(epoch, np.nan)
            assert memory.history[epoch, row] == pytest.approx(expected, abs=5e-4, nan_ok=True)
        past = [p for epoch, p in book["past"].items() if epoch >= CONFIG.warm_up]
        assert memory.mean_confidence()[row] == pytest.approx(np.mean(past) if past else 0, abs=5e-4)


@settings(max_examples=40)
@given(TRAINING)
def test_counts_add_up(training):
    """Each counted epoch is one of clean, hard, noise and one of learning, forget; shares and rates lie in 0..1."""
    memory = trained(training)
    assert (memory.clean + memory.hard + memory.noise == memory.counted).all()
    assert (memory.counted <= memory.seen).all()
    assert (memory.scd_epochs <= memory.counted).all()
    for rate in (memory.forget_rate, memory.noise_share, memory.hard_share, memory.mean_confidence()):
        assert ((rate >= 0) & (rate <= 1)).all()
    assert ((memory.centroid_rate >= 0) & (memory.centroid_rate <= 1 + 1e-6)).all()


@settings(max_examples=40)
@given(TRAINING, st.permutations(range(N)))
def test_the_order_of_rows_does_not_matter(training, order):
    """Where a sample stands in the index, and the others around it, changes no digit of its memory."""
    place = {row: k for k, row in enumerate(order)}
    moved = [[[(place[row], *rest) for row, *rest in batch] for batch in batches] for batches in training]
    one = trained(training)
    other = trained(moved, a_memory(label=LABEL[list(order)]))
    for name in STATE:
        mine, its = getattr(one, name), getattr(other, name)
        expected = mine if name == "ended" else mine[..., list(order)]
        assert np.array_equal(its, expected, equal_nan=True), name


def test_two_epochs_by_hand():
    """Two samples, momentum 0.9 in 100 epochs, no warm-up: the numbers of DASC's public code with pencil and paper."""
    memory = a_memory(label=[1, 0], config=MemoryConfig(momentum=0.9, warm_up=0), epochs=100, features=0)
    assert memory.confidence.tolist() == [[0.5, 0.5]] * 3
    assert memory.centroid.tolist() == [0.5, 0.5]
    rows = np.array([0, 1])
    memory.visit(rows, np.array([[0.75, 0.25, 0.75], [0.5, 0.25, 0.5]]))
    memory.end_epoch(0)
    # sample 0, a figure: weak .75 > .5, strong .25 not: hard; fused .75: learned
    # sample 1, no figure: weak .5 not above .5, strong .75 is: hard; fused at a tie: not learned
    assert memory.hard.tolist() == [1, 1]
    assert (memory.learning.tolist(), memory.forget.tolist()) == ([1, 0], [0, 1])
    assert memory.confidence[:, 0].tolist() == pytest.approx([0.525, 0.525, 0.525])  # the larger class, right or not
    assert memory.confidence[:, 1].tolist() == pytest.approx([0.5, 0.525, 0.5])
    memory.visit(rows, np.array([[0.53, 0.53, 0.4], [0.5, 0.5, 0.1]]))
    memory.end_epoch(1)
    # sample 0: .53 > .525 twice: clean, although updated first c would be .5255; sample 1: .5 not > .5, .5 not > .525
    assert memory.clean.tolist() == [1, 0]
    assert memory.noise.tolist() == [0, 1]
    assert (memory.learning.tolist(), memory.forget.tolist()) == ([1, 1], [1, 1])
    assert memory.forget_rate.tolist() == [0.5, 0.5]
    assert memory.noise_share.tolist() == [0, 0.5]
    assert memory.hard_share.tolist() == [0.5, 0.5]


def test_memory_is_compared_before_it_is_updated():
    """A sample a little surer than its memory is clean even where the updated memory would be surer than it."""
    memory = a_memory(label=[1, 0], config=MemoryConfig(momentum=1e-9, warm_up=0), epochs=100, features=0)
    memory.visit(np.array([0]), np.array([[0.75, 0.75, 0.75]]))
    memory.end_epoch(0)
    assert memory.confidence[0, 0] == pytest.approx(0.75)
    assert memory.clean[0] == 1


@pytest.mark.parametrize("label", [0, 1])
def test_an_undecided_head_has_learned_neither_label(label):
    """A tie at 0.5 counts as forgotten for both classes; just beyond it decides."""
    memory = a_memory(label=[label] * 3, config=MemoryConfig(warm_up=0), epochs=1, features=0)
    beyond = np.nextafter(np.float32(0.5), np.float32(label))
    short = np.nextafter(np.float32(0.5), np.float32(1 - label))
    memory.visit(np.arange(3), np.array([[0.5, 0.5, fused] for fused in (0.5, beyond, short)]))
    memory.end_epoch(0)
    assert memory.learning.tolist() == [0, 1, 0]
    assert memory.forget.tolist() == [1, 0, 1]


@pytest.mark.parametrize("epochs", [1, 7, 20, 100, 250])
def test_every_training_fills_the_memory_alike(epochs):
    """Constant probabilities end at the same c after E epochs of momentum^(100/E) as after 100 of momentum."""
    memory = a_memory(config=MemoryConfig(warm_up=0), epochs=epochs, features=0)
    for epoch in range(epochs):
        memory.visit(np.arange(N), np.full((N, 3), 0.875))
        memory.end_epoch(epoch)
    fill = 1 - 0.99**100
    assert memory.confidence.ravel().tolist() == pytest.approx([1 / N + fill * (0.875 - 1 / N)] * 3 * N, rel=1e-9)
    assert memory.config.momentum_of(100) == 0.99
    assert memory.config.momentum_of(epochs) ** epochs == pytest.approx(0.99**100)


def test_equal_distances_are_equal_numbers_and_scale_to_nothing():
    """Three patterns of one feature each are all as far from their mean, in both classes: SCD is 0, not NaN."""
    memory = a_memory(label=[1, 1, 1, 0, 0, 0], config=MemoryConfig(warm_up=0), epochs=3)
    one_each = np.eye(3, F, dtype=bool)
    for epoch in range(3):
        memory.visit(np.arange(6), np.full((6, 3), 0.75), np.concatenate([one_each, one_each[:, ::-1]]))
        memory.end_epoch(epoch)
    assert (memory.scd == 0).all()
    assert memory.scd_epochs.tolist() == [2] * 6
    assert memory.centroid_rate.tolist() == [5e-7] * 6


def test_identical_samples_carry_no_nan_on():
    """All samples the same in everything: numbers stay numbers."""
    memory = trained([[[(row, (0.5, 0.5, 0.5), 3) for row in range(N)]]] * EPOCHS)
    for values in (memory.scd, memory.centroid, memory.confidence, memory.history, memory.centroid_rate):
        assert np.isfinite(values).all()
    assert (memory.scd == 0).all()


def test_rates_where_nothing_was_counted():
    """Not visited after warm-up: no share, no centroid rate, and never learned."""
    memory = trained([[[(0, (0.9, 0.9, 0.9), 1)]]] * 2 + [[]] * 4)
    assert memory.seen.tolist() == [2, 0, 0, 0, 0]
    for rate in (memory.noise_share, memory.hard_share, memory.centroid_rate, memory.mean_confidence()):
        assert (rate == 0).all()
    assert (memory.forget_rate == 1).all()
    assert np.isnan(memory.history[:, 1:]).all()


@pytest.mark.parametrize("features", [0, F])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(features):
    """A checkpoint in the midst of an epoch, restored into a new memory: the end is the same to the last bit."""
    training = a_training(seed=2)
    whole = trained(training, features=features)
    first = a_memory(features=features)
    for epoch in range(3):
        for batch in training[epoch]:
            visit(first, batch)
        first.end_epoch(epoch)
    visit(first, training[3][0])
    saved = {name: array.copy() for name, array in first.arrays().items()}
    visit(first, training[3][1])  # lost with the process
    second = a_memory(features=features)
    held = second.scd
    second.restore(saved)
    assert held is second.scd
    visit(second, training[3][1])
    second.end_epoch(3)
    for epoch in (4, 5):
        for batch in training[epoch]:
            visit(second, batch)
        second.end_epoch(epoch)
    assert same(second, whole)


@pytest.mark.parametrize("features", [0, F])
def test_saved_and_loaded_is_the_same(tmp_path, features):
    """Everything comes back, and equal memories are equal bytes, every time."""
    memory = trained(a_training(), features=features)
    files = {}
    for name in ("a", "b", "c"):
        (Memory.load(tmp_path / "a") if name == "b" else memory).save(tmp_path / name)
        files[name] = [(tmp_path / name / file).read_bytes() for file in (layout.MEMORY, layout.MEMORY_HISTORY)]
    loaded = Memory.load(tmp_path / "a")
    assert same(loaded, memory)
    assert (loaded.config, loaded.epochs, loaded.features) == (CONFIG, EPOCHS, features)
    assert files["a"] == files["b"] == files["c"]
    trained(a_training(seed=1), features=features).save(tmp_path / "d")
    assert (tmp_path / "d" / layout.MEMORY).read_bytes() != files["a"][0]
    with np.load(tmp_path / "a" / layout.MEMORY_HISTORY) as content:
        assert content["fused"].dtype == np.float16
        assert content["fused"].shape == (EPOCHS, N)
        assert json.loads(str(content["settings"]))["epochs"] == EPOCHS


def test_a_memory_can_be_saved_in_the_midst_of_a_training(tmp_path):
    """Between epochs it can, and goes on after loading; within one it is refused, for the files hold no open epoch."""
    training = a_training()
    memory = trained(training[:3])
    memory.save(tmp_path)
    loaded = Memory.load(tmp_path)
    for epoch in (3, 4, 5):
        for batch in training[epoch]:
            visit(loaded, batch)
        loaded.end_epoch(epoch)
    assert same(loaded, trained(training))
    visit(memory, training[3][0])
    with pytest.raises(ValueError, match="an epoch is open"):
        memory.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_memory_of_another_index_is_refused():
    """Other ids, another order, other labels, epochs or features: refused, and nothing is taken."""
    memory = a_memory()
    other = {name: array.copy() for name, array in trained(a_training()).arrays().items()}
    for name, wrong, what in (
        ("patch_id", np.arange(N), "another patch index"),
        ("patch_id", other["patch_id"][::-1], "another patch index"),
        ("patch_id", np.arange(N + 1), "another patch index"),
        ("label", 1 - other["label"], "other labels"),
        ("history", other["history"][1:], "number of epochs"),
        ("active", other["active"][:, 1:], "number of features"),
    ):
        with pytest.raises(FrameError, match=what):
            memory.restore({**other, name: wrong})
    assert same(memory, a_memory())


def test_files_that_are_no_memory_are_refused(tmp_path):
    """Missing, broken, or of two runs: a message that names the folder, and no half memory."""
    with pytest.raises(FormatError, match="cannot be read as a memory"):
        Memory.load(tmp_path)
    trained(a_training()).save(tmp_path)
    good = {file: (tmp_path / file).read_bytes() for file in (layout.MEMORY, layout.MEMORY_HISTORY)}
    for file, content in good.items():
        for broken in (b"", content[: len(content) // 2], b"no such format"):
            (tmp_path / file).write_bytes(broken)
            with pytest.raises(FormatError, match=tmp_path.name):
                Memory.load(tmp_path)
        (tmp_path / file).write_bytes(content)
    Memory.of(np.arange(N), LABEL, CONFIG, epochs=EPOCHS, features=F).save(tmp_path / "other")
    (tmp_path / layout.MEMORY_HISTORY).write_bytes((tmp_path / "other" / layout.MEMORY_HISTORY).read_bytes())
    with pytest.raises(FrameError, match="different patch indices"):
        Memory.load(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_probability_that_is_none_stops_the_training(bad):
    """It is refused at once, and nothing of the batch is remembered."""
    memory = a_memory(features=0)
    with pytest.raises(TrainingError, match=r"not a number of 0\.\.1"):
        memory.visit(np.array([0, 1]), np.array([[0.5, 0.5, 0.5], [0.5, bad, 0.5]]))
    assert same(memory, a_memory(features=0))


def test_shapes_that_do_not_fit_are_refused():
    """Three heads, one row each, and patterns of the length that was told, or none."""
    rows, probability = np.array([0, 1]), np.full((2, 3), 0.5)
    for features, wrong in (
        (F, (probability[:, :2], np.ones((2, F), bool))),
        (F, (probability[:1], np.ones((2, F), bool))),
        (F, (probability, np.ones((2, F - 1), bool))),
        (F, (probability, None)),
        (0, (probability, np.ones((2, F), bool))),
    ):
        with pytest.raises(ValueError, match="must be"):
            a_memory(features=features).visit(rows, *wrong)


def test_an_epoch_ends_once():
    """Not twice, not before the first, not after the last; without visits it ends and changes nothing."""
    memory = a_memory()
    memory.end_epoch(0)
    assert np.array_equal(memory.confidence, a_memory().confidence)
    for epoch in (0, -1, EPOCHS):
        with pytest.raises(ValueError, match=f"epoch {epoch}"):
            memory.end_epoch(epoch)


def test_what_cannot_be_remembered_is_refused():
    """No samples, an id twice, other labels than 0 and 1, nothing but warm-up, settings out of range."""
    ids = np.arange(3)
    with pytest.raises(TrainingError, match="no sample"):
        a_memory(label=np.zeros(0, np.int8))
    with pytest.raises(ValueError, match="twice"):
        Memory.of(np.array([1, 2, 1]), np.zeros(3, np.int8), CONFIG, epochs=EPOCHS)
    for label in (np.array([0, 1, 2]), np.array([0, 1]), np.zeros((3, 1), np.int8)):
        with pytest.raises(ValueError, match="labels"):
            Memory.of(ids, label, CONFIG, epochs=EPOCHS)
    for epochs in (0, 1, 2):
        with pytest.raises(RecipeError, match="warm-up"):
            Memory.of(ids, np.zeros(3, np.int8), CONFIG, epochs=epochs)
    for wrong in ({"momentum": 1.0}, {"momentum": 0.0}, {"momentum": math.nan}, {"warm_up": -1}, {"warmup": 3}):
        with pytest.raises(ValidationError):
            MemoryConfig(**wrong)
