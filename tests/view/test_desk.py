"""Decisions through the door: what is written is what a page meant, of this reader, of cells that are there."""

import json
import re
import threading
from html import unescape
from urllib.parse import quote

import numpy as np
import pytest
from found import DETECTOR_HASH, a_result, some_detections
from serving import served, serving

from mitosieve.detection import detection_ids
from mitosieve.review.log import DecisionLog, standing
from mitosieve.view.desk import Desk
from mitosieve.view.opening import open_viewed
from mitosieve.view.viewed import Cells, Kind, Viewed, ViewedSlide


@pytest.fixture
def folder(tmp_path):
    return a_result(tmp_path / "found")


def lines(folder):
    return [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]


def test_a_verdict_is_of_the_cell_that_the_page_showed(folder):
    """Its id, place and score are those of the table, whatever order the page has; who, when and how are there."""
    with served(folder, reader="Ada") as client:
        cell = client.get("/api/cells?slide=1&local=7")[0]
        status, answer = client.decide(
            {"kind": "verdict", "slide": 1, "row": 7, "verdict": "imposter", "how": "gallery"}
        )
        assert status == 200
        assert answer["decisions"][0]["row"] == 7
    written = lines(folder)[0]
    found = some_detections("two", seed=1)
    row = int(np.argsort(-found.score, kind="stable")[7])
    assert written["detection_id"] == detection_ids(found, DETECTOR_HASH)[row]
    assert [written["x_px"], written["y_px"]] == found.center_l0[row].tolist() == [cell["x"], cell["y"]]
    assert written["score"] == found.score[row] == cell["score"]
    assert (written["slide_id"], written["reader"], written["how"]) == ("two", "Ada", "gallery")
    assert written["detector"] == DETECTOR_HASH
    assert written["at"].endswith("+00:00")


def test_a_decision_is_told_back_with_the_row_it_was_made_on(tmp_path):
    """Wherever a cell lies: places of four decimals that end in 5 too, which may be rounded either way, by this version
    or by one before.
    """
    generator = np.random.default_rng(0)
    places = (generator.integers(0, 10**9, (100, 2)) * 10 + 5) / 1e4
    beside = places[:20] + np.array([0.001, 0])
    places = np.concatenate([places, beside, generator.uniform(0, 1e5, (20, 2)), [[75240.1415, 0.0]]])
    names = [f"cell {number}" for number in range(len(places))]
    cells = Cells(
        slide=np.zeros(len(places), np.int32),
        center_l0=places,
        score=np.full(len(places), np.nan),
        call=np.zeros(len(places), np.uint8),
        names=lambda rows: [names[row] for row in rows.tolist()],
    )
    slide = ViewedSlide(slide_id="s", path=None, mpp=0.25)
    viewed = Viewed(kind=Kind.COHORT, name="c", folder=tmp_path, slides=(slide,))
    desk = Desk(viewed, lambda: cells, reader="Ada")
    for row in range(len(places)):
        (told,) = desk.decide([{"kind": "verdict", "slide": 0, "row": row, "verdict": "figure"}])
        assert told["row"] == row
        x, y = (round(value, 3) for value in places[row].tolist())
        assert desk.row_at(0, x, y, names[row]) == row
        assert desk.row_at(0, x + 0.01, y, names[row]) is None
    assert desk.verdict_of_row() == dict.fromkeys(range(len(places)), "figure")


def test_a_page_says_only_what_a_page_may(folder):
    """Who decides, which detector and which score are not taken from it."""
    with served(folder, reader="Ada") as client:
        said = {
            "reader": "Eve",
            "score": 0.5,
            "detector": "x",
            "id": "0" * 32,
            "slide_id": "../x",
            "at": "1999-01-01T00:00:00+00:00",
        }
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure", **said})
    written = lines(folder)[0]
    assert (written["reader"], written["slide_id"], written["detector"]) == ("Ada", "one", DETECTOR_HASH)
    assert written["score"] != 0.5
    assert written["id"] != "0" * 32


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "verdict", "slide": 9, "row": 0, "verdict": "figure"},
        {"kind": "verdict", "slide": 0, "row": 60, "verdict": "figure"},
        {"kind": "verdict", "slide": 0, "row": -1, "verdict": "figure"},
        {"kind": "verdict", "slide": 0, "row": 1.5, "verdict": "figure"},
        {"kind": "verdict", "slide": "0; drop", "row": 0, "verdict": "figure"},
        {"kind": "verdict", "slide": 0, "row": True, "verdict": "figure"},
        {"kind": "verdict", "slide": 0, "row": 0, "verdict": "mitosis"},
        {"kind": "verdict", "slide": 0, "row": 0},
        {"kind": "verdict", "slide": 0, "key": "0" * 32, "verdict": "figure"},
        {"kind": "added", "slide": 0, "x": "1", "y": 2, "verdict": "figure"},
        {"kind": "added", "slide": 0, "x": 1e300, "y": -4, "verdict": "figure"},
        {"kind": "added", "slide": 0, "verdict": "figure"},
        {"kind": "undo", "id": "0" * 32},
        {"kind": "looked", "slide": 0, "area": [[0, 0]]},
        {"kind": "looked", "slide": 0, "area": "everything"},
        {"kind": "other", "slide": 0},
        {},
        [],
        "figure",
        None,
    ],
)
def test_what_is_no_decision_is_refused_and_nothing_is_written(folder, asked):
    """Nor are those that were sent with it."""
    with served(folder) as client:
        status, answer = client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"}, asked)
        assert status == 400
        assert answer["error"]
        assert str(folder.parent) not in answer["error"]
    assert not (folder / "decisions.jsonl").exists()


