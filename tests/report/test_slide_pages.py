"""Laws of a slide's page: which cells it shows, with which numbers and pictures, and where its file lies."""

import base64
import csv
import io
import re
from dataclasses import replace
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import Page
from PIL import Image

from mitosieve.count.summary import SlideFindings, summarize, write_summary
from mitosieve.count.trust import Trust
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.report import write_report
from mitosieve.report.cells import CELL_PX, MOST_CANDIDATES, MOST_FIGURES, STEPS, cells_of, in_hotspot
from mitosieve.report.gallery import CROP_UM
from mitosieve.report.scanned import ScannedSlide, ScanSource, read_scan
from mitosieve.report.slides import links_of
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.run.layout import Kind
from mitosieve.scan.tables import read_request

MPP = 0.25
SIDE = 8000
"""2 mm: larger than a hotspot."""

NAMES = st.sampled_from(["slide-1", "slide-2", "slide-3", "slide-4", "slide (1)", "a/b", "~1", "~2", "~3", "~4", "1"])
"""Names as a file of another slide might be called."""


def a_job(
    folder, *, slides=1, figures=7, candidates=9, names=None, shape="square", area_mm2=0.5, trust=None, tissue=""
):
    """What detect leaves of slides of noise with a black cell at each detection; scores all differ."""
    RunFolder.create(folder, {"threshold": 0.5}, kind=Kind.DETECT, resume=False)
    parts, counted, paths = [], [], {}
    for number in range(slides):
        name = names[number] if names else f"s{number}"
        generator = np.random.default_rng(number)
        n = figures + candidates
        center = np.round(generator.uniform(120, SIDE - 120, (n, 2)), 3)
        score = np.concatenate([np.linspace(0.95, 0.55, figures), np.linspace(0.45, 0.06, candidates)])
        order = generator.permutation(n)
        found = Detections.of(slide_id=[name] * n, center_l0=center[order], score=score[order], threshold=0.5)
        pixels = np.full((SIDE, SIDE, 3), 200, dtype=np.uint8)
        for x, y in center:
            cv2.circle(pixels, (round(x), round(y)), 12, (60, 20, 90), -1)
        paths[name] = str(folder.parent / f"{folder.name}-{number}.png")
        cv2.imwrite(paths[name], pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        findings = SlideFindings(
            slide_id=name,
            mpp_xy=(MPP, MPP),
            size_l0=(SIDE, SIDE),
            tissue_mm2=3.9,
            detections=found,
            proposer="grid",
            threshold=0.5,
            trust=trust,
        )
        counted.append(summarize(findings, area_mm2=area_mm2, shape=shape, tissue=tissue))
        parts.append(found)
    write_detections(folder / "detections.csv", Detections.concatenate(parts))
    write_summary(folder / "summary.csv", counted)
    told = None if trust is None else trust.to_json()
    write_json(folder / "detect.json", {"detector": "d", "threshold": 0.5, "slides": paths, "trust": told})
    return folder


def a_trust():
    facts = {"f1": 0.7, "f1_interval": (0.6, 0.8), "tested_on": "9 figures", "mpp": 0.2, "own_threshold": 0.6}
    return Trust(detector="mine", learnt_from="phantoms", is_synthetic=True, threshold=0.5, **facts)


def rows_of(folder):
    with (folder / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    return sorted(rows, key=lambda row: -float(row["score"]))


def cells_on(page):
    """Attributes of each cell, in the page's order."""
    return [attrs for tag, attrs in page.tags if tag == "figure" and attrs.get("class", "").startswith("cell ")]


def test_a_page_shows_all_figures_and_the_best_candidates(tmp_path):
    """In the order of the table by score, each with rank, score and place; candidates are told apart."""
    folder = a_job(tmp_path / "job", candidates=MOST_CANDIDATES + 5)
    page = Page(write_report(folder))
    told = rows_of(folder)[: 7 + MOST_CANDIDATES]
    shown = cells_on(page)
    assert [attrs["data-score"] for attrs in shown] == [row["score"] for row in told]
    assert [attrs["class"] for attrs in shown] == ["cell called"] * 7 + ["cell below"] * MOST_CANDIDATES
    for rank, row in enumerate(told, start=1):
        words = f"#{rank} score {float(row['score']):.3f}"
        assert words in page.text
        assert f"x {round(float(row['x']))}, y {round(float(row['y']))}" in page.text
    assert f"7 figures; then the best {MOST_CANDIDATES} of {MOST_CANDIDATES + 5} candidates" in page.text


def test_each_picture_is_of_its_cell(tmp_path):
    """64 um of the slide around the place at its own resolution, of which half is shown, and a scale bar."""
    page = Page(write_report(a_job(tmp_path / "job")))
    pictures = [attrs for tag, attrs in page.tags if tag == "img" and attrs["alt"].startswith("Cell ")]
    assert len(pictures) == 16
    side = round(CROP_UM / MPP)
    for attrs in pictures:
        assert 192 <= int(attrs["width"]) == CELL_PX <= 256
        webp = base64.b64decode(attrs["src"].removeprefix("data:image/webp;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(webp)).convert("L"))
        assert pixels.shape == (side, side)
        dark = pixels < 120
        assert dark[side // 2 - 11 : side // 2 + 11, side // 2 - 2 : side // 2 + 2].all()
        assert dark[side // 2 - 12 : side // 2 + 12].any(axis=0).sum() * MPP >= 24 * MPP * 0.8
    assert page.text.count("10 µm") == 16


@pytest.mark.parametrize("shape", ["square", "circle", "rectangle"])
def test_cells_in_the_hotspot_are_those_it_counts(tmp_path, shape):
    """As many figures as summary.csv says, by its own outline, and each says so in words."""
    folder = a_job(tmp_path / "job", figures=60, shape=shape)
    with (folder / "summary.csv").open() as file:
        counted = next(csv.DictReader(file))
    page = Page(write_report(folder))
    inside = [attrs for attrs in cells_on(page) if "data-inside" in attrs]
    called = [attrs for attrs in inside if attrs["class"] == "cell called"]
    assert len(called) == int(counted["hotspot_figures"]) > 1
    (told,) = (attrs for _, attrs in page.tags if "data-figures-in-hotspot" in attrs)
    assert told["data-figures-in-hotspot"] == counted["hotspot_figures"]
    assert page.text.count("in the hotspot") >= len(inside)
    assert page.text.count("outside the hotspot") == 69 - len(inside)


def test_figures_in_the_hotspot_are_counted_though_not_all_are_shown(tmp_path):
    """Of more figures than a page shows, in the hotspot are as many as lie there, by a loop over all."""
    folder = a_job(tmp_path / "job")
    slide = replace(read_scan(folder, read_request(folder)).slides[0], path=None)
    generator = np.random.default_rng(5)
    n = MOST_FIGURES + 900
    center, score = generator.uniform(0, SIDE, (n, 2)), generator.uniform(0.4, 1, n)
    found = Detections.of(slide_id=["s0"] * n, center_l0=center, score=score, threshold=0.45)
    told = cells_of(slide, found)
    assert told.left_out > 0
    inside = in_hotspot(slide, center)
    assert told.num_in_hotspot == sum(bool(here) and value >= 0.45 for here, value in zip(inside, score, strict=True))
    assert told.num_in_hotspot > sum(bool(cell.in_hotspot) and cell.is_figure for cell in told.cells)


def test_where_there_is_no_hotspot_no_cell_is_in_or_outside(tmp_path):
    """It is said why, and the density is of the tissue."""
    page = Page(write_report(a_job(tmp_path / "job", area_mm2=5.0)))
    assert "hotspot</span>" not in page.html
    assert "3.9 mm2 of tissue are no more than a hotspot's 5 mm2" in page.text
    scan = read_scan(tmp_path / "job", read_request(tmp_path / "job"))
    assert in_hotspot(scan.slides[0], np.zeros((3, 2))) is None


def test_counts_by_threshold_are_those_of_the_table(tmp_path):
    """For every threshold of the slider, whatever is shown; by a loop over all detections."""
    folder = a_job(tmp_path / "job", candidates=MOST_CANDIDATES + 20)
    scan = read_scan(folder, read_request(folder))
    scores = [float(row["score"]) for row in rows_of(folder)]
    found = Detections.of(
        slide_id=["s0"] * len(scores), center_l0=np.zeros((len(scores), 2)), score=scores, threshold=0.5
    )
    told = cells_of(scan.slides[0], found)
    assert len(told.counts) == STEPS + 1
    for step, number in enumerate(told.counts):
        assert number == sum(score >= step / STEPS for score in scores)


def test_many_slides_have_a_page_each(tmp_path):
    """Linked from the table and with one another; nothing is fetched; the job's page holds no cell."""
    names = ["a b", "../../escape", "ü&<x>", "last", "s4"]
    folder = a_job(tmp_path / "job", slides=5, figures=2, candidates=1, names=names)
    page = Page(write_report(folder))
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and "-slides/" in attrs["href"]]
    pages = [folder / unquote(link) for link in links]
    assert len(pages) == 5
    assert all(path.parent == folder / "report-slides" for path in pages)
    assert sorted(path.name for path in (folder / "report-slides").iterdir()) == sorted(path.name for path in pages)
    assert not cells_on(page)
    for number, (name, path) in enumerate(zip(names, pages, strict=True)):
        one = Page(path)
        assert name in one.text
        assert len(cells_on(one)) == 3
        assert "How far to trust this count" in one.text
        around = [unquote(attrs["href"]) for tag, attrs in one.tags if tag == "a"]
        wanted = ["../report.html", *(pages[at].name for at in (number - 1, number + 1) if 0 <= at < 5)]
        assert around == wanted
        assert not re.search(r"https?://|url\(|@import", one.html)
    elsewhere = write_report(folder, out=tmp_path / "other.html")
    assert (tmp_path / "other-slides").is_dir()
    assert elsewhere.read_text().count("other-slides/") == 5


def test_few_slides_stand_on_the_jobs_page(tmp_path):
    """Up to three, each with its cells and its own trust; and a second writing gives the same bytes."""
    folder = a_job(tmp_path / "job", slides=3, figures=2, candidates=1, trust=a_trust())
    page = Page(write_report(folder))
    assert len(cells_on(page)) == 9
    assert page.text.count("How far to trust this count") == 3
    assert not (folder / "report-slides").exists()
    assert write_report(folder, out=folder.parent / "again.html").read_text() == page.html


def test_the_trust_box_says_what_the_table_says(tmp_path):
    """What it learnt from, its test F1 with interval, and each warning; a Nottingham score only of breast."""
    page = Page(write_report(a_job(tmp_path / "job", trust=a_trust())))
    for words in (
        "Detector mine",
        "Learnt from phantoms",
        "0.700 [0.600, 0.800] on 9 figures",
        "Learnt from synthetic tissue: its counts on real slides mean nothing.",
        "Low threshold: 0.5, the detector's own is 0.6",
        "Slide coarser than the network: 0.25 um/px, the network looks at 0.2",
        "A score, from 0 to 1, says",
        "No slide has a Nottingham score",
    ):
        assert words in page.text, words
    assert "Nottingham, breast" not in page.text
    breast = Page(write_report(a_job(tmp_path / "breast", tissue="breast", area_mm2=2.0)))
    assert "Nottingham, breast" in breast.text
    assert "Learnt from not recorded" in breast.text


@pytest.mark.parametrize("gone", ["slide", "record"])
def test_a_slide_that_is_gone_leaves_its_cells_without_pictures(tmp_path, gone):
    """Numbers and places stay, and the page says why there are no pictures."""
    folder = a_job(tmp_path / "job")
    if gone == "slide":
        (tmp_path / "job-0.png").unlink()
    else:
        write_json(folder / "detect.json", {"threshold": 0.5})
    page = Page(write_report(folder))
    assert len(cells_on(page)) == 16
    assert page.text.count("picture not available") == 16
    assert "There are no pictures:" in page.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.one_of(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), NAMES), min_size=4, unique=True
    )
)
def test_every_slide_has_a_page_of_its_own(tmp_path, names):
    """Whatever slides are called: no page is another's, and none leads elsewhere."""
    slides = tuple(
        ScannedSlide(slide_id=name, error="", numbers={}, words={}, seconds=None, engine="", heatmap=None)
        for name in names
    )
    source = ScanSource(folder=tmp_path, request={}, slides=slides, has_summary=True, has_detections=True)
    links = links_of(source, tmp_path / "report.html")
    assert len(set(links.values())) == len(names)
    assert all(link.count("/") == 1 and link.startswith("report-slides/") for link in links.values())
