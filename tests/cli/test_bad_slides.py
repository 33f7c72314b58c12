"""Whole slides that are not as they should be, and jobs that are cut off in the middle of one: through the command
line, in real processes where something is to die. Nothing is lost, nothing hangs, no process is left behind.
"""

import csv
import functools
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
from test_bad_input import a_small_disk, refused

from mitosieve import Detector
from mitosieve.export.table import read_detections
from tiny import NEVER_COMPARED, ONE_CORE, a_run, files_of, images, mitosieve, start

MPP = 0.25
GLASS = (242, 241, 243)
BANDS = 6
"""Of the tall slide: as many tiles of 2,048 px above each other."""

HERE = ("--workers", 0)
"""Reads without processes: the same bytes as with them."""


def write_slide(path: Path, pixels: np.ndarray, *, mpp: float | None = MPP, levels=(1, 4, 16)) -> Path:
    """A tiled pyramid, JPEG, with its resolution."""
    with tifffile.TiffWriter(path) as file:
        for scale in levels:
            size = max(1, pixels.shape[1] // scale), max(1, pixels.shape[0] // scale)
            resolution = {} if mpp is None else {"resolution": (1e4 / (mpp * scale),) * 2, "resolutionunit": 3}
            file.write(
                np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(scale > 1),
                metadata=None,
                **resolution,
            )
    return path


def tissue(width: int, height: int) -> np.ndarray:
    """Synthetic tissue: the cohort's images side by side, over and over."""
    four = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in images()]
    block = np.concatenate([np.concatenate(four[:2], axis=1), np.concatenate(four[2:], axis=1)])
    times = -(-height // block.shape[0]), -(-width // block.shape[1]), 1
    return np.tile(block, times)[:height, :width]


def glass(width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1.5, (height, width, 1))
    return np.clip(np.rint(np.array(GLASS) + noise), 0, 255).astype(np.uint8)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="mitosieve-slides-")


@functools.cache
def a_detector() -> Path:
    """The tiny run's networks at every 64th pixel: slides in a second."""
    whole = Detector.load(a_run())
    proposer = whole.config.proposer.model_copy(update={"stride_px": 64})
    config = whole.config.model_copy(update={"proposer": proposer})
    return Detector(config=config, networks=whole.networks).save(Path(_folder().name) / "detector")


