"""A study from its file to its table, with real trainings of seconds, as a user meets it."""

import csv
import json
import shutil

import pytest

from mitosieve import Cohort, Split
from mitosieve.export.table import read_detections
from mitosieve.score.evaluation import evaluate
from tiny import ONE_CORE, SETTINGS, SHORTER, a_cohort, a_split, files_of, mitosieve

STUDY = f"""
title = "Parts of a cascade"
about = "With <b>both</b> networks, or one | alone."
reference = "full"
recipe = "chsnet-small"
set = {json.dumps([*SETTINGS, *SHORTER, "cascade.parts_too=true"])}
folds = ["A", "B"]
seeds = [1, 2]
notes = ["Synthetic."]
windows = true
[[rows]]
name = "full"
published = {{ f1 = 0.5 }}
[[rows]]
name = "alone"
control = "full"
detector = "detector-refined-alone"
"""


def told(study, out, *more):
    return mitosieve("study", study, a_cohort(), "--split", a_split(), "--out", out, *ONE_CORE, *more)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(study file, folder, what was told): two rows, two folds, two seeds, from four trainings."""
    folder = tmp_path_factory.mktemp("study")
    file = folder / "parts.toml"
    file.write_text(STUDY)
    what = told(file, folder / "out")
    assert what.code == 0, what
    return file, folder / "out", what


def rows_of(folder):
    with (folder / "study.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_what_the_run_folders_hold(done):
    """Pooled counts of each seed are those of evaluate on both folds' detections; the mean row is their mean."""
    _, out, _ = done
    cohort, split = Cohort.load(a_cohort()), Split.load(a_split())
    for row, test in (("full", "test"), ("alone", "test-refined-alone")):
        values = []
        for seed in (1, 2):
            found = [
                evaluate(read_detections(path / test / "detections.csv"), cohort, cases=split.fold(fold).test).pooled
                for fold in "AB"
                for path in (out / "runs").glob(f"chsnet-small-{fold}-seed{seed}-*")
            ]
            assert len(found) == 2
            tp, fp, fn = (sum(getattr(one, key) for one in found) for key in ("tp", "fp", "fn"))
            values.append(2 * tp / (2 * tp + fp + fn))
            line = next(r for r in rows_of(out) if (r["scope"], r["row"], r["seed"]) == ("pooled", row, str(seed)))
            assert float(line["f1"]) == pytest.approx(values[-1])
        mean = next(r for r in rows_of(out) if (r["scope"], r["row"], r["seed"]) == ("pooled", row, "mean"))
        assert float(mean["f1"]) == pytest.approx(sum(values) / 2)


def test_a_row_stands_beside_its_own_control(done):
    """The same difference as to the reference, where that is the control; in the page and both tables."""
    _, out, _ = done
    line = next(r for r in rows_of(out) if (r["scope"], r["row"], r["seed"]) == ("pooled", "alone", "mean"))
    assert line["control"] == "full"
    assert (line["f1_minus_control"], line["f1_control_p"]) == (line["f1_minus_reference"], line["f1_p"])
    for name in ("study.md", "study.html"):
        assert "Each row minus its own control" in (out / name).read_text()


def test_every_training_is_an_ordinary_run_folder(done):
    """report and detect take it as any other; four were made for eight cells of the table."""
    _, out, what = done
    runs = sorted((out / "runs").iterdir())
    assert len(runs) == 4
    assert mitosieve("report", runs[0]).code == 0
    assert what.result == out / "study.html"


def test_nothing_is_done_twice(done, tmp_path):
    """A resume and another study of the same rows train nothing: no file of a run is written again."""
    file, out, _ = done
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    tables = files_of(out)
    assert told(file, out).code == 2  # it is there already
    assert told(file, out, "--resume").code == 0
    assert told(file, tmp_path / "other", "--runs", out / "runs").code == 0
    after = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.name != "report.html"} == {
        p: t for p, t in before.items() if p.name != "report.html"
    }
    assert files_of(out)["study.csv"] == tables["study.csv"] == (tmp_path / "other" / "study.csv").read_bytes()
    assert not (tmp_path / "other" / "runs").exists()


