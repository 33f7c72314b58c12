"""The labels that a training learns from: one place for each mark, and the places that are no figure by what is marked.

Places are those that detection will propose, so training sees cells as detection will; a mark that nothing is proposed
for keeps its own place.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import SlideEntry
from mitosieve.errors import CohortError
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.run.folder import reading, write_atomic
from mitosieve.sieve.plan import Plan
from mitosieve.train.job import Job
from mitosieve.train.proposals import propose


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
    """A marked imposter nearer than this to a figure is left out, for its patch shows the figure; one that would be
    moved so near to a figure keeps its own place. Ours."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labelled places.

    Attributes:
        index: origins FIGURE, IMPOSTER or BACKGROUND.
        mark: (N,) int64 row of the cohort's annotations; -1 of BACKGROUND.
        offset_um: (N, 2) from the place to the mark; 0 of BACKGROUND.
    """

    index: PatchIndex
    mark: NDArray[np.int64]
    offset_um: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Labels":
        return Labels(index=self.index[rows], mark=self.mark[rows], offset_um=self.offset_um[rows])

    @classmethod
    def concatenate(cls, parts: "list[Labels]") -> "Labels":
        """All rows of all parts, in their order; at least one part. Of rows of one place the first is kept."""
        whole = cls(
            index=PatchIndex.concatenate([part.index for part in parts]),
            mark=np.concatenate([part.mark for part in parts]),
            offset_um=np.concatenate([part.offset_um for part in parts]),
        )
        _, first = np.unique(whole.index.patch_id, return_index=True)
        return whole[np.sort(first)]

    def with_origin(self, origin: Origin) -> NDArray[np.intp]:
        """Rows of one origin, ascending."""
        return self.index.with_origin(origin)

    def table(self) -> pd.DataFrame:
        """Columns patch_id, slide_id, x, y, origin, label, mark, offset_x_um, offset_y_um, mpp (of the patches)."""
        index = self.index
        return pd.DataFrame(
            {
                "patch_id": index.patch_id,
                "slide_id": index.slide_id.astype(object),
                "x": index.center_l0[:, 0],
                "y": index.center_l0[:, 1],
                "origin": index.origin.astype(object),
                "label": index.label,
                "mark": self.mark,
                "offset_x_um": self.offset_um[:, 0],
                "offset_y_um": self.offset_um[:, 1],
                "mpp": index.mpp,
            }
        )

    def save(self, path: Path) -> Path:
        """Write as parquet; equal labels give equal bytes."""
        table = self.table()
        return write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))

    @classmethod
    def load(cls, path: Path) -> "Labels":
        """Read what `save` wrote.

        Raises:
            FormatError: it is broken.
        """
        with reading(path):
            table = pd.read_parquet(path)
            index = PatchIndex(
                patch_id=table["patch_id"].to_numpy(dtype=np.int64),
                slide_id=table["slide_id"].to_numpy(dtype=np.str_),
                center_l0=table[["x", "y"]].to_numpy(dtype=np.float64),
                angle_deg=np.zeros(len(table)),
                origin=table["origin"].to_numpy(dtype=np.str_),
                label=table["label"].to_numpy(dtype=np.int8),
                mpp=float(table["mpp"].iloc[0]),
            )
            offset = table[["offset_x_um", "offset_y_um"]].to_numpy(dtype=np.float64)
            return cls(index=index, mark=table["mark"].to_numpy(dtype=np.int64), offset_um=offset)


def gather_labels(cases: tuple[str, ...], plan: Plan, config: LabelConfig, job: Job) -> Labels:
    """Every mark of the labelled slides of `cases`, and every proposal that is surely no figure.

    Raises:
        CohortError: there is no figure, or no background, among them.
    """
    entries = [entry for entry in job.cohort.of_cases(cases).slides if entry.labelled]
    pieces: list[Labels] = []
    for number, entry in enumerate(entries, start=1):
        pieces += _of_slide(entry, plan, config, job)
        if job.progress is not None:
            job.progress("candidates", number, len(entries))
    labels = Labels.concatenate(pieces) if pieces else None
    for origin in (Origin.FIGURE, Origin.BACKGROUND):
        if labels is None or len(labels.with_origin(origin)) == 0:
            raise CohortError(
                f"the cases {', '.join(cases)} have no {origin.value} to learn from",
                where=job.cohort.folder,
                remedy="move a case with labelled figures into this part of the fold",
            )
    assert labels is not None
    return labels


def _of_slide(entry: SlideEntry, plan: Plan, config: LabelConfig, job: Job) -> list[Labels]:
    """Figures, imposters, background of one slide."""
    proposed_l0 = propose(job.cohort, entry, plan).center_l0
    proposed_um = proposed_l0 * entry.mpp
    rows = np.flatnonzero(job.cohort.annotations.slide_id == entry.slide_id)
    marks = job.cohort.annotations[rows]
    is_figure = marks.label == Label.MITOTIC_FIGURE.value
    marks_um = marks.center_l0 * entry.mpp
    figures_um = marks_um[is_figure]
    used = is_figure | (_distance(marks_um, figures_um) >= config.apart_um)
    taken = np.full(len(rows), -1)
    taken[used] = nearest_free(marks_um[used], proposed_um, config.reach_um)
    place_l0 = marks.center_l0.copy()
    place_l0[taken >= 0] = proposed_l0[taken[taken >= 0]]
    astray = ~is_figure & (_distance(place_l0 * entry.mpp, figures_um) < config.apart_um)
    place_l0[astray] = marks.center_l0[astray]
    free = _distance(proposed_um, marks_um) > config.reach_um
    free &= clear_of(proposed_um, figures_um, config)

    def piece(origin: Origin, mine: NDArray[np.bool_]) -> Labels:
        index = PatchIndex.of(slide_id=entry.slide_id, center_l0=place_l0[mine], origin=origin, mpp=plan.frame.mpp)
        offset = (marks.center_l0[mine] - place_l0[mine]) * entry.mpp
        return Labels(index=index, mark=rows[mine].astype(np.int64), offset_um=offset)

    background = PatchIndex.of(
        slide_id=entry.slide_id, center_l0=proposed_l0[free], origin=Origin.BACKGROUND, mpp=plan.frame.mpp
    )
    none = Labels(index=background, mark=np.full(len(background), -1), offset_um=np.zeros((len(background), 2)))
    return [piece(Origin.FIGURE, is_figure), piece(Origin.IMPOSTER, used & ~is_figure), none]


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


def _distance(center_um: NDArray[np.floating], others_um: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance (N,) to the nearest of the others; infinite where there are none."""
    if len(center_um) == 0 or len(others_um) == 0:
        return np.full(len(center_um), np.inf)
    return np.asarray(KDTree(others_um).query(center_um)[0], dtype=np.float64)
