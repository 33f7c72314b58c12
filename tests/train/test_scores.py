"""Scores by patch_id: as they were written, and of no other places."""

import numpy as np
import pytest

from mitosieve.errors import FormatError, FrameError
from mitosieve.train.scores import PoolScores


def test_read_as_written(tmp_path):
    """Scores, unknown ones included, survive the file."""
    scores = PoolScores(patch_id=np.array([3, -1, 2]), score=np.array([0.5, np.nan, 1], dtype=np.float32))
    path = scores.save(tmp_path / "scores.parquet")
    np.testing.assert_array_equal(PoolScores.load(path, scores.patch_id).score, scores.score)


def test_scores_of_other_places_are_refused(tmp_path):
    """Rows are places: the same ids in another order are other places."""
    path = PoolScores(patch_id=np.arange(3), score=np.zeros(3, dtype=np.float32)).save(tmp_path / "scores.parquet")
    with pytest.raises(FrameError, match="another patch index"):
        PoolScores.load(path, np.array([1, 0, 2]))
    path.write_bytes(b"no parquet")
    with pytest.raises(FormatError, match=r"scores\.parquet"):
        PoolScores.load(path, np.arange(3))
