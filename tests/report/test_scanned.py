"""The page of a folder that detect made."""

import re
import shutil

import pytest
from made import Page, a_scan, a_score

from build import a_cohort
from mitosieve.errors import FormatError
from mitosieve.report import write_report
from mitosieve.report.page import MOST_HEATMAPS
from mitosieve.report.scanned import ScannedSlide, ScanSource, view_scan


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    folder = a_scan(tmp_path_factory.mktemp("scanned") / "scan")
    return folder, Page(write_report(folder))


def test_the_page_tells_counts_hotspots_and_what_was_used(scanned):
    """Totals, a row a slide, proposer, engine, failed slides, the disclaimer; all as in summary.csv."""
    _, page = scanned
    for words in (
        "Searched for mitotic figures: 3 of 4 slides; 1 could not be done",
        "Figures 30 at threshold 0.500",
        "Tissue, mm² 60.0",
        "Figures per mm² 0.50",
        "Wall time 24.0 s",
        "Looked at nuclei, 1600 per mm2 of tissue",
        "Engine onnxruntime on cpu",
        "Detector runs/swift",
        "Slides that could not be done: 1. broken: is truncated",
        "s0 0 20.00 0.00 0 2.00 0.00 – 8.0 2.50",
        "s2 20 20.00 1.00 20 2.00 10.00",
        "Research use only, not for diagnosis",
        "No slide has a Nottingham score: it needs the tissue breast",
    ):
        assert words in page.text, words
    assert "Precision" not in page.text
    assert "Training:" not in page.text
    assert re.search(r"s2 20 20\.00 1\.00 20 2\.00 10\.00 20,\d{3}, (19|20),\d{3} 8\.0 2\.50", page.text)


def test_the_page_is_one_file_that_fetches_nothing(scanned):
    """Heat maps are inside, a slide each in their order; a second writing gives the same bytes."""
    folder, page = scanned
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [attrs["alt"].split(":")[0] for attrs in pictures] == [f"Picture of slide s{k}" for k in (0, 1, 2)]
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for attrs in pictures)
    assert not re.search(r"https?://|url\(|@import|src=\"(?!data:)|fetch\(|XMLHttpRequest|import\(", page.html)
    assert write_report(folder, out=folder.parent / "again.html").read_text() == page.html


def test_a_folder_without_pictures_times_or_summary_has_a_page(tmp_path):
    """What is not there is a dash or a sentence; the table of slides is enough."""
    bare = Page(write_report(a_scan(tmp_path / "bare", timed=False, heatmaps=False)))
    assert "Engine not recorded" in bare.text
    assert "s1 10 20.00 0.50 10 2.00 5.00" in bare.text
    assert "Wall time –" in bare.text
    assert "Heat maps" not in bare.text
    older = Page(write_report(a_scan(tmp_path / "older", summary=False, heatmaps=False)))
    assert "There is no summary.csv" in older.text
    assert "s1 10 – –" in older.text
    assert "broken: is truncated" in older.text


def test_a_job_where_all_failed_has_a_page(tmp_path):
    """No slide is done; both are named."""
    text = Page(write_report(a_scan(tmp_path / "scan", slides=0, failed=("a", "b")))).text
    assert "Searched for mitotic figures: 0 of 2 slides; 2 could not be done" in text
    assert "a: is truncated" in text
    assert "Figures –" in text


def test_an_evaluated_folder_shows_scores_and_slides(tmp_path):
    """The score is the result; the slides follow, from the same folder."""
    folder = a_score(tmp_path / "found", a_cohort(tmp_path / "cohort", cases=2))
    scan = a_scan(tmp_path / "scan")
    shutil.copy(scan / "summary.csv", folder / "summary.csv")
    shutil.copytree(scan / "heatmaps", folder / "heatmaps")
    page = Page(write_report(folder))
    assert "F1" in page.text
    assert "s2 20 20.00 1.00 20" in page.text
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert links == ["#slides", "#slide-1", "#slide-2", "#slide-3", "#score-1"]


def test_only_the_hottest_heat_maps_are_shown(tmp_path):
    """A page of a thousand slides stays a page; the text says how many there are."""
    folder = a_scan(tmp_path / "scan")
    slides = tuple(
        ScannedSlide(
            slide_id=f"n{number}",
            error="",
            numbers={"hotspot_figures": float(number % 50), "figures": 60.0},
            words={},
            seconds=None,
            engine="",
            heatmap=folder / "heatmaps" / "s1.png",
        )
        for number in range(100)
    )
    source = ScanSource(folder=folder, request={}, slides=slides, has_summary=True)
    view = view_scan(source, 5)
    assert [heat.slide.slide_id for heat in view.heatmaps] == ["n49", "n99", "n48", "n98", "n47"]
    assert view.num_heatmaps == 100
    assert MOST_HEATMAPS * len(view.heatmaps[0].uri) < 6e6


def test_a_broken_heat_map_is_named_and_the_page_is_written(tmp_path):
    """The numbers do not hang on a picture."""
    folder = a_scan(tmp_path / "scan")
    (folder / "heatmaps" / "s2.png").write_bytes(b"no picture")
    page = Page(write_report(folder))
    assert "s2: the heat map is no picture that can be read" in page.text
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2


def test_names_of_slides_are_text_and_lead_nowhere(tmp_path):
    """A name like a tag stays a word; one like a path shows no picture of another folder."""
    folder = a_scan(tmp_path / "scan")
    shutil.copy(folder / "heatmaps" / "s1.png", tmp_path / "secret.png")
    table = folder / "summary.csv"
    table.write_text(table.read_text().replace("s1,", "../../secret,").replace("broken", "<marquee>x</marquee>"))
    page = Page(write_report(folder))
    assert "<marquee>x</marquee>" in page.text
    assert "marquee" not in {tag for tag, _ in page.tags}
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("summary.csv", "slide_id,error\n", "lacks the column"),
        (
            "summary.csv",
            "slide_id,tissue_mm2,figures,hotspot_area_mm2,hotspot_figures,error\ns0,x,1,2,1,\n",
            "line 2: tissue_mm2 is 'x', not a finite number",
        ),
        ("timing.csv", "slide_id,seconds\ns0,nan\n", "line 2: seconds is 'nan'"),
        ("detect.json", "[]", "holds no dict"),
    ],
)
def test_a_broken_file_is_named(tmp_path, file, content, words):
    """And no page is written."""
    folder = a_scan(tmp_path / "scan", heatmaps=False)
    (folder / file).write_text(content)
    with pytest.raises(FormatError, match=re.escape(words)):
        write_report(folder)
    assert not (folder / "report.html").exists()
