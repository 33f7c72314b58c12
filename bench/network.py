"""Patches per second of each network: training steps, and scoring by the engine that this machine takes.

Those of roto-translations have equal channels times orientations, so equal multiplications.
`bench/engine.py` compares engines and parts of different sizes.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.network.chsnet import ChsNet
from mitosieve.network.compute import Compute, predict
from mitosieve.network.config import ChsNetConfig, RotoTranslationConfig, SwiftConfig
from mitosieve.network.memory import keep_memory
from mitosieve.network.rototranslation import RotoTranslationNet
from mitosieve.network.swift import SwiftNet

PRODUCTS = (32, 48, 64, 128)
"""Channels times orientations of each group of the roto-translation networks."""


def seconds_of(call: Callable[[], object], repeats: int) -> float:
    """Mean seconds of a call after one to warm up."""
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(network: nn.Module, images: NDArray[np.uint8], batch: int, compute: Compute, repeats: int) -> None:
    """Print both rates of one network."""
    network = compute.place(network)
    mixed = compute.precision == "bf16-mixed"
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-9)

    def step() -> None:
        with torch.autocast(compute.device, torch.bfloat16, enabled=mixed):
            loss = network(compute.to_tensor(images[:batch])).float().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    network.train()
    print(f"  training, batch {batch}, {compute.precision}: {batch / seconds_of(step, repeats):.0f} patches/s")
    start = time.perf_counter()
    predict(network, iter([images[:1]]), compute)
    print(f"  {compute.engine}: ready and first score in {time.perf_counter() - start:.2f} s")
    rate = len(images) / seconds_of(lambda: predict(network, iter([images]), compute), 5)
    print(f"  scoring by {compute.engine}, {compute.images_at_once} at once: {rate:.0f} patches/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.125, help="of CHS-NET")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--only", default="", help="networks whose name holds this")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3, help="training steps")
    parser.add_argument("--give-back", action="store_true", help="memory to the system, which a training does not")
    asked = parser.parse_args()
    if not asked.give_back:
        keep_memory()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    compute = Compute.choose(asked.device, asked.precision, engine=asked.engine)
    print(f"{compute.device}, {torch.get_num_threads()} threads")
    two = SwiftConfig(input_px=64, widths=(32, 64, 128), depths=(1, 2, 1), head=128)
    networks: dict[str, tuple[nn.Module, int, int]] = {
        "swift, stage one": (SwiftNet(SwiftConfig()), 32, 3),
        "swift, stage two": (SwiftNet(two), 64, 3),
        f"CHS-NET, width {asked.width:g}": (ChsNet(ChsNetConfig(width=asked.width)), 64, 6),
    }
    for turns in (1, 4, 8):
        widths = tuple(product // turns for product in PRODUCTS)
        network = RotoTranslationNet(RotoTranslationConfig(orientations=turns, widths=widths))
        networks[f"rototranslation, {turns} orientations of {widths} channels"] = (network, network.input_px, 3)
    for name, (network, side, channels) in networks.items():
        if asked.only not in name:
            continue
        print(name)
        images = np.random.default_rng(0).integers(0, 255, (512, side, side, channels), dtype=np.uint8)
        measure(network, images, asked.batch, compute, asked.repeats)


if __name__ == "__main__":
    main()
