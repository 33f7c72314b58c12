"""Laws of engines: the scores of eager torch, whatever the library, the batch, the threads and the history."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from mitosieve.errors import InputError
from mitosieve.network.chsnet import ChsNet
from mitosieve.network.compute import Compute, machine, predict
from mitosieve.network.config import ChsNetConfig, SwiftConfig
from mitosieve.network.engine import EngineChoice
from mitosieve.network.graph import ScoresOfBytes
from mitosieve.network.live import engine_of, graph_engine
from mitosieve.network.swift import SwiftNet

EAGER = Compute(device="cpu", precision="32-true", engine="torch")
COMPILED = Compute(device="cpu", precision="32-true", engine="onnxruntime")

NETWORKS = {
    "swift, stage one": (SwiftNet, SwiftConfig()),
    "swift, stage two": (
        SwiftNet,
        SwiftConfig(input_px=64, widths=(8, 16, 24), depths=(1, 2, 1), head=16, stem=4, residual=True),
    ),
    "chsnet, fusion A": (ChsNet, ChsNetConfig(width=1 / 16)),
    "chsnet, fusion B": (ChsNet, ChsNetConfig(width=1 / 16, fusion="B")),
}
CHOICE = EngineChoice(kind="onnxruntime", device="cpu", half=False, threads=1, images_at_once=16)


def a_network(name, seed=0):
    """A network with weights, and statistics of its batch norms, that spread the scores of `images`."""
    kind, config = NETWORKS[name]
    torch.manual_seed(seed)
    network = kind(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    network.eval()
    with torch.no_grad():
        logit = network(torch.from_numpy(images(network)).permute(0, 3, 1, 2) / 255)
        network.decision.weight /= logit.std()
        network.decision.bias -= (logit - network.decision.bias).mean() / logit.std() + network.decision.bias
    return network


def images(network, n=37, seed=0):
    """Noise on patches of different brightness and colour."""
    side, channels = (network.input_px, 3) if isinstance(network, SwiftNet) else (64, 6)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (n, side, side, channels)) * rng.random((n, 1, 1, channels))
    return image.astype(np.uint8)


def eagerly(network, some, **how):
    with torch.inference_mode():
        return ScoresOfBytes(network, **how)(torch.from_numpy(some)).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_eager_torch(name):
    """Within 1e-3 is the contract; what remains is the rounding of float32."""
    network = a_network(name)
    some = images(network)
    wanted = eagerly(network, some)
    found = predict(network, iter([some]), COMPILED)
    assert found.dtype == np.float32
    assert wanted.std() > 0.1
    assert np.abs(found - wanted).max() < 2e-5
    assert np.abs(predict(network, iter([some]), EAGER) - wanted).max() < 2e-5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (1, 5), (2, 16), (3, 4)])
def test_a_score_is_the_same_bytes_whatever_is_beside_it(name, threads, at_once):
    """Neither order, nor batches, nor parts, nor threads change a bit: tiles, shards and resume give one result."""
    network = a_network(name)
    some = images(network)
    order = np.random.default_rng(1).permutation(len(some))
    choice = EngineChoice(kind="onnxruntime", device="cpu", half=False, threads=threads, images_at_once=at_once)
    once = engine_of(network, CHOICE, some).scores(some)
    engine = engine_of(network, choice, some)
    assert (engine.scores(some[order]) == once[order]).all()
    assert (np.concatenate([engine.scores(part) for part in np.array_split(some, 4)]) == once).all()


def test_no_images_have_no_scores():
    """An empty batch is answered, by both engines."""
    network = a_network("swift, stage one")
    some = images(network)
    for compute in (EAGER, COMPILED):
        found = compute.engine_of(network, some).scores(some[:0])
        assert (found.shape, found.dtype) == ((0,), np.float32)


def test_images_may_be_locked_and_lie_anyhow():
    """Memory-mapped frames are read-only and a mirrored patch runs backwards: both are scored, and left alone."""
    network = a_network("swift, stage one")
    some = images(network)
    wanted = engine_of(network, CHOICE, some).scores(some)
    mirrored = np.ascontiguousarray(some[:, :, ::-1])[:, :, ::-1]
    mirrored.flags.writeable = False
    assert (graph_engine(network, CHOICE, mirrored).scores(mirrored) == wanted).all()


@pytest.mark.parametrize("name", ["swift, stage one", "swift, stage two"])
@pytest.mark.parametrize("compute", [EAGER, COMPILED])
def test_a_dense_map_is_the_scores_of_its_patches(name, compute):
    """What the engine gives for `dense` is, place by place, what it gives for the patches."""
    network = a_network(name)
    side, step = network.input_px, network.stride_px
    image = np.random.default_rng(2).integers(0, 256, (2, side + 2 * step, side + 3 * step, 3), dtype=np.uint8)
    dense = compute.engine_of(network, image, dense=True).scores(image)
    assert dense.shape == (2, 3, 4)
    corners = [(row, column) for row in range(3) for column in range(4)]
    patches = [image[0, r * step : r * step + side, c * step : c * step + side] for r, c in corners]
    scores = compute.engine_of(network, image[:, :side, :side]).scores(np.stack(patches))
    assert np.abs(dense[0].ravel() - scores).max() < 1e-5


def test_an_engine_is_made_once_a_network():
    """The second call finds the first one's engine; another choice and the dense map have engines of their own."""
    network = a_network("swift, stage one")
    some = images(network)
    engine = engine_of(network, CHOICE, some)
    assert engine_of(network, CHOICE, some[:1]) is engine
    assert engine_of(network, CHOICE, some, dense=True) is not engine
    assert engine_of(a_network("swift, stage one"), CHOICE, some) is not engine


