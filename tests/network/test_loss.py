"""Laws of the losses, against the paper's equations written out with plain numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.network.loss import (
    LossConfig,
    cross_entropy,
    generalised_cross_entropy,
    per_sample_loss,
    semi_focal,
    smoothed_cross_entropy,
)

LOGIT = st.floats(-30, 30)
CLAMPED_BELOW = 1 - math.sqrt(0.6)


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def equation_6(logit, target, alpha=5.0, gamma=2.0, clamp=0.6):
    """-alpha min((1 - p_t)^gamma, T) log(p_t); 1 - p_t and p_t apart, for precision."""
    z = logit if target else -logit
    p_t, rest = sigmoid(z), sigmoid(-z)
    return -alpha * min(rest**gamma, clamp) * math.log(p_t)


def loss_of(logits, targets, **config):
    z = torch.tensor(logits, dtype=torch.float64)
    return per_sample_loss(z, torch.tensor(targets, dtype=torch.float64), LossConfig(**config))


def logit_at(p_t):
    return math.log(p_t / (1 - p_t))


@given(
    st.lists(st.tuples(LOGIT, st.integers(0, 1)), min_size=1, max_size=6),
    st.floats(0.1, 8),
    st.floats(0, 4),
    st.floats(0.05, 1),
)
def test_semi_focal_is_equation_6_for_each_sample(samples, alpha, gamma, clamp):
    """Every sample's loss is the equation's, whatever its company: nobody averages."""
    logits, targets = zip(*samples, strict=True)
    found = loss_of(logits, targets, alpha=alpha, gamma=gamma, clamp=clamp)
    expected = [equation_6(z, t, alpha, gamma, clamp) for z, t in samples]
    assert found.shape == (len(samples),)
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("target", [0, 1])
def test_the_clamp_sets_in_without_a_step(target):
    """At p_t = 1 - sqrt(0.6) = 0.2254 both branches agree; below it the loss is 0.6 alpha times the cross-entropy."""
    assert pytest.approx(0.2254, abs=5e-5) == CLAMPED_BELOW
    sign = 1 if target else -1
    around = [sign * logit_at(CLAMPED_BELOW + d) for d in (-1e-6, 0, 1e-6)]
    low, mid, high = loss_of(around, [target] * 3).tolist()
    assert low == pytest.approx(mid, rel=1e-4)
    assert high == pytest.approx(mid, rel=1e-4)
    for p_t in (1e-6, 0.05, 0.2, 0.225):
        value = loss_of([sign * logit_at(p_t)], [target]).item()
        assert value == pytest.approx(0.6 * 5 * -math.log(p_t))
    for p_t in (0.226, 0.5, 0.99):
        value = loss_of([sign * logit_at(p_t)], [target]).item()
        assert value == pytest.approx(5 * (1 - p_t) ** 2 * -math.log(p_t))


@given(LOGIT, st.integers(0, 1), st.floats(0, 4))
def test_without_clamp_it_is_the_focal_loss(logit, target, gamma):
    """clamp = 1 clamps nothing: semi-focal equals focal; and the kind 'focal' does not look at clamp."""
    semi = loss_of([logit], [target], gamma=gamma, clamp=1.0)
    focal = loss_of([logit], [target], gamma=gamma, kind="focal", clamp=0.3)
    assert semi.item() == focal.item()
    assert semi.item() == pytest.approx(equation_6(logit, target, gamma=gamma, clamp=1), rel=1e-6, abs=1e-12)


@given(LOGIT, st.integers(0, 1), st.floats(0.05, 1))
def test_without_focus_it_is_the_cross_entropy(logit, target, clamp):
    """gamma = 0 leaves min(1, T) times the cross-entropy; the kind 'cross-entropy' is it alone, without alpha."""
    z, t = torch.tensor([logit], dtype=torch.float64), torch.tensor([float(target)], dtype=torch.float64)
    plain = -math.log(sigmoid(logit if target else -logit))
    assert cross_entropy(z, t).item() == pytest.approx(plain, rel=1e-6, abs=1e-12)
    assert semi_focal(z, t, gamma=0, clamp=clamp).item() == pytest.approx(clamp * plain, rel=1e-6, abs=1e-12)
    assert loss_of([logit], [target], kind="cross-entropy").item() == pytest.approx(plain, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind", ["cross-entropy", "focal", "semi-focal"])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_extreme_logits_give_finite_losses_and_gradients(kind, gamma, target):
    """In single precision, at logits of +-100 and 0, loss and gradient are finite and pull towards the target."""
    logit = torch.tensor([-100.0, -20.0, 0.0, 20.0, 100.0], requires_grad=True)
    loss = per_sample_loss(logit, torch.full((5,), target), LossConfig(kind=kind, gamma=gamma))
    loss.sum().backward()
    assert logit.grad is not None
    assert torch.isfinite(loss).all()
    assert (loss >= 0).all()
    assert torch.isfinite(logit.grad).all()
    assert (logit.grad * (1 if target == 0 else -1) >= 0).all()


@given(LOGIT, st.floats(0.1, 8))
def test_alpha_for_figures_alone(logit, alpha):
    """alpha_mode 'positive' weighs figures by alpha and the rest by 1; 'both' scales both."""
    one = loss_of([logit, logit], [1, 0], alpha=1.0)
    both = loss_of([logit, logit], [1, 0], alpha=alpha)
    figures = loss_of([logit, logit], [1, 0], alpha=alpha, alpha_mode="positive")
    assert both.tolist() == pytest.approx((one * alpha).tolist(), rel=1e-6)
    assert figures.tolist() == pytest.approx([one[0].item() * alpha, one[1].item()], rel=1e-6)


def test_the_factor_is_part_of_the_gradient():
    """The derivative of the loss is that of the whole product, as small differences show."""
    config = LossConfig()
    logit = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    target = (torch.arange(41) % 2).double()
    per_sample_loss(logit, target, config).sum().backward()
    with torch.no_grad():
        rise = per_sample_loss(logit + 1e-6, target, config) - per_sample_loss(logit - 1e-6, target, config)
    torch.testing.assert_close(logit.grad, rise / 2e-6, rtol=1e-5, atol=1e-7)


@given(st.lists(st.tuples(LOGIT, st.integers(0, 1)), min_size=1, max_size=6), st.floats(0.01, 1))
def test_generalised_cross_entropy_is_its_formula(samples, q):
    """(1 - p_t^q) / q for each sample, between 0 and 1 / q."""
    logits, targets = (torch.tensor(each, dtype=torch.float64) for each in zip(*samples, strict=True))
    found = generalised_cross_entropy(logits, targets, q=q)
    expected = [-math.expm1(q * math.log(sigmoid(z if t else -z))) / q for z, t in samples]
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert ((found >= 0) & (found <= 1 / q)).all()


def test_generalised_cross_entropy_lies_between_the_cross_entropy_and_the_missing_probability():
    logit = torch.linspace(-8, 8, 33, dtype=torch.float64)
    target = (torch.arange(33) % 2).double()
    missing = 1 - torch.sigmoid(torch.where(target > 0.5, logit, -logit))
    torch.testing.assert_close(generalised_cross_entropy(logit, target, q=1.0), missing)
    torch.testing.assert_close(
        generalised_cross_entropy(logit, target, q=1e-7), cross_entropy(logit, target), rtol=1e-5, atol=1e-12
    )


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_generalised_cross_entropy_lets_go_of_what_is_surely_mislabelled(target):
    """In single precision the gradient is finite at any logit, and vanishes as p_t does."""
    sign = 1 if target else -1
    logit = (sign * torch.tensor([-1e4, -200.0, -50.0, -0.5, 50.0])).requires_grad_()
    loss = generalised_cross_entropy(logit, torch.full((5,), target))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert loss[0].item() == pytest.approx(1 / 0.7)
    assert logit.grad is not None
    assert torch.isfinite(logit.grad).all()
    p_t = torch.sigmoid(sign * logit.detach())
    torch.testing.assert_close(logit.grad, -sign * p_t**0.7 * torch.sigmoid(-sign * logit.detach()))


@given(LOGIT, st.integers(0, 1), st.floats(0, 0.9))
def test_smoothing_mixes_the_cross_entropies_of_both_classes(logit, target, smoothing):
    """(1 - smoothing) of the true class's loss, and smoothing of the mean of both; 0 smooths nothing."""
    z, t = torch.tensor([logit], dtype=torch.float64), torch.tensor([target])
    own, other = (-math.log(sigmoid(s * logit)) for s in ((1, -1) if target else (-1, 1)))
    expected = (1 - smoothing) * own + smoothing * (own + other) / 2
    assert smoothed_cross_entropy(z, t, smoothing=smoothing).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert smoothed_cross_entropy(z, t, smoothing=0).item() == cross_entropy(z, t).item()


def test_a_smoothed_target_is_met_at_a_finite_logit():
    """The loss is least where p_t = 1 - smoothing / 2."""
    logit = torch.tensor([logit_at(0.95), -logit_at(0.95)], dtype=torch.float64, requires_grad=True)
    smoothed_cross_entropy(logit, torch.tensor([1, 0]), smoothing=0.1).sum().backward()
    torch.testing.assert_close(logit.grad, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
