"""The reviewed detections of a result: what a threshold is fitted to. Knows no detector."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.review.cell import Cell, cells_of
from mitosieve.review.result import FoundResult, decisions_of, left_out


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Reviewed detections.

    Attributes:
        score: (N,) of the detector.
        is_figure: (N,) what readers agreed on.
        slide: (N,) number of the slide.
        missed: figures that readers added where the detector searched.
        left_out: detections of which readers are unsure, or in a tie.
        readers: whose decisions they are.
        undone: what is said of decisions on slides that were not done, which are in none of these; empty without any.
    """

    score: NDArray[np.float64]
    is_figure: NDArray[np.bool_]
    slide: NDArray[np.intp]
    missed: int
    left_out: int
    readers: tuple[str, ...]
    undone: str = ""

    def __len__(self) -> int:
        return len(self.score)


def judged_of(result: FoundResult, readers: tuple[str, ...] = ()) -> Judged:
    """The reviewed detections of a result.

    Raises:
        InputError: a reader that was named decided nothing.
    """
    chosen = decisions_of(result.decisions, readers, result.folder)
    mpp_of = {name: slide.mpp_xy for name, slide in result.slides.items()}
    known = [decision for decision in chosen if decision.slide_id in mpp_of]
    cells = cells_of(known, mpp_of, near=result.near)
    found = [(cell, result.row_of[cell.key]) for cell in cells if cell.key in result.row_of]
    sure = [(cell, row) for cell, row in found if cell.label is not None]
    rows = np.array([row for _, row in sure], dtype=np.intp)
    _, slide = np.unique(result.detections.slide_id[rows], return_inverse=True)
    return Judged(
        score=result.detections.score[rows],
        is_figure=np.array([cell.label is Label.MITOTIC_FIGURE for cell, _ in sure], dtype=np.bool_),
        slide=slide.astype(np.intp),
        missed=sum(_is_missed(cell, result) for cell in cells),
        left_out=len(found) - len(sure),
        readers=tuple(dict.fromkeys(decision.reader for decision in chosen)),
        undone=left_out(chosen, {decision.slide_id for decision in chosen} - mpp_of.keys()),
    )


def _is_missed(cell: Cell, result: FoundResult) -> bool:
    is_figure = cell.is_added and cell.label is Label.MITOTIC_FIGURE
    return is_figure and result.is_searched(cell.slide_id, cell.x_px, cell.y_px)
