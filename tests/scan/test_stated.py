"""Laws of what is stated of slides, area and resolution: it is told wherever counts are, and a job keeps to it."""

import csv
import json
from dataclasses import replace

import cv2
import pytest
import tifffile

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import RunFolderError
from mitosieve.network.compute import Compute
from mitosieve.network.config import SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.review.result import FoundResult
from mitosieve.scan import Scan, items_of_images, scan
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import NucleiProposer
from tiny import ONE_CORE, a_cohort, images, mitosieve

NETWORK = SwiftConfig(input_px=32, widths=(8, 16), depths=(1, 1), head=16, stem=8)
PX_MM2 = 0.25**2 / 1e6


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Of a command whose detector finds something wherever a nucleus is."""
    stage = Stage(name="screening", network=NETWORK, views="one", patch_px=32, threshold=0.25)
    config = DetectorConfig(proposer=NucleiProposer(), stages=(stage,))
    detector = Detector(config=config, networks=((build_network(NETWORK).eval(),),))
    folder = detector.save(tmp_path_factory.mktemp("made") / "detector")
    return ("detect", "--detector", folder, "--threshold", 0, *ONE_CORE, "--workers", 0)


@pytest.fixture
def stating(tmp_path):
    """A TIFF whose file states 0.25 um per px."""
    path = tmp_path / "stating.tif"
    rgb = cv2.cvtColor(cv2.imread(str(images()[0])), cv2.COLOR_BGR2RGB)
    tifffile.imwrite(path, rgb, photometric="rgb", resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    return path


def an_area(path, width, height=384):
    """As QuPath writes it: the first pixel covers 0 to 1."""
    ring = [[0, 0], [width, 0], [width, height], [0, height], [0, 0]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path


def rows_of(folder, name="summary.csv"):
    return list(csv.DictReader((folder / name).read_text().splitlines()))


def facts_of(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "summaries").glob("*.json"))]


def test_a_count_within_an_area_says_so_wherever_it_stands(words, tmp_path):
    """Terminal, summary.csv, the slide's JSON, detect.json and the page; a readable picture shows its edge."""
    area = an_area(tmp_path / "roi.geojson", 150)
    told = mitosieve(*words, images()[0], "--mpp", 0.25, "--out", tmp_path / "part", "--roi", area, "--report")
    assert told.code == 0, told.err
    mm2 = f"{150 * 384 * PX_MM2:.4f}"
    assert f"1 slide searched within an area of {mm2} mm2 alone" in told.err
    assert rows_of(tmp_path / "part")[0]["roi_mm2"] == f"{150 * 384 * PX_MM2:.6f}"
    assert facts_of(tmp_path / "part")[0]["roi_mm2"] == round(150 * 384 * PX_MM2, 6)
    stated = json.loads((tmp_path / "part" / "detect.json").read_text())["areas"]
    assert [item["slides"] for item in stated] == [[row["slide_id"] for row in rows_of(tmp_path / "part")]]
    roi = stated[0]["area"]
    assert roi["type"] == "Polygon"
    corners = {tuple(corner) for corner in roi["coordinates"][0]}
    assert corners == {(-0.5, -0.5), (149.5, -0.5), (149.5, 383.5), (-0.5, 383.5)}, "level-0 px, centres at integers"
    page = (tmp_path / "part" / "report.html").read_text()
    assert f"Within an area of {mm2} mm²" in page
    assert f"1 of 1 slide, <strong>within an area of {mm2} mm²</strong>" in page
    assert "Whole slide" not in page
    assert ": 1 slide – mitosieve</title>" in page


def test_a_whole_slide_is_told_as_one(words, tmp_path):
    """Without an area, and with one that covers the slide: the field is empty."""
    for name, more in (("plain", ()), ("all", ("--roi", an_area(tmp_path / "roi.geojson", 500, 500)))):
        told = mitosieve(*words, images()[0], "--mpp", 0.25, "--out", tmp_path / name, *more, "--report")
        assert told.code == 0, told.err
        assert rows_of(tmp_path / name)[0]["roi_mm2"] == ""
        assert facts_of(tmp_path / name)[0]["roi_mm2"] is None
        assert "Whole slide" in (tmp_path / name / "report.html").read_text()
        assert (json.loads((tmp_path / name / "detect.json").read_text())["areas"] == []) == (not more)


