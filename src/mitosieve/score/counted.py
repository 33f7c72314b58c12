"""What counts in a score: marks and detections inside the ROI of the labelled slides, pooled into one table.

Owns the decision of what is scored and what is left out. Knows nothing of matching.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.detection import Detections
from mitosieve.errors import FrameError, plural
from mitosieve.geometry import inside_roi

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Points of many slides as aligned columns.

    Attributes:
        slide: (N,) intp, row of the slide in `Counted.slides`.
        center_l0: (N, 2) float64, x then y in level-0 px of that slide.
    """

    slide: Rows
    center_l0: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.slide)

    def __getitem__(self, rows: NDArray[np.bool_] | Rows) -> "Places":
        return Places(slide=self.slide[rows], center_l0=self.center_l0[rows])

    def per_slide(self, num_slides: int) -> NDArray[np.int64]:
        """(S,) how many points each slide has."""
        return np.bincount(self.slide, minlength=num_slides).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """All that a score looks at; nothing outside the ROI and nothing of unlabelled slides is in here.

    Attributes:
        slides: labelled slides by rising slide_id, so that no result depends on the order they were given in.
        mpp: (S, 2) float64, um per px in x and y of each slide.
        figures: F mitotic figures, slide by slide; within a slide in file order, which the official matching needs.
        imposters: I cells that experts marked as look-alikes.
        detections: D detections, slide by slide; within a slide in table order, which breaks ties.
        score: (D,) float64.
        is_figure: (D,) bool, whether a detection reached the operating threshold.
        notes: what was left out, in words.
    """

    slides: tuple[SlideEntry, ...]
    mpp: NDArray[np.float64]
    figures: Places
    imposters: Places
    detections: Places
    score: NDArray[np.float64]
    is_figure: NDArray[np.bool_]
    notes: tuple[str, ...]


def count_in(
    detections: Detections, cohort: Cohort, cases: tuple[str, ...] | None = None, *, where: Path | None = None
) -> Counted:
    """Keep what is scored: the labelled slides of `cases`, and on them what lies inside the ROI (its edge included).

    On an unlabelled slide, and outside an ROI, nothing is known: what lies there is left out and noted, never counted
    as a false alarm. A slide without ROI counts whole.

    Args:
        detections: of slides of `cases` only.
        cohort: the truth.
        cases: which cases are scored; None for all.
        where: table of the detections, which a refusal of one names; None where there is none.

    Raises:
        FrameError: a detection names a slide that these cases do not have, or is not a finite number; a case is not in
            the cohort; there is no labelled slide.
    """
    part = cohort if cases is None else _part(cohort, cases)
    entries = tuple(sorted(part.slides, key=lambda entry: entry.slide_id))
    found = Places(slide=_slide_rows(detections.slide_id, entries), center_l0=detections.center_l0)
    _check_detections(detections, found.slide, cohort, where)
    slides = tuple(entry for entry in entries if entry.labelled)
    if not slides:
        raise FrameError(
            "has no labelled slide among the scored cases: there is nothing to score against",
            where=cohort.folder,
            remedy="choose cases with labelled slides, or set 'labelled' to yes in slides.csv where it is true",
        )
    renumber = np.cumsum([entry.labelled for entry in entries], dtype=np.intp) - 1
    renumber[[not entry.labelled for entry in entries]] = -1
    found = Places(slide=renumber[found.slide], center_l0=found.center_l0)
    marks = part.annotations
    marked = Places(slide=renumber[_slide_rows(marks.slide_id, entries)], center_l0=marks.center_l0)
    is_inside = _inside(found, slides)
    is_marked_inside = _inside(marked, slides)
    is_mitotic = marks.label == Label.MITOTIC_FIGURE.value
    kept = _by_slide(found, is_inside)
    return Counted(
        slides=slides,
        mpp=np.array([entry.mpp_xy for entry in slides], dtype=np.float64),
        figures=marked[_by_slide(marked, is_marked_inside & is_mitotic)],
        imposters=marked[_by_slide(marked, is_marked_inside & (marks.label == Label.IMPOSTER.value))],
        detections=found[kept],
        score=detections.score[kept],
        is_figure=detections.is_figure[kept],
        notes=_notes(
            unlabelled=len(entries) - len(slides),
            on_unlabelled=int((found.slide < 0).sum()),
            detections_outside=int(((found.slide >= 0) & ~is_inside).sum()),
            figures_outside=int(((marked.slide >= 0) & ~is_marked_inside & is_mitotic).sum()),
        ),
    )


