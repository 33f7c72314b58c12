"""What readers decided as files: a summary, a row a cell, their agreement, and QuPath's GeoJSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.count.summary import SUMMARY_COLUMNS, counted_again, summary_rows
from mitosieve.errors import InputError
from mitosieve.export.context import HotspotOutline, SlideContext
from mitosieve.export.geojson import write_geojson
from mitosieve.review.cell import Cell
from mitosieve.review.counted import ReviewedCount
from mitosieve.review.qupath import judged_feature
from mitosieve.review.result import FoundResult
from mitosieve.review.reviews import Reviews
from mitosieve.run import layout
from mitosieve.run.folder import kind_of, write_atomic, write_json

CELL_COLUMNS = ("detection_id", "slide_id", "x", "y", "score", "label", "votes", "readers", "reviewed_at", "added")


def summary_csv(told: Reviews, result: FoundResult) -> str:
    """summary.csv after review, with the automatic numbers and what was decided in further columns.

    What a review does not change is as in the job's, warnings too; behind the others stands what failed, and why.

    Raises:
        FormatError: the job's summary.csv is broken.
    """
    stated = summary_rows(result.folder)
    counts = told.counts.items()
    rows = [{**counted_again(count.reviewed, stated.get(name, {})), **count.row()} for name, count in counts]
    more = [name for name in (rows[0] if rows else {}) if name not in SUMMARY_COLUMNS]
    rows += [{"slide_id": name, "error": " ".join(why.split())} for name, why in result.failed.items()]
    return _table((*SUMMARY_COLUMNS, *more), rows)


def cells_csv(told: Reviews) -> str:
    """A row a judged cell: who said what and when."""
    return _table(CELL_COLUMNS, [_row(cell) for cell in told.cells])


def save(told: Reviews, folder: Path, result: FoundResult) -> Path:
    """Write reviewed-summary.csv, reviewed-cells.csv, agreement.json and a GeoJSON a slide into a folder.

    Raises:
        InputError: the folder is of a job, a training or another run, whose own files would be written over.
        FormatError: the job's summary.csv is broken.
        StorageError: the folder cannot be written.
    """
    kind = kind_of(folder)
    if kind is not None:
        raise InputError(
            f"was made by {kind.value}, whose own files would be written over",
            where=folder,
            remedy="name another folder with --out",
        )
    write_atomic(folder / layout.REVIEWED_SUMMARY, summary_csv(told, result))
    write_atomic(folder / layout.REVIEWED_CELLS, cells_csv(told))
    pairs: list[dict[str, Any]] = [agreement.to_json() for agreement in told.agreements]
    write_json(folder / layout.AGREEMENT, {"readers": list(told.readers), "pairs": pairs})
    for name, count in told.counts.items():
        path = folder / "geojson" / layout.file_of(name, ".geojson")
        judged = [cell for cell in told.cells if cell.slide_id == name and cell.votes]
        rows = np.flatnonzero(result.detections.slide_id == name)
        left = rows[~np.isin(result.ids[rows].astype(np.str_), [cell.key for cell in judged])]
        write_geojson(path, result.detections[left], _context(result, count), more=map(judged_feature, judged))
    return folder


def _context(result: FoundResult, count: ReviewedCount) -> SlideContext:
    """Of a slide's export: its hotspot is the reviewed one."""
    slide, spot = result.slides[count.reviewed.slide_id], count.reviewed.hotspot
    outline = HotspotOutline(corners_l0=spot.outline_l0(slide.mpp_xy), area_mm2=spot.area_mm2, figures=spot.count)
    return SlideContext(
        slide_id=slide.slide_id,
        path=slide.path or Path(slide.slide_id),
        size_l0=slide.size_l0,
        mpp_xy=slide.mpp_xy,
        detector=result.detector_hash,
        hotspot=outline if spot.count else None,
    )


def _row(cell: Cell) -> dict[str, str]:
    return {
        "detection_id": cell.key,
        "slide_id": cell.slide_id,
        "x": f"{cell.x_px:.3f}",
        "y": f"{cell.y_px:.3f}",
        "score": "" if cell.score is None else f"{cell.score:.6f}",
        "label": "" if cell.label is None else cell.label.value,
        "votes": " ".join(cell.votes.values()),
        "readers": "; ".join(cell.votes),
        "reviewed_at": cell.at,
        "added": "yes" if cell.is_added else "no",
    }


def _table(columns: Sequence[str], rows: Iterable[dict[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