def test_undo_takes_back_and_brings_back(folder):
    """What a page is told then stands as the file has it; the file has only grown."""
    with served(folder) as client:
        for verdict in ("figure", "imposter"):
            client.decide({"kind": "verdict", "slide": 0, "row": 3, "verdict": verdict})
        last = client.get("/api/decisions")["decisions"][-1]
        client.decide({"kind": "undo", "id": last["id"]})
        told = client.get("/api/decisions")["decisions"]
    assert [item["kind"] for item in told] == ["verdict", "verdict", "undo"]
    stands = standing(DecisionLog.beside(folder).read(), "A")
    assert [item.verdict for item in stands.values()] == ["figure"]


def test_an_added_figure_may_be_judged_again(folder):
    """By its own id; it has no row."""
    with served(folder) as client:
        _, answer = client.decide(
            {"kind": "added", "slide": 0, "x": 100.5, "y": 200.25, "verdict": "figure", "how": "slide"}
        )
        key = answer["decisions"][0]["key"]
        assert answer["decisions"][0]["row"] is None
        client.decide({"kind": "verdict", "slide": 0, "key": key, "verdict": "imposter"})
    stands = standing(DecisionLog.beside(folder).read(), "A")
    assert stands[key].verdict == "imposter"
    assert (stands[key].x_px, stands[key].y_px) == (100.5, 200.25)


def test_a_figure_is_added_once(folder):
    """By two clicks, two tabs at once, or a script: within 7.5 um of what this reader added it is refused, with words;
    what was taken back is none, another reader's is none.
    """
    here, near, far = ({"kind": "added", "slide": 0, "x": x, "y": 200, "verdict": "figure"} for x in (100, 129, 131))
    with served(folder, reader="A") as client, served(folder, reader="B") as other:
        assert client.decide(here, near)[0] == 400
        _, answer = client.decide(here)
        status, refused = client.decide(near)
        assert (status, refused["refused"]) == (400, True)
        assert refused["error"].startswith("there is one already here")
        assert [client.decide(far)[0], other.decide(near)[0]] == [200, 200]
        client.decide({"kind": "undo", "id": answer["decisions"][0]["id"]})
        assert client.decide(here)[0] == 200
        clicks = [threading.Thread(target=client.decide, args=({**here, "x": 600 + k},)) for k in range(6)]
        for click in clicks:
            click.start()
        for click in clicks:
            click.join()
    assert sum(line.get("x_px", 0) >= 600 for line in lines(folder)) == 1


def test_a_reader_does_not_see_what_another_decided(folder):
    """Neither their verdicts nor how many; nor can one undo what the other did."""
    with served(folder, reader="A") as client:
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"})
        own = client.get("/api/decisions")["decisions"][0]["id"]
    with served(folder, reader="B") as client:
        assert client.get("/api/decisions")["decisions"] == []
        assert len(client.ask("/api/order?decided=figure")[2]) == 0
        assert client.decide({"kind": "undo", "id": own})[0] == 400
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "imposter"})
        assert len(client.get("/api/decisions")["decisions"]) == 1
    assert {line["reader"] for line in lines(folder)} == {"A", "B"}


def test_two_pages_at_once_lose_nothing(folder):
    """Two servers of one result, four tabs, each deciding as fast as it can: every decision is a line of its own."""
    answers = []
    with served(folder, reader="A") as one, served(folder, reader="B") as other:

        def tab(client, slide):
            for row in range(15):
                answers.append(client.decide({"kind": "verdict", "slide": slide, "row": row, "verdict": "figure"})[0])

        tabs = [threading.Thread(target=tab, args=(client, slide)) for client in (one, other) for slide in (0, 1)]
        for thread in tabs:
            thread.start()
        for thread in tabs:
            thread.join()
    assert answers == [200] * 60
    assert len({line["id"] for line in lines(folder)}) == 60


def test_a_page_is_told_only_what_is_new(folder):
    """By the offset that it was given."""
    with served(folder) as client:
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"})
        offset = client.get("/api/decisions")["offset"]
        assert client.get(f"/api/decisions?since={offset}")["decisions"] == []
        client.decide({"kind": "verdict", "slide": 1, "row": 1, "verdict": "unsure"})
        assert [d["slide"] for d in client.get(f"/api/decisions?since={offset}")["decisions"]] == [1]


