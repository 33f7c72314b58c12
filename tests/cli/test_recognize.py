"""What lies at a path is called what it is."""

import json

from mitosieve.cli.recognize import Thing, thing_at
from tiny import a_cohort, a_run, a_scan, a_split, images


def test_what_jobs_leave_is_told_apart(tmp_path):
    """Each folder and file that a command makes, and the images beside them."""
    assert thing_at(a_cohort()) is Thing.COHORT
    assert thing_at(a_cohort() / "images") is Thing.SLIDES
    assert thing_at(a_cohort() / "slides.csv") is Thing.MEMBER
    assert thing_at(a_run()) is Thing.RUN
    assert thing_at(a_run() / "detector") is Thing.DETECTOR
    assert thing_at(a_run() / "recipe.toml") is Thing.RECIPE
    assert thing_at(a_scan()) is Thing.RESULT
    assert thing_at(a_scan() / "detections.csv") is Thing.DETECTIONS
    assert thing_at(a_scan() / "metrics.json") is Thing.SCORES
    assert thing_at(a_split()) is Thing.SPLIT
    assert thing_at(images()[0]) is Thing.IMAGE
    assert thing_at(tmp_path / "gone") is Thing.MISSING
    assert thing_at(tmp_path) is Thing.EMPTY


def test_broken_files_are_files(tmp_path):
    """What cannot be read is no reason to fail here: it is judged where it is read."""
    for name in ("a.json", "a.toml", "a.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe[")
        assert thing_at(tmp_path / name) in (Thing.FILE, Thing.TABLE)
    (tmp_path / "run.json").write_text(json.dumps({"kind": "nonesuch"}))
    assert thing_at(tmp_path) is Thing.FOLDER
