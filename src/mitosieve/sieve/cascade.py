"""From a slide to detections: propose places, let each stage throw away what is easy, merge, re-centre, suppress.

Works through own-once tiles: every place belongs to exactly one tile, whose halo shows all it needs, so no figure is
lost or doubled at a seam. What is to be read (`Find`, `Cut`) or judged (`Judge`) is asked for and answered by whoever
drives: here the same process, in `workers` several readers. Knows no recipe and no marks.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections, suppress
from mitosieve.geometry import Region, inside_roi, rescale_points
from mitosieve.network.compute import Compute
from mitosieve.run.clock import Clock
from mitosieve.run.progress import SLIDES, Progress
from mitosieve.sieve.activation_peak import located
from mitosieve.sieve.budget import gates_within
from mitosieve.sieve.detector import Detector, DetectorConfig
from mitosieve.sieve.plan import Survey
from mitosieve.sieve.stages import Judge, Scorer, combined, gates_of, no_scores, plan_of, seen_by, width_of
from mitosieve.sieve.tile_reader import Answer, Find, Found, Request, Settle, TileReader, survey
from mitosieve.slide.slide import Slide


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Places that came through all stages of one slide.

    Attributes:
        center_px: (N, 2) on the slide's lattice at the detector's mpp.
        score: (N, S) of every stage; where the last is fused by votes, a column for each of its networks in place of
            its own: who is near whom is known only when a slide's tiles have come together.
        counts: first-stage scores of all places that were looked at (`score_counts`).
    """

    center_px: NDArray[np.float64]
    score: NDArray[np.float64]
    counts: NDArray[np.int64] = field(default_factory=no_scores)

    @classmethod
    def concatenate(cls, parts: Iterable["Scored"], columns: int) -> "Scored":
        """All rows of all parts; `columns` as `columns_of` counts them."""
        items = list(parts)
        return cls(
            center_px=np.concatenate([np.zeros((0, 2)), *(part.center_px for part in items)]),
            score=np.concatenate([np.zeros((0, columns)), *(part.score for part in items)]),
            counts=sum((part.counts for part in items), no_scores()),
        )


@dataclass(frozen=True, kw_only=True)
class Sieved:
    """A slide that went through a detector.

    Attributes:
        found: its detections.
        survey: what was fixed of it before.
        counts: first-stage scores of its places.
        gates: score that a place needed to come through each stage.
    """

    found: Detections
    survey: Survey
    counts: NDArray[np.int64]
    gates: tuple[float, ...]


Made = TypeVar("Made")

Asking = Generator[Request | Judge, Any, Scored]
"""A tile being sieved: yields what it needs read or judged, is sent the answer, returns what came through."""


def columns_of(detector: Detector) -> int:
    """Columns of score that a place carries until it is merged."""
    return sum(width_of(detector, number) for number in range(len(detector.config.stages)))


def detect(
    detector: Detector,
    cohort: Cohort,
    *,
    cases: tuple[str, ...] | None = None,
    compute: Compute | None = None,
    progress: Progress | None = None,
    on_slide: Callable[[Slide, Sieved], None] | None = None,
) -> Detections:
    """Detect on the slides of a cohort, inside their ROIs.

    Args:
        detector: any.
        cohort: gives images, mpp and ROIs; its marks are not looked at.
        cases: which; None is all.
        compute: machine; None chooses.
        progress: told before the first slide, and after every one.
        on_slide: told each slide, still open, and what came of it.

    Returns:
        Detections of all slides, in the cohort's order.

    Raises:
        SlideError: a slide cannot be read.
    """
    compute = Compute.choose() if compute is None else compute
    chosen = cohort if cases is None else cohort.of_cases(cases)
    found: list[Detections] = [Detections.empty(detector.stage_names)]
    if progress is not None and chosen.slides:
        progress(SLIDES, 0, len(chosen.slides))
    for number, entry in enumerate(chosen.slides, start=1):
        with cohort.open(entry.slide_id) as slide:
            sieved = sieve_slide(detector, slide, compute=compute, roi=entry.roi)
            if on_slide is not None:
                on_slide(slide, sieved)
        found.append(sieved.found)
        if progress is not None:
            progress(SLIDES, number, len(chosen.slides))
    return Detections.concatenate(found)


