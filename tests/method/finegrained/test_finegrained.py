"""Recipe finegrained: places and their kinds, trials that never see what they must not, a training of seconds."""

import json
import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from torch import nn

from mitosieve import Cohort, Detector, Split
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import SlideEntry
from mitosieve.errors import TrainingError
from mitosieve.export.table import read_detections
from mitosieve.method.finegrained.method import cap_report, gather, hidden_slides, partition
from mitosieve.method.finegrained.recipe import FineGrainedRecipe
from mitosieve.method.finegrained.regime import Regime, Trial
from mitosieve.method.finegrained.task import TrialTask, parts_of, pool_of
from mitosieve.method.finegrained.trial import _by_source, _lesson, peaks, rows_of, run_trial, used_of
from mitosieve.network.compute import Compute
from mitosieve.network.registry import build_network, save_weights
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.recipe.recipe import load_recipe
from mitosieve.run.folder import RunFolder
from mitosieve.train.job import Job
from mitosieve.train.places import Places
from mitosieve.train.pool import crop_rooms
from mitosieve.train.sampler import RatioSampler
from mitosieve.train.scores import PoolScores
from searched import SETTINGS, a_cohort, training
from tiny import ONE_CORE, files_of, mitosieve, start, without_test_cases


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("finegrained") / "cohort")


def train(cohort, out, *more):
    return mitosieve(*training(cohort, out, *more))


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("finegrained-run") / "run"
    told = train(cohort, out)
    assert told.code == 0, told.err
    assert "chosen" in told.out
    return out


def a_recipe(*more) -> FineGrainedRecipe:
    recipe = load_recipe("finegrained-small", [*SETTINGS, *more])
    assert isinstance(recipe, FineGrainedRecipe)
    return recipe


def a_job(cohort, folder, fold="A"):
    whole = Cohort.load(cohort)
    split = Split.load(cohort / "split.json")
    return Job(cohort=whole, fold=split.fold(fold), run=RunFolder(folder), compute=Compute.choose("cpu"))


def a_task(recipe, job, regime=None, **more):
    task = TrialTask(
        job=job,
        recipe=recipe,
        folder="t",
        network=recipe.network,
        schedule=recipe.trial,
        regime=Regime() if regime is None else regime,
        scores=None,
        seed=1,
    )
    return replace(task, **more)


