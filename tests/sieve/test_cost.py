"""Costs are counted from the network itself."""

import pytest
import torch

from mitosieve.network.registry import build_network
from mitosieve.recipe.recipe import load_recipe
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
