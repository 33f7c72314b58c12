"""What can be looked at, where its slides are, and what is said of it: never a path of this machine."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from found import DETECTOR_HASH, MPP, a_result, a_slide, some_detections
from serving import served

import reviewed_result
from audited_run import a_dasc_run, a_phantom
from build import a_cohort
from mitosieve.audit.report import audit
from mitosieve.cohort.place import place_id
from mitosieve.count.summary import read_summary
from mitosieve.errors import InputError, MitosieveError
from mitosieve.run.layout import as_text
from mitosieve.scan.paths import paths_of
from mitosieve.view.desk import Desk
from mitosieve.view.opening import open_viewed
from mitosieve.view.viewed import Kind, without_paths
from tiny import mitosieve


def test_a_result_is_shown_as_its_tables_have_it(tmp_path):
    """Slides, threshold, detections and counts."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        session = client.get("/api/session")
        assert (session["kind"], session["threshold"], session["detector"]) == ("result", 0.5, "swift")
        assert [slide["name"] for slide in session["slides"]] == ["one", "two"]
        for number, row in enumerate(read_summary(folder)):
            told = client.get(f"/api/slides/{number}/count")
            assert told["figures"] == int(row.values["figures"])
            assert told["hotspot"]["figures"] == int(row.values["hotspot_figures"])
            assert told["figures_per_mm2"] == pytest.approx(float(row.values["figures_per_mm2"]), rel=1e-3)
        frame = client.get("/api/slides/1")
        assert (frame["size_l0"], frame["mpp_xy"]) == ([1500, 1100], [MPP, MPP])


def test_a_browser_keeps_pictures_of_what_is_shown_now(tmp_path):
    """Another time the same numbers are of another result: its addresses differ, and an old one is not kept again."""
    folder = a_result(tmp_path / "found", names=("one",))
    editions = []
    for _ in range(2):
        with served(folder) as client:
            editions.append(client.get("/api/session")["edition"])
            for place in ("tiles/11/0/0?", "crop?x=99&y=99&"):
                kept = [client.ask(f"/api/slides/0/{place}of={of}")[1]["cache-control"] for of in (editions[-1], "0")]
                assert kept == ["private, max-age=3600", "no-store"]
                assert (
                    client.ask(f"/api/slides/0/{place}of={editions[0]}")[1]["cache-control"] == kept[len(editions) - 1]
                )
            assert f"&amp;of={editions[-1]}" in client.ask("/report")[2].decode()
    assert editions[0] != editions[1]


def test_a_slide_that_was_not_done_has_no_counts(tmp_path):
    """Neither 0 figures nor a score of them, but why it was not done; the others have theirs."""
    folder = a_result(tmp_path / "found")
    table = pd.read_csv(folder / "summary.csv", dtype=str, keep_default_na=False)
    table.loc[1, "error"] = "cannot be read"
    table.to_csv(folder / "summary.csv", index=False)
    with served(folder) as client:
        assert client.get("/api/slides/0/count")["figures"] > 0
        for what in ("count", "reviewed"):
            status, _, body = client.ask(f"/api/slides/1/{what}")
            assert status == 400
            assert "this slide was not counted" in json.loads(body)["error"]


def test_a_slide_without_a_hotspot_says_so(tmp_path):
    """Less tissue than the area: no number, a note, no score; a job that was told no tissue has no score either."""
    with served(a_result(tmp_path / "found", names=("one",), area_mm2=2.0)) as client:
        told = client.get("/api/slides/0/count")
        assert (told["hotspot"]["shape"], told["hotspot"]["figures"]) == ("none", None)
        assert told["hotspot"]["note"].startswith("no hotspot: ")
        assert told["nottingham_mitotic_score"]["score"] is None
    folder = a_result(tmp_path / "unnamed", names=("one",), size=(6000, 5800), area_mm2=2.0)
    with served(folder) as client:
        assert client.get("/api/slides/0/count")["nottingham_mitotic_score"]["score"] in (1, 2, 3)
    (folder / "run.json").write_text((folder / "run.json").read_text().replace('"breast"', '""'))
    with served(folder) as client:
        assert "not named" in client.get("/api/slides/0/count")["nottingham_mitotic_score"]["reason"]


