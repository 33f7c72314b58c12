"""A cohort so small that a whole training takes seconds, and the command line as a user meets it.

What costs time is made once a process and shared: read it, copy it, never write into it.
"""

import atexit
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from mitosieve import Cohort, Split, cli
from mitosieve.annotation import Label

SETTINGS = (
    "network.width=0.03125",
    "screening.patch_visits=160",
    "screening.batch_size=16",
    "screening.checkpoint_every=2",
    "screening.validations=1",
    "refined.patch_visits=160",
    "refined.batch_size=16",
    "refined.checkpoint_every=2",
    "refined.validations=1",
)
SHORTER = ("screening.patch_visits=32", "refined.patch_visits=32")
SWIFT_SMALL = ("refined.network.widths=[8, 8, 16]", "refined.network.stem=0", "screening.network.widths=[8, 16]",
         "screening.network.stem=0", "screening.network.head=8", "refined.network.head=8")  # fmt: skip
SWIFT_SHORT = tuple(
    f"{part}.train.{setting}"
    for part in ("screening", "refined")
    for setting in ("patch_visits=96", "batch_size=32", "validations=1")
)
ONE_CORE = ("--threads", "1")
NEVER_COMPARED = {
    "timing.json",
    "timing.csv",
    "machine.json",
    "versions.json",
    "run.json",
    ".lock",
    "log.txt",
    "history.csv",
}


class Told(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Path:
        """The path on the last line."""
        return Path(self.out.splitlines()[-1])


def mitosieve(*args) -> Told:
    """Run a command through its entry point, in this process; what is not caught there fails the test."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["mitosieve", *map(str, args)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    return Told(code, out.getvalue(), err.getvalue())


def start(*args, **options) -> subprocess.Popen:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mitosieve.cli", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def settings(*more: str) -> list[str]:
    return [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]


def training(out: Path, *more: str, cohort: Path | None = None, recipe: str = "chsnet-small") -> list[str]:
    """The command that trains on fold A."""
    where = [a_cohort() if cohort is None else cohort, "--split", a_split(), "--fold", "A", "--out", out]
    return [*map(str, ["train", recipe, *where, *ONE_CORE]), *settings(*more)]


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mitosieve-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def a_cohort() -> Path:
    """Four cases of one slide of 384 px with two or so figures each."""
    folder = _folder() / "cohort"
    told = mitosieve("phantom", folder, "--cases", 4, "--slides-per-case", 1, "--size", 384, "--seed", 7)
    assert (told.code, told.result) == (0, folder), told
    return folder


@cache
def a_split() -> Path:
    file = _folder() / "split.json"
    told = mitosieve("split", a_cohort(), "--folds", 3, "--out", file)
    assert (told.code, told.result) == (0, file), told
    return file


@cache
def a_run() -> Path:
    """Fold A, trained, with the detectors of its parts."""
    folder = _folder() / "run"
    told = mitosieve(*training(folder, "cascade.parts_too=true"))
    assert (told.code, told.result) == (0, folder), told
    return folder


@cache
def a_swift_run() -> Path:
    """Fold A, trained by the recipe `swift` with networks that see next to nothing."""
    folder = _folder() / "swift"
    words = [word for setting in (*SWIFT_SMALL, *SWIFT_SHORT) for word in ("--set", setting)]
    told = mitosieve(
        "train", "swift", a_cohort(), "--split", a_split(), "--fold", "A", "--out", folder, *ONE_CORE, *words
    )
    assert told.code == 0, told
    return folder


@cache
def a_scan() -> Path:
    """What the run's detector finds on the test cases of its fold, scored."""
    folder = _folder() / "scan"
    fold = ["--split", a_split(), "--fold", "A"]
    told = mitosieve("detect", "--detector", a_run(), "--cohort", a_cohort(), *fold, "--out", folder, *ONE_CORE)
    assert (told.code, told.result) == (0, folder / "detections.csv"), told
    assert mitosieve("evaluate", folder, a_cohort(), *fold).code == 0
    return folder


def without_test_cases(cohort: Path, split: Path, out: Path) -> Path:
    """A copy of a cohort that knows nothing of the cases that fold A tests: no image, and all marks at (5, 5), one of a
    slide a figure. There are as many marks, for places keep the numbers of theirs.
    """
    shutil.copytree(cohort, out)
    whole = Cohort.load(out)
    tested = whole.of_cases(Split.load(split).fold("A").test).slides
    for entry in tested:
        whole.path_of(entry.slide_id).unlink(missing_ok=True)
    marks = whole.annotations
    center, label = marks.center_l0.copy(), marks.label.copy()
    for entry in tested:
        rows = np.flatnonzero(marks.slide_id == entry.slide_id)
        center[rows], label[rows] = 5.0, Label.IMPOSTER.value
        label[rows[:1]] = Label.MITOTIC_FIGURE.value
    Cohort(out, whole.slides, replace(marks, center_l0=center, label=label)).save()
    return out


def images() -> list[Path]:
    return sorted((a_cohort() / "images").iterdir())


def files_of(folder: Path, *, below: str = "") -> dict[str, bytes]:
    """Every file that a job left, by name, beside those that hold times and machines."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / below).rglob("*"))
        if path.is_file() and path.name not in NEVER_COMPARED
    }
