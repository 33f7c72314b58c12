"""Bad input: one clear message with the place and the remedy, exit code 2 (1 where one slide of many fails), and
nothing half-written. The importers' and readers' own tests hold the many ways of each; here they meet the user.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mitosieve import Cohort
from tiny import ONE_CORE, a_cohort, a_run, a_scan, a_split, files_of, images, mitosieve, start, training


def refused(told, *words, code=2):
    """One message of at most three lines on the error stream, with a remedy, without a stack trace."""
    assert told.code == code, told
    assert told.out == ""
    assert told.err.startswith("mitosieve: ")
    assert "remedy: " in told.err
    assert len(told.err.strip().splitlines()) <= 3
    assert "Traceback" not in told.err
    for word in words:
        assert str(word) in told.err


def a_copy(folder: Path) -> Path:
    return Path(shutil.copytree(a_cohort(), folder))


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"image,x,y,label\na.png,1,2\n", ("line 2", "3 values")),
        (b"image,x,y,label\na.png,1,2,mitotic figure\na.png,nan,2,imposter\n", ("line 3", "nan")),
        ("image,x,y,label\na.png,1,2,fig\xfcr\n".encode("latin-1"), ("line 2", "UTF-8")),
        (b"image,x,label\na.png,1,imposter\n", ("column y",)),
        (b"", ("empty",)),
    ],
)
def test_a_broken_label_file(tmp_path, content, words):
    """File and line are named, and no cohort appears."""
    (tmp_path / "labels.csv").write_bytes(content)
    told = mitosieve("import", "points", tmp_path / "labels.csv", tmp_path / "c", "--mpp", 0.25)
    refused(told, tmp_path / "labels.csv", *words)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("mpp", [(), ("--mpp", "0"), ("--mpp", "nan"), ("--mpp", "gone.csv")])
def test_a_missing_or_zero_resolution(tmp_path, mpp):
    """An import without a usable resolution says how to state it, and writes nothing."""
    (tmp_path / "labels.csv").write_text("image,x,y,label\na.png,1,2,mitosis\n")
    refused(mitosieve("import", "points", tmp_path / "labels.csv", tmp_path / "c", *mpp), "0.25")
    assert not (tmp_path / "c").exists()


def test_a_mark_far_outside_its_image(tmp_path):
    """The mark's file and place are named, and an existing cohort stays as it was."""
    cohort = a_copy(tmp_path / "c")
    before = files_of(cohort)
    name = images()[0].name
    (tmp_path / "x.csv").write_text(f"image,x,y,label,case\n{name},9000,9000,mitosis,new\n")
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(images()[0], folder)
    args = ["--images", folder, "--mpp", 0.25]
    refused(mitosieve("import", "points", tmp_path / "x.csv", cohort, *args), tmp_path / "x.csv", "9000")
    assert files_of(cohort) == before


@pytest.mark.parametrize("command", ["split", "train", "detect", "evaluate", "crossval"])
def test_a_cohort_that_is_gone(tmp_path, command):
    """Every command that reads a cohort names its path."""
    gone, out = tmp_path / "gone", ["--out", tmp_path / "out"]
    fold = ["--split", a_split(), "--fold", "A"]
    words = {
        "split": [gone, *out],
        "train": ["chsnet-small", gone, *fold, *out],
        "detect": ["--detector", a_run(), "--cohort", gone, *out],
        "evaluate": [a_scan(), gone, *out],
        "crossval": ["chsnet-small", gone, "--split", a_split(), *out],
    }[command]
    refused(mitosieve(command, *words), gone, "there is no such cohort folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("slides.csv", ",0.25,", ",0,", ("line 2", "mpp")),
        ("slides.csv", ",0.25,", ",,", ("line 2", "mpp")),
        ("annotations.csv", "mitotic", "mytotic", ("line", "label")),
    ],
)
def test_a_cohort_edited_badly(tmp_path, file, old, new, words):
    """File, line and column are named; training does not begin."""
    cohort = a_copy(tmp_path / "c")
    edited(cohort / file, old, new)
    refused(mitosieve(*training(tmp_path / "run", cohort=cohort)), cohort / file, *words)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- recipe and split


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("network.widht=0.5", ("network.widht", "did you mean 'network.width'")),
        ("network.width=wide", ("network.width", "wide")),
        ("screening.batch_size=0", ("screening.batch_size", "0")),
        ("method=nonesuch", ("nonesuch", "chsnet")),
    ],
)
def test_a_wrong_recipe(tmp_path, change, words):
    """Key, value and nearest valid key are named before anything is read or written."""
    refused(mitosieve(*training(tmp_path / "run", change)), "recipe chsnet-small", *words)
    assert not (tmp_path / "run").exists()


