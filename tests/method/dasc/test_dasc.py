"""Recipe dasc: a training of seconds from the command line to the audit and back, killed, repeated and taken apart."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lessons import rows_shown
from mitosieve import Cohort, Detector, Split
from mitosieve.annotation import Label
from mitosieve.audit.dasc_run import DascRun
from mitosieve.errors import RecipeError, TrainingError
from mitosieve.method.dasc.contrast import embed, label_parts
from mitosieve.method.dasc.method import choose_labels, find_verdicts, gather
from mitosieve.method.dasc.rules.memory import Memory
from mitosieve.method.dasc.verdicts import Verdicts
from mitosieve.network.config import ResNetConfig
from mitosieve.network.registry import load_weights
from mitosieve.network.resnet import ContrastNet, ResNetBody, ResNetCam
from mitosieve.patch.frames import FrameStore
from mitosieve.recipe.recipe import load_recipe, recipe_to_toml
from small_dasc import a_cohort, a_job, a_recipe, training
from tiny import files_of, mitosieve, start, without_test_cases

CONTROLS = 'controls=["search", "memory", "levels", "contrast"]'
PARTS = ("search", "memory", "levels", "contrast")
SHOWN = {}
"""Rows that each training of the run was shown, by its name."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Slides of train and validation cases; those of test cases are gone."""
    folder = a_cohort(tmp_path_factory.mktemp("dasc") / "cohort")
    whole, fold = Cohort.load(folder), Split.load(folder / "split.json").fold("A")
    for entry in whole.of_cases(fold.test).slides:
        whole.path_of(entry.slide_id).unlink()
    return folder


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    """Everything once, each part taken out once."""
    out = tmp_path_factory.mktemp("dasc") / "run"
    with rows_shown() as shown:
        told = mitosieve(*training(cohort, out, CONTROLS))
    SHOWN.update(shown)
    assert told.code == 0, told.err
    assert "lowest tenth" in told.out  # the balance of the negatives
    assert "level 1" in told.out  # the verdicts
    return out


@pytest.fixture
def copied(run, tmp_path):
    """A run that may be spoilt."""
    return shutil.copytree(run, tmp_path / "run")


def test_a_run_leaves_what_an_audit_reads(run, cohort):
    """Every file is of one patch index: all marks of the training cases once, and the negatives that were found."""
    audited = DascRun.load(run)
    labels = pd.read_parquet(run / "labels.parquet")
    assert audited.patch_id.tolist() == labels.patch_id.tolist()
    figures = Cohort.load(cohort).of_cases(Split.load(cohort / "split.json").fold("A").train).annotations
    assert (labels.origin == "figure").sum() == len(figures.with_label(Label.MITOTIC_FIGURE))
    assert audited.history.shape == (4, len(labels))
    assert np.isfinite(audited.history.astype(float)).all()  # each row is visited in each epoch
    memory = Memory.load(run)
    assert memory.seen.tolist() == [4] * len(labels)
    assert memory.counted.tolist() == [3] * len(labels)
    assert not (run / "frames").exists()
    assert not list((run / "checkpoint").rglob("*.safetensors"))
    told = json.loads((run / "negatives.json").read_text())
    assert {kind: told[kind]["kept"] for kind in ("figure", "imposter", "background")} == dict(
        labels.origin.value_counts()
    )
    counts = json.loads((run / "verdicts.json").read_text())
    for name, value in (("figures", 1), ("others", 0)):
        assert counts[name]["kept"] == audited.kept[audited.label == value].sum() > 0


def test_verdicts_follow_from_one_another(run):
    """Clean is level 0 and kept, hard has a level and is kept if it was learned, noise has none and is left out."""
    audited = DascRun.load(run)
    clean, hard, noise = (audited.verdict == name for name in ("clean", "hard", "noise"))
    assert (audited.level[clean] == 0).all()
    assert audited.kept[clean].all()
    assert (audited.level[hard] >= 1).all()
    assert (audited.kept[hard] == audited.learnable[hard]).all()
    assert (audited.level[noise] == -1).all()
    assert not audited.kept[noise].any()
    assert not audited.learnable[~hard].any()
    assert hard.any()


def test_no_label_is_of_another_case(run, cohort):
    """Labels and candidates of training are of training cases, those of validation of validation cases."""
    case = {entry.slide_id: entry.case_id for entry in Cohort.load(cohort).slides}
    fold = Split.load(cohort / "split.json").fold("A")
    for path in [*run.rglob("labels.parquet"), run / "places" / "train.parquet"]:
        assert {case[name] for name in pd.read_parquet(path).slide_id} == set(fold.train)
    validation = pd.read_parquet(run / "places" / "validation.parquet")
    assert {case[name] for name in validation.slide_id} <= set(fold.validation)


