"""Laws of budgets: a stage is given what it can afford of a slide, by gates that the slide alone sets."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitosieve.network.compute import Compute
from mitosieve.network.config import SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.patch.frames import FrameConfig
from mitosieve.run.clock import Clock
from mitosieve.sieve import budget, tile_reader
from mitosieve.sieve.budget import gates_within
from mitosieve.sieve.cascade import Scored, answered, columns_of, finish, sieve_slide
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import GridProposer
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.sieve.readers import Readers
from mitosieve.sieve.stages import Scorer, gates_of, plan_of, seen_by
from mitosieve.sieve.tile_reader import Cut, Find, TileReader, survey
from mitosieve.sieve.workers import Sieving
from mitosieve.slide.slide import open_slide

CPU = Compute(device="cpu", precision="32-true", engine="onnxruntime")
NET = SwiftConfig(widths=(4, 8), head=8)


def a_detector(budgets, thresholds=(0.0, 0.0, 0.0), seed=0):
    """Three stages whose scores spread, of whatever a random network sees."""
    torch.manual_seed(seed)
    networks = []
    for _ in budgets:
        network = build_network(NET)
        torch.nn.init.normal_(network.decision.weight, 0, 0.5)
        networks.append((network.eval(),))
    stages = tuple(
        Stage(name=name, network=NET, views="one", patch_px=32, per_mm2=per_mm2, threshold=threshold)
        for name, per_mm2, threshold in zip("abc", budgets, thresholds, strict=True)
    )
    config = DetectorConfig(
        frame=FrameConfig(stain="none"),
        proposer=GridProposer(stride_px=32, min_darkness=0.0),
        stages=stages,
        keep_above=0.0,
        merge_um=0.0,
        suppress_um=0.0,
    )
    return Detector(config=config, networks=tuple(networks))


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Tissue of random colours beside glass that is not quite white."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(235, 250, (900, 1400, 3), np.uint8)  # no two places alike
    coarse = rng.integers(-50, 50, (150, 150, 3)).astype(np.float32)
    grain = cv2.resize(coarse, (900, 900), interpolation=cv2.INTER_CUBIC)
    pixels[:, :900] = np.clip(np.array([190, 110, 180]) + grain, 0, 255)
    path = tmp_path_factory.mktemp("slide") / "tissue.png"
    cv2.imwrite(str(path), pixels)
    return path


def reader_of(path, detector):
    opened = open_slide(path, mpp=0.25)
    plan = plan_of(detector)
    return TileReader(opened, plan, survey(opened, plan))


def gates(path, detector):
    reader = reader_of(path, detector)
    scorer = Scorer(detector, CPU, Clock())
    return answered(gates_within(scorer, reader.sample()), reader, scorer), reader


def scores(detector, reader):
    """(N, 3) of all places of the sample, by every stage, whatever the gates."""
    scorer = Scorer(detector, CPU, Clock())

    def all_of(core):
        found = yield Find(core=core)
        columns = []
        for number in range(3):
            seen = yield from seen_by(scorer, number, core, found, found.center_px, 0.0)
            columns.append(seen.score[:, 0])
        return np.stack(columns, axis=1)

    return np.concatenate([answered(all_of(core), reader, scorer) for core in reader.sample().blocks])


@settings(max_examples=12, deadline=None)
@given(st.floats(50, 4000), st.floats(20, 3000), st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 3), st.booleans())
def test_as_many_pass_as_can_be_afforded(slide, second, third, low, high, seed, small):
    """By brute force over all scores: of a large slide one place more would break the budget and none fewer passes; of
    a small one all that reach the threshold pass too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "LARGE_MM2", np.inf if small else 0.0)
        detector = a_detector((None, second, third), (low, high, 0.0), seed)
        found, reader = gates(slide, detector)
    score, area = scores(detector, reader), reader.sample().area_mm2
    left = np.ones(len(score), bool)
    for stage, (gate, limit, threshold) in enumerate(zip(found, (second, third), (low, high), strict=False)):
        passing = left & (score[:, stage] >= gate)
        reaching = int((left & (score[:, stage] >= threshold)).sum())
        afforded = min(left.sum(), int(limit * area))
        assert passing.sum() == (max(reaching, afforded) if small else afforded)
        left = passing
    assert found[2] == gates_of(detector)[2]


