"""How long each format takes to write, and how much memory it needs beside the detections themselves.

Each writing runs in a process of its own. Memory is the peak of the resident set while writing, less what the process
held before (VmHWM, set back through /proc/self/clear_refs: Linux only). The disk is part of the time: every file is
flushed before it counts as written. Goal: a million points as GeoJSON in under 5 s, and memory that does not grow
with them.

    .venv/bin/python bench/export.py [--counts 10000 100000 1000000] [--formats geojson ...] [--folder DIR]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mitosieve.detection import Detections
from mitosieve.export import FORMATS, SUFFIXES, SlideContext

GOAL_S, GOAL_COUNT = 5.0, 1_000_000
STAGES = ("screen", "refined")


def some_detections(count: int) -> Detections:
    """Scattered over a slide of 100,000 px; a tenth are figures, the second stage saw two thirds."""
    generator = np.random.default_rng(0)
    stage_score = generator.uniform(0, 1, (count, len(STAGES)))
    stage_score[::3, 1] = np.nan
    return Detections.of(
        slide_id=["slide"] * count,
        center_l0=generator.uniform(0, 100_000, (count, 2)),
        score=generator.uniform(0, 1, count),
        threshold=0.9,
        stage_names=STAGES,
        stage_score=stage_score,
    )


def resident_mb(field: str) -> float:
    """A line of /proc/self/status in MB."""
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith(field))
    return int(line.split()[1]) / 1024


def measure(name: str, count: int, folder: Path) -> dict[str, float]:
    """Seconds, MB of the file, and MB of memory over what the process held."""
    slide = SlideContext(slide_id="slide", path=folder / "slide.svs", size_l0=(100_000, 100_000), mpp_xy=(0.25, 0.25))
    path = folder / f"{name}{count}{SUFFIXES[name]}"
    FORMATS[name](path, some_detections(10), slide)  # imports and first calls are not what is measured
    detections = some_detections(count)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mb("VmRSS")
    start = time.perf_counter()
    FORMATS[name](path, detections, slide)
    seconds = time.perf_counter() - start
    peak = resident_mb("VmHWM") - before
    size = path.stat().st_size / 2**20
    path.unlink()
    return {"seconds": seconds, "file_mb": size, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--folder", type=Path, help="where to write; by default the system's temporary folder")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.one:
        print(json.dumps(measure(words.formats[0], words.counts[0], words.folder)))
        return
    print(f"{'format':<10} {'points':>9} {'seconds':>8} {'file MB':>8} {'memory MB':>9}")
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        for name in words.formats:
            for count in words.counts:
                child = [sys.executable, __file__, "--one", "--formats", name, "--counts", str(count)]
                done = subprocess.run([*child, "--folder", folder], capture_output=True, text=True, check=True)
                told = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{name:<10} {count:>9,} {told['seconds']:>8.2f} {told['file_mb']:>8.1f} {told['peak_mb']:>9.1f}",
                    flush=True,
                )
                if name == "geojson" and count == GOAL_COUNT:
                    verdict = "met" if told["seconds"] < GOAL_S else "MISSED"
                    print(f"{'':<10} goal of {GOAL_S:g} s for {count:,} points: {verdict}")


if __name__ == "__main__":
    main()
