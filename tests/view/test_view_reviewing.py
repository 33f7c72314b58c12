"""Counts after decisions, agreement of readers and files to take away, through the door of a running viewer."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from found import DETECTOR_HASH, a_result, a_slide, some_detections
from serving import served
from shapely.geometry import shape

from mitosieve.annotation import Annotations
from mitosieve.audit.corrections import import_corrections
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.count.ground import Ground
from mitosieve.count.summary import read_summary
from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import InputError
from mitosieve.export.roi import read_roi
from mitosieve.export.table import write_detections
from mitosieve.review.decision import Decision
from mitosieve.review.log import DecisionLog
from mitosieve.review.marks import import_reviews
from mitosieve.review.result import FoundResult
from mitosieve.review.reviews import Reviews
from mitosieve.review.tables import save
from mitosieve.run.folder import kind_of
from mitosieve.run.layout import Kind
from mitosieve.view import downloads
from mitosieve.view.desk import Desk
from mitosieve.view.opening import open_viewed

VERDICTS = ("figure", "imposter", "unsure")
EVIL = "<img src=x onerror=alert(1)>"


def verdict(row, name, *, slide=0, how="gallery"):
    return {"kind": "verdict", "slide": slide, "row": row, "verdict": name, "how": how}


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def folder(tmp_path):
    return a_result(tmp_path / "found", names=("one",))


def figures():
    """How many of the first slide's cells the detector calls figures; by falling score they come first."""
    return int(some_detections("one").is_figure.sum())


def test_the_reviewed_count_is_the_automatic_one_with_what_was_decided(folder):
    """Rejected ones less, accepted and added ones more; unsure ones and undone decisions change nothing."""
    n = figures()
    with served(folder) as client:
        before = client.get("/api/slides/0/reviewed")
        assert before["automatic"]["figures"] == before["reviewed"]["figures"] == n
        client.decide(*(verdict(row, "imposter") for row in range(3)), verdict(3, "unsure"), verdict(4, "figure"))
        client.decide(verdict(n, "figure"), {"kind": "added", "slide": 0, "x": 700, "y": 500, "verdict": "figure"})
        last = client.decide(verdict(5, "imposter"))[1]["decisions"][0]
        client.decide({"kind": "undo", "id": last["id"]})
        after = client.get("/api/slides/0/reviewed")
    assert (after["rejected"], after["accepted"], after["added"]) == (3, 1, 1)
    assert after["reviewed"]["figures"] == n - 3 + 1 + 1
    assert after["automatic"] == before["automatic"]
    assert after["open"] == n - 3 - 1


def test_tissue_in_the_hotspot_is_what_the_job_measured(tmp_path):
    """Beside the count at any threshold and after review; a score needs enough of it, and the reason says how much."""
    folder = a_result(tmp_path / "half", names=("one",), size=(6000, 5800), n=18, area_mm2=2.0)
    path = folder / "summaries" / "one.json"
    with served(folder) as client:
        whole = client.get("/api/slides/0/count")
    assert whole["hotspot"]["tissue_mm2"] is None
    strip = np.ones((182, 188), dtype=np.bool_)
    strip[:, 60:] = False
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"ground": Ground.of(strip, 8.0).to_json()}))
    with served(folder) as client:
        count = client.get("/api/slides/0/count")
        reviewed = client.get("/api/slides/0/reviewed")
    held = count["hotspot"]["tissue_mm2"]
    assert 0 < held < 0.7
    assert count["hotspot"]["figures"] == whole["hotspot"]["figures"]
    for part in ("automatic", "reviewed"):
        assert reviewed[part]["hotspot"]["tissue_mm2"] == held
        assert reviewed[part]["score"] == count["nottingham_mitotic_score"]["score"]
    assert whole["nottingham_mitotic_score"]["score"] == 2
    assert f"{held:.3g} of the hotspot's 2 mm2 are tissue" in count["nottingham_mitotic_score"]["reason"]


def test_a_figure_added_on_a_detection_is_counted_once(folder):
    """On one that is called a figure nothing changes but that it is judged; on a candidate it is accepted; and the
    files have one cell, the detection.
    """
    n, found = figures(), some_detections("one")
    falling = found.center_l0[np.argsort(-found.score)]
    with served(folder) as client:
        for row in (0, n):
            x, y = falling[row].tolist()
            client.decide({"kind": "added", "slide": 0, "x": x + 2, "y": y, "verdict": "figure"})
        after = client.get("/api/slides/0/reviewed")
        cells = rows_of(client.ask("/api/files/decisions.csv")[2].decode())
    assert (after["accepted"], after["added"], after["judged"]) == (1, 0, 2)
    assert after["reviewed"]["figures"] == n + 1
    assert [cell["added"] for cell in cells] == ["no", "no"]
    assert [float(cell["x_px"]) for cell in cells] == [falling[row][0] for row in (0, n)]


