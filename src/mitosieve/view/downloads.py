"""Decisions as files to take away: for QuPath, as tables, as a page. Undecided cells stand as the detector has them."""

import base64
import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from mitosieve.count.summary import DISCLAIMER, SUMMARY_COLUMNS, counted_again
from mitosieve.count.summary import summary_rows as job_rows
from mitosieve.errors import MitosieveError
from mitosieve.export.geojson import CALLED, FIGURE_CLASS
from mitosieve.geometry import QUPATH_SHIFT
from mitosieve.review.cell import Cell
from mitosieve.review.qupath import judged_feature
from mitosieve.view.desk import Desk
from mitosieve.view.reviewing import judged_cells, not_counted, readers_asked, review

HOTSPOT_CLASS = {"name": "Hotspot", "color": [0, 194, 255]}
DECISION_COLUMNS = ("slide_id", "x_px", "y_px", "verdict", "figure_share", "votes", "score", "added", "last_at", "id")

MOST_PICTURES = 60
"""Of each kind, at some 8 kB each."""

_UM, _PX = 32, 192


def geojson(desk: Desk, slide: int, words: str) -> str:
    """A slide's cells and reviewed hotspot as QuPath loads them: decided ones as annotations, others as detections.

    Cells below the threshold are there where somebody decided about them. Positions are level-0 px as QuPath has them.
    Taken back by `import corrections` the file says what `import reviews` takes of the decisions.
    """
    readers = readers_asked(desk, words)
    name = desk.viewed.slides[slide].slide_id
    judged = [cell for cell in judged_cells(desk, readers) if cell.slide_id == name]
    unmarked = {cell.key for cell in judged if desk.is_background(slide, cell.x_px, cell.y_px, cell.key)}
    features = [judged_feature(cell, is_background=cell.key in unmarked) for cell in judged]
    features += list(_called(desk, slide, {cell.key for cell in judged}))
    if desk.has_counts:
        spot = review(desk, slide, readers).count.reviewed.to_json()["hotspot"]
        if spot.get("outline_l0"):
            features.append(_hotspot(spot))
    text = ",\n".join(json.dumps(feature, separators=(",", ":"), allow_nan=False) for feature in features)
    return f'{{"type":"FeatureCollection","features":[\n{text}\n]}}\n'


def _point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [round(x + QUPATH_SHIFT, 3), round(y + QUPATH_SHIFT, 3)]}


def _called(desk: Desk, slide: int, judged: set[str]) -> Iterator[dict[str, Any]]:
    """What was called a figure and nobody decided about."""
    cells, rows = desk.cells, desk.cells.rows_of(slide)
    wanted = np.flatnonzero(desk.called_figures(slide)) + rows.start
    for row, name in zip(wanted.tolist(), cells.names(wanted), strict=True):
        if name not in judged:
            score = float(cells.score[row])
            yield {
                "type": "Feature",
                "id": name,
                "geometry": _point(*cells.center_l0[row].tolist()),
                "properties": {
                    "objectType": "detection",
                    "classification": FIGURE_CLASS,
                    "measurements": {CALLED: 1, **({} if np.isnan(score) else {"score": score})},
                },
            }


def _hotspot(spot: dict[str, Any]) -> dict[str, Any]:
    ring = [[x + QUPATH_SHIFT, y + QUPATH_SHIFT] for x, y in spot["outline_l0"]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": {
            "objectType": "annotation",
            "name": f"reviewed hotspot: {spot['figures']} figures in {spot['area_mm2']} mm2",
            "classification": HOTSPOT_CLASS,
            "isLocked": True,
        },
    }


def decisions_csv(desk: Desk, words: str) -> str:
    """A row a judged cell: what most sure readers call it, their votes, and when the last of them decided."""
    rows = (
        {
            "slide_id": _cell_text(cell.slide_id),
            "x_px": f"{cell.x_px:.3f}",
            "y_px": f"{cell.y_px:.3f}",
            "verdict": "unsure" if cell.label is None else cell.label.value,
            "figure_share": "" if cell.figure_share is None else f"{cell.figure_share:.4g}",
            "votes": _cell_text("; ".join(f"{reader}: {verdict}" for reader, verdict in cell.votes.items())),
            "score": "" if cell.score is None else f"{cell.score:.6f}",
            "added": "yes" if cell.is_added else "no",
            "last_at": cell.at,
            "id": cell.key,
        }
        for cell in judged_cells(desk, readers_asked(desk, words))
    )
    return _table(DECISION_COLUMNS, rows)