def test_a_result_of_before_has_its_page(words, tmp_path):
    """Without the column and the keys nobody knows of an area."""
    out = tmp_path / "old"
    assert mitosieve(*words, images()[0], "--mpp", 0.25, "--out", out).code == 0
    rows = [{name: value for name, value in row.items() if name != "roi_mm2"} for row in rows_of(out)]
    table = [",".join(rows[0]), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
    (out / "summary.csv").write_text("\n".join(table) + "\n")
    asked = json.loads((out / "detect.json").read_text())
    del asked["areas"]
    (out / "detect.json").write_text(json.dumps(asked))
    assert mitosieve("report", out).code == 0
    assert "Whole slide" in (out / "report.html").read_text()
    for path in (out / "parts").glob("*.json"):
        path.write_text(
            json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "stated"})
        )
    assert mitosieve(*words, images()[0], "--mpp", 0.25, "--out", out, "--resume").code == 0


def test_the_areas_of_a_cohort_are_told(words, tmp_path):
    """Each slide's own, and those that the job searched stay known when the cohort changes."""
    whole = Cohort.load(a_cohort())
    areas = ("POLYGON ((-0.5 -0.5, 99.5 -0.5, 99.5 383.5, -0.5 383.5, -0.5 -0.5))", "")
    entries = tuple(
        replace(entry, path=str(whole.path_of(entry.slide_id)), roi_wkt=area)
        for entry, area in zip(whole.slides[:2], areas, strict=True)
    )
    marks = whole.annotations
    Cohort(
        tmp_path / "cohort", entries, marks[[name in {e.slide_id for e in entries} for name in marks.slide_id]]
    ).save()
    told = mitosieve(*words, "--cohort", tmp_path / "cohort", "--out", tmp_path / "out", "--report")
    assert told.code == 0, told.err
    mm2 = f"{100 * 384 * PX_MM2:.4f}"
    assert [row["roi_mm2"] for row in rows_of(tmp_path / "out")] == [f"{100 * 384 * PX_MM2:.6f}", ""]
    result = FoundResult.load(tmp_path / "out")
    first, second = result.slides
    assert [result.is_searched(first, x, 0) for x in (99, 100)] == [True, False]
    assert result.is_searched(second, 100, 0)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "On some only within an area" in page
    assert f"within an area of {mm2} mm²" in page


@pytest.mark.parametrize(("mpp", "is_told"), [(0.5, True), (0.256, True), (0.254, False), (None, False)])
def test_a_stated_resolution_that_overrules_the_file_s_is_told(words, tmp_path, stating, mpp, is_told):
    """Where they differ by more than 2 %: on the error stream and in every file that has notes."""
    out = tmp_path / "out"
    told = mitosieve(*words, stating, *(() if mpp is None else ("--mpp", mpp)), "--out", out, "--report")
    assert told.code == 0, told.err
    note = f"{mpp} um per px, as --mpp or its cohort says, replaces 0.25 um per px that the file states"
    assert (note in told.err) == is_told
    assert (note in rows_of(out)[0]["note"]) == is_told
    assert (note in rows_of(out, "slides.csv")[0]["note"]) == is_told
    assert (note in facts_of(out)[0]["notes"]) == is_told
    assert (note in (out / "report.html").read_text()) == is_told
    assert (note in (out / "geojson" / "stating.geojson").read_text()) == is_told


def test_a_resumed_job_keeps_resolution_and_area(words, tmp_path, stating):
    """Another one is refused for slides that are done; one that failed for want of it is done, and the page with it."""
    out, table = tmp_path / "out", tmp_path / "mpp.csv"
    table.write_text(f"slide,mpp\n{images()[1].stem},0.25\n")
    job = (*words, stating, images()[1], "--out", out)
    told = mitosieve(*job, "--report")
    assert told.code == 1
    assert "states no resolution" in told.err
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    for more, name in (
        (("--mpp", 0.5), "--mpp: stating is done at 0.25 um per px"),
        (("--roi", an_area(tmp_path / "roi.geojson", 90)), "--roi: stating is done within another area, or none"),
    ):
        told = mitosieve(*job, *more, "--resume")
        assert told.code == 2
        assert f"was started with another {name}; resuming would mix two runs" in told.err
    assert before == {path: path.read_bytes() for path in before}
    assert "1 could not be done" in (out / "report.html").read_text()
    told = mitosieve(*job, "--mpp", table, "--resume")
    assert (told.code, told.result) == (0, out / "report.html"), told.err
    assert "2 of 2 slides" in (out / "report.html").read_text()
    assert mitosieve(*job, "--mpp", 0.25, "--resume").code == 0, "the same is used of both"
    assert mitosieve(*job, "--resume").code == 2, "the table is forgotten"


