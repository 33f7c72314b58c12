"""Every output says of a slide that it is unlike those of the detector's training, and of an old detector nothing."""

import csv
import json
import shutil
import tomllib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
import tomli_w
from pydicom import dcmread

from mitosieve.errors import DetectorError
from mitosieve.network.compute import Compute
from mitosieve.scan.container import run_container
from mitosieve.scan.part import read_bands, write_band
from mitosieve.sieve.cascade import Scored
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.score_counts import BINS
from tiny import ONE_CORE, a_run, files_of, images, mitosieve

FORMATS = ("--format", "geojson,parquet,dicom,csv,midog")
ALL = ("--mpp", "0.25", "--threshold", "0", *ONE_CORE)


@cache
def slides() -> list[Path]:
    """One slide as it is and one that no focus could have blurred so."""
    folder = Path(mkdtemp())
    shutil.copy2(images()[0], folder / "plain.png")
    pixels = cv2.imread(str(images()[0]))
    cv2.imwrite(str(folder / "blurred.png"), cv2.GaussianBlur(pixels, (0, 0), 6))
    return [folder / "plain.png", folder / "blurred.png"]


@cache
def a_scan():
    """Both slides by a detector that knows its slides, and what was printed."""
    out = Path(mkdtemp()) / "found"
    return out, mitosieve("detect", "--detector", a_run(), *slides(), "--out", out, *FORMATS, *ALL)


def an_old_detector(folder: Path) -> Path:
    """The same detector as one that was trained before detectors knew their slides."""
    shutil.copytree(a_run() / "detector", folder)
    (folder / "reference.json").unlink()
    config = tomllib.loads((folder / "detector.toml").read_text())
    del config["reference_sha256"]
    (folder / "detector.toml").write_text(tomli_w.dumps(config))
    return folder


def rows_of(path: Path):
    return {row["slide_id"]: row for row in csv.DictReader(path.read_text().splitlines())}


def rows_without_ids(path: Path):
    """Lines of a table of detections but for their ids, which are of the detector's file too."""
    return [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]


def test_every_output_carries_the_warning():
    """Error stream, both tables, the slide's JSON, GeoJSON, Parquet and DICOM; of the plain slide none does."""
    out, told = a_scan()
    assert told.code == 0
    warning = rows_of(out / "summary.csv")["blurred"]["warning"]
    assert "sharpness unlike the training's (blurrier): distance" in warning
    assert f"warning: blurred: {warning}" in told.err
    assert rows_of(out / "slides.csv")["blurred"]["warning"] == warning
    summary = json.loads((out / "summaries" / "blurred.json").read_text())
    assert "; ".join(summary["warnings"]) == warning
    sharpness = summary["familiarity"]["sharpness"]
    assert sharpness["distance"] > sharpness["limit"]
    strangeness = float(rows_of(out / "summary.csv")["blurred"]["strangeness"])
    assert strangeness >= round(sharpness["distance"] / sharpness["limit"], 3)
    assert json.loads((out / "geojson" / "blurred.geojson").read_text())["notes"] == summary["warnings"]
    metadata = pq.read_schema(out / "parquet" / "blurred.parquet").metadata
    assert metadata[b"notes"].decode().splitlines() == summary["warnings"]
    groups = dcmread(out / "dicom" / "blurred.dcm").AnnotationGroupSequence
    assert all(
        f"Warning: {note}." in group.AnnotationGroupDescription for group in groups for note in summary["warnings"]
    )


def test_a_slide_that_is_like_the_training_has_no_warning():
    """In no output; its exports are those that a detector without a reference writes."""
    out, told = a_scan()
    assert "plain" not in told.err
    row = rows_of(out / "summary.csv")["plain"]
    assert (row["warning"], rows_of(out / "slides.csv")["plain"]["warning"]) == ("", "")
    assert float(row["strangeness"]) <= 1
    assert json.loads((out / "summaries" / "plain.json").read_text())["warnings"] == []
    assert "notes" not in json.loads((out / "geojson" / "plain.geojson").read_text())
    assert b"notes" not in (pq.read_schema(out / "parquet" / "plain.parquet").metadata or {})


