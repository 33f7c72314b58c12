"""Opened slides and their encoded pictures, a few of each, by number: nothing is opened by a path that a page sends."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mitosieve.errors import SlideError
from mitosieve.slide.slide import open_slide
from mitosieve.view.pictures import Pictures
from mitosieve.view.viewed import ViewedSlide

MOST_OPEN = 4
"""Slides held open; the one that was longest not asked for goes."""

SLIDE_CACHE_BYTES = 48 * 2**20
PICTURES_BYTES = 48 * 2**20
"""Encoded pictures that are kept."""


@dataclass
class _Place:
    """One slide's place: whoever opens it holds its lock, so that it is opened once."""

    lock: threading.Lock
    pictures: Pictures | None = None


class Shelf:
    """Slides by their number.

    Args:
        slides: all that may be looked at.
    """

    def __init__(self, slides: Sequence[ViewedSlide]) -> None:
        self._slides = tuple(slides)
        self._places: OrderedDict[int, _Place] = OrderedDict()
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def pictures(self, number: int) -> Pictures:
        """The slide of this number, opened. One that leaves the shelf closes when its last reader is done with it.

        Raises:
            SlideError: it cannot be opened.
            ResolutionError: it has no usable resolution.
        """
        with self._lock:
            place = self._places.setdefault(number, _Place(threading.Lock()))
            self._places.move_to_end(number)
            while len(self._places) > MOST_OPEN:
                self._places.popitem(last=False)
        with place.lock:
            if place.pictures is None:
                place.pictures = Pictures(self._open(self._slides[number]))
            return place.pictures

    def kept(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        """An encoded picture, from those kept or made now."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._kept_bytes += len(made)
            while self._kept_bytes > PICTURES_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def _open(self, slide: ViewedSlide):  # noqa: ANN202 - a Slide
        if slide.path is None:
            remedy = None if slide.lost else "say it: --slides DIR"
            raise SlideError(slide.lost or "it is not known where the image is", remedy=remedy)
        opened = open_slide(slide.path, mpp=slide.stated_mpp, slide_id=slide.slide_id, cache_bytes=SLIDE_CACHE_BYTES)
        if slide.size_l0 is not None and opened.size_l0 != slide.size_l0:
            found = opened.size_l0
            opened.close()
            raise SlideError(
                f"is {found[0]} x {found[1]} px now, but was {slide.size_l0[0]} x {slide.size_l0[1]} px: another image",
                where=slide.path,
            )
        return opened
