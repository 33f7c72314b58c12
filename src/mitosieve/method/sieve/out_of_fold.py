"""What the networks of a sieve training say of patients that they have not seen: thresholds, the meaning of a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.calibration import Isotonic, Logistic
from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.errors import TrainingError
from mitosieve.export.table import read_detections, write_detections
from mitosieve.method.sieve.recipe import SieveRecipe
from mitosieve.run import layout
from mitosieve.run.folder import reading, write_atomic, write_json
from mitosieve.score.calibration import FITS
from mitosieve.score.evaluated import write_evaluation
from mitosieve.score.evaluation import evaluate
from mitosieve.score.operating import operating_points
from mitosieve.score.scored import Scored
from mitosieve.sieve.cascade import Sieved, detect
from mitosieve.sieve.detector import Detector
from mitosieve.train import Job


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What out-of-fold detections choose.

    Attributes:
        points: threshold of each named operating point.
        calibration: from a score to the share of figures; None where the recipe wants none.
    """

    points: dict[str, float]
    calibration: Logistic | Isotonic | None


def gate_for(score: NDArray[np.floating], area_mm2: float, per_mm2: float) -> float:
    """The gate that lets at most `per_mm2` places a mm2 through, as many as it can.

    Args:
        score: (N,) below 1, of all places of some area, by networks that have not seen them.
        area_mm2: of the area.
        per_mm2: wanted. Of equal scores all pass or none.

    Returns:
        The middle between the last score that passes and the first that does not; 0 where all pass.
    """
    falling = np.sort(np.asarray(score, dtype=np.float64))[::-1]
    most = int(per_mm2 * area_mm2)
    if most >= len(falling):
        return 0.0
    first_out = falling[most]
    passing = falling[falling > first_out]
    last_in = float(passing[-1]) if len(passing) else 1.0
    return (last_in + float(first_out)) / 2


def whole_slides(cohort: Cohort, cases: tuple[str, ...], crops: set[str]) -> Cohort:
    """The labelled slides of some cases that are no crops: in a crop a figure is where somebody put it."""
    kept = tuple(entry for entry in cohort.of_cases(cases).slides if entry.labelled and entry.slide_id not in crops)
    names = np.array([entry.slide_id for entry in kept], dtype=np.str_)
    marks = cohort.annotations[np.isin(cohort.annotations.slide_id, names)]
    return Cohort(cohort.folder, kept, marks)


def detect_out_of_fold(
    job: Job, slides: Cohort, detectors: Sequence[Detector], part_of_case: Mapping[str, int]
) -> tuple[Detections, dict[str, NDArray[np.int64]]]:
    """Detections of every slide by the detector that has not seen its patient, and how its first stage scored places.

    Both are kept in the run.

    Args:
        job: of the run.
        slides: whole slides of the training cases.
        detectors: of each part, trained without it.
        part_of_case: part of each case.
    """
    folder = job.file(layout.OUT_OF_FOLD_SLIDES)
    file, counts_file = folder / layout.DETECTIONS, folder / layout.SCORE_COUNTS
    if file.exists() and counts_file.exists():
        with reading(counts_file), np.load(counts_file) as kept:
            return read_detections(file), {
                str(name): row for name, row in zip(kept["slide_id"], kept["counts"], strict=True)
            }
    counts: dict[str, NDArray[np.int64]] = {}

    def on_slide(slide_id: str, sieved: Sieved) -> None:
        counts[slide_id] = sieved.counts

    found = [Detections.empty(detectors[0].stage_names)]
    for number, detector in enumerate(detectors):
        cases = tuple(case for case in slides.cases if part_of_case[case] == number)
        if cases:
            more = detect(detector, slides, cases=cases, compute=job.compute, progress=job.progress, on_slide=on_slide)
            found.append(more)
    whole = Detections.concatenate(found)
    names, rows = np.array(list(counts), dtype=np.str_), np.array(list(counts.values()))
    write_atomic(counts_file, lambda handle: np.savez(handle, slide_id=names, counts=rows))
    write_detections(file, whole)
    return whole, counts


def choose(recipe: SieveRecipe, job: Job, slides: Cohort, found: Detections) -> Chosen:
    """Operating points and calibration from out-of-fold detections of all training patients; kept and scored.

    Raises:
        TrainingError: no figure was found at all, or nothing else.
    """
    scored = Scored.of(found, slides, tuple(slides.cases))
    is_true = scored.gain > 0
    if is_true.all() or not is_true.any():
        raise TrainingError(
            f"out of fold {int(is_true.sum())} of {len(is_true)} detections are figures: no threshold can be chosen",
            where=job.run.path,
            remedy="train longer, add training cases, or lower keep_above",
        )
    points = {name: at.threshold for name, at in operating_points(scored.sweep()).items()}
    fit = FITS.get(recipe.calibration)
    folder = job.file(layout.OUT_OF_FOLD_SLIDES)
    result = evaluate(found.at_threshold(points["balanced"]), slides)
    write_detections(folder / layout.DETECTIONS, found.at_threshold(points["balanced"]))
    write_evaluation(folder / layout.METRICS, result)
    return Chosen(points=points, calibration=None if fit is None else fit(scored.score, is_true))


def report(
    job: Job, *, gate: float, kept: NDArray[np.bool_], is_figure: NDArray[np.bool_], points: dict[str, float]
) -> None:
    """Write what the gate keeps of places that its networks have not seen, and the operating points.

    Args:
        job: of the run.
        gate: of the detector.
        kept: (N,) places that pass it.
        is_figure: (N,) which of them are figures.
        points: threshold of each operating point.
    """
    content: dict[str, Any] = {
        "gate": gate,
        "places": len(kept),
        "passing": int(kept.sum()),
        "figures": int(is_figure.sum()),
        "figures_passing": int((kept & is_figure).sum()),
        "operating_points": points,
    }
    write_json(job.file(layout.GATE), content)
