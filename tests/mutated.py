"""Valid files made invalid, key by key and byte by byte: what a test of any reader of files draws from."""

import json
import math
import os
import re
import sqlite3
from pathlib import Path

from hypothesis import HealthCheck, settings

MUTATIONS = int(os.environ.get("MITOSIEVE_FUZZ", "60"))
"""Of each format. `make fuzz` sets 1,000."""

fuzzing = settings(
    max_examples=MUTATIONS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
"""Seeded: the same mutations each time."""

_DIGITS = "@5000 digits@"
_TWICE = "@twice@"
_DEEP = json.loads("[" * 60 + "]" * 60)
VALUES = (
    None, True, False, 0, 1, -1, 2, 1.5, -0.5, math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e308, 5e-324,
    2**63, _DIGITS, "", " ", "\0", "x" * 10_000, "9" * 5000, "1_00", "0x10", "1e999", "nan", "-inf",
    "é", "\u0661", "NULL", "1", "true",
    "../../etc/passwd", "C:\\a\\b.png", "/", "..", "a/../..", "mitosis", "NMF", "non-mitotic", "roi", "mitosis?",
    "'\"<>&;\n",
    [], {}, [[]], [1], {"a": 1}, _DEEP, ["mitosis"], [None], [1, 2, 3, 4], {"name": "mitosis"}, "POLYGON EMPTY",
)  # fmt: skip
BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b",",
    b"\n",
    b"\r",
    b'"',
    b"<",
    b">",
    b"{",
    b"[",
    b"\xc3\x28",
    b"9" * 500,
)


def mutate(path: Path, random) -> None:
    """Make a file another one: a value of its layout, or its bytes."""
    if random.random() < 0.3:
        return _bytes(path, random)
    if path.suffix == ".sqlite":
        return _sqlite(path, random)
    if path.suffix in (".json", ".geojson"):
        return _json(path, random)
    return _text(path, random)


def _bytes(path, random):
    content = path.read_bytes()
    kind = random.randrange(6)
    if kind == 0:
        content = content[: random.randrange(len(content) + 1)]
    elif kind == 1:
        content = content.decode("utf-8", "replace").encode(
            random.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
        )
    elif kind == 2:
        content = content.replace(b",", random.choice([b"\t", b";", b" "])).replace(
            b"\n", random.choice([b"\r\n", b"\r", b"\n"])
        )
    else:
        for _ in range(random.randrange(1, 5)):
            place = random.randrange(len(content) + 1)
            content = content[:place] + random.choice(BYTES) + content[place + random.randrange(3) :]
    path.write_bytes(content)


def _places(value, place=()):
    """Every place of a JSON value, the whole first."""
    yield place
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*place, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, (*place, number))


def _json(path, random):
    content = json.loads(path.read_text())
    for _ in range(random.randrange(1, 3)):
        place = random.choice(list(_places(content)))
        new = random.choice(VALUES)
        if not place:
            content = new
            continue
        holder = content
        for key in place[:-1]:
            holder = holder[key]
        kind = random.randrange(8)
        if kind == 0:
            del holder[place[-1]]
        elif kind == 1 and isinstance(holder, dict):
            holder[_TWICE] = new
        elif kind == 2 and isinstance(holder, list):
            holder.append(new)
        else:
            holder[place[-1]] = new
        if not isinstance(content, dict | list):
            break
    text = json.dumps(content)
    text = text.replace(f'"{_DIGITS}"', "9" * 5000).replace(
        _TWICE, random.choice(["id", "name", "images", "type", "bbox"])
    )
    path.write_text(text)


def _written(value, random) -> str:
    return "9" * 5000 if value == _DIGITS else value if isinstance(value, str) else str(value)[:6000]


def _text(path, random):
    """A word of a text file, which is what stands between separators, tags and quotes, becomes another."""
    text = path.read_text()
    words = list(re.finditer(r"[^\s,<>\"=/]+", text))
    for _ in range(random.randrange(1, 3)):
        if not words:
            return
        word = random.choice(words)
        new = _written(random.choice(VALUES), random)
        if path.suffix == ".xml" and random.random() < 0.8:
            new = new.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").replace("\0", "")
        elif path.suffix == ".csv" and random.random() < 0.5:
            new = '"' + new.replace('"', '""') + '"'
        text = text[: word.start()] + new + text[word.end() :]
        words = list(re.finditer(r"[^\s,<>\"=/]+", text))
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")


def _sqlite(path, random):
    with sqlite3.connect(path) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(random.randrange(1, 3)):
            table = random.choice(tables)
            column = random.choice([row[1] for row in database.execute(f"PRAGMA table_info({table})")])
            value = random.choice(
                [v for v in VALUES if isinstance(v, str | float | None) or v in (0, 1, -1, 2)] + [b"\xff\0"]
            )
            kind = random.randrange(8)
            if kind == 0:
                database.execute(f"DELETE FROM {table}")
            elif kind == 1:
                database.execute(f"INSERT INTO {table} ({column}) VALUES (?)", (value,))
            elif kind == 2:
                database.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT)", (b"\xff\xfe",))
            else:
                row = random.randrange(1, 4)
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
    database.close()
