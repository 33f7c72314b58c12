"""Laws of what is said before a job: true of the job that follows, from measurements alone, and without a trace."""

import csv
import importlib
import json
import os
import shutil
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from mitosieve.cli import app
from mitosieve.errors import MitosieveError, StorageError
from mitosieve.network.compute import Compute
from mitosieve.network.config import SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.scan import Scan, expected_of, items_of_images, scan, tables
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import NucleiProposer
from tiny import images

LEAST_MM2 = tables.LEAST_MM2
NETWORK = SwiftConfig(input_px=32, widths=(8, 16), depths=(1, 1), head=16, stem=8)


@pytest.fixture
def detector(tmp_path):
    """Of a folder, without a card; its second stage has a budget."""
    first = Stage(name="screening", network=NETWORK, views="one", patch_px=32, threshold=0.25)
    stages = (first, first.model_copy(update={"name": "refined", "per_mm2": 60.0}))
    config = DetectorConfig(proposer=NucleiProposer(), stages=stages)
    networks = tuple((build_network(NETWORK).eval(),) for _ in stages)
    return Detector(config=config, networks=networks).save(tmp_path / "made" / "detector")


@pytest.fixture(autouse=True)
def small_slides_serve(monkeypatch):
    """Slides of tests have some thousandths of a mm2."""
    monkeypatch.setattr(tables, "LEAST_MM2", 0.001)


def a_job(detector, out):
    items = items_of_images(images()[:2], mpp="0.25", roi=None)
    return Scan(detector=detector, items=items, out=out, origin={}, compute=Compute.choose("cpu"))


def test_tissue_is_what_the_job_finds_and_nothing_is_made(detector, tmp_path):
    """To the digits of its tables; the folder of the result is not there after it."""
    job = a_job(detector, tmp_path / "results" / "out")
    expected = expected_of(job)
    assert not (tmp_path / "results").exists()
    rows = scan(job).rows
    assert [slide.slide_id for slide in expected.slides] == [row["slide_id"] for row in rows]
    told = [f"{slide.tissue_mm2:.4f}" for slide in expected.slides]
    assert told == [f"{float(row['tissue_mm2']):.4f}" for row in rows]


def test_time_is_an_earlier_result_s_of_the_same_detector_and_machine(detector, tmp_path):
    """Its tissue over its seconds; of another detector, another machine or nobody's it is not known."""
    job = a_job(detector, tmp_path / "results" / "new")
    assert expected_of(job).rate is None
    assert expected_of(job).seconds is None
    old = tmp_path / "results" / "old"
    done = scan(replace(job, out=old))
    timing = json.loads((old / "timing.json").read_text())
    seconds = sum(parts["all"] for parts in timing["parts_s"].values())
    mm2 = sum(float(row["tissue_mm2"]) for row in done.rows)
    expected = expected_of(job)
    assert expected.rate is not None
    assert expected.rate.mm2_per_s == pytest.approx(mm2 / seconds, rel=1e-3)
    assert str(old) in expected.rate.where
    assert expected.seconds == pytest.approx(seconds, rel=0.01)
    before = {name: value for name, value in timing["machine"].items() if name != "scores_in"}
    (old / "timing.json").write_text(json.dumps({**timing, "machine": before}))
    assert expected_of(job).seconds == pytest.approx(seconds, rel=0.01), "as results of before have it"
    other = replace(job, compute=replace(job.compute, engine="torch"))
    assert expected_of(other).rate is None
    assert "card" in expected_of(replace(job, detector="swift")).rate.where


def test_time_of_next_to_no_tissue_is_no_time(detector, tmp_path, monkeypatch):
    """A result of less than 2 mm2 does not serve, however new it is: an older one that has them does."""
    monkeypatch.setattr(tables, "LEAST_MM2", LEAST_MM2)
    job = a_job(detector, tmp_path / "results" / "new")
    scan(replace(job, out=tmp_path / "results" / "small"))
    assert expected_of(job).rate is None
    for name, mm2 in (("large", "1.5"), ("smaller", "0.9")):
        shutil.copytree(tmp_path / "results" / "small", tmp_path / "results" / name)
        table = tmp_path / "results" / name / "slides.csv"
        rows = list(csv.DictReader(table.read_text().splitlines()))
        tables.write_slides(table.parent, [{**row, "tissue_mm2": mm2} for row in rows])
        os.utime(table.parent / "timing.json")
    assert "large, 3 mm2 on this machine" in expected_of(job).rate.where


