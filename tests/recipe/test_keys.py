"""Keys of recipes: told without torch, and never other than the recipes' classes."""

import subprocess
import sys

import pytest

from mitosieve.errors import RecipeError
from mitosieve.recipe.keys import check_keys, known_keys, nearest_key
from mitosieve.recipe.recipe import recipe_to_toml
from mitosieve.recipe.schema import keys_of_methods
from mitosieve.recipe.text import recipe_content, recipe_names


def test_the_file_holds_the_keys_of_the_classes():
    """keys.json is what the recipes' classes make of themselves; else: python docs/make_recipe_keys.py."""
    assert known_keys() == keys_of_methods()


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_has_known_keys(name):
    """Also with all defaults written out: no key of a whole recipe is refused."""
    import tomllib

    from mitosieve.recipe.recipe import load_recipe

    check_keys(recipe_content(name)[0], name)
    check_keys(tomllib.loads(recipe_to_toml(load_recipe(name))), name)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("screening.batch_size", "screening.train.batch_size"),
        ("refined.batch_size", "refined.train.batch_size"),
        ("refined.train.batchsize", "refined.train.batch_size"),
        ("treshold.gate", "thresholds.gate"),
        ("gate", "thresholds.gate"),
        ("seeed", "seed"),
        ("zzz", None),
    ],
)
def test_the_nearest_key_may_stand_in_another_table(wrong, right):
    """A forgotten table is found by the key's last word, a misspelt word by its likeness."""
    assert nearest_key(wrong, known_keys()["swift"]["keys"]) == right


def test_keys_in_lists_of_tables_are_looked_at():
    """A table of a list is read as a table: its unknown key is named by its path."""
    content, _ = recipe_content("finegrained-small")
    content["controls"] = [{"nmae": "x"}]
    with pytest.raises(RecipeError, match=r"unknown key 'controls\.nmae'"):
        check_keys(content, "here")


def test_torch_is_not_needed_to_refuse_a_key():
    """Text and keys of recipes import neither torch nor numpy nor pydantic."""
    code = (
        "import sys\nfrom mitosieve.recipe.keys import check_keys\nfrom mitosieve.recipe.text import recipe_content\n"
        "check_keys(*recipe_content('default'))\nprint({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
