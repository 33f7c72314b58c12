"""Recipe `dasc` on a cohort so small that a whole training takes seconds, and its parts without a command line."""

from pathlib import Path

import numpy as np
import torch

from mitosieve import Cohort, Split
from mitosieve.method.dasc.recipe import DascRecipe
from mitosieve.network.compute import Compute
from mitosieve.phantom import PhantomConfig, make_phantom
from mitosieve.recipe.recipe import load_recipe
from mitosieve.run.folder import RunFolder
from mitosieve.train.job import Job
from tiny import ONE_CORE, mitosieve

SETTINGS = (
    "network.width=0.125",
    "search.train.patch_visits=320",
    "search.threshold=0.2",
    "memory.train.epochs=4",
    "memory.memory.warm_up=1",
    "levels.train.epochs=3",
    "levels.levels.warm_up=1",
    "contrast.train.epochs=4",
    "contrast.loss.warm_up=1",
    "contrast.loss.renew_epochs=2",
    "contrast.train.validations=1",
    "out_of_fold.train.epochs=1",
    *(f"{part}.train.batch_size=16" for part in ("search", "memory", "levels", "contrast", "out_of_fold")),
    *(f"{part}.train.checkpoint_every=2" for part in ("search", "memory", "levels", "contrast", "out_of_fold")),
)


def a_cohort(folder: Path, **more) -> Path:
    """Five cases of one slide of 640 px with some six figures each, and a split."""
    config = {"cases": 5, "slides_per_case": 1, "size_px": (640, 640), "figures_per_mm2": 250, "imposters_per_mm2": 250}
    make_phantom(folder, PhantomConfig(**{**config, **more}), np.random.default_rng(3)).save()
    told = mitosieve("split", folder, "--folds", 3, "--out", folder / "split.json")
    assert told.code == 0, told.err
    return folder


def training(cohort: Path, out: Path, *more: str) -> list[str]:
    """The command that trains on fold A."""
    words = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    where = [cohort, "--split", cohort / "split.json", "--fold", "A", "--out", out]
    return [*map(str, ["train", "dasc-small", *where, *ONE_CORE]), *words]


def a_recipe(*more: str) -> DascRecipe:
    recipe = load_recipe("dasc-small", [*SETTINGS, *more])
    assert isinstance(recipe, DascRecipe)
    return recipe


def a_job(cohort: Path, run: Path) -> Job:
    """What the command line gives a method, on one thread as there."""
    torch.set_num_threads(1)
    whole, split = Cohort.load(cohort), Split.load(cohort / "split.json")
    return Job(cohort=whole, fold=split.fold("A"), run=RunFolder(run), compute=Compute.choose("cpu"))
