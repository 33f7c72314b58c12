"""For the site: links that leave docs/ point to files which the site does not hold; they become text."""

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **given: Any) -> str:  # noqa: ANN401 - mkdocs's
    """Links out of docs/ as text; called by mkdocs."""
    here = posixpath.dirname(page.file.src_uri)

    def told(found: re.Match[str]) -> str:
        outside = posixpath.normpath(posixpath.join(here, found[2])).startswith("..")
        return found[1] if outside else found[0]

    return _LINK.sub(told, markdown)