def detect_slide(
    detector: Detector,
    slide: Slide,
    *,
    compute: Compute,
    roi: BaseGeometry | None = None,
    progress: Progress | None = None,
) -> Detections:
    """Detect on one slide.

    Args:
        detector: any.
        slide: opened, with its mpp.
        compute: machine.
        roi: area in level-0 px outside which nothing is reported; None is the whole slide.
        progress: told after every tile.

    Returns:
        Detections with a score of at least `keep_above`, strongest first; equal scores by place (y, then x).
    """
    return sieve_slide(detector, slide, compute=compute, roi=roi, progress=progress).found


def sieve_slide(
    detector: Detector,
    slide: Slide,
    *,
    compute: Compute,
    roi: BaseGeometry | None = None,
    progress: Progress | None = None,
) -> Sieved:
    """`detect_slide`, with what else was seen of the slide."""
    plan = plan_of(detector)
    seen = survey(slide, plan)
    reader = TileReader(slide, plan, seen, roi)
    tiles = [core for band in reader.bands() for core in band]
    parts: list[Scored] = []
    scorer = Scorer(detector, compute, Clock())
    gates = answered(gates_within(scorer, reader.sample()), reader, scorer)
    for number, core in enumerate(tiles, start=1):
        parts.append(answered(sieve_tile(scorer, core, gates), reader, scorer))
        if progress is not None and len(tiles) > 1:
            progress(f"tiles of {slide.slide_id}", number, len(tiles))
    scored = Scored.concatenate(parts, columns_of(detector))
    return Sieved(found=finish(scored, detector, slide, roi), survey=seen, counts=scored.counts, gates=gates)


def gates_on(
    detector: Detector, slide: Slide, *, compute: Compute, roi: BaseGeometry | None = None
) -> tuple[float, ...]:
    """Score that a place of a slide needs to come through each stage, as `sieve_slide` sets it, and nothing more."""
    plan = plan_of(detector)
    reader = TileReader(slide, plan, survey(slide, plan), roi)
    scorer = Scorer(detector, compute, Clock())
    return answered(gates_within(scorer, reader.sample()), reader, scorer)


def answered(asking: Generator[Request | Judge, Any, Made], reader: TileReader, scorer: Scorer) -> Made:
    """Drive a tile, or what else is asked, with a tile reader of this process."""
    reply: Answer | NDArray[np.float64] | None = None
    while True:
        try:
            request = asking.send(reply)
        except StopIteration as end:
            return end.value
        reply = scorer.answers([request])[0] if isinstance(request, Judge) else reader.answer(request)


def sieve_tile(scorer: Scorer, core: Region, gates: tuple[float, ...] | None = None) -> Asking:
    """Propose in one tile, then let each stage see only what the last one left.

    Args:
        scorer: of the detector.
        core: a tile of `TileReader.bands`.
        gates: score that a place needs to come through each stage; None is `gates_of`, without a budget.
    """
    detector = scorer.detector
    gates = gates_of(detector) if gates is None else gates
    found: Found = yield Find(core=core)
    center, score, counts = found.center_px, np.zeros((len(found.center_px), 0)), no_scores()
    for number in range(len(detector.config.stages)):
        seen = yield from seen_by(scorer, number, core, found, center, gates[number])
        if number == 0:
            center, counts = seen.center_px, seen.counts
            score = score if found.plane is None else np.zeros((len(center), 0))
        own = combined(detector.config.stages[number], seen.score, score[:, -1]) if number else seen.score
        score = np.concatenate([score, own], axis=1)
        passed = own.max(axis=1) >= gates[number]
        center, score = center[passed], score[passed]
    if detector.config.locating is None:
        center = yield Settle(core=core, center_px=center)
    else:  # a peak is where the figure is: the proposer must not move it again
        center = yield from located(detector, core, center, scorer.compute, scorer.clock)
        yield Settle(core=core, center_px=np.zeros((0, 2)))  # whoever read the tile lets go of it
        has_peak = np.isfinite(center).all(axis=1)
        center, score = center[has_peak], score[has_peak]
    return Scored(center_px=center, score=score, counts=counts)


