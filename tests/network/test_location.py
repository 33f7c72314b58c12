"""Laws of the location loss, against its formulas written out with plain numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.network.location import LocationConfig, location_loss, soft_centroid

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(8, 90))


def a_map(seed, h, w, batch=3, scale=0.3):
    return torch.randn(batch, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def centroid_by_hand(plane, patch_px, sharpness):
    total = x = y = 0.0
    for i, row in enumerate(plane):
        for j, value in enumerate(row):
            share = 1 / (1 + math.exp(-sharpness * value))
            total += share
            x += share * ((j + 0.5) * patch_px / len(row) - 0.5)
            y += share * ((i + 0.5) * patch_px / len(plane) - 0.5)
    return x / total, y / total


def barrier_by_hand(z, t):
    return -math.log(-z) / t if z <= -1 / t**2 else t * z - math.log(1 / t**2) / t + 1 / t


@given(st.integers(0, 99), SIZES, st.floats(0.5, 20))
def test_the_centroid_is_the_weighted_mean_of_the_cells_middles(seed, sizes, sharpness):
    h, w, patch = sizes
    plane = a_map(seed, h, w)
    expected = [centroid_by_hand(each, patch, sharpness) for each in plane.tolist()]
    torch.testing.assert_close(
        soft_centroid(plane, patch, sharpness=sharpness), torch.tensor(expected, dtype=torch.float64)
    )


@given(st.integers(0, 99), st.sampled_from(["l2", "log-barrier"]), st.floats(1, 60), st.floats(1, 80))
def test_the_loss_of_each_sample_is_the_formulas(seed, kind, margin, t):
    plane = a_map(seed, 5, 4)
    place = torch.rand(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 39
    config = LocationConfig(kind=kind, margin_px=margin, barrier_t=t)
    expected = []
    for each, (x, y) in zip(plane.tolist(), place.tolist(), strict=True):
        cx, cy = centroid_by_hand(each, 40, 10)
        distance = math.hypot(cx - x, cy - y)
        expected.append(distance if kind == "l2" else barrier_by_hand(distance - margin, t))
    assert location_loss(plane, place, 40, config).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.floats(1, 100))
def test_the_barrier_has_neither_step_nor_kink_where_its_branches_meet(t):
    """On both sides of distance = margin - 1 / t^2 value and slope are the same."""
    plane, away = torch.zeros(1, 2, 2, dtype=torch.float64), 10 - 1 / t**2
    config = LocationConfig(kind="log-barrier", margin_px=10, barrier_t=t)
    slopes = []
    for step in (-1e-9, 1e-9):
        place = torch.tensor([[19.5 + away + step, 19.5]], dtype=torch.float64, requires_grad=True)
        loss = location_loss(plane, place, 40, config)
        loss.sum().backward()
        assert loss.item() == pytest.approx(barrier_by_hand(-1 / t**2, t), abs=1e-6)
        assert place.grad is not None
        slopes.append(place.grad[0, 0].item())
    assert slopes == pytest.approx([t, t], rel=1e-3)


def test_a_flat_map_points_at_the_patchs_middle():
    for h, w, patch in ((1, 1, 80), (5, 5, 80), (3, 7, 41)):
        for value in (-1000.0, 0.0, 1000.0):
            found = soft_centroid(torch.full((2, h, w), value), patch, sharpness=10)
            torch.testing.assert_close(found, torch.full((2, 2), (patch - 1) / 2))


def test_a_single_bright_cell_is_pointed_at():
    plane = torch.full((1, 5, 5), -100.0)
    plane[0, 1, 3] = 1.0
    torch.testing.assert_close(soft_centroid(plane, 80, sharpness=10), torch.tensor([[55.5, 23.5]]))


@pytest.mark.parametrize("kind", ["l2", "log-barrier"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradients_are_finite_and_a_sample_without_a_figure_has_none(kind, scale):
    """Even where the map is flat and points exactly at its figure, or is far beyond what a sigmoid resolves."""
    plane = (a_map(1, 4, 4, batch=3).float() * scale).requires_grad_()
    place = torch.tensor([[19.5, 19.5], [math.nan, math.nan], [2.0, 30.0]])
    loss = location_loss(plane, place, 40, LocationConfig(kind=kind))
    loss.sum().backward()
    assert loss[1].item() == 0
    assert torch.isfinite(loss).all()
    assert plane.grad is not None
    assert torch.isfinite(plane.grad).all()
    assert not plane.grad[1].any()


@pytest.mark.parametrize("kind", ["l2", "log-barrier"])
def test_the_gradient_is_that_of_small_differences(kind):
    plane = a_map(3, 3, 4, batch=4).requires_grad_()
    place = torch.tensor([[3.0, 8.0], [20.0, 20.0], [31.0, 2.0], [math.nan, 0.0]], dtype=torch.float64)
    config = LocationConfig(kind=kind)
    assert torch.autograd.gradcheck(lambda each: location_loss(each, place, 40, config), plane)


def test_descending_moves_the_map_onto_the_figure():
    plane = torch.zeros(1, 5, 5, requires_grad=True)
    place = torch.tensor([[60.0, 20.0]])
    optimiser = torch.optim.Adam([plane], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        location_loss(plane, place, 80, LocationConfig()).sum().backward()
        optimiser.step()
    assert location_loss(plane, place, 80, LocationConfig()).item() < 3


def test_half_precision_is_left_before_the_distance():
    """Under autocast and with half-precision maps the loss is single precision."""
    plane, place = a_map(5, 5, 5), torch.full((3, 2), 11.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = location_loss(plane.float(), place, 40, LocationConfig())
        assert location_loss(plane.bfloat16(), place, 40, LocationConfig()).dtype == torch.float32
    torch.testing.assert_close(found, location_loss(plane.float(), place, 40, LocationConfig()), rtol=0, atol=0)
