"""The page in a real browser (Debian's Chromium, by Playwright), against a running viewer; skipped where none is."""

import contextlib
import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from found import AREA_MM2, MPP, a_result, some_detections
from paged import VIEW, Page
from serving import served, serving

from build import a_cohort
from mitosieve import Cohort
from mitosieve.count.hotspot import find_hotspot, mm_from_l0
from mitosieve.count.summary import read_summary
from mitosieve.review.cell import cells_of
from mitosieve.review.log import DecisionLog, standing
from mitosieve.train.places import Places
from mitosieve.train.scores import PoolScores
from mitosieve.view import pictures
from mitosieve.view.desk import Desk
from mitosieve.view.opening import open_viewed
from tiny import ONE_CORE, SWIFT_SHORT, SWIFT_SMALL, a_swift_run, images, mitosieve, start
from tiny import a_cohort as tiny_cohort

pytestmark = pytest.mark.slow
EVIL = "<img src=x onerror=alert(1)>"


def ended(process, how=signal.SIGTERM):
    """Send a signal, wait, and let go of its pipes."""
    process.send_signal(how)
    process.communicate(timeout=20)


def address_of(process):
    return process.stdout.readline().strip()


def test_from_the_slide_to_marks_with_a_death_between(tmp_path, chromium):
    """Open, zoom, judge 30 cells by keys, undo, add one, kill -9, open again: all is there; then a cohort has it."""
    folder = a_result(tmp_path / "found", names=("one",))
    process = start("view", folder, "--no-browser", "--reader", "Ada")
    page = Page(chromium, address_of(process)).opened()
    before = page.evaluate(f"{VIEW}.pxPerUm()")
    page.press("+", "+")
    page.until(f"{VIEW}.pxPerUm() > 2 * {before}")
    page.gallery()
    for number in range(30):
        page.press("aru"[number % 3])
        page.until(f"document.querySelector('[id^=card-][aria-selected=true]')?.id === 'card-{number + 1}'")
    page.decided(30)
    page.press("z")
    page.decided(31)
    page.press("1", "i")
    page.until(f"{VIEW}.adding")
    page.press("Enter")
    page.decided(32)
    ended(process, signal.SIGKILL)
    page.context.close()

    decisions = DecisionLog.beside(folder).read()
    stands = standing(decisions, "Ada")
    assert [sum(d.kind == kind for d in decisions) for kind in ("verdict", "undo", "added")] == [30, 1, 1]
    assert len(stands) == 30
    again = start("view", folder, "--no-browser", "--reader", "Ada")
    page = Page(chromium, address_of(again)).opened()
    page.decided(32)
    counts = page.evaluate("mitosieve.store.counts")
    assert counts == {"figure": 11, "imposter": 10, "unsure": 9, "added": 1}
    page.context.close()
    ended(again)

    told = mitosieve("import", "reviews", folder, tmp_path / "none", "--out", tmp_path / "cohort")
    assert told.code == 0, told.err
    marks = Cohort.load(tmp_path / "cohort").annotations
    assert (marks.label == "mitotic figure").sum() == 11
    assert (marks.label == "imposter").sum() == 10


def test_the_loop_closes(tmp_path, chromium):
    """Detect, decide by keys, import, train on: the rejected cell is a hard negative, the accepted one a figure."""
    folder, slide = tmp_path / "found", images()[0]
    words = ("--mpp", 0.25, "--threshold", 0.2, *ONE_CORE)
    told = mitosieve("detect", "--detector", a_swift_run(), slide, *words, "--out", folder)
    assert told.code == 0, told.err
    with served(folder, reader="Ada") as client:
        page = Page(chromium, client.server.address).opened()
        page.press("2")
        page.select_option("select >> nth=0", "score")
        page.until(
            "(({cell, batch}) => cell && batch.length > 1 && "
            "batch.every((c, i) => !i || batch[i - 1].score >= c.score))(mitosieve.page.current)"
        )
        page.locator(".cards").focus()
        for number, key in enumerate("ra", start=1):
            page.until("mitosieve.page.current.cell")
            page.press(key)
            page.decided(number)
        assert page.faults == []
        page.context.close()
    decisions = DecisionLog.beside(folder).read()
    assert [(d.verdict, d.how) for d in decisions] == [("imposter", "gallery"), ("figure", "gallery")]

    told = mitosieve("import", "reviews", folder, tiny_cohort(), "--out", tmp_path / "cohort")
    assert told.code == 0, told.err
    small = [word for setting in (*SWIFT_SMALL, *SWIFT_SHORT) for word in ("--set", setting)]
    start_from = ("--start", a_swift_run(), "--out", tmp_path / "run", *ONE_CORE)
    told = mitosieve("train", "swift-tune", tmp_path / "cohort", *start_from, *small)
    assert told.code == 0, told.err

    index = Places.load(tmp_path / "run" / "places" / "train.parquet").index
    score = PoolScores.load(tmp_path / "run" / "start" / "refined.parquet", index.patch_id).score
    for decision, label in zip(decisions, (0, 1), strict=True):
        away = np.hypot(*(index.center_l0 - [decision.x_px, decision.y_px]).T) * 0.25
        near = (index.slide_id == slide.stem) & (away <= 3)
        assert set(index.label[near]) == {label}, decision
        assert set(index.origin[near]) == {"figure" if label else "background"}
        if not label:  # harder than most negatives, so it is shown early
            assert score[near].max() > np.median(score[index.label == 0])
    again = mitosieve("detect", "--detector", tmp_path / "run", slide, *words, "--out", tmp_path / "again")
    assert again.code == 0, again.err


