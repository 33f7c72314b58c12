"""Laws of study files: what they say, and what is refused in words."""

import tomllib

import pytest

from mitosieve.errors import RecipeError
from mitosieve.recipe.recipe import load_recipe
from mitosieve.study.study import load_study, study_names, study_to_toml

SMALL = """
title = "Two rows"
reference = "one"
recipe = "swift"
set = ["mining.threshold=0.3"]
[[rows]]
name = "one"
[[rows]]
name = "two"
set = ["mining.threshold=0.4"]
"""


def a_file(folder, text=SMALL):
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def refusal(folder, text):
    with pytest.raises(RecipeError) as told:
        load_study(a_file(folder, text))
    return str(told.value)


@pytest.mark.parametrize("name", study_names())
def test_every_study_of_the_package_can_be_planned(name):
    """Each row's recipe is valid with its overrides, and each asks for a reference and more than one row."""
    study = load_study(name)
    assert len(study.rows) > 1
    for row in study.rows:
        recipe = load_recipe(study.recipe_of(row), study.overrides_of(row, 7))
        assert recipe.seed == 7


def test_the_studies_that_are_promised_are_there():
    """By the names that the documents use."""
    assert {"table4", "table2and3", "dasc-ablation", "regimes", "three-methods", "losses"} <= set(study_names())


def test_a_row_is_the_study_and_what_it_changes(tmp_path):
    """Recipe and overrides of the study, then the row's, then the seed: the later wins."""
    study = load_study(a_file(tmp_path))
    one, two = study.rows
    assert load_recipe(study.recipe_of(one), study.overrides_of(one, 3)).mining.threshold == 0.3
    assert load_recipe(study.recipe_of(two), study.overrides_of(two, 3)).mining.threshold == 0.4


def test_a_study_survives_its_own_file(tmp_path):
    """What is written beside the results is the study that made them."""
    study = load_study(a_file(tmp_path))
    assert load_study(a_file(tmp_path, study_to_toml(study))) == study
    assert tomllib.loads(study_to_toml(study))["title"] == "Two rows"


def test_paths_are_relative_to_the_file(tmp_path):
    """Cohort, split and recipe files; names of recipes stay names."""
    text = SMALL.replace("[[rows]]", 'cohort = "data/c"\nsplit = "data/s.json"\n[[rows]]', 1)
    study = load_study(a_file(tmp_path, text + '[[rows]]\nname = "three"\nrecipe = "own.toml"\n'))
    assert (study.cohort, study.split) == (str(tmp_path / "data/c"), str(tmp_path / "data/s.json"))
    assert [study.recipe_of(row) for row in study.rows] == ["swift", "swift", str(tmp_path / "own.toml")]


def test_faults_of_a_file_are_told_in_words(tmp_path):
    """What, where, remedy."""
    mistyped = refusal(tmp_path, SMALL.replace('name = "one"', 'name = "one"\ndetecter = "x"'))
    assert "unknown key 'rows.0.detecter'" in mistyped
    assert "did you mean 'detector'?" in mistyped
    assert "the reference 'none' is no row" in refusal(tmp_path, SMALL.replace('"one"', '"none"', 1))
    controlled = SMALL.replace('name = "two"', 'name = "two"\ncontrol = "three"')
    assert "the control of 'two' is 'three', which is no row; rows: one, two" in refusal(tmp_path, controlled)
    assert "the control of 'two' is itself" in refusal(tmp_path, controlled.replace("three", "two"))
    assert "two rows are called 'one'" in refusal(tmp_path, SMALL.replace('"two"', '"one"'))
    assert "has no recipe" in refusal(tmp_path, SMALL.replace('recipe = "swift"\n', ""))
    assert "a seed stands twice" in refusal(tmp_path, "seeds = [1, 1]\n" + SMALL)
    assert "is not TOML" in refusal(tmp_path, "title = ")
    assert "seeds" in refusal(tmp_path, "seeds = []\n" + SMALL)
    with pytest.raises(RecipeError, match="did you mean 'table4'"):
        load_study("tabel4")
    with pytest.raises(RecipeError, match="cannot be read as text"):
        load_study(str(tmp_path / "gone.toml"))
