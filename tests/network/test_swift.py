"""Laws of the swift network: a dense map is the scores of its patches, and a size that cannot be is refused."""

import pytest
import torch
from dense_law import assert_dense_map_is_the_scores_of_its_patches
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from mitosieve.network.config import SwiftConfig
from mitosieve.network.swift import SwiftNet

SHAPES = [
    SwiftConfig(),
    SwiftConfig(input_px=64, widths=(8, 12, 16), depths=(1, 2, 1), head=8, residual=True),
    SwiftConfig(input_px=31, in_channels=6, widths=(4, 6), depths=(0, 2), head=5),
    SwiftConfig(input_px=32, widths=(6, 8), depths=(0, 1), stem=4, head=4, residual=True),
    SwiftConfig(input_px=18, widths=(4,), depths=(1,), head=3, residual=True),
]


def a_network(config, seed=0):
    """A network whose batch norms hold statistics of their own, as after training."""
    torch.manual_seed(seed)
    network = SwiftNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


@pytest.mark.parametrize("config", SHAPES)
def test_a_dense_map_is_the_scores_of_its_patches(config):
    """With the patch cut out, the network says what its map says there."""
    assert_dense_map_is_the_scores_of_its_patches(a_network(config), config.in_channels)


@pytest.mark.parametrize("config", SHAPES)
def test_the_field_of_view_is_the_whole_patch_and_nothing_else(config):
    """A place's logit depends on the corner pixels of its own patch and on no pixel outside."""
    network, side = a_network(config).double(), config.input_px
    step = network.stride_px
    image = torch.rand(1, config.in_channels, side + 2 * step, side + 2 * step, dtype=torch.float64)
    image.requires_grad_()
    network.dense(image)[0, 1, 1].backward()
    touched = (image.grad[0].abs().sum(dim=0) > 0).nonzero()
    assert touched.amin(dim=0).tolist() == [step, step]
    assert touched.amax(dim=0).tolist() == [step + side - 1, step + side - 1]


@pytest.mark.parametrize("config", SHAPES)
def test_an_image_shifted_by_the_stride_shifts_the_map_by_one(config):
    """Convolutions without padding know no border: what the two maps share is equal."""
    network = a_network(config)
    step = network.stride_px
    image = torch.rand(1, config.in_channels, config.input_px + 4 * step, config.input_px + 4 * step)
    with torch.no_grad():
        whole, shifted = network.dense(image), network.dense(image[:, :, step:, step:])
    torch.testing.assert_close(whole[:, 1:, 1:], shifted, rtol=1e-4, atol=1e-4)


@given(
    st.integers(4, 96),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=4),
    st.sampled_from([0, 2]),
)
def test_every_size_is_refused_or_gives_one_logit_a_patch(input_px, groups, stem):
    """No configuration that is accepted fails later, and a refusal names the key to change."""
    widths, depths = zip(*groups, strict=True)
    config = {"input_px": input_px, "widths": widths, "depths": depths, "head": 2, "stem": stem}
    left = input_px - 2 * (stem > 0)
    for depth in depths:
        left = (left - 4) // 2 + 1 - 2 * depth if left % 2 == 0 else (left - 3) // 2 + 1 - 2 * depth
    if not 1 <= left <= 8:
        with pytest.raises(ValidationError, match="input_px"):
            SwiftConfig(**config)
        return
    config = SwiftConfig(**config)
    network = SwiftNet(config).eval()
    assert network(torch.rand(2, 3, input_px, input_px)).shape == (2,)
    assert network(torch.rand(1, 3, input_px, input_px)).shape == (1,)


def test_weights_are_what_the_configuration_says():
    """Counted by hand for the default: 4x4x3 to 32, 3x3, 3x3 to 64, 3x3, 4x4 to the head."""
    network = SwiftNet(SwiftConfig())
    kernels = [48 * 32, 288 * 32, 288 * 64, 576 * 64, 1024 * 64]
    assert sum(p.numel() for p in network.parameters()) == sum(kernels) + 2 * (32 + 32 + 64 + 64 + 64) + 65


def test_a_residual_group_adds_the_middle_of_what_it_began_with():
    """With the last batch norm of the branch at zero, the group gives what its halving convolution gave, cropped."""
    config = SwiftConfig(input_px=32, widths=(4, 6), depths=(2, 2), head=3, residual=True)
    network, image = a_network(config), torch.rand(1, 3, 32, 32)
    group = network.groups[0]
    nn.init.zeros_(group.convolutions[-1][1].weight)
    nn.init.zeros_(group.convolutions[-1][1].bias)
    with torch.no_grad():
        torch.testing.assert_close(group(image), torch.relu(group.halve(image))[:, :, 2:-2, 2:-2])


def test_equal_seeds_begin_alike_and_biases_at_zero():
    """Weights are drawn from torch's generator alone, with the spread that He et al. (2015) derive."""
    one, two, other = (started_from(seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.head[0].weight, other.head[0].weight)
    assert one.decision.bias.item() == 0
    weight = one.head[0].weight
    assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.05)


def started_from(seed):
    torch.manual_seed(seed)
    return SwiftNet(SwiftConfig())


def test_it_learns():
    """A few steps separate patches with a dark middle from patches without; every weight has a part in it."""
    torch.manual_seed(3)
    network = SwiftNet(SwiftConfig(widths=(8, 12), head=8, dropout=0.0)).train()
    image, target = torch.rand(32, 3, 32, 32), (torch.arange(32) % 2).float()
    image[target > 0, :, 12:20, 12:20] *= 0.2
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert losses[-1] < 0.1 < losses[0]


@pytest.mark.parametrize("decay", [0.97, 0.5])
def test_running_statistics_keep_the_stated_share(decay):
    """After one batch the running mean is (1 - decay) times the batch's mean."""
    torch.manual_seed(0)
    network, image = SwiftNet(SwiftConfig(batch_norm_decay=decay)).train(), torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        seen = network.groups[0].halve[0](image * 2 - 1).mean(dim=(0, 2, 3))
        network(image)
    torch.testing.assert_close(network.groups[0].halve[1].running_mean, (1 - decay) * seen, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input_px": 16, "depths": (3, 3)}, "input_px 16 is used up"),
        ({"input_px": 128}, "at most 8"),
        ({"depths": (1,)}, "as many of each"),
        ({"widths": (), "depths": ()}, "widths"),
        ({"widths": (0, 4)}, "widths"),
        ({"dropout": 1.0}, "dropout"),
        ({"batch_norm_decay": 1.0}, "batch_norm_decay"),
        ({"strides": (2, 2)}, "strides"),
    ],
)
def test_impossible_configurations_are_refused(wrong, said):
    """The message names the key and, for a size, what to change."""
    with pytest.raises(ValidationError, match=said):
        SwiftConfig(**wrong)
