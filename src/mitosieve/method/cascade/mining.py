"""Offline hard example mining: background that a first network takes for figures (Ma et al. 2018, section 3.2)."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.pool import PatchPool, screening_table


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


Apart = Callable[[str, NDArray[np.bool_]], nn.Module]
"""(name, which rows it may learn from) -> a screening network trained on those alone."""


def mine_false_positives(  # noqa: PLR0913 - what two methods have in common
    config: MiningConfig, job: Job, pool: PatchPool, ledger: Ledger, screening: nn.Module, train_apart: Apart, seed: int
) -> NDArray[np.intp]:
    """Score every training patch and choose the background scored above the threshold, as rows of the index.

    Args:
        config: threshold, and whose scores.
        job: of the run; its folder keeps the scores.
        pool: training patches as the screening network sees them.
        ledger: gets the scores.
        screening: trained on all of the pool.
        train_apart: trains a network without some rows; asked only for out-of-fold scores.
        seed: of the run.
    """
    path = job.file("mining.json")
    if path.exists() and (saved := job.file("ledger-mining.parquet")).exists():
        ledger.restore(Ledger.load(saved).arrays())
    else:
        for rows, network in _parts(config, job, pool, screening, train_apart, seed):
            ledger.record_mined(rows, pool.score(network, rows, job.compute, job.progress))
        ledger.save(job.file("ledger-mining.parquet"))
        kept = screening_table(ledger.score_mined[pool.figures], ledger.score_mined[pool.background], config.threshold)
        network = "screening" if config.scores == "in-sample" else "inner screening networks"
        write_json(path, {"rounds": [{"network": network, "scores": config.scores, **kept}]})
    background = pool.background
    return background[ledger.score_mined[background] > config.threshold]


def _parts(
    config: MiningConfig, job: Job, pool: PatchPool, screening: nn.Module, train_apart: Apart, seed: int
) -> Sequence[tuple[NDArray[np.intp], nn.Module]]:
    """Which rows are scored by which network: all by the screening network, or each by one that has not seen it."""
    if config.scores == "in-sample" or not config.enabled:
        return [(np.arange(len(pool.index)), screening)]
    part_of = _inner_folds(config.folds, job, pool, seed)
    return [
        (np.flatnonzero(part_of == number), train_apart(f"screening without part {number + 1}", part_of != number))
        for number in range(config.folds)
    ]


def _inner_folds(folds: int, job: Job, pool: PatchPool, seed: int) -> NDArray[np.int64]:
    """Inner fold of each row: cases dealt round, or slides where there are fewer cases than folds."""
    slides = pool.index.slide_id
    case = {entry.slide_id: entry.case_id for entry in job.cohort.slides}
    group = np.array([case[str(slide_id)] for slide_id in slides])
    if len(np.unique(group)) < folds:
        group = slides
    names = derive_generator(seed, "inner folds").permutation(np.unique(group))
    number = {name: i % folds for i, name in enumerate(names)}
    return np.array([number[name] for name in group], dtype=np.int64)