def test_a_roi_moves_no_gate(slide, monkeypatch):
    """A sample stands for the slide: what is looked at of it changes nothing that a stage can afford a mm2."""
    monkeypatch.setattr(budget, "LARGE_MM2", 0.0)
    detector = a_detector((None, 1000.0, 300.0))
    whole, _ = gates(slide, detector)
    opened, plan = open_slide(slide, mpp=0.25), plan_of(detector)
    for roi in (shapely.box(0, 0, 300, 200), shapely.box(850, 0, 1400, 900)):
        reader = TileReader(opened, plan, survey(opened, plan), roi)
        scorer = Scorer(detector, CPU, Clock())
        assert answered(gates_within(scorer, reader.sample()), reader, scorer) == whole


def test_the_whole_slide_keeps_to_the_budget(slide, monkeypatch):
    """Where the sample is the slide, its stages are shown as many places as they afford, and not one more."""
    monkeypatch.setattr(budget, "LARGE_MM2", 0.0)
    everywhere = len(sieved(a_detector((None, None, None)), slide))
    detector = a_detector((None, 1000.0, 300.0))
    shown = {1: 0, 2: 0}

    class Counting(TileReader):
        def answer(self, request):
            if isinstance(request, Cut) and request.stage and request.core not in set(self.sample().blocks):
                shown[request.stage] += len(request.center_px)
            return super().answer(request)

    monkeypatch.setattr("mitosieve.sieve.cascade.TileReader", Counting)
    with open_slide(slide, mpp=0.25) as opened:
        sieve_slide(detector, opened, compute=CPU)
    area = reader_of(slide, detector).sample().area_mm2
    inside = len(scores(detector, reader_of(slide, detector)))
    assert inside <= everywhere
    beyond = everywhere - inside  # places whose centre lies in no block: at the edge of the tissue
    assert int(1000 * area) <= shown[1] <= int(1000 * area) + beyond
    assert int(300 * area) - beyond <= shown[2] <= int(300 * area) + beyond


def sieved(detector, path):
    with open_slide(path, mpp=0.25) as opened:
        return sieve_slide(detector, opened, compute=CPU).found


def test_tiles_and_reader_processes_set_the_same_gates(slide, monkeypatch):
    """To the bit: read here or elsewhere, in large tiles or small ones."""
    monkeypatch.setattr(budget, "LARGE_MM2", 0.0)
    detector = a_detector((None, 1000.0, 300.0))
    whole = sieved(detector, slide)
    parts = {}
    with Readers(2) as readers:
        sieving = Sieving(detector, SlideSource(path=slide, slide_id="tissue", mpp=0.25), CPU, Clock(), readers)
        sieving.run(sieving.open(), set(), parts.__setitem__)
    scored = Scored.concatenate([parts[number] for number in sorted(parts)], columns_of(detector))
    with open_slide(slide, mpp=0.25) as opened:
        elsewhere = finish(scored, detector, opened, None)
    monkeypatch.setattr(tile_reader, "TILE_PX", 256)
    small = sieved(detector, slide)
    for found in (elsewhere, small):
        assert len(found) == len(whole) > 0
        np.testing.assert_array_equal(found.center_l0, whole.center_l0)
        np.testing.assert_array_equal(found.stage_score, whole.stage_score)


def test_a_field_of_a_foreign_tissue_is_looked_at(slide):
    """Where no score reaches a stage's threshold the next one still sees what it can afford."""
    detector = a_detector((None, 1000.0, 300.0), (1.0, 1.0, 0.0))
    assert len(sieved(detector, slide)) >= int(300 * reader_of(slide, detector).sample().area_mm2) > 0
    assert len(sieved(a_detector((None, None, None), (1.0, 1.0, 0.0)), slide)) == 0


def test_without_a_budget_the_gates_are_the_thresholds(slide):
    """Nothing is read for it."""
    detector = a_detector((None, None, None), (0.2, 0.3, 0.4))
    asking = gates_within(Scorer(detector, CPU, Clock()), reader_of(slide, detector).sample())
    with pytest.raises(StopIteration) as end:
        next(asking)
    assert end.value.value == (0.2, 0.3, 0.0)


def test_the_first_stage_sees_every_place(slide):
    """A budget of places that nobody has judged is refused."""
    with pytest.raises(ValueError, match="first stage"):
        a_detector((5.0, None, None))


def test_a_budget_comes_back_with_the_folder(tmp_path):
    detector = a_detector((None, 400.0, 40.0))
    assert [stage.per_mm2 for stage in Detector.load(detector.save(tmp_path / "d")).config.stages] == [
        None,
        400.0,
        40.0,
    ]
    assert replace(detector).config.stages[1].per_mm2 == 400.0
