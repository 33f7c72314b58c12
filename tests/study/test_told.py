"""Laws of what a study tells beside its numbers: what its intervals draw, whole windows, what trainings differ in."""

import csv
import json
import re
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from mitosieve.method.cascade.patch_table import COLUMNS
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.score.repeated import Repeats, compare_repeats
from mitosieve.score.scored import Scored
from mitosieve.score.table import SlideScore
from mitosieve.sieve.cost import StageCost
from mitosieve.study import result as results
from mitosieve.study.plan import Plan, Training
from mitosieve.study.record import OnTestCases, Record, keep, read_record, windows_of
from mitosieve.study.result import StudyResult
from mitosieve.study.study import Study
from mitosieve.study.table import notes_of, tables_of, to_csv, to_markdown
from tiny import a_run as a_trained_run
from tiny import a_scan


def a_study(seeds=(1,), windows=False):
    rows = [{"name": "one"}, {"name": "two", "control": "one"}]
    return Study.model_validate(
        {"title": "t", "reference": "one", "recipe": "chsnet-small", "seeds": seeds, "rows": rows, "windows": windows}
    )


def a_scored(cases, slides, seed):
    """`slides` slides of each case, two figures found and one false alarm on each."""
    names = [f"c{case}" for case in range(cases) for _ in range(slides)]
    rows = tuple(
        SlideScore(slide_id=f"s{k}", case_id=case, domain="d", area_mm2=0.1, tp=2, fp=1, fn=1)
        for k, case in enumerate(names)
    )
    score = np.sort(np.random.default_rng(seed).uniform(0.3, 1, 3 * len(rows)))[::-1]
    slide = np.repeat(np.arange(len(rows)), 3)
    return Scored(slides=rows, score=score, slide=slide, gain=np.tile([1, 1, 0], len(rows)))


def compared(seeds, cases, slides):
    methods = [
        Repeats(name=name, by_seed={seed: a_scored(cases, slides, seed) for seed in seeds}, control=control)
        for name, control in (("one", ""), ("two", "one"))
    ]
    return compare_repeats(methods, "one", np.random.default_rng(0), resamples=50)


def a_result(seeds):
    return StudyResult(
        study=a_study(seeds), folds=("A", "B"), pooled=compared(seeds, 7, 2), curves={}, costs={},
        windows={}, missing=(),
        by_fold={"A": compared(seeds, 1, 5), "B": compared(seeds, 1, 1), "C": compared(seeds, 6, 2)},
        by_domain={"x": compared(seeds, 2, 3), "y": compared(seeds, 2, 3)},
    )  # fmt: skip


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_every_table_names_what_its_own_intervals_draw(seeds):
    """Folds of one patient draw slides, all folds together draw patients; seeds are drawn where there are two."""
    also = " and seeds" if len(seeds) > 1 else ""
    few = "2 seeds say little of" if len(seeds) > 1 else "One training a row and fold:"
    result = a_result(seeds)
    told = {table.title.split(":")[0].split(" minus ")[-1]: table.about for table in tables_of(result)}
    for name in ("All folds pooled", "one", "its own control", "FROC and counts"):
        assert f"ntervals (95 %) draw cases{also}: only 7 cases: the interval is too narrow. {few} how" in told[name]
    assert f"A: intervals (95 %) draw slides within cases{also}: only 1 case" in told["By fold"]
    assert "B: no interval: one slide only" in told["By fold"]
    assert f"C: intervals (95 %) draw cases{also}: only 6 cases" in told["By fold"]
    assert told["By domain"].startswith(f"Intervals (95 %) draw slides within cases{also}: only 2 cases")
    assert bool(re.search("draw [a-z ]+ and seeds", to_markdown(result, "c"))) == (len(seeds) > 1)
    assert not any("draw cases" in note for note in notes_of(result))
    lines = [line for line in csv.DictReader(to_csv(result).splitlines()) if line["seed"] == "mean"]
    units = {(line["scope"], line["part"]): (line["interval_unit"], line["interval_seeds"]) for line in lines}
    assert units["pooled", ""] == ("cases", str(len(seeds)))
    assert units["fold", "A"] == ("slides within cases", str(len(seeds)))
    assert units["fold", "B"][0] == "none"


