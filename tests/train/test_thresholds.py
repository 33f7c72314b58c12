"""How thresholds are chosen: on validation, by F1, of equal gates the one that loses least."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from build import a_cohort
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Fold
from mitosieve.detection import Detections
from mitosieve.method.cascade.chsnet import ChsNetRecipe, _rule_of
from mitosieve.network.chsnet import ChsNet
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig, SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.patch.frames import FrameConfig
from mitosieve.run.folder import RunFolder
from mitosieve.sieve import budget
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import GridProposer
from mitosieve.train import thresholds
from mitosieve.train.job import Job
from mitosieve.train.thresholds import OperatingRule, ThresholdRule, choose_thresholds, operating_threshold
from tiny import files_of

SHAPE = ChsNetConfig(width=0.03125)
SCORES = [(0.9, 0.8), (0.9, 0.7), (0.25, 0.75), (0.06, 0.9)]
"""(screening, refined) of what is found: two figures, then two false alarms that only a gate keeps out."""


@pytest.fixture
def job(tmp_path):
    cohort = a_cohort(tmp_path / "cohort", cases=3)
    fold = Fold(train=("c0",), validation=("c1",), test=("c2",))
    return Job(cohort=cohort, fold=fold, run=RunFolder(tmp_path / "run"), compute=Compute.choose("cpu"))


@pytest.fixture
def detected(job, monkeypatch):
    """What is found on the validation slide, whatever the networks; the thresholds of every call are noted."""
    figures = job.cohort.annotations.of_slide("c1_s0").center_l0[:2]
    center = np.concatenate([figures, [[390, 290], [5, 290]]])
    asked = []

    def detect(detector, cohort, *, cases, compute, progress, on_slide):
        del on_slide  # told nothing: no pixel is looked at
        assert cases == ("c1",)
        stages = detector.config.stages
        asked.append(tuple(stage.threshold for stage in stages))
        score = np.array(SCORES)[:, -len(stages) :]
        kept = score[:, 0] >= stages[0].threshold if len(stages) > 1 else np.ones(len(score), dtype=bool)
        return Detections.of(
            slide_id=["c1_s0"] * int(kept.sum()),
            center_l0=center[kept],
            score=score[kept, -1],
            threshold=detector.config.threshold,
            stage_names=detector.stage_names,
            stage_score=score[kept],
        )

    monkeypatch.setattr(thresholds, "detect", detect)
    return asked


def a_detector(*names):
    stages = tuple(Stage(name=name, network=SHAPE) for name in names)
    return Detector(config=DetectorConfig(stages=stages), networks=tuple((ChsNet(SHAPE),) for _ in names))


def chosen(job, rule, *names, folder="detector"):
    made = choose_thresholds(job, folder, a_detector(*names), rule)
    return tuple(stage.threshold for stage in made.config.stages)


def test_both_from_validation(job, detected):
    """The lowest gate looks at all; of the gates that keep both false alarms out the lowest is taken, and run."""
    gate, operating = chosen(job, ThresholdRule(), "screening", "refined")
    assert gate == 0.3  # 0.3 to 0.8 are equally good
    assert 0 < operating <= 0.7
    assert [thresholds[0] for thresholds in detected] == [0.05, 0.3]


@pytest.mark.parametrize("rows", [(), (2, 3)])
def test_a_threshold_that_says_nothing_is_told(job, detected, monkeypatch, rows):
    """Of validation cases on which nothing was found, or no figure: it stands as a number all the same."""
    find, notes = thresholds.detect, []
    monkeypatch.setattr(thresholds, "detect", lambda *a, **more: find(*a, **more)[np.array(rows, dtype=np.intp)])
    monkeypatch.setattr(Job, "note", lambda self, text: notes.append(text))
    chosen(job, OperatingRule(), "refined")
    assert len(notes) == 1
    assert f"of detector says nothing: of {len(rows)} detections on the validation cases none is a figure" in notes[0]


def test_numbers_are_taken_as_they_are(job, detected):
    """And validation is still detected on, once, for the curves."""
    assert chosen(job, ThresholdRule(gate=0.2, operating=0.6), "screening", "refined") == (0.2, 0.6)
    assert detected == [(0.2, 0.6)]
    kept = (job.run.path / "validation" / "detections.csv").read_text().splitlines()
    assert len(kept) == 1 + 3


BUDGETS = (None, 100.0, 600.0, 5000.0)


@pytest.mark.parametrize("per_mm2", BUDGETS)
@pytest.mark.parametrize("is_large", [False, True])
def test_a_gate_is_chosen_by_what_it_does(tmp_path, monkeypatch, per_mm2, is_large):
    """By brute force: the F1 that each gate is judged by is that of detections at that gate, budgets and all."""
    monkeypatch.setattr(budget, "LARGE_MM2", 0.0 if is_large else np.inf)
    cohort = a_cohort(tmp_path / "cohort", cases=2, slides_per_case=2, figures=5)
    fold = Fold(train=("c0",), validation=("c1",), test=())
    job = Job(cohort=cohort, fold=fold, run=RunFolder(tmp_path / "run"), compute=Compute.choose("cpu"))
    detector, gates = a_spread_detector(per_mm2), (0.02, 0.2, 0.45, 0.6, 0.95)
    found, sieved = thresholds._detected(job, detector.with_gate(gates[0]))
    told = thresholds._f1_of_gates(job, found, gates, thresholds._bounds(job, detector.with_gate(gates[0]), sieved))
    for gate in gates:
        at_gate, _ = thresholds._detected(job, detector.with_gate(gate))
        assert told[gate] == pytest.approx(operating_threshold(at_gate, cohort, fold.validation).f1, nan_ok=True)
    reached = {gate: -1 if np.isnan(f1) else f1 for gate, f1 in told.items()}  # nothing comes through
    assert (len(set(reached.values())) > 1) == (per_mm2 is None or not is_large)
    made = choose_thresholds(job, "detector", detector, ThresholdRule(gates=gates))
    assert made.config.stages[0].threshold == max(gates, key=lambda gate: (reached[gate], -gate))


def a_spread_detector(per_mm2):
    """Two stages whose scores of whatever they see spread; nothing is merged."""
    torch.manual_seed(0)
    shape = SwiftConfig(widths=(4, 8), head=8)
    networks = []
    for _ in range(2):
        network = build_network(shape)
        torch.nn.init.normal_(network.decision.weight, 0, 0.5)
        networks.append((network.eval(),))
    first = Stage(name="screening", network=shape, views="one", patch_px=32)
    config = DetectorConfig(
        frame=FrameConfig(stain="none"),
        proposer=GridProposer(stride_px=16, min_darkness=0.0),
        stages=(first, first.model_copy(update={"name": "refined", "per_mm2": per_mm2})),
        keep_above=0.0, merge_um=0.0, suppress_um=0.0,
    )  # fmt: skip
    return Detector(config=config, networks=tuple(networks))


def test_an_unlabelled_slide_of_a_validation_case_changes_nothing(tmp_path):
    """Detector, thresholds and what was found are those without it, byte for byte: nothing can be judged on it."""
    whole = a_cohort(tmp_path / "cohort", cases=2, slides_per_case=2)
    bare = whole.with_entries(lambda entry: replace(entry, labelled=entry.slide_id != "c1_s1"))
    marks = whole.annotations[whole.annotations.slide_id != "c1_s1"]
    without = Cohort(whole.folder, tuple(e for e in whole.slides if e.slide_id != "c1_s1"), marks)
    fold = Fold(train=("c0",), validation=("c1",), test=())
    torch.manual_seed(0)
    detector, made = a_detector("screening", "refined"), []
    for number, cohort in enumerate((bare, without)):
        run = tmp_path / f"run{number}"
        job = Job(cohort=cohort, fold=fold, run=RunFolder(run), compute=Compute.choose("cpu"))
        choose_thresholds(job, "detector", detector, ThresholdRule(gates=(0.0, 0.5)))
        made.append(files_of(run))
    assert made[0] == made[1]
    assert {"detector/detector.toml", "detector/reference.json", "validation/detections.csv"} <= set(made[0])


def test_one_stage_has_no_gate(job, detected):
    """A rule with a gate serves its operating threshold alone; a recipe of one stage cannot ask for a gate."""
    assert chosen(job, ThresholdRule(gate=0.9, operating=0.85), "refined") == (0.85,)
    assert chosen(job, OperatingRule(operating=0.5), "refined", folder="detector-other") == (0.5,)
    assert detected == [(0.85,), (0.5,)]
    with pytest.raises(ValidationError):
        OperatingRule(gate=0.2)


def test_a_detector_that_is_whole_is_not_chosen_for_again(job, detected):
    """Repeated, it is loaded."""
    first = chosen(job, ThresholdRule(operating=0.6, gate=0.2), "screening", "refined")
    assert chosen(job, ThresholdRule(operating=0.7, gate=0.3), "screening", "refined") == first
    assert len(detected) == 1


@pytest.mark.parametrize(
    ("rule", "stages", "operating"),
    [
        (ThresholdRule(gate=0.2, operating=0.85), ("screening",), 0.2),
        (ThresholdRule(gate=0.2, operating="validation"), ("screening",), "validation"),
        (ThresholdRule(gate=0.2, operating=0.85), ("refined",), 0.85),
        (ThresholdRule(gate=0.2, operating=0.85), ("screening", "refined"), 0.85),
    ],
)
def test_the_screening_network_alone_operates_at_its_gate(rule, stages, operating):
    """Unless validation is asked: a row of the paper's table 4 is then chosen as the others are."""
    assert _rule_of(ChsNetRecipe(thresholds=rule), stages).operating == operating


def test_without_validation_cases_the_numbers_are_set_and_nothing_is_detected(job, detected):
    """The detector is whole, and no file says that something was found on validation."""
    bare = replace(job, fold=replace(job.fold, validation=()))
    assert chosen(bare, ThresholdRule(gate=0.2, operating=0.6), "screening", "refined") == (0.2, 0.6)
    assert detected == []
    assert not (job.run.path / "validation").exists()


def test_a_rule_says_what_it_takes_from_validation():
    """By key; numbers are none of it, and a rule of one threshold has no gate to tell of."""
    assert ThresholdRule().chosen == ("gate", "operating")
    assert ThresholdRule(gate=0.2).chosen == ("operating",)
    assert ThresholdRule(gate=0.2, operating=0.5).chosen == ()
    assert OperatingRule().chosen == ("operating",)
    assert OperatingRule(operating=0.5).chosen == ()
