"""What is known of a detector: by its card, by its run, and where nothing says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mitosieve.models.box import folder_of
from mitosieve.models.card import read_card
from mitosieve.run.folder import hash_file
from mitosieve.scan.learnt import KnownDetector
from mitosieve.sieve.reference import Reference
from tiny import a_run, a_scan


def known(named, *, threshold=None, out=None):
    return KnownDetector.load(named, threshold=threshold, out=out).trust


def a_test(run: Path, *, digest: str, **other) -> Path:
    """The run's test part, as `detect` and `evaluate` leave it, with numbers of our own; `other` facts where asked."""
    test = Path(shutil.copytree(a_scan(), run / "test", dirs_exist_ok=True))
    metrics = json.loads((test / "metrics.json").read_text())
    metrics["pooled"] |= {"f1": 0.5, "f1_interval": [0.4, 0.6], "figures": 1, "cases": 2}
    (test / "metrics.json").write_text(json.dumps(metrics))
    facts = json.loads((test / "detect.json").read_text())
    (test / "detect.json").write_text(json.dumps({**facts, "detector_hash": digest, "threshold": 0.25, **other}))
    return test


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(a_run(), tmp_path / "my-run"))


def test_a_shipped_detector_is_known_by_its_card():
    """Data, patients, figures; the first score of the card with its interval."""
    trust = known("swift")
    assert trust.detector == "swift"
    assert trust.learnt_from.startswith("MITOS-ATYPIA-14 (human breast")
    assert trust.learnt_from.endswith("4 patients, 110 slides, 194 figures")
    assert (trust.f1, trust.f1_interval) == (0.677, (0.618, 0.728))
    assert "264 figures of 1 patient of MITOS-ATYPIA-14, held out, at threshold 0.632" in trust.f1_words
    assert trust.warnings == ()
    assert [said.split(":")[0] for said in known("swift", threshold=0.3).warnings] == ["low threshold"]


def test_a_score_that_is_not_the_detectors_own_says_so():
    """The shipped default has learned from the patient of its card's first score: words and summary.csv tell whose."""
    trust = known("default")
    assert trust.f1 is not None
    assert "by a like training without the patient" in trust.f1_words
    assert "by a like training without the patient" in trust.tested_on


def test_of_many_sources_the_names_and_sums_are_told():
    """The card has the rest: patients are counted once, and those that nobody knows are said to be there."""
    rows = [row for row in read_card(folder_of("sieve") / "card.toml").data if row.used == "training"]
    trust = known("default")
    assert trust.detector == "sieve"
    names = {name for row in rows for name in row.patients} - {"unknown"}
    told = f"(`mitosieve models sieve` says what each is), {len(names)} patients and unknown ones, "
    assert told + f"{sum(row.slides for row in rows):,} slides, " in trust.learnt_from
    assert all(row.source in trust.learnt_from for row in rows)
    assert len(trust.learnt_from) < 400


def test_a_detector_of_ones_own_says_what_it_learnt_from(run):
    """Numbers of its training cases, kept in its folder: synthetic tissue is told wherever the folder is taken."""
    trust = known(run)
    assert trust.detector == "my-run"
    assert trust.learnt_from.startswith("phantom scanner A")
    assert trust.is_synthetic
    assert trust.f1 is None
    assert trust.warnings[0].startswith("learnt from synthetic tissue")
    alone = Path(shutil.move(run / "detector", run.parent / "alone"))
    shutil.rmtree(run)
    assert known(alone).learnt_from == trust.learnt_from
    assert known(alone).detector == "alone"


def test_who_knows_slides_in_no_way_does_not_know_them(run):
    """Of a training on one slide nothing can be compared: that is told as where nothing was kept."""
    whole = KnownDetector.load(run)
    bare = replace(whole, detector=replace(whole.detector, reference=Reference(known={})))
    none = replace(whole, detector=replace(whole.detector, reference=None))
    assert [one.knows_its_slides for one in (whole, bare, none)] == [True, False, False]


def test_its_test_score_is_taken_where_it_is_its_own(run):
    """By the detector's hash; not of another detector, a broken file, or the slides that are being done."""
    digest = hash_file(run / "detector" / "detector.toml")
    test = a_test(run, digest=digest)
    for named in (run, run / "detector", str(run)):
        trust = known(named)
        assert (trust.f1, trust.f1_interval) == (0.5, (0.4, 0.6))
        assert trust.tested_on == "1 figure of 2 patients of its test part, at threshold 0.25"
    assert known(run, out=test).f1 is None
    (test / "metrics.json").write_text("{")
    assert known(run).f1 is None
    assert a_test(run, digest="other")
    assert known(run).f1 is None


def test_a_score_with_slides_that_it_has_not_seen_is_not_told(run):
    """Their figures count as missed: that is no score of what the detector finds."""
    test = a_test(run, digest=hash_file(run / "detector" / "detector.toml"))
    metrics = json.loads((test / "metrics.json").read_text())
    assert metrics["unseen"] == []
    (test / "metrics.json").write_text(json.dumps({**metrics, "unseen": ["s1"]}))
    assert (known(run).f1, known(run).tested_on) == (None, "")


@pytest.mark.parametrize("other", [{"part": None}, {"part": "train"}, {"part": "validation"}, {"fold": "B"}])
def test_a_score_of_other_cases_is_no_test_score(run, other):
    """What a folder called test says it did decides: all cases, those of another part or those of another fold are not
    those that the detector was kept from.
    """
    digest = hash_file(run / "detector" / "detector.toml")
    a_test(run, digest=digest)
    assert known(run).f1 == 0.5
    a_test(run, digest=digest, **other)
    assert (known(run).f1, known(run).tested_on) == (None, "")


@pytest.mark.parametrize("part", ["train", "validation"])
def test_scored_cases_are_held_against_those_of_the_run(run, part):
    """One scored case that the run learnt from, or chose on, and it is no score of the test part; nor is it where
    nobody says which cases the run was kept from.
    """
    test = a_test(run, digest=hash_file(run / "detector" / "detector.toml"))
    metrics = json.loads((test / "metrics.json").read_text())
    mark = json.loads((run / "run.json").read_text())
    row = dict(metrics["per_case"][0], case_id=mark["provenance"]["fold"][part][0])
    (test / "metrics.json").write_text(json.dumps({**metrics, "per_case": [*metrics["per_case"], row]}))
    assert known(run).f1 is None
    (test / "metrics.json").write_text(json.dumps(metrics))
    assert known(run).f1 == 0.5
    (run / "run.json").unlink()
    assert known(run).f1 is None


def test_a_detector_of_before_is_not_known(run):
    """No reference, no card, no test: nothing is guessed, least of all that it is not synthetic."""
    (run / "detector" / "reference.json").unlink()
    config = run / "detector" / "detector.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("reference_sha256")]
    config.write_text("\n".join(lines) + "\n")
    trust = known(run)
    assert (trust.learnt_from, trust.is_synthetic, trust.f1_words) == ("", None, "not measured")
