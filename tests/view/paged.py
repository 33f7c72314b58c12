"""A page of the viewer in a real browser (Debian's Chromium, by Playwright), with all that went wrong in it."""

import re
import shutil
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VIEW = "mitosieve.page.current.view"


class Page:
    """A page with all that went wrong in it."""

    def __init__(self, browser, address, *, width=1280, height=800, scheme="light"):
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.faults, self.hosts, self._first = [], set(), {}
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.hosts.add(re.sub(r"^(\w+://[^/]*).*", r"\1", request.url)))
        self.page.goto(address)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def until(self, expression, seconds=90):
        """Ask again until it is true: the page's policy forbids what Playwright would put into it."""
        end = time.monotonic() + seconds
        while True:
            value = self.page.evaluate(expression)
            if value:
                return value
            assert time.monotonic() < end, (expression, self.faults)
            time.sleep(0.03)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def opened(self):
        """The slide view with its cells and a tile."""
        self.until(f"globalThis.mitosieve?.page.current?.view?.cells && {VIEW}.firstTile > 0")
        return self

    def drawn(self):
        """The overlay's picture once nothing that was asked for changes it: counts and outline come after the cells."""
        self.until("document.querySelector('[data-figures]')?.textContent")
        before = None
        for _ in range(60):
            self.page.wait_for_load_state("networkidle")
            self.page.wait_for_timeout(500)
            now = self.page.evaluate(f"!{VIEW}._queued && {VIEW}.canvas.toDataURL()")
            if now and now == before:
                return now
            before = now
        raise AssertionError("the view does not come to rest")

    def gallery(self):
        self.press("2")
        self.until(
            "document.querySelector('.card img') && "
            "[...document.querySelectorAll('.card img')].every(i => i.complete && i.naturalWidth)"
        )
        return self

    def cut_off(self, pattern, method="GET"):
        """Requests of these addresses do not arrive, until `reached_again`; that is no fault of the page."""

        def broken(route):
            if route.request.method == method:
                route.abort()
            else:
                route.fallback()

        self.page.route(pattern, broken)

    def reached_again(self, pattern):
        """Requests arrive, and what the browser itself said of those that did not is forgotten."""
        self.page.unroute(pattern)
        self.faults[:] = [fault for fault in self.faults if "ERR_FAILED" not in fault]

    def hold(self, pattern, method="GET", only=""):
        """Requests of these addresses wait from now on, in the list that is returned, until `let_go` sends them on."""
        held = []

        def waiting(route):
            if route.request.method == method and only in route.request.url:
                held.append(route)
            else:
                route.fallback()

        self.page.route(pattern, waiting)
        return held

    def waits(self, held, n=1):
        """Wait until so many wait."""
        end = time.monotonic() + 90
        while len(held) < n:
            assert time.monotonic() < end, (f"{len(held)} of {n} were sent", self.faults)
            self.page.wait_for_timeout(10)

    def let_go(self, pattern, held):
        """What waited is sent on, and nothing waits any more."""
        while held:
            held.pop(0).continue_()
        self.page.unroute(pattern)
        self.page.wait_for_load_state("networkidle")

    def held_while(self, pattern, *keys):
        """Press keys while what the first of them sends is on its way.

        The route stays once it is there: taken away and set again between two keys, a request can pass between both.
        """
        if pattern not in self._first:
            self.page.route(pattern, lambda route: self._hold(self._first[pattern], route))
        self._first[pattern] = held = []
        self.press(*keys)
        end = time.monotonic() + 90
        while not held:
            assert time.monotonic() < end, (f"nothing was sent to {pattern}", keys, self.faults)
            self.page.wait_for_timeout(10)
        held[0].continue_()

    def _hold(self, held, route):
        if route.request.method == "POST" and not held:
            held.append(route)
        else:
            route.fallback()

    def decided(self, n):
        """Wait until so many decisions are on the disk."""
        self.until(f"mitosieve.store.decisions.length >= {n}")
