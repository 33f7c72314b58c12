"""The reviewed count beside the automatic one."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shapely

from layouts import files_below
from mitosieve.count.ground import Ground
from mitosieve.count.summary import SUMMARY_COLUMNS
from mitosieve.errors import FormatError, InputError, RunFolderError
from mitosieve.report import write_report
from mitosieve.review.agreement import agree
from mitosieve.review.cell import cells_of
from mitosieve.review.counted import reviewed_count
from mitosieve.review.log import DecisionLog
from mitosieve.review.marks import import_reviews
from mitosieve.review.result import FoundResult
from mitosieve.review.reviews import Reviews
from mitosieve.review.tables import save, summary_csv
from mitosieve.run.folder import write_atomic
from mitosieve.view.desk import Desk
from mitosieve.view.downloads import decisions_csv
from mitosieve.view.opening import open_viewed
from mitosieve.view.reviewing import judged_cells, known_readers
from reviewed_result import MPP, a_result, add, judge

NEAR = [(1000 + 40 * n, 1000, 0.9) for n in range(8)]
"""Eight figures of one region: one more than a score of 1 may have."""


def test_without_decisions_both_counts_are_the_detector_s(tmp_path):
    """Nothing judged: equal counts, all figures open, and those of the region decide its score."""
    far = [(7000, 5000, 0.8), (7100, 5000, 0.3)]
    result = a_result(tmp_path / "found", {"s": NEAR + far})
    count = reviewed_count(result, "s", [])
    assert count.automatic.row() == count.reviewed.row()
    assert (count.reviewed.hotspot.count, count.reviewed.score.score) == (8, 2)
    assert set(count.open) == set(result.ids[:9])
    assert set(count.deciding) == set(result.ids[:8])
    assert count.is_exact


def test_decisions_change_the_count_and_the_score(tmp_path):
    """Rejected figures leave, accepted candidates and added cells come; unsure is as the detector said, and open."""
    more = [(1400, 1000, 0.2), (7000, 5000, 0.8)]
    result = a_result(tmp_path / "found", {"s": NEAR + more, "t": NEAR})
    made = [judge(result, 0, "imposter"), judge(result, 1, "imposter"), judge(result, 8, "figure")]
    made += [judge(result, 2, "unsure"), add("s", 1200, 1100), add("s", 1200, 1200, "imposter"), add("t", 10, 10)]
    count = reviewed_count(result, "s", cells_of(made, {"s": MPP, "t": MPP}))
    assert (count.automatic.figures, count.reviewed.figures) == (9, 9)
    assert (count.rejected, count.accepted, count.added, count.judged) == (2, 1, 1, 4)
    assert (count.automatic.hotspot.count, count.reviewed.hotspot.count, count.in_hotspot) == (8, 8, 8)
    assert set(count.open) == set(result.ids[2:8]) | {result.ids[9]}
    made += [judge(result, row, "imposter") for row in range(2, 8)]
    count = reviewed_count(result, "s", cells_of(made, {"s": MPP, "t": MPP}))
    assert (count.reviewed.hotspot.count, count.reviewed.score.score) == (2, 1)
    assert count.deciding == ()
    assert count.row()["automatic_nottingham_mitotic_score"] == "2"


@pytest.mark.parametrize("row", [0, 8])
def test_adding_a_figure_on_a_detection_is_accepting_it(tmp_path, row):
    """Called or below the threshold: the same counts and the same cell, whether a reader judges it or adds a cell on
    it; and a second reader's vote joins the first one's.
    """
    result = a_result(tmp_path / "found", {"s": [*NEAR, (1400, 1000, 0.2)], "t": NEAR}, mpp_xy=(0.25, 0.5))
    x, y = result.detections.center_l0[row].tolist()
    by_verdict = [judge(result, row, "figure"), judge(result, row, "imposter", reader="ben")]
    by_adding = [add("s", x + 20, y - 8), judge(result, row, "imposter", reader="ben")]
    alone = [add("s", x + 20, y - 8), add("s", x - 18, y, "imposter", reader="ben")]
    counts = []
    for made in (by_verdict, by_adding, alone):
        told = Reviews.of(replace(result, decisions=made))
        (cell,) = told.cells
        assert (cell.key, cell.is_added, cell.score) == (result.ids[row], False, result.detections.score[row])
        assert (cell.x_px, cell.y_px, cell.votes) == (x, y, {"anna": "figure", "ben": "imposter"})
        counts.append(told.counts["s"])
    for count in counts[1:]:
        assert count.row() == counts[0].row()
        assert count.reviewed.row() == counts[0].reviewed.row()
        assert (count.open, count.deciding) == (counts[0].open, counts[0].deciding)
        assert count.detections.center_l0.tolist() == counts[0].detections.center_l0.tolist()


@pytest.mark.parametrize("verdict", ["figure", "imposter", "unsure"])
@pytest.mark.parametrize("row", [0, 8])
def test_a_verdict_takes_the_place_of_what_was_added_there(tmp_path, verdict, row):
    """Added on a detection and then judged by the same reader is judged alone, also beside another detection."""
    result = a_result(tmp_path / "found", {"s": [*NEAR, (1400, 1000, 0.2), (1410, 1000, 0.3)]})
    x, y = result.detections.center_l0[row].tolist()
    judged = judge(result, row, verdict)
    for others in ([], [judge(result, row, "figure", reader="ben")]):
        alone, both = ([*others, *made] for made in ([judged], [add("s", x - 2, y), judged]))
        counts = [Reviews.of(replace(result, decisions=made)).counts["s"].row() for made in (alone, both)]
        assert counts[0] == counts[1]


@pytest.mark.parametrize("score", [0.2, None])
def test_a_missed_figure_is_missed_where_a_candidate_lies_too(tmp_path, score):
    """A reader adds it, the other looked there and did not: one figure of which they disagree, whatever was kept."""
    points = [(1000, 1000, 0.9), *([] if score is None else [(1400, 1000, score)])]
    result = a_result(tmp_path / "found", {"s": points})
    made = [judge(result, 0, "figure"), judge(result, 0, "figure", reader="ben"), add("s", 1402, 1000)]
    cells = Reviews.of(replace(result, decisions=made)).cells
    both = agree(cells, "anna", "ben", {("ben", "s"): shapely.box(0, 0, 5000, 5000)})
    assert (both.first_by_second.tp, both.first_by_second.fn, both.first_by_second.fp) == (1, 1, 0)


def test_an_added_cell_away_from_detections_is_its_own(tmp_path):
    """Farther than 7.5 um along the slide's own um per px, on another slide, or where its reader judged the detection:
    a reader who rejected it and added beside it means another cell.
    """
    result = a_result(tmp_path / "found", {"s": [(1000, 1000, 0.9)], "t": []}, mpp_xy=(0.25, 0.5))
    for made in (
        [add("s", 1000, 1016)],
        [add("s", 1031, 1000)],
        [add("t", 1000, 1000)],
        [judge(result, 0, "imposter"), add("s", 1004, 1000)],
    ):
        assert [cell.is_added for cell in Reviews.of(replace(result, decisions=made)).cells][-1]


def test_a_figure_that_was_added_twice_counts_once(tmp_path):
    """By two clicks: beside all detections, on one that nobody judged, and on one that was called a figure."""
    result = a_result(tmp_path / "found", {"s": [(1000, 1000, 0.9), (3000, 1000, 0.2)]})
    for x, figures, added in ((2000, 2, 1), (1000, 1, 0), (3000, 2, 0)):
        told = Reviews.of(replace(result, decisions=[add("s", x, 1000), add("s", x + 6, 1004)])).counts["s"]
        assert (told.reviewed.figures, told.added) == (figures, added)


def test_a_figure_outside_the_searched_area_is_in_no_count(tmp_path):
    """Added beyond its area or in a hole of it: densities are of the tissue that was searched; at its edge it is
    counted; another slide's area is no matter, and a job that does not say searched the whole slide.
    """
    folder = a_result(tmp_path / "found", {"s": [(1000, 1000, 0.9)]}, tissue_mm2=1.0).folder
    made = [add("s", 2500, 1000), add("s", 2000, 1500), add("s", 300, 300), add("s", 1500, 1500)]
    request = json.loads((folder / "detect.json").read_text())
    area = shapely.box(0, 0, 2000, 2000).difference(shapely.box(200, 200, 400, 400))
    several = shapely.GeometryCollection([shapely.LineString([(0, 0), (9, 9)]), shapely.MultiPolygon([area])])
    one = json.loads(shapely.to_geojson(several))
    for stated, added in (([], 4), ([{"slides": ["t"], "area": one}], 4), ([{"slides": ["t", "s"], "area": one}], 2)):
        (folder / "detect.json").write_text(json.dumps({**request, "areas": stated}))
        told = Reviews.of(replace(FoundResult.load(folder), decisions=made)).counts["s"]
        assert (told.added, told.reviewed.figures, told.reviewed.density_per_mm2) == (added, added + 1, added + 1)
    for wrong in ("POLYGON", {"type": "Point", "coordinates": [1, 2]}, {"type": "Polygon", "coordinates": []}):
        (folder / "detect.json").write_text(json.dumps({**request, "areas": [{"slides": ["s"], "area": wrong}]}))
        with pytest.raises(FormatError, match=r"detect\.json.*areas are none"):
            FoundResult.load(folder)


def with_failed(folder, slide_id, why):
    """The result after `detect --resume` failed on a slide: its row has the error alone, its JSON is still there."""
    table = pd.read_csv(folder / "summary.csv", dtype=str, keep_default_na=False)
    table.loc[table.slide_id == slide_id, table.columns != "slide_id"] = ""
    table.loc[table.slide_id == slide_id, "error"] = why
    table.to_csv(folder / "summary.csv", index=False)
    table[["slide_id", "error"]].to_csv(folder / "slides.csv", index=False)
    found = pd.read_csv(folder / "detections.csv", dtype=str, keep_default_na=False)
    found[found.slide_id != slide_id].to_csv(folder / "detections.csv", index=False)
    return folder


FACTS = {
    "glass_mm2": "1.2000",
    "learnt_from": "breast",
    "test_f1": "0.7000",
    "test_f1_low": "0.5000",
    "test_f1_high": "0.8000",
    "test_f1_on": "two patients",
    "detector_warning": "tested on 2 patients",
    "strangeness": "3.100",
    "warning": "stain unlike the training's",
    "note": "JPEG of quality 30",
}


def test_what_a_review_does_not_change_is_as_the_job_said(tmp_path):
    """All columns of summary.csv but the counts: a warning that is gone would read as if nothing spoke against it."""
    result = a_result(tmp_path / "found", {"s": NEAR, "t": NEAR})
    table = pd.read_csv(result.folder / "summary.csv", dtype=str, keep_default_na=False)
    for name, value in FACTS.items():
        table[name] = table[name].astype(object)
        table.loc[0, name] = value
    table.to_csv(result.folder / "summary.csv", index=False)
    DecisionLog.beside(result.folder).append(judge(result, 0, "imposter"))
    again = FoundResult.load(result.folder)
    rows = list(csv.DictReader(io.StringIO(summary_csv(Reviews.of(again), again))))
    assert [row["figures"] for row in rows] == ["7", "8"]
    for row, stated in zip(rows, table.to_dict("records"), strict=True):
        told = reviewed_count(again, row["slide_id"], Reviews.of(again).cells).reviewed.row()
        for name in SUMMARY_COLUMNS:
            is_count = name.startswith(("figures", "hotspot", "nottingham"))
            assert row[name] == (told[name] if is_count else stated[name]), name


def test_a_slide_that_failed_when_the_job_was_repeated_is_told_as_failed(tmp_path):
    """Neither a slide of no figures nor none at all: the row says why. Its decisions count nowhere until it is done,
    nor in the viewer, which is told; those of the others are taken over.
    """
    (tmp_path / "image.svs").touch()
    paths = dict.fromkeys("st", str(tmp_path / "image.svs"))
    result = a_result(tmp_path / "found", {"s": NEAR, "t": NEAR}, paths=paths)
    for row, reader in ((0, "anna"), (8, "anna"), (9, "anna"), (8, "ben")):
        DecisionLog.beside(result.folder).append(judge(result, row, "imposter", reader=reader))
    again = FoundResult.load(with_failed(result.folder, "t", "cannot be\nread"))
    told = Reviews.of(again)
    assert list(told.counts) == ["s"]
    save(told, tmp_path / "tables", again)
    rows = list(csv.DictReader((tmp_path / "tables" / "reviewed-summary.csv").read_text().splitlines()))
    assert [(row["slide_id"], row["figures"], row["error"]) for row in rows] == [
        ("s", "7", ""),
        ("t", "", "cannot be read"),
    ]
    note = "3 decisions are left out, on slides that were not done: t (3)"
    assert (told.left_out, told.readers, len(told.cells)) == (note, ("anna",), 1)
    report = import_reviews(result.folder, tmp_path / "none", tmp_path / "new")
    assert (report.left_out, report.readers, report.total.imposters) == (note, ("anna",), 1)
    assert [entry.slide_id for entry in report.cohort.slides] == ["s"]
    desk = Desk(*open_viewed(result.folder), reader="ben")
    assert [(cell.slide_id, dict(cell.votes)) for cell in judged_cells(desk, None)] == [
        (cell.slide_id, dict(cell.votes)) for cell in told.cells
    ]
    assert known_readers(desk) == [{"reader": "ben", "decisions": 0}, {"reader": "anna", "decisions": 1}]
    assert len(decisions_csv(desk, "all").splitlines()) == 2
    assert "3 decisions are left out, on slides that were not done: t (3)." in write_report(result.folder).read_text()
    with pytest.raises(InputError, match=r"(?s)1 decision is left out, .*: t \(1\).*--resume"):
        import_reviews(result.folder, tmp_path / "none", tmp_path / "more", readers=("ben",))
    assert not (tmp_path / "more").exists()


def test_tables_are_not_written_over_a_run(tmp_path):
    """Neither over the result's own GeoJSON nor over that of another; nothing of it changes."""
    result = a_result(tmp_path / "found", {"s": NEAR})
    write_atomic(result.folder / "geojson" / "s.geojson", "automatic")
    DecisionLog.beside(result.folder).append(judge(result, 0, "imposter"))
    again, other = FoundResult.load(result.folder), a_result(tmp_path / "other", {"s": NEAR})
    for folder in (result.folder, other.folder):
        before = files_below(folder)
        with pytest.raises(InputError, match=r"(?s)was made by detect.*name another folder with --out"):
            save(Reviews.of(again), folder, again)
        assert files_below(folder) == before


