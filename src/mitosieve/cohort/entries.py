"""Slides of a cohort as slides.csv has them: a record each, and all of them as a tuple that is also a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.area import check_roi
from mitosieve.slide.slide import MAX_MPP, MIN_MPP

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("slide_id", "path", "case_id", "domain", "mpp", "labelled")
OPTIONAL = ("width", "height", "roi")
SOURCE = "source"
"""Column that slides.csv has only where a slide names its source: other cohorts keep their bytes and hash."""

OBLONG = ("mpp_x", "mpp_y")
"""Columns that it has only where a slide's pixels are oblong; empty for the others."""


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
        source: the data set that the slide came from; empty where nobody said. Batches can be balanced by it.
        oblong: um per px in x and in y where they differ; `mpp` is then their mean.
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
    source: str = ""
    oblong: tuple[float, float] | None = None

    @property
    def mpp_xy(self) -> tuple[float, float]:
        """The um per level-0 px in x and in y."""
        return (self.mpp, self.mpp) if self.oblong is None else self.oblong

    @property
    def roi(self) -> BaseGeometry | None:
        """The exhaustively marked area in level-0 px, or None for the whole slide."""
        return shapely.from_wkt(self.roi_wkt) if self.roi_wkt else None

    def check_roi(self) -> None:
        """Refuse a ROI with which slides.csv could not be read again.

        Raises:
            ValueError, ShapelyError: as `area.check_roi`.
        """
        if self.roi_wkt:
            check_roi(self.roi_wkt)

    @property
    def searched(self) -> BaseGeometry | None:
        """What of the image was marked exhaustively, in level-0 px; None where neither ROI nor size is known.

        Outlines drawn by hand reach over an image's edge, where there is nothing to search.
        """
        roi = self.roi
        if not (self.width_l0 and self.height_l0):
            return roi
        whole = shapely.box(-0.5, -0.5, self.width_l0 - 0.5, self.height_l0 - 0.5)
        if roi is None or whole.covers(roi):
            return whole if roi is None else roi
        return shapely.union_all([part for part in shapely.get_parts(whole.intersection(roi)) if part.area > 0])

    @property
    def area_mm2(self) -> float:
        """Exhaustively marked area in mm2, never more than the image; NaN where neither ROI nor size is known.

        A ROI that begins at (0, 0) and ends at the size is all of the image: writers differ about half a px.
        """
        roi, size_px2 = self.roi, self.width_l0 * self.height_l0
        px_mm2 = self.mpp_xy[0] * self.mpp_xy[1] / 1e6
        if roi is None:
            return size_px2 * px_mm2 if size_px2 else math.nan
        if not size_px2:
            return float(roi.area) * px_mm2
        image = shapely.box(-0.5, -0.5, self.width_l0, self.height_l0)
        inside = roi if image.covers(roi) else roi.intersection(image)
        return min(float(inside.area), size_px2) * px_mm2


class Slides(tuple[SlideEntry, ...]):
    """The entries in their order, for code; for a person at a notebook also a pandas table.

    `slides[0]` is an entry, `slides["mpp"]` a column, and what tuples do not know (`head`, `groupby`, `query`, ...) the
    table does.
    """

    __slots__ = ()

    @property
    def frame(self) -> "pd.DataFrame":
        """A row a slide, a new table each time: columns of slides.csv, and the marked area in mm2."""
        import pandas as pd

        names = ("slide_id", "path", "case_id", "domain", "mpp", "labelled", "width_l0", "height_l0", "source")
        return pd.DataFrame(
            [[*(getattr(entry, name) for name in names), entry.area_mm2] for entry in self],
            columns=[*names, "area_mm2"],
        )

    @overload
    def __getitem__(self, key: SupportsIndex) -> SlideEntry: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[SlideEntry, ...]: ...
    @overload
    def __getitem__(self, key: "str | list[str] | pd.Series") -> Any: ...  # noqa: ANN401 - a column or a table
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, SupportsIndex | slice):
            return super().__getitem__(key)
        return self.frame[key]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a table has
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.frame, name)

    def _repr_html_(self) -> str:
        return str(self.frame.to_html(index=False, border=0, max_rows=20))


def slide_entry(row: dict[str, str]) -> SlideEntry:
    """An entry from a row of slides.csv.

    Raises:
        ValueError: a value is not what it must be; says which.
    """
    mpp = float(row["mpp"]) if is_finite(row["mpp"]) else 0.0
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise ValueError(f"mpp is '{row['mpp']}'; a slide needs um per px between {MIN_MPP} and {MAX_MPP}")
    if row["labelled"] not in {"yes", "no"}:
        raise ValueError(f"labelled is '{row['labelled']}'; write yes or no")
    for name in ("slide_id", "path", "case_id"):
        if not row[name]:
            raise ValueError(f"{name} is empty")
    if row["slide_id"].startswith(".") or set("/\\") & set(row["slide_id"]):
        raise ValueError(f"slide_id is '{row['slide_id']}'; it names files, so no slash and no leading dot")
    if row["roi"]:
        check_roi(row["roi"])
    entry = SlideEntry(
        slide_id=row["slide_id"],
        path=row["path"],
        case_id=row["case_id"],
        domain=row["domain"],
        mpp=mpp,
        labelled=row["labelled"] == "yes",
        width_l0=_pixels(row, "width"),
        height_l0=_pixels(row, "height"),
        roi_wkt=row["roi"],
        source=row[SOURCE],
        oblong=_oblong(row, mpp),
    )
    if entry.searched is not None and not entry.searched.area > 0:
        raise ValueError(f"roi lies outside of the image, which is {entry.width_l0} x {entry.height_l0} px")
    return entry


def _pixels(row: dict[str, str], name: str) -> int:
    if row[name] and not row[name].isdecimal():
        raise ValueError(f"{name} is '{row[name]}'; write whole px, or nothing where unknown")
    return int(row[name] or 0)


def _oblong(row: dict[str, str], mpp: float) -> tuple[float, float] | None:
    texts = [row[name] for name in OBLONG]
    if not any(texts):
        return None
    sides = [float(text) if is_finite(text) else 0.0 for text in texts]
    if not all(MIN_MPP <= side <= MAX_MPP for side in sides) or abs(sum(sides) / 2 / mpp - 1) > 1e-3:
        raise ValueError(f"mpp_x and mpp_y are '{texts[0]}' and '{texts[1]}'; their mean must be mpp")
    return sides[0], sides[1]


def slides_csv(slides: Sequence[SlideEntry]) -> str:
    """The content of slides.csv; equal slides give equal bytes."""
    import pandas as pd  # when a table is written: its import takes longer than a small field

    table = pd.DataFrame(
        [
            (
                e.slide_id, e.path, e.case_id, e.domain, f"{e.mpp:.10g}", "yes" if e.labelled else "no",
                e.width_l0 or "", e.height_l0 or "", e.roi_wkt,
            )
            for e in slides
        ],
        columns=[*REQUIRED, *OPTIONAL],
    )  # fmt: skip
    if any(entry.source for entry in slides):
        table[SOURCE] = [entry.source for entry in slides]
    if any(entry.oblong for entry in slides):
        for number, name in enumerate(OBLONG):
            table[name] = ["" if e.oblong is None else f"{e.oblong[number]:.10g}" for e in slides]
    return table.to_csv(index=False, lineterminator="\n")


def is_finite(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
