"""What a detector's networks cost: multiply-adds a patch and weights, stage by stage."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mitosieve.sieve.detector import Detector


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage, all its networks together.

    Attributes:
        name: of the stage.
        multiply_adds: of one patch as it is, alone; turns of the patch are not counted. Of a roto-translation network
            turning the kernels is counted with it, which training does once a batch and detection once for all.
        weights: numbers in all its networks.
    """

    name: str
    multiply_adds: int
    weights: int


def costs_of(detector: Detector) -> tuple[StageCost, ...]:
    """Costs in the order of the stages, counted by torch on a patch of zeros: half its floating point operations."""
    found: list[StageCost] = []
    for stage, networks in zip(detector.config.stages, detector.modules, strict=True):
        image = stage.view.images(np.zeros((1, stage.patch_px, stage.patch_px, 3), np.uint8))
        patch = torch.from_numpy(image).permute(0, 3, 1, 2).float()
        total = 0
        for network in networks:
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                network(patch)
            total += counter.get_total_flops() // 2
        weights = sum(p.numel() for network in networks for p in network.parameters())
        found.append(StageCost(name=stage.name, multiply_adds=total, weights=weights))
    return tuple(found)
