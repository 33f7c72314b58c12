"""Opening an address in this machine's browser, without telling it to others."""

import contextlib
import tempfile
import threading
import webbrowser
from collections.abc import Generator
from html import escape
from pathlib import Path


@contextlib.contextmanager
def in_browser(address: str) -> Generator[None]:
    """Open an address in this machine's browser.

    By a page that only this user can read and that sends the browser on: a command line with the secret in it could be
    read by every user of the machine.
    """
    with tempfile.TemporaryDirectory(prefix="mitosieve-view-") as folder:
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(address)}">')
        opening = threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True)
        opening.start()
        yield
