"""Apache Parquet: the columns of detections.csv, typed, in full precision. Knows nothing of slides or detectors."""

from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mitosieve.detection import Detections, detection_ids
from mitosieve.export.table import ID_COLUMN, STAGE_SUFFIX
from mitosieve.run.folder import write_atomic

_ROW_GROUP = 131_072
"""Rows of one group: what is held as Arrow columns at once, and what a reader can skip to."""


def write_parquet(
    path: Path, detections: Detections, notes: tuple[str, ...] = (), *, detector: str | None = None
) -> Path:
    """Write detections of any number of slides in their row order; equal detections give equal bytes.

    Columns: slide_id (text), x, y (level-0 px, float64), score (float64), is_figure (bool), then `<stage>_score`
    (float64), null where a stage did not see the cell, and detection_id (text) unless `detector`, the hash of which ids
    are made, is None. Notes, if any, are the metadata `notes` of the file, one a line.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    stages = [(name + STAGE_SUFFIX, pa.float64()) for name in detections.stage_names]
    schema = pa.schema(
        [
            ("slide_id", pa.string()),
            ("x", pa.float64()),
            ("y", pa.float64()),
            ("score", pa.float64()),
            ("is_figure", pa.bool_()),
            *stages,
            *([] if detector is None else [(ID_COLUMN, pa.string())]),
        ]
    )

    if notes:
        schema = schema.with_metadata({"notes": "\n".join(notes)})

    def write(file: IO[bytes]) -> None:
        with pq.ParquetWriter(file, schema) as writer:
            for start in range(0, len(detections), _ROW_GROUP):
                part = detections[start : start + _ROW_GROUP]
                writer.write_batch(_batch(part, None if detector is None else detection_ids(part, detector), schema))

    return write_atomic(path, write)


def _batch(part: Detections, ids: list[str] | None, schema: pa.Schema) -> pa.RecordBatch:
    columns = [part.slide_id, *part.center_l0.T, part.score, part.is_figure]
    arrays = [pa.array(np.ascontiguousarray(column)) for column in columns]
    arrays[0] = arrays[0].cast(pa.string())
    arrays += [pa.array(np.ascontiguousarray(column), from_pandas=True) for column in part.stage_score.T]
    arrays += [] if ids is None else [pa.array(ids, type=pa.string())]
    return pa.record_batch(arrays, schema=schema)