def test_the_page_says_which_slides_are_strange(tmp_path):
    """At its head, and each with its sentence."""
    out, _ = a_scan()
    told = mitosieve("report", out, "--out", tmp_path / "page.html")
    assert told.code == 0, told
    page = " ".join((tmp_path / "page.html").read_text().split())
    assert "1 with a warning" in page
    assert "blurred: sharpness unlike the training's" in page.replace("&#39;", "'")


def test_the_container_says_it_too(tmp_path, caplog):
    """Its result has no place for notes; the log of the case has."""
    folder = tmp_path / "in" / "images" / "histopathology-roi-cropout"
    folder.mkdir(parents=True)
    tifffile.imwrite(
        folder / "case.tif", cv2.imread(str(slides()[1]))[..., ::-1], photometric="rgb", resolution=(40_000, 40_000),
        resolutionunit="CENTIMETER",
    )  # fmt: skip
    run_container(a_run(), tmp_path / "in", tmp_path / "out", compute=Compute.choose("cpu"))
    assert "case.tif: sharpness unlike the training's (blurrier)" in caplog.text


def test_a_resumed_job_and_shards_say_the_same(tmp_path):
    """Byte for byte: when parts do the slides and a resumed job collects them."""
    whole = files_of(a_scan()[0])
    words = ["detect", "--detector", a_run(), *slides(), *FORMATS, *ALL, "--out", tmp_path / "again"]
    for shard in ("1/2", "2/2"):
        assert mitosieve(*words, "--shard", shard).code == 0
    assert mitosieve(*words, "--resume").code == 0
    again = files_of(tmp_path / "again")
    assert {name: again[name] for name in whole} == whole


def test_a_band_that_was_kept_brings_its_scores(tmp_path):
    """A slide half done goes on with what the first stage said on its finished bands."""
    counts = np.arange(BINS)
    band = Scored(center_px=np.zeros((2, 2)), score=np.ones((2, 1)), counts=counts)
    write_band(tmp_path / "s.csv", 1, band)
    kept = read_bands(tmp_path / "s.csv", 2)
    assert list(kept) == [1]
    assert np.array_equal(Scored.concatenate([kept[1], band], 1).counts, 2 * counts)


def test_an_old_detector_warns_of_nothing_and_says_so_once(tmp_path):
    """A folder without reference.json loads and finds the same; one line says that nothing is known."""
    detector = an_old_detector(tmp_path / "old")
    told = mitosieve("detect", "--detector", detector, *slides(), "--out", tmp_path / "found", *FORMATS, *ALL)
    assert told.code == 0
    assert told.err.count("nothing is known of how like them these are") == 1
    assert "warning: blurred" not in told.err
    assert "nothing is known" not in a_scan()[1].err
    row = rows_of(tmp_path / "found" / "summary.csv")["blurred"]
    assert (row["strangeness"], row["warning"]) == ("", "")
    assert json.loads((tmp_path / "found" / "summaries" / "blurred.json").read_text())["familiarity"] is None
    ours, others = (rows_without_ids(folder / "detections.csv") for folder in (tmp_path / "found", a_scan()[0]))
    assert ours == others


def test_a_reference_that_was_altered_or_lost_is_refused(tmp_path):
    """As weights are."""
    folder = tmp_path / "detector"
    shutil.copytree(a_run() / "detector", folder)
    assert Detector.load(folder).reference is not None
    path = folder / "reference.json"
    path.write_text(path.read_text().replace("validation", "Validation"))
    with pytest.raises(DetectorError, match="was altered"):
        Detector.load(folder)
    path.unlink()
    with pytest.raises(DetectorError, match="is missing"):
        Detector.load(folder)


def test_a_detector_at_another_threshold_knows_its_slides():
    """Thresholds and gates change nothing of it, and what is saved again is the same."""
    detector = Detector.load(a_run())
    assert detector.with_threshold(0.3).reference is detector.reference
    assert detector.with_gate(0.3).reference is detector.reference
