"""A threshold refitted from decisions."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from scipy.special import expit, logit

from mitosieve.errors import InputError
from mitosieve.network.chsnet import ChsNetConfig
from mitosieve.network.registry import build_network
from mitosieve.review.adapt import LEAST, adapt
from mitosieve.review.adapted import adapt_detector
from mitosieve.review.expected import ExpectedCounts
from mitosieve.review.judged import Judged, judged_of
from mitosieve.review.log import DecisionLog
from mitosieve.review.result import FoundResult
from mitosieve.run.folder import hash_file
from mitosieve.score.operating import BETAS
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from reviewed_result import a_result, add, judge

TINY = ChsNetConfig(width=1 / 128)


def a_laboratory(count, seed=0, slope=1.0, offset=-2.0, slides=1):
    """Detections whose share of figures at a score is known."""
    generator = np.random.default_rng(seed)
    score = np.clip(expit(generator.normal(0, 2, count)), 0.01, 0.99)
    is_figure = generator.uniform(size=count) < expit(slope * logit(score) + offset)
    return score, is_figure, np.arange(count) % slides


def judged(count, seed=0, slides=1, missed=0):
    score, is_figure, slide = a_laboratory(count, seed, slides=slides)
    return Judged(score=score, is_figure=is_figure, slide=slide, missed=missed, left_out=0, readers=("anna",))


def adapted(count, seed=0, every=None, **more):
    every = a_laboratory(4000, 99)[0] if every is None else every
    return adapt(judged(count, seed, **more), every, 0.5, np.random.default_rng(0), resamples=200)


def best_known():
    """The threshold of the largest F1 where the map is known."""
    score = a_laboratory(4000, 99)[0]
    share = expit(logit(score) - 2.0)
    cut = np.linspace(0.02, 0.98, 500)
    f1 = [2 * share[score >= t].sum() / ((score >= t).sum() + share.sum()) for t in cut]
    return cut[int(np.argmax(f1))]


def test_the_interval_holds_the_true_threshold_and_decisions_narrow_it():
    """Over 20 laboratories of 100 decisions the interval misses the best threshold seldom; 1600 decisions narrow it."""
    truth = best_known()
    found = [adapted(100, seed).interval for seed in range(20)]
    assert sum(one.low <= truth <= one.high for one in found) >= 17
    wide = np.median([one.high - one.low for one in found])
    narrow = [adapted(1600, seed).interval for seed in range(3)]
    assert np.median([one.high - one.low for one in narrow]) < wide / 2.5


def test_the_new_threshold_is_better_than_the_old():
    """The threshold moves to where the laboratory's figures are; what is expected before and after says so."""
    result = adapted(200)
    assert result.points["balanced"] == pytest.approx(best_known(), abs=0.1)
    assert result.before.threshold == 0.5
    assert result.after.threshold == result.points["balanced"]
    assert result.after.f1 >= result.before.f1
    assert result.after.f1_interval.low < result.after.f1 < result.after.f1_interval.high
    assert result.points["sensitive"] <= result.points["balanced"] <= result.points["specific"]
    assert result.calibration.offset == pytest.approx(-2, abs=0.6)


def test_what_would_halve_the_interval_does():
    """With about as many more decisions as it says the interval is about half as wide."""
    few = adapted(60, seed=5)
    assert few.more is not None
    assert few.more >= 60
    later = [adapted(60 + few.more, seed=seed).interval for seed in range(10)]
    width = few.interval.high - few.interval.low
    assert 0.25 * width < np.median([one.high - one.low for one in later]) < 0.85 * width


def test_slides_are_drawn_where_there_are_enough():
    """Ten slides are drawn; of fewer the decisions are, and that is noted."""
    assert adapted(100, slides=10).unit == "slides"
    few = adapted(100, slides=9)
    assert few.unit == "decisions"
    assert "too narrow" in few.notes[0]


