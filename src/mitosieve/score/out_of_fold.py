"""Detections of networks that have not seen the cases: of several evaluated folders, pooled as if of one detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import SplitError
from mitosieve.export.table import read_detections
from mitosieve.run import layout
from mitosieve.score.calibration import Fit, expected_calibration_error, held_out_probability, reliability
from mitosieve.score.judged import read_metrics
from mitosieve.score.scored import Scored


def read_out_of_fold(folders: Sequence[Path], cohort: Cohort) -> Scored:
    """The detections of evaluated folders, each on other cases: those that its metrics.json names.

    Args:
        folders: as `evaluate` or `crossval` leaves them, one a fold.
        cohort: the truth.

    Raises:
        FormatError: a folder has not been evaluated.
        FrameError: the detections are not of this cohort.
        SplitError: a case is in two of the folders, and would count twice.
    """
    parts: list[Scored] = []
    owner: dict[str, Path] = {}
    for folder in folders:
        cases = tuple(sorted({row["case_id"] for row in read_metrics(folder)["per_slide"]}))
        twice = [case for case in cases if case in owner]
        if twice:
            raise SplitError(
                f"the case {twice[0]} is in {owner[twice[0]]} too and would count twice",
                where=folder,
                remedy="name folders of folds that test different cases",
            )
        owner |= dict.fromkeys(cases, folder)
        table = folder / layout.DETECTIONS
        parts.append(Scored.of(read_detections(table), cohort, cases, where=table))
    return Scored.join(parts)


@dataclass(frozen=True, kw_only=True)
class CalibrationErrors:
    """Expected calibration errors on out-of-fold detections.

    Attributes:
        scores: of the scores themselves.
        calibrated: of a map that was fitted without the case it judges.
    """

    scores: float
    calibrated: float


def calibration_errors(scored: Scored, fit: Fit) -> CalibrationErrors:
    """How far scores, and scores calibrated on the other cases, are from the share of true detections.

    Raises:
        InputError: without one case all the others' detections are of one kind.
    """
    is_true = scored.gain > 0
    _, case = np.unique([row.case_id for row in scored.slides], return_inverse=True)
    stated = held_out_probability(scored.score, is_true, case[scored.slide], fit)
    return CalibrationErrors(
        scores=expected_calibration_error(reliability(scored.score, is_true)),
        calibrated=expected_calibration_error(reliability(stated, is_true)),
    )
