"""Whole slides end to end: `python bench/detect.py RUN`. Aim: 2 mm2 of tissue a second on two cores, under 3 GB.

Runs the real command, `mitosieve detect`, on slides of `bench/slides.py` as a process of its own, so that all of it is
counted: start of Python, opening, tissue, reading, proposing, networks, suppression, writing. Memory is the largest sum
of PSS over all its processes, five times a second. "start" is what the same command needs for a slide of 0.1 mm2.
The dense baseline is the same networks at every place of a grid of 2 um (8 px at 0.25 um/px), by the same command, on a
part of the smallest slide. "Fed from memory" are the networks alone: tiles of the smallest slide are read once, and
what was read is scored again without a slide; with `--device cuda` end to end should be 80 % of that or more.
Options after `--` go to the command: `python bench/detect.py RUN -- --engine onnxruntime`.

The tissue's area is what the command itself says it looked at (`tissue_mm2`), which leaves holes out: never more than
what was drawn. The last line is about the largest slide with the last number of workers, its peak that of all slides.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tomli_w

from mitosieve.models.box import detector_folder
from mitosieve.network.compute import Compute
from mitosieve.run.clock import Clock
from mitosieve.sieve.cascade import Asking, sieve_tile
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.stages import Judge, Scorer, plan_of
from mitosieve.sieve.tile_reader import Answer, TileReader, survey
from mitosieve.slide.slide import open_slide
from slides import FOLDER, MPP, Drawn, make

DENSE_STRIDE_UM = 2.0
SMALL_MM2 = 0.1
"""Tissue of the slide that tells what starting costs."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the command.

    Attributes:
        seconds: from before the process starts until it has ended.
        peak_gb: largest sum of PSS over its processes, GB of 1e9 bytes.
        out: what it wrote.
    """

    seconds: float
    peak_gb: float
    out: Path

    def fact(self, name: str) -> float | None:
        """A number of the slide's row in summary.csv or slides.csv; None where there is no such column."""
        for file in ("summary.csv", "slides.csv"):
            path = self.out / file
            if path.exists():
                row = next(csv.DictReader(path.read_text().splitlines()))
                if row.get(name):
                    return float(row[name])
        return None

    def timing(self) -> dict[str, Any]:
        path = self.out / "timing.json"
        return json.loads(path.read_text()) if path.exists() else {}


def pss_bytes(process: psutil.Process) -> int:
    """Proportional set size of a process and all below it; those that end meanwhile count nothing."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def run(words: Sequence[str], out: Path) -> Measured:
    """Run `mitosieve detect` and watch it; what it says goes to this process's streams where it fails."""
    command = [sys.executable, "-m", "mitosieve.cli", "detect", *words, "--out", str(out)]
    peak = 0
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = psutil.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        try:
            while True:
                try:
                    code = process.wait(0.2)
                    break
                except psutil.TimeoutExpired:
                    peak = max(peak, pss_bytes(process))
            seconds = time.perf_counter() - start
        finally:
            if process.is_running():
                process.terminate()
        if code:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}\nended with {code}:\n{said.read()}")
    return Measured(seconds=seconds, peak_gb=peak / 1e9, out=out)


def print_parts(measured: Measured) -> None:
    """Seconds per part as the job itself measured them, the longest first; readers and networks run at once."""
    timing = measured.timing()
    for slide, parts in timing.get("parts_s", {}).items():
        for name, seconds in sorted(parts.items(), key=lambda row: -row[1]):
            print(f"    {slide} {name:<28} {seconds:10.3f} s")
    if "machine" in timing:
        print(f"    {', '.join(f'{name} {value}' for name, value in timing['machine'].items())}")


