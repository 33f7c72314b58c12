"""One self-contained HTML page of labels to look at again, each cell beside the one it may be mistaken for.

Chooses nothing and judges nothing: it shows the cells it is given, in their order.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import MitosieveError
from mitosieve.report.gallery import cut_crop, to_jpeg
from mitosieve.report.page import environment

SUSPECT_UM = 24.0
"""Side of a picture: one cell and its rim, since a cell, not a place, is to be judged."""

Place = tuple[str, float, float]
"""slide_id, and x, y in level-0 px."""

_SPARK_WIDTH, _SPARK_HEIGHT = 188, 36
_SPARK_EDGE = 2


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One label.

    Attributes:
        rank: by suspicion, 1 is the most suspicious.
        place: of the cell.
        label: what it was called.
        score: share of experts who called it a figure; None where unknown.
        verdict: of the training.
        level: 0 easy, 1 to 3 hard; -1 none.
        suspicion: 0..1.
        out_of_fold: probability of "mitotic figure" by a network that has not seen the case.
        history: p(y) by epoch; NaN where not visited.
        rival: the place most like it of the other class; None where there is none.
        rival_label: what that is called.
        similarity: cosine to it; NaN where there is none.
    """

    rank: int
    place: Place
    label: str
    score: float | None
    verdict: str
    level: int
    suspicion: float
    out_of_fold: float
    history: Sequence[float]
    rival: Place | None
    rival_label: str
    similarity: float

    @property
    def lines(self) -> tuple[str, ...]:
        """The history as polylines of an SVG, broken where the label was not visited."""
        return sparkline(self.history)


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """One direction of error.

    Attributes:
        title: what these labels look like.
        total: how many there are.
        cells: the most suspicious, in order.
    """

    title: str
    total: int
    cells: tuple[Suspect, ...]


@dataclass(frozen=True, kw_only=True)
class SuspectsView:
    """All that the page shows.

    Attributes:
        name: of the run.
        fold: of the run.
        cohort: its name.
        cases: how many were audited.
        slides: how many were audited.
        counts: rows of label and number by verdict, in the order of `verdicts`.
        verdicts: their names.
        agreement: rows of first ranking, second ranking, rank correlation (None: no order), shared, top.
        sections: one for each direction.
    """

    name: str
    fold: str
    cohort: str
    cases: int
    slides: int
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    verdicts: tuple[str, ...]
    agreement: tuple[tuple[str, str, float | None, int, int], ...]
    sections: tuple[Suspects, ...]


def render_suspects(view: SuspectsView, cohort: Cohort) -> tuple[str, tuple[str, ...]]:
    """The page, and a sentence for each slide that could not be read; its cells are shown without picture.

    Args:
        view: what to show.
        cohort: the images; each slide is opened once.
    """
    cells = [cell for section in view.sections for cell in section.cells]
    places = {cell.place for cell in cells} | {cell.rival for cell in cells if cell.rival is not None}
    pictures, faults = _cut(sorted(places), cohort)
    template = environment().get_template("suspects.html.jinja")
    page = template.render(
        view=view,
        pictures=pictures,
        faults=faults,
        crop_um=SUSPECT_UM,
        width=_SPARK_WIDTH,
        height=_SPARK_HEIGHT,
    )
    return page, faults


def _cut(places: Sequence[Place], cohort: Cohort) -> tuple[dict[Place, str], tuple[str, ...]]:
    """A picture of each place as a data URI, and why some are missing."""
    pictures: dict[Place, str] = {}
    faults: list[str] = []
    for slide_id in sorted({place[0] for place in places}):
        try:
            with cohort.open(slide_id) as slide:
                for place in (place for place in places if place[0] == slide_id):
                    jpeg = to_jpeg(cut_crop(slide, place[1:], crop_um=SUSPECT_UM))
                    pictures[place] = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        except MitosieveError as error:
            faults.append(f"{slide_id}: {error.what}")
    return pictures, tuple(faults)


def sparkline(history: Sequence[float]) -> tuple[str, ...]:
    """Points of SVG polylines through a history of 0..1, its first epoch at the left and 1 at the top.

    A visit between epochs without one is a line of no length, which a round cap shows as a dot.
    """
    values = np.asarray(history, dtype=np.float64)
    across = np.linspace(_SPARK_EDGE, _SPARK_WIDTH - _SPARK_EDGE, max(2, len(values)))
    down = _SPARK_EDGE + (1 - values) * (_SPARK_HEIGHT - 2 * _SPARK_EDGE)
    parts: list[list[str]] = [[]]
    for x, y in zip(across.tolist(), down.tolist(), strict=False):
        if math.isnan(y):
            parts.append([])
        else:
            parts[-1].append(f"{x:.1f},{y:.1f}")
    return tuple(" ".join(part * 2 if len(part) == 1 else part) for part in parts if part)
