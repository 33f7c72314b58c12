"""Recipes: all load, say what they claim, and refuse what nobody can mean."""

import numpy as np
import pytest

from mitosieve.errors import RecipeError
from mitosieve.method.registry import METHODS
from mitosieve.recipe.recipe import load_recipe, recipe_to_toml
from mitosieve.recipe.text import recipe_names
from mitosieve.sieve.cascade import Scored, merge
from mitosieve.sieve.propose.grid import GridProposer

PAPER = {  # the paper's own numbers, sections 3 and 4
    "frame.mpp": 0.25,
    "frame.stain": "macenko",
    "variants": "paper",
    "windows.patch_px": 128,
    "windows.inner_px": 64,
    "windows.stride_px": 64,
    "windows.max_ioa": 0.0625,
    "augment.translate_px": 16,
    "augment.rotate": "any",
    "augment.flip": False,
    "augment.negatives": False,
    "network.width": 1,
    "network.dropout": 0.5,
    "network.batch_norm_decay": 0.99,
    "loss.kind": "semi-focal",
    "loss.alpha": 5,
    "loss.gamma": 2,
    "loss.clamp": 0.6,
    "loss.alpha_mode": "both",
    "screening.batch_size": 192,
    "screening.epochs": 10,
    "screening.rates": ((0, 0.1), (2 / 10, 0.01), (4 / 10, 1e-3), (6 / 10, 1e-4), (8 / 10, 3e-5)),
    "screening.between": "hold",
    "screening.ema_decay": 0.9,
    "screening.weight_decay": 2e-7,
    "screening.clip_norm": None,
    "screening_ratio": (1, 3),
    "refined.batch_size": 192,
    "refined.epochs": 15,
    "refined.rates": ((0, 0.1), (2.5 / 15, 0.01), (6 / 15, 1e-3), (9.5 / 15, 1e-4), (13 / 15, 3e-5)),
    "refined.ema_decay": 0.9,
    "refined.weight_decay": 2e-7,
    "refined_ratio": (1, 1, 3),
    "mining.enabled": True,
    "mining.threshold": 0.2,
    "mining.scores": "in-sample",
    "cascade.enabled": True,
    "thresholds.gate": 0.8,
    "thresholds.operating": 0.85,
    "cascade.proposer.stride_px": 64,
    "cascade.proposer.window_px": 128,
}


def value_of(recipe, key):
    for part in key.split("."):
        recipe = getattr(recipe, part)
    return recipe


@pytest.mark.parametrize("key", PAPER)
def test_the_paper_recipe_is_literal(key):
    """chsnet-paper holds each number as printed, also those we would not choose."""
    found, printed = value_of(load_recipe("chsnet-paper"), key), PAPER[key]
    if key.endswith("rates"):
        assert len(found) == len(printed)
        for pair, expected in zip(found, printed, strict=True):
            assert pair == pytest.approx(expected)
    else:
        assert found == printed


def test_the_small_recipe_fits_two_cores():
    """Width 1/8, at most 150,000 patches a training, fresh variants, stride 32, the refined network on survivors."""
    small = load_recipe("chsnet-small")
    assert small.network.width == 1 / 8
    assert 0 < small.screening.patch_visits <= 150_000
    assert 0 < small.refined.patch_visits <= 150_000
    assert small.variants == "fresh"
    assert small.cascade.proposer.stride_px == 32
    assert small.cascade.enabled
    assert small.thresholds.operating == "validation"


def test_the_recommended_recipe_is_the_paper_made_safe():
    """chsnet keeps the paper's size and loss, and differs in schedule, stride and where its threshold comes from."""
    ours, paper = load_recipe("chsnet"), load_recipe("chsnet-paper")
    assert (ours.network, ours.loss, ours.windows.patch_px) == (paper.network, paper.loss, paper.windows.patch_px)
    assert ours.screening.rates[0][1] == 1e-3
    assert [share for share, _ in ours.refined.rates] == [share for share, _ in paper.refined.rates]
    assert ours.cascade.proposer.stride_px <= 32
    assert ours.thresholds.operating == "validation"


@pytest.mark.parametrize("name", ["chsnet", "chsnet-paper", "chsnet-small"])
def test_what_a_run_writes_is_the_same_recipe(tmp_path, name):
    """The effective recipe as TOML reads back equal, defaults and overrides included."""
    recipe = load_recipe(name, ["seed=9", "mining.scores=out-of-fold", "screening.clip_norm=1.5"])
    file = tmp_path / "effective.toml"
    file.write_text(recipe_to_toml(recipe))
    assert load_recipe(str(file)) == recipe
    assert recipe_to_toml(load_recipe(str(file))) == file.read_text()


