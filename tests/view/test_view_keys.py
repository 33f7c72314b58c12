"""Keys and clicks: what one of them means, whatever is set elsewhere on the page."""

import numpy as np
import pytest
from found import a_result, some_detections
from paged import VIEW
from serving import served

from mitosieve.review.log import DecisionLog

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
        added = [(x + 20, y), (x + 26, y)]
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
