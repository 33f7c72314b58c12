"""Training goes on from a detector: its weights, its stain, what it is most wrong about first."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lessons import hardest_first, rows_shown
from mitosieve import Cohort, Detector, Split
from mitosieve.cohort.split import Fold
from mitosieve.models.box import folder_of
from mitosieve.models.card import read_card
from mitosieve.models.learned_cases import learned_cases
from mitosieve.sieve.reference import Learnt, Reference
from mitosieve.train.known_slides import start_is_synthetic
from mitosieve.train.places import Places
from mitosieve.train.sampler import BalancedSampler, Deck, RatioSampler
from mitosieve.train.scores import PoolScores
from mitosieve.train.start import Start
from tiny import ONE_CORE, SWIFT_SHORT, SWIFT_SMALL, a_cohort, a_run, a_split, a_swift_run, files_of, mitosieve

STILL = ("screening.train.rates=[[0.0, 1e-9], [1.0, 1e-9]]", "refined.train.rates=[[0.0, 1e-9], [1.0, 1e-9]]")
FOLD = ("--fold", "A")


def train(recipe, out, *settings, cohort=None, split=True, more=()):
    words = [word for setting in (*SWIFT_SMALL, *SWIFT_SHORT, *settings) for word in ("--set", setting)]
    fold = ("--split", a_split(), *FOLD) if split else ()
    return mitosieve("train", recipe, cohort or a_cohort(), *fold, "--out", out, *ONE_CORE, *words, *more)


def weights(detector):
    return [network[0].state_dict() for network in detector.modules]


def test_a_training_begins_with_the_weights_of_its_start(tmp_path):
    """At a rate of nothing the networks are those of the start; thresholds are chosen anew on validation."""
    told = train("swift-tune", tmp_path / "run", *STILL, more=("--start", a_swift_run()))
    assert told.code == 0, told.err
    new, old = Detector.load(tmp_path / "run"), Detector.load(a_swift_run())
    for ours, theirs in zip(weights(new), weights(old), strict=True):
        for name, value in ours.items():
            if value.is_floating_point() and "running" not in name:
                torch.testing.assert_close(value, theirs[name], atol=1e-6, rtol=0)
    assert new.config.stain_target == old.config.stain_target
    assert json.loads((tmp_path / "run" / "run.json").read_text())["provenance"]["start"] == old.digest
    assert re.search(r"; it went on from \S+ \(\d+ cases\)$", new.reference.learnt.words)
    assert new.reference.learnt.is_synthetic
    assert new.reference.learnt.start_is_synthetic


def test_what_a_start_had_learned_is_told_though_its_folder_is_gone_at_the_end(tmp_path):
    """A training is hours; what it began with is what was there when it began."""
    start = Start.load(shutil.copytree(a_swift_run(), tmp_path / "start"))
    told = start.words
    assert re.fullmatch(r"start \([1-9]\d* cases?\)", told)
    shutil.rmtree(tmp_path / "start")
    assert start.words == told


@pytest.mark.parametrize("synthetic", [True, False, None])
@pytest.mark.parametrize("before", [True, False, None])
def test_synthetic_tissue_is_told_of_all_that_a_detector_began_with(synthetic, before):
    """Its start's own, or what that had begun with; where a start says nothing nobody knows."""
    domains = ("phantom scanner A",) if synthetic else ("Aperio",)
    learnt = Learnt(domains=domains, cases=1, slides=1, figures=1, start="s", start_is_synthetic=before)
    reference = None if synthetic is None else Reference(known={}, learnt=learnt)
    start = SimpleNamespace(detector=SimpleNamespace(reference=reference), words="s")
    expected = None if synthetic is None else (synthetic or before)
    assert start_is_synthetic(SimpleNamespace(start=start)) is expected
    assert start_is_synthetic(SimpleNamespace(start=None)) is False


def test_networks_that_mine_out_of_fold_are_told_to_begin_at_random(tmp_path):
    """They must not have seen what they judge, and the start may have; where mining is in sample nothing is said."""
    for scores, said in (("in-sample", False), ("out-of-fold", True)):
        settings = (*STILL, f"mining.scores={scores}", "mining.folds=2")
        told = train("swift-tune", tmp_path / scores, *settings, more=("--start", a_swift_run()))
        assert told.code == 0, told.err
        assert ("the 2 networks that mine out of fold begin at random" in told.err) == said


def test_without_a_split_all_cases_are_learned_and_thresholds_are_the_start_s(tmp_path):
    """No case is judged on; the detector is one that detect takes; the same command gives the same bytes."""
    told = train("swift-tune", tmp_path / "run", split=False, more=("--start", a_swift_run()))
    assert told.code == 0, told.err
    new, old = Detector.load(tmp_path / "run"), Detector.load(a_swift_run())
    assert [stage.threshold for stage in new.config.stages] == [stage.threshold for stage in old.config.stages]
    assert "every mark of this cohort is a review" not in told.err
    fold = json.loads((tmp_path / "run" / "split.json").read_text())["folds"]["all"]
    assert fold["train"] == list(Cohort.load(a_cohort()).cases)
    changed = [not torch.equal(a[key], b[key]) for a, b in zip(weights(new), weights(old), strict=True) for key in a]
    assert any(changed)
    assert train("swift-tune", tmp_path / "again", split=False, more=("--start", a_swift_run())).code == 0
    assert files_of(tmp_path / "again" / "detector") == files_of(tmp_path / "run" / "detector")


