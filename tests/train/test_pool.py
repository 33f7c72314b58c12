import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import a_cohort
from mitosieve.annotation import Annotations
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import CohortError
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin
from mitosieve.sieve.propose.windows import WindowConfig
from mitosieve.train.pool import average_precision, make_pool, screening_table


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=30))
def test_average_precision_equals_the_definition(rows):
    """Mean over figures of precision among all patches scored at least as high; ties count against."""
    target = np.array([int(figure) for figure, _ in rows])
    score = np.array([float(value) for _, value in rows])
    expected = [target[score >= s].mean() for s in score[target == 1]]
    assert average_precision(target, score) == pytest.approx(np.mean(expected) if expected else 0.0)


def test_a_score_at_the_mining_threshold_is_not_mined():
    """Kept is what exceeds the threshold, as section 3.1.1 says."""
    table = screening_table(np.array([0.2, 0.3]), np.array([0.2, 0.1, 0.9]), 0.2)
    assert (table["TP"], table["FN"], table["FP"], table["TN"]) == (1, 1, 1, 2)


@pytest.fixture
def store(tmp_path):
    cohort = a_cohort(tmp_path / "cohort", cases=2)
    frames = FrameStore(tmp_path / "frames", FrameConfig(stain="none"), margin_px=100)
    for entry in cohort.slides:
        frames.add(entry.slide_id, lambda name=entry.slide_id: cohort.open(name), None)
    return cohort, frames


def test_windows_lie_inside_the_roi(store):
    """Outside the ROI nothing is known, so no background window reaches out of it."""
    cohort, frames = store
    roi = "POLYGON ((0 0, 220 0, 220 300, 0 300, 0 0))"
    limited = cohort.with_entries(lambda entry: replace(entry, roi_wkt=roi))
    windows = WindowConfig(stride_px=16)
    pool = make_pool(limited, limited.cases, frames, windows)
    right = pool.index.center_l0[pool.background][:, 0] + windows.patch_px / 2
    assert len(right)
    assert (right <= 220.5).all()
    everywhere = make_pool(cohort, cohort.cases, frames, windows)
    assert len(everywhere.background) > len(pool.background)


def test_unlabelled_slides_give_no_patch(store):
    """Nothing is known of them: they are neither figures nor background."""
    cohort, frames = store
    first = cohort.slides[0].slide_id
    hidden = cohort.with_entries(lambda entry: replace(entry, labelled=entry.slide_id != first))
    pool = make_pool(hidden, hidden.cases, frames, WindowConfig(stride_px=16))
    assert first not in set(pool.index.slide_id)


def test_a_part_without_figures_is_refused(store):
    """There is nothing to learn from; the message names the cases."""
    cohort, frames = store
    empty = Cohort(cohort.folder, cohort.slides, Annotations.empty())
    with pytest.raises(CohortError, match="c0, c1 have no figure"):
        make_pool(empty, empty.cases, frames, WindowConfig())


def test_one_row_for_figures_marked_twice_at_one_place(store):
    """A place is in the index once, so that its ledger row is one."""
    cohort, frames = store
    double = Cohort(cohort.folder, cohort.slides, Annotations.concatenate([cohort.annotations, cohort.annotations]))
    pool = make_pool(double, double.cases, frames, WindowConfig())
    assert len(np.unique(pool.index.patch_id)) == len(pool.index)
    assert pool.index.count()[Origin.FIGURE.value] == cohort.counts()["figures"]
    assert math.isclose(pool.index.mpp, 0.25)
