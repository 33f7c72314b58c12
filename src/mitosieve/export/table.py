"""detections.csv: the table `detect` writes and `evaluate` reads.

Columns: slide_id, x, y (level-0 px, pixel centres at integers), score, is_figure (yes/no), then `<stage>_score` for
each stage, empty where a stage did not see the cell, and last, where the detector is known, detection_id
(`detection.detection_ids`), which is never read: it is made again of what stands before it. Knows nothing of detectors
or scoring.
"""

import contextlib
import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.table import header_found
from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import FormatError
from mitosieve.export.rows import chunks, fill
from mitosieve.run.folder import write_atomic
from mitosieve.run.layout import DETECTION_COLUMNS
from mitosieve.run.storage import as_bytes

STAGE_SUFFIX = "_score"
ID_COLUMN = "detection_id"
_CHUNK = 100_000
_REMEDY = "expected columns: slide_id,x,y,score[,is_figure][,<stage>_score ...]"


def write_detections(path: Path, detections: Detections, *, detector: str | None = None) -> Path:
    """Write detections of any number of slides in their row order; equal detections give equal bytes.

    Positions keep 3 digits (1/1000 px), scores 6.

    Args:
        path: where to.
        detections: of any slides.
        detector: hash of the detector, of which ids are made; None leaves out the column of ids.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    header = [*DETECTION_COLUMNS, "is_figure", *(name + STAGE_SUFFIX for name in detections.stage_names)]
    header += [] if detector is None else [ID_COLUMN]

    def write(file: IO[bytes]) -> None:
        file.write(as_bytes(",".join(map(_quote, header)) + "\n"))
        for rows in chunks(len(detections)):
            file.write(as_bytes(_lines(detections[rows], detector) + "\n"))

    return write_atomic(path, write)


def _lines(part: Detections, detector: str | None) -> str:
    """The rows of a chunk; a kind is a slide's name, whether it is a figure, and which stages saw it."""
    names, name = np.unique(part.slide_id, return_inverse=True)
    quoted = [_quote(text).replace("%", "%%") for text in names.tolist()]
    stages = range(len(part.stage_names))
    seen = ~np.isnan(part.stage_score) @ (2 << np.arange(len(stages)))
    step = 2 << len(stages)

    def template(kind: int) -> str:
        fields = "".join(",%.6f" if kind & (2 << stage) else "," for stage in stages)
        return f"{quoted[kind // step]},%.3f,%.3f,%.6f,{('no', 'yes')[kind & 1]}{fields}"

    values = np.column_stack([part.center_l0, part.score, part.stage_score])
    ends = None if detector is None else [f",{name}" for name in detection_ids(part, detector)]
    return fill(template, name * step + part.is_figure + seen, values, between="\n", ends=ends)


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def read_detections(path: Path) -> Detections:
    """Read a table of detections, ours or one made elsewhere.

    Without the column is_figure every row counts as found; without stage columns there are no stages; columns that
    are none of these are left out.

    Raises:
        FormatError: the file is missing, not UTF-8, lacks a column, or a row has the wrong number of fields, a value
            that is not a finite number, or a score outside 0..1. The line is named; the header is line 1.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            layout = _Layout.of(next(reader, []), path)
            parts = list(_parts(reader, layout, path))
    except FileNotFoundError as error:
        raise FormatError("is missing", where=path, remedy="run detect first, or name its output") from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", where=path) from error
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 (byte {error.start})", where=path, remedy="save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise FormatError(f"is not a CSV table ({error})", where=path, remedy=_REMEDY) from error
    return Detections.concatenate(parts) if parts else Detections.empty(layout.stage_names)


def says_figures(path: Path) -> bool:
    """Whether a table of detections, which `read_detections` has read, says which rows are figures."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return "is_figure" in [name.strip() for name in next(csv.reader(file), [])]