@pytest.mark.parametrize("count", [0, 1, LEAST - 1])
def test_too_few_decisions_are_refused(count):
    """Below 20 decisions nothing is fitted, and how many are missing is said."""
    with pytest.raises(InputError, match="too few") as caught:
        adapted(count)
    assert f"judge {LEAST - count} more" in caught.value.remedy


@pytest.mark.parametrize("high", [True, False])
def test_decisions_on_one_side_alone_move_no_threshold_to_their_edge(high):
    """The highest scores, or the lowest, and a threshold beyond them: refused, with the scores to judge; one decision
    beyond the threshold is enough to be answered, and a threshold among the decisions is always.
    """
    score, is_figure, slide = a_laboratory(2000, 3)
    order = np.argsort(-score if high else score)[: 400 if high else 800]
    rows = Judged(score=score[order], is_figure=is_figure[order], slide=slide[order], missed=0, left_out=0, readers=())
    own, every = (0.05 if high else 0.97), a_laboratory(4000, 99)[0]
    assert rows.score.min() > own if high else rows.score.max() < own
    with pytest.raises(InputError, match=rf"(?s)nothing is known of what lies between.*near {own:.3f}"):
        adapt(rows, every, own, np.random.default_rng(0), resamples=20)
    adapt(rows, every, float(np.median(rows.score)), np.random.default_rng(0), resamples=20)
    more = int(np.flatnonzero(score < own if high else score > own)[0])
    wider = np.append(order, more)
    both = replace(rows, score=score[wider], is_figure=is_figure[wider], slide=slide[wider])
    assert adapt(both, every, own, np.random.default_rng(0), resamples=20).judged == len(wider)


@pytest.mark.parametrize("high", [True, False])
def test_a_threshold_at_the_edge_of_what_was_judged_is_told(high):
    """Whatever its digits: laboratories that judged one end of the scores, all that end at its edge are told."""
    at_edge, told = 0, 0
    for seed in range(12):
        score, is_figure, slide = a_laboratory(400, seed)
        order = np.argsort(-score if high else score)[: 50 if high else 150]
        rows = Judged(
            score=score[order], is_figure=is_figure[order], slide=slide[order], missed=0, left_out=0, readers=()
        )
        made = adapt(rows, score, float(np.median(rows.score)), np.random.default_rng(0), resamples=5)
        middles = np.convolve(np.unique(np.round(score, 4)), [0.5, 0.5], "valid")
        inside = middles[(middles >= rows.score.min()) & (middles <= rows.score.max())]
        edge = inside[0] if high else inside[-1]
        at_edge += abs(made.points["balanced"] - edge) < 1e-6
        told += any(f"judge {'lower' if high else 'higher'} scores too" in note for note in made.notes)
    assert told == at_edge > 3


@pytest.mark.parametrize("part", ["high", "low", "middle", "all"])
def test_an_operating_point_is_one_that_was_judged(part):
    """Each that the detector gets is the best of all thresholds under the fitted map, judged or not. One that ends at
    the edge of what was judged it does not get, and is told, with the scores to judge; where all were judged it has
    all.
    """
    left_out = 0
    for seed in range(12):
        score, is_figure, slide = a_laboratory(400, seed)
        order = np.argsort(score)
        kept = {"high": order[-80:], "low": order[:300], "middle": order[250:330], "all": order}[part]
        rows = Judged(score=score[kept], is_figure=is_figure[kept], slide=slide[kept], missed=3, left_out=0, readers=())
        made = adapt(rows, score, float(np.median(rows.score)), np.random.default_rng(0), resamples=5)
        counts = ExpectedCounts(score, 3)
        fitted = np.array([made.calibration.slope]), np.array([made.calibration.offset])
        for name in ("sensitive", "specific"):
            best = counts.best(*fitted, BETAS[name])[0]
            notes = [note for note in made.notes if f"no operating point '{name}'" in note]
            if name in made.points:
                assert not notes
                reached = counts.at(*fitted, [best, made.points[name]]).f_beta(BETAS[name])[0]
                assert reached[0] - reached[1] < 1e-6
            else:
                left_out += 1
                below = best < np.median(rows.score)
                assert best <= rows.score.min() + 0.01 if below else best >= rows.score.max() - 0.01
                assert f"judge {'lower' if below else 'higher'} scores too" in notes[0]
    assert left_out == 0 if part == "all" else left_out > 3


