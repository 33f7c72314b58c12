"""Laws of graphs in whole numbers of 8 bits: near float32's scores, each image by itself, and only where asked."""

import pickle

import numpy as np
import pytest
import torch

from mitosieve.errors import DetectorError, InputError
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig, SwiftConfig
from mitosieve.network.graph import ScoresOfBytes, onnx_without_weights
from mitosieve.network.int8 import int8_bytes
from mitosieve.network.kept import KeptNetwork
from mitosieve.network.registry import build_network, save_weights

INT8 = Compute(device="cpu", precision="32-true", engine="int8")
FLOAT = Compute(device="cpu", precision="32-true", engine="onnxruntime")
CONFIG = SwiftConfig(input_px=32, widths=(16, 32), depths=(1, 1), head=32, stem=8, residual=True)


def some_images(number=48, side=32, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.integers(0, 256, (number, side, side, channels)) * generator.random((number, 1, 1, 1))).astype(
        np.uint8
    )


def a_network(config=CONFIG, images=None):
    """Its logits spread as a trained network's are."""
    torch.manual_seed(1)
    network = build_network(config).eval()
    images = some_images() if images is None else images
    with torch.inference_mode():
        logit = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    decision = network.get_submodule("decision")
    scale = 2 / logit.std()
    with torch.no_grad():
        decision.weight.mul_(scale)
        decision.bias.copy_(-(logit.mean() - decision.bias) * scale)
    return network


def kept(tmp_path, network, int8):
    path = save_weights(network, tmp_path / "w.safetensors")
    graphs = {dense: onnx_without_weights(network, dense=dense) for dense in (False, True)}
    return KeptNetwork(CONFIG, path.read_bytes(), graphs, "w.safetensors", int8=int8)


@pytest.mark.parametrize("config", [CONFIG, ChsNetConfig(width=1 / 16)], ids=lambda config: config.kind)
def test_scores_are_near_those_of_float32(config):
    """On images that it was not made on; they are not the same, or it would be float32."""
    shape = (64, 6) if config.kind == "chsnet" else (32, 3)
    images, others = some_images(48, *shape), some_images(48, *shape, seed=1)
    network = a_network(config, images)
    found = int8_engine(int8_bytes(network, images), config).scores(others)
    with torch.inference_mode():
        wanted = ScoresOfBytes(network)(torch.from_numpy(others)).numpy()
    assert wanted.std() > 0.1
    assert 0 < np.abs(found - wanted).max() < 0.2
    assert np.corrcoef(found, wanted)[0, 1] > 0.99


def int8_engine(graph, config):
    return INT8.engine_of(KeptNetwork(config, b"", {}, "w.safetensors", int8=graph), np.zeros(0))


def test_an_image_scores_by_itself():
    """Scales are fixed: what else is in the batch changes no byte."""
    images = some_images()
    engine = int8_engine(int8_bytes(a_network(), images), CONFIG)
    alone = np.concatenate([engine.scores(image[None]) for image in images])
    assert np.array_equal(engine.scores(images), alone)


def test_it_is_used_where_it_is_asked_for_alone(tmp_path):
    """By no other engine, for no map, and not where a network is to stay in float32; also after pickling."""
    network, images = a_network(), some_images()
    graph = int8_bytes(network, images)
    one, beside = kept(tmp_path, network, graph), kept(tmp_path, network, b"")
    float32 = FLOAT.engine_of(one, images).scores(images)
    int8 = INT8.engine_of(pickle.loads(pickle.dumps(one)), images).scores(images)
    assert not np.array_equal(int8, float32)
    assert np.array_equal(INT8.engine_of(beside, images).scores(images), float32)
    large = np.repeat(np.repeat(images[:1], 2, axis=1), 2, axis=2)
    maps = [compute.engine_of(one, large, dense=True).scores(large) for compute in (INT8, FLOAT)]
    assert np.array_equal(*maps)


def test_without_a_graph_int8_is_refused(tmp_path):
    """Kept or in torch, never float32 in its name."""
    network = a_network()
    with pytest.raises(DetectorError, match="no int8 graph"):
        INT8.engine_of(kept(tmp_path, network, None), some_images())
    with pytest.raises(InputError, match="no int8 graph"):
        INT8.engine_of(network, some_images())