def test_the_cells_of_a_page_are_those_of_the_table(tmp_path):
    """As typed arrays, by falling score, each number where its head says."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        data = client.ask("/api/slides/0/cells")[2]
    found = some_detections("one")
    order = np.argsort(-found.score, kind="stable")
    n = int(np.frombuffer(data, "<u4", 1)[0])
    assert n == 60
    assert len(data) == 8 + 21 * n
    assert np.array_equal(np.frombuffer(data, "<f8", n, 8), found.score[order])
    assert np.allclose(np.frombuffer(data, "<f4", n, 8 + 8 * n), found.center_l0[order, 0], atol=1e-3)
    assert np.allclose(np.frombuffer(data, "<f4", n, 8 + 12 * n), found.center_l0[order, 1], atol=1e-3)
    assert np.array_equal(np.frombuffer(data, "u1", n, 8 + 20 * n), found.is_figure[order])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.75, 1.0])
def test_counts_follow_the_threshold(tmp_path, threshold):
    """At any threshold the count is that of the scores at or above it."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        told = client.get(f"/api/slides/0/count?threshold={threshold}")
    assert told["figures"] == int((some_detections("one").score >= threshold).sum())


def test_slides_that_moved_are_found_by_their_name(tmp_path):
    """In a folder that is named, deep or not; else all are missing and it is said how to name it."""
    folder = a_result(tmp_path / "found")
    (tmp_path / "new" / "deep").mkdir(parents=True)
    for path in (tmp_path / "slides").iterdir():
        path.rename(tmp_path / "new" / "deep" / path.name)
    with pytest.raises(InputError, match="none of its slides") as told:
        open_viewed(folder)
    assert "--slides" in str(told.value)
    viewed, _ = open_viewed(folder, slides=tmp_path / "new")
    assert [slide.path.name for slide in viewed.slides] == ["one.tif", "two.tif"]
    (tmp_path / "new" / "deep" / "one.tif").unlink()
    with served(folder, slides=tmp_path / "new") as client:
        assert client.ask("/api/slides/0")[0] == 400
        assert client.ask("/api/slides/1")[0] == 200
        assert "not where it was" in client.get("/api/session")["slides"][0]["fault"]


def test_another_image_of_that_name_is_refused(tmp_path):
    """Detections would lie anywhere on it."""
    folder = a_result(tmp_path / "found", names=("one",))
    a_slide(tmp_path / "slides" / "one.tif", width=900, height=800)
    with served(folder) as client:
        status, _, body = client.ask("/api/slides/0")
    assert status == 400
    assert b"another image" in body


def test_a_cohort_shows_its_marks(tmp_path):
    """With their labels, and ids that corrections know."""
    cohort = a_cohort(tmp_path / "cohort", cases=2)
    viewed, read = open_viewed(tmp_path / "cohort")
    cells = read()
    assert viewed.kind is Kind.COHORT
    assert len(cells) == len(cohort.annotations)
    rows = np.arange(len(cells))
    marks = cohort.annotations
    expected = {
        place_id(marks.slide_id[row], *marks.center_l0[row].tolist(), row): marks.label[row]
        for row in range(len(marks))
    }
    called = {
        name: {1: "mitotic figure", 2: "imposter"}[call]
        for name, call in zip(cells.names(rows), cells.call.tolist(), strict=True)
    }
    assert called == expected
    with served(tmp_path / "cohort") as client:
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "imposter"})
        assert client.get("/api/decisions")["decisions"][0]["how"] == "cohort"