def test_a_page_of_another_result_decides_nothing(folder, tmp_path):
    """Left open while another result is shown at its address: its rows are other cells there."""
    with served(folder) as client:
        identity = client.get("/api/session")["identity"]
    with served(folder) as again, served(a_result(tmp_path / "other")) as other:
        assert again.get("/api/session")["identity"] == identity
        one = {"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"}
        body = json.dumps({"decisions": [one], "identity": identity}).encode()
        assert other.ask("/api/decisions", method="POST", body=body)[0] == 409
        assert again.ask("/api/decisions", method="POST", body=body)[0] == 200
    assert not (tmp_path / "other" / "decisions.jsonl").exists()


def test_a_page_of_another_state_of_a_result_decides_nothing(folder):
    """Its rows are other cells there, though detector, threshold and slides are the same."""
    with served(folder) as client:
        identity = client.get("/api/session")["identity"]
    table = folder / "detections.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    one = {"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"}
    body = json.dumps({"decisions": [one], "identity": identity}).encode()
    with served(folder) as again:
        assert again.ask("/api/decisions", method="POST", body=body)[0] == 409


def test_a_page_of_another_reader_decides_nothing(folder):
    """Left open while the viewer is started again for somebody else, at its address and with its secret: it is neither
    told that reader's decisions nor writes any, and is told who decides now; the same reader's page goes on.
    """

    def desk(reader):
        return Desk(*open_viewed(folder), reader=reader)

    with serving(desk("Ada"), None) as client:
        identity, at = (
            client.get("/api/session")["identity"],
            {"port": client.server.port, "token": client.server.token},
        )
    one = {"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"}
    body = json.dumps({"decisions": [one], "identity": identity}).encode()
    with serving(desk("Ben"), None, **at) as ben:
        assert ben.decide(one)[0] == 200
        written = lines(folder)
        asked = [ben.ask("/api/decisions", method="POST", body=body)]
        asked.append(ben.ask(f"/api/decisions?since=0&identity={identity}"))
        for status, _, told in asked:
            assert (status, list(json.loads(told))) == (409, ["error"])
            assert "another reader decides at this address now, Ben: load the page again" in told.decode()
            assert "can be saved once the viewer runs as Ada again" in told.decode()
        assert lines(folder) == written
    with serving(desk("Ada"), None, **at) as again:
        assert again.ask("/api/decisions", method="POST", body=body)[0] == 200
        assert [d["verdict"] for d in again.get(f"/api/decisions?identity={identity}")["decisions"]] == ["figure"]
    assert [line["reader"] for line in lines(folder)] == ["Ben", "Ada"]


def test_a_page_of_another_reader_is_shown_nothing(folder):
    """Whatever hangs on decisions: counts, the gallery, files, reports, with the links in them, and readers; a page of
    the same reader is shown all, also when the name is one that addresses change.
    """
    name = "Ada & Bo-Lin ä?"
    addresses = [
        *(f"/api/slides/0/{what}" for what in ("reviewed?at_once=yes", "reviewed?readers=all", "geojson")),
        *(f"/api/files/{what}" for what in ("decisions.csv", "summary.csv", "report.html")),
        *("/api/order?decided=none&threshold=0.5", "/api/readers", f"/api/agreement?first=Ada&second={quote(name)}"),
        *("/report", "/report?readers=all", "/report/slides/0", "/api/decisions?since=0"),
    ]
    decided = [{"kind": "verdict", "slide": 0, "row": row, "verdict": "imposter"} for row in range(5)]
    readers = ("Ada", name, "Ben")
    with serving(Desk(*open_viewed(folder), reader="Ada"), None) as client:
        client.decide(*decided)
        at = {"port": client.server.port, "token": client.server.token}
    for reader in readers[1:]:
        with serving(Desk(*open_viewed(folder), reader=reader), None, **at) as client:
            client.decide(*decided)
            identity = client.get("/api/session")["identity"]
            assert identity.endswith(f"-{reader}")
            for left_open, wanted in ((reader, 200), ("Ada", 409)):
                word = quote(identity.removesuffix(reader) + left_open, safe="")
                for address in addresses:
                    sign = "&" if "?" in address else "?"
                    status, _, body = client.ask(f"{address}{sign}identity={word}")
                    assert status == wanted, (address, body)
                    assert wanted == 200 or b"runs as Ada again" in body
            links = re.findall(r'href="(/report[^"]*)"', client.ask("/report/slides/0?readers=all")[2].decode())
            assert any("readers=all" in link for link in links)
            for link in links:
                assert client.ask(unescape(link))[0] == 200
                if ".css" not in link:
                    assert client.ask(unescape(link).replace(quote(reader, safe=""), "Ada"))[0] == 409


def test_read_only_takes_no_decision(folder):
    """And leaves no file."""
    with served(folder, read_only=True) as client:
        assert client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"})[0] == 400
        assert client.get("/api/session")["readOnly"] is True
    assert not (folder / "decisions.jsonl").exists()
