"""What the fine-grained search works on: frames and places of a fold's slides, gathered once and kept in the run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import SlideEntry
from mitosieve.errors import CohortError, TrainingError
from mitosieve.geometry import rescale_points
from mitosieve.method.finegrained.trial import TrialTask, candidates_of, crop_rooms, inner_parts, pool_of
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.view import View
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train.job import Job
from mitosieve.train.pool import render_frames
from mitosieve.train.proposals import Places, TruthConfig

Room = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """How places are gathered.

    Attributes:
        frame: resolution and stain.
        margin_px: of rendered frames.
        proposer: what names the places.
        patch_px: side of the network's patch.
        truth: distances; in crops `crop_apart_um` stands for `apart_um`.
        hidden: share of the labelled training slides whose marks are hidden.
        unlabelled: whether unlabelled training slides are used.
        parts: numbers of inner parts that trainings will leave out one of.
        seed: of the run.
    """

    frame: FrameConfig
    margin_px: int
    proposer: NucleiProposer
    patch_px: int
    truth: TruthConfig
    crop_apart_um: float
    hidden: float
    unlabelled: bool
    parts: tuple[int, ...]
    seed: int

    @property
    def plan(self) -> Plan:
        view = View(views="one", patch_px=self.patch_px)
        return Plan(frame=self.frame, proposer=self.proposer, views=(view,), reach_um=0.0, stain_target=None)


def gather(how: Gathering, job: Job) -> list[str]:
    """Render the frames, index the places of train and validation slides, and count them into patches.json.

    Returns:
        What a reader of the run must know, a sentence each.

    Raises:
        CohortError: no figure, or no background, in the training or validation cases.
        TrainingError: too few slides with figures for the inner parts.
    """
    render_frames(job, store_of(how, job), unlabelled=how.unlabelled)
    hidden = hidden_slides(how, job)
    parts = {"train": job.fold.train, "validation": job.fold.validation}
    for part, cases in parts.items():
        if job.file(f"places/{part}.npz").exists():
            continue
        entries = [e for e in job.cohort.of_cases(cases).slides if e.labelled or (part == "train" and how.unlabelled)]
        _index(how, job, entries, hidden if part == "train" else frozenset()).save(job.file(f"places/{part}.npz"))
    places = {part: Places.load(job.file(f"places/{part}.npz")) for part in parts}
    for part, cases in parts.items():
        _refuse_empty(places[part], cases, job)
    write_json(job.file("patches.json"), {part: places[part].index.count() for part in parts})
    _refuse_few_parts(how, job, places["train"])
    return _notes(how, job, places["train"], hidden)


def store_of(how: Gathering, job: Job) -> FrameStore:
    """The rendered frames of the run."""
    return FrameStore(job.file("frames"), how.frame, margin_px=how.margin_px)


def hidden_slides(how: Gathering, job: Job) -> frozenset[str]:
    """Labelled training slides whose marks are hidden: ceil(share * slides) of them, drawn with the run's seed."""
    names = sorted(entry.slide_id for entry in job.cohort.of_cases(job.fold.train).slides if entry.labelled)
    count = int(np.ceil(how.hidden * len(names) - 1e-9))
    chosen = derive_generator(how.seed, "hidden slides").permutation(len(names))[:count]
    return frozenset(names[i] for i in chosen)


def _index(how: Gathering, job: Job, entries: Sequence[SlideEntry], hidden: frozenset[str]) -> Places:
    """Places of slides; in crops only those that a patch fits round, and the crop's corners as background."""
    rooms = crop_rooms(job.cohort, how.frame.mpp, how.patch_px)
    in_crops = how.truth.model_copy(update={"apart_um": min(how.crop_apart_um, how.truth.apart_um)})
    pieces: list[Places] = []
    for number, entry in enumerate(entries, start=1):
        room = rooms.get(entry.slide_id)
        truth = how.truth if room is None else in_crops
        places = Places.of_slide(job.cohort, entry, how.plan, truth, hidden=entry.slide_id in hidden)
        if room is not None:
            places = places[_fits(how, places, entry, room)]
            if entry.labelled and entry.slide_id not in hidden:
                places = Places.concatenate([places, _corners(how, job, entry, room)])
        pieces.append(places)
        if job.progress is not None:
            job.progress("proposals", number, len(entries))
    if not pieces:
        raise CohortError(
            "no slide of these cases can be learned from", where=job.cohort.folder, remedy="add labelled slides"
        )
    places = Places.concatenate(pieces)
    _, first = np.unique(places.index.patch_id, return_index=True)
    return places[np.sort(first)]


