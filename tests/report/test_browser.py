import html
import json
import re
import shutil
import subprocess

import pytest
from made import a_scan

from audited_run import a_dasc_run, a_phantom
from mitosieve.audit.report import audit
from mitosieve.report import write_report

LOOK = """<script>
window.onload = () => {
  const seen = [...document.images].map(picture => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const brush = canvas.getContext("2d");
    brush.drawImage(picture, 0, 0, 64, 64);
    const values = brush.getImageData(0, 0, 64, 64).data.filter((value, place) => place % 4 === 0);
    const box = picture.getBoundingClientRect();
    return [picture.naturalWidth, Math.max(...values) - Math.min(...values), box.width, box.height];
  });
  const page = document.documentElement;
  document.title = JSON.stringify({seen: seen, wide: page.scrollWidth, window: page.clientWidth});
};
</script>"""
"""Looks at every picture from within the page: its width, its range of grey, and the room it takes."""


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: install it to see the report in a real browser")
    return path


def look(page, tmp_path, chromium):
    """What a narrow window shows: each picture's width, range of grey, box; the page's and the window's width."""
    watched = tmp_path / "watched.html"
    watched.write_text(page.read_text().replace("</body>", LOOK + "</body>"))
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=500,2000",
            "--dump-dom",
            watched.as_uri(),
        ),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title is not None
    return json.loads(html.unescape(title.group(1)))


def check_seen(told, pictures):
    """As many pictures, none broken, blank or tiny; nothing but tables is wider than the window."""
    assert len(told["seen"]) == pictures
    for natural, grey_range, width, height in told["seen"]:
        assert natural > 0
        assert grey_range > 50
        assert min(width, height) > 90
    assert told["wide"] <= told["window"]


def test_a_browser_draws_every_picture_on_a_phone(shared, tmp_path, chromium):
    """Three charts of the score, two of the training, nine cells."""
    check_seen(look(shared.path, tmp_path, chromium), 3 + 2 + 9)


def test_a_browser_draws_the_heat_maps_on_a_phone(tmp_path, chromium):
    """One a slide."""
    check_seen(look(write_report(a_scan(tmp_path / "scan")), tmp_path, chromium), 3)


def test_a_browser_draws_the_suspects_on_a_phone(tmp_path, chromium):
    """Three cells of each direction, each with its rival."""
    out = audit(a_dasc_run(tmp_path / "run", a_phantom(tmp_path / "cohort")), tmp_path / "out", top=3).out
    check_seen(look(out / "index.html", tmp_path, chromium), 3 * 2 * 2)
