"""What mining keeps, at its border, and what it learns from."""

import numpy as np
import pytest

from build import a_cohort
from mitosieve.errors import TrainingError
from mitosieve.method.cascade.mining import MiningConfig, Mixture, mine_false_positives, screening_table
from mitosieve.network.compute import Compute
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.run.folder import RunFolder
from mitosieve.train.job import Job
from mitosieve.train.places import Places
from mitosieve.train.pool import PatchPool


def test_a_score_at_the_mining_threshold_is_not_mined():
    """Kept is what exceeds the threshold, as section 3.1.1 says."""
    table = screening_table(np.array([0.2, 0.3]), np.array([0.2, 0.1, 0.9]), 0.2)
    assert (table["TP"], table["FN"], table["FP"], table["TN"]) == (1, 1, 1, 2)


def a_pool(figures):
    """Two figures on slides of two cases, or of one; background on both."""
    pieces = [
        PatchIndex.of(slide_id=slide, center_l0=np.array([[float(n), 9.0]]), origin=origin, mpp=0.25)
        for n, (slide, origin) in enumerate(
            [
                *((slide, Origin.FIGURE) for slide in figures),
                ("c0_s0", Origin.BACKGROUND),
                ("c1_s0", Origin.BACKGROUND),
                ("c0_s0", Origin.BACKGROUND),
            ]
        )
    ]
    return PatchPool(places=Places.of_index(PatchIndex.concatenate(pieces)), reader=None, view=None)


def test_figures_of_one_part_alone_are_refused_before_a_training(tmp_path):
    """Out-of-fold scores need figures without each part: said with the run and what to do, and nothing is trained."""
    job = Job(
        cohort=a_cohort(tmp_path / "c", cases=2),
        fold=None,
        run=RunFolder(tmp_path / "run"),
        compute=Compute.choose("cpu"),
    )
    config = MiningConfig(scores="out-of-fold", folds=2)

    def train_apart(name, seen):
        raise AssertionError("nothing is trained")

    with pytest.raises(TrainingError, match="holds all figures") as told:
        mine_false_positives(config, job, a_pool(["c0_s0", "c0_s0"]), None, train_apart, 1)
    assert told.value.where == str(tmp_path / "run")
    assert "mining.folds" in told.value.remedy


def test_what_the_batches_of_a_cascade_are_made_of():
    """Figures and background of the rows seen; for the refined network the mined rows too, in the recipe's ratio."""
    pool = a_pool(["c0_s0", "c1_s0"])
    seen = np.array([True, False, True, False, False])
    screening, refined = Mixture.screening(pool, (1, 3), seen), Mixture.refined(pool, (1, 1, 3), np.array([4]))
    assert {name: rows.tolist() for name, rows in screening.kinds.items()} == {"figures": [0], "background": [2]}
    assert screening.ratio == {"figures": 1, "background": 3}
    assert Mixture.screening(pool, (1, 3)).kinds["background"].tolist() == [2, 3, 4]
    assert {name: rows.tolist() for name, rows in refined.kinds.items()} == {
        "figures": [0, 1], "background": [2, 3, 4], "false positives": [4],
    }  # fmt: skip
    assert refined.ratio == {"figures": 1, "background": 1, "false positives": 3}
