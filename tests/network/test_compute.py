"""Laws of the machine: what is chosen, and that predicting by batches is predicting."""

import numpy as np
import pytest
import torch
from torch import nn

from mitosieve.errors import InputError
from mitosieve.network.compute import Compute, predict

CPU = Compute(device="cpu", precision="32-true")
COMPILED = Compute(device="cpu", precision="32-true", engine="onnxruntime")


class MeanOf(nn.Module):
    """Logit: the mean of the first channel minus that of the last, times ten."""

    def forward(self, image_BCHW):
        return 10 * (image_BCHW[:, 0].mean(dim=(1, 2)) - image_BCHW[:, -1].mean(dim=(1, 2)))


def images(n=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 9, 6), dtype=np.uint8)


def test_images_become_channels_first_in_0_to_1():
    """(B, H, W, C) bytes become (B, C, H, W) in 0..1 with memory left as it lies; the bytes stay unchanged."""
    some = images()
    kept = some.copy()
    tensor = CPU.to_tensor(some)
    assert tensor.shape == (7, 6, 8, 9)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(tensor.numpy(), np.moveaxis(some, 3, 1) / 255)
    assert (some == kept).all()


@pytest.mark.parametrize("compute", [CPU, COMPILED])
@pytest.mark.parametrize("sizes", [(7,), (1, 6), (3, 3, 1)])
def test_scores_come_in_order_whatever_the_batches(sizes, compute):
    """Each image's score is the sigmoid of its logit, in the order given, however they are cut into batches."""
    some = images()
    parts = np.split(some, np.cumsum(sizes)[:-1])
    logit = 10 * (some[..., 0].mean(axis=(1, 2)) - some[..., -1].mean(axis=(1, 2))) / 255
    assert np.allclose(predict(MeanOf(), iter(parts), compute), 1 / (1 + np.exp(-logit)), atol=1e-6)


@pytest.mark.parametrize("compute", [CPU, COMPILED])
def test_nothing_to_predict_is_no_error(compute):
    """No batch gives no score."""
    assert predict(MeanOf(), iter([]), compute).shape == (0,)


@pytest.mark.parametrize("compute", [CPU, COMPILED])
def test_predicting_leaves_training_mode_and_gradients(compute):
    """Batch norm and dropout do not act, and scores carry no graph."""
    network = nn.Sequential(nn.Dropout(0.9), MeanOf()).train()
    some = images()
    assert (predict(network, iter([some]), compute) == predict(MeanOf(), iter([some]), compute)).all()
    assert not network.training


def test_low_precision_is_near():
    """bfloat16 changes scores by its rounding only."""
    mixed = Compute(device="cpu", precision="bf16-mixed")
    network = nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 7, 1), nn.Flatten(0))
    exact, near = (predict(network, iter([images()]), compute) for compute in (CPU, mixed))
    assert near.dtype == np.float32
    assert np.abs(near - exact).max() < 0.02


def test_choices():
    """What is asked for is taken; auto is something this machine has; cpu is always there."""
    assert Compute.choose("cpu", "32-true", "torch") == CPU
    assert Compute.choose("cpu", "bf16-mixed", "torch") == Compute(device="cpu", precision="bf16-mixed")
    assert Compute.choose("cpu", "32-true", "onnxruntime").engine == "onnxruntime"
    assert Compute.choose("cpu").engine == "onnxruntime"
    assert Compute.choose().device in {"cpu", "cuda", "mps"}
    assert Compute.choose("cpu").precision in {"32-true", "bf16-mixed"}


@pytest.mark.parametrize("words", [("gpu",), ("cpu", "fp16"), ("cpu", "auto", "tensorrt")])
def test_unknown_words_are_refused_with_the_known_ones(words):
    """The message names what can be chosen."""
    with pytest.raises(InputError, match="choose auto"):
        Compute.choose(*words)


def test_onnx_runtime_is_for_cpus(monkeypatch):
    """On a GPU the engine is torch, and asking for the other one is refused."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert Compute.choose("cuda") == Compute(device="cuda", precision="32-true", engine="torch", scoring="32-true")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert Compute.choose("cuda") == Compute(device="cuda", precision="bf16-mixed", engine="torch", scoring="32-true")
    with pytest.raises(InputError, match="--engine torch"):
        Compute.choose("cuda", engine="onnxruntime")


@pytest.mark.parametrize(("device", "engine"), [("cuda", "auto"), ("cuda", "torch"), ("cpu", "auto"), ("cpu", "torch")])
def test_scores_are_float32s_where_nothing_else_was_asked(device, engine, monkeypatch):
    """On a machine that is quick in bfloat16 training takes it and scoring does not; a word for it is obeyed, and the
    numbers scored in are told as they are.
    """
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("mitosieve.network.compute._has_fast_bfloat16", lambda device: True)
    halves = []

    def noted(network, choice, example, *, dense=False):
        halves.append((choice.kind, choice.half))

    monkeypatch.setattr("mitosieve.network.live.engine_of", noted)
    for precision in ("auto", "32-true", "bf16-mixed"):
        Compute.choose(device, precision, engine).engine_of(MeanOf(), images())
    used = "onnxruntime" if (device, engine) == ("cpu", "auto") else "torch"
    assert halves[:2] == [(used, False)] * 2
    unasked, asked = Compute.choose(device, engine=engine), Compute.choose(device, "bf16-mixed", engine)
    assert unasked.precision == "bf16-mixed"
    assert unasked.scores_in in {"float32", "32-true"}
    assert asked.scores_in == ("float32" if used == "onnxruntime" else "bf16-mixed")
    assert halves[2][1] or used == "onnxruntime"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    """A machine without the accelerator says so, and what to do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="--device cpu"):
        Compute.choose(device)