def test_whole_windows_are_of_the_patches_side():
    """A grid of other windows than the networks see is refused with both keys; 0 covers the slide as before."""
    with pytest.raises(RecipeError, match=r"cascade.proposer.window_px must be windows.patch_px"):
        load_recipe("chsnet-paper", ["windows.patch_px=96"])
    assert load_recipe("chsnet-paper", ["cascade.proposer.window_px=0"]).cascade.proposer == GridProposer(stride_px=64)


def test_names_are_those_that_load():
    """Every recipe of the package loads by its name, also where a folder of that name stands."""
    names = [
        "chsnet",
        "chsnet-paper",
        "chsnet-small",
        "dasc",
        "dasc-paper",
        "dasc-small",
        "finegrained",
        "finegrained-small",
        "sieve",
        "swift",
        "swift-tune",
    ]
    assert recipe_names() == names
    for name in recipe_names():
        assert load_recipe(name).method == name.partition("-")[0]


def test_a_folder_with_a_recipes_name_does_not_hide_it(tmp_path, monkeypatch):
    """`--out chsnet-small` makes such a folder."""
    (tmp_path / "chsnet-small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("chsnet-small").network.width == 1 / 8


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("network.width=0.25", ("network.width", 0.25)),
        ("loss.kind=focal", ("loss.kind", "focal")),
        ('loss.kind="focal"', ("loss.kind", "focal")),
        ("cascade.parts_too=true", ("cascade.parts_too", True)),
        ("screening.rates=[[0.0, 0.5]]", ("screening.rates", ((0.0, 0.5),))),
        ("cascade.proposer.stride_px=16", ("cascade.proposer.stride_px", 16)),
        ("thresholds.operating=validation", ("thresholds.operating", "validation")),
    ],
)
def test_overrides_are_read_as_toml_or_as_a_word(override, read):
    """--set reaches any value of any table."""
    key, value = read
    assert value_of(load_recipe("chsnet-paper", [override]), key) == value


def test_the_last_override_counts():
    """Left to right."""
    assert load_recipe("chsnet", ["seed=3", "seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("network.widht=1", ("unknown key 'network.widht'", "did you mean 'network.width'", "fusion")),
        ("minning.threshold=1", ("unknown key 'minning.threshold'", "did you mean 'mining.threshold'")),
        (
            "cascade.proposer.stride=8",
            ("unknown key 'cascade.proposer.stride'", "did you mean 'cascade.proposer.stride_px'"),
        ),
        ("qqq=1", ("unknown key 'qqq'", "valid keys here")),
        ("network.width=broad", ("network.width", "'broad'")),
        ("screening.batch_size=1.5", ("screening.batch_size", "1.5")),
        ("screening.batch_size=1", ("screening.batch_size", "1")),
        ("loss.gamma=nan", ("loss.gamma",)),
        ("loss.kind=hinge", ("loss.kind", "semi-focal")),
        ("mining.threshold=1.5", ("mining.threshold", "1.5")),
        ("screening.rates=[]", ("screening", "rates")),
        ("seed=-1", ("seed", "-1")),
        ("method=unet", ("method is 'unet'", "chsnet", "dasc")),
    ],
)
def test_wrong_values_are_refused_by_key(override, words):
    """The message names the recipe, the key and the value given."""
    with pytest.raises(RecipeError) as told:
        load_recipe("chsnet", [override])
    assert "recipe chsnet" in str(told.value)
    assert told.value.remedy
    for word in words:
        assert word in str(told.value)


@pytest.mark.parametrize("override", ["seed", "=3", "seed.x=1", ""])
def test_overrides_that_are_none(override):
    """--set takes key=value, and keys below a value do not exist."""
    with pytest.raises(RecipeError, match="--set"):
        load_recipe("chsnet", [override])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"method = ", ("is not TOML",)),
        (b"\xff\xfe", ("cannot be read as text",)),
        (b"seed = 1", ("method is 'None'",)),
        (b'method = "chsnet"\nseeed = 1', ("unknown key 'seeed'", "did you mean 'seed'")),
    ],
)
def test_broken_recipe_files(tmp_path, content, words):
    """The file is named."""
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(RecipeError) as told:
        load_recipe(str(tmp_path / "r.toml"))
    for word in (str(tmp_path / "r.toml"), *words):
        assert word in str(told.value)