def test_what_each_network_has_seen(run):
    """Memory units all labels, levels the hard ones of a class, the classifier those that are kept."""
    labels, found = (pd.read_parquet(run / f"{name}.parquet") for name in ("labels", "verdicts"))
    expected = {"memory": np.ones(len(labels), dtype=bool), "classifier": found.kept}
    for name, value in (("figures", 1), ("others", 0)):
        if (run / "networks" / f"levels {name}.safetensors").exists():
            expected[f"levels {name}"] = (found.verdict == "hard") & (labels.label == value)
    assert len(expected) > 2
    for name, rows in expected.items():
        assert SHOWN[name].tolist() == np.flatnonzero(rows).tolist()


def test_out_of_fold_scores_are_of_networks_that_have_not_seen_the_case(run, course):
    """Each label is scored by one network, which was shown all cases but the label's own."""
    labels, score = (pd.read_parquet(run / f"{name}.parquet") for name in ("labels", "out-of-fold"))
    case = labels.slide_id.map({entry.slide_id: entry.case_id for entry in course.job.cohort.slides})
    by_whom = np.zeros(len(labels), dtype=int)
    for path in run.glob("networks/without part *.safetensors"):
        unseen = ~np.isin(np.arange(len(labels)), SHOWN[path.stem])
        assert not set(case[unseen]) & set(case[~unseen])
        network = load_weights(ResNetCam(course.shape(3)), path)
        own = course.pools.train.score(network, np.flatnonzero(unseen), course.job.compute)
        np.testing.assert_allclose(own, score.score[unseen], atol=1e-5)
        by_whom += unseen
    assert (by_whom == 1).all()


def test_the_detector_detects(run, cohort, tmp_path):
    """On slides, at the peak of its map, whatever made it."""
    detector = Detector.load(run)
    assert detector.stage_names == ("classifier",)
    assert detector.config.stages[-1].locate == "activation"
    image = Cohort.load(cohort).path_of(str(pd.read_parquet(run / "labels.parquet").slide_id[0]))
    told = mitosieve("detect", "--detector", run, image, "--mpp", 0.25, "--out", tmp_path / "d", "--threads", 1)
    assert told.code == 0, told.err


def test_a_finished_run_is_only_loaded(cohort, run, copied):
    """Repeated, nothing is written but what says how it was asked for."""
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    told = mitosieve(*training(cohort, copied, CONTROLS), "--resume")
    assert told.code == 0, told.err
    changed = {path.name for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed <= {"recipe.toml", "split.json", "machine.json", "versions.json", ".lock", "run.json", "log.txt"}
    assert files_of(copied) == files_of(run)


def test_the_last_stage_again(cohort, run, copied):
    """Its files deleted, it is trained again, to the same bytes; nothing else is."""
    for name in ("networks/classifier.safetensors", "history/classifier.json"):
        (copied / name).unlink()
    (copied / "embedding.npz").unlink()
    shutil.rmtree(copied / "detector")
    kept = {path: path.stat().st_mtime_ns for path in (copied / "networks").rglob("*.safetensors")}
    told = mitosieve(*training(cohort, copied, CONTROLS), "--resume")
    assert told.code == 0, told.err
    assert files_of(copied) == files_of(run)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_checkpoints_that_a_kill_spared_are_removed(cohort, run, copied):
    """Between a network and the deletion of its checkpoint: the run ends as if nothing had been."""
    done = [path.relative_to(copied / "networks") for path in (copied / "networks").rglob("*.safetensors")]
    for name in done:
        (copied / "checkpoint" / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / "checkpoint" / name).write_bytes(b"old")
    for path in copied.glob("detector*"):
        shutil.rmtree(path)
    for name in ("labels.parquet", "verdicts.parquet", "out-of-fold.parquet"):
        for path in copied.rglob(name):
            path.unlink()
    told = mitosieve(*training(cohort, copied, CONTROLS), "--resume")
    assert told.code == 0, told.err
    assert files_of(copied) == files_of(run)


@pytest.mark.parametrize(
    ("broken", "gone"),
    [
        ("places/train.parquet", ()),
        ("labels.parquet", ()),
        ("verdicts.parquet", ()),
        ("memory.parquet", ("verdicts.parquet",)),
        ("out-of-fold.parquet", ()),
    ],
)
def test_a_broken_file_is_named_when_a_run_is_resumed(cohort, copied, broken, gone):
    """And nothing is trained over it."""
    shutil.rmtree(copied / "detector")
    for name in gone:
        (copied / name).unlink()
    half = (copied / broken).read_bytes()[:100]
    (copied / broken).write_bytes(half)
    told = mitosieve(*training(cohort, copied, CONTROLS), "--resume")
    assert told.code == 2
    assert "cannot be read" in told.err
    assert "Traceback" not in told.err
    assert (copied / broken).read_bytes() == half


@pytest.mark.long
def test_killed_and_resumed(cohort, run, tmp_path):
    """At a moment that nobody chose, and with other marks on test cases: the bytes of a run that was left in peace."""
    out, blind = tmp_path / "run", without_test_cases(cohort, cohort / "split.json", tmp_path / "cohort")
    process = start(*training(blind, out, CONTROLS), start_new_session=True)
    while process.poll() is None and not list(out.glob("networks/*.safetensors")):
        time.sleep(0.02)
    time.sleep(float(np.random.default_rng().uniform(0, 3)))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "detector" / "detector.toml").exists()
    told = mitosieve(*training(blind, out, CONTROLS), "--resume")
    assert told.code == 0, told.err
    assert files_of(out) == files_of(run)


