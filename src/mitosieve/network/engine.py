"""What scores many images by one network on a CPU without torch: a graph in ONNX Runtime. Knows no slides, no patches.

Why ONNX Runtime: docs/decisions/0008. It computes in float32 and, as it is used here, the score of an image does not
depend on what else is in the batch: each thread takes parts of a few images and computes them alone. onnxruntime is
imported when the first such engine is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.network.choices import EngineKind

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """What scores images, and how.

    Attributes:
        kind: which library computes; "int8" is ONNX Runtime by another graph, "bfloat16" OpenVINO.
        device: "cpu", "cuda" or "mps"; ONNX Runtime is used on CPUs alone.
        half: torch computes convolutions in bfloat16; ONNX Runtime does not, whatever is asked.
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


class GraphEngine(Engine):
    """A graph in ONNX Runtime. Each thread takes parts of `images_at_once` images (one image if dense), computed alone.

    Parts of few images stay in a core's cache; threads that share no operation do not wait for each other; and the
    scores are the same bytes for any number of threads.

    Args:
        graph: ONNX bytes, as `graph.onnx_bytes` writes them.
        choice: what computes; its kind and device are not looked at.
        weights: values of the graph's external tensors by name; none of a graph that holds all of its own.
        dense: whether images are large and the scores maps.
    """

    def __init__(
        self,
        graph: bytes,
        choice: EngineChoice,
        *,
        weights: Mapping[str, NDArray[Any]] | None = None,
        dense: bool = False,
    ) -> None:
        self.threads = choice.threads
        self.at_once = 1 if dense else choice.images_at_once
        self.session = _session(graph, weights or {})

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = np.ascontiguousarray(images)
        parts = [images[start : start + self.at_once] for start in range(0, len(images), self.at_once)]
        return each_part(self._part, parts, self.threads)

    def _part(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self.session.run(None, {"images": images})[0])


def each_part(
    score: Callable[[NDArray[np.uint8]], NDArray[np.float32]], parts: Sequence[NDArray[np.uint8]], threads: int
) -> NDArray[np.float32]:
    """Scores of all parts in their order, each part computed by one of so many threads."""
    if not parts:
        return np.zeros(0, dtype=np.float32)
    alone = threads == 1 or len(parts) == 1
    return np.concatenate(list(map(score, parts) if alone else _pool(threads).map(score, parts)))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="scores")


def _session(graph: bytes, weights: Mapping[str, NDArray[Any]]) -> "InferenceSession":
    """One thread a call; a part's memory is asked for as it is needed, not in doubling steps."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
