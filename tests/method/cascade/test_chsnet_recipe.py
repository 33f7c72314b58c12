"""CHS-NET's parts on a cohort of four small synthetic slides: what is mined, by whom, and what is left out."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from lessons import hardest_first, rows_shown
from mitosieve import Cohort, Detector, Split
from mitosieve.cohort.split import Fold
from mitosieve.export.table import read_detections
from mitosieve.method.cascade.chsnet import _lesson, frame_store, gather_patches, learn_screening, mine, train_refined
from mitosieve.method.cascade.mining import Mixture, _scorers
from mitosieve.network.compute import Compute
from mitosieve.patch import frames
from mitosieve.patch.frames import fit_target
from mitosieve.patch.index import Origin
from mitosieve.recipe.recipe import load_recipe
from mitosieve.run.folder import RunFolder
from mitosieve.score.evaluation import choose_threshold
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.tile_reader import survey
from mitosieve.train.job import Job
from mitosieve.train.parts import inner_parts
from mitosieve.train.places import Places
from mitosieve.train.pool import render_frames
from mitosieve.train.scores import PoolScores
from mitosieve.train.start import Start
from tiny import SETTINGS, SHORTER, a_cohort, a_run, a_split, mitosieve, training, without_test_cases

CPU = Compute(device="cpu", precision="32-true")


def a_job(folder, *settings, recipe="chsnet-small"):
    """A recipe and a job on fold A, with nothing done yet."""
    cohort, fold = Cohort.load(a_cohort()), Split.load(a_split()).fold("A")
    job = Job(cohort=cohort, fold=fold, run=RunFolder(folder), compute=CPU)
    return load_recipe(recipe, [*SETTINGS, *SHORTER, *settings]), job


def test_only_training_slides_are_in_the_pool(tmp_path):
    """No slide of a validation or test case gives a patch to train on, and none of a test case is rendered at all."""
    recipe, job = a_job(tmp_path)
    patches = gather_patches(recipe, job, frame_store(recipe, job))
    cases = {entry.slide_id: entry.case_id for entry in job.cohort.slides}
    assert {cases[str(name)] for name in patches.train.index.slide_id} == set(job.fold.train)
    rendered = {cases[path.stem] for path in (tmp_path / "frames").glob("*.npy")}
    assert rendered == {*job.fold.train, *job.fold.validation}


def test_stain_is_that_of_the_training_slides_alone(tmp_path):
    """Fitted on their pixels; with those of validation slides it would be another."""
    recipe, job = a_job(tmp_path, 'frame.stain="macenko"')
    store = frame_store(recipe, job)
    render_frames(job, store)

    def fitted(cases):
        names = [entry.slide_id for entry in job.cohort.of_cases(cases).slides]
        profile = fit_target([partial(job.cohort.open, name) for name in names], store.tissue)
        return np.vstack([profile.matrix, profile.max_concentration])

    kept = store.load_target()
    kept = np.vstack([kept.matrix, kept.max_concentration])
    np.testing.assert_allclose(kept, fitted(job.fold.train), rtol=1e-9)
    assert not np.allclose(kept, fitted((*job.fold.train, *job.fold.validation)), rtol=1e-4)


def test_slides_are_learned_as_they_will_be_detected(tmp_path, monkeypatch):
    """Training's frames and the detector's own tell tissue from glass by one rule: a slide has one look in both."""
    monkeypatch.setattr(frames, "SMALL_PX", 0)  # as large slides are seen, by a sample of their tissue
    recipe, job = a_job(tmp_path, 'cascade.proposer.tissue="glass"', 'frame.stain="macenko"')
    store = frame_store(recipe, job)
    gather_patches(recipe, job, store)
    name = job.cohort.of_cases(job.fold.train).slides[0].slide_id
    plan = Plan(frame=recipe.frame, proposer=recipe.cascade.proposer, views=(recipe.view,), reach_um=0.0,
                stain_target=store.load_target())  # fmt: skip
    with job.cohort.open(name) as slide:
        seen = survey(slide, plan).look
        shown = frames.render(slide, slide.bounds, mpp=recipe.frame.mpp, margin_px=store.margin_px, look=seen).pixels
    assert np.array_equal(store.frame(name).pixels, shown)
    assert store.tissue == "glass"
    assert frame_store(*a_job(tmp_path)).tissue == "otsu"


def test_training_does_not_need_the_test_images(tmp_path):
    """With the test images gone a training ends as if they were there: they were never opened."""
    folder = without_test_cases(a_cohort(), a_split(), tmp_path / "cohort")
    told = mitosieve(*training(tmp_path / "run", *SHORTER, cohort=folder))
    assert told.code == 0, told.err


def test_a_figure_has_42_variants_in_the_paper_recipe(tmp_path):
    """(1 + 5) translations times (1 + 6) rotations, in the index, each within 16 px of the mark."""
    recipe, job = a_job(tmp_path, recipe="chsnet-paper")
    patches = gather_patches(recipe, job, frame_store(recipe, job))
    index = patches.train.index
    figures = job.cohort.of_cases(job.fold.train).counts()["figures"]
    assert len(patches.train.figures) == 42 * figures
    assert (index.angle_deg[index.with_origin(Origin.BACKGROUND)] == 0).all()
    assert patches.validation.index.count()["figure"] == job.cohort.of_cases(job.fold.validation).counts()["figures"]


def test_table_2_adds_up():
    """TP + FN are the figures, FP + TN the background windows, and the shares follow from the counts."""
    row = json.loads((a_run() / "mining.json").read_text())["rounds"][0]
    count = json.loads((a_run() / "patches.json").read_text())["train"]
    assert row["TP"] + row["FN"] == count["figure"]
    assert row["FP"] + row["TN"] == count["background"]
    assert row["recall_positive"] == row["TP"] / count["figure"]
    assert row["recall_negative"] == row["TN"] / count["background"]


def test_false_positives_are_background_above_the_threshold():
    """FP of the table is the number of background rows whose mined score exceeds the mining threshold, and no other."""
    row = json.loads((a_run() / "mining.json").read_text())["rounds"][0]
    patch_id = Places.load(a_run() / "places" / "train.parquet").index.patch_id
    score = PoolScores.load(a_run() / "mining-scores.parquet", patch_id).score
    assert int((score > row["threshold"]).sum()) == row["FP"] + row["TP"]
    assert np.isfinite(score).all()


def test_out_of_fold_scores_come_from_networks_that_have_not_seen_the_case(tmp_path):
    """Every row is scored once, and no network has trained on a row of the case that it scores."""
    recipe, job = a_job(tmp_path, "mining.scores=out-of-fold", "mining.folds=2")
    job = Job(
        cohort=job.cohort,
        fold=Fold(train=job.cohort.cases[:3], validation=job.cohort.cases[3:], test=()),
        run=job.run,
        compute=CPU,
    )
    patches = gather_patches(recipe, job, frame_store(recipe, job))
    cases = job.cohort.case_of
    part = inner_parts(patches.train.index.slide_id, cases, 2, recipe.seed)
    case = np.array([cases[str(name)] for name in patches.train.index.slide_id])
    assert all(len(set(part[case == name])) == 1 for name in set(case))
    apart = partial(learn_screening, recipe, job, patches)
    with rows_shown() as shown:
        parts = _scorers(recipe.mining, job, patches.train, None, apart, recipe.seed)
    scored = np.concatenate([rows for rows, _ in parts])
    assert sorted(scored) == list(range(len(patches.train.index)))
    for number, (rows, network) in enumerate(parts):
        assert set(part[rows]) == {number}
        assert set(part[shown[f"screening without part {number + 1}"]]) == {1 - number}
        assert network is not None


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("cascade.enabled=false", ("refined",)),
        ("mining.enabled=false", ("screening", "refined")),
        ("mining.kind=random", ("screening", "refined")),
        ("refined_start=screening", ("screening", "refined")),
        ("loss.kind=focal", ("screening", "refined")),
        ("network.fusion=B", ("screening", "refined")),
    ],
)
def test_each_component_switches(tmp_path, setting, stages):
    """Cascade, mining, loss, fusion and start each change alone, and a detector of the right stages comes out."""
    told = mitosieve(*training(tmp_path / "run", *SHORTER, setting))
    assert told.code == 0, told.err
    assert Detector.load(tmp_path / "run").stage_names == stages


def test_parts_are_detectors_of_the_same_networks():
    """With parts_too the networks alone are detectors too, of the very weights of the cascade."""
    whole = Detector.load(a_run())
    for number, name in enumerate(("screening", "refined")):
        alone = Detector.load(a_run() / f"detector-{name}-alone")
        assert alone.stage_names == (name,)
        assert alone.config.stages[0].sha256 == whole.config.stages[number].sha256


def test_parts_change_nothing_else(tmp_path):
    """parts_too adds folders; the detector is the same bytes as without."""
    assert mitosieve(*training(tmp_path / "run")).code == 0
    for path in (a_run() / "detector").iterdir():
        assert (tmp_path / "run" / "detector" / path.name).read_bytes() == path.read_bytes()


def test_the_threshold_is_the_best_on_validation():
    """The last stage's threshold is what choose_threshold says of the validation detections, to their six digits."""
    cohort, fold = Cohort.load(a_cohort()), Split.load(a_split()).fold("A")
    found = read_detections(a_run() / "validation" / "detections.csv")
    best = choose_threshold(found, cohort, cases=fold.validation)
    assert Detector.load(a_run()).config.threshold == pytest.approx(best.threshold, abs=2e-6)