def _case_in_two_parts(fold):
    fold["test"].append(fold["train"][0])


def _case_missed(fold):
    fold["train"].pop()


def _no_validation(fold):
    fold["train"] += fold.pop("validation")
    fold["validation"] = []


def _no_test(fold):
    fold["train"] += fold.pop("test")
    fold["test"] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_case_in_two_parts, ("fold A", "in more than one place")),
        (_case_missed, ("fold A", "misses")),
        (_no_test, ("fold A", "test")),
        (lambda fold: fold["train"].append("stranger"), ("fold A", "stranger")),
    ],
)
def test_a_split_that_leaks_or_does_not_fit(tmp_path, change, words):
    """train, detect, evaluate and crossval refuse it with file, fold and case; nothing is written."""
    content = json.loads(a_split().read_text())
    change(content["folds"]["A"])
    file = tmp_path / "split.json"
    file.write_text(json.dumps(content))
    out, fold = ["--out", tmp_path / "out"], ["--split", file, "--fold", "A"]
    refused(mitosieve("train", "chsnet-small", a_cohort(), *fold, *out), file, *words)
    refused(mitosieve("crossval", "chsnet-small", a_cohort(), "--split", file, *out), file, *words)
    refused(mitosieve("detect", "--detector", a_run(), "--cohort", a_cohort(), *fold, *out), file, *words)
    refused(mitosieve("evaluate", a_scan(), a_cohort(), *fold, *out), file, *words)
    assert not (tmp_path / "out").exists()


def test_a_fold_without_validation_where_it_is_asked_for(tmp_path):
    """train and crossval of a recipe that chooses on it, detect and evaluate of that part: with file and fold."""
    content = json.loads(a_split().read_text())
    _no_validation(content["folds"]["A"])
    file = tmp_path / "split.json"
    file.write_text(json.dumps(content))
    out, fold = ["--out", tmp_path / "out"], ["--split", file, "--fold", "A"]
    asked = (file, "no validation case in fold A", "thresholds.operating", "numbers")
    refused(mitosieve("train", "chsnet-small", a_cohort(), *fold, *out), *asked)
    refused(mitosieve("crossval", "chsnet-small", a_cohort(), "--split", file, *out), *asked)
    part, bare = ["--part", "validation"], (file, "fold A has no validation case")
    refused(mitosieve("detect", "--detector", a_run(), "--cohort", a_cohort(), *fold, *part, *out), *bare)
    refused(mitosieve("evaluate", a_scan(), a_cohort(), *fold, *part, *out), *bare)
    refused(mitosieve("evaluate", a_scan(), a_cohort(), *part, *out), "--part needs --split")
    assert not (tmp_path / "out").exists()


def test_a_fold_without_figures(tmp_path):
    """F1 is undefined there; the fold and its part are named."""
    cohort = a_copy(tmp_path / "c")
    (case,) = json.loads(a_split().read_text())["folds"]["A"]["validation"][:1]
    marks = pd.read_csv(cohort / "annotations.csv")
    kept = ~marks.slide_id.str.startswith(case) | (marks.label != "mitotic figure")
    assert 0 < kept.sum() < len(marks)
    marks[kept].to_csv(cohort / "annotations.csv", index=False)
    told = mitosieve(*training(tmp_path / "run", cohort=cohort))
    refused(told, a_split(), "fold A has no mitotic figure in its validation part")


# ---------------------------------------------------------------- images


def _png_claiming(width, height):
    ok = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return ok[:16] + size + ok[24:]


def _encoded(kind, pixels, mode="RGB"):
    def write(path):
        with path.open("wb") as file:
            Image.fromarray(pixels).convert(mode).save(file, kind)

    return write


