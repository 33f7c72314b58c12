"""A cohort: cases, their slides, and the experts' marks, as a folder of two CSV files.

Owns `slides.csv` and `annotations.csv`. Opens slides, but knows nothing of patches, networks or scores.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from mitosieve.annotation import NO_MARK, Annotations, Label
from mitosieve.cohort.entries import (
    OBLONG,
    OPTIONAL,
    REQUIRED,
    SOURCE,
    SlideEntry,
    Slides,
    is_finite,
    slide_entry,
    slides_csv,
)
from mitosieve.cohort.saving import ANNOTATIONS_FILE, SLIDES_FILE, settle, state_of, write_both
from mitosieve.cohort.table import Row, header_of, read_table
from mitosieve.errors import CohortError, SlideError, some
from mitosieve.geometry import Mpp, inside_roi
from mitosieve.slide.slide import Slide, open_slide, place_of, which_slide
from mitosieve.upstairs import notebook

_MARK_REQUIRED = ("slide_id", "x", "y", "label")
_MARK_OPTIONAL = ("score", "votes", "source")
_MARK_CORRECTED = ("label_before", "corrected_at", "corrected_from")
_MARK_REVIEWED = ("reviewed_by", "reviewed_at")
"""Columns that annotations.csv has only where a mark was corrected or reviewed: others keep their bytes and hash."""
_KNOWN = {
    SLIDES_FILE: (*REQUIRED, *OPTIONAL, SOURCE, *OBLONG),
    ANNOTATIONS_FILE: (*_MARK_REQUIRED, *_MARK_OPTIONAL, *_MARK_CORRECTED, *_MARK_REVIEWED),
}
_MARK_TEXTS = (*_MARK_CORRECTED[1:], *_MARK_REVIEWED)

T = TypeVar("T")


class Cohort:
    """Slides and annotations; immutable, changed by making a new one and saving it.

    Args:
        folder: where relative slide paths start.
        slides: unique by slide_id.
        annotations: every row names a slide of `slides`.

    Raises:
        CohortError: two slides share an id, or a mark names no slide.
    """

    def __init__(self, folder: Path, slides: tuple[SlideEntry, ...], annotations: Annotations) -> None:
        self.folder = folder
        self.slides = Slides(slides)
        self.annotations = annotations
        self._by_id = {entry.slide_id: entry for entry in slides}
        if len(self._by_id) < len(slides):
            seen: set[str] = set()
            twice = next(e.slide_id for e in slides if e.slide_id in seen or seen.add(e.slide_id))
            raise CohortError(
                f"slide_id '{twice}' stands twice",
                where=folder / SLIDES_FILE,
                remedy="give each slide its own slide_id",
            )
        strangers = sorted(set(np.unique(annotations.slide_id)) - set(self._by_id))
        if strangers:
            raise CohortError(
                f"marks name slides that are not in {SLIDES_FILE}: {', '.join(strangers[:5])}",
                where=folder / ANNOTATIONS_FILE,
                remedy="add the slides, or remove the rows",
            )

    @classmethod
    def load(cls, folder: str | Path) -> "Cohort":
        """Read a cohort folder.

        Raises:
            CohortError: it is gone, a file is missing, or a row is wrong (the message names file and row).
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise CohortError("there is no such cohort folder", where=folder, remedy="make one with: mitosieve import")
        settle(folder)
        slides = read_table(
            folder / SLIDES_FILE,
            required=REQUIRED,
            optional=(*OPTIONAL, SOURCE, *OBLONG),
            error=CohortError,
        )
        marks = read_table(
            folder / ANNOTATIONS_FILE,
            required=_MARK_REQUIRED,
            optional=_MARK_OPTIONAL + _MARK_CORRECTED + _MARK_REVIEWED,
            error=CohortError,
        )
        entries = tuple(_parsed(row, slide_entry) for row in slides)
        centers = [_parsed(row, _center) for row in marks]
        annotations = Annotations.of(
            slide_id=[row.values["slide_id"] for row in marks],
            center_l0=centers,
            label=[_parsed(row, _label) for row in marks],
            score=[_parsed(row, _score) for row in marks],
            votes=[row.values["votes"] for row in marks],
            source=[row.values["source"] for row in marks],
        )
        annotations = replace(
            annotations,
            label_before=np.array([_parsed(row, _label_before) for row in marks], dtype=np.str_),
            **{name: np.array([row.values[name] for row in marks], dtype=np.str_) for name in _MARK_TEXTS},
        )
        return cls(folder, entries, annotations)

    @classmethod
    def begin(cls, folder: Path) -> "tuple[Cohort, str]":
        """The cohort to add to, empty where there is none yet; and what to `save` it over.

        Raises:
            CohortError: as `load`.
        """
        settle(folder)
        state = state_of(folder)
        there = any((folder / name).exists() for name in (SLIDES_FILE, ANNOTATIONS_FILE))
        return (cls.load(folder) if there else cls(folder, (), Annotations.empty())), state

    def save(self, folder: Path | None = None, *, over: str | None = None) -> Path:
        """Write both files, or neither; one process at a time (`saving.write_both`).

        Args:
            folder: another than its own.
            over: `saving.state_of` the folder when it was read: what another process has written since stays.

        Raises:
            CohortError: a file that is there has columns of somebody's own, which would be gone; or another process
                writes, or has written since. Nothing is written.
            StorageError: the folder cannot be written.
        """
        target = self.folder if folder is None else folder
        settle(target)
        _refuse_own_columns(target)
        texts = {ANNOTATIONS_FILE: self._annotations_csv(), SLIDES_FILE: slides_csv(self.slides)}
        write_both(target, texts, over=over)
        return target

    def _annotations_csv(self) -> str:
        import pandas as pd  # when a table is written: its import takes longer than a small field

        marks = pd.DataFrame(
            {
                "slide_id": self.annotations.slide_id,
                "x": [f"{value:.10g}" for value in self.annotations.center_l0[:, 0]],
                "y": [f"{value:.10g}" for value in self.annotations.center_l0[:, 1]],
                "label": self.annotations.label,
                "score": ["" if math.isnan(value) else f"{value:.6g}" for value in self.annotations.score],
                "votes": self.annotations.votes,
                "source": self.annotations.source,
            },
            columns=[*_MARK_REQUIRED, *_MARK_OPTIONAL],
        )
        if self.annotations.is_corrected.any():
            marks = marks.assign(**{name: getattr(self.annotations, name) for name in _MARK_CORRECTED})
        if self.annotations.is_reviewed.any():
            marks = marks.assign(**{name: getattr(self.annotations, name) for name in _MARK_REVIEWED})
        return marks.to_csv(index=False, lineterminator="\n")

    def __len__(self) -> int:
        return len(self.slides)

    def __bool__(self) -> bool:
        return True  # a cohort without slides is a cohort

    def __iter__(self) -> Iterator[SlideEntry]:
        return iter(self.slides)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        return f"Cohort({self.folder}: {counts})"

    def _repr_html_(self) -> str:
        return notebook("tables").html_of_cohort(self)

    def show(self, **choices: Any) -> Any:  # noqa: ANN401 - a matplotlib Figure
        """Small pictures of the slides with their marks (`notebook.pictures.show_cohort`)."""
        return notebook("pictures").show_cohort(self, **choices)

    @property
    def cases(self) -> tuple[str, ...]:
        """Case ids, sorted."""
        return tuple(sorted({entry.case_id for entry in self.slides}))

    @property
    def case_of(self) -> dict[str, str]:
        """The case of each slide."""
        return {entry.slide_id: entry.case_id for entry in self.slides}

    @property
    def mpp_of(self) -> dict[str, Mpp]:
        """Um per level-0 px of each slide, one number where pixels are square."""
        return {entry.slide_id: entry.oblong or entry.mpp for entry in self.slides}

    @property
    def source_of(self) -> dict[str, str]:
        """The source of each slide; where nobody named one, its domain."""
        return {entry.slide_id: entry.source or entry.domain for entry in self.slides}

    def entry(self, slide_id: str) -> SlideEntry:
        """The row of one slide.

        Raises:
            CohortError: the cohort has no such slide.
        """
        if slide_id not in self._by_id:
            raise CohortError(f"has no slide '{slide_id}'", where=self.folder / SLIDES_FILE)
        return self._by_id[slide_id]

    def of_cases(self, cases: tuple[str, ...]) -> "Cohort":
        """The part of the cohort that belongs to `cases`, in the cohort's order."""
        wanted = set(cases)
        return self._only(tuple(entry for entry in self.slides if entry.case_id in wanted))

    @property
    def labelled(self) -> "Cohort":
        """The labelled slides, in the cohort's order: nothing can be judged on the others."""
        return self._only(tuple(entry for entry in self.slides if entry.labelled))

    @property
    def known_marks(self) -> Annotations:
        """The marks that are learned from and scored."""
        return self.annotations[self.is_known]

    @property
    def known_figures(self) -> Annotations:
        """The mitotic figures among them."""
        return self.known_marks.with_label(Label.MITOTIC_FIGURE)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Of each mark whether it is learned from and scored: on labelled slides, where these were searched (`roi`)."""
        marks = self.annotations
        known = np.isin(marks.slide_id, [entry.slide_id for entry in self.slides if entry.labelled])
        for entry in (entry for entry in self.slides if entry.roi_wkt):
            rows = np.flatnonzero(marks.slide_id == entry.slide_id)
            known[rows] &= inside_roi(entry.roi, marks.center_l0[rows])
        return known

    def of_domain(self, domain: str) -> "Cohort":
        """The part of the cohort that belongs to one domain, in the cohort's order."""
        return self._only(tuple(entry for entry in self.slides if entry.domain == domain))

    def _only(self, chosen: tuple[SlideEntry, ...]) -> "Cohort":
        ids = np.array([entry.slide_id for entry in chosen], dtype=np.str_)
        return Cohort(self.folder, chosen, self.annotations[np.isin(self.annotations.slide_id, ids)])

    def merged(self, other: "Cohort") -> "Cohort":
        """This cohort's slides and marks followed by the other's; ids must not clash."""
        return Cohort(
            self.folder,
            self.slides + other.slides,
            Annotations.concatenate([self.annotations, other.annotations]),
        )

    def path_of(self, slide_id: str) -> Path:
        """Where the image of a slide is, whether or not it is there."""
        return self.folder / self.entry(slide_id).path

    def place_of(self, entry: SlideEntry) -> Path:
        """Where the image of a row lies, as an absolute path; a link lies where it lies (`slide.place_of`)."""
        return place_of(self.folder / entry.path)

    def image_of(self, entry: SlideEntry) -> object:
        """What tells the image of a row from others (`which_slide`), of this cohort or about to come into it."""
        return which_slide(self.folder / entry.path)

    def open(self, slide_id: str) -> Slide:
        """Open the image of a slide with the cohort's mpp.

        Raises:
            SlideError: the image is missing, unreadable, or of another size than slides.csv says.
        """
        entry = self.entry(slide_id)
        path = self.path_of(slide_id)
        if not path.exists():
            raise SlideError(
                "the image of this slide is missing", where=path, remedy=f"restore it or mend 'path' in {SLIDES_FILE}"
            )
        slide = open_slide(path, mpp=entry.oblong or entry.mpp, slide_id=slide_id)
        stated = (entry.width_l0, entry.height_l0)
        if all(stated) and slide.size_l0 != stated:
            slide.close()
            raise SlideError(
                f"is {slide.size_l0[0]} x {slide.size_l0[1]} px, but {SLIDES_FILE} says {stated[0]} x {stated[1]} px",
                where=path,
                remedy="the marks belong to another image; import the slide again",
            )
        return slide

    def hash(self) -> str:
        """sha256 over both CSV files as they would be written, of each image the name alone: equal content is equal,
        wherever the images lie.
        """
        slides = [replace(entry, path=Path(entry.path).name) for entry in self.slides]
        parts = (slides_csv(slides), self._annotations_csv())
        both = "".join(hashlib.sha256(text.encode()).hexdigest() for text in parts)
        return hashlib.sha256(both.encode()).hexdigest()

    def counts(self) -> dict[str, Any]:
        """Cases, slides, labelled slides, figures and imposters, for the tables that importers print."""
        labels = self.annotations.label
        return {
            "cases": len(self.cases),
            "slides": len(self.slides),
            "labelled": sum(entry.labelled for entry in self.slides),
            "figures": int((labels == Label.MITOTIC_FIGURE.value).sum()),
            "imposters": int((labels == Label.IMPOSTER.value).sum()),
        }

    def with_entries(self, change: Callable[[SlideEntry], SlideEntry]) -> "Cohort":
        """A cohort whose slide rows went through `change`; marks stay."""
        return Cohort(self.folder, tuple(change(entry) for entry in self.slides), self.annotations)


