"""One self-contained HTML page of labels to look at again, for a pathologist: cells by slide, and verdicts on the page.

Chooses nothing and judges nothing: it shows the cells it is given. What is judged on it is saved by the browser as a
GeoJSON file that `import corrections` reads.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mitosieve.audit.place import CLASS_OF
from mitosieve.audit.points import COLOURS, AuditedPlace, feature_of
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import MitosieveError
from mitosieve.report.cells import to_webp
from mitosieve.report.gallery import cut_crop
from mitosieve.report.words import environment

SUSPECT_UM = 64.0
"""Side of a picture: the cell with those around it, with which a pathologist compares it."""

RIVAL_UM = 32.0
"""Side of the picture of the cell that it resembles, at the same scale."""

SUSPECT_PX = 320
"""Side of a picture on the page; stored at twice as many pixels."""

Place = tuple[str, float, float]
"""slide_id, and x, y in level-0 px."""

_SPARK_WIDTH, _SPARK_HEIGHT = 188, 36
_SPARK_EDGE = 2


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One label.

    Attributes:
        rank: by suspicion, 1 is the most suspicious.
        point: where, what it was called, and its record: what the file of verdicts says of it.
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
    point: AuditedPlace
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
    def place(self) -> Place:
        """Of the cell."""
        return self.point.slide_id, *self.point.center_l0

    @property
    def label(self) -> str:
        """What it was called."""
        return self.point.label

    @property
    def doubted(self) -> int:
        """Epochs in which the network gave the label less than one half."""
        return sum(value < 0.5 for value in self.history)  # a NaN is not below

    @property
    def epochs(self) -> int:
        """Epochs in which the label was seen."""
        return sum(not math.isnan(value) for value in self.history)

    @property
    def figure_for_strangers(self) -> bool:
        """Whether a network that had not seen the patient calls it a figure."""
        return self.out_of_fold >= 0.5

    @property
    def lines(self) -> tuple[str, ...]:
        """The history as polylines of an SVG, broken where the label was not visited."""
        return sparkline(self.history)


@dataclass(frozen=True, kw_only=True)
class SuspectsOfSlide:
    """The cells of one slide.

    Attributes:
        slide_id: its name.
        cells: the most suspicious first.
    """

    slide_id: str
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
        totals: rows of a direction of error, how many labels it has, and how many of them are shown.
        slides_shown: the labels by slide, that with the most suspicious one first.
        day: of the run, in words.
    """

    name: str
    fold: str
    cohort: str
    cases: int
    slides: int
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    verdicts: tuple[str, ...]
    agreement: tuple[tuple[str, str, float | None, int, int], ...]
    totals: tuple[tuple[str, int, int], ...]
    slides_shown: tuple[SuspectsOfSlide, ...]
    day: str = ""


def render_suspects(view: SuspectsView, cohort: Cohort) -> tuple[str, tuple[str, ...]]:
    """The page, and a sentence for each slide that could not be read; its cells are shown without picture.

    Args:
        view: what to show.
        cohort: the images; each slide is opened once.
    """
    cells = [cell for group in view.slides_shown for cell in group.cells]
    wanted = {(cell.place, SUSPECT_UM) for cell in cells}
    wanted |= {(cell.rival, RIVAL_UM) for cell in cells if cell.rival is not None}
    pictures, faults = _cut(sorted(wanted), cohort)
    template = environment().get_template("suspects.html.jinja")
    page = template.render(
        view=view,
        pictures=pictures,
        faults=faults,
        crop_um=SUSPECT_UM,
        rival_um=RIVAL_UM,
        side_px=SUSPECT_PX,
        features={f"{cell.rank}": feature_of(cell.point) for cell in cells},
        classes=[{"name": name, "color": COLOURS[name]} for name in CLASS_OF.values()],
        width=_SPARK_WIDTH,
        height=_SPARK_HEIGHT,
    )
    return page, faults


def by_slide(cells: Sequence[Suspect]) -> tuple[SuspectsOfSlide, ...]:
    """Cells by slide, so that each slide is looked at once; slides and cells by their rank."""
    groups: dict[str, list[Suspect]] = {}
    for cell in sorted(cells, key=lambda cell: cell.rank):
        groups.setdefault(cell.point.slide_id, []).append(cell)
    return tuple(SuspectsOfSlide(slide_id=name, cells=tuple(group)) for name, group in groups.items())


def _cut(
    wanted: Sequence[tuple[Place, float]], cohort: Cohort
) -> tuple[dict[tuple[Place, float], str], tuple[str, ...]]:
    """A picture of each place and side in um as a data URI, and why some are missing."""
    pictures: dict[tuple[Place, float], str] = {}
    faults: list[str] = []
    for slide_id in sorted({place[0] for place, _ in wanted}):
        try:
            with cohort.open(slide_id) as slide:
                for place, um in (item for item in wanted if item[0][0] == slide_id):
                    webp = to_webp(cut_crop(slide, place[1:], crop_um=um), round(2 * SUSPECT_PX * um / SUSPECT_UM))
                    pictures[place, um] = "data:image/webp;base64," + base64.b64encode(webp).decode()
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