def test_a_detector_has_no_point_that_was_not_judged(tmp_path, detector):
    """Asked for one it names those that it has, instead of calling figures at a score that nobody judged."""
    high = Detector.load(detector).with_threshold(0.8).save(tmp_path / "high")
    result = a_reviewed_result(tmp_path / "found", high, count=400)
    above = set(result.ids[result.detections.score > 0.7])
    result = replace(result, decisions=[one for one in result.decisions if one.detection_id in above])
    made = adapt_detector(high, result, tmp_path / "new")
    new = Detector.load(tmp_path / "new")
    assert new.config.points == made.points
    assert "sensitive" not in made.points
    with pytest.raises(InputError, match=r"(?s)no operating point 'sensitive'.*it has balanced"):
        new.at_point("sensitive")


def test_what_says_nothing_is_refused():
    """Decisions of one kind, and scores that are no higher for figures, are each refused with what to do."""
    one = judged(30)
    with pytest.raises(InputError, match="all 30 reviewed detections are figures"):
        adapt(replace(one, is_figure=np.ones(30, dtype=bool)), one.score, 0.5, np.random.default_rng(0))
    upside_down = replace(one, is_figure=one.score < 0.5)
    with pytest.raises(InputError, match="scores say nothing"):
        adapt(upside_down, one.score, 0.5, np.random.default_rng(0))


@pytest.fixture
def detector(tmp_path):
    torch.manual_seed(0)
    stage = Stage(name="only", network=TINY, threshold=0.5)
    made = Detector(config=DetectorConfig(made_by="a test", stages=(stage,)), networks=((build_network(TINY).eval(),),))
    return made.save(tmp_path / "detector")


def a_reviewed_result(folder, detector, count=60):
    """A result of the detector on two slides, judged as the known laboratory is."""
    score, is_figure, slide = a_laboratory(count)
    points = {name: [] for name in ("s", "t")}
    for number in range(count):
        points["st"[slide[number] % 2]].append((40.0 * number, 100.0, round(float(score[number]), 6)))
    result = a_result(folder, points, detector=hash_file(detector / "detector.toml"))
    truth = dict(zip(np.round(score, 6).tolist(), is_figure.tolist(), strict=True))
    log = DecisionLog.beside(folder)
    for row, value in enumerate(result.detections.score.tolist()):
        log.append(judge(result, row, "figure" if truth[value] else "imposter"))
    return FoundResult.load(folder)


def test_an_adapted_detector_is_one_that_detect_takes(tmp_path, detector):
    """It has the old networks, the new points and calibration; what it was made of lies beside it."""
    result = a_reviewed_result(tmp_path / "found", detector)
    before = {path.name: path.read_bytes() for path in detector.iterdir()}
    found = adapt_detector(detector, result, tmp_path / "new")
    new, old = Detector.load(tmp_path / "new"), Detector.load(detector)
    assert {path.name: path.read_bytes() for path in detector.iterdir()} == before
    assert new.config.threshold == found.points["balanced"] != old.config.threshold
    assert new.config.points == found.points
    assert new.config.calibration == found.calibration
    assert new.config.stages[0].sha256 == old.config.stages[0].sha256
    assert "60 decisions" in new.config.made_by
    told = json.loads((tmp_path / "new" / "adapted.json").read_text())
    assert told["decisions"] == 60
    assert told["readers"] == ["anna"]
    assert told["detector_hash"] == result.detector_hash
    again = adapt_detector(detector, result, tmp_path / "again")
    assert again == found
    assert (tmp_path / "again" / "detector.toml").read_bytes() == (tmp_path / "new" / "detector.toml").read_bytes()


