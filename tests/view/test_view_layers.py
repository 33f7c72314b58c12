"""What lies over a slide and beside it: the heat map, layers of two slides, fields without a hotspot, what is told."""

import json

import numpy as np
import pytest
import shapely
from found import MPP, a_result, some_detections
from paged import VIEW
from serving import served

from mitosieve.count import heatmap
from mitosieve.count.ground import Ground
from mitosieve.review.log import DecisionLog

pytestmark = pytest.mark.slow
SLIDE, COUNT = "mitosieve.page.current", "mitosieve.page.current"
STEP_UM = 6.25
"""Of a px of the map of a slide of 1.5 mm."""


def with_tissue(folder, slide_id, mask, mpp):
    (folder / "summaries" / f"{slide_id}.json").write_text(json.dumps({"ground": Ground.of(mask, mpp).to_json()}))
    return folder


def without_waiting(page):
    """The browser says of each tile that it asked for before the overview was made that there was none."""
    words = ("503 (Service Unavailable)", "failed to load")
    page.faults[:] = [fault for fault in page.faults if not any(word in fault for word in words)]


def test_the_heat_map_is_the_one_that_detect_draws(tmp_path, opened):
    """Figures a mm2 of tissue, by the same Gaussian, tissue and scale, whose ends are told beside it."""
    size = (6000, 5750)
    folder = a_result(tmp_path / "found", names=("one",), size=size, n=90)
    mask = np.zeros((230, 240), dtype=np.bool_)
    mask[:, :65] = mask[:80, 160:] = True
    with served(with_tissue(folder, "one", mask, STEP_UM)) as client:
        page = opened(client).opened()
        page.press("h")
        page.until(f"{VIEW}._heat")
        view = "v.cells, v.upto, v.frame, v.byTable, v._tissue.known"
        asked = f"h.densityOf({view}), found = [d.w, d.h, d.step, [...d.per_mm2], [...d.share]]"
        w, h, step, per_mm2, share = page.evaluate(
            f"import('/static/heat.js').then((h) => {{ const v = {VIEW}, d = {asked}; return found; }})"
        )
        scale = page.evaluate(
            "import('/static/heat.js').then((h) => [h.BANDWIDTH_UM, h.SCALE_PER_MM2, h.LEAST_TISSUE])"
        )
        legend = page.inner_text(".heat-scale").split()
        page.press("h")
        page.until("document.querySelector('.heat-scale').hidden")
        without_waiting(page)
    assert (h, w, step) == (*mask.shape, STEP_UM)
    np.testing.assert_allclose(np.reshape(share, (h, w)), mask, atol=1e-6)
    found = some_detections("one", size=size, n=90)
    points = (found.center_l0[found.is_figure] + 0.5) * MPP
    drawn = heatmap.tissue_density(points, mask, mpp=STEP_UM, bandwidth_um=heatmap.BANDWIDTH_UM)
    np.testing.assert_allclose(np.reshape(per_mm2, (h, w)), drawn, rtol=1e-4, atol=1e-3)
    assert scale == [heatmap.BANDWIDTH_UM, list(heatmap.SCALE_PER_MM2), heatmap._LEAST_TISSUE]
    assert (legend[0], legend[2:4], legend[-1]) == ("0.5", ["≥", "50"], "tissue")


def test_layers_are_those_of_both_slides(tmp_path, opened):
    """Side by side: the heat map, what is below the threshold and the hotspot's outline, whichever came first."""
    layers = f"((s) => [s.view, s.second].map((v) => [v.heatOn, v.below, v.outlines.length]))({SLIDE})"
    with served(a_result(tmp_path / "found")) as client:
        page = opened(client).opened()
        page.press("b", "t")
        page.until(f"{SLIDE}.second?.cells && {SLIDE}.second.outlines.length && {VIEW}.outlines.length")
        page.press("h")
        assert page.evaluate(layers) == [[True, True, 1]] * 2
        first = page.evaluate(f"{SLIDE}.second.outlines[0].points")
        page.evaluate("mitosieve.store.setThreshold(0.9)")
        page.until(f"JSON.stringify({SLIDE}.second.outlines[0]?.points) !== {json.dumps(json.dumps(first))}")
        page.press("b", "h")
        assert page.evaluate(layers) == [[False, False, 1]] * 2


def test_a_slide_without_a_hotspot_is_gone_through_whole(tmp_path, opened):
    """Fields that hold tissue, and no others, are offered and looked through; the next slide has its hotspot again; a
    smaller window frames the field anew.
    """
    folder = a_result(tmp_path / "found", names=("one",), size=(6000, 2900), area_mm2=2.0)
    mask = np.ones((116, 240), dtype=np.bool_)
    mask[:, 64:] = False  # 0.4 mm of 1.5
    inside = """(([[x0, y0], , [x1, y1]], [a, b, c, d]) => x0 >= a - 1 && y0 >= b - 1 && x1 <= c + 1 && y1 <= d + 1)
        (C.fields[C.at].corners, C.view.shown)""".replace("C.", f"{COUNT}.")
    with served(with_tissue(folder, "one", mask, STEP_UM)) as client:
        page = opened(client).opened()
        page.press("3")
        page.until(f"{COUNT}.fields?.length > 0")
        boxes = np.array(page.evaluate(f"{COUNT}.fields.map((f) => f.box)")) * MPP
        assert len(boxes) == 2 * 3
        assert boxes[:, 0].max() < 0.4 * 1000 < boxes[:, 2].max()
        assert (boxes[:, 2:].max(axis=0) > (399, 724)).all()
        assert page.evaluate(f"{COUNT}.which.querySelector('select').value") == "tissue"
        page.press("Enter")
        page.decided(1)
        page.until(f"{COUNT}.at === 1")
        assert "whole tissue" in page.inner_text(".panel")
        page.wait_for_timeout(800)
        assert page.evaluate(inside)
        page.set_viewport_size({"width": 700, "height": 420})
        page.until(inside, seconds=10)
        without_waiting(page)
    (looked,) = DecisionLog.beside(folder).read()
    assert looked.kind == "looked"


