"""What a training of recipe `dasc` left to be audited: every training label with its record, all of one patch index.

Reads the run's files and nothing else; knows no verdict's cause and writes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.annotation import NO_MARK, Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.place import NO_ROW
from mitosieve.errors import CohortError, FormatError, FrameError, RunFolderError
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder

VERDICTS = ("clean", "hard", "noise")
ORIGIN_LABEL = {"figure": Label.MITOTIC_FIGURE.value, "imposter": Label.IMPOSTER.value, "background": NO_MARK}
"""Label of a cell by the origin of its patch."""

_COLUMNS = {
    layout.LABELS: ("patch_id", "slide_id", "x", "y", "origin", "label", "mark"),
    layout.MEMORY: ("patch_id",),
    layout.VERDICTS: (
        *("patch_id", "verdict", "level", "learnable", "kept", "forget_rate", "centroid_rate", "suspicion"),
    ),
    layout.OUT_OF_FOLD: ("patch_id", "score"),
}
_REMEDY = "train with recipe dasc to the end: again with --resume where it was cut off, else into a new folder"
_LENGTH_TOLERANCE = 0.01

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DascRun:
    """Every training label of a run as aligned columns, in the order of its patch index.

    Attributes:
        folder: of the run.
        fold: its name.
        cohort: what it was trained on, in the state it was trained on.
        patch_id: (N,) int64.
        slide_id: (N,) str.
        center_l0: (N, 2) float64, x then y in level-0 px: the patch's centre.
        origin: (N,) str, a key of ORIGIN_LABEL.
        label: (N,) int8, 1 for a mitotic figure, else 0.
        mark: (N,) int64 row of the cohort's annotations; NO_ROW for background.
        verdict: (N,) str, one of VERDICTS.
        level: (N,) int64, 0 easy, 1 to 3 hard, -1 none.
        learnable: (N,) bool.
        kept: (N,) bool, whether the classifier was trained with it.
        forget_rate: (N,) float64; NaN where the training knew none.
        centroid_rate: (N,) float64; NaN where the training knew none.
        suspicion: (N,) float64, 0..1, the higher the more probably mislabelled.
        out_of_fold: (N,) float64, probability of "mitotic figure" by a network that has not seen the case.
        history: (E, N) float16, p(y) of the fused head at each epoch; NaN where not visited.
        embedding: (N, D) float16 of length 1, or 0.
    """

    folder: Path
    fold: str
    cohort: Cohort
    patch_id: NDArray[np.int64]
    slide_id: NDArray[np.str_]
    center_l0: NDArray[np.float64]
    origin: NDArray[np.str_]
    label: NDArray[np.int8]
    mark: NDArray[np.int64]
    verdict: NDArray[np.str_]
    level: NDArray[np.int64]
    learnable: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    forget_rate: NDArray[np.float64]
    centroid_rate: NDArray[np.float64]
    suspicion: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]
    history: NDArray[np.float16]
    embedding: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.patch_id)

    @classmethod
    def load(cls, folder: Path) -> "DascRun":
        """Read a run.

        Raises:
            RunFolderError: no run, or one without these files.
            FormatError: a file is broken, or holds what cannot be.
            FrameError: a file is of another patch index, a mark is not the cohort's, or a label is of a case that the
                fold does not train on.
            CohortError: the cohort is gone, or in another state than it was trained on.
        """
        provenance = RunFolder(folder).check_kind(layout.Kind.TRAIN).provenance
        fold, cohort = _fold(provenance, folder), _cohort(provenance, folder)
        tables = {name: _table(folder / name, columns) for name, columns in _COLUMNS.items()}
        history = _arrays(folder / layout.MEMORY_HISTORY, ("fused",))["fused"]
        embedding = _arrays(folder / layout.EMBEDDING, ("patch_id", "z"))
        ids = {name: table["patch_id"].to_numpy() for name, table in tables.items()}
        patch_id = _read(folder / layout.LABELS, lambda: ids[layout.LABELS].astype(np.int64))
        _check_index(patch_id, ids | {layout.EMBEDDING: embedding["patch_id"]}, folder)
        for name, rows in ((layout.MEMORY_HISTORY, history.T), (layout.EMBEDDING, embedding["z"])):
            if rows.ndim != 2 or len(rows) != len(patch_id) or not rows.size:
                raise _stranger(folder / name)

        def column(file: str, name: str, dtype: type) -> NDArray[Any]:
            return _read(folder / file, lambda: tables[file][name].to_numpy(dtype=dtype))

        run = cls(
            folder=folder,
            fold=str(fold["name"]),
            cohort=cohort,
            patch_id=patch_id,
            slide_id=column(layout.LABELS, "slide_id", np.str_),
            center_l0=np.column_stack([column(layout.LABELS, axis, np.float64) for axis in "xy"]),
            origin=column(layout.LABELS, "origin", np.str_),
            label=column(layout.LABELS, "label", np.int8),
            mark=column(layout.LABELS, "mark", np.int64),
            verdict=column(layout.VERDICTS, "verdict", np.str_),
            level=column(layout.VERDICTS, "level", np.int64),
            learnable=column(layout.VERDICTS, "learnable", np.bool_),
            kept=column(layout.VERDICTS, "kept", np.bool_),
            forget_rate=column(layout.VERDICTS, "forget_rate", np.float64),
            centroid_rate=column(layout.VERDICTS, "centroid_rate", np.float64),
            suspicion=column(layout.VERDICTS, "suspicion", np.float64),
            out_of_fold=column(layout.OUT_OF_FOLD, "score", np.float64),
            history=_read(folder / layout.MEMORY_HISTORY, lambda: history.astype(np.float16)),
            embedding=_read(folder / layout.EMBEDDING, lambda: embedding["z"].astype(np.float16)),
        )
        run._check_values()
        run._check_cohort(set(fold["train"]))
        return run

    def _check_values(self) -> None:
        """Refuse what cannot be: a number that is none would otherwise rank as the least suspicious."""
        faults = (
            (layout.LABELS, "an unknown origin", not set(np.unique(self.origin)) <= set(ORIGIN_LABEL)),
            (layout.LABELS, "a label that is not that of its origin", bool((self.label != self.is_figure).any())),
            (layout.LABELS, "a place that is not finite", not np.isfinite(self.center_l0).all()),
            (layout.VERDICTS, "an unknown verdict", not set(np.unique(self.verdict)) <= set(VERDICTS)),
            (layout.VERDICTS, "a level that is not -1 to 3", not set(np.unique(self.level)) <= {-1, 0, 1, 2, 3}),
            (layout.VERDICTS, "a suspicion that is not 0 to 1", not _is_share(self.suspicion)),
            (layout.OUT_OF_FOLD, "a score that is not 0 to 1", not _is_share(self.out_of_fold)),
            (layout.MEMORY_HISTORY, "a p(y) that is not 0 to 1", not _is_share(self.history[~np.isnan(self.history)])),
            (layout.EMBEDDING, "a vector that is not of length 1", not self._is_normal()),
        )
        for name, what, wrong in faults:
            if wrong:
                raise FormatError(f"holds {what}", where=self.folder / name, remedy=_REMEDY)

    def _is_normal(self) -> bool:
        length = np.sqrt((self.embedding.astype(np.float64) ** 2).sum(axis=1))
        return bool(((length == 0) | (np.abs(length - 1) <= _LENGTH_TOLERANCE)).all())

    @property
    def is_figure(self) -> NDArray[np.bool_]:
        """(N,) which labels say "mitotic figure"."""
        return self.origin == "figure"

    def _check_cohort(self, train: set[str]) -> None:
        """Every label is of a training case, and every mark is the one that the cohort has in its row."""
        where = self.folder / layout.LABELS
        for slide_id in np.unique(self.slide_id).tolist():
            case_id = self.cohort.entry(slide_id).case_id
            if case_id not in train:
                raise FrameError(
                    f"has a label of the case {case_id}, which fold {self.fold} does not train on",
                    where=where,
                    remedy="audit training cases only; " + _REMEDY,
                )
        marks, marked = self.cohort.annotations, self.mark != NO_ROW
        rows = self.mark[marked]
        known = bool((rows < len(marks)).all() and (rows >= 0).all())
        said = np.array([ORIGIN_LABEL[name] for name in self.origin.tolist()], dtype=np.str_)
        if (
            not known
            or len(np.unique(rows)) < len(rows)
            or (marks.slide_id[rows] != self.slide_id[marked]).any()
            or (marks.label[rows] != said[marked]).any()
            or (marked == (self.origin == "background")).any()
        ):
            raise FrameError("its marks are not those of the cohort", where=where, remedy=_REMEDY)


def _is_share(values: NDArray[np.floating]) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())  # false for NaN


def _fold(provenance: dict[str, Any], folder: Path) -> dict[str, Any]:
    fold = provenance.get("fold")
    if not isinstance(fold, dict) or not {"name", "train"} <= fold.keys():
        raise RunFolderError("its run.json names no fold", where=folder, remedy="name a folder made by train")
    return fold


def _cohort(provenance: dict[str, Any], folder: Path) -> Cohort:
    """The cohort of a run, in the state it had."""
    place, state = provenance.get("cohort"), provenance.get("cohort_hash")
    if not isinstance(place, str):
        raise RunFolderError("its run.json names no cohort", where=folder, remedy="name a folder made by train")
    if not Path(place).is_dir():
        raise CohortError(
            f"the cohort of {folder.name} is gone", where=place, remedy="put it back where it was, or train again"
        )
    cohort = Cohort.load(place)
    if cohort.hash() != state:
        raise CohortError(
            f"is in another state than {folder.name} was trained on",
            where=place,
            remedy="restore slides.csv and annotations.csv, or train again; corrections go into a new folder",
        )
    return cohort


def _read(path: Path, read: Callable[[], T]) -> T:
    """What a file holds; gone or broken, it is named."""
    if not path.is_file():
        raise RunFolderError(
            f"has no {path.name} to audit",
            where=path.parent,
            remedy=_REMEDY + "; an audit needs memory.enabled and out_of_fold.enabled in the recipe",
        )
    try:
        return read()
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:  # all that numpy and arrow raise
        raise FormatError(f"cannot be read ({error})", where=path, remedy=_REMEDY) from error


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = _read(path, lambda: pd.read_parquet(path))
    missing = [name for name in columns if name not in table]
    if missing:
        raise FormatError(f"lacks the column {', '.join(missing)}", where=path, remedy=_REMEDY)
    return table


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    def read() -> dict[str, NDArray[Any]]:
        with path.open("rb") as whole, np.load(whole, allow_pickle=False) as file:  # load leaves a broken one open
            return {name: file[name] for name in names}

    return _read(path, read)


def _check_index(patch_id: NDArray[np.int64], ids: dict[str, NDArray[Any]], folder: Path) -> None:
    for name, found in ids.items():
        if not np.array_equal(found, patch_id):
            raise _stranger(folder / name)
    if len(np.unique(patch_id)) < len(patch_id):
        raise FormatError("a patch_id stands twice", where=folder / layout.LABELS, remedy=_REMEDY)
    if not len(patch_id):
        raise FormatError("holds no label", where=folder / layout.LABELS, remedy=_REMEDY)


def _stranger(path: Path) -> FrameError:
    return FrameError(
        f"is of another patch index: its rows are not those of {layout.LABELS}", where=path, remedy=_REMEDY
    )