@pytest.mark.parametrize("with_negatives", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_crops_have_their_share_of_both_classes(share, with_negatives):
    """A share of 0 is of whole slides alone, of 1 of crops; where crops have one class they come as they are, unless
    they are to stay out.
    """
    names = np.array(["s", "s", "c", "c", "s", "c"])
    figures, negatives = np.array([0, 2, 3]), np.array([1, 4, 5] if with_negatives else [1, 4])
    task = SimpleNamespace(recipe=SimpleNamespace(crop_share=share))
    train = SimpleNamespace(index=SimpleNamespace(slide_id=names), reader=SimpleNamespace(rooms={"c": None}))
    kinds, ratio = _by_source(task, SimpleNamespace(figures=figures, negatives=negatives), train)
    dealt = {name: rows.tolist() for name, rows in kinds.items()}
    assert {"figures", "negatives"} <= set(RatioSampler(kinds, ratio, batch_size=8, seed=1).count)
    if share == 0:
        assert dealt == {"figures": [0], "negatives": [1, 4]}
    elif not with_negatives:
        assert dealt == {"figures": [0, 2, 3], "negatives": [1, 4]}
    elif share == 1:
        assert dealt == {"figures": [2, 3], "negatives": [5]}
    else:
        assert dealt["figures of crops"] == [2, 3]
        assert ratio == {"figures": 0.75, "figures of crops": 0.25, "negatives": 0.75, "negatives of crops": 0.25}


def test_a_detector_of_one_stage_and_the_curve(run):
    """The detector is one stage of all members; every regime has a trial a seed; the chosen one is the best."""
    detector = Detector.load(run)
    assert detector.stage_names == ("network",)
    assert [len(networks) for networks in detector.networks] == [2]
    content = json.loads((run / "regimes.json").read_text())
    trials = [Trial.from_json(trial) for trial in content["rounds"][0]["trials"]]
    assert sorted((trial.regime.labelled, trial.seed) for trial in trials) == [(0.5, 1), (0.5, 2), (1.0, 1), (1.0, 2)]
    means = {score["regime"]["labelled"]: score["mean"] for score in content["rounds"][0]["regimes"]}
    assert content["chosen"]["mean"] == max(means.values())
    counts = content["partition"]
    whole = next(score for score in content["rounds"][0]["regimes"] if score["regime"]["labelled"] == 1)
    assert whole["patches"] == sum(counts.values()) - content["cap"]["dropped"]
    assert whole["used_fraction"] == whole["patches"] / sum(counts.values())
    half = next(score for score in content["rounds"][0]["regimes"] if score["regime"]["labelled"] == 0.5)
    assert half["patches"] < whole["patches"]
    places = Places.load(run / "places" / "train.parquet")
    assert np.isfinite(PoolScores.load(run / "scores-round-1.parquet", places.index.patch_id).score).all()
    assert not (run / "frames").exists()


@pytest.mark.long
def test_killed_and_resumed_side_by_side(cohort, run, tmp_path):
    """Trials in processes, killed as soon as some are done, resumed: the bytes of a run that did one after another in
    peace, whatever the test cases are; and no finished trial is trained again.
    """
    out, blind = tmp_path / "run", without_test_cases(cohort, cohort / "split.json", tmp_path / "cohort")
    command = (*training(blind, out), "--workers", 2)
    process = start(*command, start_new_session=True)
    trials = out / "trials" / "round-1"
    while process.poll() is None and not any(trials.glob("*/result.json")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in trials.glob("*/networks/*") if is_done(path)}
    assert done
    told = mitosieve(*command, "--resume")
    assert told.code == 0, told.err
    assert files_of(out) == files_of(run)
    assert {path: path.stat().st_mtime_ns for path in done} == done


def is_done(weights):
    return (weights.parents[1] / "result.json").exists()


def test_a_used_fraction_is_of_what_can_be_used(cohort, tmp_path):
    """Of figures, imposters and candidates: proposals near a figure are neither, and all others are all of them."""
    recipe, job = a_recipe("truth.apart_um=40"), a_job(cohort, tmp_path)
    gather(recipe, job)
    train = pool_of(a_task(recipe, job), "train")
    assert len(train.places.with_origin(Origin.NEAR)) > 0
    for regime, least in ((Regime(), 1.0), (Regime(labelled=0.5, unlabelled=0.0), 0.0)):
        task = a_task(recipe, job, regime)
        patches, fraction = used_of(task, rows_of(task, train), train.places)
        assert fraction == patches / sum(partition(job).values())
        assert least <= fraction <= 1


def test_places_are_those_of_the_file_as_it_is_now(cohort, tmp_path):
    """In one process a second training into the same folder learns from its own marks."""
    recipe, job = a_recipe(), a_job(cohort, tmp_path)
    gather(recipe, job)
    before = pool_of(a_task(recipe, job), "train").places
    path = job.file("places/train.parquet")
    before[np.arange(len(before) // 2)].save(path)
    assert len(pool_of(a_task(recipe, job), "train").places) == len(before) // 2


def test_a_finished_trial_is_not_repeated(cohort, run, tmp_path):
    """Where a result is, the trial is answered from it, even though its network could not be trained again."""
    recipe, job = a_recipe(), a_job(cohort, run)
    done = next((run / "trials" / "round-1").iterdir())
    task = a_task(recipe, job, folder=str(done.relative_to(run)), scores="gone.parquet")
    assert run_trial(task) == Trial.from_json(json.loads((done / "result.json").read_text()))


def test_a_trial_that_finds_nothing_has_an_f1_of_nothing(cohort, tmp_path):
    """A network that calls no cell a figure is the worst of a search and does not end it."""
    recipe, job = a_recipe(), a_job(cohort, tmp_path)
    gather(recipe, job)
    task = a_task(recipe, job)
    blind = build_network(task.network)
    nn.init.constant_(blind.decision.bias, -50)
    task.weights.parent.mkdir(parents=True)
    save_weights(blind, task.weights)
    trial = run_trial(task)
    assert (trial.f1, trial.threshold) == (0, 1)
    assert run_trial(task) == trial


def test_no_patch_of_a_held_out_slide_is_in_any_pool(cohort, tmp_path):
    """Training places are of training cases, validation places of validation cases, and no test slide is anywhere."""
    recipe, job = a_recipe(), a_job(cohort, tmp_path)
    gather(recipe, job)
    case = {entry.slide_id: entry.case_id for entry in job.cohort.slides}
    for part, cases in (("train", job.fold.train), ("validation", job.fold.validation)):
        places = Places.load(tmp_path / "places" / f"{part}.parquet")
        assert {case[str(name)] for name in places.index.slide_id} == set(cases)
    rendered = {path.stem for path in (tmp_path / "frames").glob("*.npy")}
    assert not rendered & {name for name, case_id in case.items() if case_id in job.fold.test}


def test_what_a_trial_draws_from(cohort, tmp_path):
    """Figures of the seen parts, imposters as often as they weigh, unlabelled places whichever part is left out."""
    recipe, job = a_recipe(), a_job(cohort, tmp_path)
    gather(recipe, job)
    train = pool_of(a_task(recipe, job), "train")
    origin = train.places.index.origin
    part_of = parts_of(a_task(recipe, job), train.places, 2)
    assert set(part_of[origin == Origin.UNLABELLED.value]) == {-1}
    slides = train.places.index.slide_id
    assert all(len(np.unique(part_of[slides == name])) == 1 for name in np.unique(slides))
    for part in range(2):
        task = a_task(recipe, job, Regime(imposter_weight=3), without=(part, 2))
        rows = rows_of(task, train)
        assert (part_of[rows.figures] != part).all()
        assert (part_of[rows.negatives] != part).all()
        times = np.bincount(rows.negatives, minlength=len(origin))
        seen = part_of != part
        assert (times[(origin == Origin.IMPOSTER.value) & seen] == 3).all()
        assert (times[(origin == Origin.BACKGROUND.value) & seen] == 1).all()
        assert (times[origin == Origin.UNLABELLED.value] == 1).all()
        assert (times[np.isin(origin, [Origin.FIGURE.value, Origin.NEAR.value])] == 0).all()
        assert rows.used.sum() == len(rows.figures) + len(np.unique(rows.negatives))


def test_peaks_by_brute_force():
    """A row is a peak where no row of its slide that ranks higher and is a peak itself lies within the radius."""
    generator = np.random.default_rng(5)
    names = np.repeat(["a", "b"], 40)
    center = generator.uniform(0, 120, (80, 2))
    index = PatchIndex.concatenate(
        [
            PatchIndex.of(slide_id=name, center_l0=center[names == name], origin=Origin.BACKGROUND, mpp=0.25)
            for name in ("a", "b")
        ]
    )
    places = Places.of_index(index)
    score = generator.integers(0, 6, 80) / 5
    mpp = {"a": 0.25, "b": 0.5}
    found = peaks(places, np.arange(80), score, mpp, 7.5)
    for name in ("a", "b"):
        rows = np.flatnonzero(names == name)
        kept = []
        for row in sorted(rows, key=lambda row: (-score[row], row)):
            if all(np.linalg.norm(center[row] - center[other]) * mpp[name] >= 7.5 for other in kept):
                kept.append(row)
        assert sorted(kept) == np.flatnonzero(found & (names == name)).tolist()


def test_hidden_marks(cohort, tmp_path):
    """Hidden slides give unlabelled places alone; their figures are known to the report and to nothing else."""
    recipe, job = a_recipe("hidden=0.3"), a_job(cohort, tmp_path)
    notes = gather(recipe, job)
    hidden = hidden_slides(recipe, job)
    assert len(hidden) == 2  # of 4 labelled training slides, 0.3 rounded up
    assert any("hidden" in note for note in notes)
    places = Places.load(tmp_path / "places" / "train.parquet")
    mine = np.isin(places.index.slide_id, list(hidden))
    assert set(places.index.origin[mine]) == {Origin.UNLABELLED.value}
    assert places.index.label[mine].sum() == 0
    assert places.hidden_figure[mine].sum() > 0
    assert not places.hidden_figure[~mine].any()
    told = cap_report(a_task(recipe, job, Regime(cap=0.0)), hidden=True)
    assert told["dropped"] == told["of"] == partition(job)["unlabelled"]
    assert told["hidden_figures_dropped"] == told["hidden_figures"] == int(places.hidden_figure.sum())


def test_rooms_are_of_crops_alone(tmp_path):
    """Only a slide with a side of less than three patches is a crop; its room is its lattice."""
    entries = tuple(
        SlideEntry(slide_id=f"s{w}", path="", case_id="c", domain="d", mpp=0.25, width_l0=w, height_l0=500)
        for w in (128, 203, 204, 0)
    )
    rooms = crop_rooms(Cohort(tmp_path, entries, Annotations.empty()), 0.25, 17)
    assert rooms == {"s128": (-0.5, -0.5, 127.5, 499.5), "s203": (-0.5, -0.5, 202.5, 499.5)}


def test_crops_have_negatives_of_their_own_and_one_share_of_both_classes(cohort, tmp_path):
    """Patches of crops fit inside, their corners are background, and half of both classes of a batch is of crops."""
    whole = Cohort.load(cohort)
    marks = whole.annotations.with_label(Label.MITOTIC_FIGURE)
    inside = np.flatnonzero(((marks.center_l0 > 64) & (marks.center_l0 < 336)).all(axis=1))[:12]
    entries, centers = [], []
    for number in inside:
        x, y = np.round(marks.center_l0[number]).astype(int) - 64
        pixels = cv2.imread(str(whole.path_of(str(marks.slide_id[number]))))[y : y + 128, x : x + 128]
        path = tmp_path / "c" / f"crop{number}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), pixels)
        entries.append(
            SlideEntry(
                slide_id=f"crop{number}",
                path=path.name,
                case_id="crops",
                domain="other",
                mpp=0.25,
                width_l0=128,
                height_l0=128,
            )
        )
        centers.append((64.0, 64.0))
    own = Annotations.of(
        slide_id=[e.slide_id for e in entries], center_l0=centers, label=[Label.MITOTIC_FIGURE] * len(entries)
    )
    moved = whole.with_entries(lambda entry: replace(entry, path=str(cohort / entry.path)))
    both = Cohort(tmp_path / "c", moved.slides, moved.annotations).merged(Cohort(tmp_path / "c", tuple(entries), own))
    recipe, job = a_recipe(), a_job(cohort, tmp_path / "run")
    job = replace(job, cohort=both, fold=replace(job.fold, train=(*job.fold.train, "crops")))
    gather(recipe, job)
    train = pool_of(a_task(recipe, job), "train")
    of_crop = np.char.startswith(train.places.index.slide_id.astype(str), "crop")
    center, origin = train.places.index.center_l0[of_crop], train.places.index.origin[of_crop]
    assert (center >= 33.5).all()
    assert (center <= 93.5).all()
    apart = np.linalg.norm(center - 64, axis=1) * 0.25
    assert (origin == Origin.FIGURE.value).sum() >= 10
    assert (origin == Origin.BACKGROUND.value).sum() >= 40
    assert (apart[origin == Origin.BACKGROUND.value] > 7.5).all()
    sampler = _lesson(a_task(recipe, job), rows_of(a_task(recipe, job), train), train, train).feed.sampler
    rows = np.concatenate([sampler.rows(step) for step in range(4)])
    label = train.places.index.label[rows]
    assert of_crop[rows][label == 1].mean() == of_crop[rows][label == 0].mean() == 0.5


def test_it_detects(run, cohort, tmp_path):
    """The handed-over folder detects on slides, whatever made it."""
    images = sorted((cohort / "images").iterdir())[:1]
    told = mitosieve("detect", "--detector", run, *images, "--mpp", 0.25, "--out", tmp_path / "d", *ONE_CORE)
    assert told.code == 0, told.err
    assert read_detections(tmp_path / "d" / "detections.csv").stage_names == ("network",)


def test_controls_are_detectors_of_their_own(cohort, tmp_path):
    """A control is trained with the search's seeds and kept beside the chosen regime; votes are kept too."""
    control = 'controls=[{name = "random", choice = "random"}]'
    told = train(cohort, tmp_path / "run", control, 'ensemble.fusion="votes"', "ensemble.votes=2", "search.rounds=2")
    assert told.code == 0, told.err
    for name in ("detector-random", "detector-chosen"):
        assert len(Detector.load(tmp_path / "run" / name).networks[0]) == 2
    stage = Detector.load(tmp_path / "run").config.stages[-1]
    assert (stage.fusion, stage.votes) == ("votes", 2)
    content = json.loads((tmp_path / "run" / "regimes.json").read_text())
    assert [control["name"] for control in content["controls"]] == ["random"]
    assert len(content["rounds"]) == 2
    seen = any("may have seen them" in note for note in content["notes"])
    assert seen == any(score["regime"]["unlabelled"] > 0 for score in content["rounds"][1]["regimes"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("search.labelled=[1.2]", "search.labelled"),
        ("search.labelled=[0.5, 0.5]", "different values"),
        ("network.kernel_px=4", "kernel_px"),
        ("network.orientations=5", "orientations"),
        ("ensemble.votes=9", "votes"),
        ("trial.patch_visits=0", "patch_visits"),
        ("search.caps=[]", "caps"),
        ("hidden=1.5", "hidden"),
    ],
)
def test_impossible_recipes_are_refused(cohort, tmp_path, setting, said):
    """One message that names the key; nothing is begun."""
    told = train(cohort, tmp_path / "run", 'ensemble.fusion="votes"', "ensemble.votes=2", setting)
    assert told.code == 2
    assert said in told.err
    assert not (tmp_path / "run").exists()


def test_no_unlabelled_slides_and_no_imposters_are_said(cohort, tmp_path):
    """The regimes shrink: an axis with nothing to choose from is not searched, and the run says so."""
    whole = Cohort.load(cohort)
    marks = whole.annotations.with_label(Label.MITOTIC_FIGURE)
    Cohort(tmp_path / "c", whole.slides, marks).with_entries(
        lambda entry: replace(entry, path=str(cohort / entry.path))
    ).save()
    (tmp_path / "c" / "split.json").write_bytes((cohort / "split.json").read_bytes())
    told = train(tmp_path / "c", tmp_path / "run", "unlabelled=false", "search.imposter_weights=[1, 3]")
    assert told.code == 0, told.err
    assert "no unlabelled slide" in told.err
    assert "no imposter" in told.err
    content = json.loads((tmp_path / "run" / "regimes.json").read_text())
    assert {trial["regime"]["unlabelled"] for trial in content["rounds"][0]["trials"]} == {0.0}
    assert {trial["regime"]["imposter_weight"] for trial in content["rounds"][0]["trials"]} == {1}


def test_too_few_slides_for_the_parts(cohort, tmp_path):
    """A part whose absence leaves no figure is refused before anything is trained."""
    recipe, job = a_recipe("first.parts=2", "ensemble.members=20"), a_job(cohort, tmp_path)
    one = replace(job, fold=replace(job.fold, train=job.fold.train[:1]))
    with pytest.raises(TrainingError, match="too many for the training slides"):
        gather(recipe, one)


def test_one_case_only_is_said(cohort, tmp_path):
    """Its slides are the parts then, and the run says that scores of one patient's slides are too sure."""
    recipe, job = a_recipe(), a_job(cohort, tmp_path)
    labelled = next(case for case in job.fold.train if any(e.labelled for e in job.cohort.of_cases((case,)).slides))
    notes = gather(recipe, replace(job, fold=replace(job.fold, train=(labelled,))))
    assert any("one training case" in note for note in notes)
    assert any("no unlabelled slide" in note for note in notes)


def test_a_pool_smaller_than_a_batch(cohort, tmp_path):
    """Regimes that do not fill half a batch are left out and named; where none is left the run ends with a message."""
    told = train(
        cohort, tmp_path / "run", "search.labelled=[0.001]", "search.unlabelled=[0.0]", "search.imposter_weights=[0]"
    )
    assert told.code == 2
    assert "no regime keeps the" in told.err
    assert "list larger shares in search.labelled" in told.err
