"""A detection that a page starts: told as it goes, the page then shows its result; it dies with the viewer."""

import json
import time

import pytest
from found import a_slide
from serving import serving

from mitosieve.view.desk import Desk
from mitosieve.view.detecting import Detection
from mitosieve.view.opening import open_viewed
from tiny import a_run, images


def a_detection(tmp_path, detector):
    viewed, read_cells = open_viewed(images()[0], mpp=0.25)
    desk = Desk(viewed, read_cells, reader="A")
    out = tmp_path / "slide-found"
    job = Detection(viewed.slides, detector=str(detector), out=out, when_done=lambda: desk.show(*open_viewed(out)))
    return desk, job


def post(client):
    status, _, body = client.ask("/api/detect", method="POST", body=b"{}")
    return status, json.loads(body)


def wait(client):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        state = client.get("/api/detect")
        if state["state"] != "running":
            return state
        time.sleep(0.2)
    raise AssertionError("it takes too long")


@pytest.mark.slow
def test_the_page_shows_what_it_found(tmp_path):
    """From a bare slide to a result that takes decisions, without opening anything again; only one runs at a time."""
    desk, job = a_detection(tmp_path, a_run())
    with serving(desk, job) as client:
        assert client.get("/api/detect")["state"] == "idle"
        status, state = post(client)
        assert (status, state["state"]) == (200, "running")
        assert post(client)[0] == 400
        state = wait(client)
        assert state["state"] == "done", state
        assert client.get("/api/session")["kind"] == "result"
        status, answer = client.decide({"kind": "added", "slide": 0, "x": 5, "y": 5, "verdict": "figure"})
        assert status == 200, answer
    assert (tmp_path / "slide-found" / "detections.csv").exists()


@pytest.mark.slow
def test_why_it_failed_is_told_without_a_path(tmp_path):
    """A detector that is none; it may be started again."""
    (tmp_path / "none").mkdir()
    desk, job = a_detection(tmp_path, tmp_path / "none")
    with serving(desk, job) as client:
        assert post(client)[0] == 200
        state = wait(client)
        assert state["state"] == "failed"
        assert str(tmp_path) not in state["words"]
        assert post(client)[0] == 200
        job.stop()
        assert wait(client)["state"] == "failed"


@pytest.mark.slow
def test_slides_of_one_name_are_refused_as_by_the_command(tmp_path):
    """Their detections would be mixed: nothing is made, and it is said what to do."""
    for seed, name in enumerate(("a.tif", "a.tiff")):
        a_slide(tmp_path / "slides" / name, width=400, height=300, seed=seed)
    viewed, read_cells = open_viewed(tmp_path / "slides")
    out = tmp_path / "slides-found"
    job = Detection(viewed.slides, detector="swift", out=out, when_done=lambda: None)
    with serving(Desk(viewed, read_cells, reader="A"), job) as client:
        assert post(client)[0] == 200
        state = wait(client)
    assert state["state"] == "failed"
    assert "two images are called 'a'; rename one, or detect on them in two folders" in state["words"]
    assert not out.exists()


def test_there_is_nothing_to_detect_on_a_result(tmp_path):
    """Nor without a detection."""
    viewed, read_cells = open_viewed(images()[0], mpp=0.25)
    with serving(Desk(viewed, read_cells, reader="A"), None) as client:
        assert post(client)[0] == 400