def test_an_audit_shows_its_labels_by_suspicion(tmp_path):
    """Each slide's labels as audit.csv ranks them; the slides are where the cohort has them."""
    cohort = a_phantom(tmp_path / "cohort")
    a_dasc_run(tmp_path / "run", cohort)
    audit(tmp_path / "run", tmp_path / "audit")
    table = pd.read_csv(tmp_path / "audit" / "audit.csv")
    viewed, read = open_viewed(tmp_path / "audit")
    cells = read()
    assert viewed.kind is Kind.AUDIT
    assert len(cells) == len(table)
    for number, slide in enumerate(viewed.slides):
        rows = cells.rows_of(number)
        ranked = table[table.slide_id == slide.slide_id].sort_values("rank")
        assert np.allclose(cells.center_l0[rows], ranked[["x", "y"]])
        assert np.allclose(cells.suspicion[rows], ranked.suspicion, equal_nan=True)
        assert slide.path == cohort.path_of(slide.slide_id).resolve()
        assert slide.mpp == cohort.entry(slide.slide_id).mpp
    with served(tmp_path / "audit") as client:
        first = client.get(f"/api/cells?rows={np.frombuffer(client.ask('/api/order?rank=suspicion')[2], '<u4')[0]}")[0]
        assert first["suspicion"] == pytest.approx(table.suspicion.max())
        client.decide({"kind": "verdict", "slide": first["slide"], "row": first["row"], "verdict": "figure"})
        assert client.get("/api/decisions")["decisions"][0]["how"] == "audit"


def test_a_bare_slide_is_shown_and_takes_no_decision(tmp_path):
    """There is no result that they would be about."""
    a_slide(tmp_path / "slide.tif")
    with served(tmp_path / "slide.tif") as client:
        assert client.get("/api/session")["kind"] == "slides"
        assert client.ask("/api/slides/0/tiles/11/0/0")[0] == 200
        assert client.get("/api/session")["readOnly"] is True


