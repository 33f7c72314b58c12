"""What mining keeps, at its border, and what it learns from."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from build import a_cohort
from mitosieve.errors import TrainingError
from mitosieve.method.cascade.mining import (
    MiningConfig,
    Mixture,
    _scorers,
    find_survivors,
    parts_of_mining,
    screening_table,
)
from mitosieve.network.compute import Compute
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.recipe.recipe import load_recipe
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.train.job import Job
from mitosieve.train.places import Places
from mitosieve.train.pool import PatchPool
from mitosieve.train.sampler import RatioSampler
from mitosieve.train.scores import PoolScores


def test_a_score_at_the_mining_threshold_is_not_kept():
    """In the table: kept is what exceeds the threshold, as section 3.1.1 says."""
    table = screening_table(np.array([0.2, 0.3]), np.array([0.2, 0.1, 0.9]), 0.2)
    assert (table["TP"], table["FN"], table["FP"], table["TN"]) == (1, 1, 1, 2)


def a_pool(figures, background=("c0_s0", "c1_s0", "c0_s0")):
    """Two figures on slides of two cases, or of one; background on both."""
    pieces = [
        PatchIndex.of(slide_id=slide, center_l0=np.array([[float(n), 9.0]]), origin=origin, mpp=0.25)
        for n, (slide, origin) in enumerate(
            [
                *((slide, Origin.FIGURE) for slide in figures),
                *((slide, Origin.BACKGROUND) for slide in background),
            ]
        )
    ]
    return PatchPool(places=Places.of_index(PatchIndex.concatenate(pieces)), reader=None, view=None)


def a_job(tmp_path):
    cohort = a_cohort(tmp_path / "c", cases=2)
    return Job(cohort=cohort, fold=None, run=RunFolder(tmp_path / "run"), compute=Compute.choose("cpu"))


@pytest.mark.parametrize(("threshold", "survivors"), [(0.25, [1, 4]), (0.2, [0, 1, 2, 4])])
def test_a_score_at_the_mining_threshold_is_not_mined(tmp_path, threshold, survivors):
    """Scores that a run has kept: rows strictly above survive; a quarter is the same number in 32 bits and in 64."""
    pool, job = a_pool(["c0_s0", "c1_s0"]), a_job(tmp_path)
    job.run.path.mkdir()
    score = np.array([0.25, 0.3, 0.25, 0.1, 0.9], dtype=np.float32)
    PoolScores(patch_id=pool.index.patch_id, score=score).save(job.file("mining-scores.parquet"))
    write_json(job.file("mining.json"), {})
    found = find_survivors(MiningConfig(threshold=threshold), job, pool, None, None, 1)
    assert found.tolist() == survivors


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_as_many_networks_as_parts_with_slides(tmp_path, folds):
    """Of two slides two parts, whatever is asked for: each network has learned both classes, and scores something."""
    seen_of, pool = [], a_pool(["c0_s0", "c1_s0"])

    def train_apart(name, seen):
        seen_of.append((name, seen))

    scorers = _scorers(MiningConfig(scores="out-of-fold", folds=folds), a_job(tmp_path), pool, None, train_apart, 1)
    assert [name for name, _ in seen_of] == ["screening without part 1", "screening without part 2"]
    for (rows, _), (_, seen) in zip(scorers, seen_of, strict=True):
        assert len(rows)
        assert not seen[rows].any()
        assert set(pool.index.label[seen]) == {0, 1}
    assert sorted(np.concatenate([rows for rows, _ in scorers])) == list(range(len(pool.index)))


@pytest.mark.parametrize(
    ("lacking", "pool"),
    [("figures", a_pool(["c0_s0", "c0_s0"])), ("background", a_pool(["c0_s0", "c1_s0"], ["c0_s0", "c0_s0"]))],
)
def test_one_class_of_one_part_alone_is_refused_before_a_training(tmp_path, lacking, pool):
    """Out-of-fold scores need both without each part: said with the run and what to do, and nothing is trained."""
    config = MiningConfig(scores="out-of-fold", folds=2)

    def train_apart(name, seen):
        raise AssertionError("nothing is trained")

    with pytest.raises(TrainingError, match=f"holds all {lacking}") as told:
        find_survivors(config, a_job(tmp_path), pool, None, train_apart, 1)
    assert told.value.where == str(tmp_path / "run")
    assert "mining.folds" in told.value.remedy
    with pytest.raises(TrainingError, match=f"holds all {lacking}"):
        parts_of_mining(config, a_job(tmp_path), pool, 1)
    assert not parts_of_mining(MiningConfig(scores="in-sample"), a_job(tmp_path), pool, 1).any()


@pytest.mark.parametrize(("recipe", "gathering"), [("chsnet-small", "gather_patches"), ("swift", "gather_proposals")])
def test_what_cannot_be_mined_costs_no_network(tmp_path, monkeypatch, recipe, gathering):
    """The refusal comes when places are known, before the screening network is trained."""
    module = importlib.import_module(f"mitosieve.method.cascade.{recipe.partition('-')[0]}")
    pool = a_pool(["c0_s0", "c0_s0"])
    pools = SimpleNamespace(train=pool) if recipe == "chsnet-small" else {"screening": SimpleNamespace(train=pool)}
    monkeypatch.setattr(module, gathering, lambda *_: pools)
    monkeypatch.setattr(module, "train_screening", lambda *_: pytest.fail("nothing is trained"))
    settings = ['mining.scores="out-of-fold"', "mining.folds=2"]
    run = module.run_chsnet if recipe == "chsnet-small" else module.run_swift
    with pytest.raises(TrainingError, match="holds all figures"):
        run(load_recipe(recipe, settings), a_job(tmp_path))


def test_what_the_batches_of_a_cascade_are_made_of():
    """Figures and background of the rows seen; for the refined network the mined rows too, in the recipe's ratio."""
    pool = a_pool(["c0_s0", "c1_s0"])
    seen = np.array([True, False, True, False, False])
    survivors = np.array([1, 4])
    screening, refined = (
        Mixture.screening(pool, (1, 3), seen),
        Mixture.refined(MiningConfig(), pool, (1, 1, 3), survivors),
    )
    assert {name: rows.tolist() for name, rows in screening.kinds.items()} == {"figures": [0], "background": [2]}
    assert screening.ratio == {"figures": 1, "background": 3}
    assert Mixture.screening(pool, (1, 3)).kinds["background"].tolist() == [2, 3, 4]
    assert {name: rows.tolist() for name, rows in refined.kinds.items()} == {
        "figures": [0, 1], "background": [2, 3, 4], "false positives": [4],
    }  # fmt: skip
    assert refined.ratio == {"figures": 1, "background": 1, "false positives": 3}


