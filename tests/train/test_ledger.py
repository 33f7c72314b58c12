"""Laws of the ledger: a dictionary would book the same."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import FrameError
from mitosieve.train.ledger import Ledger

N = 6
VISIT = st.tuples(st.integers(0, N - 1), st.floats(0, 20, width=32), st.floats(0, 1, width=32))


def a_ledger(n=N):
    return Ledger.of(np.arange(n, dtype=np.int64) * 10**15 - 5)


def recorded(seed=0, batches=8):
    ledger, draw = a_ledger(), np.random.default_rng(seed)
    for _ in range(batches):
        ledger.record(draw.integers(0, N - 1, 4), draw.random(4), draw.random(4))
    ledger.record_mined(np.array([1, 3]), np.array([0.25, 0.75]))
    return ledger


def same(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True) for f in fields(Ledger))


@given(st.lists(st.lists(VISIT, min_size=1, max_size=8), max_size=6))
def test_booking_equals_a_dictionary(batches):
    """Each visit counts, rows repeated within a batch too; the mean is over all visits, the last place is the last."""
    ledger, book = a_ledger(), {}
    for batch in batches:
        ledger.record(
            np.array([row for row, _, _ in batch]),
            np.array([loss for _, loss, _ in batch]),
            np.array([score for _, _, score in batch]),
        )
        for row, loss, score in batch:
            book.setdefault(row, []).append((loss, score))
    for row in range(N):
        visits = book.get(row, [])
        assert ledger.times_seen[row] == len(visits)
        if visits:
            assert ledger.loss_mean[row] == pytest.approx(np.mean([loss for loss, _ in visits]), rel=1e-5, abs=1e-6)
            assert (ledger.loss_last[row], ledger.score_last[row]) == visits[-1]
        else:
            assert np.isnan([ledger.loss_mean[row], ledger.loss_last[row], ledger.score_last[row]]).all()
        assert np.isnan(ledger.score_mined[row])


def test_mined_scores_are_apart_from_training():
    """Scoring a pool counts no visit and changes no loss."""
    ledger, before = recorded(), recorded()
    ledger.record_mined(np.array([0, 5]), np.array([0.5, 1.0]))
    assert ledger.score_mined[[0, 1, 3, 5]].tolist() == [0.5, 0.25, 0.75, 1.0]
    assert np.isnan(ledger.score_mined[[2, 4]]).all()
    assert (ledger.times_seen == before.times_seen).all()
    assert np.array_equal(ledger.loss_mean, before.loss_mean, equal_nan=True)


def test_saved_and_loaded_is_the_same(tmp_path):
    """Every column comes back, what was never seen as NaN; equal ledgers are equal bytes, every time."""
    ledger = recorded()
    first = ledger.save(tmp_path / "a.parquet").read_bytes()
    loaded = Ledger.load(tmp_path / "a.parquet")
    assert same(loaded, ledger)
    assert loaded.save(tmp_path / "b.parquet").read_bytes() == first
    assert recorded().save(tmp_path / "c.parquet").read_bytes() == first
    assert recorded(seed=1).save(tmp_path / "d.parquet").read_bytes() != first
    loaded.record(np.array([0]), np.array([1.0]), np.array([0.5]))  # it can be gone on with


def test_restoring_takes_every_column_in_place():
    """A ledger restored from another's columns equals it; its arrays stay the ones others hold."""
    ledger, other = a_ledger(), recorded()
    held = ledger.loss_mean
    ledger.restore(other.arrays())
    assert same(ledger, other)
    assert held is ledger.loss_mean
    other.record(np.array([2]), np.array([9.0]), np.array([0.1]))
    assert not same(ledger, other)


def test_a_ledger_of_another_index_is_refused():
    """Other ids, more ids or another order are another index."""
    for ids in (np.arange(N), np.arange(N + 1), a_ledger().patch_id[::-1]):
        with pytest.raises(FrameError, match="another patch index"):
            a_ledger().restore(Ledger.of(np.array(ids, dtype=np.int64)).arrays())


def test_an_id_stands_once():
    """Two rows of one id would share one history."""
    with pytest.raises(ValueError, match="twice"):
        Ledger.of(np.array([1, 2, 1], dtype=np.int64))