def test_rows_with_other_seeds_say_which(tmp_path):
    """A study goes on: a mean is over the seeds that stand beside it, a difference over those that both have, and what
    was trained once is not said to draw seeds.
    """
    of = {"one": (1, 2), "two": (1, 2, 3), "alone": (1,)}
    methods = [
        Repeats(
            name=name, by_seed={seed: a_scored(7, 2, seed) for seed in seeds}, control="one" if name == "two" else ""
        )
        for name, seeds in of.items()
    ]
    pooled = compare_repeats(methods, "one", np.random.default_rng(0), resamples=50)
    rows = [{"name": name, "control": "one" if name == "two" else ""} for name in of]
    study = Study.model_validate(
        {"title": "t", "reference": "one", "recipe": "chsnet-small", "seeds": (1, 2, 3), "rows": rows}
    )
    result = StudyResult(
        study=study, folds=("A", "B"), pooled=pooled, curves={}, costs={}, windows={}, missing=(), by_domain={},
        by_fold={"A": pooled, "B": pooled},
    )  # fmt: skip
    tables = {table.title.split(":")[0]: table for table in tables_of(result)}
    seeds_of = {
        name: dict(zip(table.columns, row, strict=False)).get("seeds")
        for name, table in tables.items()
        for row in table.rows[:1]
    }
    assert [row[6] for row in tables["All folds pooled"].rows] == ["1, 2", "1, 2, 3", "1"]
    assert [row[:2] for row in tables["Each row minus one"].rows] == [("two", "1, 2"), ("alone", "1")]
    assert seeds_of["Each row minus its own control"] == "1, 2"
    assert "and seeds (not of alone: one seed)" in tables["All folds pooled"].about
    cells = [row[1] for row in tables["By fold"].rows]
    assert [cell.partition(" (seed ")[2] for cell in cells] == ["1, 2)", "", "1)"]
    lines = {
        (line["row"], line["seed"]): line
        for line in csv.DictReader(to_csv(result).splitlines())
        if line["scope"] == "pooled"
    }
    assert [lines[name, "mean"]["f1_minus_reference_seeds"] for name in of] == ["", "2", "1"]
    assert lines["two", "3"]["tp"] == str(2 * 14)


@pytest.mark.parametrize(
    ("of", "all_rows", "differences"),
    [
        ({"one": (1,), "two": (1, 2, 3)}, "One seed, its p too,", "One training a row and fold:"),
        ({"one": (1, 2), "two": (2, 3)}, "2 seeds say little", "One training a row and fold:"),
        ({"one": (1, 2), "two": (1, 2, 3, 4, 5)}, "Fewer than 5 seeds say little", "2 seeds say little"),
        ({"one": (1, 2, 3, 4, 5), "two": (1, 2, 3, 4, 5)}, "", ""),
    ],
)
def test_what_few_seeds_say_is_told_of_the_seeds_that_a_table_is_of(of, all_rows, differences):
    """A difference is of the seeds that both rows have, though each has more of its own."""
    methods = [Repeats(name=name, by_seed={s: a_scored(7, 2, s) for s in seeds}) for name, seeds in of.items()]
    pooled = compare_repeats(methods, "one", np.random.default_rng(0), resamples=20)
    rows = [{"name": name} for name in of]
    study = Study.model_validate(
        {"title": "t", "reference": "one", "recipe": "chsnet-small", "seeds": (1, 2, 3, 4, 5), "rows": rows}
    )
    result = StudyResult(
        study=study, folds=("A",), pooled=pooled, curves={}, costs={}, windows={}, missing=(), by_domain={}, by_fold={}
    )
    about = {table.title.split(":")[0]: table.about for table in tables_of(result)}
    every = ("One seed", "One training", "seeds say little")
    for name, few in (
        ("All folds pooled", all_rows),
        ("FROC and counts", all_rows),
        ("Each row minus one", differences),
    ):
        assert few in about[name]
        assert any(words in about[name] for words in every) == bool(few)
    (counting,) = (table for table in tables_of(result) if table.title == "FROC and counts")
    assert [row[-1] for row in counting.rows] == [", ".join(map(str, seeds)) for seeds in of.values()]