def test_the_score_is_fixed_once_the_deciding_ones_are(tmp_path):
    """After all deciding detections are judged, no answer to the open others changes the score."""
    generator = np.random.default_rng(3)
    points = [(*generator.uniform(0, 5000, 2), 0.9) for _ in range(25)]
    result = a_result(tmp_path / "found", {"s": points}, size_l0=(5000, 5000))
    made = [judge(result, row, "figure") for row in range(4)]
    for verdict in ("figure", "imposter"):
        decided = [*made]
        while (count := reviewed_count(result, "s", cells_of(decided, {"s": MPP}))).deciding:
            decided += [judge(result, result.row_of[count.deciding[0]], verdict)]
        scores = set()
        for _ in range(30):
            answers = ["figure" if generator.random() < 0.5 else "imposter" for _ in count.open]
            rest = [judge(result, result.row_of[key], a) for key, a in zip(count.open, answers, strict=True)]
            scores.add(reviewed_count(result, "s", cells_of(decided + rest, {"s": MPP})).reviewed.score.score)
        assert scores == {count.reviewed.score.score}


def test_where_there_is_no_score_nothing_decides(tmp_path):
    """A slide with less tissue than the region has no score: no decision can change it."""
    result = a_result(tmp_path / "found", {"s": NEAR}, tissue_mm2=1.0)
    count = reviewed_count(result, "s", [])
    assert count.reviewed.score.score is None
    assert count.deciding == ()


