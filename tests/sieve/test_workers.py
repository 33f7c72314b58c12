"""Laws of tiles that are read side by side: judged together or alone, by whatever engine, they give the same."""

import queue
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import MitosieveError
from mitosieve.geometry import Region
from mitosieve.network.compute import Compute
from mitosieve.run.clock import Clock
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.sieve.readers import ProcessReader, Readers, ThreadReader
from mitosieve.sieve.stages import Judge, Scorer
from mitosieve.sieve.workers import IN_FLIGHT, Sieving, fullest, readers_for_large
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
    answers = Scorer.answers

    def counted(self, requests):
        seen.append((requests[0].stage, len(requests)))
        assert {request.stage for request in requests} == {requests[0].stage}
        return answers(self, requests)

    monkeypatch.setattr(Scorer, "answers", counted)
    return seen


def test_torch_judges_tiles_alone_on_a_cpu():
    """Its scores' last digits hang on what else is in the batch; on a GPU full batches are worth that."""
    gathers = {
        (engine, device): Scorer(
            a_detector((None, None, None)), Compute(device=device, precision="32-true", engine=engine), Clock()
        ).may_gather
        for engine, device in (("torch", "cpu"), ("onnxruntime", "cpu"), ("bfloat16", "cpu"), ("torch", "cuda"))
    }
    assert list(gathers.values()) == [False, True, True, True]


@pytest.mark.parametrize(
    ("budgets", "kind", "engine"),
    [
        ((None, None, None), ThreadReader, "onnxruntime"),
        ((None, 1500.0, 400.0), ProcessReader, "onnxruntime"),
        ((None, 1500.0, 400.0), ThreadReader, "torch"),
        ((None, None, None), ProcessReader, "torch"),
    ],
)
def test_tiles_are_judged_together_while_the_device_is_slow(slide, judged, monkeypatch, budgets, kind, engine):
    """Several at once, never more than are begun, and the same bytes as one by one in this process; torch alone."""
    compute = Compute(device="cpu", precision="32-true", engine=engine)
    detector = a_detector(budgets, (0.2, 0.2, 0.0))
    source, counted = SlideSource(path=slide, slide_id="s", mpp=0.25), Scorer.answers

    def slowly(self, requests):
        time.sleep(0.0 if engine == "torch" else 0.25)  # torch has nothing to wait for
        return counted(self, requests)

    def sieved(readers):
        bands = {}
        sieving = Sieving(detector, source, compute, Clock(), readers)
        sieving.run(sieving.open(), set(), bands.__setitem__)
        sieving.close()
        return [bands[n] for n in sorted(bands)]

    alone = sieved(None)
    assert max(tiles for _, tiles in judged) == 1
    judged.clear()
    monkeypatch.setattr(Scorer, "answers", slowly)
    with Readers(2, kind) as readers:
        together = sieved(readers)
    most = max(tiles for _, tiles in judged)
    assert most == 1 if engine == "torch" else 1 < most <= 2 * IN_FLIGHT
    assert len(alone) == len(together) == 2
    for one, other in zip(alone, together, strict=True):
        for name in ("center_px", "score", "counts"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert sum(len(band.score) for band in alone) > 20


def test_opencv_keeps_to_one_thread(slide):
    """Wherever a slide is sieved: in a task of a cluster, of which nobody set anything, as in a command."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        assert cv2.getNumThreads() == 2
        sieving = Sieving(a_detector((None,) * 3), SlideSource(path=slide, slide_id="s", mpp=0.25), CPU, Clock(), None)
        sieving.open()
        sieving.close()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_answers_go_to_whom_they_belong(judged):
    """Judged together each request gets the scores of its own images, also of none."""
    scorer = Scorer(a_detector((None, None, None)), CPU, Clock())
    generator = np.random.default_rng(0)
    requests = [Judge(stage=0, images=generator.integers(0, 256, (n, 32, 32, 3), np.uint8)) for n in (3, 0, 5, 1)]
    together = scorer.answers(requests)
    assert [len(scores) for scores in together] == [3, 0, 5, 1]
    for request, scores in zip(requests, together, strict=True):
        assert np.array_equal(scorer.answers([request])[0], scores)
    assert judged[0] == (0, 4)
    assert set(scorer.clock.seconds) == {"stage a"}


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


@pytest.mark.parametrize(
    ("side_px", "workers", "slides", "kind"),
    [
        (2**13, 2, 1, None),
        (2**13 + 1, 2, 1, ThreadReader),
        (2**15, 2, 1, ThreadReader),
        (2**15 + 1, 2, 1, ProcessReader),
        (2**13 + 1, 2, 2, ProcessReader),
        (2**13 + 1, 3, 1, ProcessReader),
        (2**15 + 1, 0, 1, None),
    ],
)
def test_the_only_slide_of_a_job_is_read_by_threads(monkeypatch, side_px, workers, slides, kind):
    """Of a middling size, and by few; more slides, larger ones and more readers have processes; a field has none."""
    started = []

    class Started:
        def __init__(self, number, kind):
            started.append((number, kind))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("mitosieve.sieve.workers.Readers", Started)
    one = SimpleNamespace(bounds=Region(x=0, y=0, w=side_px, h=side_px))
    with readers_for_large(workers, slides) as readers_for:
        found = [readers_for(one), readers_for(one)]
    assert started == ([] if kind is None else [(workers, kind)])
    assert found[0] is found[1]
    assert (found[0] is None) == (kind is None)


def test_a_slide_is_closed_when_nobody_reads_it(monkeypatch):
    """A thread that is still reading when its reader is closed closes the slide itself, afterwards."""
    told, go_on = [], threading.Event()

    class Slowly:
        def reply(self, request):
            told.append("begins")
            go_on.wait(10)
            told.append("ends")

        def close(self):
            told.append("closed")

    monkeypatch.setattr("mitosieve.sieve.readers.Answering", Slowly)
    answers = queue.SimpleQueue()
    reader = ThreadReader(answers)
    reader.ask("key", None)
    while not told:
        time.sleep(0.01)
    reader.end()
    threading.Timer(0.3, go_on.set).start()
    reader.close()
    assert told == ["begins", "ends", "closed"]
    assert not reader.alive
