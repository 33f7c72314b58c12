"""A table of detections read ten times as fast as by `read_detections`, where nothing is wrong with it.

Who waits for a page of a million detections waits for this. Faults are not told here: whoever finds one reads the table
again by `read_detections`, which names the line.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from mitosieve.detection import Detections
from mitosieve.export.table import STAGE_SUFFIX

_NUMBERS = ("x", "y", "score")
_FIGURE = {"yes": True, "no": False}


def read_quickly(path: Path) -> Detections | None:
    """The detections of a table that `detect` wrote; None where it is not just as `detect` writes it."""
    try:
        with path.open("rb") as file:
            header = file.readline().decode("utf-8").rstrip("\n").split(",")
        stages = [name for name in header if name.endswith(STAGE_SUFFIX)]
        types = {name: pa.float64() for name in (*_NUMBERS, *stages)}
        names = {name: pa.dictionary(pa.int32(), pa.string()) for name in ("slide_id", "is_figure")}
        convert = csv.ConvertOptions(
            column_types=types | names, include_columns=[*names, *_NUMBERS, *stages], null_values=[""]
        )
        table = csv.read_csv(path, convert_options=convert)
    except (OSError, UnicodeDecodeError, pa.ArrowException, KeyError):
        return None
    return _checked(table, stages)


def _checked(table: pa.Table, stages: list[str]) -> Detections | None:
    """Only what needs no second look: no gaps but in stages, finite places, scores that are shares, known words."""
    slide, figure = table["slide_id"].combine_chunks(), table["is_figure"].combine_chunks()
    if slide.null_count or figure.null_count or not set(figure.dictionary.to_pylist()) <= set(_FIGURE):
        return None
    x, y, score = (_column(table, name) for name in _NUMBERS)
    seen = np.column_stack([_column(table, name) for name in stages]) if stages else np.zeros((len(table), 0))
    shares = np.concatenate([score, seen[~np.isnan(seen)]])
    if (
        not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(score).all())
        or ((shares < 0) | (shares > 1)).any()
    ):
        return None
    names = np.array(slide.dictionary.to_pylist(), dtype=np.str_)
    if (names == "").any() or any(name != name.strip() for name in names.tolist()):
        return None
    words = np.array([_FIGURE[word] for word in figure.dictionary.to_pylist()], dtype=np.bool_)
    return Detections(
        slide_id=names[slide.indices.to_numpy()] if len(names) else np.zeros(0, np.str_),
        center_l0=np.column_stack([x, y]),
        score=score,
        is_figure=words[figure.indices.to_numpy()] if len(words) else np.zeros(0, np.bool_),
        stage_names=tuple(name.removesuffix(STAGE_SUFFIX) for name in stages),
        stage_score=seen,
    )


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