def test_the_page_asks_nobody_else(tmp_path, opened):
    """Every request goes to this server; every view is opened."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        for key in "2345":
            page.press(key)
            page.wait_for_timeout(300)
        assert page.hosts == {f"http://127.0.0.1:{client.server.port}"}
        assert "token" not in page.url


@pytest.mark.parametrize("key", ["1", "2", "3", "4", "5"])
def test_names_are_text(tmp_path, opened, key):
    """A slide and a reader may be called as HTML; no picture is loaded and no script runs."""
    with served(a_result(tmp_path / "found", names=(EVIL,)), reader=EVIL) as client:
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"})
        page = opened(client).opened()
        page.press(key)
        page.wait_for_timeout(600)
        assert EVIL in page.inner_text("body") or EVIL in page.evaluate("document.body.textContent")
        assert page.evaluate(
            "[...document.images].every(i => !i.getAttribute('src') || i.src.startsWith(location.origin))"
        )
        assert page.evaluate("document.querySelectorAll('[onerror]').length") == 0


def test_the_overview_map_comes_where_it_must_be_made_first(tmp_path, opened, monkeypatch):
    """A slide without small levels: the first answer is that it is being made; then the map is drawn, and opaque."""
    monkeypatch.setattr(pictures, "MOST_SOURCE_PX", 512 * 512)
    folder = a_result(tmp_path / "found", names=("one",), size=(2900, 2100))
    with served(folder) as client:
        page = opened(client).opened()
        canvas = f"{VIEW}.osd.navigator.drawer.canvas"
        middle = f"{canvas}.getContext('2d').getImageData({canvas}.width >> 1, {canvas}.height >> 1, 1, 1).data[3]"
        page.until(f"{middle} === 255")
        assert page.evaluate(f"getComputedStyle({VIEW}.osd.navigator.element).opacity") == "1"
        page.faults[:] = [fault for fault in page.faults if "503" not in fault and "failed to load" not in fault]


@pytest.mark.parametrize("turn", [0, 30, 105])
def test_rings_lie_on_their_cells(tmp_path, opened, turn):
    """At any zoom and turn: where the map puts a cell, a click chooses it, and the tiles show its place there."""
    found = some_detections("one")
    order = np.argsort(-found.score, kind="stable")
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        page.evaluate(f"{VIEW}.turn({turn})")
        page.wait_for_timeout(700)
        for row in (0, 5, 11):
            x, y = found.center_l0[order[row]].tolist()
            page.evaluate(f"{VIEW}.goTo({x}, {y}, 120, true)")
            page.wait_for_timeout(300)
            ours = page.evaluate(
                f"(([a, b, c, d, e, f]) => [a * {x} + c * {y} + e, b * {x} + d * {y} + f])({VIEW}.map())"
            )
            theirs = page.evaluate(
                f"(({{x, y}}) => [x, y])({VIEW}.osd.viewport.imageToViewerElementCoordinates("
                f"new OpenSeadragon.Point({x} + 0.5, {y} + 0.5)))"
            )
            assert ours == pytest.approx(theirs, abs=1)
            box = page.evaluate(f"(b => [b.left, b.top, b.width, b.height])({VIEW}.node.getBoundingClientRect())")
            assert ours == pytest.approx([box[2] / 2, box[3] / 2], abs=1.5)
            page.mouse.click(box[0] + ours[0] + 4, box[1] + ours[1] - 3)
            page.until(f"{VIEW}.selected === {row}")


def test_the_scale_bar_is_as_long_as_it_says(tmp_path, opened):
    """In px of the screen, at some zooms."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        for _ in range(4):
            page.press("+")
            page.wait_for_timeout(500)
            words = page.inner_text(".scalebar")
            um = float(words.split()[0]) * (1000 if "mm" in words else 1)
            wide = page.evaluate("document.querySelector('.scalebar').getBoundingClientRect().width")
            scale = page.evaluate(f"{VIEW}.osd.viewport.viewportToImageZoom({VIEW}.osd.viewport.getZoom(true))") / MPP
            assert wide == pytest.approx(um * scale, rel=0.02)