def finish(scored: Scored, detector: Detector, slide: Slide, roi: BaseGeometry | None) -> Detections:
    """Merge what came through on a slide into detections in level-0 px, strongest first, equal ones by y, then x."""
    center_px, score = merge(scored, detector.config)
    center_l0 = rescale_points(center_px, mpp_from=detector.config.frame.mpp, mpp_to=slide.mpp_xy)
    if detector.config.locating is not None:  # a peak in a margin is of what lies at the slide's edge
        center_l0 = np.clip(center_l0, 0, np.array(slide.size_l0) - 1.0)
    if roi is not None:
        inside = inside_roi(roi, center_l0)
        center_l0, score = center_l0[inside], score[inside]
    order = np.lexsort((center_l0[:, 0], center_l0[:, 1], -score[:, -1]))
    return Detections.of(
        slide_id=[slide.slide_id] * len(order),
        center_l0=center_l0[order],
        score=score[order, -1],
        threshold=detector.config.threshold,
        stage_names=detector.stage_names,
        stage_score=score[order],
    )


def merge(scored: Scored, config: DetectorConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row a figure: windows join the strongest window near them, the figure lies at their weighted mean.

    Windows within `merge_um` of a stronger one join it. The place is the mean of the joined windows whose score is at
    least half of the strongest, weighted by score (a window's centre alone may be half a stride off); the scores
    are those of the strongest window. Then figures within `suppress_um` of a stronger one are dropped.

    Votes are counted first. They give neighbours equal scores, for all of them are near the same agreeing networks:
    of these the strongest is where the required networks agree on the place itself, and there the figure lies.

    Returns:
        center_px (M, 2) and score (M, S).
    """
    by_place = np.lexsort((scored.center_px[:, 0], scored.center_px[:, 1]))  # ties must not depend on the tiles
    scored = Scored(center_px=scored.center_px[by_place], score=scored.score[by_place])
    score, own = _counted(scored, config)
    strength = _strength(score[:, -1], own)
    owner = suppress(scored.center_px * config.frame.mpp, strength, radius_um=config.merge_um)
    weight = np.where(own >= own[owner] / 2, np.maximum(own, 1e-12), 0.0)
    kept = np.flatnonzero(owner == np.arange(len(owner)))
    total = np.bincount(owner, weight, minlength=len(owner))[kept]
    place = np.stack(
        [np.bincount(owner, weight * scored.center_px[:, axis], minlength=len(owner))[kept] / total for axis in (0, 1)],
        axis=1,
    )
    score, strength = score[kept], strength[kept]
    strong = score[:, -1] >= config.floor
    place, score, strength = place[strong], score[strong], strength[strong]
    alone = suppress(place * config.frame.mpp, strength, radius_um=config.suppress_um) == np.arange(len(score))
    return place[alone], score[alone]


def _counted(scored: Scored, config: DetectorConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (N, S) of the stages, votes counted; and what each place says for itself, its neighbours unheard, (N,)."""
    stage = config.stages[-1]
    if stage.fusion == "mean":
        return scored.score, scored.score[:, -1]
    before, each = np.split(scored.score, [len(config.stages) - 1], axis=1)
    heard = each.copy()
    pairs = KDTree(scored.center_px * config.frame.mpp).query_pairs(stage.votes_um, output_type="ndarray")
    for one, other in (pairs.T, pairs.T[::-1]):
        np.maximum.at(heard, one, each[other])
    return np.column_stack([before, _agreed(heard, stage.votes)]), _agreed(each, stage.votes)


def _agreed(each: NDArray[np.float64], votes: int) -> NDArray[np.float64]:
    """The highest score (N,) that so many of the networks' scores (N, K) reach."""
    return np.sort(each, axis=1)[:, each.shape[1] - votes]


def _strength(score: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Falling with the rank by score, then by own score, then by row, (N,); no two are equal."""
    strength = np.empty(len(score))
    strength[np.lexsort((-own, -score))] = np.arange(len(score), 0, -1)
    return strength
