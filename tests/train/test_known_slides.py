"""A training leaves in its detector what its slides are like, and those of the test stay unseen."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mitosieve.annotation import Label
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


def test_slides_are_seen_as_those_to_be_judged(tmp_path):
    """By the proposer's own rule of tissue: else a training slide would differ from itself."""
    rng = np.random.default_rng(0)
    pixels = np.full((1500, 1500, 3), (206, 190, 214), np.float64)  # pale stroma, no glass
    pixels[:500, :500] = (140, 70, 130)
    grain = np.repeat(np.repeat(rng.normal(0, 12, (750, 750, 1)), 2, 0), 2, 1)
    grain[:500, :500] = rng.normal(0, 12, (500, 500, 1))  # finer where it is dark
    cv2.imwrite(str(tmp_path / "s.png"), np.clip(pixels + grain, 0, 255).astype(np.uint8))
    entries = [SlideEntry(slide_id=case, path="s.png", case_id=case, domain="d", mpp=0.25) for case in "abc"]
    cohort = Cohort(tmp_path, tuple(entries), Cohort.load(a_cohort()).annotations[:0])
    job = SimpleNamespace(
        cohort=cohort, fold=SimpleNamespace(train=("a", "b", "c"), validation=()), progress=None, start=None
    )
    plain = Detector.load(a_run())
    proposer = plain.config.proposer.model_copy(update={"tissue": "glass"})
    asked = replace(plain, config=plain.config.model_copy(update={"proposer": proposer}))
    told = reference_of(job, asked, {}).known["sharpness"].values[0, 0]
    with cohort.open("a") as slide:
        seen = {rule: measure_slide(slide, look_over(slide, rule).tissue, 0.25).sharpness for rule in ("otsu", "glass")}
    assert told == pytest.approx(seen["glass"], abs=1e-5)
    assert abs(seen["glass"] - seen["otsu"]) > 0.01


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
    job = SimpleNamespace(cohort=cohort, fold=fold, progress=None, start=None)
    reference = reference_of(job, Detector.load(a_run()), {})
    assert reference.known["sharpness"].values.shape == (2, 1)  # of the single crop of case c nothing can be said
    assert reference.known["resolution"].values.shape == (3, 1)
    assert np.array_equal(reference.known["sharpness"].case, [0, 1])


def test_figures_that_were_learned_are_counted(tmp_path):
    """Those of the training cases where their slides were searched; nothing is learned of the others."""
    whole = Cohort.load(a_cohort())
    first = whole.slides[0].slide_id
    limited = whole.with_entries(lambda e: replace(e, roi_wkt="POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"))
    limited = limited.with_entries(lambda e: replace(e, roi_wkt=e.roi_wkt if e.slide_id == first else ""))
    told = []
    for cohort in (whole, limited):
        fold = SimpleNamespace(train=cohort.cases, validation=())
        job = SimpleNamespace(cohort=cohort, fold=fold, progress=None, start=None)
        told.append(reference_of(job, Detector.load(a_run()), {}).learnt.figures)
    figures = whole.annotations.with_label(Label.MITOTIC_FIGURE)
    assert told == [len(figures), len(figures) - len(figures.of_slide(first))]
    assert told[1] < told[0]