def test_the_pointer_tells_um(tmp_path, opened):
    """Of the place below it: the slide's middle lies half its um from its corner."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        page.wait_for_timeout(600)
        box = page.locator(".slideview").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        words = page.inner_text("#pointer")
        x, y = (float(number) for number in re.findall(r"([\d.]+) µm", words))
        assert (x, y) == (pytest.approx(1500 * MPP / 2, abs=2), pytest.approx(1100 * MPP / 2, abs=2))


def test_counts_follow_the_threshold_at_once(tmp_path, opened):
    """Figures, density and hotspot are those of the scores at or above it; going back gives the table's."""
    found = some_detections("one")
    area, size_mm = 1500 * 1100 * MPP**2 / 1e6, (1500 * MPP / 1000, 1100 * MPP / 1000)
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        for threshold in (0.9, 0.2, 0.5):
            kept = found.at_threshold(threshold).figures
            page.fill("[aria-label='Threshold as a number']", str(threshold))
            page.press("Tab")
            page.until(f"document.querySelector('[data-figures]').textContent === '{len(kept)}'")
            spot = find_hotspot(mm_from_l0(kept.center_l0, (MPP, MPP)), size_mm=size_mm, area_mm2=AREA_MM2)
            page.until(f"document.querySelectorAll('.facts dd b')[2]?.textContent === '{spot.count}'")
            assert float(page.inner_text(".facts dd:nth-of-type(2) b")) == pytest.approx(len(kept) / area, rel=1e-3)


def test_heat_map_and_what_is_below_the_threshold_come_and_go(tmp_path, opened):
    """By their keys; below the threshold every cell of the table is there to be chosen."""
    low = int(np.argmin(some_detections("one").score))
    x, y = some_detections("one").center_l0[low].tolist()
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        plain = page.drawn()
        page.press("h")
        page.until(f"{VIEW}.heatOn && {VIEW}._heat && {VIEW}.canvas.toDataURL() !== {json.dumps(plain)}")
        page.press("h")
        page.until(f"!{VIEW}.heatOn && {VIEW}.canvas.toDataURL() === {json.dumps(plain)}")
        page.evaluate(f"{VIEW}.goTo({x}, {y}, 100, true)")
        assert page.evaluate(f"{VIEW}.pick({x}, {y}, 5)") is None
        page.press("b")
        page.until(f"{VIEW}.below")
        assert page.evaluate(f"{VIEW}.pick({x}, {y}, 5)") == 59


def test_a_page_of_the_gallery_that_did_not_come_is_asked_for_again(tmp_path, opened):
    """What went wrong is told in its place, and nothing can be decided there."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        page.cut_off("**/api/cells?rows=*")
        page.press("2")
        page.until("document.querySelector('.cards .empty')?.textContent.includes('does not answer')")
        page.press("a")
        page.reached_again("**/api/cells?rows=*")
        page.click("text=Try again")
        page.until("mitosieve.page.current.cell")
        assert page.evaluate("mitosieve.store.decisions.length") == 0


def test_a_large_screen_has_no_more_cells_than_are_told_of(tmp_path, opened):
    """Each place of a page has its cell, row by row."""
    with served(a_result(tmp_path / "found", names=("one",), n=700)) as client:
        page = opened(client, width=3800, height=2600).opened().gallery()
        per, columns, batch = page.evaluate("(g => [g.perPage, g.columns, g.batch.length])(mitosieve.page.current)")
        assert per == batch <= 200
        assert per % columns == 0


def test_a_row_of_the_gallery_is_accepted_as_one(tmp_path, opened):
    """All of it that is undecided; undo takes back one by one."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        page = opened(client).opened().gallery()
        columns = page.evaluate("mitosieve.page.current.columns")
        page.press("ArrowRight", "R")  # Caps Lock: a capital without Shift is the small letter
        page.decided(1)
        page.press("ArrowLeft", "Shift+A")
        page.decided(columns)
        decisions = DecisionLog.beside(folder).read()
        assert [d.verdict for d in decisions] == ["imposter"] + ["figure"] * (columns - 1)
        assert page.evaluate("mitosieve.page.current.at") == columns
        page.press("z")
        page.decided(columns + 1)
        assert len(standing(DecisionLog.beside(folder).read(), "A")) == columns - 1


