"""What experts marked: one row a cell, in columns. Knows nothing of images, cohorts or detections."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Label(StrEnum):
    """What an expert calls a cell. `hard` is never a label: it is measured."""

    MITOTIC_FIGURE = "mitotic figure"
    IMPOSTER = "imposter"


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Expert marks as aligned columns; row order is file order, and scoring depends on it.

    Attributes:
        slide_id: (N,) str.
        center_l0: (N, 2) float64, x then y in level-0 px of the slide.
        label: (N,) str, each a `Label` value.
        score: (N,) float64, the share of raters who called it a mitotic figure, 0..1; NaN where unknown.
        votes: (N,) str, the raw votes as the source gives them, space-separated; empty where unknown.
        source: (N,) str, the file or set the mark came from.
    """

    slide_id: NDArray[np.str_]
    center_l0: NDArray[np.float64]
    label: NDArray[np.str_]
    score: NDArray[np.float64]
    votes: NDArray[np.str_]
    source: NDArray[np.str_]

    def __post_init__(self) -> None:
        n = len(self.slide_id)
        if self.center_l0.shape != (n, 2):
            raise ValueError(f"center_l0 is {self.center_l0.shape}, expected ({n}, 2)")
        for name in ("label", "score", "votes", "source"):
            column = getattr(self, name)
            if column.shape != (n,):
                raise ValueError(f"{name} is {column.shape}, expected ({n},)")
        if not np.isfinite(self.center_l0).all():
            raise ValueError("an annotation's centre is not a finite number")
        unknown = set(np.unique(self.label)) - {label.value for label in Label}
        if unknown:
            raise ValueError(f"unknown labels {sorted(unknown)}; known: {[label.value for label in Label]}")

    @classmethod
    def of(
        cls,
        *,
        slide_id: Iterable[str],
        center_l0: Iterable[tuple[float, float]],
        label: Iterable[str],
        score: Iterable[float] | None = None,
        votes: Iterable[str] | None = None,
        source: str | Iterable[str] = "",
    ) -> "Annotations":
        """Build from plain sequences; missing columns are filled with 'unknown'."""
        ids = np.array(list(slide_id), dtype=np.str_)
        n = len(ids)
        centers = np.asarray(list(center_l0), dtype=np.float64).reshape(n, 2)
        return cls(
            slide_id=ids,
            center_l0=centers,
            label=np.array([str(item) for item in label], dtype=np.str_),
            score=np.full(n, np.nan) if score is None else np.asarray(list(score), dtype=np.float64),
            votes=np.full(n, "", dtype=np.str_) if votes is None else np.array(list(votes), dtype=np.str_),
            source=np.full(n, source) if isinstance(source, str) else np.array(list(source), dtype=np.str_),
        )

    @classmethod
    def empty(cls) -> "Annotations":
        return cls.of(slide_id=[], center_l0=[], label=[])

    @classmethod
    def concatenate(cls, parts: Iterable["Annotations"]) -> "Annotations":
        """All rows of all parts, in their order."""
        items = list(parts)
        if not items:
            return cls.empty()
        return cls(
            slide_id=np.concatenate([p.slide_id for p in items]),
            center_l0=np.concatenate([p.center_l0 for p in items]),
            label=np.concatenate([p.label for p in items]),
            score=np.concatenate([p.score for p in items]),
            votes=np.concatenate([p.votes for p in items]),
            source=np.concatenate([p.source for p in items]),
        )

    def __len__(self) -> int:
        return len(self.slide_id)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "Annotations":
        return Annotations(
            slide_id=self.slide_id[rows],
            center_l0=self.center_l0[rows],
            label=self.label[rows],
            score=self.score[rows],
            votes=self.votes[rows],
            source=self.source[rows],
        )

    def of_slide(self, slide_id: str) -> "Annotations":
        return self[self.slide_id == slide_id]

    def with_label(self, label: Label) -> "Annotations":
        return self[self.label == label.value]
