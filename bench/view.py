"""How quick the viewer is: `python bench/view.py FOLDER [--mm2 200] [--detections 1000000]`, two cores, Chromium.

Makes in FOLDER (once) a slide of so many mm2 at 0.25 um per px, a mosaic of one phantom block, with the files that
detect would leave for so many detections drawn by lot. Then measures: from the command to the first tile on the screen;
a tile over HTTP, at the median and the 95th percentile; the server's memory over 10,000 tiles; frames a second while a
browser without a graphics card pans and zooms over all detections; and from a moved threshold to the next frame.
Aims: first tile under 2 s, a tile under 50 ms at the 95th percentile, flat memory, 20 frames a second.
"""

import argparse
import http.client
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil
import tifffile

from mitosieve.count.summary import SlideFindings, summarize, write_slide_summary, write_summary
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.phantom import PhantomConfig, make_phantom
from mitosieve.run.folder import RUN_FORMAT, write_json

if TYPE_CHECKING:
    from playwright.sync_api import Page

MPP, BLOCK_PX, TILE_PX, LEVELS = 0.25, 2048, 512, (1, 4, 16)
THRESHOLD = 0.5
TILES = 10_000
CHROMIUM = "/usr/bin/chromium"
PAN = """
async ({steps, zoom}) => {
  const view = mitosieve.page.current.view, node = view.node, viewport = view.osd.viewport;
  viewport.zoomTo(viewport.getHomeZoom() * zoom, null, true);
  const start = view.frames.length, times = [];
  let last = performance.now();
  for (let i = 0; i < steps; i++) {
    view.panBy(Math.cos(i / 9) * 30, Math.sin(i / 7) * 30);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  const drawn = view.frames.slice(start);
  return {times, drawn: drawn.length, seconds: (drawn.at(-1) - drawn[0]) / 1000, mode: view.overlay.mode};
}
"""
THRESHOLDS = """
async () => {
  const view = mitosieve.page.current.view, store = mitosieve.store, times = [];
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    const drawn = new Promise((done) => view.addEventListener("drawn", done, {once: true}));
    store.setThreshold(0.1 + 0.04 * i);
    await drawn;
    times.push(performance.now() - start);
  }
  return times;
}
"""


