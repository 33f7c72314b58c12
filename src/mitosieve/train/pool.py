"""Places with their pixels, as one network sees them: what batches are drawn from and networks are judged on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.geometry import px_from_um, rescale_points
from mitosieve.network.compute import Compute, predict
from mitosieve.patch.augment.distortion import Distortion
from mitosieve.patch.augment.variant import Variant
from mitosieve.patch.frames import FrameStore, fit_target
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.patch.resampling import INTERPOLATION, Interpolation
from mitosieve.patch.view import View
from mitosieve.run.progress import Progress
from mitosieve.run.seed import derive_generator
from mitosieve.train.job import Job
from mitosieve.train.places import Places

SCORED_AT_ONCE = 256
"""Patches that go through a network at once when a pool is scored."""

Room = tuple[float, float, float, float]
"""x0, y0, x1, y1 on a slide's lattice: patches must stay inside."""


@dataclass(frozen=True, kw_only=True)
class PatchPool:
    """Places of a set of slides and their pixels.

    Attributes:
        places: where, and what they are.
        reader: their pixels.
        view: how a network sees them.
    """

    places: Places
    reader: PatchReader
    view: View

    @classmethod
    def of_places(
        cls,
        places: Places,
        store: FrameStore,
        view: View,
        cohort: Cohort,
        rooms: Mapping[str, Room] | None = None,
    ) -> "PatchPool":
        """The pool of places on rendered frames.

        Args:
            places: on slides that the store holds.
            store: frames at the view's resolution.
            view: what is cut.
            cohort: gives the slides' mpp.
            rooms: where patches of a slide must stay; None, or a slide that is not named, lets them reach out.
        """
        reader = PatchReader(places.index, store, cohort.mpp_of, patch_px=view.patch_px, rooms=rooms)
        return cls(places=places, reader=reader, view=view)

    @property
    def index(self) -> PatchIndex:
        return self.places.index

    @property
    def figures(self) -> NDArray[np.intp]:
        return self.index.with_origin(Origin.FIGURE)

    @property
    def background(self) -> NDArray[np.intp]:
        return self.index.with_origin(Origin.BACKGROUND)

    def offset_px(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """(B, 2) from the places of rows to their marks, px of the patch's resolution."""
        return px_from_um(1, self.index.mpp) * self.places.offset_um[rows]

    def images(
        self,
        rows: NDArray[np.intp],
        variation: Variant | Distortion,
        interpolation: Interpolation = INTERPOLATION,
        then: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    ) -> NDArray[np.uint8]:
        """A network's input for rows, each under its own variation, uint8 (B, s, s, C).

        Args:
            rows: of the pool.
            variation: one row each.
            interpolation: where patches do not keep the grid.
            then: what becomes of the patches (B, p, p, 3) before they are viewed; None is nothing.
        """
        patches = self.reader.read(rows, variation, interpolation)
        return self.view.images(patches if then is None else then(patches))

    def score(
        self, network: nn.Module, rows: NDArray[np.intp], compute: Compute, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Probability of "mitotic figure" for rows as they stand in the index, (N,)."""

        def batches() -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(rows), SCORED_AT_ONCE):
                part = rows[start : start + SCORED_AT_ONCE]
                if progress is not None:
                    progress("scored", start + len(part), len(rows))
                yield self.images(part, Variant.plain(len(part)))

        return predict(network, batches(), compute)

    def begin(self, lesson: str, network: nn.Module, job: Job) -> NDArray[np.floating] | None:
        """Give a network the weights of the job's start; how hard each row is for them, (N,), or None: `Job.begin`."""
        rows = np.arange(len(self.index))
        return job.begin(
            lesson,
            network,
            self.index.patch_id,
            self.index.label,
            lambda started: self.score(started, rows, job.compute, job.progress),
        )


@dataclass(frozen=True, kw_only=True)
class Pools:
    """What networks of one view learn from and are judged on.

    Attributes:
        train: of the training slides.
        validation: of the validation slides.
        curve_rows: rows of `validation` that the curves along a training are drawn from.
    """

    train: PatchPool
    validation: PatchPool
    curve_rows: NDArray[np.intp]


CROP_SIDES = 3
"""A slide with a side of less than this many patches is a crop: patches must lie wholly inside, or padding tells."""


def crop_rooms(cohort: Cohort, mpp: float, patch_um: float) -> dict[str, Room]:
    """Where patches of crops must stay, on the lattice at `mpp`: their ROI's bounds, or all of them.

    Args:
        cohort: its slides with a side of less than CROP_SIDES patches are crops.
        mpp: um per px of a network's patches.
        patch_um: side of the largest patch that any network of the detector sees.
    """
    rooms: dict[str, Room] = {}
    for entry in cohort.slides:
        if not 0 < min(np.multiply((entry.width_l0, entry.height_l0), entry.mpp_xy)) < CROP_SIDES * patch_um:
            continue
        area = entry.searched
        if area is not None and area.area > 0:
            corners = np.array(area.bounds).reshape(2, 2)
            x0, y0, x1, y1 = rescale_points(corners, mpp_from=entry.mpp_xy, mpp_to=mpp).ravel().tolist()
            rooms[entry.slide_id] = (x0, y0, x1, y1)
    return rooms


def curve_rows(places: Places, marked: NDArray[np.intp], *, background: int, seed: int) -> NDArray[np.intp]:
    """Rows of validation places that curves are drawn from, ascending.

    Args:
        places: of the validation slides.
        marked: rows that are all taken.
        background: how many rows of BACKGROUND are drawn beside them.
        seed: of the run.
    """
    drawn = derive_generator(seed, "curve rows").permutation(places.with_origin(Origin.BACKGROUND))[:background]
    return np.sort(np.concatenate([marked, drawn]))


def render_frames(job: Job, *stores: FrameStore, unlabelled: bool = False) -> None:
    """Fit the stain on training slides and render the slides of train and validation; test slides are not opened.

    A training that goes on from a detector keeps the stain that its networks know.

    Args:
        job: of the run.
        stores: one for each resolution that a network sees; they must agree about the stain.
        unlabelled: render the unlabelled training slides too; the stain is that of the labelled ones all the same.
    """
    of_train = job.cohort.of_cases(job.fold.train).slides
    train_slides = [entry.slide_id for entry in of_train if entry.labelled]
    more = [entry.slide_id for entry in of_train if unlabelled and not entry.labelled]
    held_out = [entry.slide_id for entry in job.cohort.of_cases(job.fold.validation).slides if entry.labelled]
    first = stores[0]
    try:
        target = first.load_target()
    except FileNotFoundError:
        openers = [partial(job.cohort.open, slide_id) for slide_id in train_slides]
        target = None
        if first.config.stain == "macenko":
            target = fit_target(openers, first.tissue) if job.start is None else job.start.detector.stain_target
        first.save_target(target)
    everything = [*train_slides, *more, *held_out]
    for number, slide_id in enumerate(everything, start=1):
        for store in stores:
            store.add(slide_id, partial(job.cohort.open, slide_id), target)
        if job.progress is not None:
            job.progress("frames", number, len(everything))
