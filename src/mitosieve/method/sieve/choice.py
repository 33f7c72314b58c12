"""What out-of-fold scores of a sieve training choose: the gates, the operating points, the meaning of a score."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.calibration import Isotonic, Logistic
from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.errors import TrainingError
from mitosieve.export.table import write_detections
from mitosieve.method.sieve.recipe import SieveRecipe
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.score.calibration import FITS
from mitosieve.score.evaluated import CHOSEN_HERE, write_evaluation
from mitosieve.score.evaluation import evaluate
from mitosieve.score.operating import operating_points
from mitosieve.score.scored import Scored
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
    kept = found.at_threshold(points["balanced"])
    result = evaluate(kept, slides)
    write_detections(folder / layout.DETECTIONS, kept)
    write_evaluation(folder / layout.METRICS, replace(result, notes=(CHOSEN_HERE, *result.notes)))
    return Chosen(points=points, calibration=None if fit is None else fit(scored.score, is_true))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a stage lets through on the training slides, by networks that have not seen the patient.

    Attributes:
        threshold: of the stage.
        passing: (N,) which places of whole slides pass it and all gates before.
    """

    threshold: float
    passing: NDArray[np.bool_]


def report(
    job: Job, gates: dict[str, Gate], is_figure: NDArray[np.bool_], points: dict[str, float], scale: dict[str, Any]
) -> None:
    """Write what each gate keeps, the operating points, and what brings the detector's scores to their scale.

    Args:
        job: of the run.
        gates: by stage.
        is_figure: (N,) which places are figures.
        points: threshold of each operating point.
        scale: of the detector (`scale.Scale`).
    """
    content: dict[str, Any] = {
        "places": len(is_figure),
        "figures": int(is_figure.sum()),
        "operating_points": points,
        "scale": scale,
    }
    for stage, gate in gates.items():
        content[stage] = {
            "gate": gate.threshold,
            "passing": int(gate.passing.sum()),
            "figures_passing": int((gate.passing & is_figure).sum()),
        }
    write_json(job.file(layout.GATE), content)
