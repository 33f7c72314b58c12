"""Labels that someone looked at again, from QuPath back into a new version of the cohort.

Takes back the points that an audit wrote (`qupath/SLIDE_ID.geojson`), whose ids tell which mark, or which place without
a mark, each is, and of which only the class is taken over; detections of `detect --format geojson` whose class was
changed; and points that a person set. Knows nothing of audits and detectors.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mitosieve.annotation import NO_MARK, Annotations, Label
from mitosieve.audit.qupath import UNSURE, Point, Rulings, points_of
from mitosieve.audit.unaudited import Unaudited
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.place import NO_ROW, in_digits, place_id
from mitosieve.cohort.version import refuse_used, relocated
from mitosieve.errors import CohortError, FormatError

FORMAT = "corrections"
"""Name on the command line."""

MAX_MOVED_PX = 0.5
"""How far a point may lie from the place that was audited: QuPath rounds, a hand does not move it by less."""

_VERSION = slice(14, 15)
"""Where a UUID says its version; those of places are of version 5 (`place_id`)."""

SOURCE = "corrections"
"""`source` of a mark that a correction added."""


@dataclass(frozen=True, kw_only=True)
class SlideCorrections:
    """One row of the table that an import of corrections ends with.

    Attributes:
        slide_id: "total" for the sum.
        to_figure: imposters that became figures.
        to_imposter: figures that became imposters.
        added: places without a mark that got one.
    """

    slide_id: str
    to_figure: int
    to_imposter: int
    added: int

    @property
    def changed(self) -> int:
        return self.to_figure + self.to_imposter + self.added


@dataclass(frozen=True, kw_only=True)
class CorrectionReport:
    """What was corrected.

    Attributes:
        cohort: the new version as saved.
        rows: of the slides where something changed, by slide_id.
        total: their sum.
        left: detections called figures that were left as they were, of which nothing was taken.
        outside: places of new marks outside the area of their slide that was searched (`roi`), in words: they are
            neither learned from nor scored.
        unsearched: slides with new marks that are not labelled, of which nothing is learned or scored either.
    """

    cohort: Cohort
    rows: tuple[SlideCorrections, ...]
    total: SlideCorrections
    left: int = 0
    outside: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Place:
    """An audited place that a point names.

    Attributes:
        row: of the cohort's marks, or NO_ROW. A place without a mark may have got one from an earlier correction.
        was_marked: whether it had a mark when it was audited.
    """

    slide_id: str
    x: float
    y: float
    row: int
    was_marked: bool


def import_corrections(
    source: Path, folder: Path, out: Path, *, now: datetime, all_seen: bool = False, rulings: Rulings | None = None
) -> CorrectionReport:
    """Make a new version of a cohort from corrected points; the old one stays, and on any fault nothing is written.

    - A mark whose class is now the other one of "Mitotic figure" and "Imposter" gets that label.
    - A figure that is now "Background" becomes an imposter: a cell that was taken for a figure and is none is one by
      definition. An imposter that is now "Background" stays what it is. No mark is ever removed.
    - A place without a mark that is now a figure or an imposter becomes a new mark, behind all others.
    - A point that is now "Unsure" changes nothing.
    - Detections and points that a person set: see `Unaudited`.
    - A point that was deleted, or left as it was, changes nothing; without any change the new version has equal marks.
      So does a file that is applied once more to the version it made.

    Expert score and votes of a mark stay: they are of the experts who marked it, not of the correction. `label_before`
    is the oldest label: a second round keeps that of the first; `corrected_at` and `corrected_from` are of the last.

    Args:
        source: a GeoJSON file, or a folder with them (not below it).
        folder: the cohort that was audited, or a version made of it by corrections alone; of a result of detect, one
            that has its slides.
        out: the new version; new or empty. Its images are those of the old one, by absolute path. Other files of the
            cohort's folder are not copied.
        now: when the corrections are taken over; with a time zone.
        all_seen: whether detections that were left called figures were all looked at, and are figures.
        rulings: what classes mean whose names do not tell: "ignore" is Unsure, "other" is Background.

    Raises:
        FormatError: a file that is not GeoJSON, or a feature that is of another cohort's audit, was moved, stands
            twice, has an unknown class, or is of a slide that nobody can tell.
        InputError: a ruling on a class that is not there.
        CohortError: a point is of no slide of the cohort, or `out` holds something.
        StorageError: `out` cannot be written.
    """
    if now.tzinfo is None:
        raise ValueError("when corrections are taken over needs a time zone")
    refuse_used(out)
    cohort = Cohort.load(folder)
    places, unaudited = _Places(cohort), Unaudited(cohort, all_seen=all_seen)
    found: dict[str | int | tuple[str, float, float], tuple[_Place, Point]] = {}
    for point in points_of(source, rulings):
        place = places.named_by(point)
        if place is None and not places.expects(point):
            unaudited.take(point)
            continue
        if point.is_left and not all_seen:
            continue
        if place is not None and place.row != NO_ROW:
            unaudited.name(place.row)
        if point.label == UNSURE:
            continue
        place = places.checked(point, place)
        key = point.id if place.row == NO_ROW or _is_untouched(place, point) else place.row
        _keep(found, key, place, point)
    for slide_id, row, point in unaudited.marks():
        known = NO_ROW if row is None else row
        place = _Place(slide_id=slide_id, x=point.x, y=point.y, row=known, was_marked=row is not None)
        _keep(found, (slide_id, point.x, point.y) if row is None else row, place, point)
    when = now.astimezone(UTC).isoformat(timespec="seconds")
    marks, rows = _corrected(cohort.annotations, list(found.values()), when)
    new = relocated(Cohort(cohort.folder, cohort.slides, marks), out)
    new.save()
    total = SlideCorrections(
        slide_id="total",
        to_figure=sum(row.to_figure for row in rows),
        to_imposter=sum(row.to_imposter for row in rows),
        added=sum(row.added for row in rows),
    )
    outside, unsearched = _without_use(new, len(cohort.annotations))
    return CorrectionReport(
        cohort=new, rows=rows, total=total, left=unaudited.left, outside=outside, unsearched=unsearched
    )


def _without_use(new: Cohort, first: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the new marks, which begin at the row `first`: places outside of their slide's area, and unlabelled slides."""
    rows = np.flatnonzero(~new.is_known)
    unused = new.annotations[rows[rows >= first]]
    outside: list[str] = []
    unsearched: dict[str, None] = {}
    for slide_id, (x, y) in zip(unused.slide_id.tolist(), unused.center_l0.tolist(), strict=True):
        if new.entry(slide_id).labelled:
            outside.append(f"{slide_id} at x {x:.1f}, y {y:.1f} px")
        else:
            unsearched[slide_id] = None
    return tuple(outside), tuple(unsearched)


