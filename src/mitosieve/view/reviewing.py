"""What follows from decisions, as a page shows it: the reviewed count, and how two readers agree.

The room of reviews loads torch with the detector's records: its modules are imported when the first count is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mitosieve.count.summary import SlideSummary, read_ground
from mitosieve.errors import InputError
from mitosieve.review.cell import Cell, cells_of
from mitosieve.view.desk import Desk

if TYPE_CHECKING:
    from mitosieve.review.counted import ReviewedCount

MOST_DISAGREEMENTS = 500

MOST_REVIEWED = 20_000
"""Figures of one slide: above it a count by hand makes no sense, and would take minutes."""


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """A slide's counts with what is needed to show them.

    Attributes:
        count: automatic and reviewed.
        rows: of each detection that matters its place among the slide's, by its id.
    """

    count: "ReviewedCount"
    rows: dict[str, int]


def readers_asked(desk: Desk, words: str) -> tuple[str, ...] | None:
    """Whose decisions count: this reader's, or all readers' where the page was told to show them."""
    return None if words == "all" else (desk.reader,)


def judged_cells(desk: Desk, readers: tuple[str, ...] | None) -> list[Cell]:
    """Cells that these readers judged, on slides that count; None is all readers."""
    mpp_of, counting = desk.mpp_of, desk.counting
    known = [decision for decision in desk.decisions() if decision.slide_id in counting]
    return cells_of(known, mpp_of, readers=readers, near=desk.near)


def not_counted(desk: Desk, readers: tuple[str, ...] | None) -> str:
    """What is said of decisions of these readers on slides that were not done, or that a cohort or an audit has not any
    more; empty where there are none.
    """
    from mitosieve.review.result import left_out

    own = [decision for decision in desk.decisions() if readers is None or decision.reader in readers]
    why = "were not done" if desk.has_counts else "are not here any more"
    return left_out(own, {decision.slide_id for decision in own} - desk.counting, why)


def review(desk: Desk, slide: int, readers: tuple[str, ...] | None, *, at_once: bool = False) -> Reviewed:
    """Count a slide again with what readers decided.

    Args:
        desk: with the decisions.
        slide: its number.
        readers: whose decisions; None is all.
        at_once: without searching which open decisions can change the score: then all of them count as such.

    Raises:
        MitosieveError: the slide was not done, its size is not known, or it has more figures than anybody reviews.
    """
    from mitosieve.review.counted import MOST_SEARCHED, reviewed_count
    from mitosieve.review.result import CountConfig, FoundResult, FoundSlide

    viewed, stated = desk.viewed, desk.viewed.slides[slide]
    if stated.fault or stated.size_l0 is None or stated.mpp is None:
        raise InputError("this slide was not counted")
    judged = [cell for cell in judged_cells(desk, readers) if cell.slide_id == stated.slide_id]
    wanted = desk.called_figures(slide).copy()
    for cell in judged:
        row = desk.row_at(slide, cell.x_px, cell.y_px, cell.key)
        if row is not None:
            wanted[row] = True
    chosen = np.flatnonzero(wanted)
    if len(chosen) > MOST_REVIEWED:
        raise InputError(
            f"{len(chosen)} cells are called figures or decided: more than anybody reviews",
            remedy="detect again with a higher --threshold",
        )
    assert viewed.folder is not None
    result = FoundResult(
        folder=viewed.folder,
        detections=desk.detections(slide)[chosen],
        slides={
            stated.slide_id: FoundSlide(
                slide_id=stated.slide_id,
                path=stated.path,
                mpp_xy=stated.mpp_xy or (stated.mpp, stated.mpp),
                size_l0=stated.size_l0,
                tissue_mm2=stated.tissue_mm2,
                proposer="",
                ground=read_ground(viewed.folder, stated.slide_id),
            )
        },
        detector=viewed.detector,
        detector_hash=viewed.detector_hash,
        threshold=viewed.threshold or 0.0,
        counts=CountConfig(area_mm2=viewed.area_mm2, shape=viewed.shape, tissue=viewed.tissue),
        decisions=(),
        areas={} if stated.area is None else {stated.slide_id: stated.area},
    )
    count = reviewed_count(result, stated.slide_id, judged, most_searched=0 if at_once else MOST_SEARCHED)
    place = {str(name): int(row) for name, row in zip(result.ids.tolist(), chosen.tolist(), strict=True)}
    return Reviewed(count=count, rows=place)


def reviewed(desk: Desk, slide: int, words: str, *, at_once: bool = False) -> dict[str, Any]:
    """Automatic and reviewed count of a slide beside one another, and which decisions can still change the score."""
    made = review(desk, slide, readers_asked(desk, words), at_once=at_once)
    count = made.count
    return {
        "automatic": _summary(count.automatic),
        "reviewed": _summary(count.reviewed),
        "in_hotspot": count.in_hotspot,
        "judged": count.judged,
        "rejected": count.rejected,
        "accepted": count.accepted,
        "added": count.added,
        "open": len(count.open),
        "deciding": [made.rows.get(name, name) for name in count.deciding],
        "is_exact": count.is_exact,
        "is_searched": not at_once,
    }


def _summary(summary: SlideSummary) -> dict[str, Any]:
    told = summary.to_json()
    return {
        "figures": summary.figures,
        "per_mm2": summary.density_per_mm2,
        "hotspot": told["hotspot"],
        "score": summary.score.score,
        "reason": summary.score.reason,
    }


def compared(desk: Desk, first: str, second: str) -> dict[str, Any]:
    """How two readers agree, and the cells on which they do not, to be shown and settled.

    Raises:
        InputError: one of them has decided nothing.
    """
    from mitosieve.review.agreement import agree
    from mitosieve.review.searched import searched_areas

    known = desk.readers()
    if first == second or first not in known or second not in known:
        raise InputError("name two readers who have decided something")
    decisions = desk.decisions()
    told = agree(judged_cells(desk, None), first, second, searched_areas(decisions))
    shown = [_cell(desk, cell) for cell in told.disagreements[:MOST_DISAGREEMENTS]]
    return {
        **told.to_json(),
        "first": first,
        "second": second,
        "number": len(told.disagreements),
        "disagreements": [cell for cell in shown if cell is not None],
    }


def _cell(desk: Desk, cell: Cell) -> dict[str, Any] | None:
    slide = desk.number_of(cell.slide_id)
    if slide is None:
        return None
    return {
        "slide": slide,
        "row": desk.row_at(slide, cell.x_px, cell.y_px, cell.key),
        "key": cell.key,
        "own": cell.keys.get(desk.reader),
        "x": cell.x_px,
        "y": cell.y_px,
        "score": cell.score,
        "votes": [{"reader": reader, "verdict": verdict} for reader, verdict in cell.votes.items()],
    }


def known_readers(desk: Desk) -> list[dict[str, Any]]:
    """Who has decided, this reader first, then by name, and how many decisions count; what they are is not told."""
    counting = desk.counting
    names: Sequence[str] = sorted({desk.reader, *desk.readers()}, key=lambda name: (name != desk.reader, name))
    stands = {name: [one.slide_id in counting for one in desk.standing(name).values()] for name in names}
    return [{"reader": name, "decisions": sum(stands[name])} for name in names]
