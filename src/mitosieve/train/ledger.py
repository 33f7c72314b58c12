"""What each patch has cost so far, by patch_id. Knows ids and numbers: no pixels, no networks, no labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.errors import FrameError
from mitosieve.run.folder import reading, write_atomic

_COLUMNS = ("times_seen", "loss_last", "loss_mean", "score_last", "score_mined")


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """One row a patch. The arrays are updated in place: a ledger is the one record that is not immutable.

    Attributes:
        patch_id: (N,) int64, unique.
        times_seen: (N,) int64, visits in training.
        loss_last: (N,) float32, loss at the last visit in nats; NaN before the first.
        loss_mean: (N,) float32, mean loss over all visits; NaN before the first.
        score_last: (N,) float32, probability of "mitotic figure" at the last visit; NaN before the first.
        score_mined: (N,) float32, probability given when the pool was last scored for mining; NaN if never.
    """

    patch_id: NDArray[np.int64]
    times_seen: NDArray[np.int64]
    loss_last: NDArray[np.float32]
    loss_mean: NDArray[np.float32]
    score_last: NDArray[np.float32]
    score_mined: NDArray[np.float32]

    @classmethod
    def of(cls, patch_id: NDArray[np.int64]) -> "Ledger":
        """An empty ledger for these patches.

        Raises:
            ValueError: an id stands twice.
        """
        if len(np.unique(patch_id)) < len(patch_id):
            raise ValueError("a patch_id stands twice in the index")
        n = len(patch_id)
        unknown = [np.full(n, np.nan, dtype=np.float32) for _ in range(4)]
        return cls(
            patch_id=patch_id.copy(),
            times_seen=np.zeros(n, dtype=np.int64),
            loss_last=unknown[0],
            loss_mean=unknown[1],
            score_last=unknown[2],
            score_mined=unknown[3],
        )

    def __len__(self) -> int:
        return len(self.patch_id)

    def record(self, rows: NDArray[np.intp], loss: NDArray[np.floating], score: NDArray[np.floating]) -> None:
        """Book one batch. A row that stands in it several times counts each; its last place is its last visit.

        Args:
            rows: (B,) rows of the ledger.
            loss: (B,) loss per sample, nats.
            score: (B,) probability of "mitotic figure".
        """
        before = self.times_seen[rows].astype(np.float64)
        total = np.where(before > 0, np.nan_to_num(self.loss_mean[rows]) * before, 0.0)
        sums = np.zeros(len(self))
        np.add.at(sums, rows, loss)
        visits = np.bincount(rows, minlength=len(self))
        self.times_seen[:] += visits
        self.loss_mean[rows] = ((total + sums[rows]) / self.times_seen[rows]).astype(np.float32)
        self.loss_last[rows] = np.asarray(loss, dtype=np.float32)
        self.score_last[rows] = np.asarray(score, dtype=np.float32)

    def record_mined(self, rows: NDArray[np.intp], score: NDArray[np.floating]) -> None:
        """Book the scores of a pool that was scored for mining; (B,) each."""
        self.score_mined[rows] = np.asarray(score, dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All columns by name, for a checkpoint."""
        return {"patch_id": self.patch_id, **{name: getattr(self, name) for name in _COLUMNS}}

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Take all columns from a checkpoint.

        Raises:
            FrameError: the checkpoint is of another index.
        """
        if not np.array_equal(arrays["patch_id"], self.patch_id):
            raise FrameError("the ledger is of another patch index", remedy="train again into a new folder")
        for name in _COLUMNS:
            getattr(self, name)[:] = arrays[name]

    def save(self, path: Path) -> Path:
        """Write as parquet; equal ledgers give equal bytes."""
        table = pd.DataFrame(self.arrays())
        return write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """Read what `save` wrote.

        Raises:
            FormatError: it is broken.
        """
        with reading(path):
            table = pd.read_parquet(path)
            ledger = cls.of(table["patch_id"].to_numpy(dtype=np.int64, copy=True))
            ledger.restore({name: table[name].to_numpy() for name in table.columns})
        return ledger
