"""Dynamic memory units: what two views and their fusion have thought of each sample's label, epoch by epoch.

Knows ids, labels and numbers: no pixels, no networks. Stage 2 (DMU) of DASC; what is concluded is in `verdict`.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mitosieve.errors import FormatError, FrameError, RecipeError, TrainingError
from mitosieve.method.dasc.rules.centroid import centroid_distances
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic

VIEWS = ("weak", "strong", "fused")
"""Order of the heads wherever there are three."""


_COUNTS = ("seen", "learning", "forget", "clean", "hard", "noise", "scd_epochs")
_STATE = (*_COUNTS, "scd", "centroid", "confidence", "history", "ended", "visited", "last", "active")


class MemoryConfig(BaseModel):
    """How the memory remembers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    momentum: float = Field(default=0.99, gt=0, lt=1)
    """Share of a running value kept at each epoch of a training of 100 epochs; see `momentum_of`."""
    warm_up: int = Field(default=5, ge=0, le=1000)
    """Epochs at the start of which nothing is counted. Epochs are numbered from 0."""

    def momentum_of(self, epochs: int) -> float:
        """Share kept at each epoch of a training of `epochs`: momentum^(100 / epochs).

        So the memory is as full at the end of every training, however long: 1 - 0.99^100 = 0.63 of the way.

        Source:
            Reconstruction (docs/dasc.md): with 0.99 itself a short training flags almost no noise.
        """
        return self.momentum ** (100 / epochs)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One row a sample. The arrays are updated in place: of the records, this one changes.

    "Counted" epochs are those from `config.warm_up` on (numbered from 0) in which the sample was visited.

    Attributes:
        patch_id: (N,) int64, unique.
        label: (N,) int8, 1 = mitotic figure.
        config: how it remembers.
        epochs: of the training.
        features: F, length of the fused feature; 0 keeps no firing patterns and no centroid distances.
        seen: (N,) int32, epochs in which the sample was visited, warm-up included.
        learning: (N,) int32, counted epochs in which the fused head gave the label more than 0.5.
        forget: (N,) int32, the other counted epochs; a tie at 0.5 is not learned, whatever the label.
        clean: (N,) int32, counted epochs in which both views were surer of the label than their memory.
        hard: (N,) int32, those in which one was.
        noise: (N,) int32, those in which neither was; clean + hard + noise = learning + forget.
        scd: (N,) float64, sum of the scaled centroid distances (0..1 each) over `scd_epochs`.
        scd_epochs: (N,) int32, epochs after warm-up's end (epoch > warm_up) in which it was visited.
        centroid: (N,) float64, d: running value of the centroid distance, falling from about 1.
        confidence: (3, N) float64, c: running value of the larger class probability of each of `VIEWS`, from about 0.
        history: (epochs, N) float16, p(y) of the fused head; NaN where not visited.
        ended: (epochs,) bool, epochs that are over.
        visited: (N,) bool, visited in the open epoch.
        last: (N, 3) float32, probability of "mitotic figure" at the last visit of the open epoch; 0 where none.
        active: (N, ceil(F / 8)) uint8, firing pattern at that visit, packed; 0 where none.
    """

    patch_id: NDArray[np.int64]
    label: NDArray[np.int8]
    config: MemoryConfig
    epochs: int
    features: int
    seen: NDArray[np.int32]
    learning: NDArray[np.int32]
    forget: NDArray[np.int32]
    clean: NDArray[np.int32]
    hard: NDArray[np.int32]
    noise: NDArray[np.int32]
    scd: NDArray[np.float64]
    scd_epochs: NDArray[np.int32]
    centroid: NDArray[np.float64]
    confidence: NDArray[np.float64]
    history: NDArray[np.float16]
    ended: NDArray[np.bool_]
    visited: NDArray[np.bool_]
    last: NDArray[np.float32]
    active: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        patch_id: NDArray[np.int64],
        label: NDArray[np.integer],
        config: MemoryConfig,
        *,
        epochs: int,
        features: int = 0,
    ) -> "Memory":
        """An empty memory: every c is 1 / N and every d is 1 - 1 / N (DASC's public code), N the number of samples.

        Raises:
            ValueError: an id stands twice, or labels are not N of 0 and 1.
            TrainingError: there is no sample.
            RecipeError: nothing would be counted, for warm-up is as long as the training.
        """
        n = len(patch_id)
        if n == 0:
            raise TrainingError("there is no sample to remember")
        if len(np.unique(patch_id)) < n:
            raise ValueError("a patch_id stands twice in the index")
        if label.shape != (n,) or not np.isin(label, (0, 1)).all():
            raise ValueError("labels must be one 0 or 1 a sample")
        if epochs <= config.warm_up:
            raise RecipeError(
                f"of {epochs} epochs {config.warm_up} are warm-up, so none is counted",
                remedy="train for more epochs, or give a smaller warm_up",
            )
        return cls(
            patch_id=patch_id.astype(np.int64),
            label=label.astype(np.int8),
            config=config,
            epochs=epochs,
            features=features,
            **{name: np.zeros(n, dtype=np.int32) for name in _COUNTS},
            scd=np.zeros(n),
            centroid=np.full(n, 1 - 1 / n),
            confidence=np.full((len(VIEWS), n), 1 / n),
            history=np.full((epochs, n), np.nan, dtype=np.float16),
            ended=np.zeros(epochs, dtype=np.bool_),
            visited=np.zeros(n, dtype=np.bool_),
            last=np.zeros((n, len(VIEWS)), dtype=np.float32),
            active=np.zeros((n, -(-features // 8)), dtype=np.uint8),
        )

    def __len__(self) -> int:
        return len(self.patch_id)

    def visit(
        self, rows: NDArray[np.intp], probability: NDArray[np.floating], active: NDArray[np.bool_] | None = None
    ) -> None:
        """Remember one batch until the epoch ends; of several visits of a row the last counts, within a batch too.

        Args:
            rows: (B,) rows of the memory.
            probability: (B, 3) of "mitotic figure" by the heads in the order of `VIEWS`.
            active: (B, F) which fused features fire (global average above 0); None where `features` is 0.

        Raises:
            TrainingError: a probability is not a number of 0..1; nothing of the batch is remembered.
            ValueError: shapes that do not fit.
        """
        if probability.shape != (len(rows), len(VIEWS)):
            raise ValueError(f"probability must be ({len(rows)}, {len(VIEWS)}), not {probability.shape}")
        if (active is None) != (self.features == 0) or (
            active is not None and active.shape != (len(rows), self.features)
        ):
            raise ValueError(f"active must be ({len(rows)}, {self.features}), or None where features is 0")
        if not ((probability >= 0) & (probability <= 1)).all():
            raise TrainingError(
                "a network gave a probability that is not a number of 0..1", remedy="give a smaller learning rate"
            )
        self.visited[rows] = True
        self.last[rows] = probability
        if active is not None:
            self.active[rows] = np.packbits(active, axis=1)

    def end_epoch(self, epoch: int) -> None:
        """Count what the visits of this epoch say, compare with the memory, and only then update it.

        Samples not visited keep all their values. With m = `config.momentum_of(epochs)` and p(y) of the label:
        a view is sure if p(y) > c; c <- m c + (1 - m) max_k p(k); d <- m d - (1 - m) SCD (minus as in the public
        code), in warm-up too. SCD is the static centroid distance, min-max scaled over all samples of the epoch; 0
        where all are equally far.

        Args:
            epoch: its number from 0.

        Raises:
            ValueError: the epoch is not one of the training, or has ended already.

        Source:
            DASC's public code; the counts and their start (epoch >= warm_up; the sum of SCD one later) are
            a reconstruction.
        """
        if not 0 <= epoch < self.epochs or self.ended[epoch]:
            raise ValueError(f"epoch {epoch} of {self.epochs} is over, or not one of this training")
        self.ended[epoch] = True
        rows = np.flatnonzero(self.visited)
        if len(rows) == 0:
            return
        figure = self.last[rows].T.astype(np.float64)
        of_label = np.where(self.label[rows] == 1, figure, 1 - figure)
        confidence = self.confidence[:, rows]
        if epoch >= self.config.warm_up:
            self._count(rows, of_label, confidence)
        keep = self.config.momentum_of(self.epochs)
        self.confidence[:, rows] = keep * confidence + (1 - keep) * np.maximum(figure, 1 - figure)
        if self.features:
            distance = _spread(centroid_distances(self.active[rows], self.label[rows]))
            self.centroid[rows] = keep * self.centroid[rows] - (1 - keep) * distance
            if epoch > self.config.warm_up:
                self.scd[rows] += distance
                self.scd_epochs[rows] += 1
        self.history[epoch, rows] = of_label[2]
        self.seen[rows] += 1
        for array in (self.visited, self.last, self.active):
            array.fill(0)

    def _count(self, rows: NDArray[np.intp], of_label: NDArray[np.float64], confidence: NDArray[np.float64]) -> None:
        """Flags and learning of one epoch; `of_label` and `confidence` are (3, B)."""
        weak, strong = (of_label[view] > confidence[view] for view in (0, 1))
        learned = of_label[2] > 0.5  # false at a tie for either label: an undecided head has learned neither
        flags = {
            "clean": weak & strong,
            "hard": weak ^ strong,
            "noise": ~(weak | strong),
            "learning": learned,
            "forget": ~learned,
        }
        for name, flag in flags.items():
            getattr(self, name)[rows] += flag

    @property
    def counted(self) -> NDArray[np.int64]:
        """(N,) epochs in which flags and learning were counted."""
        return self.learning.astype(np.int64) + self.forget

    @property
    def forget_rate(self) -> NDArray[np.float64]:
        """(N,) forget / (forget + learning); 1 where never learned, so too where never counted (DASC's public code)."""
        return np.where(self.learning == 0, 1.0, self.forget / np.maximum(self.counted, 1))

    @property
    def centroid_rate(self) -> NDArray[np.float64]:
        """(N,) (scd + 1e-6) / epochs in which it was summed; 0 where none.

        The public code divides by learning + forget - 20, which is that number for its warm-up of 20.
        """
        return np.where(self.scd_epochs == 0, 0.0, (self.scd + 1e-6) / np.maximum(self.scd_epochs, 1))

    @property
    def noise_share(self) -> NDArray[np.float64]:
        """(N,) share of the counted epochs flagged noise; 0 where none was counted."""
        return self.noise / np.maximum(self.counted, 1)

    @property
    def hard_share(self) -> NDArray[np.float64]:
        """(N,) share of the counted epochs flagged hard; 0 where none was counted."""
        return self.hard / np.maximum(self.counted, 1)

    def mean_confidence(self) -> NDArray[np.float64]:
        """(N,) mean p(y) of the fused head over the counted epochs; 0 where none was."""
        total = np.zeros(len(self))
        for row in self.history[self.config.warm_up :]:
            total += np.nan_to_num(row.astype(np.float64))
        return total / np.maximum(self.counted, 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that changes, by name, for a checkpoint; the open epoch too. Not copied."""
        return {"patch_id": self.patch_id, "label": self.label, **{name: getattr(self, name) for name in _STATE}}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take all that changes from a checkpoint.

        Raises:
            FrameError: the checkpoint is of another index, other labels, or another number of epochs or features.
        """
        again = "train again into a new folder"
        for name, what in (("patch_id", "another patch index"), ("label", "other labels")):
            if not np.array_equal(arrays[name], getattr(self, name)):
                raise FrameError(f"the memory is of {what}", remedy=again)
        for name, what in (("history", "epochs"), ("active", "features")):
            if arrays[name].shape != getattr(self, name).shape:
                raise FrameError(f"the memory is of another number of {what}", remedy=again)
        for name in _STATE:
            getattr(self, name)[:] = arrays[name]

    def save(self, folder: Path) -> None:
        """Write memory.parquet (a row a sample) and memory-history.npz (epochs x samples).

        Equal memories give equal bytes.

        Raises:
            ValueError: an epoch is open; what has been seen of it is for a checkpoint, not for these files.
        """
        if self.visited.any():
            raise ValueError("an epoch is open: end it before the memory is saved")
        columns = {f"confidence_{view}": of_view for view, of_view in zip(VIEWS, self.confidence, strict=True)}
        names = ("patch_id", "label", *_COUNTS, "scd", "centroid")
        table = pd.DataFrame({**{name: getattr(self, name) for name in names}, **columns})
        settings = {"config": self.config.model_dump(), "epochs": self.epochs, "features": self.features}
        write_atomic(folder / layout.MEMORY, lambda file: table.to_parquet(file, index=False, compression="zstd"))
        write_atomic(
            folder / layout.MEMORY_HISTORY,
            lambda file: np.savez(
                file,
                patch_id=self.patch_id,
                fused=self.history,
                ended=self.ended,
                settings=np.array(json.dumps(settings, sort_keys=True)),
            ),
        )

    @classmethod
    def load(cls, folder: Path) -> "Memory":
        """Read what `save` wrote.

        Raises:
            FormatError: a file is missing or is not what `save` writes.
            FrameError: the two files are of different patch indices.
        """
        try:
            table = pd.read_parquet(folder / layout.MEMORY)
            with (folder / layout.MEMORY_HISTORY).open("rb") as file, np.load(file, allow_pickle=False) as content:
                past = {name: content[name] for name in ("patch_id", "fused", "ended", "settings")}
            settings = json.loads(str(past["settings"]))
            memory = cls.of(
                table["patch_id"].to_numpy(dtype=np.int64, copy=True),
                table["label"].to_numpy(copy=True),
                MemoryConfig(**settings["config"]),
                epochs=settings["epochs"],
                features=settings["features"],
            )
            state = {name: table[name].to_numpy() for name in (*_COUNTS, "scd", "centroid")}
            confidence = np.stack([table[f"confidence_{view}"].to_numpy() for view in VIEWS])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise FormatError(
                f"cannot be read as a memory ({error})", where=folder, remedy="name a run of recipe dasc"
            ) from error
        if not np.array_equal(past["patch_id"], memory.patch_id):
            raise FrameError(
                f"{layout.MEMORY} and {layout.MEMORY_HISTORY} are of different patch indices", where=folder
            )
        memory.restore(
            {**memory.arrays(), **state, "confidence": confidence, "history": past["fused"], "ended": past["ended"]}
        )
        return memory


def _spread(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to 0..1; all 0 where all are the same."""
    low, high = distance.min(), distance.max()
    return (distance - low) / (high - low) if high > low else np.zeros_like(distance)