def _keep(
    found: dict[str | int | tuple[str, float, float], tuple[_Place, Point]],
    key: str | int | tuple[str, float, float],
    place: _Place,
    point: Point,
) -> None:
    """Add a point, unless another one is of the same place."""
    if key in found:
        first = found[key][1].where
        raise FormatError(f"is the same point as {first}", where=point.where, remedy="keep one of the two")
    found[key] = place, point


class _Places:
    """The places of a cohort by id."""

    def __init__(self, cohort: Cohort) -> None:
        marks = cohort.annotations
        self._slides = {entry.slide_id for entry in cohort.slides}
        self._sorted = tuple(sorted(self._slides))
        self._marks: dict[str, _Place] = {}
        self._added: dict[str, int] = {}  # rows of marks that corrections added, by the id of the place they had
        columns = zip(marks.slide_id.tolist(), marks.center_l0.tolist(), strict=True)
        for row, (slide_id, (x, y)) in enumerate(columns):
            place = _Place(slide_id=slide_id, x=x, y=y, row=row, was_marked=True)
            self._marks[place_id(slide_id, x, y, row)] = place
            if marks.label_before[row] == NO_MARK:
                self._added[place_id(slide_id, x, y, NO_ROW)] = row

    def named_by(self, point: Point) -> _Place | None:
        """The place whose id a point has, whatever else it says; None where there is none."""
        return self._marks.get(point.id) or self._unmarked(point)

    def expects(self, point: Point) -> bool:
        """Whether a point that names no place should: it is an audit's, by its metadata or its id."""
        return point.kind == "audited" or point.id in self._added

    def checked(self, point: Point, place: _Place | None) -> _Place:
        """The place that a point was written for.

        Raises:
            FormatError: there is none, or the point lies elsewhere now.
            CohortError: it is of a slide that the cohort has not.
        """
        if place is None:
            slide_id = point.metadata.get("slide_id")
            if slide_id is not None and slide_id not in self._slides:
                raise CohortError(
                    f"is of the slide '{slide_id}', which the cohort has not",
                    where=point.where,
                    remedy="name the cohort that was audited",
                )
            raise FormatError(
                f"is no point that an audit of this cohort wrote (id '{point.id}')",
                where=point.where,
                remedy="name the cohort that was audited, and do not change ids",
            )
        moved = float(np.hypot(point.x - place.x, point.y - place.y))
        if moved > MAX_MOVED_PX:
            raise FormatError(
                f"was moved by {moved:.1f} px from ({place.x:.2f}, {place.y:.2f}) on {place.slide_id}",
                where=point.where,
                remedy="put it back (Edit > Undo); only its class may be changed",
            )
        return place

    def _unmarked(self, point: Point) -> _Place | None:
        """The place without a mark whose id a point has: as its metadata say, else where it lies on the slide that its
        metadata or its file name, else on any slide. A detection, and an id of another kind (QuPath's own), is tried on
        none: an id costs some microseconds a slide.
        """
        if point.called is not None or point.id[_VERSION] != "5":
            return None
        named = next((n for n in (point.metadata.get("slide_id"), point.file) if n in self._slides), None)
        here = [(slide_id, point.x, point.y) for slide_id in (self._sorted if named is None else (named,))]
        for slide_id, x, y in [point.stated, *here] if point.stated is not None else here:
            if slide_id in self._slides and place_id(slide_id, x, y, NO_ROW) == point.id:
                return _Place(
                    slide_id=slide_id,
                    x=float(in_digits(x)),
                    y=float(in_digits(y)),
                    row=self._added.get(point.id, NO_ROW),
                    was_marked=False,
                )
        return None


