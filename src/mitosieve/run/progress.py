"""How long work tells how far it is. Knows nothing of terminals: the command line draws the bar."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told (what is going on, done, total); may be called often."""