def test_a_key_means_what_is_chosen_when_it_is_pressed(tmp_path, opened):
    """Whatever is still being saved: each row, cell and field is decided once, and each undo is of another decision."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        page = opened(client).opened().gallery()
        columns = page.evaluate("mitosieve.page.current.columns")
        page.held_while("**/api/decisions", "Shift+A", "Shift+R")
        page.decided(2 * columns)
        verdicts = [d.verdict for d in DecisionLog.beside(folder).read()]
        assert verdicts == ["figure"] * columns + ["imposter"] * columns
        page.held_while("**/api/decisions", "a", "z", "z", "z")
        page.decided(2 * columns + 4)
        assert len(standing(DecisionLog.beside(folder).read(), "A")) == 2 * columns - 2
        page.press("3")
        page.until("mitosieve.page.current.fields?.length > 0 && mitosieve.page.current._inField().length > 3")
        page.wait_for_timeout(300)
        page.evaluate("mitosieve.page.current.field(mitosieve.page.current.at)")
        before = len(DecisionLog.beside(folder).read())
        page.held_while("**/api/decisions", "u", "u")
        page.decided(before + 2)
        page.held_while("**/api/decisions", "Enter", "Enter")
        page.decided(before + 3)
        page.wait_for_timeout(200)
    last = DecisionLog.beside(folder).read()[before:]
    assert [d.kind for d in last] == ["verdict", "verdict", "looked"]
    assert last[0].detection_id != last[1].detection_id


def test_a_crop_and_its_place_are_one_key_apart(tmp_path, opened):
    """Enter shows the chosen cell on its slide, in the middle and chosen; also of another slide."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        page = opened(client).opened().gallery()
        page.select_option("select >> nth=1", "1")
        page.wait_for_timeout(500)
        page.locator(".cards").focus()
        page.press("ArrowRight")
        cell = page.evaluate("mitosieve.page.current.cell")
        page.press("Enter")
        page.opened()
        page.until(f"{VIEW}.slide === 1 && {VIEW}.selected === {cell['row']}")
        page.wait_for_timeout(900)
        assert page.evaluate(f"{VIEW}.middle") == pytest.approx([cell["x"], cell["y"]], abs=4)


@pytest.mark.parametrize("row", [0, 59])
def test_a_cell_of_the_report_leads_to_its_place(tmp_path, opened, row):
    """In the viewer's own policy: style and script of the page work, and one click chooses the cell on its slide."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        page = opened(client).opened()
        page.press("5")
        with page.page.context.expect_page() as another:
            page.click("text=Report")
        report = another.value
        faults = []
        report.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        report.reload()
        report.wait_for_load_state("load")
        second = report.locator(".slide-cells").nth(1)
        assert report.evaluate("getComputedStyle(document.querySelector('.cells')).display") == "grid"
        assert second.locator("form").is_visible()
        cell = second.locator(".cell").nth(row)
        cell.scroll_into_view_if_needed()
        x, y = (float(cell.get_attribute(f"data-{axis}")) for axis in "xy")
        for _ in range(200):
            if cell.evaluate("cell => cell.querySelector('img').complete && cell.querySelector('img').naturalWidth"):
                break
            report.wait_for_timeout(30)
        else:
            raise AssertionError("the picture does not come")
        with page.page.context.expect_page() as another:
            cell.locator("a").click()
        slide = another.value
        for _ in range(600):
            if slide.evaluate(f"globalThis.mitosieve?.page.current?.view?.selected === {row}"):
                break
            slide.wait_for_timeout(50)
        assert slide.evaluate(f"[{VIEW}.slide, {VIEW}.selected]") == [1, row]
        slide.wait_for_timeout(900)
        assert slide.evaluate(f"{VIEW}.middle") == pytest.approx([x, y], abs=4)
        assert slide.evaluate(f"{VIEW}.overlay.seen") > 0
        assert slide.url.endswith("#slide")
        assert faults == []


def test_two_tabs_show_each_others_decisions(tmp_path, opened):
    """Of one reader; nothing is lost."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        one, other = opened(client).opened().gallery(), opened(client).opened().gallery()
        one.press("a", "a", "a")
        other.press("r", "r", "r", "r", "r")
        one.decided(8)
        other.decided(8)
        assert one.evaluate("mitosieve.store.counts") == other.evaluate("mitosieve.store.counts")
    assert len(DecisionLog.beside(folder).read()) == 8