def dense_detector(detector: str, folder: Path) -> Path:
    """The same networks and thresholds behind a grid of DENSE_STRIDE_UM."""
    shutil.copytree(detector_folder(detector), folder)
    content = tomllib.loads((folder / "detector.toml").read_text())
    stride_px = max(2, 2 * round(DENSE_STRIDE_UM / content["frame"]["mpp"] / 2))
    content["proposer"] = {"kind": "grid", "stride_px": stride_px, "min_darkness": 0.0}
    (folder / "detector.toml").write_text(tomli_w.dumps(content))
    return folder


def part_of(drawn: Drawn, mm2: float, file: Path) -> tuple[int, int, int, int]:
    """A square in the middle of the first island, written as a GeoJSON ROI; left, top, right, bottom in level-0 px."""
    half = round(mm2**0.5 * 1000 / MPP / 2)
    x, y = drawn.middle_l0
    box = x - half, y - half, x + half, y + half
    left, top, right, bottom = box
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    file.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return box


def figures_in(out: Path, box: tuple[int, int, int, int]) -> int:
    left, top, right, bottom = box
    rows = csv.DictReader((out / "detections.csv").read_text().splitlines())
    return sum(
        row["is_figure"] == "yes" and left <= float(row["x"]) <= right and top <= float(row["y"]) <= bottom
        for row in rows
    )


def measure_dense(asked: argparse.Namespace, drawn: Drawn, whole: Path, start_s: float, folder: Path) -> float:
    """mm2 a second of the dense baseline, start not counted."""
    roi = folder / "roi.geojson"
    box = part_of(drawn, asked.dense_mm2, roi)
    detector = dense_detector(asked.run, folder / "dense-detector")
    words = ["--detector", str(detector), str(drawn.path), "--roi", str(roi), *command_words(asked, None)]
    dense = run(words, folder / "dense")
    speed = asked.dense_mm2 / max(dense.seconds - start_s, 1e-3)
    print(
        f"dense baseline, every {DENSE_STRIDE_UM:g} um, on {asked.dense_mm2:g} mm2: {dense.seconds:.1f} s, "
        f"{speed:.4f} mm2/s without start, peak {dense.peak_gb:.2f} GB; "
        f"figures there: dense {figures_in(dense.out, box)}, sieve {figures_in(whole, box)}"
    )
    return speed


def recorded(asking: Asking, reader: TileReader, scorer: Scorer) -> list[Answer]:
    """All that a tile's sieving asks to be read, in order."""
    answers: list[Answer] = []
    request = next(asking)
    while True:
        if isinstance(request, Judge):
            answer: Any = scorer.answers([request])[0]
        else:
            answer = reader.answer(request)
            answers.append(answer)
        try:
            request = asking.send(answer)
        except StopIteration:
            return answers


def replayed(asking: Asking, answers: list[Answer], scorer: Scorer) -> None:
    """The same tile with its answers from memory: proposals and pixels are there, the networks remain."""
    left = iter(answers)
    request = next(asking)
    while True:
        answer: Any = scorer.answers([request])[0] if isinstance(request, Judge) else next(left)
        try:
            request = asking.send(answer)
        except StopIteration:
            return


def fed_from_memory(asked: argparse.Namespace, drawn: Drawn) -> float:
    """mm2 of tissue a second that the networks alone manage, in batches as the command makes them; best of five."""
    detector = Detector.load(asked.run)
    scorer = Scorer(detector, Compute.choose(asked.device), Clock())
    with open_slide(drawn.path) as slide:
        plan = plan_of(detector)
        reader = TileReader(slide, plan, survey(slide, plan))
        tissue, mpp = reader.survey.tissue, plan.mpp
        cores = [core for band in reader.bands() for core in band]
        cores = sorted(cores, key=lambda core: -tissue.fraction(core, mpp) * core.area_px2)[: asked.memory_tiles]
        mm2 = sum(tissue.fraction(core, mpp) * core.area_px2 for core in cores) * (mpp / 1000) ** 2
        kept = [recorded(sieve_tile(scorer, core), reader, scorer) for core in cores]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for core, answers in zip(cores, kept, strict=True):
            replayed(sieve_tile(scorer, core), answers, scorer)
        seconds.append(time.perf_counter() - start)
    return mm2 / min(seconds)


