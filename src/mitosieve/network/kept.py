"""A network as a detector's folder keeps it: scores come from its graph, without torch; torch has it when asked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_from_bytes

from mitosieve.errors import DetectorError, MitosieveError
from mitosieve.network.bfloat16 import Bfloat16Engine
from mitosieve.network.config import NetworkConfig
from mitosieve.network.engine import Engine, EngineChoice, GraphEngine

if TYPE_CHECKING:
    from torch import nn


class KeptNetwork:
    """Bytes of a network; other processes can be given it.

    Args:
        config: of the network.
        weights: bytes of its safetensors file.
        graphs: ONNX bytes by `dense`, whose tensors are external; may be empty, as of detectors of before.
        where: the file of the weights, for messages.
        int8: ONNX bytes of the scores in whole numbers of 8 bits, with its own weights; empty where float32 is meant to
            do beside a detector's other networks, None where int8 must not be asked for.
    """

    def __init__(
        self,
        config: NetworkConfig,
        weights: bytes,
        graphs: Mapping[bool, bytes],
        where: str,
        int8: bytes | None = None,
    ) -> None:
        self.config = config
        self.weights = weights
        self.graphs = dict(graphs)
        self.where = where
        self.int8 = int8
        self._engines: dict[tuple[EngineChoice, bool], Engine] = {}
        self._module: nn.Module | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engines": {}, "_module": None}

    @property
    def module(self) -> "nn.Module":
        """The network in torch, in evaluation mode; the same at every call.

        Raises:
            DetectorError: the weights are not of this network.
        """
        from mitosieve.network.registry import build_network, weights_from_bytes

        if self._module is None:
            self._module = weights_from_bytes(build_network(self.config), self.weights, where=self.where)
        return self._module

    @property
    def num_weights(self) -> int:
        """Numbers that training has set; running means and variances are none."""
        return sum(value.size for name, value in self._arrays().items() if not _is_running(name))

    def engine(self, choice: EngineChoice, *, dense: bool = False) -> Engine | None:
        """The engine of the graph, made once a choice; None where there is no such graph or another library is asked.

        Maps are computed in float32, also where bfloat16 or int8 is asked for: these were measured on scores alone.

        Raises:
            DetectorError: graph and weights do not belong together, or int8 is asked for and was not measured.
            InputError: bfloat16 is asked for and OpenVINO is not installed.
        """
        if choice.kind == "int8" and self.int8 is None:
            remedy = "leave out --engine int8: it is for detectors that have one"
            raise DetectorError("has no int8 graph", where=self.where, remedy=remedy)
        if choice.kind == "torch" or not (dense in self.graphs or self._by_int8(choice, dense=dense)):
            return None
        if (choice, dense) not in self._engines:
            self._engines[choice, dense] = self._made(choice, dense=dense)
        return self._engines[choice, dense]

    def _by_int8(self, choice: EngineChoice, *, dense: bool) -> bool:
        return choice.kind == "int8" and not dense and bool(self.int8)

    def _made(self, choice: EngineChoice, *, dense: bool) -> Engine:
        by_int8 = self._by_int8(choice, dense=dense)
        arrays = {} if by_int8 else self._arrays()
        weights = {name: value.astype(np.float32) for name, value in arrays.items() if value.dtype.kind == "f"}
        try:
            graph = self.int8 if by_int8 and self.int8 else self.graphs[dense]
            if choice.kind == "bfloat16" and not dense:
                return Bfloat16Engine(graph, choice, weights=weights)
            return GraphEngine(graph, choice, weights=weights, dense=dense)
        except MitosieveError:
            raise
        except Exception as error:  # onnxruntime has a class of its own for every code, all of them plain Exceptions
            raise DetectorError(
                f"graph and weights do not belong together ({str(error).splitlines()[0]})",
                where=self.where,
                remedy="copy the whole folder again, or choose --engine torch",
            ) from error

    def _arrays(self) -> dict[str, NDArray[Any]]:
        try:
            return arrays_from_bytes(self.weights)
        except SafetensorError as error:
            raise DetectorError(f"does not hold weights of this network ({error})", where=self.where) from error


def _is_running(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))
