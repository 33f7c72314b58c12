"""Other ways to find figures, on this machine's cores, beside ours: `python bench/peers.py IMAGE [--mpp 0.25]`.

Networks of the sizes that are published, with random weights, for speed does not hang on them, through ONNX Runtime as
ours are: an FCOS and a RetinaNet on ResNeXt-50 32x4d with a feature pyramid of its four layers, in patches of 1,024 px
at 0.25 um/px that overlap by 0.3, the default of the MIDOG 2025 guide; and an EfficientNetV2-L (Tan & Le, ICML 2021,
table 4) in tiles of 512 px at 0.5 um/px, without overlap, the encoder of KongNet's detector without its decoders, so
that it is faster here than the whole. All are our own short definitions; what boxes and peaks cost after the network is
left out. Ours is `mitosieve detect`, whole process with its start. Prints mm2 of the image per CPU second and the peak
memory of each, a process each.

TIAToolbox's engine is not run: tiatoolbox 2.1.3 asks for torch < 2.13.0, pandas < 3.0.3, shapely <= 2.1.2,
opencv-python < 5 and numpy < 2.4.4, which do not go with constraints.txt. Where an environment of its own has it,
`tiatoolbox nucleus-instance-segment` runs it.
"""

import argparse
import itertools
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

GUIDE_PX, GUIDE_MPP, GUIDE_OVERLAP = 1024, 0.25, 0.3
KONG_PX, KONG_MPP, KONG_OVERLAP = 512, 0.5, 0.0

V2_L = ((1, 1, 32, 4, "fused"), (4, 2, 64, 7, "fused"), (4, 2, 96, 7, "fused"), (4, 2, 192, 10, "mb"),
        (6, 1, 224, 19, "mb"), (6, 2, 384, 25, "mb"), (6, 1, 640, 7, "mb"))  # fmt: skip
"""Expansion, stride, channels, layers, kind of each stage of EfficientNetV2-L."""