def test_a_second_reader_is_blind_until_they_compare(tmp_path, opened):
    """No verdict of the other is on the page before; afterwards the table, and the cells to settle."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder, reader="A") as client:
        client.decide(*({"kind": "verdict", "slide": 0, "row": row, "verdict": "figure"} for row in range(6)))
    with served(folder, reader="B") as client:
        page = opened(client).opened().gallery()
        assert page.evaluate("[...document.querySelectorAll('.card')].every(c => !c.dataset.verdict)")
        client.decide(
            *(
                {"kind": "verdict", "slide": 0, "row": row, "verdict": "imposter" if row < 2 else "figure"}
                for row in range(6)
            )
        )
        page.decided(6)
        page.press("4")
        page.click("text=Show their agreement")
        page.until("document.querySelectorAll('.cards.loose .card').length === 2")
        assert "Disagreements: 2" in page.inner_text("main")
        page.click(".cards.loose .card:first-child .verdict.figure")
        page.decided(7)
    assert {d.verdict for d in DecisionLog.beside(folder).read()[-1:]} == {"figure"}


def test_a_disagreement_over_an_added_cell_is_settled_by_its_reader(tmp_path, opened):
    """The added cell gets the new verdict, as often as it is given: none is added, and the detection is not judged."""
    folder = a_result(tmp_path / "found", names=("one",))
    found = some_detections("one")
    x, y = found.center_l0[np.argsort(-found.score, kind="stable")[0]].tolist()
    with served(folder, reader="A") as client:
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "imposter"})
    with served(folder, reader="B") as client:
        client.decide({"kind": "added", "slide": 0, "x": x + 4, "y": y, "verdict": "figure"})
        page = opened(client).opened()
        page.press("4")
        page.click("text=Show their agreement")
        for number, verdict in ((2, "imposter"), (3, "figure"), (4, "imposter")):
            page.click(f".cards.loose .verdict.{verdict}")
            page.decided(number)
            words = "no figure" if verdict == "imposter" else verdict
            page.until(f"document.querySelector('.cards.loose .state').textContent === 'you: {words}'")
    (cell,) = cells_of(DecisionLog.beside(folder).read(), {"one": MPP})
    assert cell.votes == {"A": "imposter", "B": "imposter"}


def test_a_figure_that_a_reader_passed_over_is_settled(tmp_path, opened):
    """It stands among the disagreements, with what the other said, and a verdict on it is that reader's."""
    folder = a_result(tmp_path / "found", names=("one",), n=6)
    with served(folder, reader="A") as client:
        client.decide({"kind": "added", "slide": 0, "x": 700, "y": 30, "verdict": "figure"})
    with served(folder, reader="B") as client:
        client.decide({"kind": "looked", "slide": 0, "area": [[0, 0], [1499, 0], [1499, 1099], [0, 1099]]})
        client.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"})
        page = opened(client).opened()
        page.press("4")
        page.click("text=Show their agreement")
        page.until("document.querySelectorAll('.cards.loose .card').length === 1")
        assert page.evaluate("[...document.querySelectorAll('.card .line b')].map((b) => b.textContent)") == [
            "figure",
            "passed over",
        ]
        page.click(".cards.loose .verdict.imposter")
        page.until("document.querySelector('.cards.loose .state').textContent === 'you: no figure'")
        assert client.get("/api/agreement?first=A&second=B")["counts"]["figure"]["imposter"] == 1