def test_decisions_count_as_readers_agreed(tmp_path, detector):
    """Unsure cells and ties are left out, added figures count as missed, and a reader can be chosen."""
    result = a_reviewed_result(tmp_path / "found", detector)
    label = judged_of(result).is_figure
    log = DecisionLog.beside(result.folder)
    log.append(judge(result, 0, "unsure"))
    log.append(judge(result, 1, "imposter" if label[1] else "figure", reader="ben"))
    log.append(add("s", 3000, 3000, reader="ben"))
    whole = FoundResult.load(result.folder)
    both, alone = judged_of(whole), judged_of(whole, ("anna",))
    assert (len(both), both.left_out, both.missed) == (58, 2, 1)
    assert (len(alone), alone.left_out, alone.missed) == (59, 1, 0)
    assert judged_of(whole).readers == ("anna", "ben")
    with pytest.raises(InputError, match="'zoe'"):
        judged_of(whole, ("zoe",))


def test_a_figure_outside_the_searched_area_is_none_that_was_missed(tmp_path, detector):
    """The detector was not asked for it: neither its recall nor its threshold hang on it."""
    result = a_reviewed_result(tmp_path / "found", detector)
    for x in (3000, 9000):
        DecisionLog.beside(result.folder).append(add("s", x, 3000))
    whole = FoundResult.load(result.folder)
    area = shapely.box(0, 0, 5000, 5000)
    assert [judged_of(one).missed for one in (whole, replace(whole, areas={"s": area}))] == [2, 1]


def test_decisions_on_a_slide_that_failed_are_told(tmp_path, detector):
    """They are in no fit, and where too few are left that is why."""
    result = a_reviewed_result(tmp_path / "found", detector)
    name = next(iter(result.slides))
    others = {other: slide for other, slide in result.slides.items() if other != name}
    judged = judged_of(replace(result, slides=others, failed={name: "is gone"}))
    assert re.fullmatch(rf"\d+ decisions are left out, on slides that were not done: {name} \(\d+\)", judged.undone)
    assert len(judged) < 60
    whole = replace(judged_of(result), undone=judged.undone)
    assert judged.undone in adapt(whole, result.detections.score, 0.5, np.random.default_rng(0)).notes
    few = replace(judged, score=judged.score[:3], is_figure=judged.is_figure[:3], slide=judged.slide[:3])
    with pytest.raises(InputError, match="left out, on slides that were not done"):
        adapt(few, result.detections.score, 0.5, np.random.default_rng(0))


def test_what_does_not_fit_is_refused(tmp_path, detector):
    """A result of another detector, one that nobody looked at, and a folder in use are each one message."""
    result = a_reviewed_result(tmp_path / "found", detector)
    with pytest.raises(InputError, match="made by another detector"):
        adapt_detector(detector, replace(result, detector_hash="0"), tmp_path / "new")
    with pytest.raises(InputError, match="nothing was decided"):
        adapt_detector(detector, replace(result, decisions=()), tmp_path / "new")
    with pytest.raises(InputError, match="holds something already"):
        adapt_detector(detector, result, tmp_path / "found")
    assert not (tmp_path / "new").exists()


def test_adding_a_figure_on_a_detection_adapts_as_accepting_it(tmp_path):
    """It is a judged score, and no figure that the detector missed."""
    result = a_result(tmp_path / "found", {"s": [(1000 + 100 * n, 1000, 0.02 * n + 0.1) for n in range(20)]})
    places = result.detections.center_l0.tolist()
    accepted = judged_of(replace(result, decisions=[judge(result, row, "figure") for row in range(20)]))
    added = judged_of(replace(result, decisions=[add("s", x + 1, y) for x, y in places]))
    assert added.score.tolist() == accepted.score.tolist() == result.detections.score.tolist()
    assert added.is_figure.all()
    assert (added.missed, accepted.missed) == (0, 0)
    assert judged_of(replace(result, decisions=[add("s", 5000, 4000)])).missed == 1
