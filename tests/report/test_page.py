import json
import re
import shutil

import numpy as np
import pytest
from made import Page, a_run, a_score, a_scored_run, some_detections

from build import a_cohort
from mitosieve.errors import FormatError, RunFolderError
from mitosieve.export.table import write_detections
from mitosieve.report import write_report
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.run.layout import Kind
from mitosieve.score.evaluated import evaluate_folder
from mitosieve.score.evaluation import EvaluateConfig


def test_a_page_is_one_file_that_fetches_nothing(shared, tmp_path):
    """Every picture, the style and the script are in the page; no address of another machine."""
    assert shared.path == shared.run / "report.html"
    assert write_report(shared.run, out=tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    page = shared.page
    assert ("html", {"lang": "en"}) in page.tags
    for tag, attrs in page.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        for name in ("src", "href", "srcset", "poster", "data"):
            value = attrs.get(name) or ""
            assert value.startswith(("data:", "#")) or not value
        assert tag != "img" or attrs["alt"]
    assert not re.search(r"https?://|url\(|@import", page.html)


def ends(interval):
    """An interval as the page has it; one whose resamples are all equal is none."""
    low, high = interval
    return f"none: all resamples give {low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def test_the_page_tells_the_numbers_of_the_files(shared):
    """Score with interval, mining round, curves, wall time, recipe, versions, and the banner."""
    run, page = shared.run, shared.page
    pooled = json.loads((run / "test" / "metrics.json").read_text())["pooled"]
    for words in (
        f"F1 {pooled['f1']:.3f} (95 % interval {ends(pooled['f1_interval'])})",
        f"Wilson {ends(pooled['recall_wilson'])}",
        "Research use only, not for diagnosis",
        "test part, fold A, 3 cases, 3 slides, 6 figures",
        "3 of the false alarms (100 %) lie on a cell",
        "screening in-sample 0.2 1,234 66 4,321 95,679 0.949 0.957 0.222 0.360",
        "screening network 1 h 2 min",
        "Training of refined",
        'seed = 5 [network] kind = "chsnet"',
        "cohort hash abc123",
        "9,000 background, 42 figure",
        "numpy",
        "Only 3 cases: ",
        "fold name: A; test: c0, c1",
        "device: cpu; torch_threads: 2",
    ):
        assert words in page.text, words
    for row in json.loads((run / "test" / "metrics.json").read_text())["per_domain"]:
        assert f"{row['domain']} {row['f1']:.3f}" in page.text


def test_the_page_tells_each_commit_and_version_that_a_training_went_on_with(tmp_path):
    """After the first, once each; a package that stayed has one, one that came later stands alone."""
    run, _ = a_scored_run(tmp_path)
    began, same, late = (
        {"torch": "2.1", "numpy": "2.0"},
        {"torch": "2.1"},
        {"torch": "2.2", "numpy": "2.0", "numba": "0.6"},
    )
    then = [{"versions": same, "commit": "b"}, {"versions": late, "commit": "b"}]
    write_json(run / "versions.json", {"versions": began, "commit": "a", "then": then})
    told = Page(write_report(run)).text
    for words in ("code, git commit a, then b ", "torch 2.1, then 2.2 ", "numpy 2.0 ", "numba 0.6 "):
        assert words in told


def test_equal_runs_give_equal_pages(shared, tmp_path):
    """Nothing random, no date: a page can be compared byte for byte."""
    assert write_report(shared.run, out=tmp_path / "again.html").read_bytes() == shared.path.read_bytes()


def test_parts_that_are_missing_are_left_out(tmp_path):
    """Each is missed in a sentence; the rest of the page is as before."""
    run, _ = a_scored_run(tmp_path)
    for part in ("mining.json", "timing.json", "versions.json", "history", "patches.json", "test"):
        path = run / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = Page(write_report(run)).text
    for said in (
        "No mining round is recorded",
        "No wall times are recorded",
        "No training curves",
        "Nothing has been scored yet",
        "cohort hash abc123",
    ):
        assert said in text, said


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    """run.json alone is enough."""
    assert "No detector yet" in Page(write_report(a_run(tmp_path / "run", bare=True))).text


def test_an_altered_detector_is_told_and_does_not_hide_the_score(tmp_path):
    """The page is written, and says what is wrong."""
    run, _ = a_scored_run(tmp_path)
    (run / "detector").mkdir()
    (run / "detector" / "detector.toml").write_text("format = 99\n")
    assert "The detector cannot be read: is a detector of format 99" in Page(write_report(run)).text


def test_a_run_without_figures_has_a_page(tmp_path):
    """Recall, curves and intervals that are not defined are dashes, not faults."""
    cohort = a_cohort(tmp_path / "cohort", cases=1, figures=0)
    run = a_run(tmp_path / "run")
    (run / "test").mkdir()
    write_detections(run / "test" / "detections.csv", some_detections(a_cohort(tmp_path / "other", cases=0)))
    evaluate_folder(run / "test", cohort, config=EvaluateConfig(resamples=50))
    assert "F1 – (95 % interval –)" in Page(write_report(run)).text


def test_further_scores_are_shown_once_each_after_those_of_the_run(tmp_path):
    """A named folder joins the table; one that is inside the run already is not doubled."""
    run, cohort = a_scored_run(tmp_path)
    other = a_score(tmp_path / "other", cohort)
    page = Page(write_report(run, [other, run / "test"]))
    headings = [attrs["href"] for tag, attrs in page.tags if tag == "a" and "score" in attrs.get("href", "")]
    assert headings == ["#score-1", "#score-2"]
    assert page.text.index("Score: test") < page.text.index(f"Score: {other}")
    assert "All scores" in page.text


def test_a_cross_validation_shows_the_pooled_score_and_a_row_per_fold(tmp_path):
    """The result is the pooled score; each fold has its row and its training; pictures come from the folds' cohort."""
    cohort = a_cohort(tmp_path / "cohort", cases=4)
    top = RunFolder.create(tmp_path / "crossval", {}, kind=Kind.CROSSVAL, resume=False).path
    folds = {"A": ("c0", "c1"), "B": ("c2", "c3")}
    for fold, cases in folds.items():
        run = a_run(top / fold, bare=True)
        a_score(run / "test", cohort.of_cases(cases))
    write_detections(top / "detections.csv", some_detections(cohort))
    pooled = evaluate_folder(top, cohort, config=EvaluateConfig(resamples=50))
    page = Page(write_report(top))
    assert f"F1 {pooled.f1:.3f}" in page.text
    assert "pooled over folds" in page.text
    assert "Training: A" in page.text
    assert "Training: B" in page.text
    for fold in folds:
        row = json.loads((top / fold / "test" / "metrics.json").read_text())["pooled"]
        assert f"{fold} {row['f1']:.3f} {ends(row['f1_interval'])}" in page.text
    assert len(page.pictures()) == 12


def test_an_evaluated_folder_without_a_run_has_a_page(tmp_path):
    """Detections made elsewhere can be looked at as well."""
    cohort = a_cohort(tmp_path / "cohort", cases=2)
    folder = a_score(tmp_path / "theirs", cohort)
    page = Page(write_report(folder))
    assert len(page.pictures()) == 6
    assert "Training:" not in page.text


def test_an_evaluated_folder_that_is_no_run_has_a_page(tmp_path):
    """What others found needs no run.json: detections.csv, evaluated, is enough, alone or beside a run."""
    run, cohort = a_scored_run(tmp_path)
    theirs = tmp_path / "theirs"
    write_detections(theirs / "detections.csv", some_detections(cohort))
    evaluate_folder(theirs, cohort, config=EvaluateConfig(resamples=50))
    assert "Training:" not in Page(write_report(theirs)).text
    assert f"Score: {theirs}" in Page(write_report(run, [theirs])).text


def test_a_cross_validation_of_one_fold_or_none_has_a_page(tmp_path):
    """What it is stands in run.json: neither the number of folds nor a missing score makes it something else."""
    top = RunFolder.create(tmp_path / "crossval", {}, kind=Kind.CROSSVAL, resume=False).path
    assert "Nothing has been scored yet" in Page(write_report(top)).text
    a_run(top / "A", bare=True)
    assert "No detector yet" in Page(write_report(top)).text


def test_detections_that_were_not_evaluated_are_refused(tmp_path):
    """A folder of detect without a table of slides is not taken for a training; the message says what to run."""
    cohort = a_cohort(tmp_path / "cohort", cases=1)
    folder = a_score(tmp_path / "found", cohort)
    (folder / "metrics.json").unlink()
    with pytest.raises(FormatError, match="has not been evaluated"):
        write_report(folder)


def test_what_is_noted_of_the_result_stands_beside_it(tmp_path):
    """At the head of the page, by the number that it is of, and not a second time in its section."""
    run, cohort = a_scored_run(tmp_path)
    (run / "test" / "slides.csv").write_text("slide_id,error\nc0_s0,\nc1_s0,is truncated\nc2_s0,\n")
    evaluate_folder(run / "test", cohort, config=EvaluateConfig(resamples=50))
    text = Page(write_report(run)).text
    note = "Note: 1 scored slide was not looked at, its figures count as missed: c1_s0."
    assert text.count(note) == 1
    assert text.index(note) < text.index("Score: test")


def test_slides_that_failed_are_named(tmp_path):
    """What detect could not read stands beside the score."""
    run, _ = a_scored_run(tmp_path)
    (run / "test" / "slides.csv").write_text("slide_id,error\nc0_s0,\nc9_s9,is truncated\n")
    text = Page(write_report(run)).text
    assert "Slides that could not be read: 1." in text
    assert "c9_s9: is truncated" in text


def test_names_are_text_and_never_markup(tmp_path):
    """A domain called like a tag stays a word."""
    run, cohort = a_scored_run(tmp_path)
    named = cohort.with_entries(lambda entry: type(entry)(**{**vars(entry), "domain": "<script>x</script>"}))
    evaluate_folder(run / "test", named, config=EvaluateConfig(resamples=50))
    page = Page(write_report(run))
    assert "<script>x</script>" in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1  # its own


@pytest.mark.parametrize(
    ("file", "content", "error", "words"),
    [
        ("test/metrics.json", "{", FormatError, "is not JSON"),
        ("test/metrics.json", "[]", FormatError, "holds no dict"),
        ("test/metrics.json", '{"format": 9}', FormatError, "is of format 9"),
        ("test/metrics.json", '{"format": 1}', FormatError, "lacks ap, "),
        ("test/outcomes.csv", "slide_id,x\n", FormatError, "lacks the column"),
        ("test/outcomes.csv", "{head}s,1,b,found,,,no\n", FormatError, "line 2: y is 'b'"),
        ("test/outcomes.csv", "{head}s,1,,found,,,no\n", FormatError, "line 2: y is ''"),
        ("test/outcomes.csv", "{head}s,1,2,lost,,,no\n", FormatError, "line 2: outcome is none of found"),
        ("mining.json", '{"rounds": [{"network": "n"}]}', FormatError, "lacks what the report shows"),
        ("history/refined.json", "{}", FormatError, "holds no list"),
        ("run.json", '{"format": 1, "provenance": {}}', RunFolderError, "is a run of format 1"),
        ("run.json", '{"format": 2, "kind": "walk", "provenance": {}}', RunFolderError, "is not a valid Kind"),
    ],
)
def test_a_broken_file_is_named_and_no_page_is_written(tmp_path, file, content, error, words):
    """One message that says what is wrong where; an older page stays."""
    run, _ = a_scored_run(tmp_path)
    (run / "report.html").write_text("older")
    head = "slide_id,x,y,outcome,score,distance_um,on_imposter\n"
    (run / file).write_text(content.replace("{head}", head))
    with pytest.raises(error, match=re.escape(words)):
        write_report(run)
    assert (run / "report.html").read_text() == "older"


@pytest.mark.parametrize("place", ["", "gone", "empty"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, place):
    """With the remedy, and without a page."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="is not a run folder"):
        write_report(tmp_path / place)
    assert not list(tmp_path.rglob("report.html"))


def test_a_named_folder_that_was_not_evaluated_is_refused(tmp_path):
    """The message says how to evaluate it."""
    run, _ = a_scored_run(tmp_path)
    with pytest.raises(FormatError, match="has not been evaluated"):
        write_report(run, [tmp_path])


def test_a_page_stays_small_whatever_the_number_of_scores(tmp_path):
    """The pictures are shared out among the scores; noise is the worst case for JPEG, tissue takes half."""
    cohort = a_cohort(tmp_path / "cohort", cases=1)
    draw = np.random.default_rng(0)
    score = a_score(tmp_path / "score", cohort)
    cells = "".join(f"c0_s0,{draw.integers(400)},{draw.integers(300)},found,0.9,1,no\n" for k in range(300))
    (score / "outcomes.csv").write_text((score / "outcomes.csv").read_text() + cells)
    path = write_report(score)
    assert len(Page(path).pictures("found")) == 48
    assert path.stat().st_size < 6e6 * 50 / 500
    run = a_run(tmp_path / "run", bare=True)
    for number in range(5):
        shutil.copytree(score, run / f"score{number}")
    assert len(Page(write_report(run)).pictures("found")) == 5 * (500 // 15)


def test_a_chart_that_is_not_defined_is_left_out(tmp_path):
    """A score without known areas has no agreement chart, and the page is whole."""
    run, _ = a_scored_run(tmp_path)
    content = json.loads((run / "test" / "metrics.json").read_text())
    for row in content["per_slide"]:
        row["area_mm2"] = None
    write_json(run / "test" / "metrics.json", content)
    assert "agreement per" not in Page(write_report(run)).text


def test_a_cross_validation_of_before_is_refused(tmp_path):
    """It had no run.json of its own: its folds say that they are of format 1, and no page leaves them out unsaid."""
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "run.json").write_text('{"format": 1, "provenance": {}}')
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(RunFolderError, match="is a run of format 1"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