def test_each_control_is_a_detector_of_its_own(run):
    """Four detectors beside the full one, no two alike; what is learned before the missing part is shared."""
    weights = {"": (run / "networks" / "classifier.safetensors").read_bytes()}
    for part in PARTS:
        assert Detector.load(run / f"detector-without-{part}").stage_names == ("classifier",)
        assert (run / f"validation-without-{part}" / "detections.csv").exists()
        weights[part] = (run / "networks" / "controls" / f"without-{part}" / "classifier.safetensors").read_bytes()
    assert len(set(weights.values())) == len(weights)
    for part, own in {"search": {"memory"}, "memory": set(), "levels": set(), "contrast": set()}.items():
        folder = run / "networks" / "controls" / f"without-{part}"
        names = {path.stem for path in folder.iterdir()}
        assert {name for name in names if not name.startswith("levels ")} == own | {"classifier"}
        assert part == "search" or names == {"classifier"}


def test_what_a_control_learns_from(run):
    """Other negatives, as many; or the same labels, all of them, all hard ones, or the same ones."""
    full, found = pd.read_parquet(run / "labels.parquet"), pd.read_parquet(run / "verdicts.parquet")
    labels, verdicts = (
        {part: pd.read_parquet(run / "controls" / f"without-{part}" / f"{name}.parquet") for part in PARTS}
        for name in ("labels", "verdicts")
    )
    counts = full.origin.value_counts()
    assert labels["search"].origin.value_counts().to_dict() == counts.to_dict()
    for part in PARTS[1:]:
        pd.testing.assert_frame_equal(labels[part], full)
        assert verdicts[part].patch_id.tolist() == full.patch_id.tolist()
    assert verdicts["memory"].kept.all()
    assert (verdicts["memory"].verdict == "clean").all()
    assert (verdicts["levels"].kept == (found.verdict != "noise")).all()
    pd.testing.assert_frame_equal(verdicts["contrast"], found)


def test_another_state_of_the_cohort_is_another_run(cohort, copied, tmp_path):
    """A mark more, and --resume is refused; nothing is changed."""
    moved = shutil.copytree(cohort, tmp_path / "cohort")
    marks = moved / "annotations.csv"
    marks.write_text(marks.read_text().replace(",imposter,", ",mitotic figure,", 1))
    before = files_of(copied)
    told = mitosieve(*training(moved, copied, CONTROLS), "--resume")
    assert told.code == 2
    assert "cohort" in told.err
    assert files_of(copied) == before


def test_an_audit_of_the_run_and_its_corrections(run, cohort, tmp_path):
    """Every label in the table; an imposter made a figure in QuPath's file is one in the new cohort."""
    told = mitosieve("audit", run, "--out", tmp_path / "audit")
    assert told.code == 0, told.err
    labels = pd.read_parquet(run / "labels.parquet")
    assert sorted(pd.read_csv(tmp_path / "audit" / "audit.csv").patch_id) == sorted(labels.patch_id)
    slide_id = labels.slide_id[labels.origin == "imposter"].iloc[0]
    path = tmp_path / "audit" / "qupath" / f"{slide_id}.geojson"
    edited = path.read_text().replace('"name":"Imposter"', '"name":"Mitotic figure"', 1)
    assert edited != path.read_text()
    path.write_text(edited)
    told = mitosieve("import", "corrections", path, cohort, "--out", tmp_path / "new")
    assert told.code == 0, told.err
    old, new = Cohort.load(cohort).annotations, Cohort.load(tmp_path / "new").annotations
    assert len(new.with_label(Label.MITOTIC_FIGURE)) == len(old.with_label(Label.MITOTIC_FIGURE)) + 1


