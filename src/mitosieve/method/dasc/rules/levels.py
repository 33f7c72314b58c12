"""How hard a hard sample is: levels by a mixture, and which samples of them can be learned. Stage 3 (DLE) of DASC.

Knows rates, labels and hits by row: no pixels, no networks.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mitosieve.errors import FrameError, TrainingError
from mitosieve.method.dasc.rules.mixture import Mixture, fit_mixture
from mitosieve.method.dasc.rules.verdict import Verdict
from mitosieve.run.seed import derive_generator

CLASS_NAMES = ("other", "figure")
"""Of labels 0 and 1, for messages."""


class LevelConfig(BaseModel):
    """Levels of difficulty; three, and a hit rate of 0.5, are those of DASC's public code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: int = Field(default=3, ge=1, le=3)
    """Levels of each class at most; the contrastive loss has weights for three."""
    n_init: int = Field(default=10, ge=1, le=100)
    """Drawn starts of each mixture; see `fit_mixture`."""
    max_iter: int = Field(default=100, ge=1, le=100_000)
    """Steps of each mixture's fit at most."""
    hit: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Share of a hard sample's visits in which its level must be told rightly, for the sample to be kept."""
    warm_up: int = Field(default=10, ge=0, le=1000)
    """Epochs of the level network before hits are counted. In DASC's public code 10 stands for 11 of them: it counts
    after its epoch 10, numbered from 0."""


def difficulty_levels(
    forget_rate: NDArray[np.floating],
    centroid_rate: NDArray[np.floating],
    label: NDArray[np.integer],
    hard: NDArray[np.bool_],
    config: LevelConfig,
    seed: int,
) -> tuple[NDArray[np.int8], list[str]]:
    """Sort the hard samples of each class into levels of rising mean forget rate.

    Of each class the hard samples' two rates are z-scored and a Gaussian mixture of full covariance is fitted; its
    components are the levels, by rising mean forget rate of their samples, equal means by mean centroid rate. Where
    samples have fewer distinct points than components there are as many components as points, and one level where all
    are the same. Equal samples of a class get equal levels; the order of samples changes none.

    Args:
        forget_rate: (N,) finite on hard rows.
        centroid_rate: (N,) finite on hard rows.
        label: (N,) 0 or 1.
        hard: (N,) which samples have a level.
        config: number of levels and starts.
        seed: of the run; of the mixtures' starts.

    Returns:
        Levels (N,), 1 (least hard) and up on hard rows, 0 on others; and a note for each thing not as asked, naming
        the class: no hard sample, fewer levels, a fit that did not settle.

    Raises:
        ValueError: a rate of a hard sample is not finite.

    Source:
        The mixture is a reconstruction (docs/dasc.md). Differs from the public code, which discards samples
        that were never learned (forget rate 1): here they are the hardest, and whether they can be learned is asked of
        the network.
    """
    levels = np.zeros(len(label), dtype=np.int8)
    notes: list[str] = []
    points = np.stack([forget_rate, centroid_rate], axis=1).astype(np.float64)
    for number, name in enumerate(CLASS_NAMES):
        rows = np.flatnonzero(hard & (label == number))
        if len(rows) == 0:
            notes.append(f"class {name}: no hard samples, so no levels")
            continue
        fit = fit_mixture(
            points[rows],
            components=config.components,
            n_init=config.n_init,
            generator=derive_generator(seed, "levels", number),
            max_iter=config.max_iter,
        )
        levels[rows] = fit.component + 1
        notes += [f"class {name}: {note}" for note in _notes(fit, len(rows), config.components)]
    return levels, notes


def _notes(fit: Mixture, samples: int, components: int) -> list[str]:
    notes: list[str] = []
    if fit.asked < components:
        notes.append(
            f"{samples} hard samples have {fit.distinct} distinct points, so {fit.asked} of {components} levels"
        )
    if fit.size < fit.asked:
        notes.append(f"{fit.asked - fit.size} of {fit.asked} mixture components are empty, so {fit.size} levels")
    if not fit.converged:
        notes.append("the mixture did not settle; its last state is used")
    return notes