def test_the_refined_network_sees_survivors_only():
    """What the cascade reports passed the gate: no detection has a screening score below it."""
    found = read_detections(a_run() / "validation" / "detections.csv")
    gate = Detector.load(a_run()).config.stages[0].threshold
    assert found.stage_names == ("screening", "refined")
    assert (found.stage_score[:, 0] >= gate - 1e-6).all()


def test_the_first_batch_of_a_start_is_what_it_is_most_wrong_about(tmp_path):
    """Of figures, and of background, by the scores that are kept."""
    recipe, job = a_job(tmp_path)
    job = replace(job, start=Start.load(str(a_run())))
    patches = gather_patches(recipe, job, frame_store(recipe, job))
    index = patches.train.index
    lesson = _lesson(recipe, job, patches, "screening", Mixture.screening(patches.train, recipe.screening_ratio))
    score = PoolScores.load(job.file("start/screening.parquet"), index.patch_id).score
    assert hardest_first(lesson.feed.sampler.rows(0), index.label, score)


def test_the_ordinary_cascade_shows_the_refined_network_survivors_alone(tmp_path):
    """Every row that it is fed is scored above the mining threshold; the control is fed others too."""
    fed = {}
    for kind in ("survivors", "random"):
        recipe, job = a_job(tmp_path / kind, f"mining.kind={kind}")
        patches = gather_patches(recipe, job, frame_store(recipe, job))
        score = np.linspace(0, 0.5, len(patches.train.index), dtype=np.float32)[::-1]  # figures stand first
        PoolScores(patch_id=patches.train.index.patch_id, score=score).save(job.file("mining-scores.parquet"))
        job.file("mining.json").write_text("{}")
        passed = mine(recipe, job, patches, None)
        assert passed.tolist() == np.flatnonzero(score > 0.2).tolist()
        with rows_shown() as shown:
            train_refined(recipe, job, patches, None, passed)
        fed[kind] = set(shown["refined"].tolist()) <= set(passed.tolist())
    assert fed == {"survivors": True, "random": False}
