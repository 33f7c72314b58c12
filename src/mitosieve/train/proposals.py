"""Proposed places of slides, as detection will see them, and what each of them is by the experts' marks."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import rescale_points
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.run.folder import write_atomic
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.tile_reader import TileReader, survey


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
class Places:
    """Proposals of many slides with what they are.

    Attributes:
        index: one row a proposal; origins FIGURE, IMPOSTER, BACKGROUND, NEAR or UNLABELLED.
        settled_l0: (N, 2) where a detection of the row would lie, level-0 px.
        hidden_figure: (N,) bool, an UNLABELLED row that the slide's hidden marks say is a figure; for reports only.
    """

    index: PatchIndex
    settled_l0: NDArray[np.float64]
    hidden_figure: NDArray[np.bool_]

    @classmethod
    def of_slide(
        cls, cohort: Cohort, entry: SlideEntry, plan: Plan, truth: TruthConfig, *, hidden: bool = False
    ) -> "Places":
        """All proposals of one slide.

        A proposal is an imposter by the same distances as a figure, unless it is a figure; near a figure too.

        Args:
            cohort: gives image and marks.
            entry: the slide.
            plan: of the detector to be.
            truth: distances.
            hidden: treat the slide as unlabelled; its marks serve `hidden_figure` alone.
        """
        found = propose(cohort, entry, plan, settle=True)
        marks = cohort.annotations.of_slide(entry.slide_id)
        center_um = found.center_l0 * entry.mpp
        figures = marks.with_label(Label.MITOTIC_FIGURE).center_l0 * entry.mpp
        imposters = marks.with_label(Label.IMPOSTER).center_l0 * entry.mpp
        is_figure, is_background = sort_proposals(center_um, figures, truth)
        origin = np.full(len(center_um), Origin.NEAR.value, dtype="<U16")
        origin[is_background] = Origin.BACKGROUND.value
        origin[sort_proposals(center_um, imposters, truth)[0]] = Origin.IMPOSTER.value
        origin[is_figure] = Origin.FIGURE.value
        unlabelled = hidden or not entry.labelled
        if unlabelled:
            origin[:] = Origin.UNLABELLED.value
        pieces: list[PatchIndex] = []
        order: list[NDArray[np.intp]] = []
        for kind in Origin:
            rows = np.flatnonzero(origin == kind.value)
            order.append(rows)
            pieces.append(
                PatchIndex.of(slide_id=entry.slide_id, center_l0=found.center_l0[rows], origin=kind, mpp=plan.frame.mpp)
            )
        rows = np.concatenate(order)
        return cls(
            index=PatchIndex.concatenate(pieces),
            settled_l0=found.settled_l0[rows],
            hidden_figure=is_figure[rows] & unlabelled,
        )

    @classmethod
    def concatenate(cls, parts: "list[Places]") -> "Places":
        """All rows of all parts, in their order; at least one part."""
        return cls(
            index=PatchIndex.concatenate([part.index for part in parts]),
            settled_l0=np.concatenate([part.settled_l0 for part in parts]),
            hidden_figure=np.concatenate([part.hidden_figure for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Places":
        return Places(index=self.index[rows], settled_l0=self.settled_l0[rows], hidden_figure=self.hidden_figure[rows])

    def save(self, path: Path) -> Path:
        """Write as one .npz file."""
        buffer = io.BytesIO()
        index = self.index
        np.savez(
            buffer,
            patch_id=index.patch_id,
            slide_id=index.slide_id.astype(np.str_),
            center_l0=index.center_l0,
            angle_deg=index.angle_deg,
            origin=index.origin.astype(np.str_),
            label=index.label,
            mpp=np.array(index.mpp),
            settled_l0=self.settled_l0,
            hidden_figure=self.hidden_figure,
        )
        return write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Places":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as content:
            names = ("patch_id", "slide_id", "center_l0", "angle_deg", "origin", "label")
            index = PatchIndex(**{name: content[name] for name in names}, mpp=float(content["mpp"]))
            return cls(index=index, settled_l0=content["settled_l0"], hidden_figure=content["hidden_figure"])
