"""Tables 2 and 3 on a small run: what training says of its patches is said again, and every count by brute force."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mitosieve import Cohort, Detector, Split
from mitosieve.annotation import Label
from mitosieve.cohort.split import Fold
from mitosieve.errors import CohortError, RunFolderError, SplitError
from mitosieve.geometry import rescale_points
from mitosieve.method.cascade.patch_table import COLUMNS, _load, _sorted, patch_table, write_patch_table
from mitosieve.network.compute import Compute
from mitosieve.recipe.recipe import FoldRun
from tiny import ONE_CORE, SHORTER, a_cohort, a_run, a_scan, a_split, files_of, mitosieve, training

CPU = Compute(device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A copy of the run, its test cases evaluated, and the rows of its table."""
    run = tmp_path_factory.mktemp("table") / "run"
    shutil.copytree(a_run(), run)
    shutil.copytree(a_scan(), run / "test")
    return run, rows_of(run)


def rows_of(run, **more):
    return patch_table(run, Cohort.load(a_cohort()), Split.load(a_split()), "A", compute=CPU, **more)


def only(rows, **wanted):
    (row,) = (row for row in rows if all(row[name] == value for name, value in wanted.items()))
    return row


def test_the_training_rows_are_what_mining_counted(scored):
    """Table 2 from the finished run, slide by slide, is the row that the training itself left."""
    run, rows = scored
    mined = json.loads((run / "mining.json").read_text())["rounds"][0]
    row = only(rows, part="train", network="screening", gate=mined["threshold"])
    assert {name: row[name] for name in COLUMNS[6:]} == {name: mined[name] for name in COLUMNS[6:]}


def test_both_networks_keep_no_more_than_either(scored):
    """The cascade's counts are at most those of each network at its threshold; thresholds are the detector's."""
    run, rows = scored
    gate, operating = (stage.threshold for stage in Detector.load(run).config.stages)
    for part in ("train", "test"):
        alone = [
            only(rows, part=part, network="screening", gate=gate),
            only(rows, part=part, network="refined", operating=operating),
        ]
        both = only(rows, part=part, network="cascade", counted="patches")
        assert (both["gate"], both["operating"]) == (gate, operating)
        assert both["TP"] <= min(row["TP"] for row in alone)
        assert both["FP"] <= min(row["FP"] for row in alone)
        for row in (*alone, both):
            assert row["recall_negative"] == row["TN"] / (row["TN"] + row["FP"])


def test_cases_that_a_fold_leaves_out_make_it_no_other_fold():
    """What a run was trained on is its parts; the split may name cases beside them that it does not touch."""
    split = Split.load(a_split())
    fold = replace(split.fold("A"), left_out=("another patient",))
    trained = _load(a_run(), Cohort.load(a_cohort()), Split(folds={**split.folds, "A": fold}), "A")
    assert trained.networks
    assert FoldRun(
        recipe=trained.recipe, cohort=Cohort.load(a_cohort()), split=Split(folds={"A": fold}), fold="A", out=a_run()
    ).provenance()["fold"] == {"name": "A", **fold.parts}
    fewer = replace(fold, train=fold.train[1:], left_out=fold.train[:1])
    with pytest.raises(SplitError, match="was not trained on this fold"):
        _load(a_run(), Cohort.load(a_cohort()), Split(folds={"A": fewer}), "A")


def test_rows_count_what_exceeds_each_threshold():
    """By brute force over scores that straddle gate and operating threshold, each alone and both."""
    split = Split.load(a_split())
    trained = _load(a_run(), Cohort.load(a_cohort()), split, "A")
    generator = np.random.default_rng(3)
    is_figure = generator.random(200) < 0.3
    score = {name: generator.random(200).astype(np.float32) for name in ("screening", "refined")}
    rows = list(_sorted(trained, is_figure, score))
    assert [row["network"] for row in rows] == ["screening", "refined", "cascade"]  # the gate is the mining threshold
    for row in rows:
        kept = [
            (row["gate"] == "" or score["screening"][i] > row["gate"])
            and (row["operating"] == "" or score["refined"][i] > row["operating"])
            for i in range(200)
        ]
        told = [(bool(is_figure[i]), kept[i]) for i in range(200)]
        assert (row["TP"], row["FN"], row["FP"], row["TN"]) == tuple(
            told.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        )


def test_detections_are_those_of_the_evaluation(scored):
    """Found, missed and false as metrics.json has them, against all negative windows; not evaluated, no such row."""
    run, rows = scored
    pooled = json.loads((run / "test" / "metrics.json").read_text())["pooled"]
    row = only(rows, counted="detections")
    assert (row["part"], row["network"]) == ("test", "cascade")
    assert (row["TP"], row["FN"], row["FP"]) == (pooled["tp"], pooled["fn"], pooled["fp"])
    patches = only(rows, part="test", network="cascade", counted="patches")
    assert row["TN"] == max(0, patches["FP"] + patches["TN"] - pooled["fp"])
    assert not [row for row in rows_of(a_run(), parts=["test"]) if row["counted"] == "detections"]


