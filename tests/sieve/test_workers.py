"""Laws of tiles that are read side by side: judged together or alone, on any device, they give the same."""

import threading
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import MitosieveError
from mitosieve.run.clock import Clock
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.sieve.readers import ProcessReader, Readers, ThreadReader
from mitosieve.sieve.stages import Judge, Judges
from mitosieve.sieve.workers import IN_FLIGHT, Sieving, fullest
from sieve.test_budget import CPU, a_detector


def wants(images):
    return Judge(stage=0, images=np.zeros((images, 1, 1, 3), np.uint8))


@given(st.dictionaries(st.integers(0, 3), st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=4))
def test_the_fullest_stage_is_judged_first(images):
    """By images, not by tiles; of equal ones the latest."""
    pending = {stage: {(0, tile): wants(n) for tile, n in enumerate(each)} for stage, each in images.items()}
    total = {stage: sum(each) for stage, each in images.items()}
    assert fullest(pending) == max(stage for stage, number in total.items() if number == max(total.values()))


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Six tiles of tissue of random colours."""
    coarse = np.random.default_rng(0).integers(90, 200, (90, 210, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("slide") / "tissue.png"
    cv2.imwrite(str(path), cv2.resize(coarse, (5200, 2200), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
def judged(monkeypatch):
    """How many tiles were judged together, each time, by stage."""
    seen = []
    answers = Judges.answers

    def counted(self, requests):
        seen.append((requests[0].stage, len(requests)))
        assert {request.stage for request in requests} == {requests[0].stage}
        return answers(self, requests)

    monkeypatch.setattr(Judges, "answers", counted)
    return seen


@pytest.mark.parametrize("kind", [ThreadReader, ProcessReader])
@pytest.mark.parametrize("budgets", [(None, None, None), (None, 1500.0, 400.0)])
def test_tiles_are_judged_together_while_the_device_is_slow(slide, judged, monkeypatch, budgets, kind):
    """Several at once, never more than are begun, and the same bytes as one by one in this process."""
    detector = a_detector(budgets, (0.2, 0.2, 0.0))
    source, counted = SlideSource(path=slide, slide_id="s", mpp=0.25), Judges.answers

    def slowly(self, requests):
        time.sleep(0.4)
        return counted(self, requests)

    def sieved(readers):
        bands = {}
        sieving = Sieving(detector, source, CPU, Clock(), readers)
        sieving.run(sieving.open(), set(), bands.__setitem__)
        sieving.close()
        return [bands[n] for n in sorted(bands)]

    alone = sieved(None)
    assert max(tiles for _, tiles in judged) == 1
    judged.clear()
    monkeypatch.setattr(Judges, "answers", slowly)
    with Readers(2, kind) as readers:
        together = sieved(readers)
    assert 1 < max(tiles for _, tiles in judged) <= 2 * IN_FLIGHT
    assert len(alone) == len(together) == 2
    for one, other in zip(alone, together, strict=True):
        for name in ("center_px", "score", "counts"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert sum(len(band.score) for band in alone) > 20


def test_answers_go_to_whom_they_belong(judged):
    """Judged together each request gets the scores of its own images, also of none."""
    judges = Judges(a_detector((None, None, None)), CPU, Clock())
    generator = np.random.default_rng(0)
    requests = [Judge(stage=0, images=generator.integers(0, 256, (n, 32, 32, 3), np.uint8)) for n in (3, 0, 5, 1)]
    together = judges.answers(requests)
    assert [len(scores) for scores in together] == [3, 0, 5, 1]
    for request, scores in zip(requests, together, strict=True):
        assert np.array_equal(judges.answers([request])[0], scores)
    assert judged[0] == (0, 4)
    assert set(judges.clock.seconds) == {"stage a"}


@pytest.mark.parametrize("kind", [ThreadReader, ProcessReader])
def test_a_slide_that_cannot_be_read_is_an_error_and_the_next_one_is_read(slide, tmp_path, kind):
    """Its file named; readers live on."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(slide.read_bytes()[:3000])
    detector = a_detector((None, None, None), (0.2, 0.2, 0.0))
    with Readers(1, kind) as readers:
        for _ in range(2):
            with pytest.raises(MitosieveError, match="broken"):
                Sieving(detector, SlideSource(path=broken, slide_id="b", mpp=0.25), CPU, Clock(), readers).open()
            whole = Sieving(detector, SlideSource(path=slide, slide_id="s", mpp=0.25), CPU, Clock(), readers)
            assert len(whole.open().bands) == 2
    assert not [thread.name for thread in threading.enumerate() if "_feed" in thread.name]
