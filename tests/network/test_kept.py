"""Laws of networks as a detector's folder keeps them: torch's scores without torch, or refused."""

import pickle

import numpy as np
import pytest
import torch

from mitosieve.errors import DetectorError
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig, ResidualConfig, ResNetConfig, RotoTranslationConfig, SwiftConfig
from mitosieve.network.graph import ScoresOfBytes, onnx_without_weights
from mitosieve.network.kept import KeptNetwork
from mitosieve.network.registry import build_network, save_weights

CPU = Compute(device="cpu", precision="32-true", engine="onnxruntime")
CONFIGS = {
    "chsnet A": (ChsNetConfig(width=1 / 16), False),
    "chsnet B": (ChsNetConfig(width=1 / 16, fusion="B"), False),
    "swift": (SwiftConfig(), False),
    "swift, map": (SwiftConfig(), True),
    "residual": (ResidualConfig(widths=(8, 16)), False),
    "resnet": (ResNetConfig(width=1 / 8), False),
    "resnet, map": (ResNetConfig(width=1 / 8), True),
}


def a_network(config, seed=1):
    """With statistics that are not those of the first step."""
    torch.manual_seed(seed)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def some_images(config):
    side = 64 if isinstance(config, ChsNetConfig) else config.input_px
    return np.random.default_rng(0).integers(
        0, 256, (9, side, side, 6 if isinstance(config, ChsNetConfig) else 3), np.uint8
    )


def kept(tmp_path, config, *, dense, half=False, graph=None):
    network = a_network(config)
    path = save_weights(network, tmp_path / "weights.safetensors", half=half)
    graph = onnx_without_weights(network, dense=dense) if graph is None else graph
    return network, KeptNetwork(
        config, path.read_bytes(), {} if graph is None else {dense: graph}, "weights.safetensors"
    )


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_graph_scores_as_torch_does(tmp_path, name, half):
    """Weights in full or half precision, patches or maps, here or in a process that was given it."""
    config, dense = CONFIGS[name]
    network, one = kept(tmp_path, config, dense=dense, half=half)
    if half:
        network = one.module
    images = some_images(config)
    with torch.inference_mode():
        wanted = ScoresOfBytes(network, dense=dense)(torch.from_numpy(images)).numpy()
    for each in (one, pickle.loads(pickle.dumps(one))):
        found = CPU.engine_of(each, images, dense=dense).scores(images)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert wanted.std() > 1e-3


@pytest.mark.parametrize("name", ["swift", "residual", "resnet"])
def test_a_graph_holds_no_weights(tmp_path, name):
    """So it costs nothing to keep, and is the same for every network of a configuration."""
    config, dense = CONFIGS[name]
    first, second = (onnx_without_weights(a_network(config, seed), dense=dense) for seed in (1, 2))
    assert first == second
    assert len(first) < 40_000


def test_the_number_of_weights_is_torchs(tmp_path):
    for config, _ in CONFIGS.values():
        network, one = kept(tmp_path, config, dense=False)
        assert one.num_weights == sum(value.numel() for value in network.parameters())


def test_without_a_graph_torch_scores(tmp_path):
    """Kernels that are made of weights cannot be written without them."""
    config = RotoTranslationConfig(orientations=4, widths=(4, 8), blocks=(0, 0), head=8)
    network, one = kept(tmp_path, config, dense=False)
    assert one.graphs == {}
    images = some_images(config)
    with torch.inference_mode():
        wanted = ScoresOfBytes(network)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(CPU.engine_of(one, images).scores(images), wanted, atol=1e-5)


@pytest.mark.parametrize("graph", [b"noise", onnx_without_weights(build_network(SwiftConfig(widths=(16, 32))))])
def test_graph_and_weights_that_disagree_are_refused(tmp_path, graph):
    """A graph of another network, or none at all: never scores of something else."""
    config = SwiftConfig()
    _, one = kept(tmp_path, config, dense=False, graph=graph)
    with pytest.raises(DetectorError, match="do not belong together"):
        CPU.engine_of(one, some_images(config)).scores(some_images(config))


def test_weights_of_another_network_are_refused(tmp_path):
    """In torch as well."""
    _, one = kept(tmp_path, SwiftConfig(), dense=False)
    with pytest.raises(DetectorError, match="weights of this network"):
        KeptNetwork(SwiftConfig(head=32), one.weights, {}, "here").module  # noqa: B018 - it is read when asked
    with pytest.raises(DetectorError, match="weights of this network"):
        CPU.engine_of(KeptNetwork(SwiftConfig(), b"noise", one.graphs, "here"), some_images(SwiftConfig()))
