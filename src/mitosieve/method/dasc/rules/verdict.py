"""What a memory says of each label: clean, hard or noise; and how probably it is wrong.

Knows a `Memory` and numbers: no pixels, no networks. What DASC's public code counts is known, but not how it
concludes from it: the "fraction" rule is a reconstruction (docs/dasc.md), and the ranking `suspicion` is ours.
"""

from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import rankdata

from mitosieve.errors import RecipeError, TrainingError
from mitosieve.method.dasc.rules.memory import Memory
from mitosieve.method.dasc.rules.mixture import upper_component
from mitosieve.run.seed import derive_generator

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Verdict(StrEnum):
    """What is thought of a training label."""

    CLEAN = "clean"
    """The networks learn it without trouble."""
    HARD = "hard"
    """They learn it late, or forget it; the label may well be right."""
    NOISE = "noise"
    """They never come to believe it."""


class VerdictConfig(BaseModel):
    """The rule and its thresholds; the defaults are the first reconstruction, the recipes' are in docs/dasc.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["fraction", "literal"] = "fraction"
    """fraction: by shares of the counted epochs; literal: by whether a flag was ever set, as the public code has it."""
    noise_share: Share = 0.5
    """Noise is flagged noise in this share of its counted epochs or more (rule fraction)."""
    hard_share: Share = 0.1
    """A sample flagged hard in this share of its counted epochs or more is hard (rule fraction)."""
    forget: Share = 0.05
    """A sample with a higher forget rate is hard (rule fraction)."""
    centroid: bool = True
    """Whether noise must also lie high in centroid rate (rule fraction)."""
    n_init: int = Field(default=5, ge=1, le=100)
    """Drawn starts of each mixture that tells high rates from low ones (rule fraction)."""


def label_verdicts(memory: Memory, config: VerdictConfig, seed: int) -> NDArray[np.str_]:
    """A `Verdict` for each sample.

    Rule "fraction": noise if noise_share is at least `config.noise_share`, and forget rate and centroid rate are both
    in the upper component of a mixture of two Gaussians, fitted to that rate over the samples of one label; hard if
    not noise, and hard_share is at least `config.hard_share` or the forget rate is above `config.forget`; else clean.
    Where a rate is the same for all samples of a label, none is high, so none of them is noise.

    Rule "literal": noise if ever flagged noise; hard if never noise and ever flagged hard; else clean.

    Equal samples get equal verdicts, and the order of samples changes none.

    Args:
        memory: after its last epoch.
        config: the rule.
        seed: of the run; of the mixtures' starts.

    Returns:
        (N,) "clean", "hard" or "noise".

    Raises:
        TrainingError: a sample was never visited after warm-up, so that nothing is known of it.
        RecipeError: centroid rates are asked for and the memory has none.

    Source:
        "literal" is DASC's public code, "fraction" a reconstruction (docs/dasc.md). Which values are high
        is our reading of "upper component": see `upper_component`.
    """
    _check_counted(memory)
    if config.rule == "literal":
        noise, hard = memory.noise > 0, memory.hard > 0
    else:
        noise = _noise_by_shares(memory, config, seed)
        hard = (memory.hard_share >= config.hard_share) | (memory.forget_rate > config.forget)
    return np.where(noise, Verdict.NOISE.value, np.where(hard, Verdict.HARD.value, Verdict.CLEAN.value))


def suspicion(memory: Memory) -> NDArray[np.float64]:
    """How probably each label is wrong, 0..1, as a rank and not as a probability.

    The mean of three percent ranks among the samples of the same label (rank / n; equal values share their mean rank):
    of noise_share, forget_rate, and 1 - the mean p(y) of the fused head over the counted epochs. So 1 is the worst in
    all three. Equal samples of a label get equal values. A rate that is the same for all changes no order.

    Raises:
        TrainingError: a sample was never visited after warm-up.

    Source:
        The first two are DASC's quantities (docs/dasc.md); putting them together with the mean confidence, with equal
        weights and by ranks, is ours. The centroid rate has no say: it does not tell wrong labels where they were
        planted, and on tissue it is lower for the figures that experts disagree on (docs/results.md).
    """
    _check_counted(memory)
    columns = (memory.noise_share, memory.forget_rate, 1 - memory.mean_confidence())
    answer = np.zeros(len(memory))
    for label in (0, 1):
        of_class = np.flatnonzero(memory.label == label)
        for column in columns if len(of_class) else ():
            answer[of_class] += rankdata(column[of_class], method="average") / len(of_class) / len(columns)
    return answer


def _noise_by_shares(memory: Memory, config: VerdictConfig, seed: int) -> NDArray[np.bool_]:
    if config.centroid and not memory.scd_epochs.any():
        raise RecipeError(
            "the memory holds no centroid distances, and without a high one nothing is noise",
            remedy="give centroid = false to the verdict's rule, or train for more epochs after warm-up",
        )
    rates = {"forget": memory.forget_rate}
    if config.centroid:
        rates["centroid"] = memory.centroid_rate
    noise = memory.noise_share >= config.noise_share
    for label in (0, 1):
        of_class = np.flatnonzero(memory.label == label)
        for name, rate in rates.items() if len(of_class) else ():
            generator = derive_generator(seed, f"verdict {name}", label)
            noise[of_class] &= upper_component(rate[of_class], n_init=config.n_init, generator=generator)
    return noise


def _check_counted(memory: Memory) -> None:
    missing = memory.patch_id[memory.counted == 0]
    if len(missing):
        raise TrainingError(
            f"{len(missing)} of {len(memory)} samples were never visited after warm-up (first: patch_id {missing[0]})",
            remedy="train for more epochs, or give a smaller warm_up",
        )
