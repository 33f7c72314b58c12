"""Draws docs/images/view-*.jpg: the pages of `mitosieve view` on a phantom slide, with the shipped detector.

The audit is of records that the tests draw by lot: its order means nothing.

Needs Debian's Chromium and Playwright: `python docs/make_view_pictures.py`; takes some minutes on two cores.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from mitosieve.phantom import PhantomConfig, make_phantom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from audited_run import a_dasc_run, a_phantom

IMAGES = Path(__file__).parent / "images"
QUALITY = 72
SIZE_PX = 6912
CHROMIUM = "/usr/bin/chromium"


def command(*words: object) -> None:
    """Run a command of the package."""
    subprocess.run([sys.executable, "-m", "mitosieve.cli", *map(str, words)], check=True)


def a_result(folder: Path) -> Path:
    """A phantom slide of 3 mm2, larger than a hotspot, and what the shipped detector finds on it."""
    config = PhantomConfig(
        cases=1, slides_per_case=1, size_px=(SIZE_PX, SIZE_PX), figures_per_mm2=14, imposters_per_mm2=60, difficulty=0.4
    )
    make_phantom(folder / "phantom", config, np.random.default_rng(11))
    command(
        "detect",
        "--cohort",
        folder / "phantom",
        "--tissue",
        "breast",
        "--out",
        folder / "phantom-found",
        "--threads",
        2,
    )
    return folder / "phantom-found"


def save(page: Any, name: str) -> None:  # noqa: ANN401 - Playwright's page
    """Write what the page shows now."""
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    picture.save(IMAGES / f"view-{name}.jpg", quality=QUALITY, optimize=True)


def an_audit(folder: Path) -> Path:
    """An audit of four small phantom slides, of a training's records that were drawn by lot."""
    cohort = a_phantom(folder / "cohort")
    command("audit", a_dasc_run(folder / "run", cohort), "--out", folder / "labels")
    return folder / "labels"


def until(page: Any, expression: str) -> None:  # noqa: ANN401 - Playwright's page
    """Wait by asking again: the page's policy forbids what Playwright would put into it."""
    end = time.monotonic() + 120
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.1)


INKED = """canvas => {
  const { width, height } = canvas;
  return width > 0 && canvas.getContext("2d").getImageData(width >> 1, height >> 1, 1, 1).data[3] > 0;
}"""
"""Whether the middle of a canvas is drawn."""


def rest(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """Wait until the slide and its overview are drawn, and every crop is there."""
    glass = "mitosieve.page.current.view?.osd"
    until(page, f"(osd => !osd || osd.world.getItemAt(0)?.getFullyLoaded())({glass})")
    until(page, f"(osd => !osd || ({INKED})(osd.navigator.drawer.canvas))({glass})")
    page.wait_for_timeout(1500)  # movements end, counts come
    until(page, "[...document.images].every(image => image.complete && image.naturalWidth)")


def seen(
    folder: Path, draw: Callable[[Any], None], *, width: int = 1280, height: int = 800, dark: bool = False
) -> None:
    """A page of a folder, opened, drawn and closed."""
    words = [sys.executable, "-m", "mitosieve.cli", "view", str(folder), "--no-browser", "--reader", "Ada"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as viewer, sync_playwright() as playwright:
        assert viewer.stdout is not None
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            scheme = "dark" if dark else "light"
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(viewer.stdout.readline().strip())
            until(page, "globalThis.mitosieve?.page.current?.view?.cells?.n > 0")
            rest(page)
            draw(page)
            browser.close()
        finally:
            viewer.terminate()


def pictures_of_a_result(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """Slide, gallery, field of the hotspot."""
    keys = page.keyboard
    save(page, "slide")
    keys.press("2")
    rest(page)
    for verdict in "ararauraarra":
        keys.press(verdict)
    rest(page)
    save(page, "gallery")
    keys.press("3")
    until(page, "mitosieve.page.current.told?.is_searched")
    keys.press("Enter")
    rest(page)
    save(page, "count")


def cell(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """The cell with the highest score, on the slide."""
    page.keyboard.press("n")
    rest(page)
    save(page, "dark")


def narrow(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """The gallery on a narrow screen."""
    page.keyboard.press("2")
    rest(page)
    save(page, "narrow")


def marks(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """Marks of the phantom, as a cohort shows them."""
    page.keyboard.press("2")
    rest(page)
    save(page, "cohort")


def labels(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """Labels of an audit, the most suspicious first, some looked at."""
    page.keyboard.press("2")
    rest(page)
    for verdict in "ara":
        page.keyboard.press(verdict)
    rest(page)
    save(page, "audit")


def main() -> None:
    """Draw a phantom, detect on it, and look at it in every way."""
    with tempfile.TemporaryDirectory() as folder:
        found = a_result(Path(folder))
        seen(found, pictures_of_a_result)
        seen(found, cell, dark=True)
        seen(found, narrow, width=400, height=800)
        seen(Path(folder) / "phantom", marks)
        seen(an_audit(Path(folder) / "audit"), labels)


if __name__ == "__main__":
    main()