def test_side_by_side_gives_the_same_table(done, tmp_path):
    """Two processes, one thread each: equal bytes of figures."""
    file, out, _ = done
    assert told(file, tmp_path / "two", "--workers", "2").code == 0
    keep = [column for column in rows_of(out)[0] if not column.endswith("_s")]
    assert [[r[c] for c in keep] for r in rows_of(tmp_path / "two")] == [[r[c] for c in keep] for r in rows_of(out)]


def test_windows_are_summed_over_folds_and_averaged_over_seeds(done):
    """From the table that each training leaves."""
    _, out, _ = done
    runs = sorted((out / "runs").glob("*/patch-table.csv"))
    assert len(runs) == 4
    found = []
    for path in runs:
        with path.open(newline="") as file:
            found += [float(r["TP"]) for r in csv.DictReader(file) if (r["part"], r["network"]) == ("test", "refined")]
    text = (out / "study.md").read_text()
    line = next(row for row in text.splitlines() if row.startswith("| full | test | patches | refined |"))
    assert line.split(" | ")[4] == f"{sum(found) / 2:,.0f}"


def test_what_is_not_done_is_named_and_the_rest_stands(done, tmp_path):
    """Without one training its seed is left out of the pooled rows, and both table and page say what is missing."""
    file, out, _ = done
    runs = tmp_path / "runs"
    shutil.copytree(out / "runs", runs)
    shutil.rmtree(next(runs.glob("*-B-seed2-*")))
    what = told(file, tmp_path / "out", "--runs", runs, "--tables-only")
    assert what.code == 0
    assert "full: 1 of 4 trainings are not done (fold/seed B/2)" in what.err
    assert "full: 1 of 4 trainings are not done" in (tmp_path / "out" / "study.md").read_text()
    pooled = [r for r in rows_of(tmp_path / "out") if r["scope"] == "pooled" and r["row"] == "full"]
    assert [r["seed"] for r in pooled] == ["mean", "1"]
    assert not list(runs.glob("*-B-seed2-*"))


def test_a_dry_run_lists_the_trainings_and_makes_nothing(done, tmp_path):
    """What is done and what is to do."""
    file, out, _ = done
    dry = ["study", file, a_cohort(), "--split", a_split(), "--dry-run"]
    what = mitosieve(*dry, "--runs", out / "runs", "--seeds", "2,3")
    lines = [line.split("\t")[0] for line in what.out.splitlines()[1:]]
    assert sorted(lines) == ["done", "done", "to do", "to do"]
    empty = mitosieve(*dry, "--runs", tmp_path / "none")
    assert empty.code == 0
    assert not list(tmp_path.iterdir())


def test_the_page_shows_text_as_text(done):
    """Names and sentences of a study file are never HTML; the published value stands beside ours."""
    _, out, _ = done
    page = (out / "study.html").read_text()
    assert "&lt;b&gt;both&lt;/b&gt;" in page
    assert "<script" not in page
    assert "published f1" in page
    assert page.count("<table>") >= 5
    table = (out / "study.md").read_text()
    assert "mitosieve study parts.toml COHORT --split SPLIT --out DIR" in table
    assert str(out) not in table + page


def test_a_row_that_fails_does_not_end_the_others(done, tmp_path):
    """A detector that the training does not leave: the row is named with those there are, the exit code is 1."""
    file, out, _ = done
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(file.read_text().replace("detector-refined-alone", "detector-gone"))
    what = told(wrong, tmp_path / "out", "--runs", out / "runs")
    assert what.code == 1
    assert "left no detector 'detector-gone'" in what.err
    assert "detector-refined-alone" in what.err
    assert [r["row"] for r in rows_of(tmp_path / "out") if (r["scope"], r["seed"]) == ("pooled", "mean")] == ["full"]


def test_bad_words_are_refused_before_anything_is_made(done, tmp_path):
    """Seeds that are no numbers, no split, no out, another study's folder."""
    file, out, _ = done
    where = ["study", file, a_cohort()]
    assert "not whole numbers" in told(file, tmp_path / "x", "--seeds", "1,b").err
    assert "add --split" in mitosieve(*where, "--out", tmp_path / "x").err
    assert "add --out" in mitosieve(*where, "--split", a_split()).err
    assert "unknown" in mitosieve(*where, "--split", a_split(), "--out", tmp_path / "x", "--set", "nothing=1").err
    assert "was made by train, not by study" in told(file, next((out / "runs").iterdir()), "--resume").err
    assert not (tmp_path / "x").exists()


