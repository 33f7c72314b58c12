"""Draws docs/images/view-*.jpg: the pages of `mitosieve view` on a phantom slide, with the shipped detector.

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

IMAGES = Path(__file__).parent / "images"
QUALITY = 72
SIZE_PX = 6144
CHROMIUM = "/usr/bin/chromium"


def command(*words: object) -> None:
    """Run a command of the package."""
    subprocess.run([sys.executable, "-m", "mitosieve.cli", *map(str, words)], check=True)


def a_result(folder: Path) -> Path:
    """A phantom slide of 2.4 mm2 and what the shipped detector finds on it."""
    config = PhantomConfig(
        cases=1, slides_per_case=1, size_px=(SIZE_PX, SIZE_PX), figures_per_mm2=14, imposters_per_mm2=60, difficulty=0.4
    )
    make_phantom(folder / "phantom", config, np.random.default_rng(11))
    command("detect", "--cohort", folder / "phantom", "--out", folder / "phantom-found", "--threads", 2)
    return folder / "phantom-found"


def save(page: Any, name: str) -> None:  # noqa: ANN401 - Playwright's page
    """Write what the page shows now."""
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    picture.save(IMAGES / f"view-{name}.jpg", quality=QUALITY, optimize=True)


def until(page: Any, expression: str) -> None:  # noqa: ANN401 - Playwright's page
    """Wait by asking again: the page's policy forbids what Playwright would put into it."""
    end = time.monotonic() + 120
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.1)


def seen(
    folder: Path, draw: Callable[[Any], None], *, width: int = 1280, height: int = 800, dark: bool = False
) -> None:
    """A page of a folder, opened, drawn and closed."""
    words = [sys.executable, "-m", "mitosieve.cli", "view", str(folder), "--no-browser", "--reader", "Ada"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as viewer, sync_playwright() as playwright:
        assert viewer.stdout is not None
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        page.goto(viewer.stdout.readline().strip())
        until(
            page, "globalThis.mitosieve?.page.current?.view?.cells?.n > 0 && mitosieve.page.current.view.firstTile > 0"
        )
        page.wait_for_timeout(2500)
        draw(page)
        browser.close()
        viewer.terminate()


def pictures_of_a_result(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """Slide, gallery, field of the hotspot."""
    keys = page.keyboard
    save(page, "slide")
    keys.press("2")
    page.wait_for_timeout(4000)
    for verdict in "ararauraarra":
        keys.press(verdict)
    page.wait_for_timeout(3000)
    save(page, "gallery")
    keys.press("3")
    until(page, "mitosieve.page.current.told?.is_searched")
    keys.press("Enter")
    page.wait_for_timeout(4000)
    save(page, "count")


def cell(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """The cell with the highest score, on the slide."""
    page.keyboard.press("n")
    page.wait_for_timeout(4000)
    save(page, "dark")


def narrow(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """The gallery on a narrow screen."""
    page.keyboard.press("2")
    page.wait_for_timeout(4000)
    save(page, "narrow")


def marks(page: Any) -> None:  # noqa: ANN401 - Playwright's page
    """Marks of the phantom, as a cohort shows them."""
    page.keyboard.press("2")
    page.wait_for_timeout(4000)
    save(page, "cohort")


def main() -> None:
    """Draw a phantom, detect on it, and look at it in every way."""
    with tempfile.TemporaryDirectory() as folder:
        found = a_result(Path(folder))
        seen(found, pictures_of_a_result)
        seen(found, cell, dark=True)
        seen(found, narrow, width=400, height=800)
        seen(Path(folder) / "phantom", marks)


if __name__ == "__main__":
    main()
