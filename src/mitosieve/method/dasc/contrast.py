"""The last stage of DASC (SDSCL) and what an audit needs beside it: out-of-fold scores and features of all labels."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from mitosieve.errors import FrameError, TrainingError
from mitosieve.method.dasc.course import Course, Lesson, whole_epochs
from mitosieve.method.dasc.negatives import CROSS_ENTROPY
from mitosieve.method.dasc.objectives import ContrastObjective, SdsclConfig
from mitosieve.method.dasc.verdicts import Verdicts
from mitosieve.network.compute import Compute
from mitosieve.network.resnet import ContrastNet, ResNetCam
from mitosieve.patch.augment.distortion import Distortion
from mitosieve.run.folder import reading, write_atomic
from mitosieve.run.seed import derive_generator
from mitosieve.train.loop import TrainConfig
from mitosieve.train.objective import Supervised
from mitosieve.train.pool import SCORED_AT_ONCE, validation_judge
from mitosieve.train.sampler import EpochSampler, RatioSampler, balancing_repeats


class ContrastStage(BaseModel):
    """Contrastive training: its loss and schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: plain cross-entropy of the same labels in as many steps; the location loss stays."""
    stages: Annotated[int, Field(ge=1, le=4)] = 3
    loss: SdsclConfig = SdsclConfig()
    train: TrainConfig = TrainConfig(batch_size=128, epochs=99, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "ContrastStage":
        whole_epochs(self.train, warm_up=self.loss.warm_up if self.enabled else 0)
        return self


class OutOfFoldStage(BaseModel):
    """Networks that score labels of slides they have not seen, for the audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    parts: int = Field(default=3, ge=2, le=20)
    """By case; by slide where there are fewer cases."""
    stages: Annotated[int, Field(ge=1, le=4)] = 3
    train: TrainConfig = TrainConfig(batch_size=128, epochs=25, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "OutOfFoldStage":
        whole_epochs(self.train)
        return self


def train_contrast(stage: ContrastStage, course: Course, found: Verdicts) -> ContrastNet:
    """Stage SDSCL: batches hold both classes alike; every sample is seen twice, under two strong distortions.

    An epoch has as many steps as the kept labels have batches, so the rarer class is seen more than once in it, as in
    the public code.
    """
    epochs = whole_epochs(stage.train)
    kept = np.flatnonzero(found.kept)
    figures, others = (kept[course.label[kept] == value] for value in (1, 0))
    if len(figures) == 0 or len(others) == 0:
        raise TrainingError(
            f"of {len(figures)} figures and {len(others)} other labels nothing can be learned",
            where=course.file(""),
            remedy="raise memory.verdict.noise_share, or look at the verdicts",
        )
    per_epoch = -(-len(kept) // stage.train.batch_size)
    loss = stage.loss if stage.enabled else _plain(stage.loss, epochs)
    objective = ContrastObjective(
        config=loss,
        label=course.label,
        level=found.level,
        is_figure=course.label == 1,
        embed=lambda network, rows: embed(network, course, rows),
        rows=kept,
        steps_per_epoch=per_epoch,
        patch_px=course.network.input_px,
        seed=course.seed,
    )
    pools = {"figures": figures, "others": others}
    lesson = Lesson(
        stage="classifier",
        sampler=RatioSampler(
            pools, {"figures": 1.0, "others": 1.0}, batch_size=stage.train.batch_size, seed=course.seed
        ),
        augments=(course.strong, course.strong),
        target=course.label,
        steps=epochs * per_epoch,
        config=stage.train,
        objective=objective,
        validate=validation_judge(course.validation, course.validation_rows, CROSS_ENTROPY, course.job.compute),
    )
    config = course.shape(stage.stages)
    return course.trained(course.fresh(lambda: ContrastNet(config), "classifier"), lesson)


def _plain(loss: SdsclConfig, epochs: int) -> SdsclConfig:
    return loss.model_copy(
        update={"alpha_sup": 0.0, "warm_up": 0, "hard_loss": "cross-entropy", "renew_epochs": epochs + 1}
    )


def embed(network: nn.Module, course: Course, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Unit vectors (N, D) of rows as they stand, by a network's projection; leaves the network as it was."""
    was_training = network.training
    network.eval()
    compute = course.job.compute
    found = [_projected(network, course, part, compute) for part in _parts(rows)]
    network.train(was_training)
    return np.concatenate(found)


def _parts(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[start : start + SCORED_AT_ONCE] for start in range(0, len(rows), SCORED_AT_ONCE)]


def _projected(network: nn.Module, course: Course, rows: NDArray[np.intp], compute: Compute) -> NDArray[np.float32]:
    images = course.pool.images(rows, Distortion.plain(len(rows)))
    half = compute.precision == "bf16-mixed"
    with torch.no_grad(), torch.autocast(compute.device, torch.bfloat16, enabled=half):
        project: Callable[..., torch.Tensor] = network.project  # pyright: ignore[reportAssignmentType] - a ContrastNet
        return project(compute.to_tensor(images)).float().cpu().numpy()


def score_out_of_fold(stage: OutOfFoldStage, course: Course) -> NDArray[np.float32]:
    """Probability of "mitotic figure" of each label, (N,), by a network that has not seen its case (or slide).

    All labels are learned from as they are marked: this is what other tools for label errors start from.

    Raises:
        TrainingError: a part leaves a class without labels.
        FormatError: scores of an earlier run are broken.
        FrameError: they are of another patch index.
    """
    path = course.file("out-of-fold.parquet")
    if path.exists():
        with reading(path):
            table = pd.read_parquet(path)
            score, of = table["score"].to_numpy(dtype=np.float32), table["patch_id"].to_numpy()
        if not np.array_equal(of, course.labels.index.patch_id):
            raise FrameError("the scores are of another patch index", where=path, remedy="train into a new folder")
        return score
    part_of = inner_parts(course, stage.parts)
    score = np.full(len(course.labels), np.nan, dtype=np.float32)
    for part in np.unique(part_of).tolist():
        rows = np.flatnonzero(part_of != part)
        sampler = EpochSampler(
            rows,
            repeats=balancing_repeats(course.label[rows]),
            batch_size=stage.train.batch_size,
            seed=course.seed,
            purpose=f"out of fold {part + 1}",
        )
        config = course.shape(stage.stages)
        name = f"without part {part + 1}"
        lesson = Lesson(
            stage=name,
            sampler=sampler,
            augments=(course.strong,),
            target=course.label,
            steps=whole_epochs(stage.train) * sampler.steps_per_epoch,
            config=stage.train,
            objective=Supervised(CROSS_ENTROPY),
        )
        network = course.trained(course.fresh(lambda config=config: ResNetCam(config), name), lesson)
        mine = np.flatnonzero(part_of == part)
        score[mine] = course.pool.score(network, mine, course.job.compute)
    table = pd.DataFrame({"patch_id": course.labels.index.patch_id, "score": score})
    write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))
    return score


def inner_parts(course: Course, parts: int) -> NDArray[np.int64]:
    """Inner part of each label, (N,): cases dealt round, or slides where there are fewer cases than parts.

    Raises:
        TrainingError: a part leaves a class without labels.
    """
    slides = course.labels.index.slide_id
    case = {entry.slide_id: entry.case_id for entry in course.job.cohort.slides}
    group = np.array([case[str(slide_id)] for slide_id in slides])
    if len(np.unique(group)) < parts:
        group = slides
    names = derive_generator(course.seed, "inner parts").permutation(np.unique(group))
    number = {name: i % parts for i, name in enumerate(names)}
    part_of = np.array([number[name] for name in group], dtype=np.int64)
    if any(len(np.unique(course.label[part_of != part])) < 2 for part in np.unique(part_of)):
        raise TrainingError(
            f"{parts} inner parts are too many: without one of them no figure, or nothing else, is left",
            where=course.job.cohort.folder,
            remedy="use fewer out_of_fold.parts, add training slides, or give out_of_fold.enabled = false",
        )
    return part_of


def save_embedding(network: ContrastNet, course: Course) -> None:
    """Write embedding.npz: unit vectors of all labels, for their neighbours in an audit."""
    path = course.file("embedding.npz")
    if not path.exists():
        z = embed(course.job.compute.place(network), course, np.arange(len(course.labels))).astype(np.float16)
        write_atomic(path, lambda file: np.savez(file, patch_id=course.labels.index.patch_id, z=z))
