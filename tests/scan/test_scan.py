import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mitosieve.annotation import Annotations
from mitosieve.cohort.cohort import Cohort
from mitosieve.count.ground import Ground
from mitosieve.count.hotspot import Hotspot
from mitosieve.export.table import read_detections
from mitosieve.network.compute import Compute
from mitosieve.scan import Scan, items_of_images, scan
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector
from tiny import ONE_CORE, a_cohort, a_run, a_scan, images, mitosieve

ALL = ("--threshold", "0", *ONE_CORE)


def test_finished_slides_are_not_looked_at_again(tmp_path):
    """On resume a slide whose part is whole is taken from it: the part may even say something else."""
    words = ["detect", "--detector", a_run(), *images()[:2], "--mpp", 0.25, "--out", tmp_path / "out", *ONE_CORE]
    assert mitosieve(*words).code == 0
    part = next((tmp_path / "out" / "parts").glob("*.csv"))
    header = part.read_text().splitlines()[0]
    part.write_text(header + "\n")
    assert mitosieve(*words, "--resume").code == 0
    found = read_detections(tmp_path / "out" / "detections.csv")
    assert part.name.split(".")[0] not in set(found.slide_id)


def test_slides_that_an_earlier_try_did_keep_its_times(tmp_path):
    """A resume that does one of two slides leaves the times of both; one that does none leaves the files alone."""
    out = tmp_path / "out"
    words = ["detect", "--detector", a_run(), *images()[:2], "--mpp", 0.25, "--out", out, *ONE_CORE]
    assert mitosieve(*words).code == 0
    before, parts = (out / "timing.csv").read_text().splitlines(), json.loads((out / "timing.json").read_text())
    (out / "timing.csv").write_text("\n".join([before[0], before[1].replace(before[1].split(",")[1], "777.000"), ""]))
    next((out / "parts").glob(f"{images()[1].stem}*.csv")).unlink()
    assert mitosieve(*words, "--resume").code == 0
    rows = list(csv.DictReader((out / "timing.csv").read_text().splitlines()))
    assert [row["slide_id"] for row in rows] == [path.stem for path in images()[:2]]
    assert rows[0]["seconds"] == "777.000"
    after = json.loads((out / "timing.json").read_text())
    assert list(after["parts_s"]) == list(parts["parts_s"])
    assert after["parts_s"][images()[0].stem] == parts["parts_s"][images()[0].stem]
    times = {name: (out / name).read_bytes() for name in ("timing.csv", "timing.json")}
    assert mitosieve(*words, "--resume").code == 0
    assert times == {name: (out / name).read_bytes() for name in times}


def test_a_job_tells_where_it_begins_and_which_slides_were_done_before(tmp_path):
    """Slide 0 is told before the first, which whoever counts time needs; on resume what is there is told as kept."""
    heard = []

    def hear(what, done, total, /, **facts):
        if what == "slides":
            heard.append((done, total, "kept" in facts))

    job = Scan(
        detector=a_run(), items=items_of_images(images()[:2], mpp="0.25", roi=None), out=tmp_path / "out",
        origin={}, compute=Compute.choose("cpu"), progress=hear,
    )  # fmt: skip
    scan(job)
    assert heard == [(0, 2, False), (1, 2, False), (2, 2, False)]
    next((tmp_path / "out" / "parts").glob(f"{images()[1].stem}*.csv")).unlink()
    heard.clear()
    scan(replace(job, resume=True))
    assert heard == [(0, 2, False), (1, 2, True), (2, 2, False)]
    heard.clear()
    scan(replace(job, resume=True, mapper=map))  # a cluster's tells of those that are done
    assert heard == [(0, 2, False)]


