"""Killed at any moment and resumed: the bytes of a run that nothing disturbed. Real processes, kill -9."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from mitosieve import Cohort
from mitosieve.parallel.processes import ProcessMap
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.train.job import Job
from tiny import (
    ONE_CORE,
    SWIFT_SHORT,
    SWIFT_SMALL,
    a_cohort,
    a_run,
    a_split,
    a_swift_run,
    files_of,
    images,
    mitosieve,
    start,
    training,
    without_test_cases,
)

MOMENTS = ("patches.json", "checkpoint/screening.safetensors", "mining.json", "checkpoint/refined.safetensors")
"""Files whose appearance is followed by a kill: while patches are cut, in screening, at mining, in the refined net."""


def killed(words, file, *, delay=0.0):
    """Start a command and kill it once a file is there; whether it was killed, and did not end before."""
    process = start(*words)
    try:
        while not file() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(delay)
    finally:
        process.kill()
        _, told = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), told
    return process.returncode == -signal.SIGKILL


@pytest.mark.long
def test_a_training_killed_again_and_again(tmp_path):
    """Weights, detectors, scores, validation and history equal those of a run in one go; nothing else is left."""
    run = tmp_path / "run"
    words = training(run, "cascade.parts_too=true")
    delays = np.random.default_rng().uniform(0, 0.1, len(MOMENTS))
    deaths = [
        killed([*words, *(["--resume"] if run.exists() else [])], (run / name).exists, delay=delay)
        for name, delay in zip(MOMENTS, delays, strict=True)
    ]
    assert any(deaths)
    assert mitosieve(*words, "--resume").code == 0
    expected = files_of(a_run())
    assert {"networks/refined.safetensors", "mining-scores.parquet", "validation/detections.csv"} <= set(expected)
    assert files_of(run) == expected, f"killed {delays} s after {MOMENTS}"


@pytest.mark.parametrize("name", ["validation/detections.csv", "detector/detector.toml"])
def test_a_training_killed_at_its_last_steps(tmp_path, name):
    """Once a detector is whole nothing is done again: so all that is told of it, its budget too, is there before."""
    run, expected = tmp_path / "run", files_of(a_swift_run())
    assert "budget.json" in expected
    shutil.copytree(a_swift_run(), run)
    last = (run / name).stat().st_mtime_ns
    gone = {file for file in expected if (run / file).stat().st_mtime_ns > last}
    assert ("detector/detector.toml" in gone) == (name != "detector/detector.toml")
    for file in gone:
        (run / file).unlink()
    settings = [word for setting in (*SWIFT_SMALL, *SWIFT_SHORT) for word in ("--set", setting)]
    words = ["train", "swift", a_cohort(), "--split", a_split(), "--fold", "A", "--out", run, *ONE_CORE, *settings]
    assert mitosieve(*words, "--resume").code == 0
    assert files_of(run) == expected


def test_a_scan_killed_and_resumed(tmp_path):
    """detections.csv, slides.csv and every slide's GeoJSON equal those of a scan in one go."""
    for number in range(6):
        shutil.copy2(images()[number % 4], tmp_path / f"s{number}.jpg")
    words = ["detect", "--detector", a_run(), *sorted(tmp_path.glob("s?.jpg")), "--mpp", 0.25, *ONE_CORE]
    assert mitosieve(*words, "--out", tmp_path / "whole").code == 0
    again = [*words, "--out", tmp_path / "again"]
    assert killed(again, lambda: any((tmp_path / "again").glob("parts/*.csv")))
    assert not (tmp_path / "again" / "detections.csv").exists()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "again" / "parts").glob("*.csv")}
    assert mitosieve(*again, "--resume").code == 0
    assert files_of(tmp_path / "again") == files_of(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_a_finished_run_resumed_stays_as_it_is(tmp_path):
    """Every file keeps its bytes."""
    run = tmp_path / "run"
    shutil.copytree(a_run(), run)
    assert mitosieve(*training(run, "cascade.parts_too=true"), "--resume").code == 0
    assert files_of(run) == files_of(a_run())


def test_machine_and_versions_are_of_what_trained(tmp_path):
    """Resumed elsewhere, or by other code, a finished training keeps every byte of both, and of one that goes on all
    are told, once.
    """
    run = tmp_path / "run"
    shutil.copytree(a_run(), run)
    files = {"machine.json": {"processor": "another"}, "versions.json": {"commit": "0ther"}}
    began = {name: {**json.loads((run / name).read_text()), **other} for name, other in files.items()}
    for name, told in began.items():
        (run / name).write_text(json.dumps(told))
    before = {name: (run / name).read_bytes() for name in files}
    words = training(run, "cascade.parts_too=true")
    assert mitosieve(*words, "--resume").code == 0
    assert {name: (run / name).read_bytes() for name in files} == before
    for detector in run.glob("detector*"):
        (detector / "detector.toml").unlink()
    for is_first in (True, False):
        told = mitosieve(*words, "--resume")
        assert told.code == 0
        assert ("and began as commit 0ther: what is computed may differ" in told.err) == is_first
        for name, first in began.items():
            here = json.loads((a_run() / name).read_text())
            assert json.loads((run / name).read_text()) == {**first, "then": [here]}
        for detector in run.glob("detector*"):
            (detector / "detector.toml").unlink()
    assert "and began as processor another" in (run / "log.txt").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_machine_json_names_the_threads_of_processes_that_trained(tmp_path, workers):
    """And of none where all was trained here."""
    run = RunFolder(tmp_path)
    write_json(run / "machine.json", {"torch_threads": 8})
    with ProcessMap(workers=workers, threads=3) as mapper:
        job = Job(cohort=None, fold=None, run=run, compute=None, mapper=mapper if workers > 1 else None)
        assert job.each(str, [1], "networks") == ["1"]
    told = json.loads((tmp_path / "machine.json").read_text())
    assert told == {"torch_threads": 8} | ({"worker_threads": 3} if workers > 1 else {})


def test_other_threads_of_processes_are_told_and_a_finished_training_has_none(tmp_path):
    """One that goes on with other threads says both, once; of one that is whole machine.json keeps its bytes."""
    path = tmp_path / "machine.json"
    write_json(path, {"torch_threads": 8, "worker_threads": 1})
    told = []
    note = lambda *_, **facts: told.append(facts.get("text"))  # noqa: E731
    with ProcessMap(workers=2, threads=3) as mapper:
        job = Job(cohort=None, fold=None, run=RunFolder(tmp_path), compute=None, mapper=mapper, progress=note)
        for _ in range(2):
            job.each(str, [1], "networks")
        assert json.loads(path.read_text())["then"] == [{"worker_threads": 3}]
        assert [text for text in told if text] == ["goes on with 3 threads a process, and began with 1"]
        then = [{"torch_threads": 4}]  # of another machine, which says its own though it has as many
        write_json(path, {"torch_threads": 8, "worker_threads": 3, "then": then})
        for _ in range(2):
            job.each(str, [1], "networks")
        assert json.loads(path.read_text())["then"] == [*then, {"worker_threads": 3}]
        write_json(path, {"torch_threads": 8})
        before = path.read_bytes()
        (tmp_path / "detector").mkdir()
        (tmp_path / "detector" / "detector.toml").touch()
        job.each(str, [1], "networks")
    assert path.read_bytes() == before


def test_another_recipe_fold_or_cohort_is_not_resumed(tmp_path):
    """What differs is named, and the run stays as it is."""
    run = tmp_path / "run"
    shutil.copytree(a_run(), run)
    other = Path(shutil.copytree(a_cohort(), tmp_path / "cohort"))
    marks = other / "annotations.csv"
    marks.write_text("".join(marks.read_text().splitlines(keepends=True)[:-1]))
    before = files_of(run)
    words = training(run, "cascade.parts_too=true")
    fold_b = ["B" if word == "A" else word for word in words]
    for changed, what in (
        ([*words, "--set", "seed=2"], "recipe"),
        (fold_b, "fold"),
        (training(run, "cascade.parts_too=true", cohort=other), "cohort"),
    ):
        told = mitosieve(*changed, "--resume")
        assert told.code == 2
        assert f"was started with another {what}" in told.err
    assert files_of(run) == before


def test_a_run_goes_on_where_its_cohort_was_moved(tmp_path):
    """With the bytes that it had, and it says where the data lie now; with an image that is another one it does not."""
    run, place = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(a_run(), run)
    before = files_of(run)
    moved = Cohort.load(shutil.copytree(a_cohort(), place))
    words = training(run, "cascade.parts_too=true", cohort=place)
    assert mitosieve(*words, "--resume").code == 0
    assert files_of(run) == before
    now, then = (json.loads((one / "run.json").read_text())["provenance"] for one in (run, a_run()))
    assert now == {**then, "cohort": str(place)} != then
    image = moved.path_of(json.loads((run / "images.json").read_text()).popitem()[0])
    image.write_bytes(image.read_bytes() + b"exported anew")
    refused = mitosieve(*words, "--resume")
    assert refused.code == 2
    assert "was started with other images of 1 slides" in refused.err


def test_an_interrupted_training_says_how_to_go_on(tmp_path):
    """Ctrl-C: exit 130, one line, no stack trace; the same command with --resume goes on."""
    run = tmp_path / "run"
    process = start(*training(run, "screening.patch_visits=1000000"))
    while not (run / "checkpoint" / "screening.safetensors").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "--resume" in told
    assert "Traceback" not in told


def test_the_same_seed_gives_the_same_networks_whatever_the_test_cases_are(tmp_path):
    """Their images are gone and their marks are others: nothing that a training leaves differs."""
    cohort = without_test_cases(a_cohort(), a_split(), tmp_path / "cohort")
    told = mitosieve(*training(tmp_path / "run", "cascade.parts_too=true", cohort=cohort))
    assert told.code == 0, told.err
    for below in ("networks", "detector", "validation", "places"):
        expected = files_of(a_run(), below=below)
        assert expected
        assert files_of(tmp_path / "run", below=below) == expected


def test_another_seed_gives_other_networks(tmp_path):
    """Each of them; all else is asked for alike."""
    assert mitosieve(*training(tmp_path / "run", "seed=2")).code == 0
    names = [path.name for path in (a_run() / "networks").iterdir()]
    assert len(names) == 2
    for name in names:
        assert (tmp_path / "run" / "networks" / name).read_bytes() != (a_run() / "networks" / name).read_bytes()
