"""The published studies: their numbers follow from the records beside them, which name no place on a disk."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mitosieve import Cohort, Split
from mitosieve.export.table import read_detections
from mitosieve.score.scored import Scored, average_precision, f1
from mitosieve.study.plan import plan_study
from mitosieve.study.record import read_record
from mitosieve.study.study import load_study
from tiny import mitosieve

STUDIES = sorted(path.parent for path in (Path(__file__).parents[2] / "docs" / "studies").glob("*/trainings"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_no_record_names_a_place_on_a_disk(study):
    """Nor does it hold an image: text alone."""
    for path in study.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "/home/" not in text, path
            assert "/tmp/" not in text, path
    assert not any(json.loads(p.read_text())["machine"].get("host") for p in study.glob("trainings/*/training.json"))


@pytest.fixture(scope="module")
def data(tmp_path_factory, data_folder):
    """(cohort, split) as docs/results.md makes them."""
    folder = tmp_path_factory.mktemp("published")
    marks = data_folder / "mitos14"
    cohort, split = folder / "cohort", folder / "split.json"
    for words in (
        ("import", "points", marks / "labels.csv", cohort, "--images", marks / "frames", "--mpp", 0.2273),
        ("import", "images", data_folder / "unlabelled", cohort, "--mpp", 0.25),
        ("split", cohort, "--table", marks / "folds.csv", "--out", split),
    ):
        assert mitosieve(*words).code == 0
    return Cohort.load(cohort), Split.load(split)


@pytest.mark.data
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_published_scores_follow_from_published_detections(study, data):
    """Of every row and seed, all folds pooled: F1 and average precision of study.csv, matched and counted anew."""
    cohort, split = data
    asked = load_study(str(study / "study.toml"))
    plan = plan_study(asked, cohort, split, Path(os.devnull), [study / "trainings"])
    with (study / "study.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["scope"] == "pooled" and row["seed"] != "mean"]
    assert rows
    assert {path.name for path in (study / "trainings").iterdir()} <= {one.folder.name for one in plan.trainings}
    detectors = {row.name: row.detector for row in asked.rows}
    for row in rows:
        parts = []
        for fold in plan.folds:
            record = read_record(plan.of[row["row"], fold, int(row["seed"])].kept[0])
            found = read_detections(record.tested[detectors[row["row"]]].detections)
            parts.append(Scored.of(found, cohort, split.fold(fold).test))
        pooled = Scored.join(parts)
        for name, figure in (("f1", f1), ("ap", average_precision)):
            assert float(row[name]) == pytest.approx(float(figure(pooled, pooled.once)[0]), abs=1e-12), (
                row["row"],
                name,
            )
    assert np.isfinite([float(row["f1"]) for row in rows]).all()
