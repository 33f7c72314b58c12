"""Whether a device would wait: `python bench/gpu_simulated.py SLIDE [--detector swift]`, on any machine.

The networks are replaced by a device that sleeps: so long a batch and so long a patch, as a GPU might take (by default
1 ms and 10 us, which nobody measured; with --patch-us 500 it is slower than two cores read, and must never wait).
Pixels are real and come from real reader processes. Printed for each stage: batches, patches, how full they are
against what the device takes at once (what tiles that are begun have of a stage is judged together), and what share of
the job the device computed, waited for readers, and was held up by the loop between.
For the real device: `mitosieve detect SLIDE --device cuda --out OUT`, or `python bench/detect.py swift --device cuda`.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.network.compute import Compute
from mitosieve.network.engine import Engine
from mitosieve.run.clock import Clock
from mitosieve.sieve.cascade import Scored
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.sieve.readers import Readers
from mitosieve.sieve.workers import Sieving

PASS = {"screening": 0.06, "refined": 0.02}
"""Share of places that come through a stage, by chance, the same for the same patch."""


class SleepingDevice(Engine):
    """Scores of no network, after the time that a device would take.

    Args:
        stage: its name.
        batch_s: seconds a batch.
        patch_s: seconds a patch.
        at_once: patches of a batch.
        share: of the patches, which score 0.9; the others 0.01.
    """

    def __init__(self, stage: str, batch_s: float, patch_s: float, at_once: int, share: float) -> None:
        self.stage, self.batch_s, self.patch_s, self.at_once, self.share = stage, batch_s, patch_s, at_once, share
        self.batches: list[int] = []
        self.busy_s = 0.0

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        start = time.perf_counter()
        for first in range(0, len(images), self.at_once):
            size = len(images[first : first + self.at_once])
            self.batches.append(size)
            time.sleep(self.batch_s + self.patch_s * size)
        self.busy_s += time.perf_counter() - start
        mark = images[:, 8:24:3, 8:24:3].astype(np.int64).sum(axis=(1, 2, 3)) * 2654435761 % 10_000
        return np.where(mark < self.share * 10_000, 0.9, 0.01).astype(np.float32)


class SimulatedCompute:
    """What sieving asks a machine for."""

    def __init__(self, engines: dict[int, SleepingDevice]) -> None:
        self.engines = engines

    def engine_of(self, network: object, example: NDArray[np.uint8], *, dense: bool = False) -> SleepingDevice:
        return self.engines[id(network)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--detector", default="swift")
    parser.add_argument("--workers", default="1,2", help="reader processes, comma-separated")
    parser.add_argument("--batch-ms", type=float, default=1.0)
    parser.add_argument("--patch-us", type=float, default=10.0)
    parser.add_argument("--at-once", type=int, default=Compute(device="cuda", precision="bf16-mixed").images_at_once)
    asked = parser.parse_args()
    detector = Detector.load(asked.detector)
    for workers in map(int, asked.workers.split(",")):
        engines = {
            id(networks[0]): SleepingDevice(
                stage.name, asked.batch_ms / 1e3, asked.patch_us / 1e6, asked.at_once, PASS.get(stage.name, 0.02)
            )
            for stage, networks in zip(detector.config.stages, detector.networks, strict=True)
        }
        report(detector, SlideSource(path=asked.slide, slide_id="slide", mpp=None), engines, workers, asked.at_once)


def report(
    detector: Detector, source: SlideSource, engines: dict[int, SleepingDevice], workers: int, at_once: int
) -> None:
    """Sieve the slide once, and say where the device's time went."""
    compute: Any = SimulatedCompute(engines)
    clock, found = Clock(), defaultdict(int)

    def on_band(_: int, scored: Scored) -> None:
        found["places"] += len(scored.score)

    with Readers(workers) as readers:
        sieving = Sieving(detector, source, compute, clock, readers)
        opened = sieving.open()
        clock.taken()
        start = time.perf_counter()
        sieving.run(opened, set(), on_band)
        took = time.perf_counter() - start
        sieving.close()
    busy, waited = sum(engine.busy_s for engine in engines.values()), clock.seconds.get("waiting for readers", 0.0)
    mm2 = opened.survey.tissue.area_mm2
    print(f"{workers} readers: {mm2:.1f} mm2 in {took:.1f} s, {mm2 / took:.2f} mm2/s; places left {found['places']}")
    rest = 1 - (busy + waited) / took
    print(f"  device computes {busy / took:.0%}, waits for readers {waited / took:.0%}, else {rest:.0%}")
    for engine in engines.values():
        patches, batches = sum(engine.batches), len(engine.batches)
        mean = patches / max(1, batches)
        full = patches * engine.patch_s / max(1e-9, patches * engine.patch_s + batches * engine.batch_s)
        print(
            f"  {engine.stage}: {patches:,} patches in {batches:,} batches of {mean:.0f} ({mean / at_once:.0%} full), "
            f"{full:.0%} of its time is patches, not starting batches"
        )


if __name__ == "__main__":
    main()
