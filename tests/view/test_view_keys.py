"""Keys and clicks: what one of them means, whatever is set elsewhere on the page."""

import numpy as np
import pytest
from found import MPP, a_result, some_detections
from paged import VIEW
from serving import served

from mitosieve.review.log import DecisionLog
from mitosieve.view.gallery import MOST_ROWS

pytestmark = pytest.mark.slow
SIZE = (2400, 2400)


def held_down(page, key, presses=5):
    for _ in range(presses):
        page.page.keyboard.down(key)
        page.until("mitosieve.store.pending === 0")
    page.page.keyboard.up(key)


def test_a_held_key_is_one_decision(tmp_path, opened):
    """Fields hold all figures of the hotspot, wherever the slider is; held, Enter looks through one, a judges one."""
    folder = a_result(tmp_path / "found", names=("one",), n=240, size=SIZE, area_mm2=0.2)
    count = "mitosieve.page.current"
    with served(folder) as client:
        page = opened(client).opened()
        page.evaluate("mitosieve.store.setThreshold(0.97)")
        page.press("3")
        page.until(f"{count}.fields?.length > 3 && {count}.told?.is_searched")
        offered = page.evaluate(
            f"(c => [...new Set(c.fields.flatMap((_, k) => ((c.at = k), c._inField())))].length)({count})"
        )
        assert offered == page.evaluate(f"{count}.told.automatic.hotspot.figures") > 20
        page.evaluate(f"{count}.field(0)")
        held_down(page, "Enter")
        page.locator("button.main").focus()
        held_down(page, "Enter")
        page.gallery()
        held_down(page, "a")
        held_down(page, "ArrowRight", 3)
        assert page.evaluate(f"{count}.at") == 4
        page.wait_for_timeout(100)
    assert [d.kind for d in DecisionLog.beside(folder).read()] == ["looked", "looked", "verdict"]


def test_a_click_on_a_cell_chooses_it(tmp_path, opened):
    """Its centre, however near another lies: a detection beside an added cell, and added cells beside one another."""
    found = some_detections("one")
    x, y = found.center_l0[np.argsort(-found.score, kind="stable")[0]].tolist()
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        added = [(x + 20, y), (x + 51, y)]
        client.decide(*({"kind": "added", "slide": 0, "x": px, "y": py, "verdict": "figure"} for px, py in added))
        page = opened(client).opened()
        page.decided(2)
        page.evaluate(f"{VIEW}.home()")
        page.wait_for_timeout(600)
        box = page.evaluate(f"(b => [b.left, b.top])({VIEW}.node.getBoundingClientRect())")
        keys = page.evaluate("mitosieve.store.decisions.map((d) => d.key)")
        for what, (px, py) in zip([0, *keys], [(x, y), *added], strict=True):
            assert page.evaluate(f"{VIEW}.pick({px}, {py}, 300)") == what
        at = page.evaluate(f"(([a, b, c, d, e, f]) => [a * {x} + c * {y} + e, b * {x} + d * {y} + f])({VIEW}.map())")
        page.mouse.click(box[0] + at[0], box[1] + at[1])
        page.until(f"{VIEW}.selected === 0", seconds=10)


def test_a_figure_added_on_a_detection_is_shown_as_that_detection(tmp_path, opened):
    """Its ring is decided, as it is counted; one added beside all stands alone; a later verdict is what is shown."""
    found = some_detections("one")
    order = np.argsort(-found.score, kind="stable")
    low = len(order) - 1
    x, y = found.center_l0[order[low]].tolist()
    far = next(
        (px, py)
        for px in range(100, 1400, 50)
        for py in range(100, 1000, 50)
        if np.hypot(*(found.center_l0 - (px, py)).T).min() * MPP > 10
    )
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        for px, py in ((x + 2, y), far):
            client.decide({"kind": "added", "slide": 0, "x": px, "y": py, "verdict": "figure"})
        page = opened(client).opened()
        numbers = f"c.verdict[{low}], c.shown[{low}], c.alone.length, c.added.length"
        shown = f"((c) => [{numbers}])({VIEW}.cells)"
        assert page.evaluate(shown) == [0, 1, 1, 2]
        assert page.evaluate(f"{VIEW}.cells.shown.reduce((sum, value) => sum + value, 0)") == 1
        page.evaluate(f"{VIEW}.select({low})")
        page.press("r")
        page.decided(3)
        assert page.evaluate(shown) == [2, 2, 1, 2]