def a_run(folder, *, fold, gate, mined=0.2, parts=("train", "test"), machine=None, commit="c1"):
    """A run folder with its table of patches: in fold A two figures and three windows a part, in B three and four."""
    folder.mkdir(parents=True)
    number = {"A": 2, "B": 3}[fold]
    asked = {"screening": [mined] if gate == mined else [mined, gate], "refined": [0.5], "cascade": [gate]}
    with (folder / layout.PATCH_TABLE).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval=0)
        writer.writeheader()
        for part in parts:
            for network, values in asked.items():
                counts = {"TP": number, "FN": 0, "TN": number}
                of = {"fold": fold, "part": part, "counted": "patches", "network": network}
                writer.writerows({**of, "gate": value, **counts, "FP": round(10 * value)} for value in values)
    facts = {"processor": "p", "torch_threads": 1, "device": "cpu", "precision": "float32", **(machine or {})}
    (folder / layout.MACHINE).write_text(json.dumps(facts))
    (folder / layout.VERSIONS).write_text(json.dumps({"commit": commit}))
    return folder


def a_plan(folder, one, two):
    """Of two rows with the runs of folds A and B each."""
    folders = {
        (row, fold, 1): a_run(folder / row / fold, fold=fold, **run)
        for row, runs in (("one", one), ("two", two))
        for fold, run in zip("AB", runs, strict=True)
    }
    of = {
        (row, fold, seed): Training(recipe=None, fold=fold, seed=seed, folder=run, kept=(), detectors=(), windows=True)
        for (row, fold, seed), run in folders.items()
    }
    return Plan(trainings=tuple(of.values()), folds=("A", "B"), of=of)


def what_is_done(study, plan):
    """As if each run had been scored and kept."""
    when, stages = datetime(2026, 1, 2, tzinfo=UTC), (StageCost(name="s", multiply_adds=1, weights=1),)
    record = {
        cell: Record(
            commit=json.loads((one.folder / layout.VERSIONS).read_text())["commit"],
            machine=json.loads((one.folder / layout.MACHINE).read_text()),
            training_s=1.0,
            tested={"detector": OnTestCases(detections=one.folder, detection_s=1.0, stages=stages, scored=when, of="")},
            windows=windows_of(one.folder),
        )
        for cell, one in plan.of.items()
    }
    return results._Done(study=study, folds=plan.folds, record=record)


@pytest.mark.parametrize(
    ("gates", "twice"), [((0.2, 0.3), True), ((0.3, 0.2), True), ((0.4, 0.3), True), ((0.2, 0.2), False)]
)
def test_rows_of_windows_are_sums_over_all_folds(tmp_path, gates, twice):
    """Whatever gates folds chose: a row a network, two of screening where a fold has two, all of as many windows."""
    study = a_study(windows=True)
    plan = a_plan(tmp_path, [{"gate": gate} for gate in gates], [{"gate": 0.2}] * 2)
    found = results._windows(what_is_done(study, plan), study.rows[0])
    networks = ["screening", *(["screening"] if twice else []), "refined", "cascade"]
    for part in ("train", "test"):
        assert sorted(key[2] for key in found if key[0] == part) == sorted(networks)
    assert {(counts[0], counts[1], counts[3]) for counts in found.values()} == {(5, 0, 5)}
    at_gate = round(10 * sum(gates))  # false positives here are ten times the threshold that a line is about
    wanted = sorted([4, *([at_gate] if twice else []), 10, at_gate])
    assert sorted(counts[2] for key, counts in found.items() if key[0] == "test") == wanted


def test_a_table_of_one_part_is_made_again_and_said_to_lack(tmp_path):
    """As `mitosieve patch-table --parts test` leaves it: the fold has no whole table, so the row has no sums."""
    study = a_study(windows=True)
    plan = a_plan(tmp_path, [{"gate": 0.3}, {"gate": 0.3, "parts": ("test",)}], [{"gate": 0.3}] * 2)
    assert results._windows(what_is_done(study, plan), study.rows[0]) == {}
    assert plan.of["one", "A", 1].has_windows()
    assert not plan.of["one", "B", 1].has_windows()
    assert results._missing(what_is_done(study, plan), plan) == ("one: no whole table of windows (fold/seed B/1)",)
    for fold, is_done in (("A", True), ("B", False)):
        assert plan.of["one", fold, 1].is_done == is_done


