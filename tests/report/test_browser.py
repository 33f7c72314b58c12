"""What a person sees: the pages in Chromium, at 1400 and 400 px, dark, on paper, and what their scripts do."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from made import a_scan, a_study_page
from test_slide_pages import a_job, a_trust

from audited_run import a_dasc_run, a_phantom
from browser import a_browser
from mitosieve.audit.corrections import import_corrections
from mitosieve.audit.report import audit
from mitosieve.report import write_report

OVERFLOWING = """(() => {
  const wide = document.documentElement.clientWidth;
  const told = [];
  for (const part of document.querySelectorAll("body *")) {
    const box = part.getBoundingClientRect();
    if (!box.width || !box.height || getComputedStyle(part).visibility === "hidden") continue;
    if (part.matches(".crops .shot img")) continue; // its middle is shown
    const rolled = SCREEN && part.closest(".wide, pre");
    const name = `${part.tagName}.${part.className}`;
    if (!rolled && box.right > wide + 1) told.push(`${name} ends at ${Math.round(box.right)}`);
    const cut = getComputedStyle(part).overflowX !== "visible" && part.scrollWidth > part.clientWidth + 1;
    const meant = rolled || part.matches(".crops .shot, input, select");
    if (cut && !meant) told.push(`${name} is cut`);
  }
  return told.slice(0, 8);
})()"""
"""What sticks out of the window or is cut; on a screen tables and program text may be rolled."""

DRAWN = """Promise.all([...document.images].map(async picture => {
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const brush = canvas.getContext("2d");
  brush.fillStyle = "white";
  brush.fillRect(0, 0, 64, 64);
  brush.drawImage(picture, 0, 0, 64, 64);
  const values = brush.getImageData(0, 0, 64, 64).data.filter((value, place) => place % 4 === 0);
  const box = picture.getBoundingClientRect();
  return [picture.naturalWidth, Math.max(...values) - Math.min(...values), Math.min(box.width, box.height)];
}))"""
"""Of each picture its own width, its range of grey, and the room it takes."""

LONG = "a-very-long-name-of-a-slide-without-any-space-in-it-as-scanners-give-them-2026-11-29-0001"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with a_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    cohort = a_phantom(folder / "cohort")
    return cohort, audit(a_dasc_run(folder / "run", cohort), folder / "out", top=4).out


@pytest.fixture(scope="module")
def pages(tmp_path_factory, shared, audited):
    """name -> page and its number of pictures."""
    folder = tmp_path_factory.mktemp("pages")
    one = a_job(folder / "one", names=[LONG], trust=a_trust())
    many = a_job(folder / "many", slides=4, figures=2, candidates=1, names=[LONG, "b", "c", "d"])
    index = write_report(many)
    return {
        "run": (shared.path, 3 + 2 + 9),
        "slides": (write_report(a_scan(folder / "scan")), 3),
        "slide": (write_report(one), 16),
        "many": (index, 0),
        "one of many": (many / "report-slides" / "b.html", 3),
        "audit": (audited[1] / "index.html", None),
        "study": (a_study_page(folder / "study"), 3),
    }


PAGES = ("run", "slides", "slide", "many", "one of many", "audit", "study")


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_and_every_picture_is_drawn(pages, browser, name, width):
    """Nothing sticks out of the window; pictures are neither broken nor blank nor tiny; the screenshot is no blank."""
    page, pictures = pages[name]
    browser.open(page, width=width)
    assert browser.ask(OVERFLOWING.replace("SCREEN", "true")) == []
    assert browser.ask("document.documentElement.scrollWidth") <= width
    seen = browser.ask(DRAWN)
    assert pictures is None or len(seen) == pictures
    for natural, grey_range, side in seen:
        assert natural > 0
        assert grey_range > 40
        assert side > 70
    shot = browser.picture()
    assert shot.shape[1] == width
    assert np.ptp(shot[: min(len(shot), 600)]) > 150


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_nothing_is_cut(pages, browser, name):
    """Laid out between the margins of A4 no table or picture ends beyond them; the print is of A4 pages."""
    page, _ = pages[name]
    browser.open(page, width=1400, dark=True)
    browser.on_paper()
    assert browser.ask(OVERFLOWING.replace("SCREEN", "false")) == []
    assert browser.picture()[:200].mean() > 150  # white, though the screen was dark
    browser.open(page, width=1400)
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    boxes = {tuple(float(v) for v in part.split(b"]")[0].split()) for part in pdf.split(b"/MediaBox [")[1:]}
    assert boxes
    assert all(box == pytest.approx((0, 0, 595, 842), abs=2) for box in boxes)


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_dark_where_the_reader_wants_it(pages, browser, name):
    """The ground is dark and the words are bright; and the other way round."""
    page, _ = pages[name]
    for dark in (False, True):
        browser.open(page, width=1400, dark=dark)
        shade = "getComputedStyle(document.querySelector('h1')).color.match(/\\\\d+/g).map(Number)[0]"
        ground = browser.picture(whole=False)[100:, :20].mean()
        assert (ground < 60) == dark
        assert (browser.ask(shade.replace("\\\\", "\\")) > 180) == dark


def test_every_page_says_what_it_is_of_and_when(pages, browser):
    """A title, a date, the disclaimer; where there are scores, what a score is, once or more."""
    for name, (page, _) in pages.items():
        browser.open(page, width=1400)
        text = browser.ask("document.body.innerText")
        assert "mitosieve" in browser.ask("document.title")
        assert " 20" in browser.ask("document.querySelector('header').innerText"), name
        assert "Research use only" in text
        assert name == "audit" or "A score, from 0 to 1, says" in text, name


def test_names_wrap_and_coordinates_are_seen_at_400_px(pages, browser):
    """Also the longest name; each cell's place is inside the window."""
    page, _ = pages["slide"]
    browser.open(page, width=400)
    assert LONG in browser.ask("document.body.innerText")
    inside = browser.ask(
        "[...document.querySelectorAll('.cell figcaption span')].every(part => "
        "{const box = part.getBoundingClientRect(); return box.right <= 400 && box.width > 0})"
    )
    assert inside
    assert browser.ask("document.querySelectorAll('.cell').length") == 16


