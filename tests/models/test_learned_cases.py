"""Whoever went on from a detector has learned what that has: also two trainings later, and by a refitted threshold."""

import shutil

import numpy as np
import pytest

from boxed import a_card, a_tiny_detector
from mitosieve import Cohort, Detector, Split
from mitosieve.cohort.split import Fold
from mitosieve.errors import FormatError
from mitosieve.models.box import detector_folder
from mitosieve.models.card import write_card
from mitosieve.models.learned_cases import LearnedCases, learned_cases
from mitosieve.review.adapted import adapt_detector
from mitosieve.review.log import DecisionLog
from mitosieve.review.result import FoundResult
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder
from reviewed_result import a_result, judge
from tiny import ONE_CORE, SWIFT_SHORT, SWIFT_SMALL, a_cohort, a_split, a_swift_run, mitosieve

WORDS = [word for setting in (*SWIFT_SMALL, *SWIFT_SHORT) for word in ("--set", setting)]
NOBODY_KNOWS = LearnedCases(cases=frozenset(), all_known=False)


def known(*cases):
    return LearnedCases(cases=frozenset(cases), all_known=True)


def a_training_run(folder, **provenance):
    """A run folder of a training with a tiny detector in it, and no more."""
    fold = {"name": "A", "train": ["a", "b"], "validation": ["v"], "test": ["t"]}
    facts = {"fold": fold, "recipe": {"method": "swift"}, **provenance}
    RunFolder.create(folder, facts, kind=layout.Kind.TRAIN, resume=False)
    a_tiny_detector().save(folder / "detector")
    return folder


def adapted(named, folder):
    """A detector with the threshold of sixty decisions about what it found."""
    score = np.linspace(0.05, 0.95, 60)
    points = {name: [(40.0 * n, 100.0, float(score[n])) for n in range(k, 60, 2)] for k, name in enumerate("st")}
    result = a_result(folder / "found", points, detector=Detector.load(named).digest)
    for row, value in enumerate(result.detections.score.tolist()):
        DecisionLog.beside(result.folder).append(
            judge(result, row, "figure" if value > 0.5 or row % 5 == 0 else "imposter")
        )
    adapt_detector(named, FoundResult.load(result.folder), folder / "adapted")
    return folder / "adapted"


def test_what_is_broken_is_said(tmp_path):
    """Not a traceback, nor other cases than it holds; of a detector in a run of another version nobody knows."""
    shutil.copytree(detector_folder("swift"), tmp_path / "run" / "detector")
    folder = tmp_path / "run" / "detector"
    (folder / "card.toml").unlink()
    (tmp_path / "run" / "run.json").write_text('{"format": 1}')
    assert learned_cases(folder) == LearnedCases(cases=frozenset(), all_known=False)
    cases = ("3", '"H03"', "[1]", "[]")
    for text in ("{}", "[]", *(f'{{"cases": {content}, "all_known": "yes"}}' for content in cases)):
        (folder / "learned.json").write_text(text)
        with pytest.raises(FormatError, match="learned"):
            learned_cases(folder)


def test_why_nobody_knows_is_true_of_a_copy_and_of_a_run_of_another_version(tmp_path):
    """The one lies in no run, the other in one that is there and not read: what `models` says is true of both."""
    run = a_training_run(tmp_path / "run")
    copy = shutil.copytree(run / "detector", tmp_path / "copy")
    (run / "run.json").write_text('{"format": 1}')
    for folder in (copy, run / "detector"):
        assert learned_cases(folder) == NOBODY_KNOWS
        told = mitosieve("models", folder)
        assert "its folder does not say, and lies in no run that this version reads" in told.out
        assert "copied" not in told.out


