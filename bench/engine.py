"""Milliseconds a patch of eager torch, ONNX Runtime and (where it is installed) OpenVINO, and how far scores differ.

Figures of one run are comparable; on a busy machine compare them as ratios. Networks are the two of `swift` and CHS-NET
at width 1/8, with random weights; scores are spread over 0..1 as a trained network's are.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.network.bfloat16 import load_openvino
from mitosieve.network.chsnet import ChsNet
from mitosieve.network.config import ChsNetConfig, SwiftConfig
from mitosieve.network.engine import EngineChoice
from mitosieve.network.graph import ScoresOfBytes, onnx_bytes
from mitosieve.network.live import TorchEngine, graph_engine
from mitosieve.network.swift import SwiftNet

Images = NDArray[np.uint8]
Scoring = Callable[[Images], NDArray[np.float32]]

IMAGES = 512


def networks() -> dict[str, tuple[nn.Module, int, int]]:
    """Network, side of its patch in px, channels."""
    two = SwiftConfig(input_px=64, widths=(32, 64, 128), depths=(1, 2, 1), head=128)
    return {
        "swift, stage one": (SwiftNet(SwiftConfig()), 32, 3),
        "swift, stage two": (SwiftNet(two), 64, 3),
        "CHS-NET, width 1/8": (ChsNet(ChsNetConfig(width=1 / 8)), 64, 6),
    }


def spread(network: nn.Module, images: Images) -> None:
    """Statistics for the batch norms, and logits of mean 0 and deviation 3."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    with torch.inference_mode():
        logit = network.eval()(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    decision = network.get_submodule("decision")
    scale = 3 / logit.std()
    with torch.no_grad():
        decision.weight.mul_(scale)
        decision.bias.copy_(-(logit.mean() - decision.bias) * scale)


def engines(network: nn.Module, images: Images, threads: int) -> Iterator[tuple[str, int, Scoring]]:
    """Name, images at once, and what scores."""
    for at_once in (16, 64, 256):
        for half in (False, True):
            choice = EngineChoice(kind="torch", device="cpu", half=half, threads=threads, images_at_once=at_once)
            yield f"torch {'bf16' if half else 'fp32'}", at_once, TorchEngine(network, choice).scores
        choice = EngineChoice(kind="onnxruntime", device="cpu", half=False, threads=threads, images_at_once=at_once)
        yield "onnxruntime fp32", at_once, graph_engine(network, choice, images).scores
        if importlib.util.find_spec("openvino"):
            for precision in ("f32", "bf16"):
                yield f"openvino {precision}", at_once, open_vino(network, images, threads, precision, at_once)


def open_vino(network: nn.Module, images: Images, threads: int, precision: str, at_once: int) -> Scoring:
    """OpenVINO on the same graph, its own threads."""
    openvino = load_openvino()
    core = openvino.Core()
    model = core.read_model(onnx_bytes(ScoresOfBytes(network), images))
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def scores(images: Images) -> NDArray[np.float32]:
        parts = [images[start : start + at_once] for start in range(0, len(images), at_once)]
        return np.concatenate([next(iter(request.infer({0: part}).values())).copy() for part in parts])

    return scores


def milliseconds(scoring: Scoring, images: Images, repeats: int) -> float:
    """The best of some runs, a patch."""
    scoring(images)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        scoring(images)
        best = min(best, time.perf_counter() - start)
    return best / len(images) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    for name, (network, side, channels) in networks().items():
        noise = rng.integers(0, 256, (IMAGES, side, side, channels)) * rng.random((IMAGES, 1, 1, channels))
        images = noise.astype(np.uint8)
        spread(network, images)
        start = time.perf_counter()
        graph = onnx_bytes(ScoresOfBytes(network), images)
        written = time.perf_counter() - start
        print(f"{name}, {asked.threads} threads; graph of {len(graph) / 1e6:.1f} MB written in {written:.2f} s")
        choice = EngineChoice(kind="torch", device="cpu", half=False, threads=1, images_at_once=64)
        wanted = TorchEngine(network, choice).scores(images)
        for kind, at_once, scoring in engines(network, images, asked.threads):
            off = np.abs(scoring(images) - wanted).max()
            took = milliseconds(scoring, images, asked.repeats)
            print(f"  {kind:17} {at_once:4} at once: {took:.4f} ms a patch, scores within {off:.1e}", flush=True)


if __name__ == "__main__":
    main()
