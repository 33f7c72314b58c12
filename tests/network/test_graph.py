"""Laws of graphs: every layer of the table is written as torch computes it; others go through torch's exporter."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from mitosieve.errors import InputError
from mitosieve.network import graph
from mitosieve.network.graph import ScoresOfBytes, onnx_bytes


class Computing(nn.Module):
    """A logit made by a function of the image, and of layers that it may use."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, image_BCHW):
        return self.function(image_BCHW, *self.layers)


def summed(x):
    return x.mean(dim=(1, 2, 3))


def a_norm():
    norm = nn.BatchNorm2d(3)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    return norm


TABLE = {
    "convolution": lambda: Computing(
        lambda x, c: summed(c(x)), nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    ),
    "grouped convolution": lambda: Computing(lambda x, c: summed(c(x)), nn.Conv2d(3, 6, 3, groups=3, bias=False)),
    "batch norm": lambda: Computing(lambda x, n: summed(n(x)), a_norm()),
    "linear": lambda: Computing(lambda x, f: f(x.mean((2, 3))).squeeze(1), nn.Linear(3, 1)),
    "linear without bias": lambda: Computing(lambda x, f: f(x.mean((2, 3)))[:, 0], nn.Linear(3, 1, bias=False)),
    "relu": lambda: Computing(
        lambda x, r: summed(r(x - 0.5) + torch.relu(x - 0.3) - functional.relu(0.2 - x)), nn.ReLU()
    ),
    "flatten": lambda: Computing(
        lambda x, a, f, d: d(f(a(x))).flatten(0), nn.Dropout(), nn.Flatten(), nn.Linear(168, 1)
    ),
    "flattened to one axis": lambda: nn.Sequential(nn.Conv2d(3, 1, (8, 7)), nn.Flatten(0)),
    "torch.flatten": lambda: Computing(lambda x, d: torch.flatten(d(torch.flatten(x, 1))), nn.Linear(168, 1)),
    "arithmetic": lambda: Computing(lambda x: summed((1 - x) * 3 / (x + 2) - 2 * x + x / 3)),
    "slices": lambda: Computing(lambda x: summed(x[:, 1:, ::2, 1:-2]) - x[:, -1, 0, 3] + x[:, 2].mean(dim=(1, 2))),
    "concatenation": lambda: Computing(lambda x: torch.cat([x, x[:, :1]], dim=1).mean(dim=(1, 2, 3))),
    "max pool": lambda: Computing(lambda x, p: summed(p(x)), nn.MaxPool2d(3, stride=(2, 1), padding=(1, 0))),
    "max pool rounded up": lambda: Computing(lambda x, p: summed(p(x)), nn.MaxPool2d(2, ceil_mode=True)),
    "unflattened channels": lambda: Computing(
        lambda x, u: summed(u(x.permute(0, 2, 1, 3)).amax(2)), nn.Unflatten(1, (2, 4))
    ),
    "largest": lambda: Computing(lambda x: x.amax(dim=(1, 3), keepdim=True).mean(dim=(1, 2, 3))),
    "kept axes": lambda: Computing(lambda x: summed(x - x.mean(dim=1, keepdim=True) * 2)),
    "interpolation": lambda: Computing(
        lambda x: functional.interpolate(x, size=(19, 12), mode="bilinear")[:, 1, 3:7, 11].mean(dim=1)
    ),
    "interpolation by aligned corners": lambda: Computing(
        lambda x: functional.interpolate(x, size=(19, 12), mode="bilinear", align_corners=True)[:, 1, 3:7, 11].mean(
            dim=1
        )
    ),
    "interpolation to the size of another": lambda: Computing(
        lambda x, p: summed(functional.interpolate(p(x), size=x.shape[2:], mode="bilinear", align_corners=False) * x),
        nn.MaxPool2d(3, stride=2),
    ),
    "sigmoid": lambda: Computing(lambda x: torch.sigmoid(summed(x))),
    "permutation": lambda: Computing(lambda x: x.permute(0, 2, 3, 1)[:, :, 1, 2].mean(dim=1)),
}


def bytes_of(n=5):
    return np.random.default_rng(0).integers(0, 256, (n, 8, 7, 3), dtype=np.uint8)


def both(network, model, some):
    """Scores by the graph, and by torch."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        return session.run(None, {"images": some})[0], ScoresOfBytes(network.eval())(torch.from_numpy(some)).numpy()


@pytest.mark.parametrize("name", TABLE)
def test_each_layer_of_the_table_is_written_as_torch_computes_it(name, monkeypatch):
    """For batches of another size than the example's too; torch's exporter is not asked."""
    monkeypatch.setattr(graph, "_exported", None)
    torch.manual_seed(0)
    network = TABLE[name]()
    model = onnx_bytes(ScoresOfBytes(network), bytes_of(2))
    for some in (bytes_of(1), bytes_of(5)):
        found, wanted = both(network, model, some)
        assert found.shape == wanted.shape == (len(some),)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        Computing(lambda x, c: summed(c(x)), nn.Conv2d(3, 4, 3, padding="same")),
        Computing(lambda x, c: summed(c(x)), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
        Computing(lambda x, n: summed(n(x)), nn.BatchNorm2d(3, affine=False)),
        Computing(lambda x, n: summed(n(x)), nn.BatchNorm2d(3, track_running_stats=False)),
        Computing(lambda x: summed(torch.roll(x, 1, 1))),
        Computing(lambda x: summed(x[:, [0, 2]])),
        Computing(lambda x: summed(x) if x.shape[2] > 3 else summed(x * 2)),
        Computing(lambda x: summed(x.relu_())),
        Computing(lambda x: x.flatten(1, 2).mean(dim=(1, 2))),
        Computing(lambda x: summed(functional.interpolate(x, size=(9, 9)))),
        Computing(lambda x: summed(functional.interpolate(x, size=(9, 9), mode="bicubic", align_corners=True))),
        Computing(lambda x: summed(functional.interpolate(x, scale_factor=2, mode="bilinear"))),
        Computing(lambda x: summed(x) / x.ndim),
    ],
)
def test_what_the_table_has_not_is_left_to_torch(network):
    """Nothing is written that might compute something else."""
    assert graph._written(ScoresOfBytes(network).eval()) is None


def test_a_network_beyond_the_table_goes_through_torchs_exporter():
    """The result is the same kind of graph, also for other batches than the example's."""
    network = Computing(lambda x, g: summed(torch.roll(g(x), 1, 1) * x), nn.GELU())
    model = onnx_bytes(ScoresOfBytes(network), bytes_of(1))
    found, wanted = both(network, model, bytes_of(5))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_network_that_is_no_graph_is_refused_with_what_to_do():
    """A decision by the pixels cannot be written down."""
    network = Computing(lambda x: summed(x) if float(x.sum()) > 3 else summed(x * 2))
    with pytest.raises(InputError, match="--engine torch"):
        onnx_bytes(ScoresOfBytes(network), bytes_of(2))
