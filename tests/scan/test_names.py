"""Whatever files are called: each slide is finished and the tables are written, or there is one early message."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mitosieve.export.table import read_detections
from mitosieve.run import layout
from tiny import ONE_CORE, a_run, files_of, images, mitosieve

ALL = "geojson,midog,midog2021,csv,parquet,dicom"


def detect(*words):
    return mitosieve("detect", "--detector", a_run(), "--threshold", 0, "--mpp", 0.25, *ONE_CORE, *words)


def a_file(folder: Path, name: bytes) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    shutil.copy(images()[0], path)
    return path


def rows_of(path: Path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


NAMES = {
    b"Pr\xe4parat 1.jpg": "Pr%E4parat 1",
    b"a" * 250 + b".jpg": "a" * 250,
    "ä".encode() * 120 + b".jpg": "ä" * 120,
    b"line\nbreak.jpg": "line%0Abreak",
    b'quote",comma.jpg': 'quote",comma',
    b" blank .jpg": "blank",
    b"  .jpg": "%20%20",
    b"percent%20.jpg": "percent%20",
    b"=cmd.jpg": "=cmd",
    "\u202egnp.jpg".encode(): "%E2%80%AEgnp",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name(tmp_path, name):
    """It is found as a file of an easy name is, every table and format has it, and the page shows it; so is it again
    after --resume.
    """
    (tmp_path / "slides").mkdir()
    a_file(tmp_path / "slides", name)
    shutil.copy(images()[1], tmp_path / "slides" / "easy.jpg")
    words = (tmp_path / "slides", "--out", tmp_path / "out", "--format", ALL)
    told = detect(*words)
    assert told.code == 0, told.err
    out = tmp_path / "out"
    slide_id = NAMES[name]
    for table in ("slides.csv", "summary.csv"):
        rows = rows_of(out / table)
        assert sorted(row["slide_id"] for row in rows) == sorted([slide_id, "easy"])
    found = read_detections(out / "detections.csv")
    assert set(found.slide_id) == {slide_id, "easy"}
    for kind in ("geojson", "midog", "midog2021", "csv", "parquet", "summaries", "heatmaps"):
        assert len(list((out / kind).iterdir())) == 2, kind
    assert mitosieve("report", out).code == 0
    before = files_of(out)
    assert detect(*words, "--resume").code == 0
    assert files_of(out) == before
    (tmp_path / "alone").mkdir()
    shutil.copy(images()[0], tmp_path / "alone" / "x.jpg")
    assert detect(tmp_path / "alone", "--out", tmp_path / "out2").code == 0
    alone = read_detections(tmp_path / "out2" / "detections.csv")
    assert np.array_equal(alone.center_l0, found.of_slide(slide_id).center_l0)


def test_a_slide_that_fails_under_such_a_name(tmp_path):
    """Its error, which names the path, is in the tables too."""
    bad = a_file(tmp_path, b"Pr\xe4parat.jpg")
    bad.write_bytes(b"x")
    told = detect(bad, images()[0], "--out", tmp_path / "out")
    assert told.code == 1
    rows = rows_of(tmp_path / "out" / "slides.csv")
    assert "no image that is known" in next(row["error"] for row in rows if row["slide_id"] == "Pr%E4parat")


def test_names_that_no_disk_takes(tmp_path):
    """A slide, a result folder and a name in a list that are too long: one message, no traceback."""
    long = "a" * 300
    for words in ((f"{long}.tif",), (f"{long}*.tif",), (images()[0],)):
        out = tmp_path / (long if words == (images()[0],) else "out")
        told = detect(*words, "--out", out)
        assert told.code == 2
        assert "shorter name" in told.err
    (tmp_path / "list.txt").write_text(f"{long}.tif\n{images()[0]}\n")
    told = detect(f"@{tmp_path / 'list.txt'}", "--out", tmp_path / "out")
    assert told.code == 1, told.err
    assert "File name too long" in told.err


def test_a_result_beside_a_slide_of_its_name(tmp_path):
    """`slide.jpg --out slide`: what is written there is no part of the slide, and --resume does nothing again."""
    slide = Path(shutil.copy(images()[0], tmp_path / "slide.jpg"))
    words = (slide, "--out", tmp_path / "slide")
    assert detect(*words).code == 0
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "slide" / "parts").iterdir()}
    assert detect(*words, "--resume").code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "slide" / "parts").iterdir()} == parts
    told = detect(slide, "--out", slide)
    assert (told.code, "is a file, not a folder" in told.err) == (2, True)


def test_names_of_files_are_short_and_differ():
    """A name that is long keeps its beginning, and two long ones that differ at their end differ."""
    one, two = (layout.file_of("ä" * 150 + end, ".midog2021.json") for end in "ab")
    assert one != two
    assert max(len(name.encode()) for name in (one, two)) <= 255
    assert layout.file_of("a", ".csv") == "a.csv"
