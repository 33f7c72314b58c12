"""The mistakes that a new user makes first: each is told in one message, with what to write, before any of the slow
libraries is loaded.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tiny import a_cohort, a_run, a_scan, a_split, images

SLOW = {"torch", "lightning", "scipy", "skimage", "sklearn", "pandas", "matplotlib", "onnxruntime", "onnx", "numba"}
"""Libraries whose import takes as long as all the rest of such a command, or longer."""


def run(*words):
    """Exit code, both streams, and the libraries that a process of its own loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mitosieve.cli", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        check=False,
    )
    lines = done.stderr.splitlines(keepends=True)
    imports = [line for line in lines if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in imports}
    return done.returncode, done.stdout, "".join(line for line in lines if not line.startswith("import time:")), loaded


def a_detector_of_another_version(folder):
    detector = shutil.copytree(a_run() / "detector", folder / "newer")
    toml = detector / "detector.toml"
    toml.write_text(toml.read_text().replace("format = 1", "format = 9"))
    return detector


def a_moved_cohort(folder):
    moved = shutil.copytree(a_cohort(), folder / "moved")
    shutil.rmtree(moved / "images")
    return moved


def scores_of_another_cohort(folder):
    other = shutil.copytree(a_scan(), folder / "other")
    content = json.loads((other / "metrics.json").read_text())
    for row in content["per_slide"]:
        row["slide_id"] = f"x_{row['slide_id']}"
    (other / "metrics.json").write_text(json.dumps(content))
    return other


def detections_without_a_score(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "detections.csv").write_text("slide_id,x,y\na,1,2\n")
    return folder / "mine"


def splits(folder):
    (folder / "splits").mkdir()
    shutil.copy(a_split(), folder / "splits" / "three.json")
    return folder / "splits"


FOLD = ("--split", "SPLIT", "--fold", "A")
MISTAKES = {
    "wrong order of arguments": (
        ("train", "COHORT", "swift", *FOLD, "--out", "NEW"),
        ("is a cohort folder", "RECIPE", "mitosieve train swift COHORT"),
    ),
    "labels before the format": (
        ("import", "LABELS", "points", "NEW"),
        ("is a table", "FORMAT", "mitosieve import points labels.csv COHORT"),
    ),
    "folder for file": (
        ("train", "swift", "COHORT", "--split", "SPLITS", "--fold", "A", "--out", "NEW"),
        ("is a folder, and a split is a file", "three.json"),
    ),
    "file for folder": (
        ("evaluate", "SCAN/detections.csv", "COHORT"),
        ("is a file, and DIR is its folder", "remedy: name"),
    ),
    "missing out": (("detect", "IMAGE"), ("--out", "mitosieve detect slide.svs --out found")),
    "typo of a command": (("detekt", "IMAGE"), ("did you mean 'detect'",)),
    "typo of a recipe": (
        ("train", "swfit", "COHORT", *FOLD, "--out", "NEW"),
        ("there is no recipe 'swfit'", "did you mean 'swift'"),
    ),
    "typo of a recipe's key": (
        ("train", "swift", "COHORT", *FOLD, "--out", "NEW", "--set", "screening.batch_size=8"),
        ("unknown key 'screening.batch_size'", "did you mean 'screening.train.batch_size'"),
    ),
    "typo of a fold": (
        ("train", "swift", "COHORT", "--split", "SPLIT", "--fold", "a", "--out", "NEW"),
        ("there is no fold 'a'", "A, B, C"),
    ),
    "typo of a format": (("detect", "IMAGE", "--out", "NEW", "--format", "geojsn"), ("did you mean 'geojson'",)),
    "typo of an importer": (("import", "midgo", "LABELS", "NEW"), ("did you mean 'midog'",)),
    "typo of a detector": (("detect", "IMAGE", "--detector", "swfit", "--out", "NEW"), ("did you mean 'swift'",)),
    "slide missing": (("detect", "gone.svs", "--out", "NEW"), ("gone.svs: is missing",)),
    "no slide but a cohort": (("detect", "COHORT", "--out", "NEW"), ("is a cohort folder, not a slide", "--cohort")),
    "cohort moved": (
        ("train", "swift", "MOVED", *FOLD, "--out", "NEW"),
        ("images is where slides.csv says", "the column 'path'"),
    ),
    "detector from another version": (
        ("detect", "IMAGE", "--detector", "NEWER", "--out", "NEW"),
        ("format 9", "reads format 1", "train again"),
    ),
    "out is used": (
        ("train", "swift", "COHORT", *FOLD, "--out", "RUN"),
        ("holds a run already", "--resume"),
    ),
    "compared over two cohorts": (("compare", "SCAN", "OTHER"), ("different slides",)),
    "reported over two cohorts": (("report", "SCAN", "OTHER"), ("different slides",)),
    "table without a column": (("evaluate", "MINE", "COHORT"), ("lacks the column score", "expected columns")),
    "run missing": (("report", "nowhere"), ("nowhere: is missing",)),
    "cohort for a run": (("report", "COHORT"), ("is a cohort folder", "mitosieve report found")),
    "device that is none": (("detect", "IMAGE", "--out", "NEW", "--device", "gpu"), ("unknown device 'gpu'",)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_first_mistake(tmp_path, mistake):
    """Exit 2; what, where and a remedy in three lines (click's usage aside); nothing written, nothing slow loaded."""
    (tmp_path / "labels.csv").write_text("image,x,y,label\na.png,1,2,imposter\n")
    places = {
        "COHORT": a_cohort, "SPLIT": a_split, "RUN": a_run, "SCAN": a_scan, "IMAGE": lambda: images()[0],
        "NEW": lambda: tmp_path / "new", "LABELS": lambda: tmp_path / "labels.csv",
        "MOVED": lambda: a_moved_cohort(tmp_path), "NEWER": lambda: a_detector_of_another_version(tmp_path),
        "OTHER": lambda: scores_of_another_cohort(tmp_path), "MINE": lambda: detections_without_a_score(tmp_path),
        "SPLITS": lambda: splits(tmp_path),
    }  # fmt: skip
    words, said = MISTAKES[mistake]

    def placed(word):
        first, slash, rest = word.partition("/")
        return f"{places[first]()}{slash}{rest}" if first in places else word

    code, out, err, loaded = run(*map(placed, words))
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert "remedy: " in err
    message = err if "Usage" not in err else err[err.index("Error:") :]
    assert len(message.strip().splitlines()) <= 3
    for part in said:
        assert part.lower() in message.lower(), message
    assert not (tmp_path / "new").exists()
    assert "mitosieve" in loaded
    assert not loaded & SLOW
