"""Schedules are arithmetic by hand."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from mitosieve.train.schedule import TrainConfig


def test_rates_hold_or_go_straight():
    """'hold' keeps the rate of the last point reached, the point itself included; 'linear' joins the points."""
    rates = ((0.0, 0.1), (0.2, 0.01), (0.8, 0.001))
    held = TrainConfig(rates=rates)
    assert [held.rate(done) for done in (0, 0.1999, 0.2, 0.5, 0.8, 1)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    straight = TrainConfig(rates=rates, between="linear")
    expected = [0.1, 0.055, 0.01, 0.0055, 0.001, 0.001]
    assert np.allclose([straight.rate(done) for done in (0, 0.1, 0.2, 0.5, 0.8, 1)], expected)


def test_length_in_epochs_or_in_patches():
    """Steps are passes over the figures divided by figures a batch, rounded up; patch_visits overrules."""
    assert TrainConfig(epochs=10).steps(figures_per_epoch=97, figures_per_batch=48) == math.ceil(970 / 48)
    assert TrainConfig(epochs=10, patch_visits=1000).steps(97, 48) == math.ceil(1000 / 192)
    assert TrainConfig(epochs=0.001).steps(1, 48) == 1


@pytest.mark.parametrize(
    "rates",
    [(), ((0.1, 1.0),), ((0, 1.0), (0, 2.0)), ((0, 1.0), (1.1, 1.0)), ((0, 1.0), (0.5, -1.0)), ((0, float("nan")),)],
)
def test_impossible_schedules_are_refused(rates):
    """Shares start at 0, ascend and end by 1; no rate is negative."""
    with pytest.raises(ValidationError, match="rate"):
        TrainConfig(rates=rates)


@pytest.mark.parametrize("key", ["epochs", "weight_decay"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_length_is_a_number(key, value):
    """An infinite one ended in a traceback, after frames and places were made."""
    with pytest.raises(ValidationError, match="finite"):
        TrainConfig(**{key: value})


@pytest.mark.parametrize(
    ("config", "warm_up", "said"),
    [
        ({"epochs": 2.5}, 0, "whole number"),
        ({"epochs": 3, "patch_visits": 100}, 0, "patch_visits"),
        ({"epochs": 3}, 3, "warm-up"),
    ],
)
def test_what_counts_by_epochs_needs_whole_ones(config, warm_up, said):
    """Half an epoch, a length in patches, or nothing after the warm-up: each is refused by name."""
    with pytest.raises(ValueError, match=said):
        TrainConfig(**config).whole_epochs(warm_up=warm_up)
    assert TrainConfig(epochs=3).whole_epochs(warm_up=2) == 3
