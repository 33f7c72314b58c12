"""The quick way to read a table gives what the careful one gives, or nothing."""

import numpy as np
import pytest
from found import some_detections

from mitosieve.detection import Detections
from mitosieve.export.table import read_detections, write_detections
from mitosieve.view.quick import read_quickly


@pytest.mark.parametrize("name", ["one", 'a, "quoted" name', "<b>", "ü 1", "12", "NaN"])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_a_table_of_detect_is_read_the_same(tmp_path, name, n):
    """Column for column, with stages that did not see a cell."""
    found = Detections.concatenate([some_detections(name, n=n), some_detections("two", n=n, seed=1)])
    found.stage_score[::3, 1] = np.nan
    path = write_detections(tmp_path / "d.csv", found, detector="x")
    quick, careful = read_quickly(path), read_detections(path)
    if n == 0 and quick is None:
        return
    assert quick.stage_names == careful.stage_names
    for column in ("slide_id", "center_l0", "score", "is_figure", "stage_score"):
        assert np.array_equal(getattr(quick, column), getattr(careful, column), equal_nan=column == "stage_score"), (
            column
        )


HEAD = "slide_id,x,y,score,is_figure,refined_score\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slide_id,x,y,score\na,1,2,0.5\n",
        HEAD + "a,1,2\n",
        HEAD + "a,x,2,0.5,yes,0.5\n",
        HEAD + "a,,2,0.5,yes,0.5\n",
        HEAD + "a,nan,2,0.5,yes,0.5\n",
        HEAD + "a,inf,2,0.5,yes,0.5\n",
        HEAD + "a,1,2,1.5,yes,0.5\n",
        HEAD + "a,1,2,0.5,maybe,0.5\n",
        HEAD + "a,1,2,0.5,,0.5\n",
        HEAD + "a,1,2,0.5,yes,-1\n",
        HEAD + ",1,2,0.5,yes,0.5\n",
        HEAD + " a,1,2,0.5,yes,0.5\n",
    ],
)
def test_anything_else_is_left_to_the_careful_way(tmp_path, text):
    """Which names the line, or takes what is not quite as detect writes it."""
    path = tmp_path / "d.csv"
    path.write_text(text)
    assert read_quickly(path) is None


def test_a_file_that_is_not_there_or_no_text_is_left_too(tmp_path):
    """No other error than that of the careful way reaches anybody."""
    assert read_quickly(tmp_path / "none.csv") is None
    (tmp_path / "d.csv").write_bytes(b"\xff\xfe\x00slide")
    assert read_quickly(tmp_path / "d.csv") is None
