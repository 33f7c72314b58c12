"""The last stage of DASC (SDSCL) and what an audit needs beside it: out-of-fold scores and features of all labels."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.errors import TrainingError
from mitosieve.method.dasc.course import Course
from mitosieve.method.dasc.negatives import CROSS_ENTROPY
from mitosieve.method.dasc.objectives import ContrastObjective, SdsclConfig
from mitosieve.method.dasc.verdicts import Verdicts
from mitosieve.network.compute import Compute
from mitosieve.network.resnet import ContrastNet, ResNetCam
from mitosieve.patch.augment.distortion import Distortion
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic
from mitosieve.train import (
    SCORED_AT_ONCE,
    EpochSampler,
    Lesson,
    PoolScores,
    RatioSampler,
    Supervised,
    balancing_repeats,
    inner_parts,
    learn,
    validation_curve,
)


def train_contrast(course: Course, found: Verdicts) -> ContrastNet:
    """Stage SDSCL: batches hold both classes alike; every sample is seen twice, under two strong distortions.

    An epoch has as many steps as the kept labels have batches, so the rarer class is seen more than once in it, as in
    the public code.
    """
    recipe, stage, seed = course.recipe, course.recipe.contrast, course.recipe.seed
    epochs = stage.train.whole_epochs()
    kept = np.flatnonzero(found.kept)
    kinds = {name: kept[course.label[kept] == value] for name, value in (("figures", 1), ("others", 0))}
    if not all(len(rows) for rows in kinds.values()):
        raise TrainingError(
            f"of {len(kinds['figures'])} figures and {len(kinds['others'])} other labels nothing can be learned",
            where=course.file(""),
            remedy="raise memory.verdict.noise_share, or look at the verdicts",
        )
    per_epoch = -(-len(kept) // stage.train.batch_size)
    objective = ContrastObjective(
        config=stage.loss if stage.enabled else _plain(stage.loss, epochs),
        label=course.label,
        level=found.level,
        is_figure=course.label == 1,
        embed=lambda network, rows: embed(network, course, rows),
        rows=kept,
        steps_per_epoch=per_epoch,
        patch_px=recipe.network.input_px,
        seed=seed,
    )
    config, pools = course.shape(stage.stages), course.pools
    sampler = RatioSampler(kinds, dict.fromkeys(kinds, 1.0), batch_size=stage.train.batch_size, seed=seed)
    lesson = Lesson(
        name=course.name_of("classifier"),
        network=course.fresh(lambda: ContrastNet(config), "classifier"),
        feed=course.feed("classifier", sampler, (recipe.strong, recipe.strong), course.label, kept),
        steps=epochs * per_epoch,
        schedule=stage.train,
        objective=objective,
        seed=seed,
        validate=validation_curve(pools.validation, pools.curve_rows, CROSS_ENTROPY, course.job.compute),
    )
    return learn(lesson, course.job)


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
    images = course.pools.train.images(rows, Distortion.plain(len(rows)))
    half = compute.precision == "bf16-mixed"
    with torch.no_grad(), torch.autocast(compute.device, torch.bfloat16, enabled=half):
        project: Callable[..., torch.Tensor] = network.project  # pyright: ignore[reportAssignmentType] - a ContrastNet
        return project(compute.to_tensor(images)).float().cpu().numpy()


def score_out_of_fold(course: Course) -> NDArray[np.float32]:
    """Probability of "mitotic figure" of each label, (N,), by a network that has not seen its case (or slide).

    All labels are learned from as they are marked: this is what other tools for label errors start from.

    Raises:
        TrainingError: a part leaves a class without labels.
        FormatError: scores of an earlier run are broken.
        FrameError: they are of another patch index.
    """
    patch_id, path = course.labels.index.patch_id, course.file(layout.OUT_OF_FOLD)
    if path.exists():
        return PoolScores.load(path, patch_id).score
    part = label_parts(course)
    score = np.full(len(course.labels), np.nan, dtype=np.float32)
    for number in np.unique(part).tolist():
        network = learn(_without_part(course, number + 1, np.flatnonzero(part != number)), course.job)
        held_out = np.flatnonzero(part == number)
        score[held_out] = course.pools.train.score(network, held_out, course.job.compute)
    PoolScores(patch_id=patch_id, score=score).save(path)
    return score


def _without_part(course: Course, number: int, rows: NDArray[np.intp]) -> Lesson[ResNetCam]:
    """The lesson of a network that learns from `rows` alone."""
    stage, name = course.recipe.out_of_fold, f"without part {number}"
    sampler = EpochSampler(
        rows,
        repeats=balancing_repeats(course.label[rows]),
        batch_size=stage.train.batch_size,
        seed=course.recipe.seed,
        purpose=f"out of fold {number}",
    )
    config = course.shape(stage.stages)
    return Lesson(
        name=course.name_of(name),
        network=course.fresh(lambda: ResNetCam(config), name),
        feed=course.feed(name, sampler, (course.recipe.strong,), course.label, rows),
        steps=stage.train.whole_epochs() * sampler.steps_per_epoch,
        schedule=stage.train,
        objective=Supervised(CROSS_ENTROPY),
        seed=course.recipe.seed,
    )


def label_parts(course: Course) -> NDArray[np.int64]:
    """Inner part of each label, (N,): see `inner_parts`.

    Raises:
        TrainingError: a part leaves a class without labels.
    """
    parts = course.recipe.out_of_fold.parts
    part = inner_parts(course.labels.index.slide_id, course.job.cohort.case_of, parts, course.recipe.seed)
    if any(len(np.unique(course.label[part != number])) < 2 for number in np.unique(part)):
        raise TrainingError(
            f"{parts} inner parts are too many: without one of them no figure, or nothing else, is left",
            where=course.job.cohort.folder,
            remedy="use fewer out_of_fold.parts, add training slides, or give out_of_fold.enabled = false",
        )
    return part


def save_embedding(network: ContrastNet, course: Course) -> None:
    """Write embedding.npz: unit vectors of all labels, for their neighbours in an audit."""
    path = course.file(layout.EMBEDDING)
    if not path.exists():
        z = embed(course.job.compute.place(network), course, np.arange(len(course.labels))).astype(np.float16)
        write_atomic(path, lambda file: np.savez(file, patch_id=course.labels.index.patch_id, z=z))
