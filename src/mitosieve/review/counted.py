"""The count of a slide after review, beside the automatic one, and which decisions can still change its score."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.count.hotspot import mm_from_l0, slide_mm
from mitosieve.count.nottingham import score_of_tissue
from mitosieve.count.summary import SlideFindings, SlideSummary, summarize
from mitosieve.detection import Detections
from mitosieve.review.cell import Cell
from mitosieve.review.deciding import Field, deciding
from mitosieve.review.result import CountConfig, FoundResult


@dataclass(frozen=True, kw_only=True)
class ReviewedCount:
    """A slide, automatic and reviewed.

    Attributes:
        automatic: its summary by the detector alone.
        reviewed: by the readers; what nobody judged is as the detector called it.
        in_hotspot: figures after review in the automatic hotspot, which may no longer be the one with most.
        judged: detections of the slide with a decision.
        rejected: those called a figure by the detector that readers called an imposter.
        accepted: those below the threshold that readers called a figure.
        added: figures that the detector had not found, in the area that was searched.
        open: ids of what may still be decided: detections called figures that nobody judged, and cells of which readers
            are unsure or disagree.
        deciding: those of `open` that can still change the Nottingham score, whatever the others turn out to be.
        detections: the slide's as reviewed, behind them the cells that readers added.
        is_exact: whether `deciding` is; else it may hold a few too many (see `deciding`), and where glass lies in the
            hotspots it goes by how much those found hold, though a decision may move them.
    """

    automatic: SlideSummary
    reviewed: SlideSummary
    in_hotspot: int
    judged: int
    rejected: int
    accepted: int
    added: int
    open: tuple[str, ...]
    deciding: tuple[str, ...]
    detections: Detections
    is_exact: bool

    def row(self) -> dict[str, str]:
        """Columns of a table beside those of summary.csv, which hold the reviewed numbers."""
        spot, score = self.automatic.hotspot, self.automatic.score.score
        return {
            "automatic_figures": str(self.automatic.figures),
            "automatic_hotspot_figures": "" if spot.shape == "none" else str(spot.count),
            "automatic_nottingham_mitotic_score": "" if score is None else str(score),
            "reviewed_in_automatic_hotspot": "" if spot.shape == "none" else str(self.in_hotspot),
            "judged": str(self.judged),
            "rejected": str(self.rejected),
            "accepted": str(self.accepted),
            "added": str(self.added),
            "open": str(len(self.open)),
            "deciding": str(len(self.deciding)),
        }


MOST_SEARCHED = 2000
"""Open cells among which deciding ones are searched for; where more are open, all count as deciding."""


def reviewed_count(
    result: FoundResult, slide_id: str, cells: Iterable[Cell], *, most_searched: int = MOST_SEARCHED
) -> ReviewedCount:
    """Count a slide again with what readers decided.

    A figure is what most sure readers call one. A cell in a tie, or of which all are unsure, is as the detector called
    it, and open. Cells that a reader added count where most call them figures, but not outside the area that was
    searched: its tissue is what densities are of.

    Args:
        result: of detect.
        slide_id: a slide that was done.
        cells: of `cells_of`, of any slides.
        most_searched: where more are open, all of them count as deciding, and that is not exact; 0 is at once.
    """
    rows = np.flatnonzero(result.detections.slide_id == slide_id)
    found = result.detections[rows]
    place = {str(result.ids[row]): number for number, row in enumerate(rows.tolist())}
    own = [cell for cell in cells if cell.slide_id == slide_id]
    figure, is_open = found.is_figure.copy(), found.is_figure.copy()
    added: list[Cell] = []
    for cell in own:
        number = place.get(cell.key)
        if number is None:
            added += [cell] if not cell.is_rejected and result.is_searched(slide_id, cell.x_px, cell.y_px) else []
        else:
            is_open[number] = cell.label is None
            figure[number] = figure[number] if cell.label is None else cell.label is Label.MITOTIC_FIGURE
    sure = np.array([cell.label is not None for cell in added], dtype=np.bool_)
    after = _with_added(found, figure, added, sure)
    automatic = summarize(result.findings(slide_id, found), **asdict(result.counts))
    findings = result.findings(slide_id, after)
    opened = np.concatenate([is_open, ~sure])
    keys = np.array([*(str(result.ids[row]) for row in rows.tolist()), *(cell.key for cell in added)], dtype=object)
    reviewed = summarize(findings, **asdict(result.counts))
    chosen, is_exact = np.ones(int(opened.sum()), dtype=np.bool_), False
    score = _score_by_count(result.counts, automatic, reviewed)
    if score is None:
        chosen, is_exact = ~chosen, True
    elif opened.sum() <= most_searched:
        chosen, is_exact = _deciding(findings, opened, score, result.counts)
        is_exact &= all(spot.held_mm2 >= spot.area_mm2 for one in (automatic, reviewed) for spot in one.hotspots)
    judged = np.isin(keys[: len(rows)].astype(np.str_), [cell.key for cell in own if cell.votes])
    return ReviewedCount(
        automatic=automatic,
        reviewed=reviewed,
        in_hotspot=int(automatic.hotspot.holds(findings.figure_mm).sum()),
        judged=int(judged.sum()),
        rejected=int((found.is_figure & ~figure).sum()),
        accepted=int((figure & ~found.is_figure).sum()),
        added=int(sure.sum()),
        open=tuple(keys[opened]),
        deciding=tuple(keys[np.flatnonzero(opened)[chosen]]),
        detections=after,
        is_exact=is_exact,
    )


def _with_added(found: Detections, figure: NDArray[np.bool_], added: list[Cell], sure: NDArray[np.bool_]) -> Detections:
    """The slide's detections as reviewed, behind them the cells that readers added."""
    more = Detections.of(
        slide_id=[cell.slide_id for cell in added],
        center_l0=[(cell.x_px, cell.y_px) for cell in added],
        score=np.ones(len(added)),
        stage_names=found.stage_names,
        stage_score=np.full((len(added), len(found.stage_names)), np.nan),
    )
    return Detections.concatenate([replace(found, is_figure=figure), replace(more, is_figure=sure)])


def _score_by_count(counts: CountConfig, *summaries: SlideSummary) -> Callable[[int], object] | None:
    """What a count is scored, with as much tissue as each of the slide's hotspots holds; None where no count is."""
    area_mm2 = summaries[0].hotspot.area_mm2
    if summaries[0].hotspot.shape == "none" or score_of_tissue(counts.tissue, 0, area_mm2, area_mm2).score is None:
        return None
    held = {spot.held_mm2 for one in summaries for spot in one.hotspots}
    return lambda count: tuple(score_of_tissue(counts.tissue, count, area_mm2, each).score for each in sorted(held))


def _deciding(
    findings: SlideFindings, is_open: NDArray[np.bool_], score: Callable[[int], object], counts: CountConfig
) -> tuple[NDArray[np.bool_], bool]:
    """Which of the open rows can still change the score."""
    mm = mm_from_l0(findings.detections.center_l0, findings.mpp_xy)
    fixed = mm[findings.detections.is_figure & ~is_open]
    size_mm = slide_mm(findings.size_l0, findings.mpp_xy)
    field = Field(size_mm=size_mm, area_mm2=counts.area_mm2, shape=counts.shape)
    return deciding(fixed, mm[is_open], field, score)