def test_what_can_still_change_the_score_is_named_by_row(tmp_path):
    """On a slide with tissue enough: deciding ones are rows of open figures, and none is left in the end."""
    folder = a_result(tmp_path / "large", names=("one",), size=(6000, 5800), n=26, area_mm2=2.0)
    with served(folder) as client:
        told = client.get("/api/slides/0/reviewed")
        assert told["automatic"]["score"] in (1, 2, 3)
        assert told["deciding"]
        assert all(isinstance(row, int) and row < told["automatic"]["figures"] for row in told["deciding"])
        for _ in range(40):
            told = client.get("/api/slides/0/reviewed")
            if not told["deciding"]:
                break
            client.decide(verdict(told["deciding"][0], "imposter"))
        assert told["deciding"] == []
        assert told["reviewed"]["score"] is not None


def test_the_tables_say_what_was_decided(folder):
    """summary.csv has reviewed and automatic numbers, decisions.csv a row a judged cell."""
    with served(folder, reader="Ada") as client:
        client.decide(
            verdict(0, "imposter"),
            verdict(1, "figure"),
            {"kind": "added", "slide": 0, "x": 9.5, "y": 8.25, "verdict": "figure"},
        )
        summary = rows_of(client.ask("/api/files/summary.csv")[2].decode())
        table = rows_of(client.ask("/api/files/decisions.csv")[2].decode())
    assert int(summary[0]["figures"]) == figures()
    assert int(summary[0]["automatic_figures"]) == figures()
    assert (summary[0]["rejected"], summary[0]["accepted"], summary[0]["added"]) == ("1", "0", "1")
    assert [row["verdict"] for row in table] == ["imposter", "mitotic figure", "mitotic figure"]
    assert [row["added"] for row in table] == ["no", "no", "yes"]
    assert table[2]["x_px"] == "9.500"
    assert {row["votes"] for row in table} == {"Ada: imposter", "Ada: figure"}


def test_the_reviewed_summary_keeps_what_the_job_says_of_a_slide(folder):
    """What warns of it, and all that a review does not change, as `reviews` keeps it."""
    table = pd.read_csv(folder / "summary.csv", dtype=str, keep_default_na=False)
    facts = {"warning": "unlike the training's", "note": "JPEG", "glass_mm2": "1.2000", "test_f1": "0.7000"}
    for name, value in facts.items():
        table[name] = value
    table.to_csv(folder / "summary.csv", index=False)
    with served(folder) as client:
        client.decide(verdict(0, "imposter"))
        (row,) = rows_of(client.ask("/api/files/summary.csv")[2].decode())
    counts = ("figures", "hotspot", "nottingham")
    stated = {name: value for name, value in table.iloc[0].items() if not name.startswith(counts)}
    assert {name: row[name] for name in stated} == stated
    assert int(row["figures"]) == figures() - 1


def test_qupath_gets_what_was_decided(folder):
    """Points half a px aside, as QuPath has them; classes by decision; ids of the result; the hotspot as an area."""
    found = some_detections("one")
    order = np.argsort(-found.score, kind="stable")
    names = [detection_ids(found, DETECTOR_HASH)[row] for row in order.tolist()]
    with served(folder) as client:
        client.decide(verdict(0, "imposter"), verdict(1, "figure"), verdict(2, "unsure"))
        status, headers, body = client.ask("/api/slides/0/geojson")
    assert status == 200
    assert headers["content-disposition"] == 'attachment; filename="one.geojson"'
    features = json.loads(body)["features"]
    by_id = {feature.get("id"): feature for feature in features}
    classes = {name: by_id[name]["properties"]["classification"]["name"] for name in names[: figures()]}
    assert [classes[name] for name in names[:4]] == ["Imposter", "Mitotic figure", "Unsure", "Mitotic figure"]
    assert by_id[names[0]]["geometry"]["coordinates"] == pytest.approx(found.center_l0[order[0]] + 0.5, abs=1e-3)
    assert len(classes) == figures()
    assert by_id[names[1]]["properties"]["objectType"] == "annotation"
    areas = [feature for feature in features if feature["geometry"]["type"] == "Polygon"]
    assert len(areas) == 1
    assert shape(areas[0]["geometry"]).is_valid
    (folder / "spot.geojson").write_text(json.dumps(areas[0]))
    assert read_roi(folder / "spot.geojson").area > 0