NOISE = np.random.default_rng(3).integers(60, 255, (64, 64, 3), dtype=np.uint8)
BAD_IMAGES = {
    "truncated.png": (lambda path: path.write_bytes(cv2.imencode(".png", NOISE)[1].tobytes()[:2000]), "truncated"),
    "truncated.jpg": (lambda path: path.write_bytes(images()[0].read_bytes()[:2000]), "truncated"),
    "empty.png": (lambda path: path.write_bytes(b""), "empty"),
    "deep.png": (lambda path: path.write_bytes(cv2.imencode(".png", NOISE.astype(np.uint16))[1].tobytes()), "16 bits"),
    "grey.png": (_encoded("PNG", NOISE, "L"), "grey"),
    "cmyk.jpg": (_encoded("JPEG", NOISE, "CMYK"), "CMYK"),
    "wide.png": (lambda path: path.write_bytes(_png_claiming(200_000, 200_000)), "200,000"),
    "text.png": (lambda path: path.write_text("slide,x,y\n"), "no image"),
    "folder.png": (lambda path: path.mkdir(), "folder"),
    "gone.png": (lambda path: None, "missing"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_one_unusable_image(tmp_path, name):
    """info, and detect on it alone: its path, what is wrong and how to mend it; no result folder is left behind."""
    write, word = BAD_IMAGES[name]
    write(tmp_path / name)
    refused(mitosieve("info", tmp_path / name) if name != "truncated.jpg" else _alone(tmp_path, name), name, word)
    refused(_alone(tmp_path, name), tmp_path / name, word)
    assert not (tmp_path / "out").exists()


def _alone(folder, name):
    return mitosieve("detect", "--detector", a_run(), folder / name, "--mpp", 0.25, "--out", folder / "out", *ONE_CORE)


def test_bad_images_among_good_ones(tmp_path):
    """Exit code 1: the bad ones are named with their reason, the others are finished as if they had been alone."""
    good = tmp_path / "good.png"
    Image.open(images()[0]).save(good)
    Image.open(images()[0]).convert("RGBA").save(tmp_path / "alpha.png")
    for name, (write, _) in BAD_IMAGES.items():
        write(tmp_path / name)
    bad = [tmp_path / name for name in BAD_IMAGES if name != "truncated.jpg"]  # of one name with truncated.png
    words = ["--mpp", 0.25, "--format", "geojson,midog", *ONE_CORE]
    told = mitosieve(
        "detect", "--detector", a_run(), bad[0], good, *bad[1:], tmp_path / "alpha.png", *words, "--out", tmp_path / "d"
    )
    assert told.code == 1
    assert told.out.splitlines()[-1] == str(tmp_path / "d" / "detections.csv")
    lines = [line for line in told.err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == len(bad)
    table = pd.read_csv(tmp_path / "d" / "slides.csv").set_index("slide_id")
    for path, line in zip(bad, lines, strict=True):
        assert line.startswith(f"failed: {path.stem}: {path}")
        assert BAD_IMAGES[path.name][1] in line
        assert BAD_IMAGES[path.name][1] in table.error[path.stem]
    assert mitosieve("detect", "--detector", a_run(), good, *words, "--out", tmp_path / "alone").code == 0
    alone, many = (pd.read_csv(tmp_path / name / "detections.csv") for name in ("alone", "d"))
    pd.testing.assert_frame_equal(many[many.slide_id == "good"].reset_index(drop=True), alone)
    opaque = many[many.slide_id == "alpha"].reset_index(drop=True)
    kept = [name for name in alone.columns if name not in ("slide_id", "detection_id")]
    pd.testing.assert_frame_equal(opaque[kept], alone[kept])
    assert {p.stem for p in (tmp_path / "d" / "geojson").iterdir()} == {"good", "alpha"}


def test_an_image_without_resolution(tmp_path):
    """Alone: exit 2, and the same command with --mpp then goes through; among others: exit 1."""
    words = ["detect", "--detector", a_run(), images()[0], "--out", tmp_path / "d", *ONE_CORE]
    refused(mitosieve(*words), images()[0], "--mpp 0.25")
    assert mitosieve(*words, "--mpp", 0.25).code == 0
    (tmp_path / "mpp.csv").write_text(f"slide,mpp\n{images()[1].stem},0.25\n")
    words = [*images()[:2], "--mpp", tmp_path / "mpp.csv", "--out", tmp_path / "two", *ONE_CORE]
    told = mitosieve("detect", "--detector", a_run(), *words)
    assert told.code == 1
    assert pd.read_csv(tmp_path / "two" / "slides.csv").error.isna().tolist() == [False, True]


def test_a_training_image_that_cannot_be_read(tmp_path):
    """The training ends with its path, exit code 2; mended, --resume goes on to the end."""
    cohort = a_copy(tmp_path / "c")
    case = json.loads(a_split().read_text())["folds"]["A"]["train"][0]
    image = next(path for path in (cohort / "images").iterdir() if path.stem.startswith(case))
    whole = image.read_bytes()
    image.write_bytes(whole[:1000])
    words = training(tmp_path / "run", "screening.patch_visits=16", "refined.patch_visits=16", cohort=cohort)
    refused(mitosieve(*words), image, "truncated")
    image.write_bytes(whole)
    assert mitosieve(*words, "--resume").code == 0


# ---------------------------------------------------------------- folders


def test_folders_that_hold_something_else(tmp_path):
    """Results never go among other files: not into a cohort, not into a file's place, not over a finished job."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    before = {folder: files_of(folder) for folder in (a_run(), a_scan(), a_cohort(), tmp_path)}
    for place in (a_run(), a_scan(), a_cohort(), tmp_path / "file", tmp_path / "full"):
        refused(mitosieve(*training(place)), place)
        refused(mitosieve("detect", "--detector", a_run(), "--cohort", a_cohort(), "--out", place), place)
        refused(mitosieve("phantom", place, "--cases", 1, "--size", 256), place)
    refused(
        mitosieve("detect", "--detector", a_run(), "--cohort", a_cohort(), "--out", a_scan(), "--resume"),
        a_scan(),
        "slides",
    )
    assert {folder: files_of(folder) for folder in before} == before


def test_a_run_of_another_version(tmp_path):
    """Its format, this one's, and what to do are named; the run stays as it is."""
    shutil.copytree(a_run(), tmp_path / "run")
    edited(tmp_path / "run" / "run.json", '"format": 2', '"format": 99')
    edited(tmp_path / "run" / "detector" / "detector.toml", "format = 1", "format = 98")
    before = files_of(tmp_path / "run")
    refused(mitosieve(*training(tmp_path / "run", "cascade.parts_too=true"), "--resume"), tmp_path / "run", "99", "2")
    refused(mitosieve("report", tmp_path / "run"), tmp_path / "run", "99")
    refused(
        mitosieve("detect", "--detector", tmp_path / "run", *images(), "--out", tmp_path / "d"), "detector.toml", "98"
    )
    (tmp_path / "run" / "run.json").write_text("[]")
    refused(mitosieve("report", tmp_path / "run"), "run.json")
    (tmp_path / "run" / "run.json").unlink()
    assert files_of(tmp_path / "run") == before
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("fault", ["altered", "missing", "key", "not TOML", "unfinished"])
def test_a_detector_that_is_not_whole(tmp_path, fault):
    """An altered or missing weight file, an unknown key, or a run whose training has not ended: named, no result."""
    folder = Path(shutil.copytree(a_run() / "detector", tmp_path / "detector"))
    weights, toml = folder / "refined.safetensors", folder / "detector.toml"
    if fault == "altered":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif fault == "missing":
        weights.unlink()
    elif fault == "key":
        edited(toml, "merge_um", "merge_mu")
    elif fault == "not TOML":
        toml.write_text("[")
    else:
        toml.unlink()
    told = mitosieve("detect", "--detector", folder, *images(), "--mpp", 0.25, "--out", tmp_path / "d")
    refused(told, folder) if fault not in ("key", "not TOML") else _named(told, toml)
    assert not (tmp_path / "d").exists()


def _named(told, path):
    assert told.code == 2
    assert told.err.startswith(f"mitosieve: {path}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "images or --cohort"),
        (("IMAGE", "--cohort", "COHORT"), "images or --cohort"),
        (("--cohort", "COHORT", "--mpp", "0.25"), "come from the cohort"),
        (("--cohort", "COHORT", "--fold", "A"), "--fold needs --split"),
        (("--cohort", "COHORT", "--part", "validation"), "--part needs --split"),
        (("--cohort", "COHORT", "--split", "SPLIT"), "--split needs --fold"),
        (("--cohort", "COHORT", "--split", "SPLIT", "--fold", "Q"), "there is no fold 'Q'"),
        (("--cohort", "COHORT", "--split", "SPLIT", "--fold", "A", "--part", "tset"), "there is no part 'tset'"),
        (("IMAGE", "--split", "SPLIT", "--fold", "A"), "--cohort"),
        (("IMAGE", "--part", "tset"), "--part choose slides of a cohort"),
        (("IMAGE", "--format", "geojson,xml"), "unknown format 'xml'"),
        (("IMAGE", "--roi", "gone.geojson"), "gone.geojson"),
        (("IMAGE", "--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_contradictions_of_detect(tmp_path, words, said):
    """What cannot be meant is refused before anything is written."""
    real = {"IMAGE": images()[0], "COHORT": a_cohort(), "SPLIT": a_split()}
    told = mitosieve(
        "detect", "--detector", a_run(), *(real.get(word, word) for word in words), "--out", tmp_path / "d"
    )
    refused(told, said)
    assert not (tmp_path / "d").exists()


def test_two_trainings_into_one_folder(tmp_path):
    """While one process trains, another is refused, with and without --resume; the first goes on undisturbed."""
    run = tmp_path / "run"
    words = training(run, "screening.patch_visits=1000000")
    first = start(*words)
    try:
        wait_for(run / "checkpoint" / "screening.safetensors", first)
        refused(mitosieve(*words), run, "holds a run already")
        refused(mitosieve(*words, "--resume"), run, "in use by another process")
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until the file is there; the process must not end before."""
    for _ in range(6000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pytest.fail(f"{path} did not appear in a minute")


# ---------------------------------------------------------------- disk


@contextlib.contextmanager
def a_small_disk(folder: Path, kilobytes: int):
    """A file system of its own; skips where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.name != "posix" or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk that fills is made with mount, which needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 300, 2400])
def test_a_disk_that_fills_while_training(tmp_path, kilobytes):
    """The file is named, every file left is whole, and with more space --resume ends as if nothing had been."""
    with a_small_disk(tmp_path / "disk", kilobytes) as disk:
        words = training(disk / "run", "cascade.parts_too=true")
        refused(mitosieve(*words), disk / "run", "the disk is full")
        assert not list(disk.rglob("*.part"))
        assert not (disk / "run" / "detector" / "detector.toml").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert mitosieve(*words, "--resume").code == 0
        assert files_of(disk / "run") == files_of(a_run())


def test_a_disk_that_fills_while_detecting(tmp_path):
    """The file is named at once, no other slide is tried, and --resume finishes with the bytes of an easy life."""
    words = ["detect", "--detector", a_run(), "--cohort", a_cohort(), *ONE_CORE]
    assert mitosieve(*words, "--out", tmp_path / "easy").code == 0
    with a_small_disk(tmp_path / "disk", 36) as disk:
        told = mitosieve(*words, "--out", disk / "d")
        refused(told, disk / "d", "the disk is full")
        assert not list(disk.rglob("*.part"))
        assert not (disk / "d" / "detections.csv").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert mitosieve(*words, "--out", disk / "d", "--resume").code == 0
        assert files_of(disk / "d") == files_of(tmp_path / "easy")


def test_a_folder_that_cannot_be_written(tmp_path):
    """A file in the path: the place is named, exit 2."""
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "below"
    refused(mitosieve("split", a_cohort(), "--folds", 3, "--out", place), place)
    scores = place.with_suffix(".json")
    refused(mitosieve("evaluate", a_scan(), a_cohort(), "--out", scores), tmp_path / "file" / "below-outcomes.csv")
    refused(mitosieve(*training(place)), place)


def test_a_cohort_survives_bad_marks_and_good_ones(tmp_path):
    """The fixture's own check: a copied cohort is the same cohort."""
    assert Cohort.load(a_copy(tmp_path / "c")).hash() == Cohort.load(a_cohort()).hash()
