"""Recipe sieve: who may see which patient, what is mined, where thresholds come from; a training of seconds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import an_image
from layouts import text
from lessons import rows_shown
from mitosieve import Cohort, Detector, Split, detect
from mitosieve.cohort.split import Fold
from mitosieve.errors import CohortError
from mitosieve.export.table import read_detections
from mitosieve.method.sieve.out_of_fold import whole_slides
from mitosieve.method.sieve.recipe import MiningRule
from mitosieve.method.sieve.task import mined_rows, parts_of_cases
from mitosieve.network.registry import build_network, load_weights
from mitosieve.patch.index import Origin
from mitosieve.recipe.recipe import load_recipe
from mitosieve.report.page import write_report
from mitosieve.score.evaluated import evaluate_folder
from mitosieve.score.operating import operating_points
from mitosieve.score.scored import Scored
from mitosieve.sieve.budget import gate_for
from mitosieve.slide.tissue import tissue_mask
from mitosieve.train import lesson
from mitosieve.train.appearance import looks_for
from mitosieve.train.places import Places
from mitosieve.train.scores import PoolScores
from tiny import ONE_CORE, a_cohort, a_split, files_of, mitosieve, without_test_cases

SETTINGS = (
    "parts=2",
    "refined.per_mm2=1000",
    "strong.per_mm2=500",
    "screening.train.patch_visits=320",
    "screening.train.batch_size=32",
    "screening.network.widths=[8, 8]",
    "screening.network.head=8",
    "refined.train.patch_visits=320",
    "refined.train.batch_size=32",
    "refined.network.widths=[8, 8]",
    "refined.network.blocks=1",
    "strong.train.patch_visits=320",
    "strong.train.batch_size=32",
    "strong.network.widths=[8, 8]",
    "strong.network.blocks=1",
)

STAGES = ("screening", "refined", "strong")


def train(out, *more, cohort=None, split=None, settings=()):
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    where = ["train", "sieve", a_cohort() if cohort is None else cohort, "--split", split or a_split(), "--fold", "A"]
    return mitosieve(*where, "--out", out, *ONE_CORE, *words, *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(run folder, rows that each network has learned from)."""
    out = tmp_path_factory.mktemp("sieve") / "run"
    with rows_shown() as shown:
        told = train(out)
    assert told.code == 0, told.err
    return out, shown


@pytest.fixture(scope="module")
def places(trained):
    return Places.load(trained[0] / "places" / "train.parquet")


def cases_of(places, rows):
    case_of = Cohort.load(a_cohort()).case_of
    return {case_of[str(name)] for name in places.index.slide_id[rows]}


def test_no_network_learns_from_the_part_that_it_judges(trained, places):
    """Each patient is left out by one network of each stage; together the networks have seen all."""
    _, shown = trained
    everyone = cases_of(places, np.arange(len(places)))
    apart = {f"{stage} without part {n}" for stage in STAGES for n in (1, 2)}
    assert set(shown) == {"screening", "refined"} | apart
    for stage in STAGES:
        unseen = [everyone - cases_of(places, shown[f"{stage} without part {number}"]) for number in (1, 2)]
        assert unseen[0] | unseen[1] == everyone
        assert not unseen[0] & unseen[1]
    for stage in ("screening", "refined"):
        assert cases_of(places, shown[stage]) == everyone


def of_domains(folder, domains):
    """The cohort with domains of its cases' own, by case."""
    shutil.copytree(a_cohort(), folder)
    cohort = Cohort.load(a_cohort())
    slides = tuple(replace(entry, domain=domains[entry.case_id]) for entry in cohort.slides)
    Cohort(folder, slides, cohort.annotations).save()
    return folder


