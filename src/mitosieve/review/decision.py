"""One decision of a person about a found cell, as one line of JSON. Knows no file and no slide.

Four kinds. "verdict": what a reader calls a detection. "added": a cell that the detector had not found. "undo": an
earlier decision of the same reader no longer counts. "looked": an area that a reader went through, so that what is not
marked there is known to be none.
"""

import json
import math
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

from mitosieve.errors import FormatError

DecisionKind = Literal["verdict", "added", "undo", "looked"]
Verdict = Literal["figure", "imposter", "unsure"]
How = Literal["gallery", "hotspot", "slide", "audit", "cohort"]

LONGEST_NAME = 200
"""Characters of a reader's name: what a table can show."""

MOST_CORNERS = 1000
"""Of an area: a circle needs 72, and a line of the file stays short."""

_ID = re.compile(r"[0-9a-f]{32}")
_REMEDY = "take the line out of the file, or put a copy of the file back"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one reader decided, when, and of which detection of which detector. Checked when made.

    Attributes:
        id: 32 hexadecimal digits, random (UUID 4).
        kind: see the module.
        slide_id: the slide.
        detection_id: of a verdict, what it is about: `detection.detection_ids`, or the id of an "added" decision.
        x_px, y_px: the place in level-0 px; of a verdict and an added cell.
        verdict: of a verdict and an added cell; an added cell is a figure or an imposter.
        reader: who decided.
        at: when, ISO 8601 with time zone UTC.
        detector: hash of the detector whose result was looked at; empty where there is none.
        score: of the detection; None where it has none.
        undoes: of an undo, the id of the decision that it takes back, which may itself be an undo.
        area: of "looked", the corners [x, y] of a polygon in level-0 px, not closed; None where single cells were
            looked at, as in a gallery.
        how: by which page.

    Raises:
        FormatError: a field is missing, of another type, or does not fit the kind.
    """

    id: str
    kind: DecisionKind
    slide_id: str
    reader: str
    at: str
    how: How
    detector: str = ""
    detection_id: str | None = None
    x_px: float | None = None
    y_px: float | None = None
    verdict: Verdict | None = None
    score: float | None = None
    undoes: str | None = None
    area: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        for name, passes, wanted in _FIELDS:
            if not passes(getattr(self, name)):
                raise FormatError(f"{name} is {_shown(getattr(self, name))}; it must be {wanted}", remedy=_REMEDY)
        for name in ("detection_id", "verdict", "x_px", "y_px", "undoes", "area"):
            self._check_fits(name)
        if self.kind == "added" and self.verdict == "unsure":
            raise FormatError("an added cell is a figure or an imposter, not unsure", remedy=_REMEDY)

    def _check_fits(self, name: str) -> None:
        """A field is there exactly where its kind has it; an area may be left out."""
        here, there = self.kind in _OF_KIND[name], getattr(self, name) is not None
        if here and not there and name != "area":
            raise FormatError(f"a decision of kind {self.kind} needs {name}", remedy=_REMEDY)
        if there and not here:
            raise FormatError(f"a decision of kind {self.kind} has no {name}", remedy=_REMEDY)

    @classmethod
    def now(cls, **values: Any) -> "Decision":  # noqa: ANN401 - the fields
        """A decision made at this moment: `id` and `at` are filled in.

        Raises:
            FormatError: as the class.
        """
        return cls.of({"id": uuid.uuid4().hex, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), **values})

    @classmethod
    def of(cls, content: object) -> "Decision":
        """From a JSON object; fields that are left out are None.

        Raises:
            FormatError: it is no object, has an unknown field or lacks one; or as the class.
        """
        if not isinstance(content, dict):
            raise FormatError("is no JSON object", remedy=_REMEDY)
        given = {str(key): value for key, value in cast("dict[Any, Any]", content).items()}
        known = [field.name for field in fields(cls)]
        strange, missing = sorted(set(given) - set(known)), [name for name in known[:6] if name not in given]
        if strange or missing:
            what = f"has the unknown field {strange[0]}" if strange else f"lacks the field {missing[0]}"
            raise FormatError(what, remedy=f"the fields are {', '.join(known)}")
        area = given.get("area")
        if isinstance(area, list):
            given["area"] = tuple(tuple(c) if isinstance(c, list) else c for c in cast("list[Any]", area))
        return cls(**given)

    @classmethod
    def from_json(cls, text: str) -> "Decision":
        """From a line of a file.

        Raises:
            FormatError: it is not JSON; or as `of`.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"is not JSON ({error})", remedy=_REMEDY) from error
        return cls.of(content)

    def to_json(self) -> str:
        """One line without its end; what is None is left out."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(given, ensure_ascii=True, allow_nan=False, separators=(",", ":"))

    @property
    def key(self) -> str | None:
        """What a verdict or an added cell is about: the detection's id, or its own; None of other kinds."""
        return self.id if self.kind == "added" else self.detection_id


def new_reader(name: str) -> str:
    """A reader's name as decisions carry it, without blanks around it.

    Raises:
        FormatError: empty, longer than LONGEST_NAME, or with characters that cannot be shown.
    """
    if not _is_name(name.strip()):
        raise FormatError(
            f"a reader cannot be called {_shown(name)}", remedy=f"give 1 to {LONGEST_NAME} printable characters"
        )
    return name.strip()


_OF_KIND: dict[str, tuple[str, ...]] = {
    "detection_id": ("verdict",),
    "verdict": ("verdict", "added"),
    "x_px": ("verdict", "added"),
    "y_px": ("verdict", "added"),
    "undoes": ("undo",),
    "area": ("looked",),
}
"""Which kinds have a field that not all have."""


def _shown(value: object) -> str:
    """A value as a message shows it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.strip() == value and value.isprintable()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME and value.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return isinstance(value, str) and when.utcoffset() is not None and not when.utcoffset()


def _is_area(value: object) -> bool:
    corners = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else ()
    return 3 <= len(corners) <= MOST_CORNERS and all(
        isinstance(corner, tuple) and len(cast("tuple[Any, ...]", corner)) == 2 and all(map(_is_number, corner))
        for corner in corners
    )


def _or_none(passes: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or passes(value)


def _one_of(words: tuple[str, ...]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


_FIELDS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("id", _is_id, "32 hexadecimal digits"),
    ("kind", _one_of(get_args(DecisionKind)), f"one of {', '.join(get_args(DecisionKind))}"),
    ("slide_id", lambda value: isinstance(value, str) and value != "", "the name of a slide"),
    ("reader", _is_name, f"a name of 1 to {LONGEST_NAME} printable characters"),
    ("at", _is_time, "a date and time in UTC, as 2026-01-31T12:00:00+00:00"),
    ("how", _one_of(get_args(How)), f"one of {', '.join(get_args(How))}"),
    ("detector", _is_text, "a hash, or empty"),
    ("detection_id", _or_none(_is_name), "the id of a detection"),
    ("x_px", _or_none(_is_number), "a finite number of level-0 px"),
    ("y_px", _or_none(_is_number), "a finite number of level-0 px"),
    ("verdict", _or_none(_one_of(get_args(Verdict))), f"one of {', '.join(get_args(Verdict))}"),
    ("score", _or_none(lambda value: _is_number(value) and 0 <= cast("float", value) <= 1), "between 0 and 1"),
    ("undoes", _or_none(_is_id), "the id of a decision, 32 hexadecimal digits"),
    ("area", _or_none(_is_area), f"3 to {MOST_CORNERS} corners [x, y] in level-0 px"),
)
"""Name, rule and its words."""
