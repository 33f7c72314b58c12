from pathlib import Path

import numpy as np
import pytest

from mitosieve.detection import Detections
from mitosieve.errors import FrameError
from mitosieve.score.counted import count_in
from scene import a_bare_cohort, found

SQUARE = "POLYGON ((0 0, 100 0, 100 100, 0 100, 0 0))"


def test_only_what_lies_in_the_roi_counts_and_its_edge_is_inside():
    """Marks and detections outside the exhaustively marked area are left out and noted."""
    cohort = a_bare_cohort(2, [(0, 50, 50), (0, 150, 50), (1, 150, 50)], [(0, 20, 20), (0, 300, 300)], roi=[SQUARE, ""])
    counted = count_in(found([(0, 100, 100, 0.9), (0, 100.5, 50, 0.9), (1, 3000, 50, 0.2)]), cohort)
    assert counted.figures.center_l0.tolist() == [[50, 50], [150, 50]]
    assert counted.imposters.center_l0.tolist() == [[20, 20]]
    assert counted.detections.center_l0.tolist() == [[100, 100], [3000, 50]]
    assert counted.is_figure.tolist() == [True, False]
    assert "1 detection outside the ROI" in counted.notes[0]
    assert "1 mitotic figure marked outside" in counted.notes[1]


def test_unlabelled_slides_are_left_out_and_noted():
    """Nothing is known there: neither slides nor false alarms of theirs are counted."""
    cohort = a_bare_cohort(3, [(2, 50, 50)], labelled=[False, True, True])
    counted = count_in(found([(0, 1, 1, 0.9), (0, 2, 2, 0.9), (2, 50, 50, 0.9)]), cohort)
    assert [entry.slide_id for entry in counted.slides] == ["s1", "s2"]
    assert counted.figures.slide.tolist() == counted.detections.slide.tolist() == [1]
    assert counted.notes == ("1 unlabelled slide left out, with 2 detections: nothing is known there",)


def test_rows_come_slide_by_slide_and_keep_their_order_within_a_slide():
    """So that neither the order of slides in the cohort nor in the detections matters."""
    cohort = a_bare_cohort(2, [(1, 3, 0), (0, 9, 0), (1, 2, 0), (0, 1, 0)])
    counted = count_in(found([(1, 8, 0, 0.1), (0, 7, 0, 0.2), (1, 6, 0, 0.3)]), cohort)
    assert counted.figures.center_l0[:, 0].tolist() == [9, 1, 3, 2]
    assert counted.score.tolist() == [0.2, 0.1, 0.3]


def test_a_detection_on_a_foreign_slide_is_refused():
    """It would silently leave the score; the message names table, row and slide."""
    cohort = a_bare_cohort(2, [(0, 1, 1)])
    with pytest.raises(FrameError, match=r"detection 2 is on slide 's7', which the cohort does not have"):
        count_in(found([(0, 1, 1, 0.9), (7, 1, 1, 0.9)]), cohort)
    with pytest.raises(FrameError, match=r"^of/found.csv: detection 1 is on slide"):
        count_in(found([(7, 1, 1, 0.9)]), cohort, where=Path("of/found.csv"))
    with pytest.raises(FrameError, match=r"'s1', which the scored cases do not have"):
        count_in(found([(1, 1, 1, 0.9)]), cohort, ("c0",))


def test_a_case_that_the_cohort_lacks_is_refused():
    """A split of another cohort must not shrink what is scored."""
    with pytest.raises(FrameError, match="has no case c9"):
        count_in(Detections.empty(), a_bare_cohort(2, []), ("c0", "c9"))


@pytest.mark.parametrize("row", [(0, np.nan, 1, 0.5), (0, 1, np.inf, 0.5), (0, 1, 1, np.nan)])
def test_a_detection_that_is_not_finite_is_refused(row):
    """A NaN score has no rank and a NaN place no distance."""
    with pytest.raises(FrameError, match="detection 2, on slide 's0'"):
        count_in(found([(0, 1, 1, 0.5), row]), a_bare_cohort(1, []))


def test_cases_without_a_labelled_slide_are_refused():
    """There is nothing to score against."""
    with pytest.raises(FrameError, match="no labelled slide"):
        count_in(Detections.empty(), a_bare_cohort(2, [], labelled=[False, True]), ("c0",))