def test_what_is_taken_back_and_what_is_refused_is_told(tmp_path, opened):
    """Undo names what and where, also on another slide; a figure twice and a threshold that is none are refused with
    words; what is not counted again says that it is automatic; commands have the names that are known.
    """
    status = "document.getElementById('status').textContent"
    folder = a_result(tmp_path / "found it")
    with served(folder) as client:
        client.decide({"kind": "looked", "slide": 1, "area": [[0, 0], [9, 0], [9, 9]]})
        page = opened(client).opened()
        page.decided(1)
        page.press("n", "r")
        page.decided(2)
        page.until("document.querySelector('.facts').textContent.includes('automatic')")
        page.press("z")
        page.until(f"{status}.startsWith('undone: no figure, one, x ')")
        page.press("z")
        page.until(f"{status}.startsWith('undone: a field looked through, of two')")
        page.press("i", "Enter", "Enter")
        page.until(f"{status}.startsWith('there is one already here')")
        page.decided(5)
        box = "[aria-label='Threshold as a number']"
        for text in ("5", "-1"):
            page.fill(box, text)
            page.press("Tab")
            page.until(f"{status} === 'a score is from 0 to 1, not {text}'")
            assert page.input_value(box) == "0.5000"
        page.press("5")
        commands = page.inner_text("pre").splitlines()
        page.set_viewport_size({"width": 1500, "height": 900})
        page.gallery()
        wide = "s.scrollWidth > s.clientWidth || s.offsetHeight > 20"
        page.evaluate("document.querySelectorAll('.stages').forEach((s) => (s.textContent = '0.9981→0.9991→0.9999'))")
        assert page.evaluate(f"[...document.querySelectorAll('.stages')].filter((s) => {wide}).length") == 0
    assert commands == [
        "mitosieve import reviews 'found it' COHORT --out NEW",
        "mitosieve adapt swift 'found it' --out NEW",
    ]
    request = json.loads((folder / "detect.json").read_text())
    (folder / "detect.json").write_text(json.dumps({**request, "detector": str(tmp_path / "runs" / "swift")}))
    with served(folder) as client:
        own = opened(client).opened()
        own.press("5")
        assert own.inner_text("pre").splitlines()[1] == "mitosieve adapt DETECTOR 'found it' --out NEW", "no path"
    kinds = [d.kind for d in DecisionLog.beside(folder).read()]
    assert kinds == ["looked", "verdict", "undo", "undo", "added"]


def test_the_searched_area_is_drawn_and_what_is_added_beyond_it_is_told(tmp_path, opened):
    """Each slide's own, with its holes, on the slide and in Count; a figure outside is kept, with words, and is in no
    count; an area that is the whole slide has no edge.
    """
    folder = a_result(tmp_path / "found", names=("one", "two", "three"))
    request = json.loads((folder / "detect.json").read_text())
    area = shapely.box(0, 0, 1200, 1000).difference(shapely.box(100, 100, 300, 300))
    several = shapely.GeometryCollection([shapely.MultiPolygon([area]), shapely.LineString([(0, 0), (9, 9)])])
    areas = [(["one"], several), (["two"], shapely.box(-9, -9, 9000, 9000))]
    stated = [{"slides": names, "area": json.loads(shapely.to_geojson(one))} for names, one in areas]
    (folder / "detect.json").write_text(json.dumps({**request, "areas": stated}))
    status = "document.getElementById('status').textContent"
    with served(folder) as client:
        page = opened(client).opened()
        rings = page.evaluate(f"{VIEW}.area.map((o) => o.points)")
        assert [shapely.Polygon(ring).area for ring in rings] == [1200 * 1000, 200 * 200]
        assert "area that was searched" in page.inner_text(".legend")
        for n, (x, y) in enumerate(((700, 40), (1300, 40), (200, 200)), start=1):
            page.evaluate(f"{SLIDE}._add({VIEW}, {x}, {y})")
            page.decided(n)
            page.until(f"{status}.includes({json.dumps('saved' if n == 1 else 'outside the area')})")
        assert client.get("/api/slides/0/reviewed")["added"] == 1
        kept = client.ask("/api/files/report.html")[2].decode()
        assert "had not found: 1<" in kept
        assert "Figures outside the area that was searched, in no count: 2<" in kept
        for slide in (1, 2):
            page.evaluate(f"{SLIDE}.open({slide})")
            assert page.evaluate(f"{VIEW}.area") == []
            page.evaluate(f"{SLIDE}._add({VIEW}, 1300, 40)")
            page.decided(3 + slide)
            assert client.get(f"/api/slides/{slide}/reviewed")["added"] == 1
