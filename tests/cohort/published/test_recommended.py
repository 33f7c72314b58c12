"""Laws of what a command that made a cohort or a split recommends next: it can be done."""

import shlex
from pathlib import Path

import pytest
from test_getting import atypia, midog, tupac

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.published.official import official_split
from mitosieve.cohort.split import Split
from mitosieve.recipe.recipe import check_validation, load_recipe
from tiny import a_cohort, mitosieve


def a_next_training(told):
    """Recipe, split file and fold of the training that a command recommends last."""
    words = shlex.split(told.err.splitlines()[-1].removeprefix("next: "))
    assert words[:2] == ["mitosieve", "train"]
    return words[2], Path(words[words.index("--split") + 1]), words[words.index("--fold") + 1], Path(words[3])


@pytest.mark.parametrize("name", ["mitos-atypia-14", "midog-2021", "tupac16", "midog-plus-plus"])
def test_what_get_recommends_can_be_done(tmp_path, monkeypatch, name):
    """The file is there, has the fold, fits the cohort, and the recipe takes it; in a folder with a blank too."""
    monkeypatch.chdir(tmp_path)
    folder, out = Path("the set"), Path("my cohort")
    if name == "mitos-atypia-14":
        atypia(folder)
    elif name == "tupac16":
        tupac(folder)
    elif name == "midog-2021":
        midog(folder, mpp=0.25)
    else:
        fold = official_split(name).fold("official")
        cases = [int(case) for case in (*fold.train[:2], *fold.test[:2])]
        midog(folder, name="MIDOG++.json", ids=cases, unlabelled=(), mpp=0.25, tumour="human melanoma")
    told = mitosieve("get", name, folder, "--out", out, "--partial")
    assert told.code == 0, told.err
    recipe, file, fold, cohort = a_next_training(told)
    split = Split.load(file)
    split.check(Cohort.load(cohort))
    check_validation(load_recipe(recipe), split, [fold])
    assert cohort == out


def test_what_split_recommends_can_be_done(tmp_path):
    """With validation and without."""
    cohort = a_cohort()
    for more in ((), ("--no-validation",)):
        told = mitosieve("split", cohort, "--folds", 3, *more, "--out", tmp_path / "s.json")
        recipe, file, fold, _ = a_next_training(told)
        check_validation(load_recipe(recipe), Split.load(file), [fold])