def test_a_start_of_a_start_is_not_judged_on(tmp_path):
    """Trained on some cases, then on another, then its threshold refitted: a third training may not be judged on the
    first cases, nor on the other; who copies any of its detectors out of the run carries that along.
    """
    fold = Split.load(a_split()).fold("A")
    cohort = Cohort.load(a_cohort()).of_cases(fold.test)
    shutil.copytree(a_cohort() / "images", tmp_path / "cohort" / "images")
    cohort.save(tmp_path / "cohort")
    second, start = tmp_path / "second", ("--start", a_swift_run())
    told = mitosieve("train", "swift-tune", tmp_path / "cohort", "--out", second, *ONE_CORE, *WORDS, *start)
    assert told.code == 0, told.err
    assert learned_cases(second) == known(*fold.train, *fold.test)
    third = adapted(shutil.copytree(second / "detector", tmp_path / "copy"), tmp_path)
    assert learned_cases(third) == learned_cases(second)
    for seen in (fold.train[0], fold.test[0]):
        others = tuple(case for case in Cohort.load(a_cohort()).cases if case != seen)
        split = Split(folds={"B": Fold(train=others[1:], validation=others[:1], test=(seen,))})
        where = ("--split", split.save(tmp_path / "split.json"), "--fold", "B", "--out", tmp_path / "run")
        told = mitosieve("train", "swift-tune", a_cohort(), *where, *ONE_CORE, *WORDS, "--start", third)
        assert told.code == 2
        assert "the start has trained on" in told.err
        assert seen in told.err
    assert not (tmp_path / "run").exists()


def test_where_nobody_can_tell_it_is_said(tmp_path):
    """A detector copied out of its run is no secret leak: the training says that nobody can tell, in its log too."""
    copy = shutil.copytree(a_swift_run() / "detector", tmp_path / "copy")
    assert learned_cases(copy) == NOBODY_KNOWS
    where = ("--split", a_split(), "--fold", "A", "--out", tmp_path / "run")
    told = mitosieve("train", "swift-tune", a_cohort(), *where, *ONE_CORE, *WORDS, "--start", copy)
    assert told.code == 0, told.err
    assert "nobody can tell all cases that" in told.err
    assert "nobody can tell all cases that" in (tmp_path / "run" / "log.txt").read_text()
    fold = Split.load(a_split()).fold("A")
    assert learned_cases(tmp_path / "run") == LearnedCases(cases=frozenset(fold.train), all_known=False)


@pytest.mark.parametrize(
    ("provenance", "learned"),
    [
        ({}, known("a", "b")),
        ({"recipe": {"method": "sieve", "validation": "learned"}}, known("a", "b", "v")),
        ({"recipe": {"method": "sieve", "validation": "unused"}}, known("a", "b")),
        ({"start": "0" * 64}, LearnedCases(cases=frozenset("ab"), all_known=False)),
    ],
)
def test_a_run_says_what_its_networks_have_learned_from(tmp_path, provenance, learned):
    """Its training cases; a recipe that learns from its validation cases, these too; of one of before with a start
    nobody can tell all. The run and each detector in it say the same.
    """
    run = a_training_run(tmp_path / "run", **provenance)
    assert learned_cases(run) == learned_cases(run / "detector") == learned_cases(str(run)) == learned


def test_a_card_says_the_patients_of_its_training(tmp_path):
    """Where it does not know them, nobody can tell."""
    folder = a_tiny_detector().save(tmp_path / "tiny")
    write_card(folder, a_card())
    assert learned_cases(folder) == known("p1")
    row = a_card().data[0].model_dump()
    write_card(folder, a_card(data=[{**row, "patients": ("unknown",)}]))
    assert not learned_cases(folder).all_known


def test_a_detector_adapted_before_this_was_kept_says_that_nobody_can_tell(tmp_path):
    """Inside a run too: it may be of another detector."""
    run = a_training_run(tmp_path / "run")
    new = adapted(run, tmp_path)
    assert learned_cases(new) == known("a", "b")
    (new / "learned.json").unlink()
    assert not learned_cases(shutil.copytree(new, run / "adapted")).all_known
    assert learned_cases(new) == NOBODY_KNOWS


def test_a_patient_is_known_however_the_case_is_written():
    """Readers of MITOS-ATYPIA-14 call the case of H03_00Aa 03, or H03: a fold that judges it was learned from."""
    learned = LearnedCases(cases=frozenset({"H03", "P-01", "q"}), all_known=True)
    frames = [("H03_00Aa", "03"), ("x", "p01"), ("y", "z")]
    assert learned.among({"03", "p01", "z"}, frames) == ["03 (there H03)", "p01 (there P-01)"]
    assert learned.among({"03", "z"}, [("x", "03"), ("y", "z")]) == []
    assert learned.among({"q", "H03"}, frames) == ["H03", "q"]
