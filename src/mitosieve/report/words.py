"""Templates of the package's pages, and how pages write numbers, nouns and dates."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from jinja2 import Environment, PackageLoader, StrictUndefined

from mitosieve.report.regimes import percent


class Words(Protocol):
    """Says how a page may show a text."""

    def words(self, text: str) -> str: ...


def environment(served: Words | None = None) -> Environment:
    """Templates of the package's pages, with the filters that write numbers.

    Args:
        served: what every text passes that is put into a page; None is as it is. Pictures in the page, and addresses
            that are marked as safe, do not pass it.
    """

    def shown(value: object) -> object:
        is_text = type(value) is str and not value.startswith("data:")
        return value if served is None or not is_text else served.words(str(value))

    made = Environment(
        finalize=shown,
        loader=PackageLoader("mitosieve.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "share": share,
        "count": count,
        "decimal": decimal,
        "percent": percent,
        "many": many,
        "interval": interval,
        "duration": duration,
        "sentence": sentence,
        "plain": plain,
    }
    made.filters.update(filters)
    return made


_UNKNOWN = "–"


def share(value: float | None) -> str:
    """A number between 0 and 1 with three digits; a dash where it is not defined."""
    return decimal(value, 3)


def decimal(value: float | None, digits: int = 1) -> str:
    """A number with a fixed number of digits and a true minus sign; a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    return f"{value:,.{digits}f}".replace("-", "−")


def count(value: int | None) -> str:
    """A whole number with thousands set apart; a dash where it is not known."""
    return _UNKNOWN if value is None else f"{value:,}"


def many(value: float | None, noun: str) -> str:
    """A number with its noun, in the plural where it is not one."""
    return f"{count(None if value is None else round(value))} {noun}{'' if value == 1 else 's'}"


def day_of(*files: Path) -> str:
    """The day on which the first of these files that is there was written, as "29 November 2026"; else empty.

    A page is dated by its result, not by its own writing: equal results give equal pages.
    """
    there = next((path for path in files if path.exists()), None)
    if there is None:
        return ""
    return in_days(datetime.fromtimestamp(there.stat().st_mtime, tz=UTC))


def in_days(when: datetime) -> str:
    """A time's day, as "29 November 2026"."""
    return f"{when.day} {when:%B %Y}"


def interval(ends: Sequence[float | None] | None) -> str:
    """Both ends of an interval of shares; a dash where it is not defined."""
    if ends is None or None in ends:
        return _UNKNOWN
    if ends[0] == ends[1]:
        return f"none: all resamples give {share(ends[0])}"
    return f"{share(ends[0])} to {share(ends[1])}"


def duration(seconds: float) -> str:
    """Wall time in the two units that tell most."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def sentence(text: str) -> str:
    """The text with a capital at its beginning and a full stop at its end; nothing of nothing."""
    return text and text[0].upper() + text[1:].rstrip(".") + "."


def plain(value: object) -> str:
    """A value of a JSON record in words: lists with commas, records as `name: value; ...`."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return "; ".join(f"{name}: {plain(item)}" for name, item in items)
    if isinstance(value, list):
        return ", ".join(plain(item) for item in cast("list[object]", value))
    return str(value)
