"""What experts marked: one row a cell, in columns. Knows nothing of images, cohorts or detections."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Label(StrEnum):
    """What an expert calls a cell. `hard` is never a label: it is measured."""

    MITOTIC_FIGURE = "mitotic figure"
    IMPOSTER = "imposter"


NO_MARK = "background"
"""What `label_before` says of a cell that had no mark before a correction gave it one."""

_CORRECTION = ("label_before", "corrected_at", "corrected_from")
_REVIEW = ("reviewed_by", "reviewed_at")


def _unknown() -> NDArray[np.str_]:
    return np.empty(0, dtype=np.str_)


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
        label_before: (N,) str, the oldest label of a mark that was ever corrected, NO_MARK of a cell that had none;
            empty where nothing was corrected. A mark corrected back keeps it: then it equals `label`.
        corrected_at: (N,) str, when the label was last corrected, ISO date and time UTC; empty where never.
        corrected_from: (N,) str, name of the file of the last correction and the first 12 digits of its sha256.
        reviewed_by: (N,) str, names of the readers who looked at it again, separated by "; "; empty where nobody did.
        reviewed_at: (N,) str, when the last of them did, ISO date and time UTC; empty where nobody did.

    The columns of corrections and reviews may be left out where nothing was corrected or reviewed.
    """

    slide_id: NDArray[np.str_]
    center_l0: NDArray[np.float64]
    label: NDArray[np.str_]
    score: NDArray[np.float64]
    votes: NDArray[np.str_]
    source: NDArray[np.str_]
    label_before: NDArray[np.str_] = field(default_factory=_unknown)
    corrected_at: NDArray[np.str_] = field(default_factory=_unknown)
    corrected_from: NDArray[np.str_] = field(default_factory=_unknown)
    reviewed_by: NDArray[np.str_] = field(default_factory=_unknown)
    reviewed_at: NDArray[np.str_] = field(default_factory=_unknown)

    def __post_init__(self) -> None:
        n = len(self.slide_id)
        if self.center_l0.shape != (n, 2):
            raise ValueError(f"center_l0 is {self.center_l0.shape}, expected ({n}, 2)")
        for name in _CORRECTION + _REVIEW:
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(n, "", dtype=np.str_))  # the one way to fill a frozen record
        for name in ("label", "score", "votes", "source", *_CORRECTION, *_REVIEW):
            column = getattr(self, name)
            if column.shape != (n,):
                raise ValueError(f"{name} is {column.shape}, expected ({n},)")
        if not np.isfinite(self.center_l0).all():
            raise ValueError("an annotation's centre is not a finite number")
        unknown = set(np.unique(self.label)) - {label.value for label in Label}
        if unknown:
            raise ValueError(f"unknown labels {sorted(unknown)}; known: {[label.value for label in Label]}")
        unknown = set(np.unique(self.label_before)) - {label.value for label in Label} - {NO_MARK, ""}
        if unknown:
            raise ValueError(f"unknown labels before a correction: {sorted(unknown)}")

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
        """Build from plain sequences; missing columns are filled with 'unknown', and nothing is corrected."""
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
            label_before=np.concatenate([p.label_before for p in items]),
            corrected_at=np.concatenate([p.corrected_at for p in items]),
            corrected_from=np.concatenate([p.corrected_from for p in items]),
            reviewed_by=np.concatenate([p.reviewed_by for p in items]),
            reviewed_at=np.concatenate([p.reviewed_at for p in items]),
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
            label_before=self.label_before[rows],
            corrected_at=self.corrected_at[rows],
            corrected_from=self.corrected_from[rows],
            reviewed_by=self.reviewed_by[rows],
            reviewed_at=self.reviewed_at[rows],
        )

    @property
    def is_corrected(self) -> NDArray[np.bool_]:
        """(N,) which marks were ever corrected."""
        return self.label_before != ""

    @property
    def is_reviewed(self) -> NDArray[np.bool_]:
        """(N,) which marks readers looked at again."""
        return self.reviewed_by != ""

    def of_slide(self, slide_id: str) -> "Annotations":
        return self[self.slide_id == slide_id]

    def with_label(self, label: Label) -> "Annotations":
        return self[self.label == label.value]
