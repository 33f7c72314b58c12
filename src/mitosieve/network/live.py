"""Engines of networks that live in torch: eager, or as a graph for ONNX Runtime. Knows no slides and no patches."""

import hashlib
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mitosieve.errors import InputError
from mitosieve.network.bfloat16 import Bfloat16Engine
from mitosieve.network.engine import Engine, EngineChoice, GraphEngine
from mitosieve.network.graph import ScoresOfBytes, onnx_bytes

AGREEMENT = 1e-3
"""Largest difference of a score from eager torch's in float32 that an engine may have."""

_CHECKED_IMAGES = 4
"""Images on which an engine is held against eager torch; of a dense map's large tiles one."""


@runtime_checkable
class Freezable(Protocol):
    """A network that makes its kernels of others: scoring is done by `frozen`, which has them written out."""

    def frozen(self) -> nn.Module:
        """A network of the same function as now in evaluation mode, with weights of its own."""
        ...


def engine_of(network: nn.Module, choice: EngineChoice, example: NDArray[np.uint8], *, dense: bool = False) -> Engine:
    """The engine of a network. ONNX Runtime's, and a `Freezable` network's, is made once and kept while the network
    lives and its weights stay.

    Args:
        network: maps (B, C, H, W) to (B,) logits; put into evaluation mode, and for torch on the device.
        choice: what computes.
        example: (B, H, W, C) images of a size that the network takes, at least one.
        dense: score by the network's `dense`: `Engine.scores` then gives (B, H', W').

    Raises:
        InputError: the network cannot be written as ONNX, or ONNX Runtime scores the example otherwise than torch.
    """
    if choice.kind == "int8":
        raise InputError(
            f"a network {type(network).__name__} in torch has no int8 graph",
            remedy="leave out --engine int8: it is for detectors that have one",
        )
    if choice.kind == "torch" and not isinstance(network, Freezable):
        return TorchEngine(network, choice, dense=dense)
    kept = _ENGINES.setdefault(network, {})
    state = _fingerprint(network)
    found = kept.get((choice, dense))
    if found is None or found[0] != state:
        plain = network.eval().frozen() if isinstance(network, Freezable) else network
        found = (state, _made(plain, choice, example, dense=dense))
        kept[choice, dense] = found
    return found[1]


def _made(network: nn.Module, choice: EngineChoice, example: NDArray[np.uint8], *, dense: bool) -> Engine:
    if choice.kind == "torch":
        return TorchEngine(network, choice, dense=dense)
    if choice.kind == "bfloat16" and not dense:
        return Bfloat16Engine(onnx_bytes(ScoresOfBytes(network.eval()), example), choice)
    return graph_engine(network, choice, example, dense=dense)


class TorchEngine(Engine):
    """Eager torch, channels-last."""

    def __init__(self, network: nn.Module, choice: EngineChoice, *, dense: bool = False) -> None:
        self.choice = choice
        self.scorer = ScoresOfBytes(place(network, choice.device).eval(), dense=dense)

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: list[Tensor] = []
        with torch.inference_mode(), torch.autocast(self.choice.device, torch.bfloat16, enabled=self.choice.half):
            for start in range(0, len(images), self.choice.images_at_once):
                part = torch.from_numpy(images[start : start + self.choice.images_at_once])
                if self.choice.device == "cuda":  # from pinned memory the next part is copied while this one is scored
                    part = part.pin_memory()
                found.append(self.scorer(part.to(self.choice.device, non_blocking=True)))
            return torch.cat(found).cpu().numpy() if found else np.zeros(0, dtype=np.float32)


def graph_engine(
    network: nn.Module, choice: EngineChoice, example: NDArray[np.uint8], *, dense: bool = False
) -> GraphEngine:
    """The engine of a network's graph, held against torch on the example; arguments and errors as of `engine_of`."""
    if choice.device != "cpu":
        raise InputError(f"ONNX Runtime is used on CPUs, not on '{choice.device}'", remedy="choose --engine torch")
    scorer = ScoresOfBytes(network.eval(), dense=dense)
    engine = GraphEngine(onnx_bytes(scorer, example), choice, dense=dense)
    images = example[: 1 if dense else _CHECKED_IMAGES].copy()
    found = engine.scores(images)
    with torch.inference_mode():
        wanted = scorer(torch.from_numpy(images).to(next(scorer.parameters(), torch.zeros(0)).device)).cpu().numpy()
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=0, atol=AGREEMENT, equal_nan=True):
        raise InputError(
            f"ONNX Runtime scores the network {type(network).__name__} otherwise than torch does",
            remedy="choose --engine torch",
        )
    return engine


def place(network: nn.Module, device: str) -> nn.Module:
    """The network on the device, its kernels channels-last as the images are: twice the speed of float32 on a CPU."""
    placed: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stub lacks this form
    return placed


_ENGINES: WeakKeyDictionary[nn.Module, dict[tuple[EngineChoice, bool], tuple[bytes, Engine]]] = WeakKeyDictionary()
"""By network, with the fingerprint of the weights they were made of. An engine must not hold its network."""


def _fingerprint(network: nn.Module) -> bytes:
    """Hash of all weights; reading them costs less than scoring one image."""
    digest = hashlib.blake2b(digest_size=16)
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.digest()
