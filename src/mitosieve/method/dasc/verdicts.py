"""Which labels are clean, hard or noise, and which hard ones can be learned: stages DMU and DLE of DASC."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.errors import FrameError
from mitosieve.method.dasc.course import Course
from mitosieve.method.dasc.objectives import LevelObjective, MemoryObjective
from mitosieve.method.dasc.rules.levels import LevelHits, difficulty_levels, kept_rows
from mitosieve.method.dasc.rules.memory import Memory
from mitosieve.method.dasc.rules.verdict import Verdict, label_verdicts, suspicion
from mitosieve.network.resnet import DualResNet, LevelNet
from mitosieve.run import layout
from mitosieve.run.folder import reading, write_atomic
from mitosieve.train import EpochSampler, Lesson, RatioSampler, balancing_repeats, learn


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What is thought of each label, (N,) columns.

    Attributes:
        patch_id: of the labels.
        verdict: "clean", "hard" or "noise".
        level: 0 easy (clean), 1 to 3 of hard ones, -1 of noise.
        learnable: whether a hard label's level was learned; False of others.
        kept: whether it is learned from.
        forget_rate, centroid_rate, suspicion: of its memory; 0 where there was none.
    """

    patch_id: NDArray[np.int64]
    verdict: NDArray[np.str_]
    level: NDArray[np.int8]
    learnable: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    forget_rate: NDArray[np.float64]
    centroid_rate: NDArray[np.float64]
    suspicion: NDArray[np.float64]

    @classmethod
    def all_clean(cls, patch_id: NDArray[np.int64]) -> "Verdicts":
        """Nothing is known against any label."""
        n = len(patch_id)
        return cls(
            patch_id=patch_id,
            verdict=np.full(n, Verdict.CLEAN.value),
            level=np.zeros(n, dtype=np.int8),
            learnable=np.zeros(n, dtype=bool),
            kept=np.ones(n, dtype=bool),
            forget_rate=np.zeros(n),
            centroid_rate=np.zeros(n),
            suspicion=np.zeros(n),
        )

    def count(self, label: NDArray[np.integer]) -> dict[str, dict[str, int]]:
        """Labels of each class by verdict, hard ones by level, and how many are kept."""
        counts: dict[str, dict[str, int]] = {}
        for name, value in (("figures", 1), ("others", 0)):
            of_class = label == value
            row = {item.value: int((of_class & (self.verdict == item.value)).sum()) for item in Verdict}
            row |= {f"level {level}": int((of_class & (self.level == level)).sum()) for level in (1, 2, 3)}
            counts[name] = {**row, "kept": int((of_class & self.kept).sum()), "of": int(of_class.sum())}
        return counts

    def save(self, path: Path) -> Path:
        """Write as parquet; equal verdicts give equal bytes."""
        table = pd.DataFrame({**vars(self), "verdict": self.verdict.astype(object)})
        return write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))

    @classmethod
    def load(cls, path: Path, patch_id: NDArray[np.int64]) -> "Verdicts":
        """Read what `save` wrote.

        Raises:
            FormatError: it is broken.
            FrameError: it is of another patch index.
        """
        with reading(path):
            return cls._of_table(pd.read_parquet(path), path, patch_id)

    @classmethod
    def _of_table(cls, table: pd.DataFrame, path: Path, patch_id: NDArray[np.int64]) -> "Verdicts":
        if not np.array_equal(table["patch_id"].to_numpy(), patch_id):
            raise FrameError("the verdicts are of another patch index", where=path, remedy="train into a new folder")
        return cls(
            patch_id=patch_id,
            verdict=table["verdict"].to_numpy(dtype=np.str_),
            level=table["level"].to_numpy(dtype=np.int8),
            learnable=table["learnable"].to_numpy(dtype=np.bool_),
            kept=table["kept"].to_numpy(dtype=np.bool_),
            forget_rate=table["forget_rate"].to_numpy(dtype=np.float64),
            centroid_rate=table["centroid_rate"].to_numpy(dtype=np.float64),
            suspicion=table["suspicion"].to_numpy(dtype=np.float64),
        )