def test_the_fields_of_the_hotspot_are_gone_through(tmp_path, opened):
    """Enter marks a field as looked through, on the disk as its area; all of them cover the hotspot."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        page = opened(client).opened()
        page.press("3")
        page.until("mitosieve.page.current.fields?.length > 0")
        fields = page.evaluate("mitosieve.page.current.fields.length")
        page.press("r")
        page.decided(1)
        page.until("mitosieve.page.current.told.rejected === 1")
        assert page.inner_text(".panel tbody tr:first-child td:last-child") == str(
            int(some_detections("one").is_figure.sum()) - 1
        )
        for number in range(fields):
            page.press("Enter")
            page.decided(2 + number)
        assert "all fields" in page.inner_text("#status")
    looked = [d for d in DecisionLog.beside(folder).read() if d.kind == "looked"]
    corners = np.array([d.area for d in looked])
    assert len(looked) == fields
    told = read_summary(folder)[0].values
    low = [float(told[name]) for name in ("hotspot_x", "hotspot_y")]
    high = [start + float(told[name]) for start, name in zip(low, ("hotspot_width", "hotspot_height"), strict=True)]
    assert corners.reshape(-1, 2).min(axis=0).tolist() == pytest.approx(low, abs=0.2)
    assert corners.reshape(-1, 2).max(axis=0).tolist() == pytest.approx(high, abs=0.2)


def test_a_field_is_looked_through_on_its_own_slide_alone(tmp_path, opened):
    """While the next slide's count has not come, nothing of the slide before is there to be marked; then its own is."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        page = opened(client).opened()
        page.press("3")
        page.until("mitosieve.page.current.fields?.length > 0")
        first = page.evaluate("mitosieve.page.current.fields[0].corners")
        page.cut_off("**/api/slides/1/reviewed*")
        page.select_option(".panel select >> nth=0", "1")
        page.until("document.querySelector('.can').textContent.includes('does not answer')")
        page.evaluate("document.activeElement.blur()")
        page.press("Enter")
        page.wait_for_timeout(200)
        assert page.evaluate("[mitosieve.page.current.fields.length, mitosieve.store.decisions.length]") == [0, 0]
        assert page.inner_text(".panel .wide") == ""
        page.reached_again("**/api/slides/1/reviewed*")
        page.press("3")
        page.until("mitosieve.page.current.fields?.length > 0")
        page.press("Enter")
        page.decided(1)
    (looked,) = DecisionLog.beside(folder).read()
    assert looked.slide_id == "two"
    assert np.abs(np.array(looked.area) - first).max() > 1


def test_two_slides_move_together(tmp_path, opened):
    """Side by side, by the same um; each shows its own slide."""
    with served(a_result(tmp_path / "found")) as client:
        page = opened(client).opened()
        page.press("t")
        page.until("mitosieve.page.current.second?.cells")
        page.wait_for_timeout(500)
        before = page.evaluate("mitosieve.page.current.second.middle")
        page.press("+", "ArrowRight", "ArrowRight")
        page.wait_for_timeout(1200)
        after = page.evaluate("mitosieve.page.current.second.middle")
        assert after[0] > before[0] + 20
        scales = page.evaluate("[mitosieve.page.current.view.pxPerUm(), mitosieve.page.current.second.pxPerUm()]")
        assert scales[0] == pytest.approx(scales[1], rel=0.05)
        assert page.evaluate("mitosieve.page.current.second.slide") == 1


def test_of_two_slides_the_clicked_cell_is_decided(tmp_path, opened):
    """On whichever side it is; one cell is chosen of both. The second slide stays the one that was chosen."""
    folder = a_result(tmp_path / "found", names=("one", "two", "three"))
    second = "mitosieve.page.current.second"
    found = some_detections("two", seed=1)
    order = np.argsort(-found.score, kind="stable")
    x, y = found.center_l0[order[4]].tolist()
    with served(folder) as client:
        page = opened(client).opened()
        page.press("n", "t")
        page.until(f"{second}?.cells")
        page.wait_for_timeout(300)
        page.evaluate(f"{second}.goTo({x}, {y}, 120, true)")
        page.wait_for_timeout(300)
        middle = "b => [b.left + b.width / 2, b.top + b.height / 2]"
        page.mouse.click(*page.evaluate(f"({middle})({second}.node.getBoundingClientRect())"))
        page.until(f"{second}.selected === 4 && {VIEW}.selected === null")
        page.press("r")
        page.decided(1)
        page.evaluate(f"{VIEW}.select(2)")
        page.press("a")
        page.decided(2)
        assert page.evaluate(f"{second}.selected") is None
        page.select_option(".second-box select", "2")
        page.until(f"{second}.slide === 2 && {second}.cells")
        page.evaluate("document.activeElement.blur()")
        page.press("t", "t")
        page.wait_for_timeout(200)
        assert page.evaluate(f"{second}.slide") == 2
    decisions = DecisionLog.beside(folder).read()
    assert [(d.slide_id, d.verdict) for d in decisions] == [("two", "imposter"), ("one", "figure")]
    assert (decisions[0].x_px, decisions[0].y_px) == (x, y)


