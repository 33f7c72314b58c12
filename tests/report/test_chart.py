import json
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from made import a_scored_run

from mitosieve.report import chart


@pytest.fixture
def metrics(shared):
    return json.loads((shared.run / "test" / "metrics.json").read_text())


def test_every_chart_is_svg_that_tells_its_numbers(metrics):
    """Well-formed drawings, with words for those who cannot see them."""
    charts = chart.score_charts(metrics)
    assert [item.title for item in charts] == [
        "Precision and recall",
        "FROC",
        "Mitotic count, agreement per slide",
    ]
    for item in charts:
        assert ET.fromstring(item.svg).tag.endswith("svg")
        assert item.uri.startswith("data:image/svg+xml;base64,")
    assert f"recall {metrics['pooled']['recall']:.3f}" in charts[0].alt


def test_drawing_leaves_no_trace_in_matplotlib(metrics):
    """Another user of the library keeps their settings."""
    before = dict(mpl.rcParams)
    chart.score_charts(metrics)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("cases", [3, 12])
def test_the_points_of_the_agreement_are_those_behind_its_limits(tmp_path, cases):
    """Their mean difference is the one in metrics.json: per slide below ten cases, per case from ten on."""
    run, _ = a_scored_run(tmp_path, cases=cases)
    metrics = json.loads((run / "test" / "metrics.json").read_text())
    unit, points = chart.densities(metrics)
    assert unit == ("slide" if cases < 10 else "case")
    told = metrics["count_agreement"][f"per_{unit}"]
    assert len(points) == told["n"]
    assert np.mean(points[:, 0] - points[:, 1]) == pytest.approx(told["mean_difference_per_mm2"])


def test_a_training_without_validation_or_without_rows_is_no_fault():
    """Losses alone are drawn; nothing is not drawn."""
    drawn = chart.training("screening", [{"step": 20, "loss": 0.5}, {"step": 40, "loss": None}])
    assert drawn is not None
    assert drawn.alt == "Loss of the stage screening over 40 steps."
    assert chart.training("screening", []) is None
