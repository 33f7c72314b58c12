"""What a page shows: slides, and the cells on them, in columns. Knows no files and no pixels."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.count.hotspot import AREA_MM2, Shape
from mitosieve.geometry import inside_roi


class Kind(StrEnum):
    """What is looked at."""

    RESULT = "result"
    AUDIT = "audit"
    COHORT = "cohort"
    SLIDES = "slides"


class Call(StrEnum):
    """What a cell was called before anybody looked: by the detector, or by the marks."""

    CANDIDATE = "candidate"
    FIGURE = "figure"
    IMPOSTER = "imposter"
    BACKGROUND = "background"


CALLS = tuple(Call)


@dataclass(frozen=True, kw_only=True)
class ViewedSlide:
    """One slide that may be looked at.

    Attributes:
        slide_id: its name.
        path: the image: where a job, an audit or a cohort has it, or, of what was opened, where it is; None where
            nobody knows.
        mpp: um per px as stated by the job or the cohort; None where the file states it.
        mpp_xy: of x and y, where a job has measured it or a cohort states two.
        size_l0: width, height in level-0 px; None where only the file knows.
        tissue_mm2: of tissue; None where it is not known.
        fault: why it cannot be shown or was not done, without a path; empty where all is well.
        warning: in which ways it is unlike those of the detector's training.
        area: of it that alone was searched, or marked, level-0 px; None where all of it was, or nobody says.
        lost: why nobody can tell where the image is, and what helps; empty where it is known, or simply gone.
    """

    slide_id: str
    path: Path | None
    mpp: float | None = None
    mpp_xy: tuple[float, float] | None = None
    size_l0: tuple[int, int] | None = None
    tissue_mm2: float | None = None
    fault: str = ""
    warning: str = ""
    lost: str = ""
    area: BaseGeometry | None = None

    def is_searched(self, x: float, y: float) -> bool:
        """Whether a place, level-0 px, lies where figures were searched for."""
        return bool(inside_roi(self.area, np.array([[x, y]]))[0])

    @property
    def stated_mpp(self) -> float | tuple[float, float] | None:
        """What the slide is to be opened with: both numbers where pixels are oblong."""
        oblong = self.mpp is not None and self.mpp_xy is not None and self.mpp_xy[0] != self.mpp_xy[1]
        return self.mpp_xy if oblong else self.mpp


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of all slides as aligned columns, by slide, within a slide by falling rank.

    Attributes:
        slide: (N,) int32, number of the slide; rising.
        center_l0: (N, 2) float64, x then y in level-0 px.
        score: (N,) float64 in 0..1; NaN where there is none.
        call: (N,) uint8, number in CALLS.
        names: gives the ids of rows, which decisions name them by; asked for few rows, for an id costs more than a row.
        stage_names: of the scores of the stages.
        stage_score: (N, S) float64; NaN where a stage did not see the cell.
        suspicion: (N,) float64 in 0..1, of an audit; NaN elsewhere.
    """

    slide: NDArray[np.int32]
    center_l0: NDArray[np.float64]
    score: NDArray[np.float64]
    call: NDArray[np.uint8]
    names: Callable[[NDArray[np.intp]], list[str]] = lambda rows: [""] * len(rows)
    stage_names: tuple[str, ...] = ()
    stage_score: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    suspicion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        n = len(self.slide)
        for name, shape in (("stage_score", (n, len(self.stage_names))), ("suspicion", (n,))):
            if getattr(self, name).shape[:1] != (n,):
                object.__setattr__(self, name, np.full(shape, np.nan))  # the one way to fill a frozen record
        if (np.diff(self.slide) < 0).any():
            raise ValueError("cells must lie by slide")

    @classmethod
    def empty(cls) -> "Cells":
        return cls(
            slide=np.zeros(0, np.int32),
            center_l0=np.zeros((0, 2)),
            score=np.zeros(0),
            call=np.zeros(0, np.uint8),
        )

    def __len__(self) -> int:
        return len(self.slide)

    def rows_of(self, slide: int) -> slice:
        """Rows of one slide."""
        return slice(*np.searchsorted(self.slide, [slide, slide + 1]).tolist())


@dataclass(frozen=True, kw_only=True)
class Viewed:
    """A folder, or slides, that was opened to be looked at.

    Attributes:
        kind: what it is.
        name: what the page calls it.
        folder: where decisions are kept; None where none can be.
        slides: all of it; a slide's number is its place here.
        threshold: operating threshold; None where there are no detections.
        detector: name of it; empty where there is none.
        is_packaged: whether that is a name by which the package knows it; else it is a folder's.
        detector_hash: sha256 of its configuration; empty where there is none.
        area_mm2: of the hotspot.
        shape: of the hotspot.
        tissue: what the slides are of, as the job was told; empty where nobody said.
        cells_hash: of the tables that its cells are rows of; empty where there is none.
    """

    kind: Kind
    name: str
    folder: Path | None
    slides: tuple[ViewedSlide, ...]
    threshold: float | None = None
    detector: str = ""
    is_packaged: bool = False
    detector_hash: str = ""
    area_mm2: float = AREA_MM2
    shape: Shape = "square"
    tissue: str = ""
    cells_hash: str = ""

    def words(self, text: str) -> str:
        """A text without the folders of this machine."""
        return without_paths(text, *self._folders)

    @cached_property
    def _folders(self) -> frozenset[Path]:
        """Of what was opened and of its slides."""
        folders = {slide.path.parent for slide in self.slides if slide.path is not None}
        return frozenset(folders if self.folder is None else folders | {self.folder})


_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s:;,'\"/\\]+[/\\])+")


def without_paths(text: str, *folders: Path | None) -> str:
    """A message without the folders of this machine: of each path only the last name is left.

    Args:
        text: any.
        folders: whose names may hold spaces, so that they cannot be told from the words around them.
    """
    named = {str(item) for item in folders if item is not None and item.name}  # "." is part of every number
    for folder in sorted(named, key=len, reverse=True):
        whole = rf"(?<![\w.-]){re.escape(folder)}"  # no end of another name
        name = Path(folder).name
        text = re.sub(rf"{whole}(?![\w-]|\.\w)", lambda _, name=name: name, re.sub(f"{whole}/", "", text))
    return _FOLDERS.sub("", text)