def added(client, x, y, name):
    """Add a figure, and judge it."""
    (made,) = client.decide({"kind": "added", "slide": 0, "x": x, "y": y, "verdict": "figure"})[1]["decisions"]
    client.decide({"kind": "verdict", "slide": 0, "key": made["key"], "verdict": name})


def of_a_cohort(folder, places, size=(1500, 1100)):
    """One real slide that the cohort has, with a mark at each place that has a label."""
    a_slide(folder / "one.tif", width=size[0], height=size[1])
    marks = [(x, y, label) for x, y, label in places if label != "background"]
    entry = SlideEntry(
        slide_id="one", path="one.tif", case_id="one", domain="d", mpp=0.25, width_l0=size[0], height_l0=size[1]
    )
    labels = [label for *_, label in marks]
    found = Annotations.of(slide_id=["one"] * len(marks), center_l0=[m[:2] for m in marks], label=labels, source="x")
    Cohort(folder, (entry,), found).save()
    return folder


def of_an_audit(folder, cohort, places):
    """Marks of the cohort, and places without one."""
    folder.mkdir()
    rows, mark = [], 0
    for rank, (x, y, label) in enumerate(places):
        rows.append(f"{rank},one,{x:.2f},{y:.2f},{label},0.5,{'' if label == 'background' else mark}")
        mark += label != "background"
    (folder / "audit.csv").write_text("\n".join(["rank,slide_id,x,y,label,suspicion,mark", *rows, ""]))
    facts = {"path": str(cohort / "one.tif"), "mpp": 0.25}
    (folder / "audit.json").write_text(json.dumps({"slides": {"one": facts}}))
    return folder


def marks_of_each(source, cohort, folder):
    """Marks that `import reviews` makes of the decisions, and `import corrections` of each file for QuPath: that of the
    folder, which the viewer wrote, and of a result that of `reviews --out`.
    """
    now = datetime(2026, 1, 2, tzinfo=UTC)
    files = [folder / "one.geojson"]
    if kind_of(source) is Kind.DETECT:
        result = FoundResult.load(source)
        files.append(save(Reviews.of(result), folder / "tables", result) / "geojson")
    made = [import_reviews(source, cohort, folder / "by-reviews").cohort]
    made += [
        import_corrections(file, cohort, folder / f"by-qupath-{number}", now=now).cohort
        for number, file in enumerate(files)
    ]
    return [
        sorted((round(x, 2), round(y, 2), label) for (x, y), label in zip(one.center_l0, one.label, strict=True))
        for one in (cohort.annotations for cohort in made)
    ]


@pytest.mark.parametrize("kind", ["result", "audit", "cohort"])
def test_what_was_decided_comes_back_from_qupath_as_from_the_decisions(tmp_path, kind):
    """Of a result, an audit and a cohort: `import corrections` makes of the files for QuPath the marks that `import
    reviews` makes of the decisions; what nobody is sure of, or readers disagree about, is no mark of either.
    """
    labels = ["mitotic figure", "imposter", *(["background"] if kind == "audit" else [])]
    places = [(60.0 * (n + 1), 60.0 * (n + 1), labels[n % len(labels)]) for n in range(12)]
    cohort = of_a_cohort(tmp_path / "cohort", [] if kind == "result" else places)
    source = cohort
    if kind == "result":
        source = a_result(tmp_path / "found", names=("one",), n=12)
    if kind == "audit":
        source = of_an_audit(tmp_path / "audit", cohort, places)
    words = ["figure", "imposter", "unsure", "figure", "imposter", "figure", "imposter", "unsure", "imposter"]
    with served(source, reader="B") as client:
        client.decide(verdict(8, "figure"))
    with served(source) as client:
        client.decide(*(verdict(row, word) for row, word in enumerate(words)), verdict(11, "imposter"))
        for x, word in ((1200.0, "figure"), (1300.0, "imposter"), (1400.0, "unsure")):
            added(client, x, 900.0, word)
        text = client.ask("/api/slides/0/geojson?readers=all")[2]
    (tmp_path / "one.geojson").write_bytes(text)
    assert {"Unsure", *(["Background"] if kind == "audit" else [])} <= {
        feature["properties"]["classification"]["name"] for feature in json.loads(text)["features"]
    }
    marks = marks_of_each(source, cohort, tmp_path)
    assert all(one == marks[0] for one in marks)
    assert len(marks) == (3 if kind == "result" else 2)
    assert len(marks[0]) > len(Cohort.load(cohort).annotations)


