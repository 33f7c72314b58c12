"""What people decided stands on a job's pages beside what the detector found."""

import csv
import io

import pytest
from made import Page

from mitosieve.report import write_report
from mitosieve.report.reviewed import read_reviewed
from mitosieve.review.log import DecisionLog
from mitosieve.review.result import FoundResult
from mitosieve.review.reviews import Reviews
from mitosieve.review.tables import summary_csv
from reviewed_result import a_result, add, judge

NEAR = [(1000 + 40 * n, 1000, 0.9) for n in range(8)]
FAR = [(7000, 5000, 0.8), (7100, 5000, 0.3)]


def decided(result, made):
    log = DecisionLog.beside(result.folder)
    for decision in made:
        log.append(decision)


def some(result):
    """Of slide s two figures rejected, a candidate accepted, one cell added; by two readers who agree."""
    made = [judge(result, row, verdict) for row, verdict in ((0, "imposter"), (1, "imposter"), (9, "figure"))]
    made += [judge(result, 0, "imposter", reader="<b>ben"), add("s", 1200, 1100)]
    return made


@pytest.mark.parametrize("tissue", ["breast", ""])
def test_the_page_says_what_reviews_says(tmp_path, tissue):
    """Per slide automatic and reviewed figures, how many were decided, and the mitotic score where it is breast."""
    result = a_result(tmp_path / "found", {"s": NEAR + FAR, "t": NEAR}, tissue=tissue)
    decided(result, some(result))
    page = Page(write_report(tmp_path / "found"))
    result = FoundResult.load(result.folder)
    told = csv.DictReader(io.StringIO(summary_csv(Reviews.of(result), result)))
    rows = {row["slide_id"]: row for row in told}
    assert {name: (row["automatic_figures"], row["figures"], row["judged"]) for name, row in rows.items()} == {
        "s": ("9", "9", "3"),
        "t": ("8", "8", "0"),
    }
    names = ["automatic_figures", "figures", "automatic_hotspot_figures", "hotspot_figures"]
    scores = ["automatic_nottingham_mitotic_score", "nottingham_mitotic_score"] if tissue else []
    last = ["deciding"] if tissue else []
    for name, row in list(rows.items())[:1]:
        told = [row[key] for key in (*names, *scores, "judged", "accepted", "rejected", "added", "open", *last)]
        assert " ".join([name, *told]) in page.text
    assert page.text.count("Figures after review") == 1  # nobody decided about t
    assert ("Mitotic score after review" in page.text) == bool(tissue)
    assert "4 cells decided by anna, <b>ben;" in page.text
    assert "Figures after review 9 automatic 9 Decided 3 1 accepted, 2 rejected, 1 added; 7 open" in page.text


def test_each_slide_s_own_page_has_it_too(tmp_path):
    """Where there are many slides."""
    result = a_result(tmp_path / "found", {name: NEAR for name in "abcde"})
    decided(result, [judge(result, 0, "imposter")])
    page = Page(write_report(tmp_path / "found"))
    assert "a 8 7 8 7 2 1 1 0 1 0 7 0" in page.text
    own = Page(tmp_path / "found" / "report-slides" / "a.html")
    assert "Figures after review 7 automatic 8" in own.text
    assert "Mitotic score after review 1 automatic 2; 0 open can change it" in own.text


@pytest.mark.parametrize("left", ["nothing", "an empty file", "all taken back"])
def test_without_decisions_the_page_is_as_before(tmp_path, left):
    """An empty file, or one in which everything was taken back, is no review."""
    result = a_result(tmp_path / "found", {"s": NEAR})
    before = write_report(tmp_path / "found").read_text()
    if left == "an empty file":
        (tmp_path / "found" / "decisions.jsonl").touch()
    if left == "all taken back":
        made = judge(result, 0, "imposter")
        undo = type(made).now(kind="undo", slide_id="s", reader="anna", how="gallery", undoes=made.id)
        decided(result, [made, undo])
    assert write_report(tmp_path / "found").read_text() == before
    assert "review" not in before.split("</style>")[1].replace("Mitotic figures", "")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "decisions.jsonl").write_text("{}\n"), "decisions.jsonl, line 1: lacks the field id"),
        (
            lambda folder: (folder / "run.json").write_text('{"format": 2, "kind": "detect", "provenance": {}}'),
            "run.json: does not say how slides were counted",
        ),
    ],
)
def test_decisions_that_cannot_be_counted_do_not_hold_up_the_page(tmp_path, spoil, said):
    """All of the detector's numbers stand there, and why there are no reviewed ones."""
    result = a_result(tmp_path / "found", {"s": NEAR})
    decided(result, [judge(result, 0, "imposter")])
    spoil(result.folder)
    page = Page(write_report(tmp_path / "found"))
    assert "their decisions cannot be counted: " in page.text
    assert said in read_reviewed(result.folder).fault
    assert "s 8 " in page.text
