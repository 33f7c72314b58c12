"""A network made ready to score many images: eager torch, or ONNX Runtime. Knows no slides and no patches.

Why ONNX Runtime on a CPU: docs/decisions/0008. It computes in float32 and, as it is used here, the score of an image
does not depend on what else is in the batch: each thread takes parts of a few images and computes them alone.
onnxruntime is imported when the first such engine is made.
"""

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mitosieve.errors import InputError
from mitosieve.network.graph import ScoresOfBytes, onnx_bytes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

EngineKind = Literal["torch", "onnxruntime"]

AGREEMENT = 1e-3
"""Largest difference of a score from eager torch's in float32 that an engine may have."""

_CHECKED_IMAGES = 4
"""Images on which an engine is held against eager torch; of a dense map's large tiles one."""


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """What scores images, and how.

    Attributes:
        kind: which library computes.
        device: "cpu", "cuda" or "mps"; ONNX Runtime is used on CPUs alone.
        half: torch computes convolutions in bfloat16; ONNX Runtime computes in float32 whatever is asked.
        threads: of ONNX Runtime; torch has a number of its own for the whole process.
        images_at_once: images that go through the network together.
    """

    kind: EngineKind
    device: str
    half: bool
    threads: int
    images_at_once: int


class Engine(ABC):
    """Scores of images by one network as its weights were when the engine was made."""

    @abstractmethod
    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of "mitotic figure" of each image.

        Args:
            images: (B, H, W, C); B may be 0.

        Returns:
            (B,) in 0..1.
        """


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
    if choice.kind == "torch" and not isinstance(network, Freezable):
        return TorchEngine(network, choice, dense=dense)
    kept = _ENGINES.setdefault(network, {})
    state = _fingerprint(network)
    found = kept.get((choice, dense))
    if found is None or found[0] != state:
        plain = network.eval().frozen() if isinstance(network, Freezable) else network
        onnx = choice.kind == "onnxruntime"
        engine = OnnxEngine(plain, choice, example, dense=dense) if onnx else TorchEngine(plain, choice, dense=dense)
        found = (state, engine)
        kept[choice, dense] = found
    return found[1]


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
                found.append(self.scorer(part.to(self.choice.device)))
            return torch.cat(found).cpu().numpy() if found else np.zeros(0, dtype=np.float32)


class OnnxEngine(Engine):
    """ONNX Runtime on a CPU. Each thread takes parts of `images_at_once` images (one image if dense), computed alone.

    Parts of few images stay in a core's cache; threads that share no operation do not wait for each other; and the
    scores are the same bytes for any number of threads.
    """

    def __init__(
        self, network: nn.Module, choice: EngineChoice, example: NDArray[np.uint8], *, dense: bool = False
    ) -> None:
        if choice.device != "cpu":
            raise InputError(f"ONNX Runtime is used on CPUs, not on '{choice.device}'", remedy="choose --engine torch")
        scorer = ScoresOfBytes(network.eval(), dense=dense)
        self.threads = choice.threads
        self.at_once = 1 if dense else choice.images_at_once
        self.session = _session(onnx_bytes(scorer, example))
        self._check(scorer, example[: 1 if dense else _CHECKED_IMAGES].copy())

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = np.ascontiguousarray(images)
        parts = [images[start : start + self.at_once] for start in range(0, len(images), self.at_once)]
        if not parts:
            return np.zeros(0, dtype=np.float32)
        alone = self.threads == 1 or len(parts) == 1
        return np.concatenate(list(map(self._part, parts) if alone else _pool(self.threads).map(self._part, parts)))

    def _part(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self.session.run(None, {"images": images})[0])

    def _check(self, scorer: ScoresOfBytes, images: NDArray[np.uint8]) -> None:
        found = self.scores(images)
        with torch.inference_mode():
            wanted = scorer(torch.from_numpy(images).to(next(scorer.parameters(), torch.zeros(0)).device)).cpu().numpy()
        if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=0, atol=AGREEMENT, equal_nan=True):
            raise InputError(
                f"ONNX Runtime scores the network {type(scorer.network).__name__} otherwise than torch does",
                remedy="choose --engine torch",
            )


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


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="scores")


def _session(graph: bytes) -> "InferenceSession":
    """One thread a call; a part's memory is asked for as it is needed, not in doubling steps."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
