"""Load: a slide of a million nuclei end to end, and jobs of many slides, of which no step may be quadratic.

    python bench/load.py nuclei [--million 1.0] [--detector NAME]     seconds and peak memory of each step
    python bench/load.py slides [--counts 125,250,500,1000]           CPU seconds of detect, --resume and report

`nuclei`: detections of one slide as a cascade leaves them (each nucleus of 250 mm2 at 4,000 a mm2 is a row, a tenth are
figures) through all that follows: table out and in, hotspot, heat map, every format, report; then, with --slide MM2,
the real command on a slide of `bench/slides.py` with so much tissue. Memory is the largest PSS of all processes, five
times a second; the aim is 3 GB. `slides`: pictures of 64 x 64 px, so that what is counted is the job and not the
networks. A step that is linear takes twice as long for twice as many.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil

from mitosieve.count.heatmap import Thumbnail, write_heatmap
from mitosieve.count.summary import SlideFindings, summarize
from mitosieve.detection import Detections, suppress
from mitosieve.export import FORMATS, SUFFIXES, SlideContext
from mitosieve.export.table import read_detections, write_detections

PER_MM2, MPP, PICTURE_PX = 4000, 0.25, 64


def peak_of(words: list[str]) -> tuple[float, float, float]:
    """Seconds of a command, CPU seconds, and its peak PSS in GB, with all processes that it starts."""
    start, peak, before = time.perf_counter(), 0, cpu_of_children()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    this = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in (this, *this.children(recursive=True)):
                total += one.memory_full_info().pss
        except psutil.Error:
            continue
        peak = max(peak, total)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.stderr.read() if process.stderr else "failed")
    return time.perf_counter() - start, cpu_of_children() - before, peak / 2**30


def cpu_of_children() -> float:
    """CPU seconds of all processes that were started and have ended: beside other jobs, wall time says little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "mitosieve.cli", *map(str, words)]


def timed(what: str, job: Callable[[], object]) -> object:
    start = time.perf_counter()
    result = job()
    memory = psutil.Process().memory_info().rss / 2**30
    print(f"  {what:<40}{time.perf_counter() - start:8.2f} s   {memory:5.2f} GB", flush=True)
    return result


def nuclei(rows: int, folder: Path) -> None:
    """All that is done with a slide's detections, in this process; its memory beside each step."""
    side_px = int((rows / PER_MM2) ** 0.5 * 1000 / MPP)
    generator = np.random.default_rng(0)
    score = generator.random(rows)
    found = Detections.of(
        slide_id=np.repeat("slide", rows).tolist(), center_l0=generator.random((rows, 2)) * side_px, score=score,
        threshold=0.9, stage_names=("screening", "refined"), stage_score=np.stack([score, score], axis=1),
    )  # fmt: skip
    print(f"{rows:,} nuclei on {side_px:,} x {side_px:,} px")
    timed("suppress", lambda: suppress(found.center_l0 * MPP, found.score, radius_um=5.0))
    timed("write detections", lambda: write_detections(folder / "d.csv", found))
    timed("read detections", lambda: read_detections(folder / "d.csv"))
    findings = SlideFindings(
        slide_id="slide", mpp_xy=(MPP, MPP), size_l0=(side_px, side_px), tissue_mm2=rows / PER_MM2, detections=found,
        proposer="nuclei", threshold=0.9,
    )  # fmt: skip
    timed("summarize, with the hotspot", lambda: summarize(findings))
    rgb = np.full((side_px // 32, side_px // 32, 3), 200, np.uint8)
    point_um = (found.figures.center_l0 + 0.5) * MPP
    picture = Thumbnail(rgb=rgb, mpp_xy=(8.0, 8.0))
    timed("heat map", lambda: write_heatmap(folder / "h.png", picture, point_um))
    context = SlideContext(slide_id="slide", path=folder / "s.tif", size_l0=(side_px, side_px), mpp_xy=(MPP, MPP))
    for name, write in FORMATS.items():
        timed(
            f"format {name}", lambda name=name, write=write: write(folder / f"{name}{SUFFIXES[name]}", found, context)
        )
    peak = max(psutil.Process().memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print(f"  peak of this process {peak / 2**30:.2f} GB")


def whole_slide(mm2: float, detector: str, folder: Path) -> None:
    """The command on a slide of `bench/slides.py`, every place kept."""
    from slides import make

    slide = make(mm2)
    words = ("detect", slide.path, "--detector", detector, "--threshold", 0, "--out", folder / "found", "--workers", 2)
    seconds, _, peak = peak_of(command(*words, "--format", "geojson,parquet,csv"))
    rows = sum(1 for _ in (folder / "found" / "detections.csv").open()) - 1
    print(f"a slide of {mm2:g} mm2: {seconds:.0f} s, peak {peak:.2f} GB, {rows:,} detections")
    seconds, _, peak = peak_of(command("report", folder / "found"))
    print(f"  report {seconds:.1f} s, peak {peak:.2f} GB")


def slides(counts: list[int], detector: str, folder: Path) -> None:
    """Jobs of pictures that differ, of more and more slides."""
    generator = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir()
    print("CPU seconds (wall seconds)")
    print(f"{'slides':>8}{'detect':>18}{'resume':>18}{'report':>18}{'peak, GB':>10}")
    done = 0
    for count in counts:
        for number in range(done, count):
            pixels = generator.integers(90, 250, (PICTURE_PX, PICTURE_PX, 3), dtype=np.uint8)
            cv2.imwrite(str(images / f"slide-{number:05d}.png"), pixels)
        done = count
        out = folder / f"out-{count}"
        words = command("detect", images, "--mpp", MPP, "--detector", detector, "--threshold", 0, "--out", out)
        took = [peak_of([*words, "--threads", "1"]), peak_of([*words, "--threads", "1", "--resume"])]
        took.append(peak_of(command("report", out)))
        cells = "".join(f"{cpu:>10.1f} ({wall:>5.0f})" for wall, cpu, _ in took)
        print(f"{count:>8}{cells}{max(peak for _, _, peak in took):>10.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nuclei", "slides"))
    parser.add_argument("--million", type=float, default=1.0)
    parser.add_argument("--slide", type=float, default=0.0, metavar="MM2")
    parser.add_argument("--counts", default="125,250,500,1000")
    parser.add_argument("--detector", default="default")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.what == "slides":
            slides([int(count) for count in args.counts.split(",")], args.detector, folder)
            return
        nuclei(round(args.million * 1e6), folder)
        if args.slide:
            whole_slide(args.slide, args.detector, folder)


if __name__ == "__main__":
    main()
