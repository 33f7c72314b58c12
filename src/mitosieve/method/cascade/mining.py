"""Offline hard example mining: background that a first network takes for figures (Ma et al. 2018, section 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.errors import TrainingError
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.train import Job, PatchPool, PoolScores, inner_parts


class MiningConfig(BaseModel):
    """Offline hard example mining (section 3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: the refined network is trained like the screening network, without false positives."""
    threshold: float = Field(default=0.2, ge=0, le=1)
    """Background windows that the screening network scores above this are false positives (section 3.1.1)."""
    scores: Literal["in-sample", "out-of-fold"] = "in-sample"
    """Whether windows are scored by the network that has trained on them (the paper), or by one that has not."""
    folds: int = Field(default=3, ge=2, le=20)
    """Inner folds for out-of-fold scores: by case, or by slide where there are fewer cases than folds."""


Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What the batches of one network of a cascade are made of.

    Attributes:
        kinds: rows of the training pool by kind.
        ratio: share of each kind.
    """

    kinds: dict[str, NDArray[np.intp]]
    ratio: dict[str, float]

    @classmethod
    def screening(cls, pool: PatchPool, ratio: tuple[float, float], seen: NDArray[np.bool_] | None = None) -> "Mixture":
        """Figures and background of the rows `seen` (N,); None is all (section 4.2.2)."""
        rows = {"figures": pool.figures, "background": pool.background}
        kinds = rows if seen is None else {name: kind[seen[kind]] for name, kind in rows.items()}
        return cls(kinds=kinds, ratio=dict(zip(kinds, ratio, strict=True)))

    @classmethod
    def refined(cls, pool: PatchPool, ratio: tuple[float, float, float], mined: NDArray[np.intp]) -> "Mixture":
        """Figures, background and the false positives that mining found (section 3.2)."""
        kinds = {"figures": pool.figures, "background": pool.background, "false positives": mined}
        return cls(kinds=kinds, ratio=dict(zip(kinds, ratio, strict=True)))


Apart = Callable[[str, NDArray[np.bool_]], nn.Module]
"""(name, which rows it may learn from) -> a screening network trained on those alone."""


def mine_false_positives(
    config: MiningConfig, job: Job, pool: PatchPool, screening: nn.Module, train_apart: Apart, seed: int
) -> NDArray[np.intp]:
    """Score every training patch and choose the background scored above the threshold, as rows of the index.

    Args:
        config: threshold, and whose scores.
        job: of the run; its folder keeps the scores.
        pool: training patches as the screening network sees them.
        screening: trained on all of the pool.
        train_apart: trains a network without some rows; asked only for out-of-fold scores.
        seed: of the run.

    Raises:
        TrainingError: without one of the inner parts there is no figure.
    """
    path, scores_path = job.file(layout.MINING), job.file(layout.MINING_SCORES)
    if path.exists() and scores_path.exists():
        score = PoolScores.load(scores_path, pool.index.patch_id).score
    else:
        score = np.full(len(pool.index), np.nan, dtype=np.float32)
        for rows, network in _scorers(config, job, pool, screening, train_apart, seed):
            score[rows] = pool.score(network, rows, job.compute, job.progress)
        PoolScores(patch_id=pool.index.patch_id, score=score).save(scores_path)
        kept = screening_table(score[pool.figures], score[pool.background], config.threshold)
        network = "screening" if config.scores == "in-sample" else "inner screening networks"
        write_json(path, {"rounds": [{"network": network, "scores": config.scores, **kept}]})
    return pool.background[score[pool.background] > config.threshold]


def _scorers(
    config: MiningConfig, job: Job, pool: PatchPool, screening: nn.Module, train_apart: Apart, seed: int
) -> Sequence[tuple[NDArray[np.intp], nn.Module]]:
    """Which rows are scored by which network: all by the screening network, or each by one that has not seen it."""
    if config.scores == "in-sample" or not config.enabled:
        return [(np.arange(len(pool.index)), screening)]
    part = inner_parts(pool.index.slide_id, job.cohort.case_of, config.folds, seed)
    if any((part[pool.figures] == number).all() for number in range(config.folds)):
        raise TrainingError(
            f"of {config.folds} inner parts one holds all figures: without it there is none to learn from",
            where=job.run.path,
            remedy='use fewer mining.folds, or mining.scores = "in-sample"',
        )
    return [
        (np.flatnonzero(part == number), train_apart(f"screening without part {number + 1}", part != number))
        for number in range(config.folds)
    ]


def screening_table(
    score_figures: NDArray[np.floating], score_background: NDArray[np.floating], threshold: float
) -> dict[str, Any]:
    """What a screening network keeps of its training patches: a row of the paper's table 2.

    "Positive" are figure variants, "negative" background windows; a score above `threshold` is kept (section 3.1.1).
    """
    tp, fp = int((score_figures > threshold).sum()), int((score_background > threshold).sum())
    fn, tn = len(score_figures) - tp, len(score_background) - fp
    return {
        "threshold": threshold,
        "TP": tp,
        "FN": fn,
        "FP": fp,
        "TN": tn,
        "recall_positive": tp / max(1, tp + fn),
        "recall_negative": tn / max(1, tn + fp),
        "precision": tp / max(1, tp + fp),
        "F1": 2 * tp / max(1, 2 * tp + fp + fn),
    }