def a_mosaic(path: Path, side_px: int) -> None:
    """A tiled JPEG pyramid of one phantom block, over and over: each level has a few tiles, written again and again."""
    folder = path.parent / "block"
    config = PhantomConfig(cases=1, slides_per_case=1, size_px=(BLOCK_PX, BLOCK_PX))
    if not (folder / "slides.csv").exists():
        make_phantom(folder, config, np.random.default_rng(5))
    block = cv2.imread(str(next((folder / "images").iterdir())))[..., ::-1]
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for scale in LEVELS:
            small = cv2.resize(block, (BLOCK_PX // scale,) * 2, interpolation=cv2.INTER_AREA)
            while small.shape[0] < TILE_PX:
                small = np.tile(small, (2, 2, 1))
            per = small.shape[0] // TILE_PX
            encoded = [
                cv2.imencode(".jpg", small[y : y + TILE_PX, x : x + TILE_PX, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[
                    1
                ].tobytes()
                for y in range(0, small.shape[0], TILE_PX)
                for x in range(0, small.shape[1], TILE_PX)
            ]
            side = side_px // scale
            across = -(-side // TILE_PX)
            file.write(
                (encoded[(row % per) * per + column % per] for row in range(across) for column in range(across)),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="ycbcr",
                compression="jpeg",
                subfiletype=int(scale > 1),
                metadata=None,
                resolution=(1e4 / (MPP * scale),) * 2,
                resolutionunit=3,
            )


def a_result(folder: Path, mm2: float, n: int) -> Path:
    """The mosaic and a result of detect about it."""
    side = int(np.sqrt(mm2) * 1000 / MPP) // BLOCK_PX * BLOCK_PX
    slide, found = folder / "mosaic.tif", folder / f"found-{n}"
    folder.mkdir(parents=True, exist_ok=True)
    if not slide.exists():
        a_mosaic(slide, side)
    if found.exists():
        return found
    generator = np.random.default_rng(1)
    detections = Detections.of(
        slide_id=["mosaic"] * n,
        center_l0=generator.uniform(0, side - 1, (n, 2)).round(3),
        score=generator.uniform(0, 1, n).round(6),
        threshold=0.0,
    ).at_threshold(THRESHOLD)
    findings = SlideFindings(
        slide_id="mosaic",
        mpp_xy=(MPP, MPP),
        size_l0=(side, side),
        tissue_mm2=(side * MPP / 1000) ** 2,
        detections=detections,
        proposer="by lot",
        threshold=THRESHOLD,
    )
    summary = summarize(findings)
    write_detections(found / "detections.csv", detections, detector="d" * 64)
    write_summary(found / "summary.csv", [summary])
    write_slide_summary(found / "summaries" / "mosaic.json", summary)
    counts = {"area_mm2": 2.0, "shape": "square"}
    provenance = {"counts": counts, "threshold": THRESHOLD}
    write_json(found / "run.json", {"format": RUN_FORMAT, "kind": "detect", "provenance": provenance})
    request = {"detector": "none", "detector_hash": "d" * 64, "threshold": THRESHOLD, "cohort": None}
    write_json(found / "detect.json", {**request, "slides": {"mosaic": str(slide.resolve())}})
    return found


class Viewer:
    """The command in a process of its own."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "mitosieve.cli", "view", str(folder), "--no-browser"]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.split(":")[2].split("/")[0])
        self.cookie = f"mitosieve-view-{self.port}={self.address.split('=')[1]}"

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        return body

    @property
    def memory_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def first_tile(folder: Path) -> None:
    """By HTTP, and in a browser that is running already."""
    viewer = Viewer(folder)
    up = time.perf_counter() - viewer.started
    viewer.get("/")
    frame = json.loads(viewer.get("/api/slides/0"))
    viewer.get(f"/api/slides/0/tiles/{frame['first']}/0/0")
    print(f"address printed after {up:.2f} s, first tile over HTTP after {time.perf_counter() - viewer.started:.2f} s")
    viewer.end()


def tiles(folder: Path) -> None:
    """Random tiles of random levels, none asked for twice, by two at once; memory as they go."""
    viewer = Viewer(folder)
    frame = json.loads(viewer.get("/api/slides/0"))
    viewer.get("/api/slides/0/count")
    generator = np.random.default_rng(2)
    places: set[tuple[int, int, int]] = set()
    while len(places) < TILES:
        level = int(generator.integers(frame["deepest"] - 5, frame["deepest"] + 1))
        side = -(-frame["size"][0] // 2 ** (frame["deepest"] - level) // frame["tile"])
        places.add((level, *generator.integers(0, max(1, side - 1), 2).tolist()))

    def timed(place: tuple[int, int, int]) -> float:
        start = time.perf_counter()
        viewer.get("/api/slides/0/tiles/{}/{}/{}".format(*place))
        return time.perf_counter() - start

    ordered, taken, memory = sorted(places, key=lambda _: generator.random()), [], []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, TILES, TILES // 5):
            taken += list(pool.map(timed, ordered[start : start + TILES // 5]))
            memory.append(viewer.memory_mb)
    half, most = np.percentile(taken, [50, 95]) * 1e3
    print(f"tiles: {TILES}, median {half:.1f} ms, 95th percentile {most:.1f} ms, two at once")
    print(f"memory after each fifth of them: {', '.join(f'{value:.0f}' for value in memory)} MB")
    viewer.end()


def until(page: "Page", expression: str) -> None:
    """Wait by asking again: the page's policy forbids what Playwright would put into it."""
    end = time.monotonic() + 120
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.01)


def browser(folder: Path) -> None:
    """First tile on the screen, and frames a second, in a headless browser that draws by software."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.goto("about:blank")
        viewer = Viewer(folder)
        page.goto(viewer.address)
        until(page, "globalThis.mitosieve?.page.current?.view.firstTile > 0")
        print(f"first tile on the screen {time.perf_counter() - viewer.started:.2f} s after the command")
        until(page, "mitosieve.page.current.view.cells?.n > 0")
        print(f"detections there {time.perf_counter() - viewer.started:.1f} s after the command")
        page.wait_for_timeout(3000)
        for zoom in (1, 3, 12, 60):
            told = page.evaluate(PAN, {"steps": 150, "zoom": zoom})
            slow = np.percentile(told["times"], 95)
            rate = len(told["times"]) / (sum(told["times"]) / 1e3)
            print(
                f"panning at {zoom} x the whole slide ({told['mode']}): {rate:.0f} frames a second, "
                f"95th percentile {slow:.0f} ms a frame"
            )
        moved = page.evaluate(THRESHOLDS)
        print(f"threshold to frame: median {np.median(moved):.0f} ms, worst {max(moved):.0f} ms")
        chromium.close()
        viewer.end()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mm2", type=float, default=200)
    parser.add_argument("--detections", type=int, default=1_000_000)
    given = parser.parse_args()
    found = a_result(given.folder, given.mm2, given.detections)
    first_tile(found)
    tiles(found)
    browser(found)


if __name__ == "__main__":
    main()
