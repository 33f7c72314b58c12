"""A cohort: cases, their slides, and the experts' marks, as a folder of two CSV files.

Owns `slides.csv` and `annotations.csv`. Opens slides, but knows nothing of patches, networks or scores.
"""

import hashlib
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.annotation import Annotations, Label
from mitosieve.errors import CohortError, SlideError
from mitosieve.geometry import mm2_from_px2
from mitosieve.runfolder import hash_file, write_atomic
from mitosieve.slide.slide import MAX_MPP, MIN_MPP, Slide, open_slide

SLIDES_FILE = "slides.csv"
ANNOTATIONS_FILE = "annotations.csv"
SLIDE_COLUMNS = ("slide_id", "path", "case_id", "domain", "mpp", "labelled", "width", "height", "roi")
ANNOTATION_COLUMNS = ("slide_id", "x", "y", "label", "score", "votes", "source")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SlideEntry:
    """One row of slides.csv.

    Attributes:
        slide_id: unique in the cohort.
        path: the image, relative to the cohort folder or absolute; may be absent from disk.
        case_id: the patient; splits are by case.
        domain: tumour x species x scanner x lab as one name; scores are reported by it.
        mpp: level-0 um per px.
        labelled: whether every figure inside the ROI was marked. False means nothing is known, not "no figures".
        width_l0, height_l0: size in level-0 px; 0 where not known (the image was never seen).
        roi_wkt: the area marked exhaustively, as WKT in level-0 px; empty means the whole slide.
    """

    slide_id: str
    path: str
    case_id: str
    domain: str
    mpp: float
    labelled: bool = True
    width_l0: int = 0
    height_l0: int = 0
    roi_wkt: str = ""

    @property
    def roi(self) -> BaseGeometry | None:
        """The exhaustively marked area in level-0 px, or None for the whole slide."""
        return shapely.from_wkt(self.roi_wkt) if self.roi_wkt else None

    @property
    def area_mm2(self) -> float:
        """Exhaustively marked area in mm2; NaN where neither ROI nor size is known."""
        roi = self.roi
        if roi is not None:
            return mm2_from_px2(float(roi.area), self.mpp)
        if self.width_l0 and self.height_l0:
            return mm2_from_px2(self.width_l0 * self.height_l0, self.mpp)
        return math.nan


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
        self.slides = slides
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
        slides = _read_table(folder / SLIDES_FILE, SLIDE_COLUMNS, ("width", "height", "roi"))
        marks = _read_table(folder / ANNOTATIONS_FILE, ANNOTATION_COLUMNS, ("score", "votes", "source"))
        entries = tuple(_rows(folder / SLIDES_FILE, slides, _slide_entry))
        _rows(folder / ANNOTATIONS_FILE, marks, _check_mark)
        annotations = Annotations.of(
            slide_id=marks["slide_id"],
            center_l0=list(zip(marks["x"].astype(float), marks["y"].astype(float), strict=True)),
            label=marks["label"],
            score=[float(value) if value else math.nan for value in marks["score"]],
            votes=marks["votes"],
            source=list(marks["source"]),
        )
        return cls(folder, entries, annotations)

    def save(self, folder: Path | None = None) -> Path:
        """Write both files, each whole or not at all."""
        target = self.folder if folder is None else folder
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
            columns=list(ANNOTATION_COLUMNS),
        )
        slides = pd.DataFrame(
            [
                (
                    e.slide_id, e.path, e.case_id, e.domain, f"{e.mpp:.10g}", "yes" if e.labelled else "no",
                    e.width_l0 or "", e.height_l0 or "", e.roi_wkt,
                )
                for e in self.slides
            ],
            columns=list(SLIDE_COLUMNS),
        )  # fmt: skip
        write_atomic(target / SLIDES_FILE, slides.to_csv(index=False, lineterminator="\n"))
        write_atomic(target / ANNOTATIONS_FILE, marks.to_csv(index=False, lineterminator="\n"))
        return target

    @property
    def cases(self) -> tuple[str, ...]:
        """Case ids, sorted."""
        return tuple(sorted({entry.case_id for entry in self.slides}))

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
        chosen = tuple(entry for entry in self.slides if entry.case_id in set(cases))
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
        slide = open_slide(path, mpp=entry.mpp, slide_id=slide_id)
        stated = (entry.width_l0, entry.height_l0)
        if all(stated) and slide.size_l0 != stated:
            slide.close()
            raise SlideError(
                f"is {slide.size_l0[0]} x {slide.size_l0[1]} px, but {SLIDES_FILE} says {stated[0]} x {stated[1]}",
                where=path,
                remedy="the marks belong to another image; import the slide again",
            )
        return slide

    def hash(self) -> str:
        """sha256 over both CSV files as they would be written, so that equal content is equal."""
        with tempfile.TemporaryDirectory() as name:
            self.save(Path(name))
            both = hash_file(Path(name) / SLIDES_FILE) + hash_file(Path(name) / ANNOTATIONS_FILE)
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