def test_the_start_says_what_is_hard(tmp_path):
    """Its scores of the training places are kept, and the first batch holds those that it is most wrong about."""
    with rows_shown(of=lambda batches: batches[0]) as first:  # without mining the negatives are one pool
        told = train(
            "swift-tune", tmp_path / "run", "mining.enabled=false", split=False, more=("--start", a_swift_run())
        )
    assert told.code == 0, told.err
    index = Places.load(tmp_path / "run" / "places" / "train.parquet").index
    for name in ("screening", "refined"):
        score = PoolScores.load(tmp_path / "run" / "start" / f"{name}.parquet", index.patch_id).score
        assert np.isfinite(score).all()
        assert score[index.label == 1].mean() > score[index.label == 0].mean()
        assert hardest_first(first[name], index.label, score)


def test_the_hardest_are_dealt_first_and_then_all_alike():
    """The first deal is by falling hardness, ties by row; later deals are as without it."""
    hardness = np.array([0.1, 0.9, 0.5, 0.9, 0.0, 0.7])
    rows = np.array([0, 1, 2, 3, 5])
    plain, deck = (Deck(rows, seed=1, purpose="x", hardness=one) for one in (None, hardness))
    assert deck.take(0, 5).tolist() == [1, 3, 5, 2, 0]
    assert deck.take(5, 10).tolist() == plain.take(5, 10).tolist()
    assert deck.take(3, 4).tolist() == [2, 0, *plain.take(5, 2).tolist()]
    pools = {"figures": np.array([0, 1, 2]), "background": np.array([3, 4, 5])}
    ratio = {"figures": 1, "background": 1}
    batch = RatioSampler(pools, ratio, batch_size=4, seed=1, hardness=hardness).rows(0)
    assert batch.tolist() == [1, 2, 3, 5]
    group = np.array(["a"] * 6)
    same = BalancedSampler(pools, ratio, group, batch_size=4, seed=1, weight_power=0.5, hardness=hardness).rows(0)
    assert same.tolist() == batch.tolist()


def test_a_start_that_has_seen_what_it_is_judged_on_is_refused(tmp_path):
    """A fold whose test or validation cases the start's run has trained on leaks; nothing is written."""
    words = [word for setting in (*SWIFT_SMALL, *SWIFT_SHORT) for word in ("--set", setting)]
    fold = ("--split", a_split(), "--fold", "B")
    told = mitosieve(
        "train", "swift-tune", a_cohort(), *fold, "--out", tmp_path / "run", *ONE_CORE, *words, "--start", a_swift_run()
    )
    assert told.code == 2
    assert "the start has trained on" in told.err
    assert not (tmp_path / "run").exists()


def test_a_start_of_the_package_has_seen_the_patients_of_its_card(tmp_path):
    """By their names: a fold that tests one of them is refused as a run's own is."""
    learned = next(row for row in read_card(folder_of("swift") / "card.toml").data if row.used == "training").patients
    assert learned_cases("swift").cases == set(learned)
    renamed = dict(zip(Cohort.load(a_cohort()).cases, (learned[0], "p2", "p3", "p4"), strict=True))
    cohort = Cohort.load(a_cohort()).with_entries(lambda e: replace(e, case_id=renamed[e.case_id]))
    shutil.copytree(a_cohort() / "images", tmp_path / "cohort" / "images")
    cohort.save(tmp_path / "cohort")
    fold = Fold(train=("p2", "p3"), validation=("p4",), test=(learned[0],))
    split = Split(folds={"A": fold}).save(tmp_path / "split.json")
    words = ["train", "swift-tune", tmp_path / "cohort", "--split", split, "--fold", "A", "--out", tmp_path / "run"]
    told = mitosieve(*words, *ONE_CORE, "--start", "swift")
    assert told.code == 2
    assert f"hold 1 cases that the start has trained on: {learned[0]}" in told.err


@pytest.mark.parametrize(
    ("recipe", "start", "settings", "said"),
    [
        ("dasc-small", "swift", (), "method dasc cannot go on from a detector"),
        ("finegrained-small", "swift", (), "method finegrained cannot go on from a detector"),
        ("sieve", "swift", (), "method sieve cannot go on from a detector"),
        ("chsnet-small", "swift", (), "stage screening: another network ("),
        ("swift-tune", "swift", (), "stage screening: another network (head is"),
        (
            "swift-tune",
            a_swift_run,
            ("refined.network.head=16",),
            "stage refined: another network (head is 8, in the recipe 16)",
        ),
        ("swift-tune", a_run, (), "stage screening: another network ("),
        ("chsnet-small", a_run, ("network.width=0.03125", "refined_start=screening"), 'refined_start is "screening"'),
        ("swift-tune", "nowhere", (), "there is no detector 'nowhere'"),
        ("swift-tune", a_swift_run, ("frame.mpp=0.5",), "its frames have 0.25 um/px"),
    ],
)
def test_what_cannot_go_on_is_refused(tmp_path, recipe, start, settings, said):
    """Another method, another network, other patches, no detector: each is one message, and nothing is written."""
    named = start() if callable(start) else start
    words = [
        word for setting in (*(SWIFT_SMALL if recipe == "swift-tune" else ()), *settings) for word in ("--set", setting)
    ]
    told = mitosieve(
        "train", recipe, a_cohort(), "--split", a_split(), *FOLD, "--out", tmp_path / "run", *words, "--start", named
    )
    assert told.code == 2, told.err
    assert said in told.err
    assert not (tmp_path / "run").exists()


def test_a_training_without_a_start_needs_a_split(tmp_path):
    """And half of --split and --fold is not enough for one that has a start."""
    for words in ((), ("--split", a_split()), ("--fold", "A"), ("--fold", "A", "--start", a_swift_run())):
        told = mitosieve("train", "swift", a_cohort(), "--out", tmp_path / "run", *words)
        assert told.code == 2
        assert "needs both --split and --fold" in told.err
