"""Detections and cohorts as pandas tables, as GeoJSON, and as short HTML for a notebook's cell."""

import json
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.export import SlideContext, write_geojson
from mitosieve.export.table import STAGE_SUFFIX, read_detections
from mitosieve.run import layout
from mitosieve.score.evaluation import Evaluation
from mitosieve.score.printed import domain_notes

MOST_ROWS = 20
"""Of a table in a cell; more are counted."""


def load_detections(path: str | Path) -> Detections:
    """Detections of a folder of detect, or of a CSV.

    Raises:
        FormatError: there is none, or it is broken.
    """
    path = Path(path)
    return read_detections(path / layout.DETECTIONS if path.is_dir() else path)


def frame_of(found: Detections) -> pd.DataFrame:
    """The columns of detections.csv: slide_id, x, y (level-0 px), score, is_figure, and each stage's score."""
    columns: dict[str, Any] = {
        "slide_id": found.slide_id,
        "x": found.center_l0[:, 0],
        "y": found.center_l0[:, 1],
        "score": found.score,
        "is_figure": found.is_figure,
    }
    stages = {f"{name}{STAGE_SUFFIX}": found.stage_score[:, number] for number, name in enumerate(found.stage_names)}
    return pd.DataFrame({**columns, **stages})


def geojson_of(found: Detections, path: str | Path | None = None) -> dict[str, Any]:
    """Detections of one slide as QuPath reads them, and, where a path is given, written there.

    Raises:
        FrameError: the detections are of several slides: take `of_slide` first.
        StorageError: the file cannot be written.
    """
    name = str(found.slide_id[0]) if len(found) else ""
    context = SlideContext(slide_id=name, path=Path(name), size_l0=(0, 0), mpp_xy=(1.0, 1.0))
    with TemporaryDirectory(prefix="mitosieve-") as folder:
        file = write_geojson(Path(folder) / "one.geojson" if path is None else Path(path), found, context)
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def html_of_detections(found: Detections) -> str:
    """Counts by slide."""
    frame = frame_of(found)
    rows = frame.groupby("slide_id", sort=False).agg(figures=("is_figure", "sum"), candidates=("is_figure", "size"))
    rows["candidates"] -= rows["figures"]
    return _html(repr(found), rows.reset_index())


def frame_of_slides(cohort: Cohort) -> pd.DataFrame:
    """A row a slide: what slides.csv says, its marked area, and how many figures and imposters are marked."""
    marks = pd.DataFrame({"slide_id": cohort.annotations.slide_id, "label": cohort.annotations.label})
    counts = marks.groupby(["slide_id", "label"]).size().unstack(fill_value=0)
    frame = cohort.slides.frame
    for name, label in (("figures", Label.MITOTIC_FIGURE), ("imposters", Label.IMPOSTER)):
        column = counts[label.value] if label.value in counts else pd.Series(dtype=int)
        frame[name] = frame.slide_id.map(column).fillna(0).astype(int)
    return frame


def html_of_cohort(cohort: Cohort) -> str:
    """Counts by domain."""
    frame = frame_of_slides(cohort)
    rows = frame.groupby("domain", sort=True).agg(
        cases=("case_id", "nunique"),
        slides=("slide_id", "size"),
        labelled=("labelled", "sum"),
        figures=("figures", "sum"),
        imposters=("imposters", "sum"),
        area_mm2=("area_mm2", "sum"),
    )
    return _html(repr(cohort), rows.round(2).reset_index())


def html_of_evaluation(result: Evaluation) -> str:
    """Counts and scores with their intervals, pooled and by domain, and what must be known of them."""
    content = result.to_json()
    parts = [("pooled", content["pooled"]), *((row["domain"], row) for row in content["per_domain"])]
    rows = pd.DataFrame(
        [[name, *(row[key] for key in ("tp", "fp", "fn", "f1", "precision", "recall"))] for name, row in parts],
        columns=["part", "found", "false", "missed", "F1", "precision", "recall"],
    )
    notes = "".join(f"<p>Note: {escape(note)}.</p>" for note in (*result.notes, *domain_notes(content)))
    return _html(repr(result), rows.round(3)) + notes


def _html(title: str, rows: pd.DataFrame) -> str:
    left = len(rows) - MOST_ROWS
    more = f"<p>... and {left} more</p>" if left > 0 else ""
    return f"<p>{escape(title)}</p>{rows.head(MOST_ROWS).to_html(index=False, border=0, na_rep='-')}{more}"