@pytest.mark.parametrize(
    "wrong",
    [
        {"operating_point": "nonsense"},
        {"operating_point": "sensitive"},
        {"formats": ("docx",)},
        {"compute": replace(Compute.choose("cpu"), engine="int8")},
        {"detector": "swfit"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_the_job_refuses_is_refused_before(detector, tmp_path, wrong):
    """A dry run of a job that would not start says so, in its words."""
    job = replace(a_job(detector, tmp_path / "out"), **wrong)
    told = []
    for do in (scan, expected_of):
        with pytest.raises(MitosieveError) as refusal:
            do(job)
        told.append(str(refusal.value))
    assert told[0] == told[1]
    assert not (tmp_path / "out").exists()


def test_time_of_a_cluster_is_not_this_machine_s(detector, tmp_path):
    """Slides that were done elsewhere have their times and no machine: no speed of this one is taken from them."""
    job = a_job(detector, tmp_path / "results" / "new")
    old = tmp_path / "results" / "old"
    scan(replace(job, out=old, mapper=lambda function, tasks: [function(task) for task in tasks]))
    timing = json.loads((old / "timing.json").read_text())
    assert len(timing["parts_s"]) == len(job.items)
    assert "machine" not in timing
    assert expected_of(job).rate is None


def test_time_of_a_slide_half_done_before_is_no_time(detector, tmp_path, monkeypatch):
    """Tissue of the whole beside seconds of the rest would be a speed that nobody had: such a slide has no row."""
    monkeypatch.setattr("mitosieve.sieve.tile_reader.TILE_PX", 128)
    job = a_job(detector, tmp_path / "results" / "new")
    old = tmp_path / "results" / "old"
    one = importlib.import_module("mitosieve.scan.one")
    write_band, taken = one.write_band, []

    def full(part, number, scored):
        if part.name.startswith(job.items[1].slide_id) and number == 1:
            raise StorageError("the disk is full")
        write_band(part, number, scored)
        taken.append((part, number))

    monkeypatch.setattr(one, "write_band", full)
    with pytest.raises(StorageError):
        scan(replace(job, out=old))
    assert not (old / "timing.csv").exists()
    begun = next(part for part, number in taken if part.name.startswith(job.items[1].slide_id) and number == 0)
    assert begun.with_suffix("").is_dir()
    monkeypatch.setattr(one, "write_band", write_band)
    done = scan(replace(job, out=old, resume=True))
    assert not done.failed
    assert not begun.with_suffix("").exists()
    assert not (old / "timing.csv").exists()
    assert expected_of(job).rate is None
    scan(replace(job, out=tmp_path / "results" / "whole"))
    assert expected_of(job).rate is not None


def test_what_a_stage_is_given_is_told(detector, tmp_path):
    """The proposer's density, then the budget; a gate alone promises no number."""
    given = dict(expected_of(a_job(detector, tmp_path / "out")).stages)
    assert "1600 per mm2" in given["screening"]
    assert given["refined"] == "60 a mm2, of a small slide at least so many"
    assert "not known" in dict(expected_of(a_job("swift", tmp_path / "out")).stages)["refined"]


def test_the_command_says_so_and_names_what_will_fail(detector, tmp_path):
    """A slide that cannot be read does not hide the others."""
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 and nothing else")
    words = ["detect", str(images()[0]), str(broken), "--mpp", "0.25", "--detector", str(detector)]
    ran = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--dry-run"])
    assert ran.exit_code == 1
    assert "1 slide, " in ran.output
    assert "how long it takes is not known" in ran.output
    assert "nothing was made" in ran.output
    assert "will fail: broken" in ran.output
    assert not (tmp_path / "out").exists()
