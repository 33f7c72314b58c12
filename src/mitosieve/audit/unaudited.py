"""Points that no audit wrote: detections that someone corrected in QuPath, and points that someone set.

Such a point is told by slide and place alone, and is the mark that a reviewer's cell there would be. Knows no file.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mitosieve.annotation import NO_MARK, Label
from mitosieve.audit.qupath import UNSURE, Point
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import FormatError
from mitosieve.review.pairing import same_cells


class Unaudited:
    """Takes points one by one, and says which marks they are.

    A detection speaks where its class is another than the detector gave it: a candidate that is now a figure is one; a
    figure that is now anything else is an imposter, for it was taken for a figure; whatever is now called an imposter
    is one. A detection left as it was says nothing, unless all were seen: then the figures among them are figures. A
    point that a person set is what its class says; "Background" says nothing. "Unsure" says nothing either, but its
    cell takes its mark, as with `import reviews`: else the cell beside it would.

    Args:
        cohort: has the slides.
        all_seen: whether detections that were left as they were were looked at.

    Attributes:
        left: how many detections called figures were left as they were and said nothing.
    """

    def __init__(self, cohort: Cohort, *, all_seen: bool) -> None:
        self._cohort = cohort
        self._slides = {entry.slide_id for entry in cohort.slides}
        self._all_seen = all_seen
        self._points: dict[str, list[Point]] = {}
        self._named: set[int] = set()
        self.left = 0

    def name(self, row: int) -> None:
        """A mark that is another point's by its id: none of these is that one, however near."""
        self._named.add(row)

    def take(self, point: Point) -> None:
        """One more point.

        Raises:
            FormatError: nobody can tell of which slide it is.
        """
        label = self._says(point)
        slide_id = None if label is None else self._slide_of(point)
        if label is not None and slide_id is not None:
            self._points.setdefault(slide_id, []).append(replace(point, label=label))

    def _says(self, point: Point) -> str | None:
        """The label that a point gives its cell; None where it says nothing and takes no mark."""
        if point.label == UNSURE:
            return UNSURE
        if point.kind == "added":
            return None if point.label == NO_MARK else point.label
        if point.label == Label.IMPOSTER:
            return point.label
        if point.label == Label.MITOTIC_FIGURE:
            if point.called is False or self._all_seen:
                return point.label
            self.left += 1
            return None
        return Label.IMPOSTER.value if point.called else None

    def _slide_of(self, point: Point) -> str | None:
        """As the point's metadata say, else as its file is called, else the cohort's only slide; None of what says
        nothing, where nobody can tell.
        """
        stated = point.metadata.get("slide_id")
        for name in (stated, point.file):
            if name in self._slides:
                return str(name)
        if stated is None and len(self._slides) == 1:
            return next(iter(self._slides))
        if point.label == UNSURE:
            return None
        raise FormatError(
            f"is of the slide '{stated}', which the cohort has not" if stated else "does not say of which slide it is",
            where=point.where,
            remedy="call the file as the slide, as detect does (SLIDE_ID.geojson); a cohort gets slides by `mitosieve \
import images`, or with their decisions by `mitosieve import reviews`",
        )

    def marks(self) -> Iterator[tuple[str, int | None, Point]]:
        """Slide, row of the cohort's mark or None, and the point; of each slide the nearest pairs are made first."""
        for slide_id, points in self._points.items():
            row_of = self._rows(slide_id, points)
            for number, point in enumerate(points):
                if point.label != UNSURE:
                    yield slide_id, row_of.get(number), point

    def _rows(self, slide_id: str, points: list[Point]) -> dict[int, int]:
        marks = self._cohort.annotations
        rows = np.setdiff1d(np.flatnonzero(marks.slide_id == slide_id), list(self._named)).astype(np.intp)
        if not len(rows):
            return {}
        mpp_xy = self._cohort.entry(slide_id).mpp_xy
        here_um = np.array([(point.x, point.y) for point in points]) * mpp_xy
        pairs = same_cells(here_um, marks.center_l0[rows] * mpp_xy)
        return {number: int(rows[place]) for number, place in pairs.items()}