def test_marks_of_a_cohort_are_browsed_and_corrected(tmp_path, opened):
    """Without scores or thresholds; decisions say that they are about a cohort."""
    a_cohort(tmp_path / "cohort", cases=2)
    with served(tmp_path / "cohort") as client:
        page = opened(client).opened()
        assert page.locator("#threshold").count() == 0
        page.press("h")
        figure = page.evaluate(f"[...{VIEW}.cells.call].indexOf(1)")
        page.evaluate(f"{VIEW}.select({figure})")
        counted = (
            f"[...{VIEW}.cells.call].filter((_, i) => overlay.counts({VIEW}.cells, i, {VIEW}.cells.n, true)).length"
        )
        counted = f"import('/static/overlay.js').then((overlay) => {counted})"
        assert page.evaluate(counted) == 2  # not the imposter
        page.press("r")
        page.decided(1)
        assert "no figure" in page.inner_text(".chosen dl")  # not the state before
        assert "1 of 3" in page.inner_text(".panel")
        assert page.evaluate(counted) == 1
        page.gallery()
        page.press("r", "a")
        page.decided(3)
    assert {d.how for d in DecisionLog.beside(tmp_path / "cohort").read()} == {"cohort"}


CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@contextlib.contextmanager
def hovered(page):
    """Every button as if the mouse were over it."""
    tools = page.context.new_cdp_session(page.page)
    for domain in ("DOM", "CSS"):
        tools.send(f"{domain}.enable")
    root = tools.send("DOM.getDocument")["root"]["nodeId"]
    for node in tools.send("DOM.querySelectorAll", {"nodeId": root, "selector": "button"})["nodeIds"]:
        tools.send("CSS.forcePseudoState", {"nodeId": node, "forcedPseudoClasses": ["hover"]})
    yield
    tools.detach()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_everything_is_legible(tmp_path, opened, scheme, width):
    """In every view: contrast of 4.5 or more (WCAG AA), also below the mouse, and nothing wider than the screen."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder, reader="A") as client:
        client.decide(
            *(
                {"kind": "verdict", "slide": 0, "row": row, "verdict": ("figure", "imposter", "unsure")[row]}
                for row in range(3)
            )
        )
        page = opened(client, width=width, height=800, scheme=scheme).opened()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (min(int(v) for v in re.findall(r"\d+", ground)) < 60) == (scheme == "dark")
        for key in "12345":
            page.press(key)
            page.wait_for_timeout(700)
            if key == "1":
                page.press("n")
                page.wait_for_timeout(300)
            if key == "2":
                page.until("mitosieve.page.current.cell")
                page.press("r")  # the longest word
                page.until("document.querySelector('.state:not(:empty)')")
                words = "[...document.querySelectorAll('.state')].filter(s => s.scrollWidth > s.clientWidth)"
                assert page.evaluate(f"{words}.map(s => s.textContent)") == []
            assert page.evaluate(CONTRAST) == []
            with hovered(page):
                assert page.evaluate(CONTRAST) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(
                "[...document.querySelectorAll('button')].every(b => b.textContent.trim() || b.ariaLabel)"
            )
        page.press("?")
        page.wait_for_timeout(200)
        assert page.evaluate(CONTRAST) == []


def test_the_keyboard_alone_suffices(tmp_path, opened):
    """Every control is reached by Tab and shows the focus; words of a field and keys of the browser decide nothing."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        page = opened(client).opened()
        reached, visible = set(), True
        for _ in range(60):
            page.press("Tab")
            told = page.evaluate(
                "(a => [a.id || a.ariaLabel || a.textContent.trim().slice(0, 20), "
                "getComputedStyle(a).outlineStyle !== 'none' || a === document.body])(document.activeElement)"
            )
            reached.add(told[0])
            visible &= told[1]
        assert visible
        assert {"tab-slide", "theme", "help-open", "slide-picker", "threshold", "Zoom in (+)"} <= reached
        page.gallery()
        page.locator("input[type=number]").first.focus()
        page.press("a", "r", "z")
        page.locator(".cards").focus()
        page.press(" ", "Control+a", "Meta+r", "Control+u")
        page.wait_for_timeout(300)
        assert page.evaluate("document.getElementById('lens').open")
        assert page.evaluate("mitosieve.store.decisions.length") == 0