def test_every_key_is_told_and_has_a_control(tmp_path, opened):
    """What a view does by a key stands in the help under that view, and some control of the view names it."""
    missing = """import('/static/words.js').then(({ KEYS }) => import('/static/buttons.js').then(({ shortcut }) => {
      const { current } = mitosieve.page, name = document.getElementById('main').dataset.view;
      const where = { slide: ['Slide and Count', 'Slide'], gallery: ['Gallery'], count: ['Slide and Count', 'Count'] };
      const lists = KEYS.filter(([title]) => title === 'Everywhere' || where[name].includes(title));
      const told = new Set(lists.flatMap(([, rows]) => rows.flatMap(([, , keys]) => keys)));
      const controls = [current.node, ...current.node.querySelectorAll('*')];
      const named = new Set(controls.flatMap((c) => (c.getAttribute('aria-keyshortcuts') ?? '').split(' ')));
      const keys = Object.keys(current.keys());
      return [keys.filter((k) => !told.has(k)), keys.filter((k) => !named.has(shortcut(k))), keys.length > 12];
    }))"""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened()
        for key in "123":
            page.press(key)
            if key == "3":
                page.until("mitosieve.page.current.told?.is_searched")
                page.until("mitosieve.page.current.said.textContent.startsWith('Cell 1 of ')")
                page.evaluate(
                    "((c) => { Object.assign(c.told, { deciding: [0], reviewed: { ...c.told.reviewed, score: 2 } });"
                    " c._numbers(); })(mitosieve.page.current)"
                )
            assert page.evaluate(missing) == [[], [], True]
            panel = "document.querySelector('[aria-selected=true][role=tab]').getAttribute('aria-controls')"
            assert page.evaluate(f"document.getElementById({panel}).getAttribute('role')") == "tabpanel"


def test_the_focus_stays_where_keys_mean_cells(tmp_path, opened):
    """After a list, a button that adds, and a decision; an added cell is reached by n; an emptied threshold is none."""
    folder = a_result(tmp_path / "found", names=("one", "two"))
    slide, focus = "mitosieve.page.current", "document.activeElement"
    with served(folder) as client:
        page = opened(client).opened()
        page.fill("[aria-label='Threshold as a number']", "")
        page.press("Tab")
        assert page.evaluate("mitosieve.store.threshold") == 0.5
        page.evaluate(f"{slide}.addButton.focus()")
        before = page.evaluate(f"{VIEW}.middle")
        page.press("Enter", "ArrowRight")
        page.wait_for_timeout(600)
        page.press("Enter")
        page.decided(1)
        assert page.evaluate(f"{VIEW}.middle")[0] > before[0] + 20
        page.press("Escape", "p")
        added = page.evaluate("mitosieve.store.decisions[0].key")
        assert page.evaluate(f"{VIEW}.selected") == added
        page.press("n")
        assert page.evaluate(f"{VIEW}.selected") == 0
        page.locator(".chosen .verdict.figure").focus()
        page.press("Enter")
        page.decided(2)
        assert page.evaluate(f"{focus}.className") == "verdict figure"
        page.locator("#slide-picker").focus()
        page.select_option("#slide-picker", "1")
        assert page.evaluate(f"{focus} === {VIEW}.node")
        page.gallery()
        held = page.hold("**/api/order?*")
        decided = page.locator(".bar select >> nth=3")
        decided.focus()
        decided.select_option("none")
        page.press("u")
        page.waits(held)
        assert "nothing decided" in page.inner_text("#status")
        page.let_go("**/api/order?*", held)
        page.until(f"{slide}.cell")
        page.press("u")
        page.decided(3)
        assert decided.input_value() == "none"
    assert [d.verdict for d in DecisionLog.beside(folder).read()] == ["figure", "figure", "unsure"]


def test_what_is_left_out_is_told(tmp_path, opened):
    """An order that was cut says so, Files has every slide, and a detection is followed past an answer that is lost."""
    with served(a_result(tmp_path / "found", names=("one",))) as client:
        page = opened(client).opened().gallery()
        assert page.evaluate("import('/static/gallery.js').then((g) => g.MOST_ROWS)") == MOST_ROWS
        page.evaluate(f"(g => {{ g.rows = new Uint32Array({MOST_ROWS}); g._told(); }})(mitosieve.page.current)")
        assert page.inner_text(".gallery > p").startswith("the first 20 000 cells")
        page.evaluate(
            "(s => { s.session.slides = [...Array(300).keys()].map((number) => ({ ...s.slides[0], number })); })"
            "(mitosieve.store)"
        )
        page.press("5")
        assert page.locator("main a[href*='/geojson']").count() == 300

        running, ended = ({"state": state, "share": 0.5, "words": state} for state in ("running", "ended"))
        told = [running, None, ended]

        def detect(route):
            answer = told.pop(0)
            route.abort() if answer is None else route.fulfill(json=answer)

        page.page.route("**/api/detect", detect)
        box = "new DetectBox({ say: (words) => (document.title = words) })"
        page.evaluate(f"import('/static/detection.js').then(({{ DetectBox }}) => void (globalThis.box = {box}))")
        page.until("box.job.textContent === 'ended'", seconds=20)
        assert "does not answer" in page.title()
        page.reached_again("**/api/detect")