def resnext50_fpn(anchors: int, per_anchor: int):  # noqa: ANN201 - torch is imported where a peer runs
    """ResNeXt-50 32x4d, a feature pyramid of 256 channels over its four layers, two heads of four convolutions each."""
    import torch
    from torch import nn
    from torch.nn import functional

    def unit(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
        conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            inner = after // 2
            last = nn.Sequential(nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after))
            self.three = nn.Sequential(unit(before, inner, 1), unit(inner, inner, 3, stride, 32), last)
            self.skip = nn.Conv2d(before, after, 1, stride) if before != after else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.three(x) + self.skip(x))

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths, depths = (64, 256, 512, 1024, 2048), (3, 4, 6, 3)
            self.stem = nn.Sequential(unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
            self.layers = nn.ModuleList(
                nn.Sequential(
                    Block(before, after, 1 if before == 64 else 2), *(Block(after, after, 1) for _ in range(depth - 1))
                )
                for (before, after), depth in zip(itertools.pairwise(widths), depths, strict=True)
            )
            self.side = nn.ModuleList(nn.Conv2d(width, 256, 1) for width in widths[1:])
            self.smooth = nn.ModuleList(nn.Conv2d(256, 256, 3, 1, 1) for _ in depths)
            self.heads = nn.ModuleList(
                nn.Sequential(*(unit(256, 256, 3) for _ in range(4)), nn.Conv2d(256, anchors * out, 3, 1, 1))
                for out in (1, per_anchor)
            )

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            x = self.stem(x)
            maps: list[torch.Tensor] = []
            for layer in self.layers:
                x = layer(x)
                maps.append(x)
            sides = [side(item) for side, item in zip(self.side, maps, strict=True)]
            for i in (2, 1, 0):
                sides[i] = sides[i] + functional.interpolate(sides[i + 1], scale_factor=2.0)
            levels = [smooth(item) for smooth, item in zip(self.smooth, sides, strict=True)]
            return tuple(head(level) for level in levels for head in self.heads)

    return Detector()


def efficientnet_v2_l():  # noqa: ANN201 - as above
    """The encoder: a stem of 32 channels, seven stages, squeeze and excitation in the last four."""
    import torch
    from torch import nn

    def unit(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
        parts = [
            nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(after),
        ]
        return nn.Sequential(*parts, *((nn.SiLU(),) if act else ()))

    class Squeeze(nn.Module):
        def __init__(self, width: int, inner: int) -> None:
            super().__init__()
            self.gate = nn.Sequential(nn.Conv2d(width, inner, 1), nn.SiLU(), nn.Conv2d(inner, width, 1), nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.gate(x.mean((2, 3), keepdim=True))

    class Block(nn.Module):
        def __init__(self, before: int, after: int, expand: int, stride: int, kind: str) -> None:
            super().__init__()
            wide = before * expand
            if kind == "fused":
                first = unit(before, wide if expand > 1 else after, 3, stride)
                parts = [first, *((unit(wide, after, 1, act=False),) if expand > 1 else ())]
            else:
                deep = unit(wide, wide, 3, stride, groups=wide)
                parts = [unit(before, wide, 1), deep, Squeeze(wide, before // 4), unit(wide, after, 1, act=False)]
            self.parts, self.adds = nn.Sequential(*parts), stride == 1 and before == after

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.parts(x) if self.adds else self.parts(x)

    layers: list[nn.Module] = [unit(3, 32, 3, 2)]
    before = 32
    for expand, stride, after, depth, kind in V2_L:
        for number in range(depth):
            layers.append(Block(before, after, expand, stride if number == 0 else 1, kind))
            before = after
    return nn.Sequential(*layers, unit(before, 1280, 1))


PEERS: dict[str, tuple[Callable[[], object], int, float, float]] = {
    "FCOS, ResNeXt-50": (lambda: resnext50_fpn(1, 5), GUIDE_PX, GUIDE_MPP, GUIDE_OVERLAP),
    "RetinaNet, ResNeXt-50": (lambda: resnext50_fpn(3, 4), GUIDE_PX, GUIDE_MPP, GUIDE_OVERLAP),
    "EfficientNetV2-L, dense": (efficientnet_v2_l, KONG_PX, KONG_MPP, KONG_OVERLAP),
}


def run_peer(name: str, turns: int, answer: "multiprocessing.Queue[tuple[float, float, float]]") -> None:
    """CPU seconds of a patch, millions of weights, GB; in a process of its own."""
    import onnxruntime
    import torch

    make, side, _, _ = PEERS[name]
    network = make()
    assert isinstance(network, torch.nn.Module)
    weights = sum(value.numel() for value in network.parameters()) / 1e6
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "peer.onnx"
        torch.onnx.export(network.eval(), (torch.zeros(1, 3, side, side),), str(path), input_names=["x"], dynamo=False)
        del network
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
    session.run(None, {"x": image})
    start = time.process_time()
    for _ in range(turns):
        session.run(None, {"x": image})
    took = (time.process_time() - start) / turns
    answer.put((took, weights, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def run_ours(image: Path, mpp: float) -> tuple[float, float, float]:
    """CPU seconds of the whole command on one core, mm2 of the image, GB."""
    import cv2

    rows, columns = np.asarray(cv2.imread(str(image))).shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        words = ["detect", str(image), "--mpp", str(mpp), "--out", f"{folder}/out", "--threads", "1", "--workers", "0"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mitosieve.cli", *words, "-q"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, rows * columns * mpp**2 / 1e6, after.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="a field or a slide; a slide of 10 mm2 shows what starting is not")
    parser.add_argument("--mpp", type=float, default=0.25)
    parser.add_argument("--only", default="", help="peers whose name holds this")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    cpu, mm2, memory = run_ours(asked.image, asked.mpp)
    print(
        f"mitosieve detect, whole process: {mm2 / cpu:.3f} mm2 a CPU second ({mm2:.2f} mm2), {memory:.2f} GB",
        flush=True,
    )
    context = multiprocessing.get_context("spawn")
    for name, (_, side, mpp, overlap) in PEERS.items():
        if asked.only not in name:
            continue
        answer = context.Queue()
        process = context.Process(target=run_peer, args=(name, asked.turns, answer))
        process.start()
        took, weights, memory = answer.get()
        process.join()
        owned = (side * (1 - overlap) * mpp / 1000) ** 2
        print(
            f"{name} ({weights:.0f} million weights), {side} px at {mpp:g} um/px overlapping by {overlap:g}: "
            f"{owned / took:.3f} mm2 a CPU second, {memory:.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()