def test_a_training_with_a_slide_that_failed_is_not_done_until_the_slide_is_read(tmp_path):
    """Nothing is scored and the reason is told, by a resume's tables too; a resume with the slide gives the table."""
    cohort, file = tmp_path / "cohort", tmp_path / "one.toml"
    shutil.copytree(a_cohort(), cohort)
    text = STUDY.replace("[1, 2]", "[1]").replace('["A", "B"]', '["C"]').replace("windows = true", "")
    file.write_text(text.partition('[[rows]]\nname = "alone"')[0])
    whole = Cohort.load(cohort)
    broken = whole.path_of(whole.of_cases(("case04",)).slides[0].slide_id)
    kept = broken.read_bytes()
    broken.write_bytes(b"no image")
    words = ["study", file, cohort, "--split", a_split(), "--out", tmp_path / "out", *ONE_CORE]
    told = mitosieve(*words)
    assert told.code == 1
    assert "not scored, for slides failed" in told.err
    (test,) = (tmp_path / "out" / "runs").glob("*/test")
    assert not (test / "metrics.json").exists()
    again = mitosieve(*words, "--resume", "--tables-only")
    for said in (told.err, again.err, (tmp_path / "out" / "study.md").read_text()):
        assert "full: 1 of 1 trainings are not done" in said
        assert f"full, C/1: {broken.stem} failed" in said
    assert mitosieve(*words, "--dry-run").out.splitlines()[1].startswith("to do")
    shutil.copy2(a_split(), test / "metrics.json")  # scores of a version that counted the slide as missed
    assert mitosieve(*words, "--dry-run").out.splitlines()[1].startswith("to do")
    broken.write_bytes(kept)
    assert mitosieve(*words, "--resume").code == 0
    row = next(r for r in rows_of(tmp_path / "out") if (r["scope"], r["seed"]) == ("pooled", "mean"))
    assert (row["cases"], bool(row["detection_s"])) == ("2", True)


def test_times_that_are_not_whole_are_not_told(done, tmp_path):
    """Without the times of a slide, or of all, the study stands and says nothing of how long its test cases took."""
    file, out, _ = done
    for number, keep in enumerate((1, 0)):
        runs = tmp_path / f"runs{number}"
        shutil.copytree(out / "runs", runs)
        times = next(runs.glob("*-A-seed1-*/test/timing.csv"))
        if keep:
            times.write_text(times.read_text().splitlines()[0] + "\n")
        else:
            times.unlink()
        what = told(file, tmp_path / f"out{number}", "--runs", runs, "--tables-only")
        assert what.code == 0, what.err
        mean = {
            r["row"]: r for r in rows_of(tmp_path / f"out{number}") if (r["scope"], r["seed"]) == ("pooled", "mean")
        }
        assert (mean["full"]["detection_s"], bool(mean["alone"]["detection_s"])) == ("", True)
        line = next(
            row for row in (tmp_path / f"out{number}" / "study.md").read_text().split("## What it took")[1].splitlines()
            if row.startswith("| full |")
        )  # fmt: skip
        assert line.split(" | ")[2] == "–"


def trainings_of(out):
    return files_of(out / "trainings")


def test_tables_come_from_what_is_kept_alone(done, tmp_path):
    """Without one run folder, in another place: the same tables, byte for byte but for times, and nothing trained."""
    file, out, _ = done
    assert len(list((out / "trainings").iterdir())) == 4
    for where in (out, out / "trainings"):
        other = tmp_path / where.name
        assert told(file, other, "--trainings", where).code == 0
        assert {
            name: text for name, text in files_of(other).items() if name.startswith("study.") and name != "study.toml"
        } == {name: text for name, text in files_of(out).items() if name.startswith("study.") and name != "study.toml"}
        assert not (other / "runs").exists()
        assert trainings_of(other) == trainings_of(out)
    assert told(file, tmp_path / "out", "--resume").code == 0  # by its own, the other study's gone
    dry = mitosieve("study", file, a_cohort(), "--split", a_split(), "--dry-run", "--trainings", out)
    assert {line.split("\t")[0] for line in dry.out.splitlines()[1:]} == {"done"}


