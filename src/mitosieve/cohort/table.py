"""Text files made by people, read strictly: every fault names the file, the line and the remedy.

Knows nothing of what the columns mean.
"""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from mitosieve.errors import FormatError, InputError, plural

MAX_SHOWN = 80
"""Letters of a value that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a CSV with a header.

    Attributes:
        path: the file.
        line: its line in the file; the header is line 1.
        values: text by column, without surrounding blanks; empty for an optional column that the file has not.
    """

    path: Path
    line: int
    values: dict[str, str]

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.line}"


def read_text(path: Path, *, error: type[InputError] = FormatError) -> str:
    """A UTF-8 file's text, without a byte-order mark.

    Raises:
        InputError: of the given kind; the file is missing, is a folder, cannot be read, or is not UTF-8.
    """
    content = b""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError as cause:
        raise error("is missing", where=path, remedy="check the path, or restore the file") from cause
    except UnicodeDecodeError as cause:
        line = content[: cause.start].count(b"\n") + 1
        what = "is not UTF-8 text" + ("; it looks UTF-16" if _looks_utf16(content) else "")
        raise error(what, where=f"{path}, line {line}", remedy="save the file as UTF-8") from cause
    except (OSError, ValueError) as cause:
        why = getattr(cause, "strerror", None) or cause
        raise error(f"cannot be read ({why})", where=path, remedy="name a readable text file") from cause
    if "\0" in text:
        what = "is not text" + ("; it looks UTF-16" if _looks_utf16(content) else ": it holds a zero byte")
        raise error(what, where=path, remedy="save the file as UTF-8 text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _looks_utf16(content: bytes) -> bool:
    """By its mark, or by zeros at every other byte, as Latin letters have them there."""
    head = content[:200]
    zeros = max(head[::2].count(0), head[1::2].count(0))
    return content[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(head) > 3 and zeros > len(head) // 3)


def read_table(
    path: Path,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
    given: bool = False,
    error: type[InputError] = FormatError,
) -> list[Row]:
    """The rows of a comma-separated file with a header; further columns are ignored, empty lines skipped.

    Args:
        path: the file.
        required: columns that it must have.
        optional: columns that it may have.
        given: whether a person wrote it to be imported: then an optional column in another case is refused, for it
            would say nothing in silence. In a table of the package's own it is somebody's further column.
        error: kind of what is raised.

    Raises:
        InputError: of the given kind; not UTF-8, no header, a column missing, named twice or (`given`) written in
            another case, or a row with another number of values than the header.
    """
    remedy = f"expected columns: {','.join(required + optional)}"
    lines = _csv_lines(path, error)
    if not lines:
        raise error("is empty", where=path, remedy=remedy)
    header = [name.strip() for name in lines[0][1]]
    while header and not header[-1]:
        header.pop()  # spreadsheets write empty columns behind the last
    missing = [name for name in required if name not in header]
    if missing:
        raise error(
            f"lacks the column {', '.join(missing)}; {header_found(header, required)}", where=path, remedy=remedy
        )
    if len(set(header)) < len(header):
        raise error("names a column twice", where=f"{path}, line 1", remedy=remedy)
    if given:
        _refuse_another_case(path, header, optional, error)
    rows: list[Row] = []
    for line, values in lines[1:]:
        while len(values) > len(header) and not values[-1].strip():
            values.pop()
        if len(values) != len(header):
            raise error(
                f"has {plural(len(values), 'value')} where the header has {len(header)}",
                where=f"{path}, line {line}",
                remedy="give each column one value; quote a value that holds a comma",
            )
        named = dict.fromkeys(optional, "") | {n: v.strip() for n, v in zip(header, values, strict=True)}
        rows.append(Row(path=path, line=line, values=named))
    return rows


def _refuse_another_case(path: Path, header: list[str], optional: tuple[str, ...], error: type[InputError]) -> None:
    alike = {name: other for name in optional for other in header if name != other and name == other.lower()}
    strange = {name: other for name, other in alike.items() if name not in header}
    if strange:
        raise error(
            f"has {', '.join(strange.values())} in another case: the column is called {', '.join(strange)}",
            where=f"{path}, line 1",
            remedy=f"write {', '.join(strange)}, or give what is no such column another name",
        )


def header_of(path: Path) -> list[str]:
    """Names of a table's columns, as far as its first line can be read; none where there is no such file."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            lines = (values for values in csv.reader(file) if any(value.strip() for value in values))
            return [name.strip() for name in next(lines, []) if name.strip()]
    except (OSError, csv.Error):
        return []  # whoever reads or writes the file says what is wrong with it


def header_found(header: list[str], required: tuple[str, ...]) -> str:
    """What a header that lacks a column has, and why that may be."""
    names = ",".join(header)
    looks = [f"{kind}-separated" for sign, kind in (("\t", "tab"), (";", "semicolon"), ("|", "bar")) if sign in names]
    if not looks and {name.lower() for name in required} <= {name.lower() for name in header}:
        looks = ["in another case"]
    numbers = not looks and header and all(math.isfinite(number_of(name)) for name in header)
    why = f"; it looks {looks[0]}" if looks else "; it looks like a table without a header" if numbers else ""
    return f"header found: {names if len(names) <= MAX_SHOWN else names[:MAX_SHOWN] + '...'}{why}"


def read_numbers(
    path: Path, *, names: tuple[str, ...], extra: int = 0, repeated: bool = False
) -> list[tuple[int, tuple[float, ...]]]:
    """The rows of a comma-separated file of numbers without a header; an empty file has none.

    Args:
        path: the file.
        names: what each number of a row is, for messages.
        extra: how many of the last names a row may leave out.
        repeated: whether a row holds all names any number of times over, in place of once; a comma may end it.

    Returns:
        Line and numbers of each row; all numbers finite.

    Raises:
        FormatError: not UTF-8, another number of values, or a value that is not a finite number.
    """
    rows: list[tuple[int, tuple[float, ...]]] = []
    expected = ",".join(names)
    remedy = f"expected {f'{expected},{expected},...' if repeated else f'one {expected}'} a line, without a header"
    for line, values in _csv_lines(path, FormatError):
        where = f"{path}, line {line}"
        if repeated and not values[-1].strip():
            values.pop()
        fits = not len(values) % len(names) if repeated else len(names) - extra <= len(values) <= len(names)
        if not fits:
            raise FormatError(f"has {plural(len(values), 'value')} in a row", where=where, remedy=remedy)
        rows.append((line, tuple(finite(text, names[i % len(names)], where=where) for i, text in enumerate(values))))
    return rows


def quoted(value: object) -> str:
    """A value as a message has it: in quotes, and not longer than a line.

    Text of JSON is told from a number by its own quotes: '"1"' is text, '1' is a number.
    """
    try:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    except (ValueError, RecursionError):  # more digits than Python writes, or nested too deeply
        text = f"a {type(value).__name__}"
    return f"'{text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + '...'}'"


def number_of(text: object) -> float:
    """A number from text or from JSON; NaN where it is none, infinite where it is too large.

    An underscore between digits, which Python takes, is no number here; neither is true.
    """
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        return math.nan
    if isinstance(text, str) and ("_" in text or not text.isascii()):
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


def finite(text: object, name: str, *, where: str | Path) -> float:
    """A finite number from text or from JSON.

    Raises:
        FormatError: it is none.
    """
    number = number_of(text)
    if not math.isfinite(number):
        shown = quoted(text).replace('"', "") if isinstance(text, str) else quoted(text)
        raise FormatError(f"{name} is {shown}, not a finite number", where=where, remedy=f"mend {name} there")
    return number


MAX_SIDE_PX = 10_000_000
"""No slide has a longer side: at 0.1 um per px it would be a metre."""


def pixels(text: object, name: str, *, where: str | Path) -> int:
    """A side of an image in px, from text or from JSON: a whole number from 1 to `MAX_SIDE_PX`.

    Raises:
        FormatError: it is none.
    """
    number = finite(text, name, where=where)
    if not 1 <= number <= MAX_SIDE_PX or number != int(number):
        raise FormatError(
            f"{name} is {quoted(text)}, not a whole number of px from 1 to {MAX_SIDE_PX}",
            where=where,
            remedy="mend the size of this image",
        )
    return int(number)


def _csv_lines(path: Path, error: type[InputError]) -> list[tuple[int, list[str]]]:
    """Line number and values of every line that is not empty."""
    reader = csv.reader(io.StringIO(read_text(path, error=error), newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for values in reader:
            if any(value.strip() for value in values):
                lines.append((reader.line_num, values))
    except csv.Error as cause:
        raise error(
            f"is not a CSV table ({cause})", where=f"{path}, line {reader.line_num}", remedy="save it as UTF-8 CSV"
        ) from cause
    return lines