@pytest.mark.parametrize(("kind", "figures", "background"), [("survivors", [1], [2, 4]), ("random", [0, 1], [2, 3, 4])])
def test_negatives_of_one_kind_have_the_share_of_both(kind, figures, background):
    """The ordinary cascade learns from what passed alone, figures too; the control from all rows."""
    mixture = Mixture.refined(MiningConfig(kind=kind), a_pool(["c0_s0", "c1_s0"]), (1, 1, 3), np.array([1, 2, 4]))
    assert {name: rows.tolist() for name, rows in mixture.kinds.items()} == {
        "figures": figures,
        "background": background,
    }
    assert mixture.ratio == {"figures": 1, "background": 4}


@pytest.mark.parametrize("batch_size", [10, 96, 128, 192])
def test_batches_of_every_kind_hold_as_many_figures(batch_size):
    """And so as many negatives, and as many steps: what is compared differs in which negatives they are, alone."""
    pool = a_pool(["c0_s0", "c1_s0"])
    held = {
        kind: RatioSampler(mixture.kinds, mixture.ratio, batch_size=batch_size, seed=1).count["figures"]
        for kind in ("mined", "survivors", "random")
        for mixture in [Mixture.refined(MiningConfig(kind=kind), pool, (1, 1, 3), np.arange(5))]
    }
    assert len(set(held.values())) == 1


@pytest.mark.parametrize(("survivors", "missing"), [([2, 3], "figures"), ([0, 1], "background")])
def test_a_screening_network_that_passes_nothing_of_a_kind_ends_the_ordinary_cascade(survivors, missing):
    """With the threshold and what to do; mining itself can do without false positives."""
    pool = a_pool(["c0_s0", "c1_s0"])
    with pytest.raises(TrainingError, match=f"of the {missing} none is scored above 0.2") as told:
        Mixture.refined(MiningConfig(kind="survivors"), pool, (1, 1, 3), np.array(survivors))
    assert "mining.threshold" in told.value.remedy
    assert len(Mixture.refined(MiningConfig(), pool, (1, 1, 3), np.array([0, 1])).kinds["false positives"]) == 0


def test_a_control_without_mining_trains_no_network_to_mine_with():
    """Out-of-fold scores are for what is chosen by them; and a kind of mining needs mining."""
    assert MiningConfig(scores="out-of-fold", kind="survivors").out_of_fold
    assert not MiningConfig(scores="out-of-fold", kind="random").out_of_fold
    assert not MiningConfig(scores="out-of-fold", enabled=False).out_of_fold
    with pytest.raises(ValidationError, match=r"drop mining.enabled, or mining.kind"):
        MiningConfig(enabled=False, kind="random")
