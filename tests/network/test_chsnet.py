"""Laws of the network: it is the paper's table 1."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mitosieve.network.chsnet import ChsNet
from mitosieve.network.config import ChsNetConfig

TABLE_1 = (  # bottleneck 1x1 and 3x3, 1x1 out, blocks
    (32, 128, 3),
    (64, 256, 3),
    (128, 512, 5),
    (256, 1024, 3),
    (512, 2048, 3),
)


def a_network(seed=0, **config):
    torch.manual_seed(seed)
    return ChsNet(ChsNetConfig(**{"width": 1 / 32, **config}))


def trunk_by_hand(width=1.0):
    """Weights of conv1, the bottlenecks and the last norm, counted from the table: no bias before a norm."""

    def scaled(channels):
        return max(1, round(channels * width))

    count, channels = 7 * 7 * 6 * scaled(128), scaled(128)
    for inner, outer, blocks in TABLE_1:
        inner, outer = scaled(inner), scaled(outer)
        for _ in range(blocks):
            norms = 2 * channels + 2 * inner + 2 * inner
            count += norms + channels * inner + 9 * inner * inner + inner * outer
            count += channels * outer if channels != outer else 0  # the projected shortcut
            channels = outer
    return count + 2 * channels


def weights(modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def trunk(network):
    return [network.conv1, *network.stages, network.last_norm]


def test_shapes_are_those_of_table_1():
    """64 px stay 64 through conv2, then halve with each stage down to 4, at the table's channel counts."""
    with torch.device("meta"):
        outputs = ChsNet(ChsNetConfig()).features(torch.zeros(1, 6, 64, 64))
    expected = [(128, 64, 64), (128, 64, 64), (256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]
    assert [tuple(output.shape[1:]) for output in outputs] == expected


def test_an_eighth_of_the_width_has_an_eighth_of_the_channels():
    """width scales channels and leaves H and W alone."""
    with torch.no_grad():
        outputs = a_network(width=0.125).features(torch.zeros(1, 6, 64, 64))
    assert [tuple(output.shape[1:]) for output in outputs] == [
        (16, 64, 64),
        (16, 64, 64),
        (32, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
    ]


@pytest.mark.parametrize("width", [1.0, 0.125, 1 / 32])
def test_the_trunk_has_the_tables_number_of_weights(width):
    """Counted from the table by hand, norms and projections included."""
    with torch.device("meta"):
        network = ChsNet(ChsNetConfig(width=width))
    assert weights(trunk(network)) == trunk_by_hand(width)


def test_weights_of_the_two_fusions():
    """A decides on [v0, v1, v2]; B pools every stage and decides on its second layer."""
    with torch.device("meta"):
        a, b = (ChsNet(ChsNetConfig(fusion=fusion)) for fusion in ("A", "B"))
    heads = [weights([network.fc1, network.fc2, network.decision]) for network in (a, b)]
    assert heads[0] == (2048 * 1024 + 1024) + (3072 * 512 + 512) + (3584 + 1)
    assert heads[1] == (3968 * 1024 + 1024) + (1024 * 512 + 512) + (512 + 1)


@pytest.mark.parametrize("fusion", ["A", "B"])
@pytest.mark.parametrize("size", [64, 32])
def test_one_logit_an_image(fusion, size):
    """The output is (B,), also for a batch of one, and every weight has a part in it."""
    network = a_network(fusion=fusion)
    for batch in (1, 3):
        logit = network.train(batch > 1)(torch.rand(batch, 6, size, size))
        assert logit.shape == (batch,)
    logit.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("fusion", ["A", "B"])
def test_in_evaluation_images_do_not_look_at_each_other(fusion):
    """A batch of two gives what two batches of one give; in training the batch matters."""
    network, images = a_network(fusion=fusion), torch.rand(2, 6, 64, 64)
    images[1] *= 0.3
    network.train()(torch.rand(4, 6, 64, 64))
    network.eval()
    with torch.no_grad():
        together = network(images)
        torch.testing.assert_close(
            together, torch.cat([network(images[:1]), network(images[1:])]), rtol=1e-4, atol=1e-6
        )
        assert together[0] != together[1]


def test_weights_begin_as_xavier_and_biases_at_zero():
    """Every bias is zero; every weight is uniform within +-sqrt(6 / (fan in + fan out)) and uses that range."""
    for module in a_network(width=0.125).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            field = module.weight[0, 0].numel() if module.weight.dim() == 4 else 1
            bound = (6 / (field * (module.weight.shape[0] + module.weight.shape[1]))) ** 0.5
            assert module.weight.abs().max() <= bound * (1 + 1e-6)
            assert module.weight.numel() < 100 or module.weight.abs().max() > 0.9 * bound
            assert module.bias is None or (module.bias == 0).all()


def test_equal_seeds_begin_alike():
    """The initial weights are drawn from torch's generator alone."""
    one, two, other = (a_network(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("decay", [0.99, 0.5])
def test_running_statistics_keep_the_stated_share(decay):
    """After one batch the running mean is decay * 0 + (1 - decay) * the batch's mean."""
    network, images = a_network(batch_norm_decay=decay), torch.rand(3, 6, 16, 16)
    with torch.no_grad():
        seen = network.conv1(images * 2 - 1).mean(dim=(0, 2, 3))
        network.train()(images)
    first = network.stages[0][0].norm1
    torch.testing.assert_close(first.running_mean, (1 - decay) * seen, rtol=1e-4, atol=1e-6)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {round(norm.momentum, 9) for norm in norms} == {round(1 - decay, 9)}


def test_dropout_acts_in_training_only():
    """In training two passes differ by what is dropped; in evaluation they are one; without dropout too."""
    images = torch.rand(2, 6, 16, 16)
    for dropout, differ in ((0.5, True), (0.0, False)):
        network = a_network(dropout=dropout).train()
        assert torch.equal(network(images), network(images)) != differ
        network.eval()
        assert torch.equal(network(images), network(images))


def test_configurations_are_checked():
    """Unknown keys and impossible sizes are refused."""
    for wrong in ({"width": 0}, {"fusion": "C"}, {"depth": 50}, {"dropout": 1.0}):
        with pytest.raises(ValidationError):
            ChsNetConfig(**wrong)
