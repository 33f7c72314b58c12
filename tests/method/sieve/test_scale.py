"""Laws of the one scale: as many detections of several networks reach a score as, on average, of each alone."""

import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from test_sieve import train

from mitosieve import Cohort, Detector, Split, detect
from mitosieve.method.sieve import scale
from mitosieve.method.sieve.out_of_fold import unseen_slides
from mitosieve.method.sieve.scale import Scale, match_scale
from mitosieve.network.registry import build_network, load_weights
from tiny import a_cohort, a_split


def scores_of(seed, number):
    """Of single networks, spread over both sides of one half."""
    return expit(np.random.default_rng(seed).normal(0.5, 1.5, number))


@given(st.integers(0, 99), st.integers(1, 5), st.floats(0.4, 3), st.floats(-3, 1))
def test_a_line_between_the_two_is_found(seed, members, slope, offset):
    """Where the mean's logits are a line of the ranked single ones, the line back is it, and the counts agree."""
    number = 200
    alone = scores_of(seed, number * members)
    ranked = np.sort(alone)[::-1][((np.arange(number) + 0.5) * members).astype(int)]
    several = expit((logit(ranked) - offset) / slope)
    kept = (several > 1e-5) & (several < 1 - 1e-5)
    found = match_scale(several[kept], [alone[kept.size * n : kept.size * (n + 1)] for n in range(members)])
    if kept.all():
        assert (found.slope, found.offset) == pytest.approx((slope, offset), abs=1e-4)
    same = expit(found.slope * logit(several) + found.offset)
    for threshold in (0.6, 0.8, 0.9):
        mean = (alone >= threshold).sum() / members
        assert abs((same >= threshold).sum() - mean) <= max(3, 0.1 * mean) or not kept.all()


def test_what_cannot_be_matched_stays_as_it_is():
    """Too few detections, none at all, one score alone, a line that falls."""
    many = scores_of(1, 100)
    assert match_scale(many[:10], [many[:10]]) == Scale()
    assert match_scale(np.zeros(0), [many]) == Scale()
    assert match_scale(many, [np.zeros(0)]) == Scale()
    assert match_scale(np.full(100, 0.7), [many]) == Scale()
    steep = np.linspace(0.90, 0.91, 30)
    assert match_scale(steep, [np.linspace(0.5, 0.999, 30)]) == Scale()  # no detector may hold its line
    assert match_scale(many, [many]).slope == pytest.approx(1)
    assert match_scale(many, [many]).offset == pytest.approx(0)


def without_labels(folder, case):
    """The cohort with one patient's slides called unlabelled."""
    shutil.copytree(a_cohort(), folder)
    with (folder / "slides.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "slides.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows({**row, "labelled": "no" if row["case_id"] == case else row["labelled"]} for row in rows)
    marks = (folder / "annotations.csv").read_text().splitlines()
    names = {row["slide_id"] for row in rows if row["case_id"] == case}
    (folder / "annotations.csv").write_text("\n".join(m for m in marks if m.split(",")[0] not in names) + "\n")
    return Cohort.load(folder)


def test_only_patients_that_teach_nothing_are_asked_about(tmp_path):
    """Of the cases that are given, those without a labelled slide; a test case is not given."""
    case = Split.load(a_split()).fold("A").train[0]
    cohort = without_labels(tmp_path / "cohort", case)
    assert {entry.case_id for entry in unseen_slides(cohort, tuple(cohort.cases)).slides} == {case}
    assert len(unseen_slides(cohort, tuple(name for name in cohort.cases if name != case))) == 0
    assert len(unseen_slides(Cohort.load(a_cohort()), tuple(cohort.cases))) == 0


def test_a_training_brings_its_detector_to_the_scale(tmp_path, monkeypatch):
    """By hand from the kept weights: the detector without its line, and each network alone, on the unlabelled slide."""
    monkeypatch.setattr(scale, "LEAST_PAIRS", 2)
    monkeypatch.setattr(scale, "LEAST_SCORE", 0.02)
    case = Split.load(a_split()).fold("A").train[0]
    cohort, run = without_labels(tmp_path / "cohort", case), tmp_path / "run"
    content = json.loads(a_split().read_text())
    content["folds"] = {"A": content["folds"]["A"]}  # it is a test case of the others
    split = tmp_path / "split.json"
    split.write_text(json.dumps(content))
    told = train(run, "--split", split, cohort=tmp_path / "cohort", settings=("keep_above=0.0",))
    assert told.code == 0, told.err
    whole = Detector.load(run)
    plain = whole.with_scale(1, 0)
    found = [detect(plain, cohort, cases=(case,)).score]
    for number in (1, 2):
        files = [run / f"networks/{stage.name} without part {number}.safetensors" for stage in whole.config.stages]
        networks = [
            (load_weights(build_network(stage.network), file),)
            for stage, file in zip(whole.config.stages, files, strict=True)
        ]
        found.append(detect(Detector(config=plain.config, networks=tuple(networks)), cohort, cases=(case,)).score)
    expected = match_scale(found[0], found[1:])
    assert expected.pairs > 2
    last = whole.config.stages[-1]
    assert (last.slope, last.offset) == pytest.approx((expected.slope, expected.offset), abs=1e-3)
    assert json.loads((run / "gate.json").read_text())["scale"]["pairs"] == expected.pairs
    moved, kept = detect(whole, cohort, cases=(case,)).score, found[0]
    np.testing.assert_allclose(logit(moved), last.slope * logit(kept) + last.offset, atol=1e-3)