def test_two_images_of_one_name_are_refused(tmp_path):
    """Their detections could not be told apart."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shutil.copy2(images()[0], tmp_path / "a" / "one.jpg")
    shutil.copy2(images()[1], tmp_path / "b" / "one.jpg")
    told = mitosieve(
        "detect", "--detector", a_run(), tmp_path / "a" / "one.jpg", tmp_path / "b" / "one.jpg", "--out", tmp_path / "o"
    )
    assert told.code == 2
    both = " and ".join(str(tmp_path / name / "one.jpg") for name in "ab")
    assert f"{both}: two images are called 'one'" in told.err
    assert not (tmp_path / "o").exists()


def test_nothing_is_reported_outside_the_roi(tmp_path):
    """With --roi the detections are those of the whole image that lie in it, and there are fewer."""
    words = ["detect", "--detector", a_run(), images()[0], "--mpp", 0.25, *ALL]
    assert mitosieve(*words, "--out", tmp_path / "whole").code == 0
    ring = [[0, 0], [150, 0], [150, 384], [0, 384], [0, 0]]
    (tmp_path / "roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert mitosieve(*words, "--out", tmp_path / "part", "--roi", tmp_path / "roi.geojson").code == 0
    whole = read_detections(tmp_path / "whole" / "detections.csv")
    part = read_detections(tmp_path / "part" / "detections.csv")
    assert 0 < len(part) < len(whole)
    assert (part.center_l0[:, 0] <= 150).all()


def test_mpp_from_a_table(tmp_path):
    """--mpp FILE.csv gives each image its own resolution, which slides.csv reports."""
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\n" + "".join(f"{p.stem},{0.25 + 0.25 * i}\n" for i, p in enumerate(images()[:2])))
    told = mitosieve(
        "detect", "--detector", a_run(), *images()[:2], "--mpp", table, "--out", tmp_path / "out", *ONE_CORE
    )
    assert told.code == 0, told.err
    rows = list(csv.DictReader((tmp_path / "out" / "slides.csv").read_text().splitlines()))
    assert [float(row["mpp"]) for row in rows] == [0.25, 0.5]


def test_one_bad_slide_does_not_stop_the_others(tmp_path):
    """It is named in slides.csv and on the error stream, the exit code is 1, and the rest is there."""
    bad = tmp_path / "bad.png"
    bad.write_text("not an image")
    told = mitosieve("detect", "--detector", a_run(), bad, images()[0], "--mpp", 0.25, "--out", tmp_path / "out", *ALL)
    assert told.code == 1
    assert "bad" in told.err
    found = read_detections(tmp_path / "out" / "detections.csv")
    assert set(found.slide_id) == {images()[0].stem}
    rows = {
        row["slide_id"]: row["error"]
        for row in csv.DictReader((tmp_path / "out" / "slides.csv").read_text().splitlines())
    }
    assert rows["bad"]
    assert not rows[images()[0].stem]


def test_the_operating_threshold_decides_what_is_a_figure(tmp_path):
    """--threshold changes is_figure and nothing else: places and scores stay."""
    words = ["detect", "--detector", a_run(), images()[0], "--mpp", 0.25, *ONE_CORE]
    assert mitosieve(*words, "--threshold", 0.9, "--out", tmp_path / "high").code == 0
    assert mitosieve(*words, "--threshold", 0.1, "--out", tmp_path / "low").code == 0
    high = read_detections(tmp_path / "high" / "detections.csv")
    low = read_detections(tmp_path / "low" / "detections.csv")
    assert np.array_equal(high.score, low.score)
    assert np.array_equal(high.is_figure, high.score >= 0.9)
    assert np.array_equal(low.is_figure, low.score >= 0.1)


def test_the_job_says_where_its_inputs_came_from():
    """detect.json names detector, its hash, cohort, fold, part and threshold."""
    facts = json.loads((a_scan() / "detect.json").read_text())
    assert facts["cohort"] == str(a_cohort().resolve())
    assert (facts["fold"], facts["part"]) == ("A", "test")
    assert len(facts["detector_hash"]) == 64


def test_oblong_pixels_of_a_cohort_are_those_of_the_job(tmp_path):
    """mpp_x and mpp_y of slides.csv: the command finds what the library finds on the cohort, and states both."""
    whole = Cohort.load(shutil.copytree(a_cohort(), tmp_path / "c"))
    entries = tuple(replace(entry, mpp=0.225, oblong=(0.25, 0.2)) for entry in whole.slides[:1])
    cohort = Cohort(whole.folder, entries, Annotations.empty())
    cohort.save()
    told = mitosieve("detect", "--detector", a_run(), "--cohort", cohort.folder, "--out", tmp_path / "out", *ALL)
    assert told.code == 0, told.err
    by_job = read_detections(tmp_path / "out" / "detections.csv")
    by_library = detect(Detector.load(a_run()), cohort, compute=Compute.choose("cpu"))
    assert len(by_job) == len(by_library) > 0
    np.testing.assert_allclose(by_job.center_l0, by_library.center_l0, atol=1e-3)
    np.testing.assert_allclose(by_job.score, by_library.score, atol=1e-5)
    (row,) = csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
    assert (row["mpp_x"], row["mpp_y"]) == ("0.25", "0.2")


def test_density_is_that_of_the_roi(tmp_path):
    """The tissue that figures are counted on is the tissue inside the ROI: half the image has about half of it.

    All else inside is told as left out: both together are what was asked for.
    """
    words = ["detect", "--detector", a_run(), images()[0], "--mpp", 0.25, *ALL]
    ring = [[0, 0], [192, 0], [192, 384], [0, 384], [0, 0]]
    (tmp_path / "roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    tissue = {}
    for name, more in (("whole", ()), ("part", ("--roi", tmp_path / "roi.geojson"))):
        assert mitosieve(*words, "--out", tmp_path / name, *more).code == 0
        row = next(csv.DictReader((tmp_path / name / "summary.csv").read_text().splitlines()))
        tissue[name] = float(row["tissue_mm2"])
        (told,) = (json.loads(path.read_text()) for path in (tmp_path / name / "summaries").glob("*.json"))
        everywhere = Hotspot(shape="square", center_mm=(0, 0), size_mm=(9, 9), area_mm2=81.0, count=1)
        assert Ground.from_json(told["ground"]).tissue_mm2(everywhere) == pytest.approx(tissue[name], abs=1e-4)
        asked = {"whole": 384, "part": 192}[name] * 384 * 0.25**2 / 1e6
        assert tissue[name] + float(row["glass_mm2"]) == pytest.approx(asked, rel=0.05)
        assert float(row["figures_per_mm2"]) == pytest.approx(int(row["figures"]) / tissue[name], rel=0.01)
    assert 0.3 * tissue["whole"] < tissue["part"] < 0.7 * tissue["whole"]


def test_bands_of_two_engines_are_not_mixed(tmp_path):
    """A job is resumed with the engine that it was begun with, or refused."""
    words = ["detect", "--detector", a_run(), images()[0], "--mpp", 0.25, "--out", tmp_path / "d", *ONE_CORE]
    assert mitosieve(*words).code == 0
    told = mitosieve(*words, "--resume", "--engine", "torch")
    assert told.code == 2
    assert "was started with another engine" in told.err
