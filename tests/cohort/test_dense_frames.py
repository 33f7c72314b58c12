"""What `bench/dense_detector.py` learns from."""

import importlib.util
from dataclasses import replace
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from tiny import a_cohort

SCRIPT = Path(__file__).parents[2] / "bench" / "dense_detector.py"


def test_slides_without_labels_are_not_learned_as_background():
    """Of an unlabelled slide nothing is known: it gives no frame, and the others theirs."""
    spec = importlib.util.spec_from_file_location("dense_detector", SCRIPT)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    whole = Cohort.load(a_cohort())
    cohort = whole.of_cases(whole.cases[:2])
    first, *others = cohort.slides
    mixed = Cohort(cohort.folder, (replace(first, labelled=False, roi_wkt=""), *others), cohort.annotations)
    assert len(bench.frames_of(mixed, cohort.cases)) == len(others) > 0