def test_trainings_of_other_code_processor_precision_or_threads_are_told(tmp_path):
    """Scores may differ by that alone; of equal ones nothing is said."""

    def apart(plan):
        return results._apart(list(what_is_done(a_study(), plan).record.values()))

    assert apart(a_plan(tmp_path / "equal", [{"gate": 0.2}] * 2, [{"gate": 0.2}] * 2)) == ()
    machine = {"processor": "q", "precision": "bfloat16", "torch_threads": 2}
    plan = a_plan(
        tmp_path / "apart", [{"gate": 0.2}] * 2, [{"gate": 0.2}, {"gate": 0.2, "machine": machine, "commit": "c2"}]
    )
    expected = ("package commit (c1, c2)", "processor (p, q)", "precision (bfloat16, float32)", "threads (1, 2)")
    for told, values in zip(apart(plan), expected, strict=True):
        assert told == f"trainings differ in {values}: scores may differ by that alone"


def test_a_training_that_went_on_elsewhere_is_told_with_all_that_trained_it(tmp_path):
    """One alone is apart in itself; the record, the cells and the sentences name each machine and commit."""
    run, kept = tmp_path / "run", tmp_path / "kept"
    shutil.copytree(a_trained_run(), run)
    shutil.copytree(a_scan(), run / "test")
    began = {"processor": "p", "torch_threads": 8, "device": "cpu", "precision": "float32", "worker_threads": 1}
    elsewhere = {"processor": "q", "torch_threads": 4, "device": "cpu", "precision": "bfloat16"}
    write_json(run / layout.MACHINE, {**began, "then": [elsewhere, {"worker_threads": 2}]})
    versions = {"versions": {}, "commit": "c1"}
    then = [{**versions, "commit": "c2"}, {**versions, "versions": {"a": "1"}}]
    write_json(run / layout.VERSIONS, {**versions, "then": then})
    keep(run, kept, ["detector"])
    record = read_record(kept)
    assert record.commits == ("c1", "c2")
    assert record.machines == (began, {**elsewhere, "worker_threads": 2})
    facts = ("package commit (c1, c2)", "processor (p, q)", "precision (bfloat16, float32)", "threads (1, 2)")
    assert results._apart([record]) == tuple(
        f"trainings differ in {fact}: scores may differ by that alone" for fact in facts
    )
    study = a_study()
    done = results._Done(study=study, folds=("A",), record={("one", "A", 1): record})
    cost = results._cost(done, study.rows[0])
    assert cost.commits == ("c1", "c2")
    assert cost.machines == ("p, 1 used, cpu, float32; then q, 2 used, cpu, bfloat16",)


@pytest.mark.parametrize(
    ("then", "used"),
    [
        ([], [1]),
        ([{"worker_threads": 2}], [1, 2]),
        ([{"processor": "q", "torch_threads": 4}], [1, 4]),
        ([{"processor": "q", "torch_threads": 4}, {"worker_threads": 1}], [1, 1]),
        ([{"processor": "q", "torch_threads": 4}, {"worker_threads": 1}, {"worker_threads": 2}], [1, 1, 2]),
        ([{"processor": "q", "torch_threads": 4}, {"processor": "r", "torch_threads": 3}], [1, 4, 3]),
    ],
)
def test_a_training_that_went_on_without_workers_used_that_machine_s_threads(then, used):
    """Workers of the machine before are none of it."""
    machine = {"processor": "p", "torch_threads": 8, "device": "cpu", "precision": "float32", "worker_threads": 1}
    record = Record(commit="c", machine={**machine, "then": then}, training_s=1.0, tested={}, windows=None)
    assert [results._threads(one) for one in record.machines] == used
    apart = "trainings differ in threads" in " ".join(results._apart([record]))
    assert apart == (len(set(used)) > 1)
