"""Reports as the viewer serves them: each cell leads to its place; no path, no inline script, no other reader."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from found import DETECTOR_HASH, a_result, a_slide, some_detections
from serving import served

from audited_run import a_dasc_run, a_phantom
from build import a_cohort
from mitosieve.annotation import Label
from mitosieve.audit.report import audit
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.run.folder import RUN_FORMAT
from mitosieve.score.evaluated import evaluate_folder
from mitosieve.score.evaluation import EvaluateConfig

PLACE = re.compile(r"/#slide/(\d+)/(-?[\d.]+)/(-?[\d.]+)$")


class Tags(HTMLParser):
    """A page's tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, name, key):
        return [attrs[key] for tag, attrs in self.tags if tag == name and attrs.get(key)]

    @property
    def places(self):
        """(slide, x, y) that the page's links lead to."""
        found = (PLACE.search(address) for address in self.of("a", "href"))
        return [(int(f[1]), float(f[2]), float(f[3])) for f in found if f]


def page_of(client, address="/report", tmp_path=None):
    """An answered page, checked for what none may hold."""
    status, headers, body = client.ask(address)
    assert status == 200, body
    assert headers["content-type"].startswith("text/html")
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    text = body.decode()
    page = Tags(text)
    for tag, attrs in page.tags:
        assert tag != "style"
        assert tag != "script" or attrs["src"].startswith("/report/")
        assert not [name for name in attrs if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            assert re.match(r"data:image/|/(?!/)|#", attrs.get(name) or "#"), attrs
    if tmp_path is not None:
        assert str(tmp_path) not in unescape(text)
        assert "/tmp" not in unescape(text)
    return text, page


def test_each_cell_leads_to_its_place_and_has_its_picture(tmp_path):
    """Of a result of few slides all cells stand on its page, in the frame of their slide."""
    with served(a_result(tmp_path / "found")) as client:
        text, page = page_of(client, tmp_path=tmp_path)
        wanted = {
            (number, *np.round(place, 3).tolist())
            for number, name in enumerate(("one", "two"))
            for place in some_detections(name, seed=number).center_l0
        }
        assert len(page.places) == 120
        assert {(n, round(x, 3), round(y, 3)) for n, x, y in page.places} == wanted
        pictures = [address for address in page.of("img", "src") if address.startswith("/api/")]
        assert len(pictures) == 120
        for address in pictures[::17]:
            status, headers, _ = client.ask(address)
            assert (status, headers["content-type"]) == (200, "image/jpeg")
        for address in (*page.of("script", "src"), *page.of("link", "href")):
            assert client.ask(address)[0] == 200
        assert "After review" not in text


def test_many_slides_have_a_page_each(tmp_path):
    """Linked from the job's page and with one another; a slide that is gone has neither pictures nor links."""
    folder = a_result(tmp_path / "found", names=("a", "b", "c", "d"), n=8)
    (tmp_path / "slides" / "c.tif").unlink()
    with served(folder) as client:
        _, index = page_of(client, tmp_path=tmp_path)
        own = f"?identity={client.get('/api/session')['identity']}"
        assert [address for address in index.of("a", "href") if "slides/" in address] == [
            f"/report/slides/{number}{own}" for number in range(4)
        ]
        text, page = page_of(client, "/report/slides/1", tmp_path=tmp_path)
        assert len(page.places) == 8
        assert {number for number, _, _ in page.places} == {1}
        assert f"/report{own}" in page.of("a", "href")
        assert client.ask("/report/slides/9")[0] == 400
        text, page = page_of(client, "/report/slides/2", tmp_path=tmp_path)
        assert page.places == []
        assert "The viewer cannot find the slide" in text


def test_the_cells_of_a_score_lead_to_their_places(tmp_path):
    """Found, missed and false alarms of an evaluated result; a missed figure without a detection too."""
    cohort = a_cohort(tmp_path / "cohort", cases=2)
    figures = cohort.annotations.with_label(Label.MITOTIC_FIGURE)
    folder = tmp_path / "found"
    folder.mkdir()
    found = Detections.of(
        slide_id=figures.slide_id[:1], center_l0=figures.center_l0[:1], score=np.array([0.9]), threshold=0.5
    )
    write_detections(folder / "detections.csv", found, detector=DETECTOR_HASH)
    mark = {"format": RUN_FORMAT, "kind": "detect", "provenance": {"threshold": 0.5}}
    (folder / "run.json").write_text(json.dumps(mark))
    request = {"cohort": str(cohort.folder), "threshold": 0.5, "detector": str(tmp_path / "run" / "detector")}
    (folder / "detect.json").write_text(json.dumps(request))
    rows = "".join(f"{entry.slide_id},0.25,1,\n" for entry in cohort.slides)
    (folder / "slides.csv").write_text("slide_id,mpp,figures,error\n" + rows)
    evaluate_folder(folder, cohort, config=EvaluateConfig(resamples=20))
    with served(folder) as client:
        text, page = page_of(client, tmp_path=tmp_path)
        assert "Found: 1" in text
        assert f"Missed: {len(figures) - 1}" in text
        places = {(x, y) for _, x, y in page.places}
        assert places == {tuple(np.round(place, 3).tolist()) for place in figures.center_l0}


def test_the_report_of_a_reader_shows_nobody_else_s_decisions(tmp_path):
    """Unless the page is asked for all readers'."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder, reader="Ada") as client:
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "imposter"})
        assert "decided by Ada" in page_of(client, tmp_path=tmp_path)[0]
    with served(folder, reader="Ben") as client:
        text = page_of(client)[0]
        assert "Ada" not in text
        assert "review" not in text.replace("reviewed", "")
        text = page_of(client, "/report?readers=all")[0]
        assert "decided by Ada" in text
        assert "1 rejected" in text


def test_decisions_on_a_slide_that_failed_are_told(tmp_path):
    """By the report and by the page to keep, with counts of the others or without any."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        for slide in (0, 1):
            client.decide({"kind": "verdict", "slide": slide, "row": 0, "verdict": "imposter"})
    for failed, words in (("two", "1 decision is left out, on slides that were not done: two (1)"),
                          ("one", "2 decisions are left out, on slides that were not done: ")):  # fmt: skip
        table = pd.read_csv(folder / "summary.csv", dtype=str, keep_default_na=False)
        table.loc[table.slide_id == failed, "error"] = "cannot be read"
        table.to_csv(folder / "summary.csv", index=False)
        with served(folder) as client:
            assert words in page_of(client)[0]
            assert words in client.ask("/api/files/report.html")[2].decode()
            _, answer = client.decide({"kind": "added", "slide": 1, "x": 9, "y": 9, "verdict": "figure"})
            assert answer["decisions"][0]["uncounted"] == "this slide was not done"
            client.decide({"kind": "undo", "id": answer["decisions"][0]["id"]})


def test_the_page_of_an_audit_leads_to_its_labels(tmp_path):
    """Each label once, with its picture and that of its rival; verdicts are given in the viewer instead."""
    cohort = a_phantom(tmp_path / "cohort")
    out = audit(a_dasc_run(tmp_path / "run", cohort), tmp_path / "audit", top=4).out
    with served(out) as client:
        text, page = page_of(client, tmp_path=tmp_path)
        ranks = page.of("article", "data-rank")
        assert len(ranks) == len(page.places) > 4
        on_disk = Tags((out / "index.html").read_text())
        assert on_disk.of("article", "data-rank") == ranks
        assert on_disk.places == []
        pictures = page.of("img", "src")
        assert len(pictures) == len(on_disk.of("img", "src"))
        assert {client.ask(address)[0] for address in pictures} == {200}
        assert "Save verdicts" not in text
        (out / "suspects.json").write_text('{"name": 3}')
        status, _, body = client.ask("/report")
        assert status == 400
        assert "run audit again" in json.loads(body)["error"]
        assert str(tmp_path) not in body.decode()


def test_what_has_no_report_says_so(tmp_path):
    """A cohort, and a bare slide; a file that reports do not have; whoever lacks the token."""
    a_cohort(tmp_path / "cohort", cases=1)
    a_slide(tmp_path / "bare.tif")
    for path in (tmp_path / "cohort", tmp_path / "bare.tif"):
        with served(path) as client:
            for address in ("/report", "/report/slides/0"):
                status, _, body = client.ask(address)
                assert (status, "only a result" in body.decode()) == (400, True)
            assert client.ask("/report/cells.js.jinja")[0] == 400
            assert client.ask("/report", cookie=False)[0] == 403
            assert client.ask("/report", headers={"Origin": "http://evil.example"})[0] == 403


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a&b\"c'"])
def test_names_are_text(tmp_path, name):
    """A slide may be called as HTML."""
    with served(a_result(tmp_path / "found", names=(name,), n=5)) as client:
        text, page = page_of(client)
        assert name in unescape(text)
        assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