@functools.cache
def a_tall_slide() -> Path:
    """A strip of tissue of so many tiles above each other that a job can die between two of them, and so much glass
    beside it that reader processes are worth their start. Tiles that are alike are encoded once.
    """
    path = Path(_folder().name) / "tall.tif"
    width, height = 5632, 2048 * BANDS
    empty, strip = glass(256, 256), tissue(512, 768)
    tiles = {(x, y): jpeg(strip[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256]) for x in (0, 1) for y in range(3)}
    blank = jpeg(empty)

    def every_tile() -> Iterator[bytes]:
        for row in range(height // 256):
            for column in range(width // 256):
                yield tiles[column, row % 3] if column < 2 else blank

    with tifffile.TiffWriter(path) as file:
        shared = {"tile": (256, 256), "compression": "jpeg", "metadata": None}
        level0 = {"photometric": "ycbcr", "subsampling": (1, 1), "resolution": (1e4 / MPP,) * 2, "resolutionunit": 3}
        file.write(every_tile(), shape=(height, width, 3), dtype=np.uint8, **level0, **shared)
        for scale in (4, 16):
            side = 256 // scale
            level = np.tile(empty[:side, :side], (height // 256, width // 256, 1))
            part = cv2.resize(strip, (2 * side, 3 * side), interpolation=cv2.INTER_AREA)
            level[:, : 2 * side] = np.tile(part, (height // 768, 1, 1))
            file.write(level, subfiletype=1, photometric="rgb", **shared)
    return path


def jpeg(rgb: np.ndarray) -> bytes:
    """A tile as a stream of its own."""
    return imagecodecs.jpeg8_encode(
        np.ascontiguousarray(rgb), level=90, colorspace="RGB", outcolorspace="YCBCR", subsampling="444"
    )


@functools.cache
def a_small_slide() -> Path:
    return write_slide(Path(_folder().name) / "small.tif", tissue(700, 500))


def detecting(*slides: Path, out: Path) -> list[str]:
    """The command with one reader process, and everything found counted, so that equal bytes mean something."""
    words = ("detect", "--detector", a_detector(), *slides, "--out", out, "--threshold", 0, *ONE_CORE, "--workers", 1)
    return list(map(str, words))


@functools.cache
def undisturbed() -> dict[str, bytes]:
    """What the tall and the small slide give when nothing happens."""
    out = Path(_folder().name) / "undisturbed"
    told = mitosieve(*detecting(a_tall_slide(), a_small_slide(), out=out))
    assert told.code == 0, told.err
    found = read_detections(out / "detections.csv")
    assert min(np.unique(found.slide_id, return_counts=True)[1]) > 5
    return files_of(out)


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    return {row["slide_id"]: row for row in csv.DictReader((out / "slides.csv").read_text().splitlines())}


def finished(out: Path) -> dict[Path, int]:
    """Whole files below `parts`, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in (out / "parts").rglob("*") if path.is_file() and whole(path)}


def whole(path: Path) -> bool:
    return path.suffix != ".part" and path.name not in NEVER_COMPARED


def under_way(words: list[str], out: Path, **options):
    """Start the command and wait until the first band of the tall slide is kept; its process, and all of them."""
    process = start(*words, **options)
    while not finished(out):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    return process, [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def all_gone(family: list[psutil.Process]) -> bool:
    """Whether every process ends within ten seconds; those that do not are ended here."""
    _, left = psutil.wait_procs(family, timeout=10)
    for process in left:
        process.kill()
    return not left


# ---------------------------------------------------------------- slides that are not as they should be


def test_a_slide_of_glass_alone(tmp_path):
    """No figure, exit code 0, and the user is told that there was no tissue."""
    slide = write_slide(tmp_path / "empty.tif", glass(3000, 2000))
    told = mitosieve(*detecting(slide, out=tmp_path / "out"))
    assert told.code == 0, told.err
    assert "no tissue was found" in told.err
    assert "empty" in told.err
    assert len(read_detections(tmp_path / "out" / "detections.csv")) == 0
    row = rows_of(tmp_path / "out")["empty"]
    assert (row["figures"], row["error"], float(row["tissue_mm2"])) == ("0", "", 0.0)


def an_area(path: Path, x: float, y: float, side: float) -> Path:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path


def test_an_area_beside_the_slide(tmp_path):
    """Of a slide that it misses, or meets in its edge alone, it fails with the reason; the slide that it meets is done,
    and the user is told that both were looked at by one area. A dry run says so before.
    """
    small = write_slide(tmp_path / "small.tif", glass(600, 400))
    large = write_slide(tmp_path / "large.tif", glass(3000, 2000))
    area = an_area(tmp_path / "area.geojson", 600, 100, 400)
    told = mitosieve(*detecting(small, large, out=tmp_path / "out"), "--roi", area)
    assert told.code == 1
    assert "lies beside the slide of 600 x 400 px" in told.err
    assert "area.geojson is looked at on each of 2 slides" in told.err
    rows = rows_of(tmp_path / "out")
    assert "beside the slide" in rows["small"]["error"]
    assert rows["large"]["error"] == ""
    alone = mitosieve(*detecting(small, out=tmp_path / "alone"), "--roi", area)
    assert alone.code == 2
    assert "beside the slide" in alone.err
    assert not (tmp_path / "alone").exists()
    dry = mitosieve(*detecting(small, out=tmp_path / "alone"), "--roi", area, "--dry-run")
    assert dry.code == 1
    assert "beside the slide" in dry.err


def test_an_area_of_glass_on_a_slide_with_tissue(tmp_path):
    """The area is what has no tissue, not the slide."""
    slide = write_slide(tmp_path / "pens.tif", pens_and_folds())
    area = an_area(tmp_path / "area.geojson", 20, 1600, 200)
    told = mitosieve(*detecting(slide, out=tmp_path / "out"), "--roi", area)
    assert told.code == 0, told.err
    assert "no tissue within the ROI of 1 slide, s" in told.err
    assert "no tissue was found" not in told.err


def pens_and_folds() -> np.ndarray:
    """Strokes of five pens on glass, and tissue with a fold and with ink across it."""
    picture = glass(3000, 2000)
    picture[600:1400, 400:1600] = tissue(1200, 800)
    cv2.line(picture, (500, 650), (1500, 1350), (70, 20, 60), 60)
    for number, pen in enumerate([(20, 60, 200), (20, 140, 60), (15, 15, 18), (200, 30, 40), (240, 230, 40)]):
        cv2.polylines(picture, [np.array([[1700 + 200 * number, 100], [1800 + 200 * number, 1900]])], False, pen, 50)
    cv2.line(picture, (300, 1200), (1700, 900), (15, 15, 18), 30)
    return picture


def test_a_slide_of_pens_and_folds(tmp_path):
    """It runs; what is found lies on the slide and its scores are probabilities."""
    slide = write_slide(tmp_path / "pens.tif", pens_and_folds())
    told = mitosieve(*detecting(slide, out=tmp_path / "out"))
    assert told.code == 0, told.err
    found = read_detections(tmp_path / "out" / "detections.csv")
    assert ((found.center_l0 >= 0) & (found.center_l0 <= [3000, 2000])).all()
    assert ((found.score >= 0) & (found.score <= 1)).all()


def test_a_text_among_slides(tmp_path):
    """A text called .svs: exit code 1 with its name, and the other slide as if it had been alone."""
    text = tmp_path / "notes.svs"
    text.write_text("Slide 7 was sent to the other laboratory.\n")
    told = mitosieve(*detecting(text, a_small_slide(), out=tmp_path / "both"))
    assert told.code == 1
    assert "failed: notes: " in told.err
    assert rows_of(tmp_path / "both")["notes"]["error"]
    assert mitosieve(*detecting(a_small_slide(), out=tmp_path / "alone")).code == 0
    both, alone = (tmp_path / name / "detections.csv" for name in ("both", "alone"))
    assert both.read_bytes() == alone.read_bytes()


def test_a_text_alone(tmp_path):
    """Exit code 2, one message, and no folder."""
    text = tmp_path / "notes.svs"
    text.write_text("Slide 7 was sent to the other laboratory.\n")
    refused(mitosieve(*detecting(text, out=tmp_path / "out")), text)
    assert not (tmp_path / "out").exists()


def test_a_slide_cut_off_half_way(tmp_path):
    """A copy that ended early: named with exit code 1, the other slide is finished."""
    cut = Path(shutil.copy(a_tall_slide(), tmp_path / "cut.tif"))
    os.truncate(cut, cut.stat().st_size // 2)
    told = mitosieve(*detecting(cut, a_small_slide(), out=tmp_path / "out"))
    assert told.code == 1
    assert "failed: cut: " in told.err
    assert set(read_detections(tmp_path / "out" / "detections.csv").slide_id) == {"small"}


def test_a_tile_of_zeros(tmp_path):
    """A tile whose bytes are gone (a hole in a copy): the slide is named, exit code 1, the other is finished."""
    holed = write_slide(tmp_path / "holed.tif", tissue(1100, 800))
    with tifffile.TiffFile(holed) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[5], page.databytecounts[5]
    with holed.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    told = mitosieve(*detecting(holed, a_small_slide(), out=tmp_path / "out"))
    assert told.code == 1
    assert "failed: holed: " in told.err
    assert set(read_detections(tmp_path / "out" / "detections.csv").slide_id) == {"small"}


@pytest.mark.parametrize("levels", [(1,), (1, 16), (1, 2, 4, 8, 16, 32)])
def test_a_pyramid_with_other_levels(tmp_path, levels):
    """One level only, a gap, or more than needed: what is found does not change but for the overview's grey levels."""
    slide = write_slide(tmp_path / "small.tif", tissue(700, 500), levels=levels)
    told = mitosieve(*detecting(slide, out=tmp_path / "out"))
    assert told.code == 0, told.err
    usual = sum(line.startswith(b"small,") for line in undisturbed()["detections.csv"].splitlines())
    assert len(read_detections(tmp_path / "out" / "detections.csv")) == pytest.approx(usual, rel=0.1)


@pytest.mark.parametrize("mpp", ["0", "1e6", "-0.25", "nan"])
def test_an_absurd_resolution(tmp_path, mpp):
    """Stated by the user it is refused, exit code 2, whatever the slide says itself; no folder is left."""
    told = mitosieve(*detecting(a_small_slide(), out=tmp_path / "out"), "--mpp", mpp)
    refused(told, "--mpp: ", "0.25")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mpp", [1e-4, 250.0])
def test_a_slide_that_states_an_absurd_resolution(tmp_path, mpp):
    """It is not believed: exit code 2 and how to state the true one, with which the slide is done."""
    slide = write_slide(tmp_path / "odd.tif", tissue(700, 500), mpp=mpp)
    words = detecting(slide, out=tmp_path / "out")
    refused(mitosieve(*words), slide, "--mpp 0.25")
    assert not (tmp_path / "out").exists()
    assert mitosieve(*words, "--mpp", MPP).code == 0
    assert rows_of(tmp_path / "out")["odd"]["mpp"] == str(MPP)


@pytest.mark.parametrize("side", [1, 2, 7])
def test_an_image_of_next_to_nothing(tmp_path, side):
    """A picture of one pixel runs, and holds no figure."""
    cv2.imwrite(str(tmp_path / "dot.png"), np.full((side, side, 3), 90, np.uint8))
    told = mitosieve(*detecting(tmp_path / "dot.png", out=tmp_path / "out"), "--mpp", MPP)
    assert told.code == 0, told.err
    assert rows_of(tmp_path / "out")["dot"]["error"] == ""


@pytest.mark.slow
@pytest.mark.long
def test_slides_that_vanish_while_they_are_read(tmp_path):
    """One is cut off while it is read, one is gone before its turn: exit code 1 with their names, the third is done;
    put back, --resume gives what nothing had disturbed.
    """
    folder = tmp_path / "slides"
    folder.mkdir()
    tall, small = (Path(shutil.copy2(slide, folder)) for slide in (a_tall_slide(), a_small_slide()))
    other = write_slide(folder / "other.tif", tissue(500, 400))
    words = detecting(tall, small, other, out=tmp_path / "out")
    process, family = under_way(words, tmp_path / "out")
    small.unlink()  # first: once the tall one fails, the small one's turn has come
    os.truncate(tall, 5000)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1, told
    assert "failed: tall: " in told
    assert "failed: small: " in told
    assert "Traceback" not in told
    assert set(read_detections(tmp_path / "out" / "detections.csv").slide_id) == {"other"}
    assert all_gone(family)
    tall.unlink()
    for slide in (a_tall_slide(), a_small_slide()):
        shutil.copy2(slide, folder)
    assert mitosieve(*words, *HERE, "--resume").code == 0
    found = (tmp_path / "out" / "detections.csv").read_text().splitlines()
    expected = undisturbed()["detections.csv"].decode().splitlines()
    assert [line for line in found if not line.startswith("other,")] == expected


# ---------------------------------------------------------------- jobs that are cut off


@pytest.mark.slow
def test_interrupted_in_the_middle_of_a_slide(tmp_path):
    """Ctrl-C, which all processes of the terminal get: exit code 130, one line that says how to go on, no process
    left; --resume ends with the bytes of a job that nothing disturbed, finished bands not done again.
    """
    out = tmp_path / "out"
    words = detecting(a_tall_slide(), a_small_slide(), out=out)
    process, family = under_way(words, out, start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    said, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "--resume" in told
    assert "Traceback" not in told + said
    assert all_gone(family)
    went_on(words, out)


@pytest.mark.slow
@pytest.mark.long
def test_killed_in_the_middle_of_a_slide(tmp_path):
    """kill -9: its helpers end by themselves, the folder is free, and --resume goes on from the last finished band."""
    out = tmp_path / "out"
    words = detecting(a_tall_slide(), a_small_slide(), out=out)
    process, family = under_way(words, out)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert all_gone(family)
    went_on(words, out)


def went_on(words: list[str], out: Path) -> None:
    """The job was cut off before its end, goes on, and leaves the same files."""
    assert not (out / "detections.csv").exists()
    done = finished(out)
    assert done
    told = mitosieve(*words, *HERE, "--resume")
    assert told.code == 0, told.err
    assert files_of(out) == undisturbed()
    assert {path: time for path, time in finished(out).items() if path in done}.items() <= done.items()


@pytest.mark.slow
def test_a_helper_that_is_killed(tmp_path):
    """Out of memory ends one process of several: no hang. Either the job ends as if nothing had been, or it says so."""
    out = tmp_path / "out"
    words = detecting(a_tall_slide(), a_small_slide(), out=out)
    process, family = under_way(words, out)
    readers = [helper for helper in family[1:] if "resource_tracker" not in " ".join(helper.cmdline())]
    assert readers
    readers[0].kill()
    _, told = process.communicate(timeout=60)
    assert process.returncode in (0, 1, 2), told
    assert "Traceback" not in told
    assert all_gone(family)
    if process.returncode:
        assert mitosieve(*words, *HERE, "--resume").code == 0
    assert files_of(out) == undisturbed()


# ---------------------------------------------------------------- no space


@pytest.mark.slow
def test_a_file_that_may_not_grow(tmp_path):
    """A quota for one file (works for every user, where a small disk needs root): the file is named, exit code 2,
    nothing half-written; with more room --resume ends as if nothing had been.
    """
    out = tmp_path / "out"
    words = detecting(a_tall_slide(), a_small_slide(), out=out)
    largest = max(len(content) for content in undisturbed().values())
    process = start(*words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2)))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2, told
    assert told.startswith(f"mitosieve: {out}")
    assert "remedy: " in told
    assert "Traceback" not in told
    assert not list(out.rglob("*.part"))
    assert mitosieve(*words, *HERE, "--resume").code == 0
    assert files_of(out) == undisturbed()


def test_a_disk_that_fills_in_the_middle_of_a_slide(tmp_path):
    """The same on a disk that is full: named at once, and --resume finishes."""
    kilobytes = int(0.5 * sum(-(-len(content) // 4096) * 4 for content in undisturbed().values()))
    with a_small_disk(tmp_path / "disk", kilobytes) as disk:
        words = detecting(a_tall_slide(), a_small_slide(), out=disk / "out")
        refused(mitosieve(*words), disk / "out", "the disk is full")
        assert not list(disk.rglob("*.part"))
        os.system(f"mount -o remount,size=20m {disk}")
        assert mitosieve(*words, *HERE, "--resume").code == 0
        assert files_of(disk / "out") == undisturbed()
