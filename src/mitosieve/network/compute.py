"""Where tensors are computed and how precisely; and a network over many images. Knows no slides and no patches.

Torch is imported by what needs it: on a machine without an accelerator a kept network scores without.
"""

import contextlib
import ctypes
import logging
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import InputError
from mitosieve.network.choices import EngineKind, Precision, check_choices
from mitosieve.network.engine import Engine, EngineChoice
from mitosieve.network.kept import KeptNetwork
from mitosieve.network.threads import num_threads

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
"""Without one of these a CPU emulates bfloat16 and is slower with it."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A device, a precision and an engine. A choice of the machine, not of the science; recorded with every run.

    Attributes:
        device: "cpu", "cuda" or "mps".
        precision: of training: "bf16-mixed" computes convolutions in bfloat16 and keeps weights and losses in float32.
        engine: what scores images when nothing is learned; "onnxruntime" does so in float32, "bfloat16" and "int8"
            in what they are called after, whatever `precision` says.
        batch_size: images that go through a network together when nothing is learned; None is what was measured best.
        scoring: of scoring by torch; None is `precision`.
    """

    device: str
    precision: Precision
    engine: EngineKind = "torch"
    batch_size: int | None = None
    scoring: Precision | None = None

    @classmethod
    def choose(
        cls, device: str = "auto", precision: str = "auto", engine: str = "auto", batch_size: int | None = None
    ) -> "Compute":
        """What is asked for, or the best the machine has; for the engine: ONNX Runtime on a CPU, torch elsewhere.

        Training may take bfloat16 unasked, scoring does not: thresholds are those of float32's scores.

        Raises:
            InputError: a device that the machine has not, an engine that the device has not, or an unknown word.
        """
        check_choices(device, precision, engine)
        device = _device(device)
        unasked = precision == "auto"
        if unasked:
            precision = "bf16-mixed" if _has_fast_bfloat16(device) else "32-true"
        if engine == "auto":
            engine = "onnxruntime" if device == "cpu" else "torch"
        if engine != "torch" and device != "cpu":
            raise InputError(f"engine {engine} is for CPUs, not for '{device}'", remedy="choose --engine torch")
        if engine == "bfloat16":
            _check_bfloat16()
        if engine == "int8" and not _has_fast_int8():
            raise InputError(
                "this processor has no instructions for int8 (VNNI): it would not be faster, and score otherwise",
                remedy="leave out --engine int8",
            )
        return cls(
            device=device,
            precision=cast("Precision", precision),
            engine=cast("EngineKind", engine),
            batch_size=batch_size,
            scoring="32-true" if unasked else None,
        )

    @property
    def images_at_once(self) -> int:
        """Images that go through a network together when nothing is learned. On a CPU so few that the widest layer
        stays in the cache; on a GPU enough to fill it.
        """
        if self.batch_size is not None:
            return self.batch_size
        if self.device != "cpu":
            return 1024
        return {"torch": 64, "bfloat16": 8}.get(self.engine, 16)

    @property
    def scores_in(self) -> str:
        """Numbers that images are scored in: scores of another kind are not the same."""
        return {"onnxruntime": "float32", "torch": self._torch_scores_in}.get(self.engine, self.engine)

    @property
    def _torch_scores_in(self) -> Precision:
        return self.precision if self.scoring is None else self.scoring

    def engine_of(
        self, network: "nn.Module | KeptNetwork", example: NDArray[np.uint8], *, dense: bool = False
    ) -> Engine:
        """What scores images by this network (see `live.engine_of`); for loops that score many batches.

        Args:
            network: maps (B, C, H, W) to (B,) logits; used in evaluation mode.
            example: (B, H, W, C) images of a size that the network takes, at least one.
            dense: score by the network's `dense`.
        """
        choice = EngineChoice(
            kind=self.engine,
            device=self.device,
            half=self._torch_scores_in == "bf16-mixed",
            threads=num_threads(),
            images_at_once=self.images_at_once,
        )
        if isinstance(network, KeptNetwork):
            engine = network.engine(choice, dense=dense)
            if engine is not None:
                return engine
            network = network.module
        from mitosieve.network.live import engine_of

        return engine_of(network.eval(), choice, example, dense=dense)

    def fabric(self) -> "Fabric":
        """Lightning Fabric for one device of this kind."""
        from lightning_fabric import Fabric

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision at every start
        return Fabric(accelerator=self.device, devices=1, precision=self.precision)

    def place(self, network: "nn.Module") -> "nn.Module":
        """The network on the device, its kernels channels-last as the images are."""
        from mitosieve.network.live import place

        return place(network, self.device)

    def to_tensor(self, images: NDArray[np.uint8]) -> "Tensor":
        """Images (B, H, W, C) uint8 as (B, C, H, W) float 0..1 on the device; memory stays channels-last."""
        import torch

        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float().div_(255)


def _device(asked: str) -> str:
    if asked == "cpu" or (asked == "auto" and not _may_have_accelerator()):
        return "cpu"
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise InputError("this machine has no usable CUDA device", remedy="use --device cpu, or see: mitosieve doctor")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise InputError("this machine has no MPS device", remedy="use --device cpu")
    return asked


_DRIVERS = ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so", "amdhip64.dll")
"""Libraries without which torch finds no GPU."""


def _may_have_accelerator() -> bool:
    """False where torch need not be asked: its import takes longer than reading a small field."""
    if sys.platform == "darwin":
        return True
    for name in _DRIVERS:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _has_fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_capability() >= (8, 0)  # torch calls it supported on older ones, which emulate it
    if device != "cpu" or platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(errors="replace")
    return any(flag in flags for flag in _CPU_FLAGS)


def _check_bfloat16() -> None:
    if not _has_fast_bfloat16("cpu"):
        raise InputError(
            "this processor has no instructions for bfloat16: it would not be faster, and score otherwise",
            remedy="leave out --engine bfloat16",
        )
    from mitosieve.network.bfloat16 import load_openvino

    load_openvino()


def _has_fast_int8() -> bool:
    """Whether sums of products of 8-bit numbers neither saturate nor take longer than those of float32."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and any(flag in flags.read_text(errors="replace") for flag in ("avx512_vnni", "avx_vnni"))


def predict(network: "nn.Module", batches: Iterator[NDArray[np.uint8]], compute: Compute) -> NDArray[np.float32]:
    """Probability of "mitotic figure" for every image of every batch, in order.

    Args:
        network: maps (B, C, H, W) to (B,) logits; used in evaluation mode.
        batches: uint8 (B, H, W, C) each; at least one image a batch.
        compute: where and how.

    Returns:
        (N,) in 0..1.
    """
    engine: Engine | None = None
    found: list[NDArray[np.float32]] = []
    for images in batches:
        engine = compute.engine_of(network, images) if engine is None else engine
        found.append(engine.scores(images))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


_LIBRARIES = {"torch": "torch", "onnxruntime": "onnxruntime", "bfloat16": "openvino", "int8": "onnxruntime"}


def machine(compute: Compute) -> dict[str, str | int]:
    """What computed the numbers: device, precision, engine, threads, processor. Equal machines, equal bytes.

    Torch names its build (2.13.0+cu130): builds of one version differ in a number's last digits.
    """
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = f"{models[0]}, {len(models)} threads" if models else processor
    if compute.device == "cuda":
        import torch

        processor += f"; {torch.cuda.get_device_name()}"
    return {
        "device": compute.device,
        "precision": compute.precision,
        "engine": f"{compute.engine} {version(_LIBRARIES[compute.engine])}",
        "torch_threads": num_threads(),
        "processor": processor,
    }
