"""Where tensors are computed and how precisely; and a network over many images. Knows no slides and no patches."""

import logging
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mitosieve.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["32-true", "bf16-mixed"]

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
"""Without one of these a CPU emulates bfloat16 and is slower with it."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A device and a precision. A choice of the machine, not of the science; recorded with every run.

    Attributes:
        device: "cpu", "cuda" or "mps".
        precision: "bf16-mixed" computes convolutions in bfloat16 and keeps weights and losses in float32.
    """

    device: str
    precision: Precision

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> "Compute":
        """What is asked for, or the best the machine has.

        Raises:
            InputError: a device that the machine has not, or an unknown word.
        """
        if device not in {"auto", "cpu", "cuda", "mps"}:
            raise InputError(f"unknown device '{device}'", remedy="choose auto, cpu, cuda or mps")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError(
                "this machine has no usable CUDA device", remedy="use --device cpu, or see: mitosieve doctor"
            )
        if device == "mps" and not torch.backends.mps.is_available():
            raise InputError("this machine has no MPS device", remedy="use --device cpu")
        if precision == "auto":
            return cls(device=device, precision="bf16-mixed" if _has_fast_bfloat16(device) else "32-true")
        if precision not in {"32-true", "bf16-mixed"}:
            raise InputError(f"unknown precision '{precision}'", remedy="choose auto, 32-true or bf16-mixed")
        return cls(device=device, precision="32-true" if precision == "32-true" else "bf16-mixed")

    @property
    def images_at_once(self) -> int:
        """Images that go through a network together when nothing is learned. On a CPU so few that the widest layer
        stays in the cache (64 against 256: twice the speed); on a GPU enough to fill it.
        """
        return 64 if self.device == "cpu" else 1024

    def fabric(self) -> "Fabric":
        """Lightning Fabric for one device of this kind."""
        from lightning_fabric import Fabric

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision at every start
        return Fabric(accelerator=self.device, devices=1, precision=self.precision)

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, its kernels channels-last as the images are: twice the speed on a CPU."""
        placed: nn.Module = network.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stub lacks this form
        return placed

    def to_tensor(self, images: NDArray[np.uint8]) -> Tensor:
        """Images (B, H, W, C) uint8 as (B, C, H, W) float 0..1 on the device; memory stays channels-last."""
        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float().div_(255)


def _has_fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    if device != "cpu" or platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(errors="replace")
    return any(flag in flags for flag in _CPU_FLAGS)


def predict(network: nn.Module, batches: Iterator[NDArray[np.uint8]], compute: Compute) -> NDArray[np.float32]:
    """Probability of "mitotic figure" for every image of every batch, in order.

    Args:
        network: maps (B, C, H, W) to (B,) logits; used in evaluation mode.
        batches: uint8 (B, H, W, C) each; at least one image a batch.
        compute: where and how.

    Returns:
        (N,) in 0..1.
    """
    network = compute.place(network).eval()
    mixed = compute.precision == "bf16-mixed"
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode(), torch.autocast(compute.device, torch.bfloat16, enabled=mixed):
        for images in batches:
            for start in range(0, len(images), compute.images_at_once):
                part = compute.to_tensor(images[start : start + compute.images_at_once])
                found.append(torch.sigmoid(network(part).float()).cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def machine(compute: Compute) -> dict[str, str | int]:
    """What computed the numbers: device, precision, threads, processor. The same machine gives the same bytes."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = f"{models[0]}, {len(models)} threads" if models else processor
    if compute.device == "cuda":
        processor += f"; {torch.cuda.get_device_name()}"
    return {
        "device": compute.device,
        "precision": compute.precision,
        "torch_threads": torch.get_num_threads(),
        "processor": processor,
    }
