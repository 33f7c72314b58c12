"""Fixtures of the browser tests of the page, which are skipped where there is no Chromium or no Playwright."""

import pytest
from paged import CHROMIUM, Page


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Opens pages, and checks at the end that nothing went wrong in any."""
    pages = []

    def opening(client, **options):
        pages.append(Page(chromium, client.server.address, **options))
        client.closing.callback(pages[-1].context.close)
        return pages[-1]

    yield opening
    for page in pages:
        assert page.faults == []
        page.context.close()
