"""The cohort of all real data: no patient on two sides, the other laboratory never learned from."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split

SCRIPT = Path(__file__).parents[2] / "bench" / "all_sources.py"


@pytest.fixture(scope="module")
def made(data_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("all") / "cohort"
    subprocess.run([sys.executable, SCRIPT, data_folder, out], check=True, capture_output=True)
    return Cohort.load(out), {name: Split.load(out / f"{name}.json") for name in ("patients", "sources")}


def cases_of(cohort, *sources):
    return {entry.case_id for entry in cohort.slides if entry.source in sources}


@pytest.mark.data
@pytest.mark.slow
def test_every_set_is_there_with_its_source_and_agreement(made):
    """Nine sources; 7,261 figures of the labels; a share of raters for all marks of mitos14 but 4 figures."""
    cohort, _ = made
    sources = cohort.source_of
    assert len(set(sources.values())) == 9
    assert cohort.counts()["figures"] == 512 + 180 + 12 + 3814 + 8 + 2012 + 711 + 12
    own = cohort.annotations[np.array([sources[str(name)] == "mitos14" for name in cohort.annotations.slide_id])]
    unknown = own[np.isnan(own.score)]
    assert unknown.label.tolist() == [Label.MITOTIC_FIGURE.value] * 4
    assert set(np.unique(own.score[~np.isnan(own.score)])) == {0, 0.2, 0.65, 0.8, 1}


@pytest.mark.data
@pytest.mark.slow
def test_no_fold_learns_what_it_must_not(made):
    """Crops of unknown patients are only trained on, BreCaHAD never is but for use, and folds fit the cohort."""
    cohort, splits = made
    for split in splits.values():
        split.check(cohort)
        for name, fold in split.folds.items():
            assert cases_of(cohort, "atnorm_br", "unlabelled") <= set(fold.train)
            assert bool(cases_of(cohort, "brecahad") & set(fold.train)) == (name == "everything")
    everything = splits["patients"].folds["everything"]
    assert set(everything.test) == cases_of(cohort, "tupac_prlab")
    assert set(everything.train) == set(cohort.cases) - set(everything.test)
    tested = {
        name: {case for key, fold in split.folds.items() if key != "everything" for case in fold.test}
        for name, split in splits.items()
    }
    assert tested["patients"] == cases_of(cohort, "mitos14", "icpr12", "aperio_a03", "brecahad")
    assert tested["sources"] == {
        entry.case_id for entry in cohort.slides if entry.labelled and entry.source not in ("atnorm_br", "brecahad")
    }


@pytest.mark.data
@pytest.mark.slow
def test_who_tests_a_scanner_has_not_learned_from_it(made):
    """In a fold of sources, no slide of a tested domain is trained on: frames of both scanners, and crops alike."""
    cohort, splits = made
    for name, fold in splits["sources"].folds.items():
        trained = {entry.domain for entry in cohort.of_cases(fold.train).slides}
        tested = {entry.domain for entry in cohort.of_cases(fold.test).slides}
        if name == "aperio-xt":  # its patients were scanned at home too: the row of their other domain is read
            tested -= {"human breast Hamamatsu NanoZoomer 2.0-HT"}
        assert tested
        assert not trained & tested