def remember(course: Course) -> Memory:
    """Stage DMU: train two branches, and keep what they thought of each label at every epoch."""
    stage, seed = course.recipe.memory, course.recipe.seed
    epochs = stage.train.whole_epochs()
    if course.is_trained("memory"):
        memory = Memory.load(course.file(""))
        if not np.array_equal(memory.patch_id, course.labels.index.patch_id):
            raise FrameError(
                "the memory is of another patch index", where=course.file(""), remedy="train into a new folder"
            )
        return memory
    config = course.shape(stage.stages)
    features = 2 * config.channels[-1]
    memory = Memory.of(course.labels.index.patch_id, course.label, stage.memory, epochs=epochs, features=features)
    learned = np.arange(len(course.labels))
    sampler = EpochSampler(
        learned,
        repeats=balancing_repeats(course.label) if stage.balanced else None,
        batch_size=stage.train.batch_size,
        seed=seed,
        purpose="memory",
    )
    lesson = Lesson(
        name=course.name_of("memory"),
        network=course.fresh(lambda: DualResNet(config, stage.head), "memory"),
        feed=course.feed("memory", sampler, (course.recipe.weak, course.recipe.strong), course.label, learned),
        steps=epochs * sampler.steps_per_epoch,
        schedule=stage.train,
        objective=MemoryObjective(memory=memory, steps_per_epoch=sampler.steps_per_epoch),
        seed=seed,
        keep=lambda: memory.save(course.file("")),
    )
    learn(lesson, course.job)
    return memory


def judge(course: Course, memory: Memory) -> tuple[Verdicts, list[str]]:
    """Stage DLE: verdicts of the memory, levels of the hard labels, and which of these can be learned.

    Returns:
        The verdicts, and what a reader of the run must know, a sentence each.

    Raises:
        TrainingError: nothing of a class is left.
    """
    stage, seed = course.recipe.levels, course.recipe.seed
    verdict = label_verdicts(memory, course.recipe.memory.verdict, seed)
    hard = verdict == Verdict.HARD.value
    rates = memory.forget_rate, memory.centroid_rate
    level, notes = difficulty_levels(*rates, course.label, hard, stage.levels, seed)
    hits = LevelHits.of(course.labels.index.patch_id)
    for value, name in ((1, "figures"), (0, "others")):
        rows = np.flatnonzero(hard & (course.label == value))
        if stage.enabled and len(rows):
            learn_levels(course, level, rows, f"levels {name}", hits)
    if stage.enabled:
        kept, learnable = kept_rows(verdict, level, hits, course.label, stage.levels)
    else:
        kept, learnable = verdict != Verdict.NOISE.value, hard
    noise = verdict == Verdict.NOISE.value
    return Verdicts(
        patch_id=course.labels.index.patch_id,
        verdict=verdict,
        level=np.where(noise, -1, level).astype(np.int8),
        learnable=learnable,
        kept=kept,
        forget_rate=rates[0],
        centroid_rate=rates[1],
        suspicion=suspicion(memory),
    ), notes


def learn_levels(course: Course, level: NDArray[np.int8], rows: NDArray[np.intp], name: str, hits: LevelHits) -> None:
    """Train a network on the levels of one class's hard labels, drawn level by level alike; book its hits."""
    stage, seed = course.recipe.levels, course.recipe.seed
    present = [int(value) for value in np.unique(level[rows])]
    if len(present) < 2:
        hits.record(rows, np.ones(len(rows), dtype=bool))  # one level cannot be mistaken for another
        return
    file = course.file(layout.hits_of(name))
    if course.is_trained(name):
        with reading(file), file.open("rb") as whole, np.load(whole, allow_pickle=False) as content:
            hits.restore({key: content[key] for key in content.files})
        return
    per_epoch = -(-len(rows) // stage.train.batch_size)
    pools = {f"{name} {value}": rows[level[rows] == value] for value in present}
    config = course.shape(stage.stages)
    sampler = RatioSampler(pools, dict.fromkeys(pools, 1.0), batch_size=stage.train.batch_size, seed=seed)
    lesson = Lesson(
        name=course.name_of(name),
        network=course.fresh(lambda: LevelNet(config, max(present), stage.head), name),
        feed=course.feed(name, sampler, (course.recipe.weak,), np.maximum(level - 1, 0), rows),
        steps=stage.train.whole_epochs() * per_epoch,
        schedule=stage.train,
        objective=LevelObjective(hits=hits, warm_up_steps=stage.levels.warm_up * per_epoch),
        seed=seed,
        keep=lambda: write_atomic(
            file, lambda open_file: np.savez(open_file, seen=hits.seen, correct=hits.correct, patch_id=hits.patch_id)
        ),
    )
    learn(lesson, course.job)