@pytest.mark.parametrize("what", ["result", "audit", "cohort", "slides", "slides to be looked at only"])
def test_an_option_that_means_nothing_here_is_refused_by_name(tmp_path, monkeypatch, what):
    """Each alone, and all of them in one message: none is passed over. A laboratory's own detector is no such word."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mitosieve.toml").write_text('detector = "swift"\n')
    path, more = tmp_path / what, []
    a_cohort(tmp_path / "cohort", cases=1)
    if what == "result":
        a_result(path, names=("one",), size=(400, 300))
    if what == "audit":
        path.mkdir()
        image = str((tmp_path / "cohort" / "images" / "c0_s0.png").resolve())
        (path / "audit.csv").write_text("rank,slide_id,x,y,label,suspicion\n1,c0_s0,9,9,imposter,0.5\n")
        (path / "audit.json").write_text(json.dumps({"slides": {"c0_s0": {"path": image, "mpp": 0.25}}}))
    if what.startswith("slides"):
        a_slide(path / "one.tif", width=400, height=300)
        more = [] if what == "slides" else ["--read-only"]
    values = {"--slides": tmp_path, "--mpp": 0.25, "--detector": "swift", "--out": tmp_path / "new"}
    taken = {"slides": ("--mpp", "--detector", "--out"), "slides to be looked at only": ("--mpp",)}
    refused = [name for name in values if name not in taken.get(what, ("--slides",))]
    for chosen in [[name] for name in refused] + [refused]:
        told = mitosieve("view", path, *more, *(word for name in chosen for word in (name, values[name])))
        assert told.code == 2
        assert sorted(told.err.partition("leave out ")[2].strip().split(", ")) == sorted(chosen)


def test_slides_of_one_name_are_told_apart(tmp_path):
    """Files that differ in their ending alone are called by their whole names."""
    for name in ("a.tif", "a.tiff", "b.tif"):
        a_slide(tmp_path / "slides" / name, width=400, height=300)
    viewed, _ = open_viewed(tmp_path / "slides")
    assert [slide.slide_id for slide in viewed.slides] == ["a.tif", "a.tiff", "b"]


def test_a_folder_shows_the_slides_that_detect_takes_of_it(tmp_path):
    """What a Mac hides beside an image, a note and a folder are none; a folder of hidden files holds nothing."""
    slides = tmp_path / "slides"
    for name in ("a.png", "b.tif", ".cache/c.tif"):
        a_slide(slides / name, width=400, height=300)
    (slides / "._a.png").write_bytes(b"\0\5\x16\7 a resource fork")
    (slides / "notes.txt").write_text("")
    viewed, _ = open_viewed(slides)
    assert [slide.path for slide in viewed.slides] == paths_of([slides]) == [slides / "a.png", slides / "b.tif"]
    for slide in viewed.slides:
        slide.path.unlink()
    with pytest.raises(InputError, match="holds nothing that can be looked at"):
        open_viewed(slides)


@pytest.mark.parametrize("what", ["nothing", "empty folder", "text file", "training", "job not done", "half a table"])
def test_what_cannot_be_looked_at_is_refused_with_a_remedy(tmp_path, what):
    """Before a page is opened."""
    path = tmp_path / "thing"
    if what == "text file":
        path.write_text("hello")
    elif what != "nothing":
        path.mkdir()
    if what in ("training", "job not done"):
        kind = "train" if what == "training" else "detect"
        (path / "run.json").write_text(json.dumps({"format": 2, "kind": kind, "provenance": {}}))
    if what == "half a table":
        a_result(tmp_path / "whole", names=("one",))
        shutil.copytree(tmp_path / "whole", path, dirs_exist_ok=True)
        (path / "summary.csv").write_text("slide_id,mpp_x,mpp_y\none,x,y\n")
    with pytest.raises(MitosieveError) as told:
        open_viewed(path)
    assert "remedy:" in str(told.value)


def test_a_broken_table_of_detections_is_told_to_the_page(tmp_path):
    """It is read after the page was opened."""
    folder = a_result(tmp_path / "found", names=("one",))
    (folder / "detections.csv").write_text("slide_id,x,y,score\none,a,b,c\n")
    with served(folder) as client:
        status, _, body = client.ask("/api/slides/0/cells")
    assert status == 400
    assert b"x is 'a'" in body
    assert str(tmp_path).encode() not in body


def test_no_answer_holds_a_path_of_this_machine(tmp_path):
    """Whatever is asked, well or badly: only names."""
    home = tmp_path / "secret folder" / "x"
    folder = a_result(home / "found", names=("one", "<img src=x onerror=alert(1)>"))
    rows = (folder / "summary.csv").read_text().replace(",\n", f",{home}/slides/three.svs: is damaged\n", 2)
    (folder / "summary.csv").write_text(rows)
    (home / "slides" / "one.tif").write_bytes(b"II*\0" + b"\0" * 50)
    with served(folder) as client:
        asked = [
            "/",
            "/api/session",
            "/api/slides/0",
            "/api/slides/1",
            "/api/slides/7",
            "/api/slides/..%2f..",
            "/api/order?rank=no",
        ]
        asked += [
            "/api/slides/0/tiles/9/0/0",
            "/api/slides/1/count",
            "/api/cells?rows=0",
            "/api/decisions",
            "/api/slides/0/crop?x=1&y=1",
        ]
        for address in asked:
            status, headers, body = client.ask(address)
            assert b"secret" not in body + str(headers).encode(), address
            assert status != 500
        assert client.decide({"kind": "verdict", "slide": 1, "row": 0, "verdict": "figure"})[0] == 200


def test_paths_are_taken_out_of_messages(tmp_path):
    """Of each only the last name is left, also of folders with blanks in their names, which are named."""
    told = without_paths("/data/a b/x.svs: is gone; see C:\\lab\\y.tif and /z/w.png", tmp_path, None, tmp_path / "data")
    assert "/z" not in told
    assert "lab" not in told
    folder = tmp_path / "a b c"
    assert without_paths(f"{folder}/x.svs: is gone", folder) == "x.svs: is gone"
    assert without_paths("3 mm2/um and 1/2", None) == "3 mm2/um and 1/2"
    assert without_paths("one.tif: 0.25 um/px, 2.5", Path(), Path("/")) == "one.tif: 0.25 um/px, 2.5"
    assert without_paths("lambda/a, a/b.tif: gone", Path("a")) == "lambda/a, b.tif: gone"
    assert without_paths(f"cannot read {folder}.", folder) == "cannot read a b c."
    assert without_paths("see /x y/a\\d", Path("/x y/a\\d")) == "see a\\d"


def test_a_name_that_is_no_text_of_unicode_is_shown(tmp_path):
    """As results have it; else no slide of its folder could be looked at."""
    name = os.fsdecode(b"M\xfcller.tif")
    a_slide(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / name)
    with served(tmp_path) as client:
        (slide,) = client.get("/api/session")["slides"]
        assert slide["name"] == as_text(os.fsdecode(b"M\xfcller"))


def test_slides_are_asked_for_by_number_alone(tmp_path):
    """A name, a path or a number that is none is no slide."""
    a_result(tmp_path / "found", names=("one",))
    with served(tmp_path / "found") as client:
        for word in ("one", "1", "-1", "0x0", "%2e%2e", "9" * 30, "٠"):
            address = f"/api/slides/{word.encode().hex() if not word.isascii() else word}"
            assert client.ask(address)[0] in (400, 404), word
        assert DETECTOR_HASH not in str(client.get("/api/session"))


def test_a_cohorts_oblong_pixels_stay_oblong(tmp_path):
    """As its slides.csv states them: in the pictures, and where the page starts a detection."""
    made = a_cohort(tmp_path / "cohort", cases=1)
    made.with_entries(lambda entry: replace(entry, mpp=0.225, oblong=(0.25, 0.2))).save()
    viewed, read_cells = open_viewed(tmp_path / "cohort")
    desk = Desk(viewed, read_cells, reader="A")
    assert desk.shelf.pictures(0).slide.mpp_xy == (0.25, 0.2)
    assert viewed.slides[0].stated_mpp == (0.25, 0.2)


def test_an_audits_oblong_pixels_stay_oblong(tmp_path):
    """The audit keeps both numbers of its cohort: in the pictures, and where cells are told apart in um."""
    cohort = a_phantom(tmp_path / "cohort").with_entries(lambda entry: replace(entry, mpp=0.225, oblong=(0.25, 0.2)))
    cohort.save()
    a_dasc_run(tmp_path / "run", cohort)
    audit(tmp_path / "run", tmp_path / "audit")
    viewed, read_cells = open_viewed(tmp_path / "audit")
    desk = Desk(viewed, read_cells, reader="A")
    assert desk.shelf.pictures(0).slide.mpp_xy == (0.25, 0.2)
    assert set(desk.mpp_of.values()) == {(0.25, 0.2)}


def test_a_slide_that_is_gone_is_counted_with_its_oblong_pixels(tmp_path):
    """Count and hotspot are those that the job told, whether the image is there or not."""
    places = np.random.default_rng(3).uniform(0, 1, (400, 2)) * (12000, 12000)
    points = {"s": [(x, y, 0.9) for x, y in places.tolist()], "still here": []}
    folder, paths = tmp_path / "found", {"still here": str(tmp_path / "here.tif")}
    a_slide(tmp_path / "here.tif")
    stated = {"size_l0": (12000, 12000), "mpp_xy": (0.25, 0.5), "tissue_mm2": 17.0}
    reviewed_result.a_result(folder, points, paths=paths, **stated)
    row = pd.read_csv(folder / "summary.csv").iloc[0]
    with served(folder) as client:
        told = client.get("/api/slides/0/count")
    assert told["hotspot"]["figures"] == row.hotspot_figures
    assert told["figures_per_mm2"] == pytest.approx(row.figures_per_mm2, rel=1e-3)
