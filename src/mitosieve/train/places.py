"""The places that a training learns from: one record, one file format, one way to find them for every method.

What a method calls a figure, an imposter or background is its rule; that a place stands once, that there is something
to learn from, and where it is kept are said here.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.errors import CohortError, plural, some
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.run import layout
from mitosieve.run.folder import reading, write_atomic, write_json
from mitosieve.run.progress import Progress
from mitosieve.train.job import Job

NO_MARK = -1
"""In `Places.mark`: no mark of the cohort is meant."""

Part = Literal["train", "validation"]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Places with what each of them is by the experts' marks.

    Attributes:
        index: where, and as what: FIGURE, IMPOSTER, BACKGROUND, NEAR or UNLABELLED.
        mark: (N,) int64 row of the cohort's annotations that the place stands for; NO_MARK where its rule tells none.
        offset_um: (N, 2) from the place to that mark; 0 without one.
        settled_l0: (N, 2) where a detection of the place would lie, level-0 px; the place itself where not asked for.
        hidden_figure: (N,) bool, an UNLABELLED place that the slide's hidden marks call a figure; for reports only.
    """

    index: PatchIndex
    mark: NDArray[np.int64]
    offset_um: NDArray[np.float64]
    settled_l0: NDArray[np.float64]
    hidden_figure: NDArray[np.bool_]

    @classmethod
    def of_index(
        cls,
        index: PatchIndex,
        *,
        mark: NDArray[np.int64] | None = None,
        offset_um: NDArray[np.float64] | None = None,
        settled_l0: NDArray[np.float64] | None = None,
        hidden_figure: NDArray[np.bool_] | None = None,
    ) -> "Places":
        """Places of which no more is known than is given."""
        n = len(index)
        return cls(
            index=index,
            mark=np.full(n, NO_MARK, dtype=np.int64) if mark is None else mark,
            offset_um=np.zeros((n, 2)) if offset_um is None else offset_um,
            settled_l0=index.center_l0 if settled_l0 is None else settled_l0,
            hidden_figure=np.zeros(n, dtype=bool) if hidden_figure is None else hidden_figure,
        )

    @classmethod
    def concatenate(cls, parts: "Iterable[Places]") -> "Places":
        """All rows of all parts, in their order; at least one part. Of rows of one place the first is kept."""
        items = list(parts)
        whole = cls(
            index=PatchIndex.concatenate([part.index for part in items]),
            mark=np.concatenate([part.mark for part in items]),
            offset_um=np.concatenate([part.offset_um for part in items]),
            settled_l0=np.concatenate([part.settled_l0 for part in items]),
            hidden_figure=np.concatenate([part.hidden_figure for part in items]),
        )
        _, first = np.unique(whole.index.patch_id, return_index=True)
        return whole[np.sort(first)]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Places":
        return Places(
            index=self.index[rows],
            mark=self.mark[rows],
            offset_um=self.offset_um[rows],
            settled_l0=self.settled_l0[rows],
            hidden_figure=self.hidden_figure[rows],
        )

    def with_origin(self, origin: Origin) -> NDArray[np.intp]:
        """Rows of one origin, ascending."""
        return self.index.with_origin(origin)

    def table(self) -> pd.DataFrame:
        """One row a place; x, y and settled_x, settled_y in level-0 px, mpp that of the patches."""
        index = self.index
        return pd.DataFrame(
            {
                "patch_id": index.patch_id,
                "slide_id": index.slide_id.astype(object),
                "x": index.center_l0[:, 0],
                "y": index.center_l0[:, 1],
                "angle_deg": index.angle_deg,
                "origin": index.origin.astype(object),
                "label": index.label,
                "mark": self.mark,
                "offset_x_um": self.offset_um[:, 0],
                "offset_y_um": self.offset_um[:, 1],
                "settled_x": self.settled_l0[:, 0],
                "settled_y": self.settled_l0[:, 1],
                "hidden_figure": self.hidden_figure,
                "mpp": index.mpp,
            }
        )

    def save(self, path: Path) -> Path:
        """Write as parquet; equal places give equal bytes."""
        table = self.table()
        return write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))

    @classmethod
    def load(cls, path: Path) -> "Places":
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
                angle_deg=table["angle_deg"].to_numpy(dtype=np.float64),
                origin=table["origin"].to_numpy(dtype=np.str_),
                label=table["label"].to_numpy(dtype=np.int8),
                mpp=float(table["mpp"].iloc[0]),
            )
            return cls(
                index=index,
                mark=table["mark"].to_numpy(dtype=np.int64),
                offset_um=table[["offset_x_um", "offset_y_um"]].to_numpy(dtype=np.float64),
                settled_l0=table[["settled_x", "settled_y"]].to_numpy(dtype=np.float64),
                hidden_figure=table["hidden_figure"].to_numpy(dtype=np.bool_),
            )


