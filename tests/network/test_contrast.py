"""Laws of the contrastive loss, against a plain double loop over anchors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mitosieve.network.contrast import ContrastConfig, subclass_contrast, supervised_contrast

BATCHES = st.builds(
    lambda seed, n, classes, most: a_batch(seed, n, classes=classes, most=most),
    st.integers(0, 999),
    st.integers(1, 7),
    st.integers(1, 2),
    st.sampled_from([1, 2, 3, 100]),
)
CONFIGS = st.builds(
    ContrastConfig,
    temperature=st.floats(0.05, 1),
    base_temperature=st.floats(0.05, 1),
    class_weight=st.sampled_from([0.0, 0.25, 2.0]),
    fine_weight=st.sampled_from([0.0, 0.5]),
)


def a_batch(seed, n, *, classes=2, most=3, views=2, dim=5):
    """Features, label, cluster, level, temperature; up to `most` clusters a class, so with 100 most have one member."""
    generator = torch.Generator().manual_seed(seed)

    def draw(top):
        return torch.randint(0, top, (n,), generator=generator)

    z = functional.normalize(torch.randn(n, views, dim, dtype=torch.float64, generator=generator), dim=-1)
    label = draw(classes)
    cluster = label * 1000 + draw(most)
    temperature = torch.rand(1100, dtype=torch.float64, generator=generator)[cluster % 100] + 0.05
    return z, label, cluster, draw(4), temperature


def mean_log_share(logits, positives, rivals):
    """-mean of log(exp(positive) / sum of exp(rivals)), 0 without a positive."""
    if not positives:
        return 0.0
    total = math.fsum(math.exp(logits[a]) for a in rivals)
    return -math.fsum(logits[p] - math.log(total) for p in positives) / len(positives)


def by_hand(z, label, cluster, level, temperature, config):
    """SBCL (ICCV 2023), anchor by anchor."""
    samples, views, _ = z.shape
    anchors = [(s, v) for s in range(samples) for v in range(views)]
    label, cluster, level = label.tolist(), cluster.tolist(), level.tolist()
    omega = [config.level_weights[max(0, level[s])] for s, _ in anchors]
    mean_omega = math.fsum(omega) / len(omega)
    loss = [0.0] * samples
    for number, (s, v) in enumerate(anchors):
        others = [k for k in range(len(anchors)) if k != number]
        dot = [float(z[s, v] @ z[t, u]) for t, u in anchors]
        subclass = [k for k in others if cluster[anchors[k][0]] == cluster[s]]
        fine = [k for k in subclass if level[anchors[k][0]] == level[s]]
        own = [k for k in others if anchors[k][0] == s]
        in_class = [k for k in others if label[anchors[k][0]] == label[s] and k not in subclass] + own
        rivals = [k for k in others if k not in subclass] + own
        at_tau = [value / config.temperature for value in dot]
        at_tau_c = [value / float(temperature[s]) for value in dot]
        sub = mean_log_share(at_tau, subclass, others) + config.fine_weight * mean_log_share(at_tau, fine, others)
        total = config.temperature / config.base_temperature * sub
        total += config.class_weight * mean_log_share(at_tau_c, in_class, rivals)
        loss[s] += total * omega[number] / mean_omega / views
    return torch.tensor(loss, dtype=torch.float64)


@settings(max_examples=60)
@given(BATCHES, CONFIGS)
def test_every_samples_loss_is_that_of_a_plain_double_loop(batch, config):
    torch.testing.assert_close(subclass_contrast(*batch, config), by_hand(*batch, config), rtol=1e-6, atol=1e-9)


@settings(max_examples=40)
@given(BATCHES, CONFIGS)
def test_plain_contrast_is_that_of_a_plain_double_loop(batch, config):
    """Khosla et al. (2020), equation 2, anchor by anchor: of classes alone, at one temperature, every anchor alike."""
    z, label, *_ = batch
    views = z.shape[1]
    flat, classes = z.flatten(0, 1), label.repeat_interleave(views).tolist()
    wanted = []
    for i in range(len(flat)):
        others = [j for j in range(len(flat)) if j != i]
        logits = [float(flat[i] @ flat[j]) / config.temperature for j in range(len(flat))]
        wanted.append(mean_log_share(logits, [j for j in others if classes[j] == classes[i]], others))
    each = torch.tensor(wanted, dtype=torch.float64).view(-1, views).mean(dim=1)
    expected = config.temperature / config.base_temperature * each
    torch.testing.assert_close(supervised_contrast(z, label, config), expected, rtol=1e-6, atol=1e-9)


def test_one_subclass_a_class_and_no_weights_is_plain_contrast():
    """What is left of the whole loss without its subclass and level terms; in half precision too, as it is there."""
    z, label, _, level, temperature = a_batch(3, 7)
    config = ContrastConfig(class_weight=0.0, level_weights=(1, 1, 1, 1))
    plain = supervised_contrast(z, label, ContrastConfig())
    torch.testing.assert_close(subclass_contrast(z, label, label, level, temperature, config), plain)
    assert not torch.allclose(subclass_contrast(z, label, label, level, temperature, ContrastConfig()), plain)
    whole = supervised_contrast(z.float(), label, config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(supervised_contrast(z.float(), label, config), whole)
    assert supervised_contrast(z[:0], label[:0], config).shape == (0,)


@pytest.mark.parametrize(
    ("classes", "most"), [(1, 1), (1, 3), (2, 1), (2, 1000)], ids=["one", "one class", "one each", "all alone"]
)
def test_few_and_many_clusters(classes, most):
    batch = a_batch(4, 6, classes=classes, most=most)
    config = ContrastConfig(fine_weight=0.5)
    torch.testing.assert_close(subclass_contrast(*batch, config), by_hand(*batch, config))


@given(st.integers(0, 99), st.integers(2, 8))
def test_the_order_of_the_batch_does_not_matter(seed, n):
    batch = a_batch(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    config = ContrastConfig(fine_weight=0.3)
    shuffled = subclass_contrast(*(each[order] for each in batch), config)
    torch.testing.assert_close(shuffled, subclass_contrast(*batch, config)[order])
    z, *rest = batch
    torch.testing.assert_close(subclass_contrast(z.flip(1), *rest, config), subclass_contrast(*batch, config))


@given(st.integers(0, 99))
def test_ids_are_names_and_scores_are_cosines(seed):
    """Other ids for the same clusters and a turned feature space change nothing."""
    z, label, cluster, level, temperature = a_batch(seed, 6)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]
    config = ContrastConfig()
    found = subclass_contrast(z @ turn, 1 - label, 7 * cluster + 3, level, temperature, config)
    torch.testing.assert_close(found, subclass_contrast(z, label, cluster, level, temperature, config))


@pytest.mark.parametrize("views", [1, 2, 3])
def test_a_batch_without_positives_costs_nothing(views):
    """One sample has no rival but itself; single views of samples that share nothing have no positive at all."""
    alone = a_batch(0, 1, views=views)
    z = torch.randn(4, 1, 5, dtype=torch.float64)
    strangers = functional.normalize(z, dim=-1), torch.arange(4), torch.arange(4), torch.zeros(4).long(), torch.ones(4)
    for batch in [alone] if views == 2 else [alone, strangers]:
        features = batch[0].clone().requires_grad_()
        loss = subclass_contrast(features, *batch[1:], ContrastConfig(fine_weight=1.0))
        loss.sum().backward()
        assert features.grad is not None
        assert torch.isfinite(features.grad).all()
        if views < 3:  # of three views two are rivals for one
            assert loss.tolist() == pytest.approx([0.0] * len(loss), abs=1e-12)


def test_no_samples_no_loss():
    batch = [each[:0] for each in a_batch(0, 3)]
    assert subclass_contrast(*batch, ContrastConfig()).shape == (0,)


def test_only_the_class_term_feels_the_clusters_temperature():
    z, label, cluster, level, temperature = a_batch(8, 7)
    without = ContrastConfig(class_weight=0.0)
    both = [subclass_contrast(z, label, cluster, level, t, without) for t in (temperature, 3 * temperature)]
    assert torch.equal(*both)
    felt = [subclass_contrast(z, label, cluster, level, t, ContrastConfig()) for t in (temperature, 3 * temperature)]
    assert not torch.allclose(*felt)


@given(st.integers(0, 99), st.integers(1, 8))
def test_level_weights_have_mean_one_over_the_batch(seed, n):
    """A sample's loss is its unweighted loss times omega of its level over the batch's mean omega."""
    batch = a_batch(seed, n)
    flat = subclass_contrast(*batch, ContrastConfig(level_weights=(1, 1, 1, 1)))
    omega = torch.tensor(ContrastConfig().level_weights, dtype=torch.float64)[batch[3]]
    torch.testing.assert_close(subclass_contrast(*batch, ContrastConfig()), flat * omega / omega.mean())
    z, label, cluster, level, temperature = batch
    none = subclass_contrast(z, label, cluster, torch.full_like(level, -1), temperature, ContrastConfig())
    torch.testing.assert_close(none, flat)


@settings(max_examples=10)
@given(st.integers(0, 99), st.integers(1, 5), st.sampled_from([0.0, 0.5]))
def test_the_gradient_is_that_of_small_differences(seed, n, fine):
    z, *rest = a_batch(seed, n)
    config = ContrastConfig(temperature=0.3, fine_weight=fine)
    assert torch.autograd.gradcheck(lambda each: subclass_contrast(each, *rest, config), z.requires_grad_())


@pytest.mark.parametrize("tau", [0.0, 0.01, 10.0])
def test_cold_temperatures_and_equal_features_stay_finite(tau):
    """In single precision, with features all alike or opposite, loss and gradient are finite and not negative."""
    label, cluster = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 2])
    config = ContrastConfig(temperature=0.01)
    for sign in (1.0, -1.0):
        z = torch.ones(4, 2, 4) / 2 * torch.tensor([1.0, 1.0, sign, sign])[:, None, None]
        z.requires_grad_()
        loss = subclass_contrast(z, label, cluster, torch.zeros(4).long(), torch.full((4,), tau), config)
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert (loss >= 0).all()
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


def test_half_precision_is_left_before_the_products():
    """Under autocast the loss is that of single precision; half-precision features give a single-precision loss."""
    z, *rest = a_batch(2, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = subclass_contrast(z.float(), *rest, ContrastConfig())
        assert subclass_contrast(z.bfloat16(), *rest, ContrastConfig()).dtype == torch.float32
    assert torch.equal(found, subclass_contrast(z.float(), *rest, ContrastConfig()))


def test_features_of_a_subclass_come_together_first():
    """Descending the loss leaves cosines: same subclass above same class above other class."""
    z, *_ = a_batch(1, 8, dim=4)
    label, cluster = torch.arange(8) // 4, torch.arange(8) // 2
    raw = z.clone().requires_grad_()
    optimiser = torch.optim.Adam([raw], lr=0.05)
    for _ in range(80):
        optimiser.zero_grad()
        unit = functional.normalize(raw, dim=-1)
        rest = (label, cluster, torch.zeros(8).long(), torch.full((8,), 0.1))
        subclass_contrast(unit, *rest, ContrastConfig()).sum().backward()
        optimiser.step()
    mean = functional.normalize(raw.detach().mean(dim=1), dim=-1)
    alike = mean @ mean.T
    same, sibling = cluster[:, None] == cluster, label[:, None] == label
    assert alike[same].mean() > alike[sibling & ~same].mean() + 0.1 > alike[~sibling].mean() + 0.1