def relocated(cohort: Cohort, folder: Path) -> Cohort:
    """The same cohort for saving in another folder: relative slide paths become absolute."""
    moved = cohort.with_entries(lambda e: replace(e, path=str((cohort.folder / e.path).resolve())))
    return Cohort(folder, moved.slides, moved.annotations)


def _read_table(path: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> pd.DataFrame:
    """A CSV as text columns; missing optional columns are empty."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise CohortError("is missing", where=path, remedy="import the cohort again, or restore the file") from error
    except UnicodeDecodeError as error:
        raise CohortError(f"is not UTF-8 (byte {error.start})", where=path, remedy="save it as UTF-8 CSV") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise CohortError(
            f"is not a CSV table ({error})", where=path, remedy=f"expected columns: {','.join(columns)}"
        ) from error
    missing = [name for name in columns if name not in table.columns and name not in optional]
    if missing:
        raise CohortError(
            f"lacks the column {', '.join(missing)}", where=path, remedy=f"expected columns: {','.join(columns)}"
        )
    for name in optional:
        if name not in table.columns:
            table[name] = ""
    return table.loc[:, list(columns)]


def _rows(path: Path, table: pd.DataFrame, parse: Callable[[dict[str, str]], T]) -> list[T]:
    """Parse each row; a fault names the file and the line (the header is line 1)."""
    parsed: list[T] = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        try:
            parsed.append(parse({str(key): str(value) for key, value in row.items()}))
        except (ValueError, shapely.errors.ShapelyError) as error:
            raise CohortError(str(error), where=f"{path}, line {number}", remedy="mend this row") from error
    return parsed


def _slide_entry(row: dict[str, str]) -> SlideEntry:
    mpp = float(row["mpp"]) if row["mpp"] else 0.0
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise ValueError(f"mpp is '{row['mpp']}'; a slide needs um per px between {MIN_MPP} and {MAX_MPP}")
    if row["labelled"] not in {"yes", "no"}:
        raise ValueError(f"labelled is '{row['labelled']}'; write yes or no")
    for name in ("slide_id", "path", "case_id"):
        if not row[name]:
            raise ValueError(f"{name} is empty")
    if row["roi"]:
        roi = shapely.from_wkt(row["roi"])
        if roi.is_empty or not roi.is_valid or roi.area <= 0:
            raise ValueError("roi is empty, has no area, or crosses itself")
    return SlideEntry(
        slide_id=row["slide_id"],
        path=row["path"],
        case_id=row["case_id"],
        domain=row["domain"],
        mpp=mpp,
        labelled=row["labelled"] == "yes",
        width_l0=int(row["width"] or 0),
        height_l0=int(row["height"] or 0),
        roi_wkt=row["roi"],
    )


def _check_mark(row: dict[str, str]) -> None:
    for name in ("x", "y"):
        if not math.isfinite(float(row[name])):
            raise ValueError(f"{name} is '{row[name]}'; a mark needs a finite position in level-0 px")
    if row["label"] not in {label.value for label in Label}:
        raise ValueError(f"label is '{row['label']}'; known: {', '.join(label.value for label in Label)}")
    if row["score"]:
        float(row["score"])
