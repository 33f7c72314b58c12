"""`--out` of evaluate and compare: no file is lost that the command did not write."""

import json
import shutil

import pytest

from mitosieve.run import layout
from mitosieve.score.own_files import outcomes_of
from tiny import a_cohort, a_scan, files_of, mitosieve

TAKEN = ["summary.json", "detections.json", "slides.json", "timing.json", "detect.json", "run.json", "outcomes.json"]


@pytest.fixture
def found(tmp_path):
    return shutil.copytree(a_scan(), tmp_path / "found")


@pytest.mark.parametrize("name", [*TAKEN, "summary.csv", "scores", "notes.json", "table.json", "broken.json"])
def test_out_changes_no_file_of_others(found, name):
    """Neither a file of the folder by a table of its name, nor one that somebody put there; no JSON is no place."""
    (found / "notes.json").write_text('{"by": "hand"}')
    (found / "table.csv").write_text("by,hand\n")
    (found / "broken.json").write_text("{")
    before = files_of(found)
    for words in (("evaluate", found, a_cohort()), ("compare", found, a_scan())):
        told = mitosieve(*words, "--out", found / name)
        assert told.code == 2, told.out
        assert str(found / name.split(".")[0]) in told.err
        assert files_of(found) == before


def test_compare_does_not_replace_scores(found):
    """metrics.json is evaluate's."""
    before = files_of(found)
    assert mitosieve("compare", found, a_scan(), "--out", found / "metrics.json").code == 2
    assert files_of(found) == before


def test_scores_at_another_radius_leave_the_folder_s_own_alone(found):
    """All that is written is called by the name that was given, and may be written again."""
    before = files_of(found)
    for radius in (1, 2):
        told = mitosieve("evaluate", found, a_cohort(), "--radius-um", radius, "--out", found / "narrow.json")
        assert told.code == 0, told.err
        after = files_of(found)
        assert {name: after[name] for name in before} == before
        more = {str(name).rsplit("/", maxsplit=1)[-1] for name in set(after) - set(before)}
        assert more == {"narrow.json", "narrow.csv", "narrow.tex", "narrow-outcomes.csv"}
        assert json.loads((found / "narrow.json").read_text())["radius_um"] == radius
    assert outcomes_of(found / layout.METRICS) == found / layout.OUTCOMES