def test_recipes_that_are_not_there(tmp_path):
    """A file's path is named; a name gets the nearest and all known ones."""
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe(str(tmp_path / "gone.toml"))
    with pytest.raises(RecipeError, match="did you mean 'chsnet-small'"):
        load_recipe("chsnet-smal")


def test_the_default_is_a_recipe_for_cpus():
    """`default` is `swift`, by another name."""
    assert load_recipe("default") == load_recipe("swift")


@pytest.mark.parametrize(
    ("recipe", "key", "now"),
    [
        ("chsnet", "cascade.screening_threshold", "thresholds.gate"),
        ("chsnet", "cascade.refined_threshold", "thresholds.operating"),
        ("swift", "screening_threshold", "thresholds.gate"),
        ("swift", "refined_threshold", "thresholds.operating"),
        ("dasc", "threshold", "thresholds.operating"),
        ("finegrained", "threshold", "thresholds.operating"),
    ],
)
def test_keys_of_before_are_refused_with_their_new_name(recipe, key, now):
    """Whoever has a recipe of before is told what to write instead."""
    with pytest.raises(RecipeError, match="has another name") as refused:
        load_recipe(recipe, [f"{key}=0.5"])
    assert refused.value.remedy is not None
    assert now in refused.value.remedy
    load_recipe(recipe, [f"{now}=0.5"])


@pytest.mark.parametrize(
    ("recipe", "setting", "said"),
    [
        ("sieve", "refined.carry=0.5", "carry, slope and offset are of the last of several stages"),
        ("sieve", "screening.carry=0.5", "carry, slope and offset are of the last of several stages"),
        ("swift", "refined.view.patch_px=80", "view.patch_px 80 is not network.input_px 64"),
        ("swift", "refined.view.patch_px=66", "view.patch_px 66 is not network.input_px 64"),
        ("swift", "screening.network.input_px=34", "view.patch_px 32 is not network.input_px 34"),
        ("swift", "refined.view.views=two", "gives 6 channels, and the network, of kind swift, takes 3"),
        ("swift", "refined.network={kind='chsnet'}", "gives 3 channels, and the network, of kind chsnet, takes 6"),
        ("dasc-small", "network.input_px=81", "network.input_px 81 is odd"),
    ],
)
def test_what_no_detector_can_be_is_refused_when_it_is_read(recipe, setting, said):
    """Not after every network is trained, and not as a traceback of the first step; both keys are named."""
    with pytest.raises(RecipeError, match=said):
        load_recipe(recipe, [setting])


@pytest.mark.parametrize(
    ("settings", "side"),
    [
        (("refined.view.views=two", "refined.view.patch_px=128", "refined.network={kind='chsnet'}"), 128),
        (("refined.view.patch_px=80", "refined.network={kind='residual', input_px=80}"), 80),
        (("refined.view.patch_px=68", "refined.network={kind='rototranslation'}"), 68),
    ],
)
def test_a_stage_may_have_any_network_that_fits_its_view(settings, side):
    """A network of any kind, where it takes what the view shows."""
    assert load_recipe("swift", settings).refined.view.patch_px == side


@pytest.mark.parametrize("side", [48, 80])
@pytest.mark.parametrize("network", ["residual", "resnet"])
def test_a_network_without_a_field_of_its_own_takes_patches_of_any_size(network, side):
    """The network of `sieve` is one; nothing says what it sees but the view."""
    settings = [f"strong.view.patch_px={side}", f"strong.network={{kind='{network}'}}"]
    assert load_recipe("sieve", settings).strong.view.patch_px == side


@pytest.mark.parametrize("name", recipe_names())
def test_the_detector_of_every_recipe_merges_as_it_says(name):
    """Two places nearer than `merge_um` are one detection; farther apart than that and than 7.5 um they are two.

    Of DASC's they are two as soon as they are farther apart than `merge_um`.
    """
    recipe = load_recipe(name)
    config = METHODS[recipe.method].detector(recipe)
    one_below = config.merge_um if recipe.method == "dasc" else max(config.merge_um, 7.5)
    for apart_um, count in ((config.merge_um - 0.1, 1), (one_below + 0.1, 2)):
        places = np.array([[100.0, 100.0], [100.0 + apart_um / config.frame.mpp, 100.0]])
        scored = Scored(center_px=places, score=np.array([[0.9], [0.8]]).repeat(len(config.stages), axis=1))
        assert len(merge(scored, config)[0]) == count
