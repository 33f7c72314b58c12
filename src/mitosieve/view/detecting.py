"""A detection that a page started: in a process of its own, so that the page stays quick; it ends with the viewer."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mitosieve.errors import InputError, MitosieveError
from mitosieve.view.viewed import ViewedSlide, without_paths


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be detected, picklable.

    Attributes:
        slides: path and stated mpp of each; names are those that the command would give them.
        detector: name or folder.
        out: folder of the result.
    """

    slides: tuple[tuple[Path, float | tuple[float, float] | None], ...]
    detector: str
    out: Path


def detect(asked: Asked, tell: Connection) -> None:
    """Detect, telling (what, done, total) as it goes, and at the end "done", or ("failed", why)."""
    from mitosieve.network.compute import Compute
    from mitosieve.scan import Scan, items_of_images, origin_of, scan

    try:
        items = items_of_images([path for path, _ in asked.slides], mpp=None, roi=None)
        done = scan(
            Scan(
                detector=asked.detector,
                items=[replace(item, mpp=mpp) for item, (_, mpp) in zip(items, asked.slides, strict=True)],
                out=asked.out,
                origin=origin_of(None, None, None),
                compute=Compute.choose("auto", "auto", "auto", None),
                formats=("geojson",),
                resume=True,
                workers=min(2, max(0, (os.cpu_count() or 1) - 1)),
                progress=lambda what, done, total, **_: tell.send((what, done, total)),
            )
        )
        failed = "; ".join(f"{name}: {why}" for name, why in done.failed.items())
        tell.send(("failed", failed) if failed else "done")
    except MitosieveError as error:
        tell.send(("failed", f"{error.what}{f'; {error.remedy}' if error.remedy else ''}"))


class Detection:
    """At most one at a time.

    Args:
        slides: to detect on.
        detector: name or folder.
        out: folder of the result.
        when_done: called once, in a thread, when the result is whole.
    """

    def __init__(
        self, slides: tuple[ViewedSlide, ...], *, detector: str, out: Path, when_done: Callable[[], None]
    ) -> None:
        named = tuple((slide.path, slide.stated_mpp) for slide in slides if slide.path is not None)
        self._asked = Asked(slides=named, detector=detector, out=out)
        self._named = Path(detector).name
        self._when_done = when_done
        self._lock = threading.Lock()
        self._state = "idle"
        self._share: float | None = None
        self._why = ""
        self._process: Any = None

    def start(self) -> dict[str, Any]:
        """Begin, or go on where an earlier one was cut off.

        Raises:
            InputError: one is running.
        """
        with self._lock:
            if self._state in ("running", "done"):
                raise InputError("a detection is running already" if self._state == "running" else "it is done")
            context = multiprocessing.get_context("spawn")
            heard, tell = context.Pipe(duplex=False)
            # no daemon: it may start readers of its own
            self._process = context.Process(target=detect, args=(self._asked, tell))
            self._process.start()
            tell.close()
            self._state, self._share, self._why = "running", None, ""
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()
        return self.state()

    def state(self) -> dict[str, Any]:
        """What the page shows: state, share of it that is done (None: not yet known) and words."""
        words = {
            "idle": f"With the detector {self._named}, on this machine, into the folder {self._asked.out.name}.",
            "running": "Detecting; the page may be used or closed meanwhile, the command must go on.",
            "failed": f"Failed: {self._why}",
            "done": "Done.",
        }
        return {"state": self._state, "share": self._share, "words": words[self._state]}

    def stop(self) -> None:
        """End what is running; it goes on from its last finished band when started again."""
        with self._lock:
            if self._process is not None and self._process.is_alive():
                self._process.terminate()
                self._process.join(10)

    def _listen(self, heard: Connection) -> None:
        state, why = "failed", "its process ended; start it again, and it goes on where it was"
        with contextlib.suppress(EOFError, OSError):
            while True:
                told = heard.recv()
                if told == "done":
                    state = "done"
                    break
                if told[0] == "failed":
                    why = self._words(told[1])
                    break
                _, done, total = told
                self._share = done / total if total else None
        if state == "done":
            try:
                self._when_done()
            except MitosieveError as error:
                state, why = "failed", self._words(error.what)
        self._state, self._why = state, why

    def _words(self, text: str) -> str:
        return without_paths(text, self._asked.out, *(path.parent for path, _ in self._asked.slides))