def a_course(recipe, job):
    store = FrameStore(job.file("frames"), recipe.frame, margin_px=recipe.margin_px)
    return choose_labels(recipe, job, gather(recipe, job, store), store)


# as the public code has it

PUBLISHED = (
    "network.align_corners=true",
    "search.imposters=false",
    'memory.head="maximum"',
    'memory.verdict.rule="literal"',
    'levels.head="maximum"',
    "locate_least_px=7",
)
"""What dasc-paper has of it, beside lengths and numbers."""


def setting_of(recipe, setting):
    """The value that a recipe has for the key of a setting."""
    for part in setting.split("=")[0].split("."):
        recipe = getattr(recipe, part)
    return recipe


def test_what_the_public_code_has_trains_too(cohort, tmp_path):
    """Decisions by the largest place, aligned corners, imposters as candidates, areas asked for: to a detector."""
    out, paper = tmp_path / "run", load_recipe("dasc-paper")
    told = mitosieve(*training(cohort, out, "out_of_fold.enabled=false", *PUBLISHED))
    assert told.code == 0, told.err
    made = load_recipe(str(out / "recipe.toml"))
    for setting in PUBLISHED:
        assert setting_of(made, setting) == setting_of(paper, setting), setting
    weights = load_file(out / "networks" / "memory.safetensors")
    heads = {key: tuple(value.shape) for key, value in weights.items() if "head" in key}
    assert heads == {f"{name}_head.weight": (2, c, 1, 1) for name, c in (("weak", 64), ("strong", 64), ("fused", 128))}
    stage = Detector.load(out).config.stages[-1]
    assert (stage.locate_least_px, stage.network.align_corners) == (7, True)
    labels = pd.read_parquet(out / "labels.parquet")
    told = json.loads((out / "negatives.json").read_text())
    assert told["imposter"]["kept"] == (labels.origin == "imposter").sum() > 0


# initial weights


def public_weights(path, **more):
    body = ResNetBody(ResNetConfig(width=more.pop("width", 1.0), stages=4))
    state = {name: value.clone() for name, value in body.state_dict().items()}
    save_file({**state, "fc.weight": torch.zeros(1000, 512), **more}, path)
    return path


@pytest.mark.parametrize("fault", ["narrow", "missing", "no file"])
def test_initial_weights_that_do_not_fit(cohort, run, tmp_path, fault):
    """Width 1 and every key are asked for before anything is made; another run's files stay as they are."""
    path = public_weights(tmp_path / "w.safetensors")
    if fault == "missing":
        state = load_file(path)
        del state["layer2.0.conv1.weight"]
        save_file(state, path)
    elif fault == "no file":
        path.unlink()
    width = 0.125 if fault == "narrow" else 1.0
    out = tmp_path / "run"
    told = mitosieve(*training(cohort, out, f"initial={path}", f"network.width={width}"))
    assert told.code == 2
    assert {"narrow": "conv1.weight is", "missing": "layer2.0.conv1.weight is missing"}.get(fault, "no weights") in (
        told.err
    )
    assert str(path) in told.err
    assert not out.exists()
    before = files_of(run)
    assert mitosieve(*training(cohort, run, f"initial={path}", CONTROLS), "--resume").code == 2
    assert files_of(run) == before


def test_all_bodies_start_from_initial_weights(cohort, tmp_path):
    """Each of a network's bodies has the file's weights; the rest is that of the run without it."""
    path = public_weights(tmp_path / "w.safetensors")
    state = load_file(path)
    job, courses = a_job(cohort, tmp_path / "run"), []
    for settings in ((), (f"initial={path}",)):
        recipe = a_recipe("network.width=1.0", "search.enabled=false", *settings)
        courses.append(a_course(recipe, job))
    plain, begun = (
        course.fresh(lambda: ContrastNet(ResNetConfig(stages=3)), "classifier").state_dict() for course in courses
    )
    for name, value in begun.items():
        if name.startswith("body."):
            assert torch.equal(value, state[name.removeprefix("body.")])
        else:
            assert torch.equal(value, plain[name])


# parts by themselves


@pytest.fixture
def course(run, cohort, tmp_path):
    """On labels of the run; its own folder has nothing else."""
    job = a_job(cohort, tmp_path / "course")
    job.run.path.mkdir()
    shutil.copy(run / "labels.parquet", job.file("labels.parquet"))
    return a_course(a_recipe(), job)