def test_the_remedy_for_another_resolution_leads_on(words, tmp_path):
    """One of two was done by a stated resolution. A table that forgets it is refused: with none, or the file's own, it
    would be another slide. The table that the refusal asks for does the other one and leaves this one as it was.
    """
    done, failed = tmp_path / "a.png", tmp_path / "b.png"
    done.write_bytes(images()[0].read_bytes())
    failed.write_bytes(b"no image")

    def job(mpp):
        return Scan(
            detector=words[2], items=items_of_images([done, failed], mpp=str(mpp), roi=None), out=tmp_path / "out",
            origin={}, compute=Compute.choose("cpu"), resume=True,
        )  # fmt: skip

    assert list(scan(job(0.25)).failed) == ["b"]
    failed.write_bytes(images()[1].read_bytes())
    part = next((tmp_path / "out" / "parts").glob("a.*.csv"))
    before, table = part.stat().st_mtime_ns, tmp_path / "mpp.csv"
    table.write_text("slide,mpp\nb,0.26\n")
    with pytest.raises(RunFolderError, match="names them and, as before, each slide that is done by a stated one"):
        scan(job(table))
    table.write_text("slide,mpp\nb,0.26\na,0.25\n")
    assert not scan(job(table)).failed
    assert (part.stat().st_mtime_ns, [row["mpp"] for row in rows_of(tmp_path / "out", "slides.csv")]) == (
        before, ["0.25", "0.26"],
    )  # fmt: skip


def test_a_page_stays_as_long_as_its_tables(words, tmp_path):
    """With those of its slides: a resume that finds all done leaves what somebody made of it, as the folds of a
    cross-validation; of tables that came out otherwise nothing stays, whoever made it.
    """
    mended = tmp_path / "b.png"
    mended.write_bytes(b"no image")
    job = Scan(
        detector=words[2], items=items_of_images([images()[0], mended], mpp="0.25", roi=None), out=tmp_path / "out",
        origin={}, compute=Compute.choose("cpu"), resume=True,
    )  # fmt: skip
    scan(job)
    pages = [tmp_path / "out" / name for name in ("report.html", "report-slides/a.html")]
    pages[1].parent.mkdir()
    for page in pages:
        page.write_text("of these tables and other folders")
    asked = json.loads((tmp_path / "out" / "detect.json").read_text())
    (tmp_path / "out" / "detect.json").write_text(json.dumps({**asked, "cohort": "/where/it/was"}))
    scan(job)
    assert [page.read_text() for page in pages] == ["of these tables and other folders"] * 2
    (tmp_path / "out" / "detect.json").write_text('{"cohort": nul')
    scan(job)  # what it asked for is written anew: broken it is of other tables, and no reason to fail at the end
    assert json.loads((tmp_path / "out" / "detect.json").read_text()) == asked
    assert not pages[0].exists()
    pages[1].parent.mkdir(exist_ok=True)
    for page in pages:
        page.write_text("of these tables and other folders")
    mended.write_bytes(images()[1].read_bytes())
    scan(job)
    assert not any(page.exists() for page in (*pages, pages[1].parent))
    assert not [item for item in (tmp_path / "out").iterdir() if item.name.endswith(".before")]


def test_a_page_that_is_made_again_says_so(words, tmp_path):
    """Nobody knows with which other folders it was made; where nothing changed it stays, unless it is asked for."""
    out, page = tmp_path / "out", tmp_path / "out" / "report.html"
    job = (*words, images()[0], "--mpp", 0.25, "--out", out)
    told = mitosieve(*job, "--report")
    assert "is made again" not in told.err
    page.write_text("<!doctype html> with others")
    told = mitosieve(*job, "--resume")
    assert (told.result, page.read_text()) == (page, "<!doctype html> with others")
    assert "is made again" not in told.err
    words = "note: report.html is made again, of this folder alone; with others beside it: mitosieve report"
    for harm in (lambda: (out / "summary.csv").write_text("lost\n"), lambda: page.rename(out / ".report.html.before")):
        harm()  # other tables; and a try that was interrupted among its tables
        told = mitosieve(*job, "--resume")
        assert (told.result, "with others" in page.read_text()) == (page, False)
        assert words in told.err
        page.write_text("<!doctype html> with others")


def test_where_all_failed_nothing_opens_in_qupath(words, tmp_path):
    """What comes next is to mend what failed."""
    told = mitosieve(*words, *images()[:2], "--out", tmp_path / "out")
    assert told.code == 1
    assert "QuPath" not in told.err
    assert "next: mend what the messages name" in told.err
