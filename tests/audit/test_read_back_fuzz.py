"""Mutated files that the project wrote and reads again, or takes from other programs: a result or one message."""

import json
import shutil
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_corrections import an_audit

from build import a_cohort
from mitosieve.audit.corrections import import_corrections
from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.errors import MitosieveError
from mitosieve.export.roi import read_roi
from mitosieve.export.table import read_detections, write_detections
from mitosieve.score.evaluation import EvaluateConfig, evaluate
from mutated import fuzzing, mutate

LONGEST_S = 20


def detections(folder, cohort):
    marks = cohort.annotations
    found = Detections.of(
        slide_id=marks.slide_id.tolist(), center_l0=marks.center_l0, score=np.linspace(0.1, 0.9, len(marks)),
        threshold=0.5, stage_names=("screening",), stage_score=np.full((len(marks), 1), 0.5),
    )  # fmt: skip
    return write_detections(folder / "detections.csv", found)


def area(folder, cohort):
    ring = [[0, 0], [300, 0], [300, 200], [0, 200], [0, 0]]
    item = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    (folder / "roi.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [item, item]}))
    return folder / "roi.geojson"


def corrections(folder, cohort):
    return next(iter(sorted(an_audit(folder / "qupath", cohort).iterdir())))


def score(path, cohort, out):
    evaluate(read_detections(path), cohort, config=EvaluateConfig(resamples=10), where=path).to_json()


def correct(path, cohort, out):
    import_corrections(path, cohort.folder, out, now=datetime(2026, 1, 1, tzinfo=UTC))
    Cohort.load(out)


def look(path, cohort, out):
    assert read_roi(path).area > 0


@pytest.mark.parametrize(
    ("make", "use"),
    [(detections, score), (area, look), (corrections, correct)],
    ids=["detections", "roi", "corrections"],
)
def test_fuzz_of_what_is_read_back(tmp_path_factory, make, use):
    """No traceback, no hang; what is refused names the file and leaves nothing behind."""
    folder = tmp_path_factory.mktemp("read")
    cohort = a_cohort(folder / "cohort", cases=2)
    path = make(folder, cohort)
    whole = path.read_bytes()

    @fuzzing
    @given(random=st.randoms(use_true_random=False))
    def law(random):
        path.write_bytes(whole)
        shutil.rmtree(folder / "out", ignore_errors=True)
        mutate(path, random)
        begin = time.monotonic()
        told = ""
        try:
            use(path, cohort, folder / "out")
        except MitosieveError as error:
            told = str(error)
        assert told.count("\n") <= 2
        assert not told or told.startswith(str(path))
        assert not told or not (folder / "out").exists()
        assert time.monotonic() - begin < LONGEST_S

    law()
