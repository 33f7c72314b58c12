"""Negative search, the first stage of DASC (NS): which candidates that are no figure are worth learning from.

A screening network learns figures against random candidates, half of each batch; candidates that it takes for figures
all the same are the negatives. Source: DASC's public code, stages 0 and 1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mitosieve.errors import TrainingError
from mitosieve.method.dasc.course import begun
from mitosieve.method.dasc.labels import Labels
from mitosieve.network.loss import LossConfig
from mitosieve.network.resnet import ResNetCam, ResNetConfig
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.index import Origin
from mitosieve.run.seed import derive_generator
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig
from mitosieve.train.pool import PatchPool
from mitosieve.train.stage import StageTask, fresh, train_stage

CROSS_ENTROPY = LossConfig(kind="cross-entropy")

QUANTILES = (0.1, 0.5, 0.9)
"""Of the screening score of each kind, in the report of the balance."""


class SearchConfig(BaseModel):
    """Negative search; the defaults are those of DASC's public code where it has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: negatives are drawn at random, `per_figure` for each figure."""
    per_figure: int = Field(default=4, ge=1, le=100)
    """Random candidates of a slide that the screening network learns from, for each of its figures."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Candidates scored above it are false positives."""
    imposters: bool = True
    """Marked imposters are negatives whatever the screening network says. Ours: the method knows no imposters."""
    most: Annotated[int, Field(ge=1)] | None = None
    """Keep at most so many false positives, drawn at random; None keeps all, as the public code does."""
    stages: Annotated[int, Field(ge=1, le=4)] = 4
    """Of the screening network."""
    augment: DistortionConfig = DistortionConfig()
    train: TrainConfig = TrainConfig(batch_size=128, epochs=100, rates=((0.0, 1e-4),))
    """An epoch shows each figure once; one of the public code's 25 shows each in four patches."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """All that the search needs.

    Attributes:
        config: how.
        network: of the screening network; `stages` of the config stands for its own.
        labels: figures, imposters and all candidates of the training slides.
        pool: their pixels.
        validation: the same of the validation slides, for the curve.
        validation_rows: which of them.
        seed: of the run.
        initial: safetensors file with the body's first weights; None is random ones.
    """

    config: SearchConfig
    network: ResNetConfig
    labels: Labels
    pool: PatchPool
    validation: PatchPool
    validation_rows: NDArray[np.intp]
    seed: int
    initial: Path | None = None


def search_negatives(what: Search, job: Job) -> tuple[NDArray[np.intp], dict[str, Any]]:
    """Rows of `what.labels` that are worth learning from, ascending, and what is to be told of the balance.

    Raises:
        TrainingError: the screening network takes no candidate for a figure, and there is no imposter.
    """
    learned = screening_rows(what)
    shape = what.network.model_copy(update={"stages": what.config.stages})
    task = StageTask(
        name="screening",
        network=shape,
        config=what.config.train,
        loss=CROSS_ENTROPY,
        augment=what.config.augment,
        pool=what.pool,
        rows={"figures": what.labels.with_origin(Origin.FIGURE), "background": learned},
        ratio={"figures": 1.0, "background": 1.0},
        validation=what.validation,
        validation_rows=what.validation_rows,
        ledger=Ledger.of(what.labels.index.patch_id),
        seed=what.seed,
        start=begun(fresh(lambda: ResNetCam(shape), what.seed, "screening"), what.initial),
    )
    network = train_stage(task, job)
    score = what.pool.score(network, np.arange(len(what.labels)), job.compute, job.progress)
    background = what.labels.with_origin(Origin.BACKGROUND)
    taken = background[score[background] > what.config.threshold]
    if what.config.most is not None and len(taken) > what.config.most:
        order = derive_generator(what.seed, "false positives").permutation(len(taken))
        taken = taken[np.sort(order[: what.config.most])]
    chosen = with_marks(what, taken)
    if not (what.labels.index.label[chosen] == 0).any():
        raise TrainingError(
            f"the screening network takes none of {len(background)} candidates for a figure, so nothing is negative",
            where=job.run.path,
            remedy="lower search.threshold, or train the screening network for longer",
        )
    return chosen, balance(what, chosen, score)


def random_negatives(what: Search, count: int) -> NDArray[np.intp]:
    """Rows like those of `search_negatives`, with `count` negatives beside the imposters drawn at random."""
    background = what.labels.with_origin(Origin.BACKGROUND)
    order = derive_generator(what.seed, "random negatives").permutation(len(background))
    return with_marks(what, background[order[:count]])


def with_marks(what: Search, background: NDArray[np.intp]) -> NDArray[np.intp]:
    """These rows, all figures, and the imposters where they count; ascending."""
    imposters = what.labels.with_origin(Origin.IMPOSTER)[: None if what.config.imposters else 0]
    return np.sort(np.concatenate([what.labels.with_origin(Origin.FIGURE), imposters, background]))


def screening_rows(what: Search) -> NDArray[np.intp]:
    """Candidates that the screening network learns from: of each slide `per_figure` for each of its figures."""
    slides = what.labels.index.slide_id
    background = what.labels.with_origin(Origin.BACKGROUND)
    names, figures = np.unique(slides[what.labels.with_origin(Origin.FIGURE)], return_counts=True)
    chosen: list[NDArray[np.intp]] = []
    for name, count in zip(names, figures, strict=True):
        mine = background[slides[background] == name]
        order = derive_generator(what.seed, f"screening candidates of {name}").permutation(len(mine))
        chosen.append(mine[order[: int(count) * what.config.per_figure]])
    rows = np.sort(np.concatenate([np.zeros(0, dtype=np.intp), *chosen]))
    return rows if len(rows) else background


def balance(what: Search, chosen: NDArray[np.intp], score: NDArray[np.floating] | None) -> dict[str, Any]:
    """How many of each kind there are and are kept, and how the screening network scores what is kept."""
    origin = what.labels.index.origin
    told: dict[str, Any] = {"threshold": what.config.threshold if score is not None else None}
    for kind in (Origin.FIGURE, Origin.IMPOSTER, Origin.BACKGROUND):
        kept = chosen[origin[chosen] == kind.value]
        row: dict[str, Any] = {"of": int((origin == kind.value).sum()), "kept": len(kept)}
        if score is not None and len(kept):
            row["score_quantiles"] = [round(float(q), 4) for q in np.quantile(score[kept], QUANTILES)]
        told[kind.value] = row
    return told
