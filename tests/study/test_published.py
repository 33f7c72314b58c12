"""The published studies: their numbers follow from the records beside them, which name no place on a disk."""

import csv
import os
import re
from pathlib import Path

import pytest

from mitosieve import Cohort, Split
from mitosieve.export.table import read_detections
from mitosieve.run.seed import derive_generator
from mitosieve.score import repeated
from mitosieve.score.scored import Scored, average_precision, f1
from mitosieve.study.plan import plan_study
from mitosieve.study.record import read_record
from mitosieve.study.study import load_study
from tiny import mitosieve

PLACE = re.compile(r"(?<![\w.])/(home|tmp|work|root|mnt|srv|opt|var|Users)/|\b[A-Z]:\\\\")
STUDIES = sorted(path.parent for path in (Path(__file__).parents[2] / "docs" / "studies").glob("*/trainings"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_no_record_names_a_place_on_a_disk(study):
    """Nor does it hold an image: text alone."""
    for path in study.rglob("*"):
        if path.is_file():
            assert not PLACE.search(path.read_text(encoding="utf-8")), path


def test_studies_are_published_with_their_records():
    """Else the laws below would be of nothing."""
    assert [path.name for path in STUDIES] == ["table4", "three-methods"]
    assert PLACE.search('"run": "/work/a"')
    assert PLACE.search("C:\\\\data")
    assert not PLACE.search("a/home/b, 24/7, rows/tmp")


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
def test_published_scores_follow_from_published_detections(study, data, monkeypatch):
    """Of all folds pooled, matched and counted anew: of every row and seed counts, F1 and average precision, and of F1
    the means, intervals, differences and p of study.csv to the last digit.
    """
    cohort, split = data
    asked = load_study(str(study / "study.toml"))
    plan = plan_study(asked, cohort, split, Path(os.devnull), [study / "trainings"])
    assert {path.name for path in (study / "trainings").iterdir()} <= {one.folder.name for one in plan.trainings}
    with (study / "study.csv").open(newline="", encoding="utf-8") as file:
        told = {(row["row"], row["seed"]): row for row in csv.DictReader(file) if row["scope"] == "pooled"}
    of: dict[str, dict[int, Scored]] = {}
    for row in asked.rows:
        for seed in (int(seed) for name, seed in told if name == row.name and seed != "mean"):
            parts = []
            for fold in plan.folds:
                found = read_record(plan.of[row.name, fold, seed].kept[0]).tested[row.detector].detections
                parts.append(Scored.of(read_detections(found), cohort, split.fold(fold).test))
            pooled = of.setdefault(row.name, {})[seed] = Scored.join(parts)
            line = told[row.name, str(seed)]
            for name, figure in (("f1", f1), ("ap", average_precision)):
                assert float(line[name]) == pytest.approx(float(figure(pooled, pooled.once)[0]), abs=1e-12), line
            counts = [sum(getattr(slide, name) for slide in pooled.slides) for name in ("tp", "fp", "fn")]
            assert [int(line[name]) for name in ("tp", "fp", "fn")] == counts
    assert {row.name for row in asked.rows} == set(of)
    monkeypatch.setattr(repeated, "COMPARED", ("f1",))  # the other figure takes a minute
    methods = [repeated.Repeats(name=row.name, by_seed=of[row.name], control=row.control) for row in asked.rows]
    draws = derive_generator(0, "study pooled")
    for row in repeated.compare_repeats(methods, asked.reference, draws, names=("f1",)).rows:
        line = told[row.name, "mean"]
        assert [float(line[name]) for name in ("tp", "fp", "fn")] == pytest.approx(row.counts)
        ends(line, "f1", row.figures["f1"])
        for key, p, differences in (
            ("f1_minus_reference", "f1_p", row.differences),
            ("f1_minus_control", "f1_control_p", row.over_control),
        ):
            assert bool(line.get(key)) == bool(differences)
            for one in differences.values():
                ends(line, key, one.value)
                assert (float(line[p]), float(line[f"{p}_holm"])) == pytest.approx((one.p, one.p_holm))


def ends(line, name, value):
    """A mean and its interval are those of the table."""
    wanted = (value.mean, value.interval.low, value.interval.high)
    assert tuple(float(line[key]) for key in (name, f"{name}_low", f"{name}_high")) == pytest.approx(wanted, abs=1e-12)
