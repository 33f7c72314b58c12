"""A slide whose um per px can hardly be right for a detector is told, or refused until somebody states it."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from pydicom import dcmread

from mitosieve.errors import ResolutionError
from mitosieve.network.compute import Compute
from mitosieve.scan.container import run_container
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.resolution import check_resolution, resolution_warning
from mitosieve.slide.slide import open_slide
from tiny import ONE_CORE, a_run, images, mitosieve

FORMATS = ("--format", "geojson,parquet,dicom")


def write(path: Path, mpp: float, **options) -> Path:
    pixels = cv2.imread(str(images()[0]))[..., ::-1]
    how = {"photometric": "rgb", "resolution": (1e4 / mpp,) * 2, "resolutionunit": "CENTIMETER", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(64, 64), **how, **options)
        file.write(np.full((90, 60, 3), 220, np.uint8), subfiletype=9, photometric="rgb", metadata=None)
    return path


def detect(*words):
    return mitosieve("detect", "--detector", a_run(), "--threshold", 0, *FORMATS, *ONE_CORE, *words)


def rows_of(path: Path):
    return {row["slide_id"]: row for row in csv.DictReader(path.read_text().splitlines())}


@pytest.mark.parametrize(("times", "told", "refused"), [(1, 0, 0), (1.45, 0, 0), (1.6, 1, 0), (2.9, 1, 0), (3.1, 1, 1)])
def test_by_how_many_times(tmp_path, times, told, refused):
    """Told beyond 1.5 times and refused beyond 3, coarser and finer alike; what is stated is told and done."""
    detector = Detector.load(a_run())
    own = detector.config.frame.mpp
    for mpp in (own * times, own / times):
        if not 0.06 < mpp < 2:
            continue
        with open_slide(write(tmp_path / "a.tif", mpp)) as slide:
            assert bool(resolution_warning(slide, detector)) == bool(told)
            check_resolution(slide, detector, stated=True)
            if refused:
                with pytest.raises(ResolutionError, match="--mpp"):
                    check_resolution(slide, detector, stated=False)
            else:
                check_resolution(slide, detector, stated=False)


def test_it_is_told_everywhere(tmp_path):
    """Error stream, both tables, JSON, GeoJSON, Parquet, DICOM and page; and so is what the file says of itself."""
    write(tmp_path / "fine.tif", 0.25)
    write(tmp_path / "coarse.tif", 0.6)
    out = tmp_path / "found"
    told = detect(tmp_path / "fine.tif", tmp_path / "coarse.tif", "--out", out)
    assert told.code == 0, told.err
    row = rows_of(out / "summary.csv")["coarse"]
    assert "0.6 um/px differs 2.4 times from the detector's 0.25" in row["warning"]
    assert "um/px differs" not in rows_of(out / "summary.csv")["fine"]["warning"]
    assert row["note"] == "further pictures in the file, which are not looked at: macro"
    assert f"warning: coarse: {row['warning']}" in told.err
    assert f"note: fine, coarse: {row['note']}" in told.err
    for name in ("warning", "note"):
        assert rows_of(out / "slides.csv")["coarse"][name] == row[name]
    summary = json.loads((out / "summaries" / "coarse.json").read_text())
    assert ["; ".join(summary["warnings"]), "; ".join(summary["notes"])] == [row["warning"], row["note"]]
    both = [*summary["warnings"], *summary["notes"]]
    assert json.loads((out / "geojson" / "coarse.geojson").read_text())["notes"] == both
    assert pq.read_schema(out / "parquet" / "coarse.parquet").metadata[b"notes"].decode().splitlines() == both
    described = dcmread(out / "dicom" / "coarse.dcm").AnnotationGroupSequence[0].AnnotationGroupDescription
    assert f"Warning: {summary['warnings'][0]}." in described
    assert f"Note: {row['note']}." in described
    assert mitosieve("report", out, "--out", tmp_path / "page.html").code == 0
    page = " ".join((tmp_path / "page.html").read_text().split()).replace("&#39;", "'")
    assert row["warning"] in page
    assert f"fine, coarse: {row['note']}" in page


def test_an_absurd_one_fails_its_slide_alone(tmp_path):
    """Exit code 1 beside others, 2 alone and nothing written; with --mpp it is done."""
    far, near = write(tmp_path / "far.tif", 1.0), write(tmp_path / "near.tif", 0.25)
    told = detect(far, near, "--out", tmp_path / "both")
    assert told.code == 1
    assert "failed: far: " in told.err
    assert "--mpp 1" in told.err
    assert rows_of(tmp_path / "both" / "slides.csv")["near"]["error"] == ""
    alone = detect(far, "--out", tmp_path / "alone")
    assert (alone.code, (tmp_path / "alone").exists()) == (2, False)
    assert detect(far, "--mpp", 1.0, "--out", tmp_path / "alone").code == 0
    assert "differs 4.0 times" in rows_of(tmp_path / "alone" / "summary.csv")["far"]["warning"]


def test_the_container_refuses_it_too(tmp_path, caplog):
    """One case by the challenge's contract: the same rule, and notes in its log."""
    folder = tmp_path / "in" / "images" / "histopathology-roi-cropout"
    folder.mkdir(parents=True)
    write(folder / "case.tif", 1.0)
    words = (a_run(), tmp_path / "in", tmp_path / "out")
    with pytest.raises(ResolutionError, match="differs 4"):
        run_container(*words, compute=Compute.choose("cpu"))
    run_container(*words, mpp=1.0, compute=Compute.choose("cpu"))
    assert "not looked at: macro" in caplog.text
    assert "differs 4.0 times" in caplog.text


@pytest.mark.parametrize("name", ["batch/a.tif", "A.TIF", "b", "./a.tif"])
def test_a_table_that_names_no_slide(tmp_path, name):
    """Refused before anything is done; what it states would be ignored."""
    write(tmp_path / "a.tif", 0.25)
    (tmp_path / "mpp.csv").write_text(f"slide,mpp\n{name},0.3\n")
    told = detect(tmp_path / "a.tif", "--mpp", tmp_path / "mpp.csv", "--out", tmp_path / "out")
    assert told.code == 2
    assert "names no slide of the job" in told.err
    assert not (tmp_path / "out").exists()


def test_a_table_that_leaves_some_out(tmp_path):
    """It is told which, and which rows name none; the others have what it states."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tif", 0.25)
    (tmp_path / "mpp.csv").write_text("slide,mpp\na.tif,0.3\nc,0.3\n")
    told = detect(tmp_path / "a.tif", tmp_path / "b.tif", "--mpp", tmp_path / "mpp.csv", "--out", tmp_path / "out")
    assert told.code == 0
    assert "leaves out 1 slide, of which the file is believed: b" in told.err
    assert "1 row of" in told.err
    assert [rows_of(tmp_path / "out" / "slides.csv")[name]["mpp"] for name in "ab"] == ["0.3", "0.25"]
