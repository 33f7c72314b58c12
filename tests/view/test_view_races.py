"""What is on its way while somebody goes on: late answers change nothing of what came after them."""

import numpy as np
import pytest
from found import a_result, some_detections
from paged import VIEW
from serving import served

from mitosieve.review.log import DecisionLog, standing

pytestmark = pytest.mark.slow


def place_of(name, seed, row):
    """Level-0 px of a row, as the page numbers them."""
    found = some_detections(name, seed=seed)
    return found.center_l0[np.argsort(-found.score, kind="stable")[row]].tolist()


def test_a_place_is_chosen_without_its_count(tmp_path, opened):
    """Enter on a card, and a verdict while the slide is counted: about that cell. Of two places the last is chosen."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        page = opened(client).opened()
        page.evaluate(f"{VIEW}.select(5)")
        page.gallery()
        place = page.evaluate("mitosieve.page.current.batch.findIndex((c) => c.slide === 0 && c.row !== 5)")
        page.evaluate(f"mitosieve.page.current._to({place})")
        cell = page.evaluate("mitosieve.page.current.cell")
        held = page.hold("**/count*")
        page.press("Enter")
        page.wait_for_timeout(200)
        page.press("r")
        page.decided(1)
        assert page.evaluate("(({slide, row}) => [slide, row])(mitosieve.store.decisions[0])") == [0, cell["row"]]
        page.let_go("**/count*", held)

        held = page.hold("**/api/slides/1")
        go = "(slide, place, select) => mitosieve.page.go('slide', { slide, place, select })"
        page.evaluate(f"({go})(1, {place_of('two', 1, 3)}, 3)")
        page.waits(held)
        page.evaluate(f"({go})(0, {place_of('one', 0, 7)}, 7)")
        page.until(f"{VIEW}.slide === 0 && {VIEW}.selected === 7")
        page.let_go("**/api/slides/1", held)
        page.wait_for_timeout(300)
        assert page.evaluate(f"[{VIEW}.slide, {VIEW}.selected]") == [0, 7]
    (decision,) = DecisionLog.beside(folder).read()
    assert decision.verdict == "imposter"


def test_a_slide_that_fails_late_is_not_on_the_glass(tmp_path, opened):
    """The one opened after it stays, with its cells and without its words; where none can be opened no ring is left."""
    shown = f"[{VIEW}.slide, {VIEW}.osd.world.getItemCount(), {VIEW}.message.textContent, Boolean({VIEW}.frame)]"
    rings = f"(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))({VIEW}.canvas)"
    with served(a_result(tmp_path / "found", names=("one", "two", "three"))) as client:
        page = opened(client).opened()
        page.until(rings)
        held = page.hold("**/api/slides/1")
        page.evaluate("void mitosieve.page.current.open(1)")
        page.waits(held)
        page.evaluate("void mitosieve.page.current.open(2)")
        page.until(f"{VIEW}.slide === 2 && {VIEW}.cells")
        held.pop().abort()
        page.wait_for_timeout(300)
        assert page.evaluate(shown) == [2, 1, "", True]
        page.reached_again("**/api/slides/1")
        page.cut_off("**/api/slides/1")
        page.evaluate("void mitosieve.page.current.open(1)")
        page.until(f"{VIEW}.message.textContent.includes('does not answer')")
        page.until(f"!{rings}", seconds=5)
        page.reached_again("**/api/slides/1")
        page.evaluate("void mitosieve.page.current.open(1)")
        page.until(f"{VIEW}.slide === 1 && {VIEW}.cells && {rings}")


def test_a_gallery_shows_each_cell_its_own_verdict(tmp_path, opened):
    """However late the cells of a slide come: a gallery asks for none, and a page before leaves no word on this one."""
    folder = a_result(tmp_path / "found")
    with served(folder) as client:
        client.decide(*({"kind": "verdict", "slide": 1, "row": row, "verdict": "figure"} for row in range(60)))
        page = opened(client).opened()
        asked = []
        page.page.on("request", lambda request: asked.append(request.url) if "/cells" in request.url else None)
        held = page.hold("**/api/slides/1/cells")
        page.gallery()
        per = page.evaluate("mitosieve.page.current.perPage")
        assert per < 60
        other, own = (f"[...Array({per}).keys()].map((i) => i + {start})" for start in (60, 0))
        gallery = "mitosieve.page.current"
        page.evaluate(
            f"(g => {{ g.rows = new Uint32Array([...{other}, ...{own}]); g._from = -1; g._to(0); }})({gallery})"
        )
        page.until(f"{gallery}.cell?.slide === 1")
        page.press("PageDown")
        page.until(f"{gallery}.cell?.slide === 0")
        page.let_go("**/api/slides/1/cells", held)
        page.wait_for_timeout(300)
        words = "[...document.querySelectorAll('.card .state')].map((s) => s.textContent)"
        assert page.evaluate(words) == [""] * per
        page.press("PageUp")
        page.until(f"{gallery}.cell?.slide === 1")
        assert page.evaluate(words) == ["figure"] * per
        assert not [url for url in asked if url.endswith("/cells")]


def test_rows_are_those_of_the_controls(tmp_path, opened):
    """In whatever order answers come; until one has come, no key decides. Agreement is of the two readers chosen."""
    folder = a_result(tmp_path / "found", names=("one",))
    for reader in "ABC":
        with served(folder, reader=reader) as client:
            client.decide(
                {"kind": "verdict", "slide": 0, "row": 0, "verdict": "imposter" if reader == "C" else "figure"}
            )
    with served(folder, reader="A") as client:
        page = opened(client).opened().gallery()
        held = page.hold("**/api/order?*", only="rank=place")
        page.select_option(".bar select >> nth=0", "place")
        page.waits(held)
        page.evaluate("document.activeElement.blur()")
        page.press("a")
        page.select_option(".bar select >> nth=0", "score")
        falls = (
            "(g => g.cell && g.batch.every((c, i) => !i || g.batch[i - 1].score >= c.score))(mitosieve.page.current)"
        )
        page.until(falls)
        page.let_go("**/api/order?*", held)
        page.wait_for_timeout(300)
        assert page.evaluate(falls)
        assert page.evaluate("mitosieve.store.decisions.length") == 1

        page.press("4")
        page.until("document.querySelector('main button.main')")
        held = page.hold("**/api/agreement?*", only="second=C")
        page.select_option("main select >> nth=1", "C")
        page.click("text=Show their agreement")
        page.waits(held)
        page.select_option("main select >> nth=1", "B")
        page.click("text=Show their agreement")
        page.until("document.querySelector('main').textContent.includes('Disagreements: 0')")
        page.let_go("**/api/agreement?*", held)
        page.wait_for_timeout(300)
        assert "Disagreements: 0" in page.inner_text("main")


def test_what_is_on_its_way_is_not_lost_and_can_be_taken_back(tmp_path, opened):
    """A page asks before it is closed; after a lost answer nothing is written twice, and what is taken back is gone."""
    folder = a_result(tmp_path / "found", names=("one",))
    warns = "(e => (dispatchEvent(e), e.defaultPrevented))(new Event('beforeunload', { cancelable: true }))"
    with served(folder) as client:
        page = opened(client).opened().gallery()
        held = page.hold("**/api/decisions", "POST")
        page.press("a", "r", "u")
        page.waits(held)
        assert page.evaluate(f"[{warns}, mitosieve.store.unsaved]") == [True, 0]
        page.let_go("**/api/decisions", held)
        page.decided(3)
        page.until(f"!{warns}")

        losing = []

        def lost(route):
            if route.request.method != "POST" or not losing:
                return route.fallback()
            client.ask("/api/decisions", method="POST", body=route.request.post_data_buffer)
            return route.abort()

        page.page.route("**/api/decisions", lost)
        for both in (False, True):  # the answer of the verdict is lost, then that of its undo too
            losing.append(True)
            page.press("a")
            page.until("mitosieve.store.unsaved === 1")
            if not both:
                losing.clear()
            page.press("z")
            if not both:
                page.decided(5)
                page.until("document.getElementById('status').textContent.startsWith('undone: figure')")
            else:  # the words of the verdict's own loss stand already: only the disk tells that the undo has come
                for _ in range(4000):
                    page.wait_for_timeout(20)
                    if len(DecisionLog.beside(folder).read()) == 7:
                        break
                page.until("mitosieve.store.unsaved === 1")
                losing.clear()
                page.click("#unsaved")
            page.until("mitosieve.store.pending === 0")
            page.until("mitosieve.store._standing.size === 3")
        losing.append(True)
        page.press("r")
        page.until("mitosieve.store.unsaved === 1")
        losing.clear()
        page.click("#unsaved")
        page.until("mitosieve.store.pending === 0")
        with page.page.expect_response("**/api/decisions?since=*"):
            pass
        page.until("mitosieve.store.decisions.length === 8")
        page.reached_again("**/api/decisions")
    decisions = DecisionLog.beside(folder).read()
    assert [d.kind for d in decisions] == ["verdict"] * 3 + ["verdict", "undo"] * 2 + ["verdict"]
    assert [d.verdict for d in standing(decisions, "A").values()] == ["figure", "imposter", "unsure", "imposter"]


def test_a_slide_is_not_divided_by_the_tissue_of_another(tmp_path, opened):
    """Count is opened on one slide, whose tissue comes late, and then on another: the late one changes nothing."""
    with served(a_result(tmp_path / "found")) as client:
        page = opened(client).opened()
        page.evaluate("mitosieve.page.current.open(1)")
        page.evaluate("mitosieve.page.go('count')")
        page.until("mitosieve.page.current.told && mitosieve.page.current.view.slide === 1")
        held = page.hold("**/api/slides/0/tissue")
        page.evaluate("void mitosieve.page.current.open(0)")
        page.waits(held)
        page.evaluate("void mitosieve.page.current.open(1)")
        page.until("mitosieve.page.current.view.slide === 1 && mitosieve.page.current.told")
        page.evaluate("mitosieve.page.current._tissue = 'of the second slide'")
        page.let_go("**/api/slides/0/tissue", held)
        page.wait_for_timeout(300)
        assert page.evaluate("mitosieve.page.current._tissue") == "of the second slide"
