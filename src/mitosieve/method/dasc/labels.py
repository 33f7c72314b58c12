"""The labels that DASC learns from: one place for each mark, and the places that are no figure by what is marked.

Places are those that detection will propose, so training sees cells as detection will; a mark that nothing is proposed
for keeps its own place.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import inside_roi
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.sieve.plan import Plan
from mitosieve.train import Places, propose

CHAIN = 4
"""Proposals are looked at up to so many times the marks' reach outside a ROI: a mark there may take the proposal of one
inside, and have lost its own to another farther out. Longer chains are not followed."""


class LabelConfig(BaseModel):
    """Which place stands for a mark, and which may be a negative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach_um: float = Field(default=7.5, gt=0, le=50)
    """A mark takes the nearest proposal up to this distance that no nearer mark has taken: the official radius."""
    exclusion_um: float = Field(default=20.0, ge=0, le=500)
    """Radius of the disc round a figure that no negative's window may touch (DASC: 80 px)."""
    window_um: float = Field(default=20.0, gt=0, le=500)
    """Side of a negative's window (DASC: 80 px)."""
    apart_um: float = Field(default=12.0, ge=0, le=100)
    """A marked imposter nearer than this to a figure is left out, and one whose patch shows the figure's middle at any
    distance; one that would be moved so near to a figure keeps its own place. Ours."""


@dataclass(frozen=True, kw_only=True)
class MarkRule:
    """One place a mark, and every proposal that is surely no figure. A `PlaceRule`.

    Where imposters are known, each has a place, and proposals near any mark are left out. Where they are not (DASC's
    public code, whose mask is of figures alone), every proposal clear of figures is a candidate; those that an imposter
    would take are named so, for those who read the labels, and are otherwise like all others.

    Marks take their proposals as without a ROI. Those outside it have no place, and keep background away all the same;
    one inside whose proposal lies outside keeps its own place.

    Attributes:
        plan: of the detector to be.
        config: distances.
        imposters: whether they are known.
    """

    plan: Plan
    config: LabelConfig
    imposters: bool

    def places(self, cohort: Cohort, entry: SlideEntry) -> Places:
        """Figures, imposters, background of one slide."""
        around_um = CHAIN * self.config.reach_um
        found = propose(cohort, entry, self.plan, around_um=around_um)
        proposed_l0 = found.center_l0
        proposed_um = proposed_l0 * entry.mpp_xy
        rows = np.flatnonzero(cohort.annotations.slide_id == entry.slide_id)
        marks = cohort.annotations[rows]
        is_figure, searched = marks.label == Label.MITOTIC_FIGURE.value, inside_roi(entry.roi, marks.center_l0)
        marks_um = marks.center_l0 * entry.mpp_xy
        figures_um = marks_um[is_figure]
        used = is_figure | (~self._shows(marks_um, figures_um) & self.imposters)
        taken = np.full(len(rows), -1)
        taken[used] = nearest_free(marks_um[used], proposed_um, self.config.reach_um)
        free = _distance(proposed_um, marks_um if self.imposters else figures_um) > self.config.reach_um
        free &= clear_of(proposed_um, figures_um, self.config)
        if not self.imposters:
            candidates = np.flatnonzero(free)
            nearest = nearest_free(marks_um[~is_figure], proposed_um[candidates], self.config.reach_um)
            taken[~is_figure] = np.where(nearest >= 0, np.append(candidates, -1)[nearest], -1)
        taken[(taken >= 0) & ~np.append(found.inside, False)[taken]] = -1
        used = searched & (used | (taken >= 0))
        free[taken[~is_figure & (taken >= 0) & used]] = False
        place_l0 = marks.center_l0.copy()
        place_l0[taken >= 0] = proposed_l0[taken[taken >= 0]]
        astray = ~is_figure & self._shows(place_l0 * entry.mpp_xy, figures_um) & self.imposters
        place_l0[astray] = marks.center_l0[astray]

        def of_marks(origin: Origin, chosen: NDArray[np.bool_]) -> Places:
            index = self._index(entry, place_l0[chosen], origin)
            offset = (marks.center_l0[chosen] - place_l0[chosen]) * entry.mpp_xy
            return Places.of_index(index, mark=rows[chosen].astype(np.int64), offset_um=offset)

        background = Places.of_index(self._index(entry, proposed_l0[free & found.inside], Origin.BACKGROUND))
        imposters = of_marks(Origin.IMPOSTER, used & ~is_figure)
        return Places.concatenate([of_marks(Origin.FIGURE, used & is_figure), imposters, background])

    def _shows(self, center_um: NDArray[np.floating], figures_um: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which places (N, 2) are too near to a figure to be negatives: by distance, or since their patch, which is
        square, has the figure's middle in a corner.
        """
        half_um = self.plan.largest_patch_um / 2
        near = _distance(center_um, figures_um) < self.config.apart_um
        return near | (_distance(center_um, figures_um, norm=np.inf) <= half_um)

    def _index(self, entry: SlideEntry, center_l0: NDArray[np.float64], origin: Origin) -> PatchIndex:
        return PatchIndex.of(slide_id=entry.slide_id, center_l0=center_l0, origin=origin, mpp=self.plan.frame.mpp)


def nearest_free(
    marks_um: NDArray[np.floating], proposed_um: NDArray[np.floating], reach_um: float
) -> NDArray[np.int64]:
    """Which proposal each mark takes, (M,), -1 for none: pairs by growing distance, each mark and proposal once.

    Args:
        marks_um: (M, 2).
        proposed_um: (N, 2), in the same frame.
        reach_um: largest distance of a pair. Equally near pairs: the first mark, then the first proposal.
    """
    taken = np.full(len(marks_um), -1, dtype=np.int64)
    if len(marks_um) == 0 or len(proposed_um) == 0:
        return taken
    near = KDTree(proposed_um).query_ball_point(marks_um, reach_um, return_sorted=True)
    pairs = [
        (float(np.linalg.norm(marks_um[mark] - proposed_um[place])), mark, place)
        for mark, places in enumerate(near)
        for place in places
    ]
    free = np.ones(len(proposed_um), dtype=bool)
    for _, mark, place in sorted(pairs):
        if taken[mark] < 0 and free[place]:
            taken[mark], free[place] = place, False
    return taken


def clear_of(
    center_um: NDArray[np.floating], figures_um: NDArray[np.floating], config: LabelConfig
) -> NDArray[np.bool_]:
    """Which places (N, 2) are no figure for sure: no disc round a figure (M, 2) touches their window.

    Source: the public code of DASC (disc of 80 px, window of 80 px at 0.25 um/px). Its other condition, no black pixel
    in the window, is met by places on tissue.
    """
    clear = np.ones(len(center_um), dtype=bool)
    half = config.window_um / 2
    for figure in figures_um:
        beyond = np.maximum(np.abs(center_um - figure) - half, 0)
        clear &= np.hypot(beyond[:, 0], beyond[:, 1]) > config.exclusion_um
    return clear


def _distance(
    center_um: NDArray[np.floating], others_um: NDArray[np.floating], *, norm: float = 2
) -> NDArray[np.float64]:
    """Distance (N,) to the nearest of the others, by a p-norm; infinite where there are none."""
    if len(center_um) == 0 or len(others_um) == 0:
        return np.full(len(center_um), np.inf)
    return np.asarray(KDTree(others_um).query(center_um, p=norm)[0], dtype=np.float64)
