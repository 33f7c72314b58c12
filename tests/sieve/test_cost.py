"""Costs are counted from the network itself, and named as they are."""

import re

import pytest
import torch

from mitosieve.network.registry import build_network
from mitosieve.recipe.recipe import load_recipe
from mitosieve.recipe.text import recipe_names, recipe_text
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.cost import costs_of
from mitosieve.sieve.detector import Detector


@pytest.mark.parametrize(("name", "view"), [("swift", "screening"), ("swift", "refined"), ("chsnet-small", None)])
def test_multiply_adds_are_those_of_its_layers(name, view):
    """The oracle walks over the layers: kernel times channels for every number of every map."""
    recipe = load_recipe(name)
    part = recipe if view is None else getattr(recipe, view)
    seen = {"patch_px": recipe.windows.patch_px} if view is None else part.view.model_dump()
    stage = Stage(name="only", network=part.network, **seen)
    network = build_network(part.network).eval()
    total = 0

    def count(layer, _, found):
        nonlocal total
        if isinstance(layer, torch.nn.Linear):
            total += layer.in_features * found.numel()
        else:
            total += layer.weight[0].numel() * found.numel()

    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    (cost,) = costs_of(Detector(config=DetectorConfig(stages=(stage,)), networks=((network,),)))
    assert cost.multiply_adds == total > 1e6
    assert cost.weights == sum(p.numel() for p in network.parameters())


def named_networks(recipe):
    """Each network of a recipe that is no control's, with the patches that it sees."""
    stages = [getattr(recipe, name) for name in ("screening", "refined", "strong") if hasattr(recipe, name)]
    if hasattr(recipe, "windows"):
        return [(recipe.network, {"patch_px": recipe.windows.patch_px})]
    if hasattr(recipe, "network"):
        return [(recipe.network, recipe.view.model_dump())]
    return [(stage.network, stage.view.model_dump()) for stage in stages]


def million_adds(network, seen):
    """Of one patch."""
    stage = Stage(name="only", network=network, **seen)
    modules = ((build_network(network).eval(),),)
    (cost,) = costs_of(Detector(config=DetectorConfig(stages=(stage,)), networks=modules))
    return cost.multiply_adds / 1e6


@pytest.mark.parametrize(
    "name", [name for name in recipe_names() if "multiply-adds" in recipe_text(name).split("method =")[0]]
)
def test_multiply_adds_that_a_recipe_names_are_those_of_its_networks(name):
    """Each "N million multiply-adds" of its first lines is one network's, to the digits given; a share is chsnet's."""
    said = re.sub(r"\n# *", " ", recipe_text(name).split("method =")[0])
    found = [million_adds(*one) for one in named_networks(load_recipe(name))]
    given = re.findall(r"([\d,]+)(\.\d+)? million multiply-adds", said)
    assert given
    for whole, digits in given:
        number, places = float(whole.replace(",", "") + digits), max(len(digits) - 1, 0)
        assert number in [round(one, places) for one in found]
    for part in re.findall(r"a (\d+)th of the work", said):
        (full,) = (million_adds(*one) for one in named_networks(load_recipe("chsnet")))
        assert round(full / found[0]) == int(part)