def test_without_memory_every_label_is_clean(course):
    """And kept, with nothing known against it."""
    course = replace(course, recipe=a_recipe("memory.enabled=false"))
    found = find_verdicts(course)
    assert found.kept.all()
    assert (found.verdict == "clean").all()
    assert not found.level.any()
    again = find_verdicts(course)
    assert all(np.array_equal(value, getattr(again, name)) for name, value in vars(found).items())
    assert isinstance(again, Verdicts)


def test_embeddings_are_of_rows_whatever_the_order(course):
    """Unit vectors; the network stays in its mode and its norms learn nothing from it."""
    network = course.fresh(lambda: ContrastNet(course.shape(3)), "classifier").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = np.random.default_rng(1).permutation(len(course.labels))
    z = embed(network, course, np.arange(len(rows)))
    np.testing.assert_allclose(embed(network, course, rows), z[rows], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_inner_parts_are_of_cases_or_of_slides(course):
    """No case, or no slide, is in two parts; what leaves nothing to learn from is refused."""
    slides = course.labels.index.slide_id
    for parts in (2, 3):
        part_of = label_parts(replace(course, recipe=a_recipe(f"out_of_fold.parts={parts}")))
        assert all(len(np.unique(part_of[slides == name])) == 1 for name in np.unique(slides))
        assert len(np.unique(part_of)) == 2  # two cases of one slide each
    one = slides == slides[0]
    pool = replace(course.pools.train, places=course.labels[one])
    lonely = replace(course, pools=replace(course.pools, train=pool), recipe=a_recipe("out_of_fold.parts=2"))
    with pytest.raises(TrainingError, match="parts are too many"):
        label_parts(lonely)


# recipes


@pytest.mark.parametrize("name", ["dasc", "dasc-paper", "dasc-small"])
def test_what_a_run_writes_is_the_same_recipe(tmp_path, name):
    """The effective recipe as TOML reads back equal, defaults and overrides included."""
    recipe = load_recipe(name, ["seed=9", CONTROLS, "initial=w.safetensors", "search.most=7"])
    file = tmp_path / "effective.toml"
    file.write_text(recipe_to_toml(recipe))
    assert load_recipe(str(file)) == recipe


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["memory.train.epochs=2.5"], ("memory", "whole number")),
        (["levels.train.epochs=2.5"], ("levels", "whole number")),
        (["contrast.train.patch_visits=100"], ("contrast", "patch_visits")),
        (["out_of_fold.train.patch_visits=100"], ("out_of_fold", "patch_visits")),
        (["memory.memory.warm_up=30"], ("memory", "30 are warm-up")),
        (["levels.levels.warm_up=24"], ("levels", "24 are warm-up")),
        (["contrast.loss.warm_up=24"], ("contrast", "24 are warm-up")),
        (['controls=["memory","memory"]'], ("only once",)),
        (['controls=["memory"]', "memory.enabled=false"], ("cannot be taken out: memory",)),
        (['controls=["levels"]', "memory.enabled=false"], ("levels cannot be taken out",)),
        (['controls=["noise"]'], ("controls",)),
        (["search.stages=5"], ("search.stages", "5")),
        (["levels.levels.components=4"], ("levels.levels.components", "4")),
        (["contrast.loss.clusters=[4]"], ("contrast.loss.clusters",)),
        (["contrast.loss.q=0"], ("contrast.loss.q",)),
        (["locate_above=1.5"], ("locate_above", "1.5")),
    ],
)
def test_recipes_that_nobody_can_mean(settings, words):
    """Refused when read, by key."""
    with pytest.raises(RecipeError) as told:
        load_recipe("dasc-small", settings)
    for word in words:
        assert word in str(told.value)


def test_a_stage_that_is_off_needs_no_epochs_after_its_warm_up():
    """What is not trained is not counted: two epochs stand in the recipe, and are refused where the stage is on."""
    for stage in ("contrast", "memory"):
        recipe = load_recipe("dasc-small", [f"{stage}.enabled=false", f"{stage}.train.epochs=2"])
        assert getattr(recipe, stage).train.epochs == 2
        with pytest.raises(RecipeError, match="warm"):
            load_recipe("dasc-small", [f"{stage}.train.epochs=2"])


def test_a_folder_of_another_run_is_refused(cohort, run):
    """Without --resume it is in use, with it the recipe differs."""
    told = mitosieve(*training(cohort, run, CONTROLS))
    assert told.code == 2
    told = mitosieve(*training(cohort, run), "--resume")
    assert told.code == 2
