"""Offline hard example mining: background that a first network takes for figures (Ma et al. 2018, section 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from mitosieve.errors import TrainingError
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.train import Job, PatchPool, PoolScores, inner_parts, parts_note


class MiningConfig(BaseModel):
    """Offline hard example mining (section 3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: the refined network is trained like the screening network, without false positives."""
    kind: Literal["mined", "survivors", "random"] = "mined"
    """What the refined network learns from. "mined": figures, background and the screening network's false positives
    (section 3.2). "survivors": only what the screening network scores above `threshold`, figures and background alike,
    the ordinary cascade (section 3.1.2). "random": all figures, and background at random, a control without mining.
    Batches of all three hold as many figures and as many negatives; for the ordinary cascade the paper has no ratio."""
    threshold: float = Field(default=0.2, ge=0, le=1)
    """Background windows that the screening network scores above this are false positives (section 3.1.1)."""
    scores: Literal["in-sample", "out-of-fold"] = "in-sample"
    """Whether windows are scored by the network that has trained on them (the paper), or by one that has not."""
    folds: int = Field(default=3, ge=2, le=20)
    """Inner folds for out-of-fold scores: by case, or by slide where there are fewer cases than folds."""

    @model_validator(mode="after")
    def _consistent(self) -> "MiningConfig":
        if not self.enabled and self.kind != "mined":
            raise ValueError("mining.kind says what an enabled mining leaves: drop mining.enabled, or mining.kind")
        return self

    @property
    def out_of_fold(self) -> bool:
        """Whether networks of inner folds are trained for the scores; not where nothing is chosen by them."""
        return self.scores == "out-of-fold" and self.enabled and self.kind != "random"


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
    def refined(
        cls, config: MiningConfig, pool: PatchPool, ratio: tuple[float, float, float], survivors: NDArray[np.intp]
    ) -> "Mixture":
        """What an enabled mining leaves the refined network (sections 3.1.2 and 3.2).

        Args:
            config: which kind.
            pool: training patches as the refined network sees them.
            ratio: figures : background : false positives; where all negatives are of one kind, that has both shares.
            survivors: rows that the screening network scores above the threshold.

        Raises:
            TrainingError: it is to learn from survivors alone, and no figure or no background survived.
        """
        if config.kind == "mined":
            mined = np.intersect1d(pool.background, survivors)
            kinds = {"figures": pool.figures, "background": pool.background, "false positives": mined}
            return cls(kinds=kinds, ratio=dict(zip(kinds, ratio, strict=True)))
        kinds = {"figures": pool.figures, "background": pool.background}
        if config.kind == "survivors":
            kinds = {name: np.intersect1d(rows, survivors) for name, rows in kinds.items()}
        empty = [name for name, rows in kinds.items() if not len(rows)]
        if config.kind == "survivors" and empty:
            raise TrainingError(
                f"of the {empty[0]} none is scored above {config.threshold:g} by the screening network, and the "
                "refined network learns from what is",
                remedy='lower mining.threshold, train the screening network longer, or set mining.kind = "mined"',
            )
        return cls(kinds=kinds, ratio={"figures": ratio[0], "background": ratio[1] + ratio[2]})


Apart = Callable[[str, NDArray[np.bool_]], nn.Module]
"""(name, which rows it may learn from) -> a screening network trained on those alone."""


def find_survivors(
    config: MiningConfig, job: Job, pool: PatchPool, screening: nn.Module, train_apart: Apart, seed: int
) -> NDArray[np.intp]:
    """Score every training patch and choose those scored above the threshold, as rows of the index, ascending.

    The background among them are the false positives.

    Args:
        config: threshold, and whose scores.
        job: of the run; its folder keeps the scores.
        pool: training patches as the screening network sees them.
        screening: trained on all of the pool.
        train_apart: trains a network without some rows; asked only for out-of-fold scores.
        seed: of the run.

    Raises:
        TrainingError: without one of the inner parts there is no figure, or no background.
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
        network = "inner screening networks" if config.out_of_fold else "screening"
        scores = "out-of-fold" if config.out_of_fold else "in-sample"
        write_json(path, {"rounds": [{"network": network, "scores": scores, **kept}]})
    return np.flatnonzero(score > config.threshold)


def _scorers(
    config: MiningConfig, job: Job, pool: PatchPool, screening: nn.Module, train_apart: Apart, seed: int
) -> Sequence[tuple[NDArray[np.intp], nn.Module]]:
    """Which rows are scored by which network: all by the screening network, or each by one that has not seen it."""
    if not config.out_of_fold:
        return [(np.arange(len(pool.index)), screening)]
    part = parts_of_mining(config, job, pool, seed)
    job.note(parts_note(pool.index.slide_id, job.cohort.case_of, config.folds))
    if job.start is not None:
        job.note(
            f"the {config.folds} networks that mine out of fold begin at random, not with the start, which may have "
            'seen what they are to judge; mining.scores = "in-sample" mines by the network that goes on'
        )
    return [
        (np.flatnonzero(part == number), train_apart(f"screening without part {number + 1}", part != number))
        for number in np.unique(part).tolist()  # of fewer slides than folds some parts would be empty
    ]


def parts_of_mining(config: MiningConfig, job: Job, pool: PatchPool, seed: int) -> NDArray[np.int64]:
    """(N,) inner part of each training patch for out-of-fold mining; all in one where mining is in sample.

    Asked before the screening network is trained too, so that what cannot be mined costs no hours.

    Raises:
        TrainingError: without one of the parts there is no figure, or no background.
    """
    if not config.out_of_fold:
        return np.zeros(len(pool.index), dtype=np.int64)
    part = inner_parts(pool.index.slide_id, job.cohort.case_of, config.folds, seed)
    numbers = np.unique(part).tolist()
    for name, rows in (("figures", pool.figures), ("background", pool.background)):
        if any((part[rows] == number).all() for number in numbers):
            raise TrainingError(
                f"of {len(numbers)} inner parts one holds all {name}: without it there is none to learn from",
                where=job.run.path,
                remedy='use fewer mining.folds, or mining.scores = "in-sample"',
            )
    return part


def screening_table(
    score_figures: NDArray[np.floating], score_background: NDArray[np.floating], threshold: float
) -> dict[str, Any]:
    """What a screening network keeps of its training patches: a row of the paper's table 2.

    "Positive" are figure variants, "negative" background windows; a score above `threshold` is kept (section 3.1.1).
    """
    return {"threshold": threshold, **kept_table(score_figures > threshold, score_background > threshold)}


def kept_table(kept_figures: NDArray[np.bool_], kept_background: NDArray[np.bool_]) -> dict[str, Any]:
    """Counts and shares of which figures (F,) and which background (B,) are kept; 0 where a share is of nothing.

    Source: Ma et al. 2018, equations 1 to 3 and table 2; its "FN" are figures that are not kept.
    """
    tp, fp = int(kept_figures.sum()), int(kept_background.sum())
    fn, tn = len(kept_figures) - tp, len(kept_background) - fp
    return {
        "TP": tp,
        "FN": fn,
        "FP": fp,
        "TN": tn,
        "recall_positive": tp / max(1, tp + fn),
        "recall_negative": tn / max(1, tn + fp),
        "precision": tp / max(1, tp + fp),
        "F1": 2 * tp / max(1, 2 * tp + fp + fn),
    }