def test_a_server_that_is_gone_is_told(tmp_path, chromium):
    """The page stays, and says that nothing is saved."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = Page(chromium, client.server.address).opened().gallery()
    page.press("a")
    page.until("document.getElementById('status').textContent.includes('not saved')")
    page.context.close()


def test_a_page_that_was_left_open_says_who_decides_now(tmp_path, chromium):
    """The viewer is started again for another reader, at the same address and with the same secret: the page tells it,
    and as whom its decision can be saved; no count and no file of that reader's is shown.
    """
    folder = a_result(tmp_path / "found", names=("one",))
    with serving(Desk(*open_viewed(folder), reader="Ada"), None) as client:
        page = Page(chromium, client.server.address).opened().gallery()
        at = {"port": client.server.port, "token": client.server.token}
    with serving(Desk(*open_viewed(folder), reader="Ben"), None, **at) as ben:
        page.until("document.getElementById('status').textContent.includes('another reader decides at this address')")
        ben.decide({"kind": "verdict", "slide": 0, "row": 0, "verdict": "imposter"})
        page.press("a")
        page.until("document.getElementById('status').textContent.startsWith('not saved: another reader decides')")
        page.until("document.getElementById('status').textContent.includes('once the viewer runs as Ada again')")
        page.press("3")
        page.until("document.querySelector('.can').textContent.includes('another reader decides')")
        page.press("5")
        links = page.evaluate(
            "[...document.querySelectorAll('a[download], a[target]')].map((a) => a.getAttribute('href'))"
        )
        assert len(links) > 4
        assert {ben.ask(link)[0] for link in links} == {409}
        page.context.close()
    assert {one.reader for one in DecisionLog.beside(folder).read()} == {"Ben"}


def test_what_could_not_be_saved_is_told_until_it_is(tmp_path, opened):
    """Whatever else the server answers meanwhile; then each decision is saved once, in the order of the keys."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        page = opened(client).opened().gallery()
        page.cut_off("**/api/decisions", "POST")
        page.press("a", "r", "a", "z", "u")
        page.until("mitosieve.store.unsaved === 3")
        with page.page.expect_response("**/api/decisions?since=*"):
            pass
        page.wait_for_timeout(100)
        assert "not saved" in page.inner_text("#status")
        assert page.inner_text("#unsaved") == "3 not saved: try again"
        page.reached_again("**/api/decisions")
        page.click("#unsaved")
        page.decided(3)
        page.until("document.getElementById('unsaved').hidden")
        page.press("a")
        page.decided(4)
        assert page.evaluate("[mitosieve.store.unsaved, mitosieve.store._unsaved.length]") == [0, 0]
    assert [d.verdict for d in DecisionLog.beside(folder).read()] == ["figure", "imposter", "unsure", "figure"]


def test_a_cell_whose_answer_was_lost_is_added_once(tmp_path, opened):
    """The server had it on the disk; asked again it is not added a second time, and a place off the slide never."""
    folder = a_result(tmp_path / "found", names=("one",))
    with served(folder) as client:
        page = opened(client).opened()

        def lost(route):
            client.ask("/api/decisions", method="POST", body=route.request.post_data_buffer)
            route.abort()

        page.page.route("**/api/decisions", lambda r: lost(r) if r.request.method == "POST" else r.fallback())
        page.press("i", "Enter")
        page.until("mitosieve.store.unsaved === 1")
        page.reached_again("**/api/decisions")
        page.click("#unsaved")
        page.until("mitosieve.store.unsaved === 0")
        page.evaluate(f"mitosieve.page.current._add({VIEW}, -400, -400)")
        page.until("document.getElementById('status').textContent.includes('not on the slide')")
        assert page.evaluate("[mitosieve.store.unsaved, mitosieve.store._unsaved.length]") == [0, 0]
        page.faults[:] = [fault for fault in page.faults if "400 (Bad Request)" not in fault]
    assert [d.kind for d in DecisionLog.beside(folder).read()] == ["added"]