class PlaceRule(Protocol):
    """Which places of a slide a method learns from, and what each is."""

    def places(self, cohort: Cohort, entry: SlideEntry) -> Places:
        """The places of one slide, inside its ROI; only shifted variants of a figure may lie over its edge."""
        ...


def find_places(
    cohort: Cohort,
    cases: tuple[str, ...],
    rule: PlaceRule,
    *,
    unlabelled: bool = False,
    progress: Progress | None = None,
) -> Places:
    """The places of the labelled slides of cases, slide after slide.

    Args:
        cohort: gives images and marks.
        cases: whose slides.
        rule: of the method.
        unlabelled: whether unlabelled slides are looked at too.
        progress: told after every slide.

    Raises:
        CohortError: there is no figure, or no background, among them; the message names the cases.
    """
    entries = [entry for entry in cohort.of_cases(cases).slides if entry.labelled or unlabelled]
    pieces: list[Places] = []
    for number, entry in enumerate(entries, start=1):
        pieces.append(rule.places(cohort, entry))
        if progress is not None:
            progress("places", number, len(entries))
    places = Places.concatenate(pieces) if pieces else None
    for origin in (Origin.FIGURE, Origin.BACKGROUND):
        if places is None or len(places.with_origin(origin)) == 0:
            marked = 0 if places is None else _figures_to_find(cohort.of_cases(cases), places)
            if origin is Origin.FIGURE and marked:
                raise CohortError(
                    f"no place was found for {plural(marked, 'marked figure')} of the cases {', '.join(cases)}, and so "
                    "for none at all",
                    where=cohort.folder,
                    remedy="move another case into this part of the fold, or take a recipe with another proposer",
                )
            raise CohortError(
                f"the cases {', '.join(cases)} have no {origin.value} to learn from",
                where=cohort.folder,
                remedy="move a case with labelled figures into this part of the fold, or hide fewer marks",
            )
    assert places is not None
    return places


def _figures_to_find(cohort: Cohort, places: Places) -> int:
    """Figures that are learned from: within the ROI, and on slides whose marks are not hidden."""
    hidden = np.unique(places.index.slide_id[places.with_origin(Origin.UNLABELLED)])
    marks = cohort.known_figures
    return int((~np.isin(marks.slide_id, hidden)).sum())


def places_of_fold(job: Job, rule: PlaceRule, *, unlabelled: bool = False) -> dict[Part, Places]:
    """The places of the fold's training and validation slides: found once, kept in the run, counted in patches.json.

    Where the fold has no validation case, there is no place of it, and no file.

    Args:
        job: of the run.
        rule: of the method.
        unlabelled: whether the unlabelled slides of the training cases are looked at too.

    Raises:
        CohortError: as `find_places`.
        FormatError: what an earlier try has kept is broken.
    """
    found: dict[Part, Places] = {}
    parts: tuple[Part, ...] = ("train", "validation") if job.fold.validation else ("train",)
    for part in parts:
        path = job.file(layout.places_of(part))
        if not path.exists():
            more = unlabelled and part == "train"
            places = find_places(job.cohort, job.fold.part(part), rule, unlabelled=more, progress=job.progress)
            places.save(path)
            if part == "train":
                _note_bare(job, places)
        found[part] = Places.load(path)
    found.setdefault("validation", found["train"][np.zeros(0, dtype=np.intp)])
    write_json(job.file(layout.PATCHES), {part: places.index.count() for part, places in found.items()})
    return found


def note_crops(job: Job, places: Places, crops: Collection[str]) -> None:
    """Say it where crops teach one class alone: what a crop looks like, its source, then tells the class.

    Args:
        job: of the run.
        places: of its training slides.
        crops: names of the cohort's crops (`pool.crop_rooms`).
    """
    of_crop = np.isin(places.index.slide_id, sorted(crops))
    figures, negatives = (
        np.isin(places.index.origin[of_crop], [kind.value for kind in kinds]).any()
        for kinds in ((Origin.FIGURE,), (Origin.BACKGROUND, Origin.IMPOSTER))
    )
    if figures != negatives:
        names = sorted({str(name) for name in places.index.slide_id[of_crop]})
        found = "figures and no negative" if figures else "negatives and no figure"
        job.note(
            f"{len(names)} training slides are crops, {some(names)}, and give {found}: networks can learn the class "
            "from what crops look like. Leave them out, or take a recipe that finds both in crops (swift, finegrained, "
            "sieve)"
        )


def _note_bare(job: Job, places: Places) -> None:
    """Say of which labelled training slides there is no place at all."""
    slides = job.cohort.of_cases(job.fold.train).labelled.slides
    bare = sorted({entry.slide_id for entry in slides} - set(places.index.slide_id.tolist()))
    if bare:
        job.note(
            f"nothing is learned of {len(bare)} of {len(slides)} labelled training slides, {some(bare)}: no place was "
            "found on them; in a crop that is smaller than the largest patch there is none"
        )
