"""Slides of a cohort as slides.csv has them: a record each, and all of them as a tuple that is also a table."""

import math
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.geometry import mm2_from_px2


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


class Slides(tuple[SlideEntry, ...]):
    """The entries in their order, for code; for a person at a notebook also a pandas table.

    `slides[0]` is an entry, `slides["mpp"]` a column, and what tuples do not know (`head`, `groupby`, `query`, ...) the
    table does.
    """

    __slots__ = ()

    @property
    def frame(self) -> pd.DataFrame:
        """A row a slide, a new table each time: columns of slides.csv, and the marked area in mm2."""
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
        if isinstance(key, str | list | pd.Series):
            return self.frame[key]
        return super().__getitem__(key)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a table has
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.frame, name)

    def _repr_html_(self) -> str:
        return str(self.frame.to_html(index=False, border=0, max_rows=20))