def command_words(asked: argparse.Namespace, workers: str | None) -> list[str]:
    words = ["--device", asked.device, "--format", "geojson", *asked.more]
    return words if workers is None else [*words, "--workers", workers]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a detector of the package, or a run or detector folder")
    parser.add_argument("--sizes", default="200", help="mm2 of tissue, comma-separated")
    parser.add_argument("--workers", default="", help="numbers of workers, comma-separated; the command's own choice")
    parser.add_argument("--case", default="H04", help="whose frames the slides are made of, or all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dense-mm2", type=float, default=0.25, help="part for the dense baseline; 0 leaves it out")
    parser.add_argument("--memory-tiles", type=int, default=4, help="tiles fed from memory; 0 leaves it out")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where slides are kept")
    mine, _, more = (list(part) for part in split_at(sys.argv[1:], "--"))
    asked = parser.parse_args(mine)
    asked.more = more
    return asked


def split_at(words: Sequence[str], mark: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    at = words.index(mark) if mark in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


def main() -> None:
    asked = arguments()
    sizes = sorted(map(float, asked.sizes.split(",")))
    slides = {size: make(size, case=asked.case, folder=asked.folder) for size in (SMALL_MM2, *sizes)}
    with tempfile.TemporaryDirectory(prefix="bench-detect-") as name:
        folder = Path(name)
        small = ["--detector", asked.run, str(slides[SMALL_MM2].path), *command_words(asked, None)]
        start_s = min(run(small, folder / f"start{number}").seconds for number in range(2))
        print(f"start {start_s:.1f} s ({SMALL_MM2:g} mm2, better of two)")
        rows = []
        for size in sizes:
            for workers in asked.workers.split(",") if asked.workers else [None]:
                out = folder / f"{size:g}-{workers}"
                words = ["--detector", asked.run, str(slides[size].path), *command_words(asked, workers)]
                rows.append(report(run(words, out), slides[size], workers, start_s))
        if asked.dense_mm2:
            dense = measure_dense(asked, slides[sizes[0]], folder / f"{sizes[0]:g}-{workers}", start_s, folder)
            print(f"sieve against dense: {rows[-1][1] / dense:.0f} times as fast, both without start")
        if asked.memory_tiles:
            fed = fed_from_memory(asked, slides[sizes[0]])
            ends = f"end to end is {100 * rows[-1][0] / fed:.0f} % of it, {100 * rows[-1][1] / fed:.0f} % without start"
            print(f"networks fed from memory on {asked.device}: {fed:.2f} mm2/s; {ends}")
        print(f"end to end {rows[-1][0]:.2f} mm2/s, peak {max(row[2] for row in rows):.2f} GB")


def report(measured: Measured, drawn: Drawn, workers: str | None, start_s: float) -> tuple[float, float, float]:
    """Print one run; mm2 a second end to end and without start, and peak GB."""
    seen = measured.fact("tissue_mm2")
    tissue = drawn.tissue_mm2 if seen is None else min(seen, drawn.tissue_mm2)
    speed, warm = tissue / measured.seconds, tissue / max(measured.seconds - start_s, 1e-3)
    w, h = drawn.size_l0
    print(
        f"{drawn.tissue_mm2:.1f} mm2 drawn on {w:,} x {h:,} px ({100 * drawn.tissue_share:.0f} % tissue), "
        f"{'no tissue_mm2 told' if seen is None else f'{seen:.1f} mm2 seen'}, workers {workers or 'by default'}: "
        f"{measured.seconds:.1f} s, {speed:.3f} mm2/s end to end, {warm:.3f} without start, "
        f"peak {measured.peak_gb:.2f} GB"
    )
    print_parts(measured)
    return speed, warm, measured.peak_gb


if __name__ == "__main__":
    main()
