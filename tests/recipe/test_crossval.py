"""Laws of what a cross-validation refuses before it trains anything."""

import pytest

from build import a_cohort
from mitosieve.cohort.split import Fold, Split
from mitosieve.errors import RunFolderError, SplitError
from mitosieve.network.compute import Compute
from mitosieve.recipe.crossval import cross_validate
from mitosieve.recipe.recipe import load_recipe, parts_of, provenance_of
from mitosieve.run.folder import RunFolder
from mitosieve.run.layout import Kind

CPU = Compute.choose("cpu")
SPLIT = Split(
    folds={
        "A": Fold(train=("c0",), validation=("c1",), test=("c2",)),
        "B": Fold(train=("c2",), validation=("c0",), test=("c1",)),
    }
)


@pytest.fixture
def started(tmp_path):
    """(cohort, recipe, folder): a cross-validation that was begun, its first fold not."""
    cohort, recipe = a_cohort(tmp_path / "cohort"), load_recipe("chsnet-small")
    provenance = {**provenance_of(recipe, cohort), "folds": {name: parts_of(SPLIT, name) for name in SPLIT.folds}}
    RunFolder.create(tmp_path / "cv", provenance, kind=Kind.CROSSVAL, resume=False)
    return cohort, recipe, tmp_path / "cv"


def test_what_is_there_is_not_written_over(started, tmp_path):
    """Neither an earlier cross-validation nor a folder of something else."""
    cohort, recipe, folder = started
    with pytest.raises(RunFolderError, match="holds a run already"):
        cross_validate(recipe, cohort, SPLIT, folder, compute=CPU, resume=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("")
    with pytest.raises(RunFolderError, match="not empty"):
        cross_validate(recipe, cohort, SPLIT, tmp_path / "other", compute=CPU, resume=True)


def test_another_recipe_fold_or_kind_is_no_resume(started, tmp_path):
    """Refused at once: not when the first fold that differs is reached."""
    cohort, recipe, folder = started
    with pytest.raises(RunFolderError, match="was started with another recipe"):
        cross_validate(load_recipe("swift"), cohort, SPLIT, folder, compute=CPU, resume=True)
    with pytest.raises(RunFolderError, match="was started with another folds"):
        cross_validate(recipe, cohort, SPLIT, folder, folds=["B"], compute=CPU, resume=True)
    RunFolder.create(tmp_path / "run", {}, kind=Kind.TRAIN, resume=False)
    with pytest.raises(RunFolderError, match="was made by train, not by crossval"):
        cross_validate(recipe, cohort, SPLIT, tmp_path / "run", compute=CPU, resume=True)
    assert {item.name for item in folder.iterdir()} == {"run.json", "versions.json", ".lock"}


def test_a_case_that_is_tested_twice_is_refused(started, tmp_path):
    """Pooling would count it twice; nothing is written."""
    cohort, recipe, _ = started
    twice = Split(folds={"A": SPLIT.folds["A"], "B": SPLIT.folds["A"]})
    with pytest.raises(SplitError, match="c2 is tested in more than one"):
        cross_validate(recipe, cohort, twice, tmp_path / "new", compute=CPU, resume=False)
    assert not (tmp_path / "new").exists()


def test_a_fold_without_validation_is_refused_before_any_is_trained(started):
    """By name, where the recipe chooses on validation; the folds that have it are not trained first."""
    cohort, recipe, folder = started
    bare = Split(folds={"A": SPLIT.folds["A"], "B": Fold(train=("c0", "c2"), validation=(), test=("c1",))})
    with pytest.raises(SplitError, match="no validation case in fold B, and this recipe of method chsnet chooses"):
        cross_validate(recipe, cohort, bare, folder.parent / "new", compute=CPU, resume=False)
    assert not (folder.parent / "new").exists()