@dataclass(frozen=True)
class _Layout:
    """Where each column stands in a row; is_figure is -1 where there is none."""

    width: int
    place: dict[str, int]
    stage_names: tuple[str, ...]

    @classmethod
    def of(cls, header: Sequence[str], path: Path) -> "_Layout":
        names = [name.strip() for name in header]
        while names and not names[-1]:
            names.pop()  # spreadsheets write empty columns behind the last
        missing = [name for name in DETECTION_COLUMNS if name not in names]
        if missing:
            raise FormatError(
                f"lacks the column {', '.join(missing)}; {header_found(names, DETECTION_COLUMNS)}",
                where=path,
                remedy=_REMEDY,
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FormatError(f"has the column {', '.join(twice)} more than once", where=path, remedy=_REMEDY)
        stages = tuple(
            name.removesuffix(STAGE_SUFFIX) for name in names if name.endswith(STAGE_SUFFIX) and name != STAGE_SUFFIX
        )
        return cls(len(names), {name: place for place, name in enumerate(names)}, stages)


def _parts(reader: Iterator[list[str]], layout: _Layout, path: Path) -> Iterator[Detections]:
    """Parse by chunks, so that a million rows do not lie in memory as text."""
    numbered = ((number, row) for number, row in enumerate(reader, start=2) if row)
    while chunk := list(islice(numbered, _CHUNK)):
        for number, row in chunk:
            while len(row) > layout.width and not row[-1].strip():
                row.pop()
            if len(row) != layout.width:
                raise FormatError(
                    f"has {len(row)} fields, the header has {layout.width}",
                    where=f"{path}, line {number}",
                    remedy=_REMEDY,
                )
        yield _parse(chunk, layout, path)


def _parse(chunk: list[tuple[int, list[str]]], layout: _Layout, path: Path) -> Detections:
    lines = [number for number, _ in chunk]
    columns = dict(zip(layout.place, zip(*(row for _, row in chunk), strict=True), strict=True))

    def column(name: str, rule: _Rule) -> NDArray[np.float64]:
        return _numbers(columns[name], rule, lambda place: f"{path}, line {lines[place]}", name)

    ids = np.array(columns["slide_id"], dtype=np.str_)
    if (ids == "").any():
        raise FormatError(
            "slide_id is empty", where=f"{path}, line {lines[int(np.argmax(ids == ''))]}", remedy="name the slide"
        )
    stages = [column(name + STAGE_SUFFIX, _STAGE_SCORE) for name in layout.stage_names]
    figures = column("is_figure", _YES_NO) if "is_figure" in columns else np.ones(len(ids))
    return Detections(
        slide_id=ids,
        center_l0=np.column_stack([column("x", _POSITION), column("y", _POSITION)]),
        score=column("score", _SCORE),
        is_figure=figures.astype(np.bool_),
        stage_names=layout.stage_names,
        stage_score=np.column_stack(stages) if stages else np.zeros((len(ids), 0)),
    )


@dataclass(frozen=True)
class _Rule:
    """How a field is read, which values pass, and what to write instead, for the message."""

    parse: Callable[[str], float]
    passes: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
    wanted: str


def _share_or_nan(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.isnan(values) | ((values >= 0) & (values <= 1))


def _number(text: str) -> float:
    """A number; `1_00`, which Python takes for one, is none."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


_POSITION = _Rule(_number, np.isfinite, "a finite number of level-0 px")
_SCORE = _Rule(_number, lambda values: (values >= 0) & (values <= 1), "a number between 0 and 1")
_STAGE_SCORE = _Rule(
    lambda text: _number(text) if text else math.nan, _share_or_nan, "a number between 0 and 1, or nothing"
)
_WORDS = {"yes": 1.0, "true": 1.0, "1": 1.0, "no": 0.0, "false": 0.0, "0": 0.0}
_YES_NO = _Rule(lambda text: _WORDS.get(text.strip().lower(), math.nan), np.isfinite, "yes or no")
"""Ours are yes and no; tables of pandas and R say true and false."""


def _numbers(texts: Sequence[str], rule: _Rule, where: Callable[[int], str], name: str) -> NDArray[np.float64]:
    """Read a column by its rule; the first fault names its line and what is wanted."""
    read: list[float] = []
    with contextlib.suppress(ValueError):  # `read` then ends before the text that is no number, which is named below
        read.extend(map(rule.parse, texts))
    values = np.array(read, dtype=np.float64)
    failing = np.flatnonzero(~rule.passes(values))
    bad = int(failing[0]) if len(failing) else len(read)
    if bad < len(texts):
        shown = texts[bad][:80]
        raise FormatError(f"{name} is '{shown}'", where=where(bad), remedy=f"write {rule.wanted}")
    return values
