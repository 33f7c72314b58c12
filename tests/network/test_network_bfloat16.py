"""Laws of bfloat16: near float32's scores, each image by itself, from a folder too, and only where asked for."""

import importlib.util
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mitosieve.errors import InputError
from mitosieve.network import bfloat16 as module
from mitosieve.network.compute import Compute, _has_fast_bfloat16, machine
from mitosieve.network.engine import EngineChoice
from mitosieve.network.graph import ScoresOfBytes, onnx_without_weights
from mitosieve.network.kept import KeptNetwork
from mitosieve.network.live import engine_of
from mitosieve.network.registry import build_network, save_weights
from network.test_kept import CONFIGS, some_images

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is not installed", allow_module_level=True)
has_bfloat16 = pytest.mark.skipif(not _has_fast_bfloat16("cpu"), reason="this processor does not compute in bfloat16")

BFLOAT16 = Compute(device="cpu", precision="32-true", engine="bfloat16")
FLOAT = Compute(device="cpu", precision="32-true", engine="onnxruntime")
PATCHES = {name: config for name, (config, dense) in CONFIGS.items() if not dense}


def a_network(config):
    """Its logits spread as a trained network's are."""
    torch.manual_seed(1)
    network = build_network(config).eval()
    with torch.inference_mode():
        logit = network(torch.from_numpy(many(config)).permute(0, 3, 1, 2) / 255)
    last = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv2d))][-1]
    with torch.no_grad():
        last.weight.mul_(2 / logit.std())
        if last.bias is not None:
            last.bias.copy_(-(logit.mean() - last.bias) * 2 / logit.std())
    return network


def many(config):
    """37: two parts of 16 and five that are left over; of different brightness, so that scores differ."""
    images = np.tile(some_images(config), (5, 1, 1, 1))[:37]
    return (images * np.random.default_rng(1).random((37, 1, 1, images.shape[-1]))).astype(np.uint8)


def kept(tmp_path, config, network):
    path = save_weights(network, tmp_path / "w.safetensors")
    graphs = {
        dense: onnx_without_weights(network, dense=dense) for dense in (False, True)[: 1 + hasattr(network, "dense")]
    }
    return KeptNetwork(config, path.read_bytes(), graphs, "w")


@has_bfloat16
@pytest.mark.parametrize("name", PATCHES)
def test_scores_are_near_those_of_float32(name, tmp_path):
    """They are not the same, or it would be float32; a detector's folder gives the bytes that torch's network gives."""
    config = PATCHES[name]
    network, images = a_network(config), many(config)
    found = BFLOAT16.engine_of(network, images).scores(images)
    with torch.inference_mode():
        wanted = ScoresOfBytes(network)(torch.from_numpy(images)).numpy()
    assert wanted.std() > 0.1
    assert 0 < np.abs(found - wanted).max() < 0.05
    again = pickle.loads(pickle.dumps(kept(tmp_path, config, network)))
    assert np.array_equal(BFLOAT16.engine_of(again, images).scores(images), found)


@has_bfloat16
@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize(("threads", "at_once"), [(1, 5), (2, 16), (3, 4)])
def test_a_score_is_the_same_bytes_whatever_is_beside_it(name, threads, at_once):
    """Neither order, nor batches, nor parts, nor threads change a bit: tiles, shards and resume give one result."""
    config = PATCHES[name]
    network, images = a_network(config), many(config)
    order = np.random.default_rng(1).permutation(len(images))
    choice = EngineChoice(kind="bfloat16", device="cpu", half=False, threads=threads, images_at_once=at_once)
    engine = engine_of(network, choice, images)
    alone = np.concatenate([engine.scores(image[None]) for image in images])
    assert np.array_equal(engine.scores(images[order]), alone[order])
    assert np.array_equal(np.concatenate([engine.scores(part) for part in np.array_split(images, 4)]), alone)
    assert engine.scores(images[:0]).shape == (0,)


@has_bfloat16
def test_maps_stay_in_float32(tmp_path):
    """It was measured on scores alone."""
    config = CONFIGS["swift, map"][0]
    network = a_network(config)
    image = np.random.default_rng(0).integers(0, 256, (1, 80, 80, 3), np.uint8)
    for one in (network, kept(tmp_path, config, network)):
        maps = [compute.engine_of(one, image, dense=True).scores(image) for compute in (BFLOAT16, FLOAT)]
        assert np.array_equal(*maps)


@has_bfloat16
def test_results_say_what_computed_them():
    """Numbers and library are named."""
    chosen = Compute.choose("cpu", engine="bfloat16")
    assert chosen.scores_in == "bfloat16"
    assert machine(chosen)["engine"].startswith("bfloat16 20")


def test_it_is_refused_where_it_cannot_be_computed(monkeypatch):
    """On a processor that would emulate it, on a GPU, and without its library: never float32 in its name."""
    monkeypatch.setattr("mitosieve.network.compute._has_fast_bfloat16", lambda device: False)
    with pytest.raises(InputError, match="no instructions for bfloat16"):
        Compute.choose("cpu", engine="bfloat16")
    monkeypatch.setattr("mitosieve.network.compute._has_fast_bfloat16", lambda device: True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"(?s)not installed.*fast"):
        Compute.choose("cpu", engine="bfloat16")
    with pytest.raises(InputError, match="not installed"):
        module.Bfloat16Engine(b"", EngineChoice(kind="bfloat16", device="cpu", half=False, threads=1, images_at_once=1))


def test_nobody_is_told_that_it_is_used():
    """Importing openvino sends a message over the network, which a laboratory's machine must not: no socket is opened,
    and the package that would is not loaded, also where several threads import.
    """
    code = (
        "import socket, sys, threading\n"
        "def never(*_, **__): print('network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = never\n"
        "from mitosieve.network.bfloat16 import load_openvino\n"
        "threads = [threading.Thread(target=load_openvino) for _ in range(4)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print('openvino' in sys.modules, [name for name in sys.modules if 'openvino_telemetry' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": ""})
    assert done.stdout.splitlines() == ["True []"]