def test_without_its_script_the_page_can_be_read(pages, browser):
    """All cells and numbers stand there; controls that would do nothing are not shown."""
    page, _ = pages["slide"]
    browser.open(page, width=1400, script=False)
    shot = browser.picture()
    browser.open(page, width=1400)
    assert shot.shape[0] == pytest.approx(browser.picture().shape[0], abs=150)
    html = page.read_text()
    assert '<form class="tools" hidden>' in html
    assert "dialog" not in html.split("<script")[0].split("<body>")[1]


def told(browser):
    return browser.ask("document.querySelector('.told').textContent")


def test_the_threshold_moves_with_a_live_count(pages, browser):
    """The count at any threshold is that of the table; at the detector's own that of summary.csv."""
    page, _ = pages["slide"]
    scores = sorted([*np.linspace(0.95, 0.55, 7), *np.linspace(0.45, 0.06, 9)])
    browser.open(page, width=1400)
    assert told(browser).startswith("7 figures, 1.79 per mm² of tissue")
    for step in (0, 40, 100, 150, 200):
        browser.ask(
            "{const bar = document.querySelector('[name=threshold]'); "
            f"bar.value = {step}; bar.dispatchEvent(new Event('input'));}}"
        )
        number = sum(round(score, 6) >= step / 200 for score in scores)
        assert told(browser).startswith(f"{number} figure")
        assert browser.ask("document.querySelectorAll('.cell.called').length") == number


def choose(browser, name, value):
    browser.ask(
        f"{{const list = document.querySelector('[name={name}]'); list.value = '{value}'; "
        "list.dispatchEvent(new Event('change'));}"
    )
    return browser.ask(
        "[...document.querySelectorAll('.cell')].filter(cell => !cell.hidden).map(cell => [Number(cell.dataset.score), "
        "Number(cell.dataset.y), 'inside' in cell.dataset])"
    )


def test_cells_are_filtered_and_sorted(pages, browser):
    """Figures, candidates, those of the hotspot; by score, by nearness to the threshold, from top to bottom."""
    page, _ = pages["slide"]
    browser.open(page, width=1400)
    assert [score >= 0.5 for score, _, _ in choose(browser, "which", "called")] == [True] * 7
    assert [score < 0.5 for score, _, _ in choose(browser, "which", "below")] == [True] * 9
    assert all(inside for _, _, inside in choose(browser, "which", "inside"))
    assert len(choose(browser, "which", "all")) == 16
    rows = [y for _, y, _ in choose(browser, "by", "place")]
    assert rows == sorted(rows)
    doubts = [abs(score - 0.5) for score, _, _ in choose(browser, "by", "doubt")]
    assert doubts == sorted(doubts)
    scores = [score for score, _, _ in choose(browser, "by", "score")]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", ["slide", "run"])
def test_crops_are_widened_with_their_scale_bar(pages, browser, name):
    """At 32 um and at 64 the bar is 10 um long; of the picture, 64 um wide, the middle is seen or all."""
    page, _ = pages[name]
    browser.open(page, width=1400)
    wide = "(part => document.querySelector('.gallery ' + part).getBoundingClientRect().width)"
    for um in (32, 64, 32):
        browser.ask(
            f"document.querySelectorAll('.gallery [name=width]').forEach(list => {{list.value = '{um}'; "
            "list.dispatchEvent(new Event('change'));})"
        )
        shown, bar, picture = (browser.ask(f"{wide}('{part}')") for part in (".shot", ".shot .bar", ".shot img"))
        assert bar / shown == pytest.approx(10 / um, rel=0.02)
        assert picture / shown == pytest.approx(64 / um, rel=0.01)