def summary_rows(desk: Desk, words: str, *, only: Collection[str] | None = None) -> list[dict[str, str]]:
    """Of every slide the columns of summary.csv with the reviewed numbers, and beside them the automatic ones; what a
    review does not change is as in the job's, warnings too.

    Args:
        desk: with the decisions.
        words: whose decisions, see `readers_asked`.
        only: names of slides; None is all.
    """
    readers, rows = readers_asked(desk, words), list[dict[str, str]]()
    stated = job_rows(desk.result_folder)
    for number, slide in enumerate(desk.viewed.slides):
        if only is not None and slide.slide_id not in only:
            continue
        try:
            count = review(desk, number, readers).count
            rows.append({**counted_again(count.reviewed, stated.get(slide.slide_id, {})), **count.row()})
        except MitosieveError as error:
            rows.append({"slide_id": slide.slide_id, "error": slide.fault or error.what})
    return rows


def summary_csv(desk: Desk, words: str) -> str:
    """The reviewed summary.csv."""
    _ = desk.result_folder
    rows = summary_rows(desk, words)
    more = [name for row in rows for name in row if name not in SUMMARY_COLUMNS]
    return _table(
        (*SUMMARY_COLUMNS, *dict.fromkeys(more)), ({k: _cell_text(v) for k, v in row.items()} for row in rows)
    )


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def _cell_text(text: str) -> str:
    """Text that a spreadsheet does not take for a formula; a number, also one below 0, stays one."""
    is_formula = text[:1] in ("=", "+", "-", "@", "\t", "\r") and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def _table(columns: tuple[str, ...], rows: Iterable[dict[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One cell with its picture; an empty `uri` where its slide cannot be read."""

    cell: Cell
    uri: str


def reviewed_page(desk: Desk, words: str) -> str:
    """A page to keep, of this reader's decisions or of all readers': reviewed beside automatic counts, and the decided
    cells. It fetches nothing and runs no script.
    """
    readers = readers_asked(desk, words)
    judged = judged_cells(desk, readers)
    names = readers or desk.readers()
    kinds = [_kind_of(desk, cell) for cell in judged]
    groups = [(title, [c for c, kind in zip(judged, kinds, strict=True) if kind == title]) for title in _KINDS]
    return (
        _environment()
        .get_template("reviewed.html.jinja")
        .render(
            name=desk.viewed.name,
            detector=desk.viewed.detector,
            threshold=desk.viewed.threshold,
            readers=names,
            rows=summary_rows(desk, words) if desk.has_counts else [],
            groups=[(title, len(cells), [_shown(desk, c) for c in cells[:MOST_PICTURES]]) for title, cells in groups],
            left_out=not_counted(desk, readers),
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            note=DISCLAIMER,
        )
    )


_KINDS = _MISSED, _BEYOND, _FIGURE, _NO_FIGURE, _UNSURE = (
    "Figures that the detector had not found",
    "Figures outside the area that was searched, in no count",
    "Decided: figure",
    "Decided: no figure",
    "Unsure, or readers disagree",
)


def _kind_of(desk: Desk, cell: Cell) -> str:
    if cell.label is None:
        return _UNSURE
    if cell.is_rejected:
        return _NO_FIGURE
    if not cell.is_added:
        return _FIGURE
    return _BEYOND if desk.uncounted(cell.slide_id, cell.x_px, cell.y_px) else _MISSED


def _shown(desk: Desk, cell: Cell) -> Shown:
    number = desk.number_of(cell.slide_id)
    try:
        jpeg = b"" if number is None else desk.shelf.pictures(number).crop((cell.x_px, cell.y_px), um=_UM, px=_PX)
    except MitosieveError:
        jpeg = b""
    return Shown(cell=cell, uri=f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else "")


def _environment() -> Environment:
    """Everything that is put in is text, never HTML; the style is that of the other reports."""
    loaders = [PackageLoader("mitosieve.view"), PackageLoader("mitosieve.report")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
