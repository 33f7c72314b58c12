"""Recipe swift: which proposals are figures, and a training of seconds whose detector finds, twice the same."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitosieve import Detector
from mitosieve.export.table import read_detections
from mitosieve.train.places import Places
from mitosieve.train.proposals import TruthConfig, sort_proposals
from mitosieve.train.scores import PoolScores
from tiny import ONE_CORE, a_cohort, a_split, files_of, images, mitosieve, without_test_cases

SETTINGS = (
    "screening.train.patch_visits=320",
    "screening.train.batch_size=32",
    "screening.train.validations=1",
    "refined.train.patch_visits=320",
    "refined.train.batch_size=32",
    "refined.train.validations=1",
    "refined.network.widths=[8, 8, 16]",
    "refined.network.stem=0",
)
FOLD = ("--split", a_split, "--fold", "A")

points = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), max_size=12)


@settings(max_examples=200)
@given(points, points)
def test_proposals_are_sorted_by_their_distance_to_figures(proposals, figures):
    """By brute force: the nearest within reach and all that are very near are figures; the far are background."""
    truth = TruthConfig()
    center, marked = np.array(proposals).reshape(-1, 2), np.array(figures).reshape(-1, 2)
    is_figure, is_background = sort_proposals(center, marked, truth)
    distance = np.linalg.norm(center[:, None] - marked[None], axis=2)
    for i in range(len(center)):
        near = distance[i].min(initial=np.inf)
        nearest = [
            j for j in range(len(marked)) if distance[i, j] <= truth.reach_um and distance[i, j] == distance[:, j].min()
        ]
        if near <= truth.same_um:
            assert is_figure[i]
        if is_figure[i]:
            assert near <= truth.same_um or nearest
        assert is_background[i] == (not is_figure[i] and near > truth.apart_um)
    for j in range(len(marked)):
        if len(center) and distance[:, j].min() <= truth.reach_um:
            assert is_figure[distance[:, j] <= distance[:, j].min() + 1e-12].any()


def train(out, cohort=None):
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    where = ("train", "swift", a_cohort() if cohort is None else cohort, "--split", a_split(), "--fold", "A")
    return mitosieve(*where, "--out", out, *ONE_CORE, *words)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("swift") / "run"
    told = train(out)
    assert told.code == 0, told.err
    budget = json.loads((out / "budget.json").read_text())
    assert f"{budget['recall_within']:.4g}\t{budget['lost']:.4g}" in told.out  # what the budget costs is shown
    return out


def test_a_detector_of_two_small_stages(run):
    """Stages, views and proposer are those of the recipe; every figure of the training slides has a proposal."""
    detector = Detector.load(run)
    assert detector.stage_names == ("screening", "refined")
    assert detector.config.proposer.kind == "nuclei"
    assert [stage.mpp for stage in detector.config.stages] == [0.5, None]
    counts = json.loads((run / "patches.json").read_text())["train"]
    assert 0 < counts["figure"] < counts["background"]
    places = Places.load(run / "places" / "train.parquet")
    assert np.isfinite(PoolScores.load(run / "mining-scores.parquet", places.index.patch_id).score).all()


def test_twice_the_same_bytes(run, tmp_path):
    """The same seed gives the same run, whatever the test cases are."""
    assert train(tmp_path / "run", without_test_cases(a_cohort(), a_split(), tmp_path / "cohort")).code == 0
    assert files_of(tmp_path / "run") == files_of(run)


def test_it_detects_and_counts(run, tmp_path):
    """Detections, a row of counts with the proposer's name, a heat map: for every slide."""
    told = mitosieve("detect", "--detector", run, *images()[:2], "--mpp", 0.25, "--out", tmp_path / "d", *ONE_CORE)
    assert told.code == 0, told.err
    found = read_detections(tmp_path / "d" / "detections.csv")
    rows = list(csv.DictReader((tmp_path / "d" / "summary.csv").read_text().splitlines()))
    for row, path in zip(rows, images()[:2], strict=True):
        assert row["slide_id"] == path.stem
        assert "nuclei" in row["proposer"]
        assert int(row["figures"]) == int(found.of_slide(path.stem).is_figure.sum())
        assert (tmp_path / "d" / "heatmaps" / f"{path.stem}.png").stat().st_size > 1000


def test_a_training_of_balanced_exchanged_soft_batches_is_repeatable(tmp_path):
    """All options of batches at once: the same seed gives the same networks."""
    more = ("batches.targets=agreement", "batches.balance=domain", "refined.augment.exchange.share=1")
    words = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    networks = []
    for name in ("one", "two"):
        run = ("--split", a_split(), "--fold", "A", "--out", tmp_path / name)
        told = mitosieve("train", "swift", a_cohort(), *run, *ONE_CORE, *words)
        assert told.code == 0, told.err
        networks.append({path.name: path.read_bytes() for path in (tmp_path / name / "networks").iterdir()})
    assert networks[0] == networks[1]
