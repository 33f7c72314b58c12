"""A training leaves in its detector what its slides are like, and those of the test stay unseen."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.split import Split
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.traits import LEAST_PIECES, measure_slide
from mitosieve.slide.overview import look_over
from mitosieve.train.known_slides import reference_of
from tiny import a_cohort, a_run, a_split


def test_the_reference_is_of_train_and_validation_slides_alone():
    """A row for each of their slides, in the cohort's order; the test case has none."""
    cohort, fold = Cohort.load(a_cohort()), Split.load(a_split()).folds["A"]
    known = Detector.load(a_run()).reference.known["sharpness"]
    expected = []
    for entry in cohort.of_cases((*fold.train, *fold.validation)).slides:
        with cohort.open(entry.slide_id) as slide:
            expected.append(measure_slide(slide, look_over(slide).tissue, 0.25).sharpness)
    assert known.values[:, 0] == pytest.approx(expected, abs=1e-5)
    assert 0 < len(expected) < len(cohort.slides)


def test_crops_of_one_case_count_as_one_slide(tmp_path):
    """A crop is too small to be judged alone; those of one case, domain and resolution are judged together."""
    pixels = cv2.imread(str(next((a_cohort() / "images").iterdir())))
    entries = []
    for case in ("a", "b", "c"):
        for number in range(LEAST_PIECES if case != "c" else 1):
            name = f"{case}{number}"
            cv2.imwrite(str(tmp_path / f"{name}.png"), pixels[64 * number :][:128, 100:228])
            entries.append(SlideEntry(slide_id=name, path=f"{name}.png", case_id=case, domain="d", mpp=0.25))
    cohort = Cohort(tmp_path, tuple(entries), Cohort.load(a_cohort()).annotations[:0])
    fold = SimpleNamespace(train=("a", "b", "c"), validation=())
    job = SimpleNamespace(cohort=cohort, fold=fold, progress=None)
    reference = reference_of(job, Detector.load(a_run()), {})
    assert reference.known["sharpness"].values.shape == (2, 1)  # of the single crop of case c nothing can be said
    assert reference.known["resolution"].values.shape == (3, 1)
    assert np.array_equal(reference.known["sharpness"].case, [0, 1])
