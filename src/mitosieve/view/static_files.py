"""The files of the page, read once: nothing else is served by name."""

import mimetypes
from functools import cache
from importlib import resources


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Name -> content and type of every file of the page; nothing else is served by name."""
    found: dict[str, tuple[bytes, str]] = {}
    root = resources.files("mitosieve.view") / "static"
    for folder, prefix in ((root, ""), (root / "vendor", "vendor/")):
        for item in folder.iterdir():
            if item.is_file():
                kind = "text/javascript" if item.name.endswith(".js") else mimetypes.guess_type(item.name)[0]
                found[prefix + item.name] = item.read_bytes(), kind or "text/plain"
    return found