def test_where_domains_are_dealt_no_network_has_seen_the_domain_that_it_judges(tmp_path, monkeypatch):
    """Patients of one domain are left out together, patches and looks: out-of-fold scores are of domains that nothing
    was learned of.
    """
    looked: list[set[str]] = []

    def looks_of(pool, kinds, *more):
        looked.append(cases_of(pool.places, np.concatenate(list(kinds))))
        return looks_for(pool, kinds, *more)

    monkeypatch.setattr(lesson, "looks_for", looks_of)
    fold = Split.load(a_split()).fold("A")
    learned = sorted({*fold.train, *fold.validation})
    domains = dict.fromkeys(fold.test, "other") | {case: f"d{min(i, 1)}" for i, case in enumerate(learned)}
    cohort = of_domains(tmp_path / "cohort", domains)
    with rows_shown() as shown:
        told = train(tmp_path / "run", cohort=cohort, settings=('dealt="domains"',))
    assert told.code == 0, told.err
    places = Places.load(tmp_path / "run" / "places" / "train.parquet")
    assert looked == [cases_of(places, rows) for rows in shown.values()]
    for stage in STAGES:
        seen = [cases_of(places, shown[f"{stage} without part {number}"]) for number in (1, 2)]
        assert sorted(sorted({domains[case] for case in cases}) for cases in seen) == [["d0"], ["d1"]]
        assert seen[0] | seen[1] == set(learned)


def test_too_few_domains_are_refused_with_how_many_there_are(tmp_path):
    cohort = of_domains(tmp_path / "cohort", dict.fromkeys(Cohort.load(a_cohort()).cases, "one"))
    told = train(tmp_path / "run", cohort=cohort, settings=('dealt="domains"',))
    assert told.code == 2
    assert "fills 1 of 2 parts: it has one to deal" in told.err


def test_what_chooses_no_threshold_is_refused_before_a_training(tmp_path, places):
    """Crops alone, and one patient with all figures: neither a network nor a frame is made."""
    rows = "".join(f"p{i}.png,{i},50,50,mitosis\n" for i in range(6))
    for i in range(6):
        an_image(tmp_path / "images" / f"p{i}.png", width=120, height=100, dots=[(50, 50)])
    text(tmp_path / "l.csv", "image,case,x,y,label\n" + rows)
    words = ("import", "points", tmp_path / "l.csv", tmp_path / "crops", "--images", tmp_path / "images", "--mpp", 0.25)
    assert mitosieve(*words).code == 0
    words = ("split", tmp_path / "crops", "--folds", 3, "--out", tmp_path / "s.json")
    assert mitosieve(*words).code == 0
    run = ("train", "sieve", tmp_path / "crops", "--split", tmp_path / "s.json", "--fold", "A", "--out", tmp_path / "r")
    told = mitosieve(*run, *ONE_CORE)
    assert told.code == 2
    assert "holds crops alone to learn from" in told.err
    assert not (tmp_path / "r" / "places").exists()
    wide = tmp_path / "images" / "w.png"
    an_image(wide, width=600, height=600)
    text(
        tmp_path / "n.csv", f"image,case,x,y,label\n{rows}" + "".join(f"w{i}.png,{i},300,300,other\n" for i in range(6))
    )
    for i in range(6):
        shutil.copy(wide, tmp_path / "images" / f"w{i}.png")
    words = ("import", "points", tmp_path / "n.csv", tmp_path / "both", "--images", tmp_path / "images", "--mpp", 0.25)
    told = mitosieve(*words, "--label", "other=imposter")
    assert told.code == 0, told
    run = ("train", "sieve", tmp_path / "both", *run[3:-1], tmp_path / "q")
    told = mitosieve(*run, *ONE_CORE)
    assert told.code == 2
    assert "has figures on crops alone (" in told.err
    assert not (tmp_path / "q" / "places").exists()
    recipe, cohort = load_recipe("sieve", ["parts=2"]), Cohort.load(a_cohort())
    case = np.array([cohort.case_of[str(name)] for name in places.index.slide_id])
    first = case[places.index.origin == Origin.FIGURE.value][0]
    with pytest.raises(CohortError, match=r"of 2 inner parts one holds all figures \(\d+\)"):
        parts_of_cases(recipe, cohort, places[np.flatnonzero((places.index.label == 0) | (case == first))])


