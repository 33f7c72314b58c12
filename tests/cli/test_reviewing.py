"""From a result through decisions to a count, a cohort, a threshold and a training: the commands, one after another."""

import csv
import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from mitosieve import Cohort, Detector
from mitosieve.review.log import DecisionLog
from mitosieve.review.result import FoundResult
from reviewed_result import add, judge, look
from tiny import ONE_CORE, a_cohort, a_run, images, mitosieve


@cache
def looked_at():
    """The tiny detector's result on two slides of which no cohort is told, every detection judged by two readers."""
    out = Path(mkdtemp()) / "found"
    words = ("--mpp", 0.25, "--threshold", 0.3, *ONE_CORE)
    told = mitosieve("detect", "--detector", a_run(), *images()[:2], *words, "--out", out)
    assert told.code == 0, told.err
    result, log = FoundResult.load(out), DecisionLog.beside(out)
    score = result.detections.score
    for row in range(len(score)):
        is_figure = bool(score[row] > np.median(score)) != (row % 5 == 0)  # scores tell something, not all
        log.append(judge(result, row, "figure" if is_figure else "imposter"))
        log.append(judge(result, row, "figure" if is_figure or row % 7 == 0 else "imposter", reader="ben"))
    first = images()[0].stem
    log.append(add(first, 20, 20))
    log.append(look(first, [(0, 0), (200, 0), (200, 200), (0, 200)]))
    return out


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_reviewed_count_stands_beside_the_automatic_one(tmp_path):
    """The table has a row a slide, the files hold what was decided, and a second reader's agreement is told."""
    told = mitosieve("reviews", looked_at(), "--out", tmp_path / "tables")
    assert (told.code, told.result) == (0, tmp_path / "tables")
    assert "anna and ben" in told.err
    result = FoundResult.load(looked_at())
    rows = rows_of(tmp_path / "tables" / "reviewed-summary.csv")
    assert [row["slide_id"] for row in rows] == [path.stem for path in images()[:2]]
    automatic = [result.detections.of_slide(row["slide_id"]).is_figure.sum() for row in rows]
    assert [int(row["automatic_figures"]) for row in rows] == automatic
    cells = rows_of(tmp_path / "tables" / "reviewed-cells.csv")
    assert len(cells) == len(result.detections) + 1
    figures = [cell for cell in cells if cell["label"] == "mitotic figure" and cell["slide_id"] == rows[0]["slide_id"]]
    alone = mitosieve("reviews", looked_at(), "--reader", "anna", "--out", tmp_path / "anna")
    assert alone.code == 0
    sure = rows_of(tmp_path / "anna" / "reviewed-cells.csv")
    assert {cell["readers"] for cell in sure} == {"anna"}
    summary = rows_of(tmp_path / "anna" / "reviewed-summary.csv")[0]
    mine = [cell for cell in sure if cell["label"] == "mitotic figure" and cell["slide_id"] == summary["slide_id"]]
    assert int(summary["figures"]) == len(mine) >= len(figures) - 1
    agreement = json.loads((tmp_path / "tables" / "agreement.json").read_text())["pairs"][0]
    assert agreement["both"] == len(result.detections)
    features = json.loads((tmp_path / "anna" / "geojson" / f"{summary['slide_id']}.geojson").read_text())["features"]
    called = [f for f in features if f["properties"]["classification"]["name"] == "Mitotic figure"]
    assert len(called) == int(summary["figures"])
    rejected = {cell["detection_id"] for cell in sure if cell["label"] == "imposter"}
    shown = {f.get("id") for f in features if f["properties"]["classification"]["name"] == "Imposter"}
    assert shown == rejected & {f.get("id") for f in features}
    assert shown


def test_decisions_become_a_cohort_and_a_detector(tmp_path):
    """import reviews makes a new cohort; adapt moves the threshold, and detect takes the new detector."""
    told = mitosieve("import", "reviews", looked_at(), tmp_path / "none", "--reader", "anna", "--out", tmp_path / "new")
    assert (told.code, told.result) == (0, tmp_path / "new"), told.err
    assert "starts from nothing" in told.err
    cohort = Cohort.load(tmp_path / "new")
    assert [entry.slide_id for entry in cohort.slides] == [path.stem for path in images()[:2]]
    assert set(cohort.annotations.reviewed_by) == {"anna"}
    told = mitosieve("adapt", a_run(), looked_at(), "--reader", "anna", "--out", tmp_path / "ours")
    assert (told.code, told.result) == (0, tmp_path / "ours"), told.err
    assert "would halve this interval" in told.err
    new = Detector.load(tmp_path / "ours")
    out = tmp_path / "again"
    told = mitosieve("detect", "--detector", tmp_path / "ours", images()[0], "--mpp", 0.25, *ONE_CORE, "--out", out)
    assert told.code == 0, told.err
    assert json.loads((out / "detect.json").read_text())["threshold"] == new.config.threshold


def test_adapt_tells_how_many_cells_it_left_out(tmp_path):
    """Those on which readers disagree, as adapted.json has them; of one reader there is none."""
    told = mitosieve("adapt", a_run(), looked_at(), "--out", tmp_path / "both")
    left_out = json.loads((tmp_path / "both" / "adapted.json").read_text())["left_out"]
    assert left_out > 0
    assert f"note: left out: {left_out} detection" in told.err
    alone = mitosieve("adapt", a_run(), looked_at(), "--reader", "anna", "--out", tmp_path / "anna")
    assert alone.code == 0
    assert "left out: " not in alone.err


def test_what_cannot_be_done_is_said(tmp_path):
    """A result nobody looked at, another detector, options of other imports: each is one message and exit code 2."""
    for words, said in (
        (("reviews", tmp_path), "not a run folder"),
        (("adapt", "swift", looked_at(), "--out", tmp_path / "x"), "made by another detector"),
        (("import", "reviews", looked_at(), tmp_path / "none"), "name its folder with --out"),
        (("import", "reviews", tmp_path, tmp_path / "none", "--out", tmp_path / "x"), "holds no decision"),
        (("import", "reviews", looked_at(), a_cohort(), "--mpp", 0.5, "--out", tmp_path / "x"), "leave out --mpp"),
        (("import", "points", looked_at(), a_cohort(), "--reader", "a"), "--reader is for reviews only"),
        (("import", "points", looked_at(), a_cohort(), "--all-seen"), "--all-seen is for corrections only"),
        (("import", "corrections", looked_at(), a_cohort(), "--reader", "a", "--out", tmp_path / "x"), "--reader"),
    ):
        told = mitosieve(*words)
        assert told.code == 2, words
        assert said in told.err
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("name", "more"), [("reviews", ["--label"]), ("corrections", ["--domain", "--source-name"])])
def test_an_option_that_an_import_does_not_take_is_refused_by_name(tmp_path, name, more):
    """Each alone, and all that are set in one message: none is passed over."""
    values = {"--case-prefix": "a", "--merge-um": 0, "--absent": "searched", "--mpp": 0.25}
    values |= dict.fromkeys(more, "x=figure")
    words = ["import", name, looked_at(), a_cohort(), "--out", tmp_path / "x"]
    for chosen in [[option] for option in values] + [list(values)]:
        told = mitosieve(*words, *(word for option in chosen for word in (option, values[option])))
        assert told.code == 2, chosen
        left_out = told.err.partition("leave out ")[2].strip().split(", ")
        assert sorted(left_out) == sorted(chosen)
        assert not (tmp_path / "x").exists()
