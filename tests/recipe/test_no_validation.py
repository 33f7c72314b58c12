"""Folds of training and test alone: who can be trained on them, who is refused before anything is made."""

import json

import pytest

import searched
import small_dasc
import tiny
from mitosieve import Detector, Split
from tiny import ONE_CORE, mitosieve

NUMBERS = ("thresholds.gate=0.1", "thresholds.operating=0.3")
SWIFT = (
    *(f"{part}.train.{length}" for part in ("screening", "refined") for length in ("patch_visits=64", "batch_size=32")),
    "refined.network.widths=[8, 8, 16]",
    "refined.network.stem=0",
)
RECIPES = {
    "chsnet-small": (*tiny.SETTINGS, *tiny.SHORTER),
    "swift": SWIFT,
    "dasc-small": (*small_dasc.SETTINGS, "out_of_fold.enabled=false"),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Five small slides, two folds without validation."""
    folder = small_dasc.a_cohort(tmp_path_factory.mktemp("bare") / "cohort")
    told = mitosieve("split", folder, "--folds", 2, "--no-validation", "--out", folder / "bare.json")
    assert told.code == 0, told.err
    return folder


def words(settings):
    return [word for setting in settings for word in ("--set", setting)]


def train(cohort, out, recipe, settings):
    fold = ("--split", cohort / "bare.json", "--fold", "A", "--out", out)
    return mitosieve("train", recipe, cohort, *fold, *ONE_CORE, *words(settings))


@pytest.mark.parametrize("recipe", RECIPES)
def test_numbers_for_thresholds_are_all_that_a_recipe_needs(cohort, tmp_path, recipe):
    """Every method trains to the end, validates nothing on the way, has its numbers, and says so, to reports too."""
    numbers = NUMBERS if recipe != "dasc-small" else NUMBERS[1:]
    told = train(cohort, tmp_path / "run", recipe, (*RECIPES[recipe], *numbers))
    assert told.code == 0, told.err
    assert "note: no validation case in A: thresholds are numbers, of the recipe or the start" in told.err
    assert Detector.load(tmp_path / "run").config.threshold == 0.3
    assert not (tmp_path / "run" / "validation").exists()
    histories = list((tmp_path / "run" / "history").rglob("*.json"))
    assert histories
    assert not any("validation" in key for path in histories for row in json.loads(path.read_text()) for key in row)
    assert set(json.loads((tmp_path / "run" / "patches.json").read_text())["validation"].values()) == {0}
    assert mitosieve("report", tmp_path / "run").code == 0
    assert "No threshold was chosen on validation cases" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("recipe", "settings", "chosen"),
    [
        ("chsnet-small", (), "thresholds.operating"),
        ("chsnet-paper", ("thresholds.gate=validation",), "thresholds.gate"),
        ("swift", (), "thresholds.gate and thresholds.operating"),
        ("dasc-small", (), "thresholds.operating"),
        ("finegrained-small", (*searched.SETTINGS, "thresholds.operating=0.5"), "the search for a regime"),
    ],
)
def test_what_is_chosen_on_validation_is_refused_before_anything_is_made(cohort, tmp_path, recipe, settings, chosen):
    """By train and by crossval, with what is chosen, the folds that lack it and a remedy; no folder is left."""
    told = train(cohort, tmp_path / "run", recipe, settings)
    many = mitosieve(
        *("crossval", recipe, cohort, "--split", cohort / "bare.json", "--out", tmp_path / "cv"), *words(settings)
    )
    for refused, folds in ((told, "fold A"), (many, "folds A, B")):
        assert refused.code == 2
        assert f"bare.json: no validation case in {folds}, and this recipe of method " in refused.err
        assert f"chooses {chosen} on them" in refused.err
        assert "remedy: take a split with validation cases" in refused.err
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cv").exists()


def test_a_cross_validation_of_such_folds_is_pooled(cohort, tmp_path):
    """Every case is tested once, at the recipe's threshold; the commands that ask for validation say there is none."""
    fold = ("--split", cohort / "bare.json", "--fold", "A")
    settings = words((*RECIPES["chsnet-small"], *NUMBERS))
    told = mitosieve(
        *("crossval", "chsnet-small", cohort, "--split", cohort / "bare.json", "--out", tmp_path / "cv"),
        *(*ONE_CORE, *settings),
    )
    assert told.code == 0, told.err
    assert "note: no validation case in A, B" in told.err
    assert json.loads((tmp_path / "cv" / "metrics.json").read_text())["pooled"]["cases"] == 5
    asked = mitosieve(
        *(
            "detect",
            "--detector",
            tmp_path / "cv" / "A",
            "--cohort",
            cohort,
            *fold,
            "--part",
            "validation",
            "--out",
            tmp_path / "v",
        )
    )
    scored = mitosieve("evaluate", tmp_path / "cv" / "A" / "test", cohort, *fold, "--part", "validation")
    for refused in (asked, scored):
        assert refused.code == 2
        assert "bare.json: fold A has no validation case" in refused.err
    assert not (tmp_path / "v").exists()


def test_a_table_without_validation_needs_the_word(cohort, tmp_path):
    """Else a forgotten part would show only when a recipe asks; with the word, validation cases are trained on."""
    given = Split.load(cohort / "split.json")
    rows = [f"{n},{case},{part}" for n, f in given.folds.items() for part in ("train", "test") for case in f.part(part)]
    held = [f"{n},{case},validation" for n, f in given.folds.items() for case in f.validation]
    (tmp_path / "whole.csv").write_text("\n".join(["fold,case,part", *rows, *held]))
    trained = [f"{n},{case},train" for n, f in given.folds.items() for case in f.validation]
    (tmp_path / "bare.csv").write_text("\n".join(["fold,case,part", *rows, *trained]))
    out = ("--out", tmp_path / "split.json")
    told = mitosieve("split", cohort, "--table", tmp_path / "bare.csv", *out)
    assert told.code == 2
    assert "bare.csv: no validation case in folds A, B, C" in told.err
    assert "--no-validation" in told.err
    assert not (tmp_path / "split.json").exists()
    for name in ("bare", "whole"):
        told = mitosieve("split", cohort, "--table", tmp_path / f"{name}.csv", "--no-validation", *out)
        assert told.code == 0, told.err
        assert Split.load(tmp_path / "split.json") == given.without_validation()