def test_validation_cases_are_learned_from_and_test_cases_never_opened(trained, places, tmp_path):
    """The training's patients are those of train and validation; without the test
    cases' images, and with other marks of theirs, it ends the same.
    """
    run, _ = trained
    fold = Split.load(a_split()).fold("A")
    assert cases_of(places, np.arange(len(places))) == set(fold.train) | set(fold.validation)
    cohort = without_test_cases(a_cohort(), a_split(), tmp_path / "cohort")
    told = train(tmp_path / "blind", cohort=cohort)
    assert told.code == 0, told.err
    for below in ("networks", "detector", "out-of-fold", "places"):
        blind, seeing = (list(files_of(folder, below=below).values()) for folder in (tmp_path / "blind", run))
        assert blind
        assert blind == seeing


def test_unused_validation_stays_unseen(tmp_path):
    """validation = "unused": its patients are in no place file."""
    told = train(tmp_path / "run", settings=('validation="unused"',))
    assert told.code == 0, told.err
    fold = Split.load(a_split()).fold("A")
    found = Places.load(tmp_path / "run" / "places" / "train.parquet")
    assert cases_of(found, np.arange(len(found))) == set(fold.train)


def test_one_patient_to_learn_from_is_too_few(tmp_path):
    """Each network leaves patients out, and of one nobody is left: told before anything is trained."""
    one, *others = Cohort.load(a_cohort()).cases
    fold = Fold(train=(one,), validation=(others[0],), test=tuple(others[1:]))
    split = Split(folds={"A": fold}).save(tmp_path / "split.json")
    told = train(tmp_path / "run", split=split, settings=('validation="unused"',))
    assert told.code == 2
    assert f"fills 1 of 2 parts: it has {one} to deal" in told.err
    assert "remedy: add patients\n" in told.err
    assert not (tmp_path / "run" / "networks").exists()


def test_every_slide_is_detected_by_the_networks_that_have_not_seen_its_patient(trained, places):
    """Put together by hand from the kept weights, they give the kept detections."""
    run, shown = trained
    cohort, whole = Cohort.load(a_cohort()), Detector.load(run)
    found = read_detections(run / "out-of-fold" / "detections.csv")
    for number in (1, 2):
        name = f"without part {number}"
        unseen = tuple(sorted(cases_of(places, np.arange(len(places))) - cases_of(places, shown[f"strong {name}"])))
        networks = tuple(
            (load_weights(build_network(stage.network), run / f"networks/{stage.name} {name}.safetensors"),)
            for stage in whole.config.stages
        )
        expected = detect(Detector(config=whole.config, networks=networks), cohort, cases=unseen)
        kept = found[np.isin(found.slide_id, [entry.slide_id for entry in cohort.of_cases(unseen).slides])]
        np.testing.assert_allclose(np.sort(kept.score), np.sort(expected.score), atol=1e-4)


def test_the_out_of_fold_score_says_that_it_is_none_of_test_cases(trained):
    """Its threshold was chosen on it: the run's page, which has no other score, says so beside it; so does a score that
    is made again.
    """
    run, _ = trained
    kept = json.loads((run / "out-of-fold" / "metrics.json").read_text())
    note = "threshold chosen on these detections, of training patients: an upper bound, no test score"
    assert note in kept["notes"]
    page = write_report(run, out=run.with_name("page.html")).read_text()
    assert page.index('class="card main"') < page.index(f"Note: {note}.") < page.index("Score: out-of-fold")
    cases = tuple({row["case_id"] for row in kept["per_slide"]})
    evaluate_folder(run / "out-of-fold", Cohort.load(a_cohort()), cases=cases, out=run.with_name("again.json"))
    assert json.loads(run.with_name("again.json").read_text())["notes"] == kept["notes"]


def test_points_are_those_of_the_out_of_fold_detections(trained):
    """sensitive <= balanced <= specific; balanced is the detector's threshold."""
    run, _ = trained
    detector, cohort, fold = Detector.load(run), Cohort.load(a_cohort()), Split.load(a_split()).fold("A")
    cases = tuple(sorted((*fold.train, *fold.validation)))
    curve = Scored.of(read_detections(run / "out-of-fold" / "detections.csv"), cohort, cases).sweep()
    points = detector.config.points
    assert points["sensitive"] <= points["balanced"] <= points["specific"]
    assert points == pytest.approx({name: at.threshold for name, at in operating_points(curve).items()}, abs=1e-5)
    assert detector.config.threshold == points["balanced"]
    assert detector.config.calibration is not None
    assert detector.reference is not None
    assert json.loads((run / "gate.json").read_text())["operating_points"] == points


