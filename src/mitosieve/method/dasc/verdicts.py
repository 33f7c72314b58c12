"""Which labels are clean, hard or noise, and which hard ones can be learned: stages DMU and DLE of DASC."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.errors import FrameError
from mitosieve.method.dasc.course import Course, Lesson, whole_epochs
from mitosieve.method.dasc.objectives import LevelObjective, MemoryObjective
from mitosieve.method.dasc.rules.levels import LevelConfig, LevelHits, difficulty_levels, kept_rows
from mitosieve.method.dasc.rules.memory import Memory, MemoryConfig
from mitosieve.method.dasc.rules.verdict import Verdict, VerdictConfig, suspicion, verdicts
from mitosieve.network.resnet import DualResNet, LevelNet
from mitosieve.run.folder import reading, write_atomic
from mitosieve.train.loop import TrainConfig
from mitosieve.train.sampler import EpochSampler, RatioSampler, balancing_repeats

VERDICTS_FILE = "verdicts.parquet"


class MemoryStage(BaseModel):
    """Dynamic memory units: how they are trained and read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: every label is clean."""
    stages: Annotated[int, Field(ge=1, le=4)] = 4
    """Of the networks of both branches."""
    memory: MemoryConfig = MemoryConfig()
    verdict: VerdictConfig = VerdictConfig()
    balanced: bool = True
    """Show the rarer class as often as the other in each epoch; else it would be forgotten for being rare."""
    train: TrainConfig = TrainConfig(batch_size=512, epochs=100, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "MemoryStage":
        whole_epochs(self.train, warm_up=self.memory.warm_up if self.enabled else 0)
        return self


class LevelStage(BaseModel):
    """Difficulty levels: how they are learned and which are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: every hard label is kept, at the level that its mixture component gives."""
    stages: Annotated[int, Field(ge=1, le=4)] = 3
    levels: LevelConfig = LevelConfig()
    train: TrainConfig = TrainConfig(batch_size=32, epochs=70, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "LevelStage":
        whole_epochs(self.train, warm_up=self.levels.warm_up if self.enabled else 0)
        return self


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
        told: dict[str, dict[str, int]] = {}
        for name, value in (("figures", 1), ("others", 0)):
            mine = label == value
            row = {item.value: int((mine & (self.verdict == item.value)).sum()) for item in Verdict}
            row |= {f"level {level}": int((mine & (self.level == level)).sum()) for level in (1, 2, 3)}
            told[name] = {**row, "kept": int((mine & self.kept).sum()), "of": int(mine.sum())}
        return told

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


def remember(stage: MemoryStage, course: Course) -> Memory:
    """Stage DMU: train two branches, and keep what they thought of each label at every epoch."""
    epochs = whole_epochs(stage.train)
    if course.is_trained("memory"):
        memory = Memory.load(course.file(""))
        if not np.array_equal(memory.patch_id, course.labels.index.patch_id):
            raise FrameError(
                "the memory is of another patch index", where=course.file(""), remedy="train into a new folder"
            )
        return memory
    config = course.shape(stage.stages)
    network = course.fresh(lambda: DualResNet(config), "memory")
    features = 2 * config.channels[-1]
    memory = Memory.of(course.labels.index.patch_id, course.label, stage.memory, epochs=epochs, features=features)
    sampler = EpochSampler(
        np.arange(len(course.labels)),
        repeats=balancing_repeats(course.label) if stage.balanced else None,
        batch_size=stage.train.batch_size,
        seed=course.seed,
        purpose="memory",
    )
    lesson = Lesson(
        stage="memory",
        sampler=sampler,
        augments=(course.weak, course.strong),
        target=course.label,
        steps=epochs * sampler.steps_per_epoch,
        config=stage.train,
        objective=MemoryObjective(memory=memory, steps_per_epoch=sampler.steps_per_epoch),
        keep=lambda: memory.save(course.file("")),
    )
    course.trained(network, lesson)
    return memory


def judge(memory_stage: MemoryStage, stage: LevelStage, course: Course, memory: Memory) -> tuple[Verdicts, list[str]]:
    """Stage DLE: verdicts of the memory, levels of the hard labels, and which of these can be learned.

    Returns:
        The verdicts, and what a reader of the run must know, a sentence each.

    Raises:
        TrainingError: nothing of a class is left.
    """
    verdict = verdicts(memory, memory_stage.verdict, course.seed)
    hard = verdict == Verdict.HARD.value
    rates = memory.forget_rate, memory.centroid_rate
    level, notes = difficulty_levels(*rates, course.label, hard, stage.levels, course.seed)
    hits = LevelHits.of(course.labels.index.patch_id)
    for value, name in ((1, "figures"), (0, "others")):
        mine = np.flatnonzero(hard & (course.label == value))
        if stage.enabled and len(mine):
            learn_levels(stage, course, level, mine, f"levels {name}", hits)
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


def learn_levels(
    stage: LevelStage,
    course: Course,
    level: NDArray[np.int8],
    rows: NDArray[np.intp],
    name: str,
    hits: LevelHits,
) -> None:
    """Train a network on the levels of one class's hard labels, drawn level by level alike; book its hits."""
    present = [int(value) for value in np.unique(level[rows])]
    if len(present) < 2:
        hits.record(rows, np.ones(len(rows), dtype=bool))  # one level cannot be mistaken for another
        return
    file = course.file(f"hits {name}.npz")
    if course.is_trained(name):
        with reading(file), file.open("rb") as whole, np.load(whole, allow_pickle=False) as content:
            hits.restore({key: content[key] for key in content.files})
        return
    epochs = whole_epochs(stage.train)
    per_epoch = -(-len(rows) // stage.train.batch_size)
    pools = {f"{name} {value}": rows[level[rows] == value] for value in present}
    objective = LevelObjective(hits=hits, warm_up_steps=stage.levels.warm_up * per_epoch)
    config = course.shape(stage.stages)
    lesson = Lesson(
        stage=name,
        sampler=RatioSampler(pools, dict.fromkeys(pools, 1.0), batch_size=stage.train.batch_size, seed=course.seed),
        augments=(course.weak,),
        target=np.maximum(level - 1, 0),
        steps=epochs * per_epoch,
        config=stage.train,
        objective=objective,
        keep=lambda: write_atomic(
            file, lambda open_file: np.savez(open_file, seen=hits.seen, correct=hits.correct, patch_id=hits.patch_id)
        ),
    )
    course.trained(course.fresh(lambda: LevelNet(config, max(present)), name), lesson)
