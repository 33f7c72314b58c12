"""What a budget of places costs in recall, told before anybody's slide pays for it.

A budget sets its gate on a slide's own sample, and acts on large slides alone (`sieve.budget`). Validation fields are
too small for it, so they are taken together as one slide: one gate for all of their places.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from mitosieve.run.folder import write_json
from mitosieve.sieve.budget import gate_for
from mitosieve.sieve.cascade import Detector, Sieved, Slide, detect
from mitosieve.train import Job


@dataclass(frozen=True, kw_only=True)
class Afforded:
    """Figures of validation that come through the first stage, without the budget and within it.

    Attributes:
        per_mm2: the budget.
        tissue_mm2: of the validation slides.
        figures: marked on them.
        places_per_mm2: what the threshold alone lets through.
        threshold: of the first stage.
        gate: that lets the budget through, whatever the threshold.
        recall: share of the figures that have a place above the threshold within the radius of a match.
        recall_within: above the gate.
    """

    per_mm2: float
    tissue_mm2: float
    figures: int
    places_per_mm2: float
    threshold: float
    gate: float
    recall: float
    recall_within: float

    @property
    def lost(self) -> float:
        """Below 0 where the budget lets more through than the threshold."""
        return self.recall - self.recall_within


def measure_budget(job: Job, detector: Detector, radius_um: float, file: Path) -> Afforded | None:
    """See what the second stage's budget costs, and keep it in the run; None without budget or validation figure.

    Args:
        job: of the run.
        detector: whose thresholds are chosen.
        radius_um: from a mark within which a place is the figure's.
        file: where it is written.
    """
    stages, cases = detector.config.stages, job.fold.validation
    budget = stages[1].per_mm2 if len(stages) > 1 else None
    slides = job.cohort.of_cases(cases).labelled
    if budget is None or not cases:
        return None
    areas: list[float] = []

    def on_slide(slide: Slide, sieved: Sieved) -> None:
        entry = slides.entry(slide.slide_id)
        areas.append(sieved.survey.tissue.area_within_mm2(entry.roi, entry.mpp_xy))

    found = detect(_first_alone(detector), slides, compute=job.compute, on_slide=on_slide)
    figures = slides.known_figures
    best: list[NDArray[np.float64]] = []
    for entry in slides.slides:
        own, um = found.of_slide(entry.slide_id), np.array(entry.mpp_xy)
        marks = figures.of_slide(entry.slide_id).center_l0
        best.append(_best_near(marks * um, own.center_l0 * um, own.score, radius_um))
    score = np.concatenate([np.zeros(0), *best])
    if len(score) == 0:
        return None
    area, threshold = sum(areas), detector.config.stages[0].threshold
    scores: NDArray[np.float64] = found.score
    gate = gate_for(scores, area, budget)
    told = Afforded(
        per_mm2=budget,
        tissue_mm2=round(area, 4),
        figures=len(score),
        places_per_mm2=round(float((scores >= threshold).sum()) / max(area, 1e-9), 2),
        threshold=threshold,
        gate=gate,
        recall=float((score >= threshold).mean()),
        recall_within=float((score >= gate).mean()),
    )
    write_json(file, {**asdict(told), "lost": told.lost})
    return told


def _first_alone(detector: Detector) -> Detector:
    """The first stage, every place kept and none merged."""
    first = detector.config.stages[0].model_copy(update={"threshold": 0.0})
    changes = {"stages": (first,), "merge_um": 0.0, "suppress_um": 0.0, "keep_above": 0.0, "operating_points": None}
    config = detector.config.model_copy(update={**changes, "calibration": None, "int8": None})
    return replace(detector, config=config, networks=detector.networks[:1])


def _best_near(
    mark_um: NDArray[np.float64], place_um: NDArray[np.float64], score: NDArray[np.float64], radius_um: float
) -> NDArray[np.float64]:
    """The highest score (M,) of a place within the radius of each mark; below every gate where there is none."""
    if len(place_um) == 0:
        return np.full(len(mark_um), -1.0)
    near = KDTree(place_um).query_ball_point(mark_um, radius_um) if len(mark_um) else []
    return np.array([max((float(score[row]) for row in rows), default=-1.0) for rows in near])