def test_the_gates_keep_the_budgets(trained, places):
    """At most so many places a mm2 of the training slides' tissue pass each gate, and one more would not fit."""
    run, _ = trained
    detector, cohort = Detector.load(run), Cohort.load(a_cohort())
    names = set(map(str, places.index.slide_id))
    area = 0.0
    for entry in cohort.slides:
        if entry.slide_id in names:
            with cohort.open(entry.slide_id) as slide:
                area += np.count_nonzero(tissue_mask(slide.thumbnail(8.0), "glass")) * 64e-6
    passing = np.ones(len(places), dtype=bool)
    told = json.loads((run / "gate.json").read_text())
    for stage, per_mm2 in zip(detector.config.stages, (1000, 500), strict=False):
        score = PoolScores.load(run / f"out-of-fold/{stage.name}-scores.parquet", places.index.patch_id).score
        before, passing = passing, passing & (score >= stage.threshold)
        assert passing.sum() in (int(per_mm2 * area), before.sum())
        assert told[stage.name]["passing"] == passing.sum()
        assert told[stage.name]["figures_passing"] == (passing & (places.index.label == 1)).sum()


@given(st.lists(st.integers(0, 19), max_size=40), st.floats(0.1, 5), st.floats(0.1, 30))
def test_a_gate_lets_through_as_many_as_it_can(scores, area, per_mm2):
    """By brute force over all gates: no more than the budget, and no gate that keeps to it lets more through."""
    score = np.array(scores) / 20
    passing = int((score >= gate_for(score, area, per_mm2)).sum())
    possible = [int((score >= gate).sum()) for gate in (*score, 1.1)]
    assert passing == max(number for number in possible if number <= int(per_mm2 * area))


def test_the_hardest_share_of_each_source_is_mined(places):
    """By sorting: every source gives its share; the cap takes away what may be unmarked; the control as many."""

    background = np.flatnonzero(places.index.origin == "background")

    def mined(**more):
        return mined_rows(MiningRule(share=0.25, **more), background, score, source, np.random.default_rng(1))

    score = np.random.default_rng(0).random(len(places))
    source = np.array([("one", "two")[i % 3 == 0] for i in range(len(places))])
    known, hard = mined()
    np.testing.assert_array_equal(known, background)
    for name in ("one", "two"):
        rows = background[source[background] == name]
        hardest = set(sorted(rows, key=lambda row: -score[row])[: max(1, round(0.25 * len(rows)))])
        assert {row for row in hard if source[row] == name} == hardest
    capped, under = mined(cap=0.5)
    assert score[capped].max() < 0.5
    assert set(under) <= set(capped)
    _, control = mined(choice="random")
    assert len(control) == len(hard)
    assert set(control) != set(hard)


def test_side_by_side_and_after_a_kill_the_bytes_are_the_same(trained, tmp_path):
    """Two processes, one thread each; and a run whose second half is gone."""
    run, _ = trained
    assert train(tmp_path / "two", "--workers", "2").code == 0
    assert files_of(tmp_path / "two") == files_of(run)
    shutil.copytree(run, tmp_path / "cut")
    for gone in ("detector", "gate.json", "networks/strong without part 2.safetensors", "out-of-fold/score-counts.npz"):
        path = tmp_path / "cut" / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert train(tmp_path / "cut", "--resume").code == 0
    assert files_of(tmp_path / "cut") == files_of(run)
    for gone in ("detector", "gate.json"):  # killed after the detections were written
        path = tmp_path / "cut" / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert train(tmp_path / "cut", "--resume").code == 0
    assert files_of(tmp_path / "cut") == files_of(run)


def test_crops_choose_no_threshold():
    """In a crop a figure is where somebody put it: only whole slides are detected out of fold."""
    cohort = Cohort.load(a_cohort())
    first = cohort.slides[0].slide_id
    kept = whole_slides(cohort, tuple(cohort.cases), {first})
    assert {entry.slide_id for entry in kept.slides} == {e.slide_id for e in cohort.slides if e.labelled} - {first}
    assert first not in set(kept.annotations.slide_id)