def test_a_region_holds_what_the_search_counted(tmp_path):
    """Points counted inside a found region are as many as it says, for every shape."""
    generator = np.random.default_rng(4)
    points = [(*generator.uniform(0, 6000, 2), 0.9) for _ in range(60)]
    result = a_result(tmp_path / "found", {"s": points})
    for shape in ("square", "rectangle", "circle"):
        other = replace(result, counts=replace(result.counts, shape=shape))
        count = reviewed_count(other, "s", [])
        mm = other.findings("s", other.detections).figure_mm
        assert count.automatic.hotspot.holds(mm).sum() == count.automatic.hotspot.count > 3


def test_a_result_is_read_with_its_decisions(tmp_path):
    """Ids are those of the table, slides have their size; decisions are those beside the result."""
    made = a_result(tmp_path / "found", {"s": NEAR, "t": []}, paths={"s": "/x/s.svs"})
    DecisionLog.beside(tmp_path / "found").append(judge(made, 0, "figure"))
    result = FoundResult.load(tmp_path / "found")
    lines = (tmp_path / "found" / "detections.csv").read_text().splitlines()
    assert [line.split(",")[-1] for line in lines] == ["detection_id", *result.ids]
    assert len(result.decisions) == 1
    assert {name: str(slide.path) for name, slide in result.slides.items()} == {"s": "/x/s.svs", "t": "None"}