def test_cells_of_a_score_are_sorted(pages, browser):
    """Hardest first, by score, by slide and place; each gallery for itself."""
    page, _ = pages["run"]
    browser.open(page, width=1400)
    told = {}
    for by in ("first", "score", "place"):
        told[by] = browser.ask(
            f"{{const list = document.querySelector('.found [name=by]'); list.value = '{by}'; "
            "list.dispatchEvent(new Event('change'));} "
            "[...document.querySelectorAll('.found .cell')].map(({dataset}) => [dataset.slide, Number(dataset.score)])"
        )
    assert [score for _, score in told["score"]] == sorted((s for _, s in told["score"]), reverse=True)
    assert told["first"] == told["score"][::-1]  # the lowest score of a figure that was found is the hardest
    assert told["place"] == sorted(told["place"])


def test_labels_of_an_audit_are_sorted(audited, browser):
    """Within their slide: by suspicion, by what strangers' networks say, from top to bottom."""
    browser.open(audited[1] / "index.html", width=1400)
    for by, key in (("place", "y"), ("score", "score"), ("rank", "rank")):
        groups = browser.ask(
            f"{{const list = document.querySelector('[name=by]'); list.value = '{by}'; "
            "list.dispatchEvent(new Event('change'));} [...document.querySelectorAll('.suspects')].map(group => "
            f"[...group.children].map(part => Number(part.dataset.{key})))"
        )
        assert max(map(len, groups)) > 1
        assert groups == [sorted(group, reverse=by == "score") for group in groups]


def test_a_cell_is_enlarged_and_arrow_keys_go_on(pages, browser):
    """Enter opens it larger, arrows go to its neighbours, Escape comes back to the cell that was seen last."""
    page, _ = pages["slide"]
    browser.open(page, width=1400)
    browser.ask("document.querySelector('.cell').focus()")
    browser.key("ArrowRight")
    small = browser.ask("document.activeElement.querySelector('img').getBoundingClientRect().width")
    rank = "document.querySelector('dialog b')?.textContent"
    browser.key("Enter", "\r")
    assert browser.ask(rank) == "#2"
    assert browser.ask("document.querySelector('dialog img').getBoundingClientRect().width") > 2 * small
    for key, wanted in (("ArrowRight", "#3"), ("ArrowLeft", "#2"), ("ArrowLeft", "#1"), ("ArrowLeft", "#1")):
        browser.key(key)
        assert browser.ask(rank) == wanted
    browser.ask("document.querySelector('dialog').close()")
    browser.wait("!document.querySelector('dialog')")
    assert browser.ask("document.activeElement.dataset.score") == "0.950000"


SAVED = """new Promise(done => {
  URL.createObjectURL = blob => { blob.text().then(done); return "#"; };
  document.querySelector("[name=save]").click();
})"""


def test_verdicts_given_by_keys_are_read_by_import_corrections(audited, browser, tmp_path):
    """Each class by its key, one taken back; the saved file makes a new version with those changes and no others."""
    cohort, out = audited
    browser.open(out / "index.html", width=1400)
    facts = "[...document.querySelectorAll('.suspect')].map(part => [part.dataset.rank, part.dataset.label])"
    order = browser.ask(facts)
    browser.ask("document.querySelector('.suspect').focus()")
    wanted = {"mitotic figure": "2", "imposter": "1", "background": "1"}
    keys = [wanted[label] for _, label in order]
    keys[-1] = "3"
    for key in keys:
        browser.key(key, key)
    browser.ask("document.querySelector('.suspect').focus()")
    browser.key("0", "0")
    assert told(browser) == f"{len(order) - 1} of {len(order)} judged"
    browser.open(out / "index.html", width=1400)  # kept, where the page is opened again
    assert told(browser) == f"{len(order) - 1} of {len(order)} judged"
    file = tmp_path / "mitosieve-verdicts.geojson"
    file.write_text(browser.ask(SAVED))
    assert len(json.loads(file.read_text())["features"]) == len(order) - 1
    report = import_corrections(file, cohort.folder, tmp_path / "new", now=datetime.now(UTC))
    changed = [(label, key) for (_, label), key in zip(order[1:], keys[1:], strict=True)]
    assert report.total.to_imposter == sum(label == "mitotic figure" for label, _ in changed)
    assert report.total.to_figure == sum(label == "imposter" and key == "1" for label, key in changed)
    assert report.total.added == sum(label == "background" and key == "1" for label, key in changed)
    assert report.total.changed > 0
