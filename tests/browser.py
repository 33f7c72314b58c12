"""Chromium as the tests use it: pages at a width, light or dark, on paper; keys; pictures. Over a pipe, no ports."""

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
QUIET = ("--disable-component-update", "--disable-sync", "--disable-quic", "--hide-scrollbars", "--mute-audio")


class Browser:
    """One Chromium with one page in it."""

    def __init__(self, path: str, folder: Path) -> None:
        ours_out, theirs_in = os.pipe()[::-1]
        ours_in, theirs_out = os.pipe()
        command = [path, *CHROMIUM, *QUIET, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]

        def wire() -> None:
            held = os.dup(theirs_in), os.dup(theirs_out)  # 3 and 4 may be the ends themselves
            os.dup2(held[0], 3)
            os.dup2(held[1], 4)

        self._process = subprocess.Popen(
            command, preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in, self._number, self._rest = ours_out, ours_in, 0, b""
        self._session = ""
        target = next(t for t in self.do("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self.do("Page.enable")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.do("Browser.close")
        for end in (self._out, self._in):
            os.close(end)
        self._process.wait(timeout=30)

    def do(self, method: str, **params):
        """A command of the DevTools protocol, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            while b"\0" not in self._rest:
                part = os.read(self._in, 1 << 20)
                if not part:
                    raise OSError("the browser has ended")
                self._rest += part
            answer, self._rest = self._rest.split(b"\0", 1)
            told = json.loads(answer)
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                return told["result"]
        raise TimeoutError(method)

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False, script: bool = True) -> None:
        """Show a page in a window of this width, and wait until it and its pictures are there."""
        self.do("Emulation.setScriptExecutionDisabled", value=not script)
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.do("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete' && [...document.images].every(picture => picture.complete)")

    def wait(self, condition: str) -> None:
        until = time.monotonic() + 60
        while not self.ask(condition):
            assert time.monotonic() < until, condition
            time.sleep(0.05)

    def ask(self, expression: str):
        """The value of an expression in the page; a promise is awaited."""
        told = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def key(self, name: str, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=name, code=name, text=text if kind == "keyDown" else "")

    def on_paper(self, *, width_mm: float = 186) -> None:
        """Lay the page out for A4 between its margins."""
        self.do("Emulation.setEmulatedMedia", media="print", features=[])
        width = round(width_mm / 25.4 * 96)
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=1032, deviceScaleFactor=1, mobile=False)

    def picture(self, *, whole: bool = True) -> np.ndarray:
        """A screenshot, (h, w, 3)."""
        told = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(told["data"]))).convert("RGB"))

    def pdf(self) -> bytes:
        """The page printed."""
        return base64.b64decode(self.do("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])


@contextlib.contextmanager
def a_browser(folder: Path):
    """Chromium, or the test is skipped."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: install it to see the pages in a real browser")
    browser = Browser(path, folder / "profile")
    try:
        yield browser
    finally:
        browser.close()