def _corrected(
    marks: Annotations, found: list[tuple[_Place, Point]], now: str
) -> tuple[Annotations, tuple[SlideCorrections, ...]]:
    """The marks with what the points say, and counts of the slides where something changed."""
    label, before, when, origin = (
        column.astype(object) for column in (marks.label, marks.label_before, marks.corrected_at, marks.corrected_from)
    )
    counts: dict[str, dict[str, int]] = {}
    added: list[tuple[_Place, Point]] = []
    for place, point in found:
        row = place.row
        if _is_untouched(place, point):
            continue
        if row == NO_ROW:
            added.append((place, point))
            _count(counts, place.slide_id, "added")
            continue
        wanted = Label.IMPOSTER.value if point.label == NO_MARK else point.label
        if label[row] == wanted:
            continue
        before[row] = before[row] or label[row]
        label[row], when[row], origin[row] = wanted, now, point.origin
        _count(counts, place.slide_id, "to_figure" if wanted == Label.MITOTIC_FIGURE else "to_imposter")
    columns = {"label": label, "label_before": before, "corrected_at": when, "corrected_from": origin}
    kept = replace(marks, **{name: column.astype(np.str_) for name, column in columns.items()})
    rows = tuple(SlideCorrections(slide_id=name, **counts[name]) for name in sorted(counts))
    return Annotations.concatenate([kept, _new_marks(added, now)]) if added else kept, rows


def _is_untouched(place: _Place, point: Point) -> bool:
    """Whether a place had no mark and is to have none, even where another correction gave it one."""
    return point.label == NO_MARK and not place.was_marked


def _count(counts: dict[str, dict[str, int]], slide_id: str, what: str) -> None:
    counts.setdefault(slide_id, {"to_figure": 0, "to_imposter": 0, "added": 0})[what] += 1


def _new_marks(added: list[tuple[_Place, Point]], now: str) -> Annotations:
    """Marks of places that had none, by slide, y and x: the order of features in a file means nothing."""
    ordered = sorted(added, key=lambda item: (item[0].slide_id, item[0].y, item[0].x))
    marks = Annotations.of(
        slide_id=[place.slide_id for place, _ in ordered],
        center_l0=[(place.x, place.y) for place, _ in ordered],
        label=[point.label for _, point in ordered],
        source=SOURCE,
    )
    return replace(
        marks,
        label_before=np.full(len(ordered), NO_MARK),
        corrected_at=np.full(len(ordered), now),
        corrected_from=np.array([point.origin for _, point in ordered], dtype=np.str_),
    )
