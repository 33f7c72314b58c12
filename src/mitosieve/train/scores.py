"""Scores of a pool of places, by patch_id: what mining and searches choose by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.errors import FrameError
from mitosieve.run.folder import reading, write_atomic


@dataclass(frozen=True, kw_only=True)
class PoolScores:
    """One row a place.

    Attributes:
        patch_id: (N,) int64, unique.
        score: (N,) float32, probability of "mitotic figure"; NaN where no network has scored it.
    """

    patch_id: NDArray[np.int64]
    score: NDArray[np.float32]

    def save(self, path: Path) -> Path:
        """Write as parquet; equal scores give equal bytes."""
        table = pd.DataFrame({"patch_id": self.patch_id, "score": self.score})
        return write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))

    @classmethod
    def load(cls, path: Path, patch_id: NDArray[np.int64]) -> "PoolScores":
        """Read what `save` wrote.

        Args:
            path: the file.
            patch_id: (N,) of the places whose scores are wanted.

        Raises:
            FormatError: it is broken.
            FrameError: it is of other places.
        """
        with reading(path):
            table = pd.read_parquet(path)
            found = cls(
                patch_id=table["patch_id"].to_numpy(dtype=np.int64), score=table["score"].to_numpy(dtype=np.float32)
            )
        if not np.array_equal(found.patch_id, patch_id):
            raise FrameError("the scores are of another patch index", where=path, remedy="train into a new folder")
        return found