def test_a_record_holds_no_path_and_what_evaluate_reads(done, tmp_path):
    """It may be published: neither where it was made nor tissue; evaluate finds what it finds of the run folder."""
    _, out, _ = done
    for name, content in trainings_of(out).items():
        assert not content.startswith((b"\x89PNG", b"\xff\xd8")), name
        assert str(out.parent).encode() not in content
        assert str(a_cohort()).encode() not in content
    for record in (out / "trainings").iterdir():
        found = [
            read_detections(where / record.name / "test" / "detections.csv")
            for where in (out / "trainings", out / "runs")
        ]
        cases = Split.load(a_split()).fold(record.name.split("-")[2]).test
        pooled = [evaluate(one, Cohort.load(a_cohort()), cases=cases).pooled for one in found]
        assert pooled[0] == pooled[1]


def test_seeds_of_two_machines_make_one_table(done, tmp_path):
    """Each did one seed: together they are the study of both, though no run folder of either is here."""
    file, out, _ = done
    for seed in "12":
        assert told(file, tmp_path / seed, "--trainings", out, "--seeds", seed).code == 0
    what = told(file, tmp_path / "both", "--trainings", tmp_path / "1", "--trainings", tmp_path / "2")
    assert what.code == 0
    assert (tmp_path / "both" / "study.csv").read_bytes() == (out / "study.csv").read_bytes()


@pytest.mark.parametrize("fault", ["changed", "no json", "lacks a key", "no table", "windows"])
def test_a_record_that_was_changed_is_refused(done, tmp_path, fault):
    """One message that names the file and what to do; nothing is trained in its place unasked."""
    file, out, _ = done
    shutil.copytree(out / "trainings", tmp_path / "kept")
    record = next((tmp_path / "kept").glob("*-A-seed1-*"))
    table, facts = record / "test" / "detections.csv", record / "training.json"
    if fault == "changed":
        table.write_text(table.read_text().replace(",no", ",yes", 1))
    elif fault == "no json":
        facts.write_text("{")
    elif fault == "windows":
        windows = record / "patch-table.csv"
        windows.write_text(windows.read_text().replace(",", ",1", 1))
    elif fault == "lacks a key":
        facts.write_text(json.dumps({k: v for k, v in json.loads(facts.read_text()).items() if k != "machine"}))
    else:
        table.unlink()
    what = told(file, tmp_path / "out", "--trainings", tmp_path / "kept")
    assert what.code == 2
    assert record.name in what.err
    assert "delete this folder" in what.err
    assert not (tmp_path / "out" / "runs").exists()
    shutil.copytree(tmp_path / "kept", tmp_path / "own" / "trainings")  # with the run folder it is made again
    assert told(file, tmp_path / "own", "--runs", out / "runs", "--resume").code == 0
    assert trainings_of(tmp_path / "own") == trainings_of(out)


def test_a_run_folder_goes_before_its_record(done, tmp_path):
    """A training that is done again, with other numbers, is what the tables are made of."""
    file, out, _ = done
    shutil.copytree(out, tmp_path / "out")
    run = next((tmp_path / "out" / "runs").glob("*-A-seed1-*"))
    table = run / "test" / "detections.csv"
    table.write_text(table.read_text().splitlines()[0] + "\n")  # as of a detector that finds nothing
    assert told(file, tmp_path / "out", "--resume").code == 0
    kept = tmp_path / "out" / "trainings" / run.name / "test" / "detections.csv"
    assert len(kept.read_text().splitlines()) == 1
    assert (tmp_path / "out" / "study.csv").read_bytes() != (out / "study.csv").read_bytes()


def test_a_folder_without_trainings_is_refused(done, tmp_path):
    """Before anything heavy: a folder of something else, and none."""
    file, _, _ = done
    for where, why in ((tmp_path, "holds no training"), (tmp_path / "none", "is no folder")):
        what = told(file, tmp_path / "out", "--trainings", where)
        assert (what.code, why in what.err) == (2, True)
