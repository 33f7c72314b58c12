"""The cells of one slide that its page shows, with their pictures. Chooses by score; knows nothing of the page."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.detection import Detections
from mitosieve.errors import MitosieveError
from mitosieve.report.gallery import CROP_UM, Addresses, cut_crop, picture_uri
from mitosieve.report.scanned import ScannedSlide
from mitosieve.slide.slide import open_slide

CELL_PX = 216
"""Side of a picture on the page; it may be enlarged."""

MOST_FIGURES = 2000
"""At some 20 kB a cell a page stays below 50 MB."""

MOST_CANDIDATES = 60
"""Of the best cells below the threshold: as many as are looked at for a missed figure."""

STEPS = 200
"""The threshold on the page moves by 1 / STEPS."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One detection.

    Attributes:
        rank: by falling score among all of the slide, from 1.
        score: of the detection.
        x, y: level-0 px.
        is_figure: whether it reached the operating threshold.
        in_hotspot: whether it lies in the slide's hotspot; None where there is none.
        uri: its picture; empty where the slide cannot be read.
        link: its place in the viewer; empty where none serves the page.
    """

    rank: int
    score: float
    x: float
    y: float
    is_figure: bool
    in_hotspot: bool | None
    uri: str
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class SlideCells:
    """What a page shows of a slide's cells.

    Attributes:
        cells: all figures, or the MOST_FIGURES of highest score, then the best candidates; by falling score.
        num_figures: how many figures there are.
        num_in_hotspot: how many figures lie in the hotspot, shown or not.
        num_candidates: how many detections below the threshold there are.
        counts: for each of 0, 1 / STEPS, ... 1 as threshold, how many detections are at or above it.
        counts_hotspot: the same of those in the hotspot.
        fault: why there are no pictures; empty where there are.
    """

    cells: tuple[Cell, ...]
    num_figures: int
    num_in_hotspot: int
    num_candidates: int
    counts: tuple[int, ...]
    counts_hotspot: tuple[int, ...]
    fault: str

    side_px = CELL_PX
    steps = STEPS

    @property
    def left_out(self) -> int:
        """Figures that are not shown."""
        return self.num_figures - sum(cell.is_figure for cell in self.cells)


def cells_of(slide: ScannedSlide, found: Detections, served: Addresses | None = None) -> SlideCells:
    """Choose and picture the cells of a slide; where it cannot be read they have no picture, and it is said why.

    Args:
        slide: its row, with where it lies.
        found: its detections.
        served: where pictures are, so that the slide is not opened; None puts them into the page.
    """
    order = np.argsort(-found.score, kind="stable")  # ties by row
    found = found[order]
    inside = in_hotspot(slide, found.center_l0)
    figures = np.flatnonzero(found.is_figure)[:MOST_FIGURES]
    candidates = np.flatnonzero(~found.is_figure)[:MOST_CANDIDATES]
    rows = np.concatenate([figures, candidates])
    pictures, fault = _pictures(slide, found.center_l0[rows], served)
    return SlideCells(
        cells=tuple(
            Cell(
                rank=row + 1,
                score=float(found.score[row]),
                x=float(found.center_l0[row, 0]),
                y=float(found.center_l0[row, 1]),
                is_figure=bool(found.is_figure[row]),
                in_hotspot=None if inside is None else bool(inside[row]),
                uri=uri,
                link="" if served is None else served.place(slide.slide_id, found.center_l0[row]),
            )
            for row, uri in zip(rows.tolist(), pictures, strict=True)
        ),
        num_figures=int(found.is_figure.sum()),
        num_in_hotspot=0 if inside is None else int((found.is_figure & inside).sum()),
        num_candidates=int((~found.is_figure).sum()),
        counts=_counts(found.score),
        counts_hotspot=() if inside is None else _counts(found.score[inside]),
        fault=fault,
    )


def in_hotspot(slide: ScannedSlide, center_l0: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """(N,) which places lie in the slide's hotspot, to the tenth of a px of summary.csv; None where there is none."""
    names = ("hotspot_x", "hotspot_y", "hotspot_width", "hotspot_height")
    box = [slide.numbers[name] for name in names]
    if None in box or not slide.numbers["hotspot_figures"]:
        return None
    x, y, width, height = (float(value or 0) for value in box)
    half = np.array([width, height]) / 2
    away = np.abs(np.asarray(center_l0, dtype=np.float64) - (np.array([x, y]) + half))
    share = away / (half + 0.1)
    if slide.words["hotspot_shape"] == "circle":
        return np.hypot(share[:, 0], share[:, 1]) <= 1
    return np.maximum(share[:, 0], share[:, 1]) <= 1


def _counts(score: NDArray[np.float64]) -> tuple[int, ...]:
    """How many scores are at or above each threshold of the page."""
    steps = np.arange(STEPS + 1) / STEPS
    return tuple((len(score) - np.searchsorted(np.sort(score), steps, side="left")).tolist())


def _pictures(slide: ScannedSlide, center_l0: NDArray[np.float64], served: Addresses | None) -> tuple[list[str], str]:
    """A picture of each place, and why they are empty."""
    if served is not None:
        found = [served.picture(slide.slide_id, place, CROP_UM) for place in center_l0.tolist()]
        return found, "" if all(found) else "the viewer cannot find the slide"
    none = [""] * len(center_l0)
    if slide.path is None:
        return none, "it is not recorded where the slide is; detect again with this version"
    mpp = (slide.numbers["mpp_x"], slide.numbers["mpp_y"])
    stated = None if mpp[0] is None or mpp[1] is None else (mpp[0], mpp[1])
    try:
        with open_slide(slide.path, mpp=stated, slide_id=slide.slide_id) as image:
            return [picture_uri(cut_crop(image, place)) for place in center_l0.tolist()], ""
    except MitosieveError as error:
        return none, f"the slide cannot be read: {error.what}"