@dataclass(frozen=True, kw_only=True)
class LevelHits:
    """How often each sample's level was told rightly; updated in place. Whose epochs count is the caller's choice.

    Attributes:
        patch_id: (N,) int64, unique.
        seen: (N,) int32, recorded visits.
        correct: (N,) int32, of them with the right level.
    """

    patch_id: NDArray[np.int64]
    seen: NDArray[np.int32]
    correct: NDArray[np.int32]

    @classmethod
    def of(cls, patch_id: NDArray[np.int64]) -> "LevelHits":
        """Nothing recorded yet.

        Raises:
            ValueError: an id stands twice.
        """
        if len(np.unique(patch_id)) < len(patch_id):
            raise ValueError("a patch_id stands twice in the index")
        nothing = [np.zeros(len(patch_id), dtype=np.int32) for _ in range(2)]
        return cls(patch_id=patch_id.astype(np.int64), seen=nothing[0], correct=nothing[1])

    def __len__(self) -> int:
        return len(self.patch_id)

    def record(self, rows: NDArray[np.intp], correct: NDArray[np.bool_]) -> None:
        """Book one batch, (B,) each; a row that stands in it several times counts each time."""
        self.seen[:] += np.bincount(rows, minlength=len(self)).astype(np.int32)
        self.correct[:] += np.bincount(rows[correct], minlength=len(self)).astype(np.int32)

    def rate(self) -> NDArray[np.float64]:
        """(N,) correct / seen; 0 where never seen."""
        return self.correct / np.maximum(self.seen, 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All columns by name, for a checkpoint. Not copied."""
        return {"patch_id": self.patch_id, "seen": self.seen, "correct": self.correct}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take all columns from a checkpoint.

        Raises:
            FrameError: the checkpoint is of another index.
        """
        if not np.array_equal(arrays["patch_id"], self.patch_id):
            raise FrameError("the level hits are of another patch index", remedy="train again into a new folder")
        self.seen[:] = arrays["seen"]
        self.correct[:] = arrays["correct"]


def kept_rows(
    verdict: NDArray[np.str_],
    levels: NDArray[np.integer],
    hits: LevelHits,
    label: NDArray[np.integer],
    config: LevelConfig,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which samples the final classifier learns from: all clean ones, and the hard ones whose level can be learned.

    Args:
        verdict: (N,) of `Verdict`.
        levels: (N,) of `difficulty_levels` with the hard rows of this verdict.
        hits: of the level networks, same rows.
        label: (N,) 0 or 1.
        config: the hit rate asked for.

    Returns:
        kept (N,) and learnable (N,). Learnable is said of hard samples only: seen at least once, and correct / seen
        at least `config.hit`; clean and noise are not. Kept is clean or learnable.

    Raises:
        TrainingError: nothing is left of a class.
        ValueError: a hard sample has no level, or another one has.

    Source:
        DASC's public code, stage 3.
    """
    hard = verdict == Verdict.HARD.value
    if not np.array_equal(hard, np.asarray(levels) > 0):
        raise ValueError("levels must be above 0 on hard samples, and 0 on others")
    learnable = hard & (hits.seen > 0) & (hits.rate() >= config.hit)
    kept = (verdict == Verdict.CLEAN.value) | learnable
    for number, name in enumerate(CLASS_NAMES):
        of_class = label == number
        if not kept[of_class].any():
            noise, lost = int((of_class & (verdict == Verdict.NOISE.value)).sum()), int((of_class & hard).sum())
            raise TrainingError(
                f"of class {name} nothing is left to learn from: of {int(of_class.sum())} samples {noise} are noise "
                f"and {lost} hard and not learnable",
                remedy="raise noise_share of the verdict's rule or lower hit of the levels, or look at the labels",
            )
    return kept, learnable