def _fits(how: Gathering, places: Places, entry: SlideEntry, room: Room) -> NDArray[np.bool_]:
    """Rows whose plain patch lies inside a crop."""
    center = rescale_points(places.index.center_l0, mpp_from=entry.mpp, mpp_to=how.frame.mpp)
    half = how.patch_px / 2
    low, high = np.array(room[:2]) + half, np.array(room[2:]) - half
    return np.all((center >= low - 1e-6) & (center <= high + 1e-6), axis=1)


def _corners(how: Gathering, job: Job, entry: SlideEntry, room: Room) -> Places:
    """Background of a labelled crop: the patches in its corners that are far enough from its figures.

    A crop has hardly a proposal beside its figure, whose darkness outshines its surroundings; without negatives of its
    own a network could tell crops, and so figures, by their source.
    """
    half = how.patch_px / 2
    (x0, y0), (x1, y1) = np.array(room[:2]) + half, np.array(room[2:]) - half
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) if x1 >= x0 and y1 >= y0 else np.zeros((0, 2))
    center_l0 = rescale_points(corners, mpp_from=how.frame.mpp, mpp_to=entry.mpp)
    marks = job.cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE).center_l0
    apart = np.linalg.norm(center_l0[:, None] - marks[None], axis=2) * entry.mpp
    center_l0 = center_l0[np.all(apart > how.crop_apart_um, axis=1)]
    index = PatchIndex.of(slide_id=entry.slide_id, center_l0=center_l0, origin=Origin.BACKGROUND, mpp=how.frame.mpp)
    return Places(index=index, settled_l0=center_l0, hidden_figure=np.zeros(len(index), dtype=bool))


def _refuse_empty(places: Places, cases: tuple[str, ...], job: Job) -> None:
    for origin in (Origin.FIGURE, Origin.BACKGROUND):
        if len(places.index.with_origin(origin)) == 0:
            raise CohortError(
                f"the cases {', '.join(cases)} have no proposal that is {origin.value} to learn from",
                where=job.cohort.folder,
                remedy="move a case with labelled figures into this part of the fold, or hide fewer marks",
            )


def _refuse_few_parts(how: Gathering, job: Job, places: Places) -> None:
    """Every part must hold something, and without it there must be figures and background left to learn from."""
    for parts in how.parts:
        part_of = inner_parts(places, job.cohort, parts, how.seed)
        for origin in (Origin.FIGURE, Origin.BACKGROUND):
            of_kind = part_of[places.index.with_origin(origin)]
            if any(not (of_kind != part).any() or not (part_of == part).any() for part in range(parts)):
                raise TrainingError(
                    f"{parts} parts are too many for the training slides: one is empty, or no {origin.value} is left "
                    "without it",
                    where=job.cohort.folder,
                    remedy="use fewer first.parts and ensemble.members (1 makes no parts), or add training slides",
                )


def _notes(how: Gathering, job: Job, places: Places, hidden: frozenset[str]) -> list[str]:
    notes: list[str] = []
    if not len(places.index.with_origin(Origin.UNLABELLED)):
        why = "" if how.unlabelled else " (recipe: unlabelled = false)"
        notes.append(f"no unlabelled slide among the training cases{why}: shares and caps of them are not searched")
    if not len(places.index.with_origin(Origin.IMPOSTER)):
        notes.append("no imposter is marked on the training slides: their weight is not searched")
    labelled = places.index.origin != Origin.UNLABELLED.value
    case = {entry.slide_id: entry.case_id for entry in job.cohort.slides}
    if len({case[str(name)] for name in np.unique(places.index.slide_id[labelled])}) == 1:
        notes.append("one training case: inner parts are slides of one patient, so out-of-fold scores are too sure")
    if hidden:
        notes.append(f"the marks of {len(hidden)} labelled training slides were hidden: they serve as unlabelled")
    return notes


def partition(job: Job) -> dict[str, int]:
    """How many patches of each kind the training cases hold: what a used fraction is a fraction of (our reading)."""
    count: dict[str, int] = json.loads(job.file("patches.json").read_text())["train"]
    return {
        "figures": count[Origin.FIGURE.value],
        "imposters": count[Origin.IMPOSTER.value],
        "labelled": count[Origin.BACKGROUND.value],
        "unlabelled": count[Origin.UNLABELLED.value],
    }


def cap_report(task: TrialTask, *, hidden: bool) -> dict[str, Any]:
    """What a regime's cap drops of the unlabelled candidates; where marks were hidden, how many of it are figures."""
    train = pool_of(task, "train")
    rows = train.places.index.with_origin(Origin.UNLABELLED)
    dropped = candidates_of(task, train, rows).capped(task.regime.cap)
    figure = train.places.hidden_figure[rows]
    return {
        "dropped": int(dropped.sum()),
        "of": len(rows),
        "hidden_figures": int(figure.sum()) if hidden else None,
        "hidden_figures_dropped": int((dropped & figure).sum()) if hidden else None,
    }
