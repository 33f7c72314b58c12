"""Scores for other programs: the CSV has what metrics.json has, the LaTeX is a whole tabular."""

import csv
import json
from pathlib import Path

import pytest

from mitosieve.run.folder import write_json
from mitosieve.score.evaluated import names_of
from mitosieve.score.printed import latex
from tiny import a_cohort, a_scan, a_split, mitosieve


def test_the_tables_beside_metrics_say_what_it_says(tmp_path):
    """Every number of the CSV is that of the JSON, to all digits; the LaTeX has a row a part."""
    fold = ["--split", a_split(), "--fold", "A"]
    assert mitosieve("evaluate", a_scan(), a_cohort(), *fold, "--out", tmp_path / "m.json").code == 0
    content = json.loads((tmp_path / "m.json").read_text())
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert rows[0]["interval_unit"] == content["bootstrap"]["unit"]
    assert [row["interval_unit"] for row in rows[1:]] == [row["interval_unit"] for row in content["per_domain"]]
    assert rows[0]["note"] == "; ".join(content["notes"])
    assert [row["note"] for row in rows[1:]] == [row["interval_note"] for row in content["per_domain"]]
    for row, part in zip(rows, [content["pooled"], *content["per_domain"]], strict=True):
        for name in ("cases", "slides", "tp", "fp", "fn", "f1", "precision", "recall"):
            assert row[name] == ("" if part[name] is None else str(part[name]))
        assert row["f1_low"] == ("" if part["f1_interval"][0] is None else str(part["f1_interval"][0]))
    text = (tmp_path / "m.tex").read_text()
    assert text.count("\\\\") == len(rows) + 1
    assert text.count("{tabular}") == 2
    drawn = {"none": "nothing"}.get(rows[0]["interval_unit"], rows[0]["interval_unit"])
    assert f"7.5 um; 95% intervals draw {drawn} (pooled), " in text
    assert all(f"% {note}\n" in text for note in content["notes"])


def test_comparison_has_scores_then_differences(tmp_path):
    """A row a detector and measure, then a row a difference; detectors are called by name, not by path."""
    one, two = tmp_path / "one" / "test", tmp_path / "two" / "test"
    for place in (one, two):
        place.mkdir(parents=True)
        (place / "metrics.json").write_text((a_scan() / "metrics.json").read_text())
    told = mitosieve("compare", one, two, "--out", tmp_path / "c.json")
    assert told.code == 0, told.err
    assert [line.split("\t")[0] for line in told.out.splitlines()[1:3]] == ["one", "two"]
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert [row["detector"] for row in rows[:6]] == ["one"] * 3 + ["two"] * 3
    assert {(row["detector"], row["minus"], float(row["value"])) for row in rows[6:]} == {("two", "one", 0.0)}
    assert (tmp_path / "c.tex").read_text().count("\\\\") == 3


def test_a_comparison_says_wherever_it_stands_what_its_intervals_draw(tmp_path):
    """On the error stream, in every row of the CSV and in the LaTeX; and what was noted of the scores, with their
    names, once where it is the same.
    """
    content = json.loads((a_scan() / "metrics.json").read_text())
    slides = [{**content["per_slide"][0], "slide_id": f"s{k}", "case_id": f"c{k // 2}"} for k in range(6)]
    for name, notes in (("one", ["both"]), ("two", ["both", "alone"])):
        write_json(tmp_path / name / "metrics.json", {**content, "per_slide": slides, "notes": notes})
    told = mitosieve("compare", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "c.json")
    assert told.code == 0, told.err
    few = "only 3 cases: slides were drawn within cases; the interval is too narrow, "
    few += "for it leaves out how patients differ"
    notes = ["one, two: both", "two: alone"]
    drawn = f"95% intervals draw slides within cases; {few}"
    assert all(f"note: {note}\n" in told.err for note in (drawn, *notes))
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert {(row["interval_unit"], row["note"]) for row in rows} == {("slides within cases", "; ".join([few, *notes]))}
    text = (tmp_path / "c.tex").read_text()
    assert all(f"% {note}\n" in text for note in (drawn, *notes))
    assert json.loads((tmp_path / "c.json").read_text())["notes"] == notes


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("/a/one/test", "/a/two/test"), ["one", "two"]),
        (("/a/one/A/test", "/a/two/A/test"), ["one/A", "two/A"]),
        (("/a/found",), ["found"]),
        (("/a/found/metrics.json", "/a/found"), ["found (1)", "found (2)"]),
        (("/a/x", "/b/x", "/b/y"), ["a/x", "b/x", "y"]),
        (("/x", "/a/x"), ["/x", "a/x"]),
    ],
)
def test_names_are_the_shortest_that_tell_apart(paths, names):
    """What is the same of all is left out, and nothing that tells them apart is."""
    made = names_of([Path(path) for path in paths])
    assert [name.replace("//", "/") for name in made] == names


def test_signs_of_latex_are_escaped():
    """A domain's name may hold any sign, and the table still compiles."""
    text = latex(["part", "f1"], [["a_b & 50 % #{x}^~\\", "1"]], "note")
    assert r"a\_b \& 50 \% \#\{x\}\textasciicircum{}\textasciitilde{}\textbackslash{} & 1 \\" in text


def test_a_table_that_does_not_say_what_a_figure_is(tmp_path):
    """Every row counts as found, and that is said, on the terminal and in metrics.json."""
    lines = (a_scan() / "detections.csv").read_text().splitlines()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "detections.csv").write_text("\n".join(",".join(line.split(",")[:4]) for line in lines) + "\n")
    told = mitosieve("evaluate", mine, a_cohort(), "--split", a_split(), "--fold", "A")
    assert told.code == 0, told.err
    assert "no column is_figure: every row counts as found" in told.err
    pooled = json.loads((mine / "metrics.json").read_text())["pooled"]
    assert pooled["tp"] + pooled["fp"] == len(lines) - 1
