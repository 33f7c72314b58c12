"""Proposed places of slides, as detection will see them, and what each of them is by the experts' marks."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import inside_roi, px_from_um, rescale_points
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.sieve.plan import Plan, Survey
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.train.places import NO_MARK, Places
from mitosieve.train.pool import Room, crop_rooms


class TruthConfig(BaseModel):
    """Which proposals are figures, and which are neither figure nor background."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach_um: float = Field(default=7.5, gt=0, le=50)
    """The proposal nearest to a figure is that figure, up to this distance: the official matching radius."""
    same_um: float = Field(default=4.0, ge=0, le=50)
    """Every proposal this near to a figure is that figure too: two plates of an anaphase are two proposals."""
    apart_um: float = Field(default=12.0, ge=0, le=100)
    """Other proposals nearer than this to a figure are left out: their patch shows the figure."""
    crop_apart_um: float = Field(default=7.5, ge=0, le=100)
    """`apart_um` in crops, which end before anything is so far away, where that is larger: the official radius."""
    crop_per_mm2: float | None = Field(default=None, gt=0, le=1e5)
    """In crops so many of the strongest proposals a mm2, whatever their cut, which a lone figure lifts above all else;
    None keeps the cut, and a crop's corners are its background."""
    crop_off_um: float = Field(default=0.0, ge=0, le=50)
    """In crops a place of either class may lie so far from where a patch fits round it; then it is off the patch's
    middle, as a shift that patches are varied by puts it."""


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """What a proposer names on one slide, inside its ROI and, where it is asked for, around it.

    Attributes:
        center_l0: (N, 2) places in level-0 px.
        settled_l0: (N, 2) moved onto the middle of their cell, where a detection would lie; or as they were.
        inside: (N,) bool, which may be learned from; the others say only whose cell a mark at the edge is.
    """

    center_l0: NDArray[np.float64]
    settled_l0: NDArray[np.float64]
    inside: NDArray[np.bool_]


def propose(
    cohort: Cohort,
    entry: SlideEntry,
    plan: Plan,
    *,
    settle: bool = False,
    per_mm2: float | None = None,
    around_um: float = 0.0,
) -> Proposed:
    """The proposals of one slide, those of its ROI as they are without a ROI.

    Args:
        cohort: gives the image.
        entry: the slide.
        plan: of the detector to be.
        settle: whether they are moved onto their cells too.
        per_mm2: of a crop, so many of the strongest, ceil(per_mm2 * area), all of it taken for tissue; None: as
            detection proposes. What lies around the ROI takes no one's place.
        around_um: how far outside the ROI proposals are named too.
    """
    plan = replace(plan, reach_um=around_um)
    with cohort.open(entry.slide_id) as slide:
        seen = survey(slide, plan)
        reader = TileReader(slide, plan, seen if per_mm2 is None else _uncut(seen), entry.roi)
        places = [np.zeros((0, 2))]
        settled = [np.zeros((0, 2))]
        for core in (core for band in reader.bands() for core in band):
            places.append(reader.places(core))
            settled.append(reader.settle(core, places[-1]) if settle else places[-1])
    center_l0, settled_l0 = (
        rescale_points(np.concatenate(parts), mpp_from=plan.frame.mpp, mpp_to=entry.mpp_xy)
        for parts in (places, settled)
    )
    inside = inside_roi(entry.roi, center_l0)
    kept = inside if around_um == 0 else np.ones(len(inside), dtype=np.bool_)
    if per_mm2 is not None:
        kept = kept & (np.cumsum(inside) <= math.ceil(per_mm2 * entry.area_mm2))
    return Proposed(center_l0=center_l0[kept], settled_l0=settled_l0[kept], inside=inside[kept])