def _parsed(row: Row, parse: Callable[[dict[str, str]], T]) -> T:
    """What a row says; a fault names its file and line."""
    try:
        return parse(row.values)
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise CohortError(str(error), where=row.where, remedy="mend this row") from error


def _center(row: dict[str, str]) -> tuple[float, float]:
    for name in ("x", "y"):
        if not is_finite(row[name]):
            raise ValueError(f"{name} is '{row[name]}'; a mark needs a finite position in level-0 px")
    return float(row["x"]), float(row["y"])


def _label(row: dict[str, str]) -> str:
    if row["label"] not in {label.value for label in Label}:
        raise ValueError(f"label is '{row['label']}'; known: {', '.join(label.value for label in Label)}")
    return row["label"]


def _label_before(row: dict[str, str]) -> str:
    known = ("", *(label.value for label in Label), NO_MARK)
    if row["label_before"] not in known:
        raise ValueError(f"label_before is '{row['label_before']}'; known: {', '.join(known[1:])}, or empty")
    if not row["label_before"] and (row["corrected_at"] or row["corrected_from"]):
        raise ValueError("says when or from what it was corrected, but has no label_before")
    return row["label_before"]


def _score(row: dict[str, str]) -> float:
    if not row["score"]:
        return math.nan
    if not is_finite(row["score"]) or not 0 <= float(row["score"]) <= 1:
        raise ValueError(f"score is '{row['score']}'; it is the share of raters, 0..1, or empty")
    return float(row["score"])


def _refuse_own_columns(folder: Path) -> None:
    """Refuse to write over a table with columns that a cohort does not hold: they would vanish without a word."""
    for name, known in _KNOWN.items():
        own = [column for column in header_of(folder / name) if column not in known]
        if own:
            raise CohortError(
                f"has columns that mitosieve does not know and would not keep: {some(own)}",
                where=folder / name,
                remedy="keep them in a file of their own, and take them out of this one",
            )
