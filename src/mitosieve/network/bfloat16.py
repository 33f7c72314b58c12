"""Scores in bfloat16 on a CPU that computes it: a network's graph in OpenVINO. Knows no slides and no patches.

Twice as fast as float32, and not the same scores: how far off they are depends on the network, so it is used where it
is asked for (docs/decisions/0008). openvino is imported when the first such engine is made.
"""

import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import InputError
from mitosieve.network.engine import Engine, EngineChoice, each_part

if TYPE_CHECKING:
    from openvino import CompiledModel, Core, InferRequest

_HOW = {"INFERENCE_PRECISION_HINT": "bf16"}

_TELEMETRY = "openvino_telemetry"
_LOADING = threading.Lock()

_MOST = 16
"""Images of 64 px that go through at once, whatever is asked: the last part is filled up, and more gains nothing."""

_PX = 64 * 64
"""Of smaller images as many more go through at once: of 32 px one of eight takes a tenth longer than one of 32."""


class Bfloat16Engine(Engine):
    """A graph in OpenVINO whose convolutions are of bfloat16; sums and the score's sigmoid have more digits.

    As of `GraphEngine` each thread computes parts of a few images alone. The last part is filled up: kernels differ
    with the number of images, so it is one number, and an image's score is the same bytes whatever is beside it and for
    any number of threads.

    Args:
        graph: ONNX bytes, as `graph.onnx_bytes` writes them.
        choice: what computes; its kind and device are not looked at.
        weights: values of the graph's external tensors by name; none of a graph that holds all of its own.

    Raises:
        InputError: openvino is not installed.
    """

    def __init__(
        self, graph: bytes, choice: EngineChoice, *, weights: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        self.core: Core = load_openvino().Core()
        self.threads = choice.threads
        self.at_once = min(choice.images_at_once, _MOST)
        self.graph = _with_weights(graph, weights) if weights else graph
        self.core.read_model(model=self.graph)  # what is wrong with it is told now
        self._compiled: dict[tuple[int, ...], CompiledModel] = {}
        self._compiling = threading.Lock()
        self._own = threading.local()

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        at_once = self.at_once * max(1, _PX // (images.shape[1] * images.shape[2]))
        parts = [images[start : start + at_once] for start in range(0, len(images), at_once)]
        return each_part(lambda part: self._part(part, at_once), parts, self.threads)

    def _part(self, images: NDArray[np.uint8], at_once: int) -> NDArray[np.float32]:
        request = self._request((at_once, *images.shape[1:]))
        request.get_input_tensor().data[: len(images)] = images  # behind them others of before, not looked at
        request.infer()
        return np.array(request.get_output_tensor().data[: len(images)], dtype=np.float32)

    def _request(self, shape: tuple[int, ...]) -> "InferRequest":
        """This thread's own, for images of one number and size."""
        requests: dict[tuple[int, ...], InferRequest] = self._own.__dict__.setdefault("requests", {})
        if shape not in requests:
            requests[shape] = self._model(shape).create_infer_request()
        return requests[shape]

    def _model(self, shape: tuple[int, ...]) -> "CompiledModel":
        """The graph for images of one number and size."""
        with self._compiling:
            if shape not in self._compiled:
                model = self.core.read_model(model=self.graph)
                model.reshape({0: list(shape)})
                how = {"NUM_STREAMS": self.threads, "INFERENCE_NUM_THREADS": self.threads}
                self._compiled[shape] = self.core.compile_model(model, "CPU", _HOW | how)
            return self._compiled[shape]


def load_openvino() -> ModuleType:
    """OpenVINO, without its telemetry: importing it tells its makers of the import over the network, unless the package
    `openvino_telemetry` is not there. Here it is not.

    Raises:
        InputError: it is not installed, and how to get it.
    """
    with _LOADING:
        telemetry = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == _TELEMETRY}
        sys.modules[_TELEMETRY] = None  # pyright: ignore[reportArgumentType] - what Python calls not there
        try:
            return import_module("openvino")
        except ImportError as error:
            raise InputError(
                "OpenVINO, which computes in bfloat16, is not installed",
                remedy="pip install 'mitosieve[fast]', or leave out --engine bfloat16",
            ) from error
        finally:
            del sys.modules[_TELEMETRY]
            sys.modules.update(telemetry)


def _with_weights(graph: bytes, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The graph with its external tensors inside: OpenVINO takes them from files alone."""
    import onnx

    model = onnx.load_model_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
    return model.SerializeToString()