def _uncut(seen: Survey) -> Survey:
    """A survey by which every spot of a slide is proposed, strongest first."""
    overview = replace(seen.overview, tissue=replace(seen.tissue, mask=np.ones_like(seen.tissue.mask)))
    return replace(seen, overview=overview, cut=0.0)


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

    Rows stand by origin, in the order of `Origin`, then as proposed. A proposal that is a figure or an imposter by the
    distances is told its nearest mark of that kind, also where imposters are no kind of their own.

    What each is, is told as without a ROI; then those outside it are left out. A proposal inside whose mark lies
    outside is NEAR: such marks are neither learned from nor scored, and still no background.

    Attributes:
        plan: of the detector to be.
        truth: distances.
        imposters: whether marked imposters are a kind of their own, by the same distances as figures, near a figure
            too; else nothing is known of them but that they are no figures.
        near: whether proposals near a figure are kept, as NEAR; else they are left out.
        settle: whether it is told where a detection of the place would lie.
        hidden: slides that are treated as unlabelled; their marks serve `Places.hidden_figure` alone.
        per_mm2: see `propose`.
    """

    plan: Plan
    truth: TruthConfig
    imposters: bool = True
    near: bool = True
    settle: bool = False
    hidden: frozenset[str] = frozenset()
    per_mm2: float | None = None

    def places(self, cohort: Cohort, entry: SlideEntry) -> Places:
        """All proposals of one slide."""
        around_um = (
            2 * self.truth.reach_um
        )  # a mark so near to a place inside, and the proposal that takes it from there
        found = propose(cohort, entry, self.plan, settle=self.settle, per_mm2=self.per_mm2, around_um=around_um)
        is_figure, origin, mark = self._sorted(cohort, entry, found.center_l0 * entry.mpp_xy)
        unlabelled = entry.slide_id in self.hidden or not entry.labelled
        if unlabelled:
            origin[:] = Origin.UNLABELLED.value
            mark[:] = NO_MARK
        marked = mark != NO_MARK
        offset_um = np.zeros((len(mark), 2))
        offset_um[marked] = (cohort.annotations.center_l0[mark[marked]] - found.center_l0[marked]) * entry.mpp_xy
        kinds = [kind for kind in Origin if self.near or kind is not Origin.NEAR]
        by_kind = {kind: np.flatnonzero(found.inside & (origin == kind.value)) for kind in kinds}
        index = PatchIndex.concatenate(
            PatchIndex.of(
                slide_id=entry.slide_id, center_l0=found.center_l0[rows], origin=kind, mpp=self.plan.frame.mpp
            )
            for kind, rows in by_kind.items()
        )
        rows = np.concatenate(list(by_kind.values()))
        return Places.of_index(
            index,
            mark=mark[rows],
            offset_um=offset_um[rows],
            settled_l0=found.settled_l0[rows],
            hidden_figure=is_figure[rows] & unlabelled,
        )

    def _sorted(
        self, cohort: Cohort, entry: SlideEntry, center_um: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.str_], NDArray[np.int64]]:
        """Which proposals (N,) are figures by the marks inside the ROI, and origin and mark of each."""
        own = np.flatnonzero(cohort.annotations.slide_id == entry.slide_id).astype(np.int64)
        label, marks_um = cohort.annotations.label[own], cohort.annotations.center_l0[own] * entry.mpp_xy
        of_figure, of_imposter = (label == kind.value for kind in (Label.MITOTIC_FIGURE, Label.IMPOSTER))
        is_figure, is_background = sort_proposals(center_um, marks_um[of_figure], self.truth)
        is_imposter = sort_proposals(center_um, marks_um[of_imposter], self.truth)[0]
        origin = np.full(len(center_um), Origin.NEAR.value, dtype="<U16")
        origin[is_background] = Origin.BACKGROUND.value
        if self.imposters:
            origin[is_imposter] = Origin.IMPOSTER.value
        origin[is_figure] = Origin.FIGURE.value
        mark = np.full(len(center_um), NO_MARK, dtype=np.int64)
        for kind, stands_for in ((of_imposter, is_imposter), (of_figure, is_figure)):
            if stands_for.any():
                _, nearest = KDTree(marks_um[kind]).query(center_um[stands_for])
                mark[stands_for] = own[kind][nearest]
        marked = np.flatnonzero(mark != NO_MARK)
        beyond = marked[~inside_roi(entry.roi, cohort.annotations.center_l0[mark[marked]])]
        origin[beyond[origin[beyond] != Origin.BACKGROUND.value]] = Origin.NEAR.value
        is_figure[beyond], mark[beyond] = False, NO_MARK
        return is_figure, origin, mark


@dataclass(frozen=True, kw_only=True)
class CropRule:
    """Proposals; in crops only those that a patch fits round, by the distances of crops. A `PlaceRule`.

    A crop smaller than the largest patch has no place at all.

    Attributes:
        proposals: for slides; its `truth` has the distances and the density of crops too.
        rooms: of each crop, at the frame's mpp (`crop_rooms`).
        patch_um: side of the largest patch that any network of the detector sees.
    """

    proposals: ProposalRule
    rooms: dict[str, Room]
    patch_um: float

    @classmethod
    def of(cls, cohort: Cohort, proposals: ProposalRule) -> "CropRule":
        """The rule for a cohort and the views of the proposals' plan."""
        plan = proposals.plan
        rooms = crop_rooms(cohort, plan.frame.mpp, plan.largest_patch_um)
        return cls(proposals=proposals, rooms=rooms, patch_um=plan.largest_patch_um)

    def places(self, cohort: Cohort, entry: SlideEntry) -> Places:
        """The places of one slide or crop."""
        room = self.rooms.get(entry.slide_id)
        if room is None:
            return self.proposals.places(cohort, entry)
        truth = self.proposals.truth
        near = truth.model_copy(update={"apart_um": self._apart_um})
        places = replace(self.proposals, truth=near, per_mm2=truth.crop_per_mm2).places(cohort, entry)
        places = places[self._fits(places, entry, room)]
        if truth.crop_per_mm2 is None and entry.labelled and entry.slide_id not in self.proposals.hidden:
            places = Places.concatenate([places, self._corners(cohort, entry, room)])
        return places

    @property
    def _apart_um(self) -> float:
        return min(self.proposals.truth.crop_apart_um, self.proposals.truth.apart_um)

    @property
    def _mpp(self) -> float:
        return self.proposals.plan.frame.mpp

    def _inner(self, room: Room) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the centre of a patch may lie that fits a room: lowest and highest x, y."""
        half = px_from_um(self.patch_um, self._mpp) / 2
        return np.array(room[:2]) + half, np.array(room[2:]) - half

    def _fits(self, places: Places, entry: SlideEntry, room: Room) -> NDArray[np.bool_]:
        """Rows whose plain patch lies inside a crop, or does when it is moved by `crop_off_um` in x and in y."""
        center = rescale_points(places.index.center_l0, mpp_from=entry.mpp_xy, mpp_to=self._mpp)
        low, high = self._inner(room)
        if np.any(low > high):
            return np.zeros(len(center), dtype=bool)
        off = px_from_um(self.proposals.truth.crop_off_um, self._mpp) + 1e-6
        return np.all((center >= low - off) & (center <= high + off), axis=1)

    def _corners(self, cohort: Cohort, entry: SlideEntry, room: Room) -> Places:
        """Background of a labelled crop: the patches in its corners that are far enough from its figures.

        A crop has hardly a proposal beside its figure, whose darkness outshines its surroundings; without negatives of
        its own a network could tell crops, and so figures, by their source.
        """
        (x0, y0), (x1, y1) = self._inner(room)
        corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) if x1 >= x0 and y1 >= y0 else np.zeros((0, 2))
        center_l0 = rescale_points(corners, mpp_from=self._mpp, mpp_to=entry.mpp_xy)
        marks = cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE).center_l0
        apart = np.linalg.norm((center_l0[:, None] - marks[None]) * entry.mpp_xy, axis=2)
        center_l0 = center_l0[np.all(apart > self._apart_um, axis=1)]
        return Places.of_index(
            PatchIndex.of(slide_id=entry.slide_id, center_l0=center_l0, origin=Origin.BACKGROUND, mpp=self._mpp)
        )