def test_what_is_no_result_is_refused(tmp_path):
    """A folder of something else and a broken summary are each one message."""
    with pytest.raises(RunFolderError, match="not a run folder"):
        FoundResult.load(tmp_path)
    a_result(tmp_path / "found", {"s": NEAR})
    (tmp_path / "found" / "summaries" / "s.json").write_text('{"slide_id": "s"}')
    with pytest.raises(FormatError, match=r"s\.json: is no summary"):
        FoundResult.load(tmp_path / "found")


def test_a_score_is_of_breast_alone_and_no_hotspot_has_no_numbers(tmp_path):
    """Where the job was told no tissue there is no score to change; less tissue than the area is a row without one."""
    result = a_result(tmp_path / "found", {"s": NEAR})
    unnamed = reviewed_count(replace(result, counts=replace(result.counts, tissue="")), "s", [])
    assert (unnamed.automatic.score.score, unnamed.reviewed.score.score, unnamed.deciding) == (None, None, ())
    assert unnamed.row()["automatic_hotspot_figures"] == "8"
    small = reviewed_count(a_result(tmp_path / "small", {"s": NEAR}, tissue_mm2=1.0), "s", []).row()
    assert (small["automatic_hotspot_figures"], small["reviewed_in_automatic_hotspot"]) == ("", "")


def test_a_reviewed_hotspot_has_the_tissue_of_where_it_lies_now(tmp_path):
    """As the automatic one: from the file of the slide; decisions that can bring a score or take it are deciding."""
    mask = np.zeros((375, 500), dtype=bool)
    mask[:60, :] = True  # 0.48 mm
    points = [(500 + 80 * k, 500 + 30 * (k % 5), 0.9) for k in range(12)]
    found = a_result(tmp_path / "found", {"s": points}, tissue_mm2=1.92 + 0.2, ground=Ground.of(mask, 8.0))
    again = replace(found, counts=replace(found.counts, area_mm2=2.0))
    count = reviewed_count(again, "s", [])
    held = count.automatic.hotspot.tissue_mm2
    assert 0.4 < held < 1.0
    assert count.reviewed.hotspot.tissue_mm2 == held
    assert float(count.reviewed.row()["hotspot_tissue_mm2"]) == pytest.approx(held, abs=1e-4)
    assert (count.reviewed.score.score, len(count.deciding), count.is_exact) == (None, 12, False)
    rejected = [judge(found, row, "imposter") for row in range(10)]
    after = reviewed_count(again, "s", cells_of(rejected, {"s": MPP}))
    assert after.reviewed.score.score == 1