@pytest.mark.parametrize("through", ["step", "data", "load", "statistics"])
def test_weights_that_change_are_seen(through):
    """Mining scores with a network between its trainings: no engine of older weights is used, however they changed."""
    network, other = a_network("swift, stage one"), a_network("swift, stage one", seed=1)
    some = images(network)
    before = predict(network, iter([some]), COMPILED)
    if through == "step":
        optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
        network(torch.rand(4, 3, 32, 32)).sum().backward()
        optimizer.step()
    elif through == "data":
        network.decision.weight.data.mul_(-1)
    elif through == "load":
        network.load_state_dict(other.state_dict())
    else:
        network.train()(torch.rand(4, 3, 32, 32))
    after = predict(network, iter([some]), COMPILED)
    assert np.abs(after - before).max() > 1e-3
    assert np.abs(after - eagerly(network, some)).max() < 2e-5


def test_an_engine_keeps_no_network_alive():
    """Engines are kept beside the network, not instead of it."""
    network = a_network("swift, stage one")
    engine = weakref.ref(engine_of(network, CHOICE, images(network)))
    assert engine() is not None
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None
    assert engine() is None


class Drifting(nn.Module):
    """Answers otherwise at every call, as no graph can."""

    calls = 0

    def forward(self, image_BCHW):
        self.calls += 1
        return image_BCHW.mean(dim=(1, 2, 3)) * self.calls


def test_a_graph_that_scores_otherwise_is_refused():
    """An engine is held against eager torch before it is used; the message says what to do."""
    network = Drifting()
    some = np.full((2, 4, 4, 3), 200, dtype=np.uint8)
    with pytest.raises(InputError, match="--engine torch"):
        graph_engine(network, CHOICE, some)


def test_other_devices_have_no_onnx_runtime():
    """Asked for on a GPU it is refused with what to choose instead."""
    choice = EngineChoice(kind="onnxruntime", device="cuda", half=False, threads=1, images_at_once=16)
    network = a_network("swift, stage one")
    with pytest.raises(InputError, match="--engine torch"):
        engine_of(network, choice, images(network))


def test_the_record_names_the_engine():
    """machine.json says what scored and in which version."""
    import onnxruntime

    assert machine(COMPILED)["engine"] == f"onnxruntime {onnxruntime.__version__}"
    assert machine(EAGER)["engine"] == f"torch {torch.__version__}"


def test_importing_compute_imports_no_runtime():
    """Whoever trains, or only reads patches, does not wait for libraries that score."""
    said = "import sys, mitosieve.network.compute; print({'onnx', 'onnxruntime', 'onnxscript'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
