"""What a stage can afford on one slide: gates that let so many places a mm2 through, set on the slide's sample.

So what a slide costs is known before it is read: a tissue that a screening network finds figures all over costs no
more than another, and on one where it is unsure of all that it sees the next stage still has its places to look at.
The sample depends on the slide alone (`slide.overview.sample_blocks`): tiles, shards and a resumed job set the same
gates.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Region
from mitosieve.sieve.stages import Judge, Scorer, gates_of, seen_by
from mitosieve.sieve.tile_reader import Find, Found, Request, Sample

LARGE_MM2 = 4.0
"""On slides with less tissue than this a budget is what a stage is given at least: they take seconds, and in a field of
the hottest tissue there may be more figures a mm2 than a budget for whole slides lets through."""


@dataclass
class _Block:
    """A block of the sample, and what is left of its places."""

    core: Region
    found: Found
    center_px: NDArray[np.float64]


def gate_for(score: NDArray[np.floating], area_mm2: float, per_mm2: float) -> float:
    """The gate that lets at most `per_mm2` places a mm2 through, as many as it can.

    Args:
        score: (N,) in 0..1, of all places of some area.
        area_mm2: of the area.
        per_mm2: wanted. Of equal scores all pass or none; those of 1 pass whatever is wanted.

    Returns:
        The middle between the last score that passes and the first that does not; 0 where all pass.
    """
    falling = np.sort(np.asarray(score, dtype=np.float64))[::-1]
    most = int(per_mm2 * area_mm2)
    if most >= len(falling):
        return 0.0
    first_out = falling[most]
    passing = falling[falling > first_out]
    last_in = float(passing[-1]) if len(passing) else 1.0
    return (last_in + float(first_out)) / 2


def gates_within(scorer: Scorer, sample: Sample) -> Generator[Request | Judge, Any, tuple[float, ...]]:
    """The gates of a slide: what the next stage can afford passes, whatever its scores; of a small slide also what
    reaches the stage's threshold, and of a stage before one without a budget this alone.

    Args:
        scorer: of the detector, whose stages say what they can afford (`Stage.per_mm2`).
        sample: of the slide.

    Yields:
        What it needs read of the sample's blocks, or judged, as a tile does.
    """
    gates = list(gates_of(scorer.detector))
    budgets = [stage.per_mm2 for stage in scorer.detector.config.stages]
    limited = [number for number, budget in enumerate(budgets) if budget is not None]
    if not limited or sample.area_mm2 == 0:
        return tuple(gates)
    is_small = sample.tissue_mm2 < LARGE_MM2
    blocks: list[_Block] = []
    for core in sample.blocks:
        found: Found = yield Find(core=core, everywhere=True)
        blocks.append(_Block(core=core, found=found, center_px=found.center_px))
    for number in range(limited[-1]):
        scores: list[NDArray[np.float64]] = []
        for block in blocks:
            seen = yield from seen_by(scorer, number, block.core, block.found, block.center_px, 0.0)
            block.center_px = seen.center_px
            scores.append(seen.score.max(axis=1))
        budget = budgets[number + 1]
        if budget is not None:
            own = gate_for(np.concatenate(scores), sample.area_mm2, budget)
            gates[number] = min(gates[number], own) if is_small else own
        for block, score in zip(blocks, scores, strict=True):
            block.center_px = block.center_px[score >= gates[number]]
    return tuple(gates)
