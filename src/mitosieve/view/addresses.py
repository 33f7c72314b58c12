"""Where a report that the viewer serves finds its pictures, its style and script, and each cell's place."""

from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import quote, urlencode

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

_PICTURE_PX = 384


class ViewerAddresses:
    """Addresses of this server. They hold numbers alone, and who reads as letters that are safe in a page.

    Args:
        number_of: the number of a slide by its name; None where it is none of these.
        gone: numbers of slides whose image is not there.
        words: a text as a page may show it.
        script: name of the page's.
        edition: of the desk, see there.
        query: what an address of a page says of who reads, and of whose decisions count.
    """

    viewer = Markup("/")
    icon = Markup("/static/icon.svg")
    style = Markup("/report/style.css")

    def __init__(
        self,
        number_of: Callable[[str], int | None],
        gone: Collection[int],
        words: Callable[[str], str],
        *,
        script: str,
        edition: str,
        query: Mapping[str, str],
    ) -> None:
        self._number_of = number_of
        self._gone = gone
        self._words = words
        self._edition = edition
        self.script = Markup("/report/{}").format(script)
        self._query = Markup("?{}").format(urlencode(query, quote_via=quote))
        self.job = Markup("/report") + self._query

    def picture(self, slide_id: str, center_l0: Sequence[float] | NDArray[np.floating], um: float) -> str:
        """Of a place on a slide; empty where the slide is not there."""
        number = self._number_of(slide_id)
        x, y = (float(value) for value in center_l0)
        address = Markup("/api/slides/{}/crop?x={:.3f}&amp;y={:.3f}&amp;um={:.0f}&amp;px={}&amp;of={}")
        return (
            ""
            if number is None or number in self._gone
            else address.format(number, x, y, um, _PICTURE_PX, self._edition)
        )

    def place(self, slide_id: str, center_l0: Sequence[float] | NDArray[np.floating]) -> str:
        """The place in the slide view; empty where the slide is not there."""
        number = self._number_of(slide_id)
        x, y = (float(value) for value in center_l0)
        return "" if number is None or number in self._gone else Markup("/#slide/{}/{:.3f}/{:.3f}").format(number, x, y)

    def page(self, slide_id: str) -> str:
        """The page of a slide."""
        number = self._number_of(slide_id)
        return self.job if number is None else Markup("/report/slides/{}").format(number) + self._query

    def words(self, text: str) -> str:
        """A text as the page may show it."""
        return self._words(text)