def windows_far_from_figures(cohort, cases):
    """By brute force: whole windows whose overlap with every figure's box of 64 px is less than 1,024 px."""
    count = 0
    for entry in cohort.of_cases(cases).slides:
        marks = cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE).center_l0
        figures = rescale_points(marks, mpp_from=entry.mpp, mpp_to=0.25)
        for y in range(0, 384 - 128 + 1, 64):
            for x in range(0, 384 - 128 + 1, 64):
                wide, tall = (
                    np.minimum(figures[:, axis] + 32, low + 127.5) - np.maximum(figures[:, axis] - 32, low - 0.5)
                    for axis, low in ((0, x), (1, y))
                )
                count += bool((np.maximum(wide, 0) * np.maximum(tall, 0) < 1024).all())
    return count


def test_what_is_counted_in_the_paper_recipe(tmp_path):
    """Figures in their 42 variants in training, once in test; windows far from all; without a gate no row of both."""
    told = mitosieve(
        *training(
            *(tmp_path / "run", *SHORTER, "cascade.enabled=false", "mining.enabled=false"),
            *("screening.rates=[[0.0, 0.001]]", "thresholds.operating=0.5"),
            recipe="chsnet-paper",
        )
    )
    assert told.code == 0, told.err
    rows = rows_of(tmp_path / "run")
    cohort, fold = Cohort.load(a_cohort()), Split.load(a_split()).fold("A")
    for part, variants in (("train", 42), ("test", 1)):
        figures = cohort.of_cases(fold.part(part)).counts()["figures"]
        assert {row["TP"] + row["FN"] for row in rows if row["part"] == part} == {variants * figures}
        windows = windows_far_from_figures(cohort, fold.part(part))
        assert {row["FP"] + row["TN"] for row in rows if row["part"] == part} == {windows}
    assert {row["network"] for row in rows} == {"screening"}


def test_the_command_writes_the_rows(scored, tmp_path):
    """RUN/patch-table.csv, or where it is told; the columns in their order."""
    run, rows = scored
    where = [run, a_cohort(), "--split", a_split(), "--fold", "A", *ONE_CORE]
    told = mitosieve("patch-table", *where)
    assert (told.code, told.result) == (0, run / "patch-table.csv"), told.err
    with told.result.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == list(COLUMNS)
    assert [int(row["FP"]) for row in written] == [row["FP"] for row in rows]
    assert np.allclose([float(row["F1"]) for row in written], [row["F1"] for row in rows], atol=1e-6)
    told = mitosieve("patch-table", *where, "--parts", "test", "--out", tmp_path / "t.csv")
    assert {row.split(",")[1] for row in told.result.read_text().splitlines()[1:]} == {"test"}
    told = mitosieve("patch-table", *where, "--parts", "tset")
    assert (told.code, "there is no part 'tset'" in told.err) == (2, True)


@pytest.mark.parametrize("parts", ["", ",", " , "])
def test_no_part_is_no_table(scored, parts):
    """A header alone would take the place of the table that is there."""
    run, _ = scored
    before = files_of(run)
    told = mitosieve("patch-table", run, a_cohort(), "--split", a_split(), "--fold", "A", *ONE_CORE, "--parts", parts)
    assert (told.code, "no part of the fold is named" in told.err) == (2, True), told
    assert files_of(run) == before


OTHERS = ["recipe.toml", "test/detections.csv", "test/metrics.json", "test", "history.csv", "notes.csv", "new"]


@pytest.mark.parametrize("name", OTHERS)
def test_the_table_takes_no_other_file_s_place(scored, name):
    """Neither a file that means something in a folder, nor one that somebody put there; what is no CSV is no place."""
    run, _ = scored
    (run / "notes.csv").write_text("by,hand\n")
    before = files_of(run)
    where = [run, a_cohort(), "--split", a_split(), "--fold", "A", *ONE_CORE]
    told = mitosieve("patch-table", *where, "--parts", "test", "--out", run / name)
    assert (told.code, str(run / name) in told.err) == (2, True), told
    assert files_of(run) == before


def test_a_table_of_its_own_is_written_again(tmp_path):
    """Under any name, and in a run under its own."""
    for name in ("mine.csv", "patch-table.csv"):
        for _ in range(2):
            assert write_patch_table(tmp_path / name, []) == tmp_path / name


def test_a_table_of_what_was_learned_from_is_refused(tmp_path):
    """Another fold, another cohort, another method: said with what to name instead."""
    cohort, split = Cohort.load(a_cohort()), Split.load(a_split())
    with pytest.raises(SplitError, match="was not trained on this fold B"):
        patch_table(a_run(), cohort, split, "B", compute=CPU)
    a = split.fold("A")
    swapped = Split(folds={"A": Fold(train=a.test, validation=a.validation, test=a.train)})
    with pytest.raises(SplitError, match="was not trained on this fold A"):
        patch_table(a_run(), cohort, swapped, "A", compute=CPU)
    with pytest.raises(CohortError, match="is in another state"):
        patch_table(a_run(), cohort.of_cases(cohort.cases[:2]), split, "A", compute=CPU)
    with pytest.raises(RunFolderError):
        patch_table(tmp_path, cohort, split, "A", compute=CPU)
    shutil.copytree(a_run(), tmp_path / "run")
    mark = json.loads((tmp_path / "run" / "run.json").read_text())
    mark["provenance"]["recipe"]["method"] = "swift"
    (tmp_path / "run" / "run.json").write_text(json.dumps(mark))
    with pytest.raises(RunFolderError, match="was trained by method swift"):
        patch_table(tmp_path / "run", cohort, split, "A", compute=CPU)
