"""Laws of pooled out-of-fold detections: each case once, and the errors are those of a loop over the cases."""

import shutil

import numpy as np
import pytest

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import FormatError, SplitError
from mitosieve.export.table import read_detections
from mitosieve.score.calibration import expected_calibration_error, fit_logistic, reliability
from mitosieve.score.evaluation import evaluate
from mitosieve.score.out_of_fold import calibration_errors, read_out_of_fold
from mitosieve.score.scored import Scored
from scene import a_bare_cohort, found
from tiny import a_cohort, a_run, a_scan, a_split, mitosieve


def test_two_folds_are_pooled(tmp_path):
    """Counts are the sums of those of each folder alone; a case in two folders is refused; so is a bare folder."""
    fold = ("--split", a_split(), "--fold", "B")
    words = ("--cohort", a_cohort(), *fold, "--out", tmp_path / "b", "--threads", 1)
    assert mitosieve("detect", "--detector", a_run(), *words).code == 0
    cohort = Cohort.load(a_cohort())
    with pytest.raises(FormatError, match="has not been evaluated"):
        read_out_of_fold([a_scan(), tmp_path / "b"], cohort)
    assert mitosieve("evaluate", tmp_path / "b", a_cohort(), *fold).code == 0
    both = read_out_of_fold([a_scan(), tmp_path / "b"], cohort)
    alone = [
        evaluate(read_detections(p / "detections.csv"), cohort, cases=c).pooled for p, c in cases(cohort, tmp_path)
    ]
    assert sum(row.tp for row in both.slides) == sum(one.tp for one in alone)
    assert sum(row.fp for row in both.slides) == sum(one.fp for one in alone)
    assert (np.diff(both.score) <= 0).all()
    shutil.copytree(a_scan(), tmp_path / "copy")
    with pytest.raises(SplitError, match="would count twice"):
        read_out_of_fold([a_scan(), tmp_path / "copy"], cohort)


def cases(cohort, folder):
    from mitosieve.cohort.split import Split

    split = Split.load(a_split())
    return [(a_scan(), split.fold("A").test), (folder / "b", split.fold("B").test)]


def test_errors_are_of_maps_that_have_not_seen_the_case():
    """By a loop over the cases with a fit on the others."""
    draw = np.random.default_rng(0)
    marks = [(int(s), int(x), int(y)) for s, x, y in draw.integers(0, (4, 900, 900), (60, 3))]
    rows = [(s, x, y, draw.integers(4, 10) / 10) for s, x, y in marks[:40]]
    rows += [(*map(int, draw.integers(0, (4, 900, 900))), draw.integers(1, 8) / 10) for _ in range(60)]
    cohort = a_bare_cohort(4, marks, cases=["a", "a", "b", "c"])
    scored = Scored.of(found(rows), cohort, cohort.cases)
    case = np.array([scored.slides[s].case_id for s in scored.slide])
    stated = np.zeros(len(case))
    for name in "abc":
        fitted = fit_logistic(scored.score[case != name], scored.gain[case != name] > 0)
        stated[case == name] = fitted.probability(scored.score[case == name])
    errors = calibration_errors(scored, fit_logistic)
    assert errors.calibrated == pytest.approx(expected_calibration_error(reliability(stated, scored.gain > 0)))
    assert errors.scores == pytest.approx(expected_calibration_error(reliability(scored.score, scored.gain > 0)))
    assert errors.calibrated < errors.scores
