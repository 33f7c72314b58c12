"""The names that the README shows."""

import subprocess
import sys
from pathlib import Path

import pytest

import mitosieve
from mitosieve import Cohort, Detections, Detector, Evaluation, Split, detect, evaluate
from mitosieve.export.table import read_detections
from tiny import a_cohort, a_run, a_scan, a_split

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there():
    """`__all__` names what can be had, once each, and `import *` brings it."""
    assert len(set(mitosieve.__all__)) == len(mitosieve.__all__)
    for name in mitosieve.__all__:
        assert getattr(mitosieve, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        mitosieve.detekt  # noqa: B018 - the access is what is tested


def test_importing_the_package_costs_nothing():
    """No library is loaded before a name is asked for."""
    code = "import sys, mitosieve; print({'torch', 'numpy', 'cv2', 'pandas'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_five_lines():
    """Load, detect, score: the same detections and the same counts as the command line gives."""
    cohort = Cohort.load(a_cohort())
    detector = Detector.load(a_run())
    cases = Split.load(a_split()).fold("A").test
    found = detect(detector, cohort, cases=cases)
    result = evaluate(found, cohort, cases=cases)

    assert isinstance(found, Detections)
    assert isinstance(result, Evaluation)
    assert len(found) > 0
    assert len(found) == len(read_detections(a_scan() / "detections.csv"))
    scored = evaluate(read_detections(a_scan() / "detections.csv"), cohort, cases=cases)
    assert result.pooled == scored.pooled