def _part(cohort: Cohort, cases: tuple[str, ...]) -> Cohort:
    strangers = sorted(set(cases) - set(cohort.cases))
    if strangers:
        raise FrameError(
            f"has no case {', '.join(strangers[:5])}",
            where=cohort.folder,
            remedy="the split belongs to another cohort; make one with: mitosieve split",
        )
    return cohort.of_cases(cases)


def _slide_rows(slide_id: NDArray[np.str_], entries: tuple[SlideEntry, ...]) -> Rows:
    """(N,) row of each id in `entries`, which are sorted by id; -1 where it is not there."""
    known = np.array([entry.slide_id for entry in entries], dtype=np.str_)
    if not len(known):
        return np.full(len(slide_id), -1, dtype=np.intp)
    rows = np.minimum(np.searchsorted(known, slide_id), len(known) - 1)
    return np.where(known[rows] == slide_id, rows, -1)


def _check_detections(detections: Detections, rows: Rows, cohort: Cohort, where: Path | None) -> None:
    if (rows < 0).any():
        first = int(np.argmax(rows < 0))
        name = str(detections.slide_id[first])
        known = any(entry.slide_id == name for entry in cohort.slides)
        owner = "the scored cases do" if known else "the cohort does"
        raise FrameError(
            f"detection {first + 1} is on slide '{name}', which {owner} not have",
            where=cohort.folder if where is None else where,
            remedy="score with the cohort, split, fold and part that the detections were made on",
        )
    bad = ~(np.isfinite(detections.score) & np.isfinite(detections.center_l0).all(axis=1))
    if bad.any():
        first = int(np.argmax(bad))
        raise FrameError(
            f"detection {first + 1}, on slide '{detections.slide_id[first]}', has a position or score that is not a "
            "finite number",
            where=where,
            remedy="run detect again",
        )


def _inside(places: Places, slides: tuple[SlideEntry, ...]) -> NDArray[np.bool_]:
    """(N,) whether a point lies on a labelled slide and inside its ROI."""
    inside = places.slide >= 0
    order = np.argsort(places.slide, kind="stable")
    edge = np.searchsorted(places.slide[order], np.arange(len(slides) + 1))
    for number, entry in enumerate(slides):
        rows = order[edge[number] : edge[number + 1]]
        if len(rows):
            inside[rows] = inside_roi(entry.roi, places.center_l0[rows])
    return inside


def _by_slide(places: Places, kept: NDArray[np.bool_]) -> Rows:
    """The kept rows, slide by slide; within a slide in their order."""
    rows = np.flatnonzero(kept)
    return rows[np.argsort(places.slide[rows], kind="stable")]


def _notes(*, unlabelled: int, on_unlabelled: int, detections_outside: int, figures_outside: int) -> tuple[str, ...]:
    notes: list[str] = []
    if unlabelled:
        notes.append(
            f"{plural(unlabelled, 'unlabelled slide')} left out, with {plural(on_unlabelled, 'detection')}: nothing is "
            "known there"
        )
    if detections_outside:
        notes.append(f"{plural(detections_outside, 'detection')} outside the ROI left out: nothing is known there")
    if figures_outside:
        notes.append(f"{plural(figures_outside, 'mitotic figure')} marked outside the ROI left out")
    return tuple(notes)
