"""The residual network of small patches: shapes, size, and that it can be taught and written as a graph."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mitosieve.network.compute import Compute, predict
from mitosieve.network.config import ResidualConfig
from mitosieve.network.registry import build_network, load_weights, save_weights
from mitosieve.network.residual import ResidualNet

TINY = ResidualConfig(input_px=32, widths=(8, 16), blocks=1)


def test_one_logit_an_image_of_any_size():
    """Also of sides that no stride divides; the embedding has the last stage's width."""
    network = ResidualNet(TINY).eval()
    for size in ((32, 32), (33, 47), (16, 64)):
        image = torch.rand(3, 3, *size)
        assert network(image).shape == (3,)
        assert network.embedding(image).shape == (3, 16)


def test_the_defaults_have_the_size_that_is_told():
    """Weights and multiply-adds, counted layer by layer."""
    network, total = ResidualNet(ResidualConfig()).eval(), 0

    def count(layer, _, found):
        nonlocal total
        total += layer.weight[0].numel() * found.numel()

    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    network(torch.rand(1, 3, 64, 64))
    assert round(total / 1e6) == 107


def test_it_learns_what_a_small_network_can():
    """Bright discs against rings of the same brightness: told apart after some steps."""
    torch.manual_seed(0)
    network = ResidualNet(TINY)
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(32) - 15.5, indexing="ij")
    radius = torch.sqrt(x**2 + y**2)
    shapes = torch.stack([(radius < 6).float(), ((radius > 8) & (radius < 10)).float()])
    label = torch.arange(64) % 2
    images = shapes[label][:, None].repeat(1, 3, 1, 1) * 0.5 + 0.2 * torch.rand(64, 3, 32, 32)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images), label.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((network.eval()(images) > 0) == (label == 1)).float().mean() > 0.95


def test_weights_survive_and_the_engine_scores_as_torch_does(tmp_path):
    """Equal after saving and loading; by ONNX Runtime to 1e-4."""
    torch.manual_seed(1)
    network = ResidualNet(TINY).eval()
    save_weights(network, tmp_path / "w.safetensors")
    again = load_weights(build_network(TINY), tmp_path / "w.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = torch.sigmoid(network(tensor)).numpy()
        assert torch.equal(network(tensor), again(tensor))
    np.testing.assert_allclose(predict(again, iter([images]), Compute.choose("cpu")), expected, atol=1e-4)


def test_sizes_that_cannot_be_are_refused():
    """No stage, or more than the patch has px for."""
    for wrong in ({"widths": ()}, {"widths": (8,) * 5}, {"blocks": 0}, {"dropout": 1.0}, {"input_px": 8}):
        with pytest.raises(ValidationError):
            ResidualConfig(**wrong)
