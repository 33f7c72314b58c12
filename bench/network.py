"""Patches per second of CHS-NET: training steps, and scoring by number of patches at once (why a CPU takes 16)."""

import argparse
import time

import numpy as np
import torch

from mitosieve.network.chsnet import VIEW_PX, ChsNet, ChsNetConfig
from mitosieve.network.compute import Compute


def seconds_of(call: object, repeats: int) -> float:
    """Mean seconds of a call after one to warm up."""
    assert callable(call)
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    compute = Compute.choose(asked.device)
    network = compute.place(ChsNet(ChsNetConfig(width=asked.width)))
    images = np.random.default_rng(0).integers(0, 255, (512, VIEW_PX, VIEW_PX, 6), dtype=np.uint8)
    mixed = compute.precision == "bf16-mixed"
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-9)
    print(f"width {asked.width:g}, {compute.device}, {compute.precision}, {torch.get_num_threads()} threads")

    def step() -> None:
        with torch.autocast(compute.device, torch.bfloat16, enabled=mixed):
            loss = network(compute.to_tensor(images[: asked.batch])).float().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    print(f"training, batch {asked.batch}: {asked.batch / seconds_of(step, 3):.0f} patches/s")
    network.eval()
    for at_once in (8, 16, 32, 64, 256):

        def score(count: int = at_once) -> None:
            with torch.inference_mode(), torch.autocast(compute.device, torch.bfloat16, enabled=mixed):
                for start in range(0, 512, count):
                    network(compute.to_tensor(images[start : start + count])).cpu()

        print(f"scoring, {at_once} at once: {512 / seconds_of(score, 2):.0f} patches/s")


if __name__ == "__main__":
    main()
