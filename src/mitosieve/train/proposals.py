"""Proposed places of slides, as detection will see them, and what each of them is by the experts' marks."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import rescale_points
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.train.places import Places


class TruthConfig(BaseModel):
    """Which proposals are figures, and which are neither figure nor background."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach_um: float = Field(default=7.5, gt=0, le=50)
    """The proposal nearest to a figure is that figure, up to this distance: the official matching radius."""
    same_um: float = Field(default=4.0, ge=0, le=50)
    """Every proposal this near to a figure is that figure too: two plates of an anaphase are two proposals."""
    apart_um: float = Field(default=12.0, ge=0, le=100)
    """Other proposals nearer than this to a figure are left out: their patch shows the figure."""


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """What a proposer names on one slide, inside its ROI.

    Attributes:
        center_l0: (N, 2) places in level-0 px.
        settled_l0: (N, 2) moved onto the middle of their cell, where a detection would lie; or as they were.
    """

    center_l0: NDArray[np.float64]
    settled_l0: NDArray[np.float64]


def propose(cohort: Cohort, entry: SlideEntry, plan: Plan, *, settle: bool = False) -> Proposed:
    """The proposals of one slide; outside its ROI nothing is known, so those are left out.

    Args:
        cohort: gives the image.
        entry: the slide.
        plan: of the detector to be.
        settle: whether they are moved onto their cells too.
    """
    with cohort.open(entry.slide_id) as slide:
        reader = TileReader(slide, plan, survey(slide, plan), entry.roi)
        places = [np.zeros((0, 2))]
        settled = [np.zeros((0, 2))]
        for core in (core for band in reader.bands() for core in band):
            places.append(reader.places(core))
            settled.append(reader.settle(core, places[-1]) if settle else places[-1])
    center_l0, settled_l0 = (
        rescale_points(np.concatenate(parts), mpp_from=plan.frame.mpp, mpp_to=entry.mpp) for parts in (places, settled)
    )
    if entry.roi is None:
        return Proposed(center_l0=center_l0, settled_l0=settled_l0)
    inside = shapely.contains_xy(entry.roi, center_l0[:, 0], center_l0[:, 1])
    return Proposed(center_l0=center_l0[inside], settled_l0=settled_l0[inside])


def sort_proposals(
    center_um: NDArray[np.floating], figures_um: NDArray[np.floating], truth: TruthConfig
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which proposals are figures, and which are background; the rest, near a figure, is neither.

    Args:
        center_um: (N, 2) proposals.
        figures_um: (M, 2) marked figures, in the same frame.
        truth: distances. Equally near proposals: the first is the figure.

    Returns:
        Two (N,) masks that do not meet.
    """
    n = len(center_um)
    is_figure = np.zeros(n, dtype=bool)
    if n == 0 or len(figures_um) == 0:
        return is_figure, ~is_figure
    distance, _ = KDTree(figures_um).query(center_um)
    is_figure |= distance <= truth.same_um
    nearest_distance, nearest = map(np.asarray, KDTree(center_um).query(figures_um))
    is_figure[nearest[nearest_distance <= truth.reach_um]] = True
    return is_figure, ~is_figure & (distance > truth.apart_um)


@dataclass(frozen=True, kw_only=True)
class ProposalRule:
    """Every proposal is a place; its nearest marks tell what it is. A `PlaceRule`.

    Rows stand by origin, in the order of `Origin`, then as proposed.

    Attributes:
        plan: of the detector to be.
        truth: distances.
        imposters: whether marked imposters are a kind of their own, by the same distances as figures, near a figure
            too; else nothing is known of them but that they are no figures.
        near: whether proposals near a figure are kept, as NEAR; else they are left out.
        settle: whether it is told where a detection of the place would lie.
        hidden: slides that are treated as unlabelled; their marks serve `Places.hidden_figure` alone.
    """

    plan: Plan
    truth: TruthConfig
    imposters: bool = True
    near: bool = True
    settle: bool = False
    hidden: frozenset[str] = frozenset()

    def places(self, cohort: Cohort, entry: SlideEntry) -> Places:
        """All proposals of one slide."""
        found = propose(cohort, entry, self.plan, settle=self.settle)
        is_figure, origin = self._sorted(cohort, entry, found.center_l0 * entry.mpp)
        unlabelled = entry.slide_id in self.hidden or not entry.labelled
        if unlabelled:
            origin[:] = Origin.UNLABELLED.value
        kinds = [kind for kind in Origin if self.near or kind is not Origin.NEAR]
        by_kind = {kind: np.flatnonzero(origin == kind.value) for kind in kinds}
        index = PatchIndex.concatenate(
            PatchIndex.of(
                slide_id=entry.slide_id, center_l0=found.center_l0[rows], origin=kind, mpp=self.plan.frame.mpp
            )
            for kind, rows in by_kind.items()
        )
        rows = np.concatenate(list(by_kind.values()))
        return Places.of_index(index, settled_l0=found.settled_l0[rows], hidden_figure=is_figure[rows] & unlabelled)

    def _sorted(
        self, cohort: Cohort, entry: SlideEntry, center_um: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
        """Which proposals (N,) are figures by the marks, and the origin of each."""
        marks = cohort.annotations.of_slide(entry.slide_id)
        figures, imposters = (
            marks.with_label(label).center_l0 * entry.mpp for label in (Label.MITOTIC_FIGURE, Label.IMPOSTER)
        )
        is_figure, is_background = sort_proposals(center_um, figures, self.truth)
        origin = np.full(len(center_um), Origin.NEAR.value, dtype="<U16")
        origin[is_background] = Origin.BACKGROUND.value
        if self.imposters:
            origin[sort_proposals(center_um, imposters, self.truth)[0]] = Origin.IMPOSTER.value
        origin[is_figure] = Origin.FIGURE.value
        return is_figure, origin