def decided_by_lot(source, generator):
    """Two readers judge a part of the cells, and add some; the file for QuPath of both."""
    for reader in "AB":
        desk = Desk(*open_viewed(source), reader=reader)
        for row in range(len(desk.cells)):
            word = generator.choice(["figure", "imposter", "unsure", ""])
            if word:
                desk.decide([verdict(row, word)])
        for x, y in generator.choice(60, (2, 2), replace=False) + (0.25 if reader == "A" else 0.75):
            try:
                (made,) = desk.decide([{"kind": "added", "slide": 0, "x": x, "y": y, "verdict": "figure"}])
            except InputError:  # the same cell as the reader's other one
                continue
            desk.decide([{"kind": "verdict", "slide": 0, "key": made["key"], "verdict": generator.choice(VERDICTS)}])
    return downloads.geojson(desk, 0, "all")


@pytest.mark.parametrize("kind", ["result", "audit", "cohort"])
def test_what_was_decided_comes_back_from_qupath_however_near_cells_lie(tmp_path, kind):
    """Small arrangements by lot, in which a mark has several cells within reach: both imports give equal marks."""
    changed = 0
    for seed in range(40):
        here, generator = tmp_path / str(seed), np.random.default_rng(seed)
        lot = generator.choice(60 * 60, 8, replace=False)
        points = [(float(n % 60), float(n // 60)) for n in lot.tolist()]
        labels = generator.choice(["mitotic figure", "imposter"], 3).tolist()
        places = [(*point, label) for point, label in zip(points[:3], labels, strict=True)]
        cohort = of_a_cohort(here / "cohort", places, size=(100, 80))
        source = cohort
        if kind == "result":
            source = a_result(here / "found", names=("one",), n=5, size=(100, 80))
            score = generator.uniform(0, 1, 5).round(6)
            cells = Detections.of(slide_id=["one"] * 5, center_l0=points[3:], score=score, threshold=0.5)
            write_detections(source / "detections.csv", cells, detector=DETECTOR_HASH)
        if kind == "audit":
            source = of_an_audit(here / "audit", cohort, [*places, *((x, y, "background") for x, y in points[3:5])])
        (here / "one.geojson").write_text(decided_by_lot(source, generator))
        marks = marks_of_each(source, cohort, here)
        assert all(one == marks[0] for one in marks), seed
        changed += any(one not in marks[0] for one in places)
    assert changed > 5


def test_every_judged_cell_stands_on_the_page_to_keep(folder):
    """Whatever it was judged, found or added; each once; copied as text its score and its slide are two words."""
    with served(folder) as client:
        client.decide(*(verdict(row, word) for row, word in enumerate(("figure", "imposter", "unsure"))))
        for x, word in ((200.0, "figure"), (600.0, "imposter"), (1000.0, "unsure")):
            added(client, x, 9.0, word)
        judged = rows_of(client.ask("/api/files/decisions.csv")[2].decode())
        page = client.ask("/api/files/report.html")[2].decode()
    assert len(judged) == 6
    assert [int(number) for number in re.findall(r"<h2>[^<]*: (\d+)</h2>", page)] == [1, 1, 2, 2]
    assert page.count('<figure class="cell">') == 6
    assert re.search(r"</b> <span", page)
    assert not re.search(r"</(b|span)><(b|span)", page[page.index('<figure class="cell">') :])


def test_a_name_is_text_in_every_file_and_answer(tmp_path):
    """A slide or a reader may be called anything, as `<img onerror>`; nothing becomes HTML, a formula or a header."""
    folder = a_result(tmp_path / "found", names=(EVIL,))
    with served(folder, reader="=cmd|' /C calc'!A0") as client:
        client.decide(verdict(0, "figure"))
        page = client.ask("/api/files/report.html")[2].decode()
        table = rows_of(client.ask("/api/files/decisions.csv")[2].decode())
        disposition = client.ask("/api/slides/0/geojson")[1]["content-disposition"]
        assert client.get("/api/session")["slides"][0]["name"] == EVIL
    assert EVIL not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<script" not in page
    assert table[0]["votes"].startswith("'=")
    assert "<" not in disposition


def test_numbers_and_names_of_tables_stay_what_they_are(tmp_path):
    """A summary.csv of the page is read as the job's is, numbers below 0 too; a name that is a number is no formula."""
    folder = a_result(tmp_path / "found", names=("-1", "+2.5e3"), area_mm2=0.09)
    wanted = read_summary(folder)
    assert any(row.values[name].startswith("-") for row in wanted for name in ("hotspot_x", "hotspot_y"))
    with served(folder, reader="-7") as client:
        client.decide(verdict(0, "figure"))
        text = client.ask("/api/files/summary.csv")[2]
        votes = [row["votes"] for row in rows_of(client.ask("/api/files/decisions.csv")[2].decode())]
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "summary.csv").write_bytes(text)
    for found, row in zip(read_summary(tmp_path / "again"), wanted, strict=True):
        for name in ("slide_id", "mpp_x", "width", "figures", "hotspot_x", "hotspot_y", "hotspot_figures"):
            assert found.values[name] == row.values[name], name
    assert votes == ["'-7: figure"]  # text that begins like a formula, and is no number


@pytest.mark.parametrize("name", ["胃癌-12", "肝癌-12", "a slide.1", "x" * 140, "Übersicht; filename=y", "plain-1"])
def test_a_slide_s_name_comes_back_from_its_file(tmp_path, name):
    """As a browser reads the header (RFC 6266), also where its letters are none of ASCII."""
    folder = a_result(tmp_path / "found", names=(name,))
    with served(folder) as client:
        told = client.ask("/api/slides/0/geojson")[1]["content-disposition"]
    _, plain, *exact = told.split("; ")
    assert re.fullmatch(r'filename="[A-Za-z0-9._-]+"', plain)
    if exact:
        (encoded,) = exact
        assert encoded.startswith("filename*=UTF-8''")
        assert encoded.isascii()
        assert unquote(encoded.removeprefix("filename*=UTF-8''"), errors="strict") == f"{name}.geojson"
    else:
        assert plain == f'filename="{name}.geojson"'


def test_the_page_stands_alone(folder):
    """It holds both counts and the pictures, and fetches nothing."""
    with served(folder, reader="Ada") as client:
        client.decide(verdict(0, "imposter"), verdict(1, "figure"))
        page = client.ask("/api/files/report.html")[2].decode()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "Ada" in page
    assert "Research use only" in page
    assert "http://" not in page
    assert "https://" not in page
    assert re.search(rf">{figures()}</td><td[^>]*><strong>{figures() - 1}</strong></td>", page)


def test_agreement_is_that_of_both_readers_decisions(folder):
    """Counts, kappa and F1 by hand; disagreements are rows that a page can show, figures against imposters first."""
    first = ["figure", "figure", "imposter", "imposter", "unsure", "figure"]
    second = ["figure", "imposter", "imposter", "figure", "figure", "figure"]
    for reader, words in (("A", first), ("B", second)):
        with served(folder, reader=reader) as client:
            client.decide(*(verdict(row, word) for row, word in enumerate(words)))
    with served(folder, reader="C") as client:
        told = client.get("/api/agreement?first=A&second=B")
        readers = client.get("/api/readers")["readers"]
    assert told["both"] == 6
    assert [told["counts"]["figure"][word] for word in ("figure", "imposter")] == [2, 1]
    assert told["counts"]["unsure"]["figure"] == 1
    assert told["kappa"] == pytest.approx(
        (3 / 5 - (3 / 5 * 3 / 5 + 2 / 5 * 2 / 5)) / (1 - (3 / 5 * 3 / 5 + 2 / 5 * 2 / 5))
    )
    assert told["first_by_second"]["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert [item["row"] for item in told["disagreements"]] == [1, 3, 4]
    assert [item["reader"] for item in readers] == ["C", "A", "B"]
    assert [item["decisions"] for item in readers] == [0, 6, 6]


def test_a_reader_s_own_vote_is_told_to_be_replaced(folder):
    """Of a cell that both judged the id that this reader's vote is about; a verdict about it settles, and adds none."""
    x, y = some_detections("one").center_l0[np.argsort(-some_detections("one").score, kind="stable")[0]].tolist()
    with served(folder, reader="A") as client:
        client.decide(verdict(0, "imposter"))
        client.decide({"kind": "added", "slide": 0, "x": 700.0, "y": 500.0, "verdict": "figure"})
    with served(folder, reader="B") as client:
        added = client.decide(
            {"kind": "added", "slide": 0, "x": x + 4, "y": y, "verdict": "figure"},
            {"kind": "added", "slide": 0, "x": 704.0, "y": 500.0, "verdict": "figure"},
        )[1]["decisions"]
        client.decide({"kind": "verdict", "slide": 0, "key": added[1]["key"], "verdict": "imposter"})
        told = client.get("/api/agreement?first=A&second=B")["disagreements"]
        assert [(item["row"], item["own"]) for item in told] == [(0, added[0]["key"]), (None, added[1]["key"])]
        for item, word in zip(told, ("imposter", "figure"), strict=True):
            client.decide({"kind": "verdict", "slide": 0, "key": item["own"], "verdict": word})
        assert client.get("/api/agreement?first=A&second=B")["number"] == 0
        count = client.get("/api/slides/0/reviewed?readers=all")
        assert (count["rejected"], count["added"]) == (1, 1)
        assert [item["decisions"] for item in client.get("/api/readers")["readers"]] == [2, 2]
    with served(folder, reader="C") as client:
        assert client.get("/api/agreement?first=A&second=B")["disagreements"] == []


def test_decisions_on_a_slide_that_is_gone_are_passed_over(tmp_path):
    """Counts, tables and agreement are those of the slides that are here."""
    folder = a_result(tmp_path / "found", names=("one",))
    for reader in ("A", "B"):
        gone = Decision.now(kind="added", slide_id="gone", reader=reader, how="slide", x_px=9, y_px=9, verdict="figure")
        DecisionLog.beside(folder).append(gone)
    with served(folder) as client:
        client.decide(verdict(0, "imposter"))
        assert client.get("/api/slides/0/reviewed")["rejected"] == 1
        for name in ("summary.csv", "decisions.csv"):
            assert [row["slide_id"] for row in rows_of(client.ask(f"/api/files/{name}")[2].decode())] == ["one"]
        assert client.ask("/api/files/report.html")[0] == 200
        status, _, told = client.ask("/api/agreement?first=A&second=B")
        assert (status, b"two readers who have decided something" in told) == (400, True)
    with served(folder, reader="B") as client:
        client.decide(verdict(0, "imposter"))
        assert client.get("/api/agreement?first=A&second=B")["both"] == 1


def test_only_what_stands_is_counted_of_a_reader(folder):
    """Neither what was undone or decided again, nor areas that were looked through."""
    corners = [[0, 0], [90, 0], [90, 90]]
    with served(folder) as client:
        client.decide(*(verdict(0, word) for word in ("figure", "imposter")), verdict(1, "figure"))
        client.decide({"kind": "looked", "slide": 0, "area": corners})
        last = client.decide(verdict(2, "figure"))[1]["decisions"][0]
        client.decide({"kind": "undo", "id": last["id"]})
        assert client.get("/api/readers")["readers"] == [{"reader": "A", "decisions": 2}]


def test_a_third_reader_settles(folder):
    """By majority; of all readers together only where the page asks for it."""
    for reader, word in (("A", "figure"), ("B", "imposter"), ("C", "imposter")):
        with served(folder, reader=reader) as client:
            client.decide(verdict(0, word))
            own = client.get("/api/slides/0/reviewed")["rejected"]
            together = rows_of(client.ask("/api/files/summary.csv?readers=all")[2].decode())[0]["rejected"]
        assert own == (word == "imposter")
    assert together == "1"
    assert len(DecisionLog.beside(folder).read()) == 3


@pytest.mark.parametrize("query", ["first=A&second=A", "first=A&second=nobody", "", "first=../x&second=A"])
def test_only_readers_who_decided_are_compared(folder, query):
    """Others are refused."""
    with served(folder) as client:
        client.decide(verdict(0, "figure"))
        assert client.ask(f"/api/agreement?{query}")[0] == 400


@pytest.mark.parametrize("name", ["x.csv", "decisions.jsonl", "..%2fdetect.json", "%2e%2e"])
def test_other_files_are_not_handed_out(folder, name):
    """Of the result's folder none."""
    with served(folder) as client:
        assert client.ask(f"/api/files/{name}")[0] in (400, 404)
