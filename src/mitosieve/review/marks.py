"""What readers decided as marks of a cohort: a new version of it, or a new cohort.

Accepted cells become figures, rejected ones imposters, added ones what they were added as; where readers are unsure or
in a tie nothing is said. Knows neither the detector nor its recipe.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.place import NO_ROW, place_id
from mitosieve.cohort.version import refuse_used, relocated
from mitosieve.errors import InputError
from mitosieve.review.cell import Cell, cells_of
from mitosieve.review.decision import Decision
from mitosieve.review.pairing import same_cells
from mitosieve.review.result import (
    FoundResult,
    background_of,
    decisions_of,
    left_out,
    origin_of,
    place_of,
    read_source,
)
from mitosieve.review.searched import searched_areas, with_searched
from mitosieve.review.slides import Told, slides_of

FORMAT = "reviews"
"""Name on the command line, and `source` of a mark that a review made."""


@dataclass(frozen=True, kw_only=True)
class SlideReviews:
    """One row of the table that an import of reviews ends with.

    Attributes:
        slide_id: "total" for the sum.
        figures, imposters: new marks.
        changed: marks of the cohort that got the other label.
        confirmed: marks of the cohort that kept theirs, and places of an audit without a mark that are no figure.
        left_out: cells of which readers are unsure, or in a tie.
    """

    slide_id: str
    figures: int = 0
    imposters: int = 0
    changed: int = 0
    confirmed: int = 0
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class ReviewReport:
    """What was taken over.

    Attributes:
        cohort: the new version as saved.
        rows: of the slides that were looked at, by slide_id.
        total: their sum.
        readers: whose decisions they are.
        new_slides: slides that the cohort had not.
        left_out: what is said of decisions on slides that failed in the result, none of which was taken over; empty
            where there are none.
    """

    cohort: Cohort
    rows: tuple[SlideReviews, ...]
    total: SlideReviews
    readers: tuple[str, ...]
    new_slides: tuple[str, ...]
    left_out: str


def import_reviews(
    source: Path, folder: Path, out: Path, *, told: Told | None = None, readers: tuple[str, ...] = ()
) -> ReviewReport:
    """Make a new version of a cohort from decisions; the old one stays, and on any fault nothing is written.

    - A cell that was shown as a mark of the cohort is that mark, of two at one place too; any other within SAME_CELL_UM
      of a mark is that one, the nearest first and each mark once: it gets the label that readers agreed on, and keeps
      expert score and votes; `label_before`, `corrected_at` and `corrected_from` say so.
    - A place that an audit called background, and that readers say is no figure, stays without a mark; it is never the
      mark of a cell beside it.
    - Any other cell becomes a mark behind all others, with the readers' votes and the share that called it a figure.
    - `reviewed_by` and `reviewed_at` say who looked at a mark and when the last of them did.
    - A slide that the cohort has not is added, a case of its own.
    - Decisions on a slide that failed when the job was repeated are left out: what nobody judged of it is not known any
      more.
    - What was looked at becomes searched (`with_searched`): elsewhere nothing is known, which is not "none is there".

    Taken over once more, the same decisions change nothing but a reader's newer verdict.

    Args:
        source: folder with decisions: a result of detect, an audit, a cohort.
        folder: the cohort; empty or not there, it is a new one.
        out: the new version; new or empty. Its images are those of the old one, by absolute path.
        told: what the user says of slides that the cohort has not.
        readers: whose decisions count; none is all.

    Raises:
        InputError: there is no decision, none of a reader that was named, or none on a slide that was done.
        CohortError: a slide is neither in the cohort nor in the result; or `out` holds something.
        FormatError, RunFolderError: the decisions or the result cannot be read.
        StorageError: `out` cannot be written.
    """
    refuse_used(out)
    decisions, result = read_source(source)
    chosen, note = _on_done(decisions_of(decisions, readers, source), result, source)
    has_cohort = folder.is_dir() and any(folder.iterdir())
    old = Cohort.load(folder) if has_cohort else Cohort(folder, (), Annotations.empty())
    entries = slides_of(chosen, old, result, told or Told())
    mpp_of = {entry.slide_id: entry.mpp_xy for entry in entries.values()}
    cells = cells_of(chosen, mpp_of, near=None if result is None else result.near)
    origin = origin_of(source)
    background = background_of(source)
    confirmed = {cell.key for cell in cells if place_of(cell.slide_id, cell.x_px, cell.y_px) in background}
    marks, rows = _marked(old.annotations, cells, mpp_of, origin, confirmed)
    settled = _searched(entries, chosen, cells, result)
    known = {entry.slide_id for entry in old.slides}
    slides = [settled.get(entry.slide_id, entry) for entry in old.slides]
    added = [entry for name, entry in settled.items() if name not in known]
    new = relocated(Cohort(folder, (*slides, *added), marks), out)
    new.save()
    total = _sum(rows)
    return ReviewReport(
        cohort=new,
        rows=rows,
        total=total,
        readers=tuple(dict.fromkeys(decision.reader for decision in chosen)),
        new_slides=tuple(entry.slide_id for entry in added),
        left_out=note,
    )


def _on_done(decisions: list[Decision], result: FoundResult | None, source: Path) -> tuple[list[Decision], str]:
    """Decisions on slides that did not fail, and what is said of the others."""
    failed = {} if result is None else result.failed
    note = left_out(decisions, failed)
    kept = [decision for decision in decisions if decision.slide_id not in failed]
    if not kept:
        raise InputError(
            note or "all decisions are on slides that were not done",
            where=source,
            remedy="repeat the detect command with --resume until they are done",
        )
    return kept, note


def _marked(
    marks: Annotations,
    cells: Sequence[Cell],
    mpp_of: Mapping[str, tuple[float, float]],
    origin: str,
    background: Collection[str],
) -> tuple[Annotations, tuple[SlideReviews, ...]]:
    """The marks with what readers say of them, new ones behind, and what was counted of each slide.

    `background` are the keys of cells that an audit showed as such.
    """
    names = ("label", "label_before", "corrected_at", "corrected_from", "reviewed_by", "reviewed_at")
    columns = {name: getattr(marks, name).astype(object) for name in names}
    rows = {cell.slide_id: SlideReviews(slide_id=cell.slide_id) for cell in cells}
    mark_of = _marks_of(cells, marks, mpp_of, background)
    new: list[Cell] = []
    for number, cell in enumerate(cells):
        row = rows[cell.slide_id]
        if cell.label is None:
            rows[cell.slide_id] = replace(row, left_out=row.left_out + 1)
            continue
        mark = mark_of.get(number)
        if mark is None and cell.is_rejected and cell.key in background:
            rows[cell.slide_id] = replace(row, confirmed=row.confirmed + 1)
            continue
        if mark is None:
            new.append(cell)
            what = "figures" if cell.label is Label.MITOTIC_FIGURE else "imposters"
            rows[cell.slide_id] = replace(row, **{what: getattr(row, what) + 1})
            continue
        columns["reviewed_by"][mark], columns["reviewed_at"][mark] = _who(cell), cell.at
        if columns["label"][mark] == cell.label.value:
            rows[cell.slide_id] = replace(row, confirmed=row.confirmed + 1)
            continue
        columns["label_before"][mark] = columns["label_before"][mark] or columns["label"][mark]
        columns["label"][mark], columns["corrected_at"][mark] = cell.label.value, cell.at
        columns["corrected_from"][mark] = origin
        rows[cell.slide_id] = replace(row, changed=row.changed + 1)
    kept = replace(marks, **{name: column.astype(np.str_) for name, column in columns.items()})
    return Annotations.concatenate([kept, *([_new_marks(new)] if new else [])]), tuple(
        rows[name] for name in sorted(rows)
    )


def _marks_of(
    cells: Sequence[Cell],
    marks: Annotations,
    mpp_of: Mapping[str, tuple[float, float]],
    background: Collection[str],
) -> dict[int, int]:
    """Number of a cell -> row of the mark that it is: that of its name, else the nearest that no cell names; of a
    place that an audit showed without a mark the one that it got there since.
    """
    looked_at = {cell.slide_id for cell in cells}
    columns = enumerate(zip(marks.slide_id.tolist(), marks.center_l0.tolist(), strict=True))
    places = [(name, x, y, row) for row, (name, (x, y)) in columns if name in looked_at]
    named = {place_id(name, x, y, row): row for name, x, y, row in places}
    if background:
        named |= {one: row for name, x, y, row in places if (one := place_id(name, x, y, NO_ROW)) in background}
    found = {number: named[cell.key] for number, cell in enumerate(cells) if cell.key in named}
    is_free = np.ones(len(marks), dtype=np.bool_)
    is_free[list(found.values())] = False
    for slide_id in sorted(looked_at):
        rows = np.flatnonzero((marks.slide_id == slide_id) & is_free)
        own = [
            number
            for number, cell in enumerate(cells)
            if cell.slide_id == slide_id and number not in found and cell.key not in background
        ]
        if not len(rows) or not own:
            continue
        here_um = np.array([(cells[number].x_px, cells[number].y_px) for number in own]) * mpp_of[slide_id]
        pairs = same_cells(here_um, marks.center_l0[rows] * mpp_of[slide_id])
        found |= {own[number]: int(rows[row]) for number, row in pairs.items()}
    return found


def _new_marks(cells: Sequence[Cell]) -> Annotations:
    marks = Annotations.of(
        slide_id=[cell.slide_id for cell in cells],
        center_l0=[(cell.x_px, cell.y_px) for cell in cells],
        label=[cell.label or "" for cell in cells],
        score=[cell.figure_share if cell.figure_share is not None else np.nan for cell in cells],
        votes=[" ".join(cell.votes.values()) for cell in cells],
        source=FORMAT,
    )
    return replace(marks, reviewed_by=_texts(map(_who, cells)), reviewed_at=_texts(cell.at for cell in cells))


def _who(cell: Cell) -> str:
    return "; ".join(cell.votes)


def _texts(values: Iterable[str]) -> NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)


def _searched(
    entries: Mapping[str, SlideEntry],
    decisions: Sequence[Decision],
    cells: Sequence[Cell],
    result: FoundResult | None,
) -> dict[str, SlideEntry]:
    """The slides with what was looked at."""
    areas = searched_areas(decisions)
    found: dict[str, SlideEntry] = {}
    for slide_id, entry in entries.items():
        own = [cell for cell in cells if cell.slide_id == slide_id]
        looked = [area for (_, name), area in areas.items() if name == slide_id]
        judged = [(cell.x_px, cell.y_px) for cell in own if cell.label is not None]
        doubtful = [(cell.x_px, cell.y_px) for cell in own if cell.label is None]
        doubtful += _unjudged(slide_id, own, result)
        found[slide_id] = with_searched(entry, looked=looked, judged=judged, doubtful=doubtful)
    return found


def _unjudged(slide_id: str, cells: Sequence[Cell], result: FoundResult | None) -> list[tuple[float, float]]:
    """Places of a slide that the detector calls figures and no reader judged."""
    if result is None:
        return []
    found = result.detections
    judged = {cell.key for cell in cells}
    rows = np.flatnonzero((found.slide_id == slide_id) & found.is_figure)
    left = [row for row in rows.tolist() if result.ids[row] not in judged]
    return [(float(x), float(y)) for x, y in found.center_l0[left]]


def _sum(rows: Sequence[SlideReviews]) -> SlideReviews:
    names = ("figures", "imposters", "changed", "confirmed", "left_out")
    return SlideReviews(slide_id="total", **{name: sum(getattr(row, name) for row in rows) for name in names})
