"""Cells that people have marked, as the page shows them: the marks of a cohort, or the labels that an audit ranks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import NO_MARK, Label
from mitosieve.cohort.cohort import SLIDES_FILE, Cohort
from mitosieve.cohort.place import NO_ROW, place_id
from mitosieve.cohort.table import Row, finite, read_table
from mitosieve.errors import FormatError
from mitosieve.run import layout
from mitosieve.run.folder import read_json
from mitosieve.view.viewed import CALLS, Call, Cells, Kind, Viewed, ViewedSlide

_CALL_OF = {Label.MITOTIC_FIGURE.value: Call.FIGURE, Label.IMPOSTER.value: Call.IMPOSTER, NO_MARK: Call.BACKGROUND}


def is_cohort(folder: Path) -> bool:
    """Whether a folder looks like a cohort."""
    return (folder / SLIDES_FILE).is_file()


def read_cohort(folder: Path) -> tuple[Viewed, Cells]:
    """A cohort and its marks, in the order of its file.

    Raises:
        CohortError: it is no whole cohort.
    """
    cohort = Cohort.load(folder)
    slides = tuple(
        ViewedSlide(
            slide_id=entry.slide_id,
            path=cohort.path_of(entry.slide_id),
            mpp=entry.mpp,
            mpp_xy=entry.oblong,
            size_l0=(entry.width_l0, entry.height_l0) if entry.width_l0 and entry.height_l0 else None,
            area=entry.roi,
        )
        for entry in cohort.slides
    )
    marks = cohort.annotations
    cells = _cells(
        [slide.slide_id for slide in slides],
        _Marked(
            slide_id=marks.slide_id.tolist(),
            center_l0=marks.center_l0,
            label=marks.label.tolist(),
            mark=np.arange(len(marks)),
            score=marks.score,
            suspicion=np.full(len(marks), np.nan),
        ),
    )
    return Viewed(kind=Kind.COHORT, name=folder.resolve().name, folder=folder, slides=slides), cells


def read_audit(folder: Path) -> tuple[Viewed, Cells]:
    """An audit and its labels, the most suspicious first.

    Raises:
        FormatError: a file is missing or broken.
    """
    facts: dict[str, Any] = read_json(folder / layout.AUDIT_FACTS, {})
    known = facts.get("slides", {}) if isinstance(facts.get("slides"), dict) else {}
    rows = read_table(
        folder / layout.AUDIT, required=("rank", "slide_id", "x", "y", "label", "suspicion"), optional=("mark", "score")
    )
    names = sorted({row.values["slide_id"] for row in rows})
    slides = tuple(_audited(name, known.get(name, {})) for name in names)
    rows.sort(key=lambda row: int(finite(row.values["rank"], "rank", where=row.where)))
    cells = _cells(
        names,
        _Marked(
            slide_id=[row.values["slide_id"] for row in rows],
            center_l0=np.array([[finite(row.values[c], c, where=row.where) for c in "xy"] for row in rows]).reshape(
                -1, 2
            ),
            label=[_known(row) for row in rows],
            mark=np.array([_mark(row) for row in rows], dtype=np.int64),
            score=np.array([_share(row, "score") for row in rows]),
            suspicion=np.array([_share(row, "suspicion") for row in rows]),
        ),
    )
    return Viewed(kind=Kind.AUDIT, name=folder.resolve().name, folder=folder, slides=slides), cells


def _audited(name: str, facts: dict[str, Any]) -> ViewedSlide:
    mpp, oblong, size = facts.get("mpp"), facts.get("mpp_xy"), facts.get("size_l0")
    return ViewedSlide(
        slide_id=name,
        path=Path(str(facts["path"])) if "path" in facts else None,
        mpp=mpp if isinstance(mpp, float) else None,
        mpp_xy=(float(oblong[0]), float(oblong[1])) if isinstance(oblong, list) else None,
        size_l0=(int(size[0]), int(size[1])) if isinstance(size, list) else None,
    )


def _known(row: Row) -> str:
    if row.values["label"] not in _CALL_OF:
        raise FormatError(f"label is '{row.values['label']}'", where=row.where, remedy=f"known: {', '.join(_CALL_OF)}")
    return row.values["label"]


def _mark(row: Row) -> int:
    return int(finite(row.values["mark"], "mark", where=row.where)) if row.values["mark"] else NO_ROW


def _share(row: Row, name: str) -> float:
    return finite(row.values[name], name, where=row.where) if row.values[name] else np.nan


@dataclass(frozen=True, kw_only=True)
class _Marked:
    """Marked cells as columns, in the order of their file: as `Cells`, with names of slides and the mark's row."""

    slide_id: list[str]
    center_l0: NDArray[np.float64]
    label: list[str]
    mark: NDArray[np.int64]
    score: NDArray[np.float64]
    suspicion: NDArray[np.float64]


def _cells(slide_ids: list[str], marked: _Marked) -> Cells:
    """Rows by slide, within a slide in the order given; a cell's id is that of its place, as corrections know it."""
    numbers = {name: number for number, name in enumerate(slide_ids)}
    slide = np.array([numbers[name] for name in marked.slide_id], dtype=np.int32)
    order = np.argsort(slide, kind="stable")
    places, rows_of_marks = marked.center_l0[order], marked.mark[order]
    names = [marked.slide_id[row] for row in order.tolist()]

    def ids(rows: NDArray[np.intp]) -> list[str]:
        return [
            place_id(names[row], float(places[row, 0]), float(places[row, 1]), int(rows_of_marks[row]))
            for row in rows.tolist()
        ]

    return Cells(
        slide=slide[order],
        center_l0=places,
        score=marked.score[order],
        call=np.array([CALLS.index(_CALL_OF[name]) for name in marked.label], dtype=np.uint8)[order],
        names=ids,
        suspicion=marked.suspicion[order],
    )
