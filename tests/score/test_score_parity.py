"""The numbers that public evaluators give, from their own files."""

import json
from pathlib import Path

import numpy as np
import pytest

from midog_points import read_points
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.detection import Detections
from mitosieve.score.evaluation import EvaluateConfig, evaluate

MPP = 0.25  # positions come in mm; any mpp must give the same result
FAST = EvaluateConfig(resamples=50)


@pytest.fixture
def reference(data_folder):
    return data_folder / "formats" / "reference" / "midog25_track1"


def cohort_of(figures_mm, domains, mpp):
    ids = list(figures_mm)
    marks = [(name, (x * 1000 / mpp, y * 1000 / mpp)) for name in ids for x, y, *_ in figures_mm[name]]
    return Cohort(
        Path("reference"),
        tuple(SlideEntry(slide_id=n, path=n, case_id=n, domain=str(domains[n]), mpp=mpp) for n in ids),
        Annotations.of(
            slide_id=[m[0] for m in marks],
            center_l0=[m[1] for m in marks],
            label=[Label.MITOTIC_FIGURE] * len(marks),
        ),
    )


@pytest.mark.data
@pytest.mark.parametrize("mpp", [0.25, 0.2273])
def test_midog_2025_metrics_are_reproduced(reference, mpp):
    """Per image TP/FN/FP, aggregate and per-tumour precision, recall, F1, and the box AP of the official container."""
    truth = json.loads((reference / "ground_truth" / "ground_truth.json").read_text())
    expected = json.loads((reference / "expected" / "metrics.json").read_text())
    cohort = cohort_of(
        {name: entry["annotations"] for name, entry in truth.items()},
        {name: entry["tumor domain"] for name, entry in truth.items()},
        mpp,
    )
    jobs = json.loads((reference / "input" / "predictions.json").read_text())
    detections = Detections.concatenate(
        read_points(
            reference / "input" / job["pk"] / "output" / "mitotic-figures.json",
            mpp=mpp,
            slide_id=job["inputs"][0]["image"]["name"],
        )
        for job in jobs
    )
    content = evaluate(detections, cohort, config=FAST).to_json()
    per_slide = {row["slide_id"]: row for row in content["per_slide"]}
    assert len(per_slide) == len(expected["results"])
    for image in expected["results"]:
        row, counts = per_slide[image["image"]], image["metrics"]
        assert row["tp"] == counts["true_positives"]
        assert row["fn"] == counts["false_negatives"]
        assert row["fp"] == counts["false_positives"]
    aggregates = expected["aggregates"]
    assert content["pooled"]["f1"] == pytest.approx(aggregates["f1_score"], abs=1e-6)
    assert content["pooled"]["precision"] == pytest.approx(aggregates["precision"], abs=1e-6)
    assert content["pooled"]["recall"] == pytest.approx(aggregates["recall"], abs=1e-6)
    assert content["ap_boxes"] == pytest.approx(aggregates["AP"], abs=1e-6)
    for row in content["per_domain"]:
        assert row["f1"] == pytest.approx(aggregates[f"tumor_{row['domain']}_f1"], abs=1e-6)


@pytest.mark.data
def test_a_published_model_hits_18_of_19_figures_of_slide_401(reference, data_folder):
    """At 25 px the 26 points named figure hit 18, all 225 hit 19 of the 19 figures of MIDOG++ slide 401."""
    mpp = 0.227
    content = json.loads((data_folder / "formats" / "midog" / "MIDOG++.json").read_text())
    corners = np.array([a["bbox"] for a in content["annotations"] if (a["image_id"], a["category_id"]) == (401, 1)])
    centers_mm = (corners[:, :2] + corners[:, 2:]) / 2 * mpp / 1000
    cohort = cohort_of({"401": centers_mm.tolist()}, {"401": "neuroendocrine"}, mpp)
    detections = read_points(reference / "detections_midogpp_401.json", mpp=mpp, slide_id="401")
    at_25_px = EvaluateConfig(radius_um=25 * mpp, resamples=50)
    named = evaluate(detections, cohort, config=at_25_px)
    assert (named.pooled.tp, named.pooled.fp, named.pooled.fn) == (18, 8, 1)
    everything = Detections.of(slide_id=detections.slide_id, center_l0=detections.center_l0, score=detections.score)
    result = evaluate(everything, cohort, config=at_25_px)
    assert len(everything) == 225
    assert (result.pooled.tp, result.pooled.fn) == (19, 0)
