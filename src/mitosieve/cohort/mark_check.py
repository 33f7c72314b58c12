"""Marks checked against their image and against each other, whatever format they come from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.cohort.marked import Caution, Mark, MarkedImage
from mitosieve.cohort.table import MAX_SIDE_PX
from mitosieve.detection import suppress
from mitosieve.errors import FormatError, InputError, plural, some
from mitosieve.geometry import Mpp, inside_roi, xy

MAX_OUTSIDE_PX = 25.0
"""How far outside its image a centre may lie: half of MIDOG's 50-px box, so that the box still touches the image."""

NEAR_UM = 3.0
"""Marks nearer than this are of one cell: figures are some 10 um wide, and readers agree on a centre to a few um. Our
choice; the official rule pairs a detection with one mark within 7.5 um, so the other of the two is always missed."""

MAX_MERGE_UM = 15.0
"""Farther apart are two cells, whatever is asked for."""

_OUTSIDE = f"a centre lies up to {MAX_OUTSIDE_PX:g} px outside its image and is kept"


def check_marks(image: MarkedImage, size: tuple[int, int] | None, *, stated_by: str = "") -> list[Caution]:
    """Refuse centres far outside; warn about near ones. Where no size is known, only the upper left is checked.

    Args:
        image: with its marks.
        size: width, height in px of the image; None where they are not known.
        stated_by: what the size comes from, where nobody has seen the image: then it may be stale.

    Raises:
        FormatError: a centre farther outside than `MAX_OUTSIDE_PX`.
    """
    width, height = size or (MAX_SIDE_PX, MAX_SIDE_PX)
    cautions: list[Caution] = []
    for mark in image.marks:
        distance = max(-0.5 - mark.x, -0.5 - mark.y, mark.x - (width - 0.5), mark.y - (height - 0.5))
        if not distance <= MAX_OUTSIDE_PX:  # a shape that is too large to measure has its centre at NaN
            stale = f"; or its size in {stated_by} is stale: give the image with --images" if stated_by and size else ""
            far = "far" if math.isnan(distance) else f"{distance:.0f} px"
            raise FormatError(
                f"its centre ({mark.x:g}, {mark.y:g}) lies {far} outside {image.file_name}"
                + (f" ({width} x {height} px)" if size else ""),
                where=mark.where,
                remedy=f"mend its position (x, y in level-0 px, x first) or remove it{stale}",
            )
        if distance > 0:
            cautions.append(Caution(text=_OUTSIDE, subject=_spot(image, mark), domain=image.domain))
    return [*cautions, *_outside_roi(image)]


def _spot(image: MarkedImage, mark: Mark) -> str:
    return f"{image.file_name} at ({mark.x:g}, {mark.y:g}), {Path(mark.where).name}"


def _outside_roi(image: MarkedImage) -> list[Caution]:
    if not image.roi_wkt or not image.marks:
        return []
    number = int((~inside_roi(shapely.from_wkt(image.roi_wkt), _centers(image.marks))).sum())
    if not number:
        return []
    text = "marks lie outside the area that was searched (roi), and are neither learned from nor scored"
    return [Caution(text=text, subject=f"{image.file_name}: {number}", domain=image.domain)]


def _centers(marks: Sequence[Mark]) -> NDArray[np.float64]:
    return np.array([(mark.x, mark.y) for mark in marks], dtype=np.float64).reshape(-1, 2)


def merged_marks(image: MarkedImage, mpp: Mpp, within_um: float) -> MarkedImage:
    """An image in which marks of one label nearer than `within_um` are one, at the middle of those that it stands for.

    Marks are taken in file order; each joins the nearest of those that stand already, or stands itself. Votes are kept
    one after another; the score is the mean of the known ones, each as often as it has votes.

    Args:
        image: with marks that were judged.
        mpp: its um per px.
        within_um: above 0 and up to `MAX_MERGE_UM`.

    Raises:
        InputError: another distance.
    """
    if not 0 < within_um <= MAX_MERGE_UM:
        raise InputError(
            f"marks cannot be merged within {within_um:g} um", remedy=f"give a distance up to {MAX_MERGE_UM:g} um"
        )
    owner = np.arange(len(image.marks))
    for label in Label:
        rows = np.flatnonzero([mark.label is label for mark in image.marks])
        if len(rows):
            centers = _centers([image.marks[row] for row in rows]) * xy(mpp)
            owner[rows] = rows[suppress(centers, np.zeros(len(rows)), radius_um=within_um)]
    groups: dict[int, list[Mark]] = {}
    for row, mark in enumerate(image.marks):
        groups.setdefault(int(owner[row]), []).append(mark)
    return replace(image, marks=tuple(_one(group) for _, group in sorted(groups.items())))


def _one(group: list[Mark]) -> Mark:
    if len(group) == 1:
        return group[0]
    known = [(mark.score, max(1, len(mark.votes.split()))) for mark in group if not math.isnan(mark.score)]
    score = sum(score * times for score, times in known) / sum(times for _, times in known) if known else math.nan
    x, y = _centers(group).mean(axis=0).tolist()
    votes = " ".join(mark.votes for mark in group if mark.votes)
    return replace(group[0], x=x, y=y, score=score, votes=votes)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An image with its resolution.

    Attributes:
        image: its marks judged.
        mpp: um per px.
    """

    image: MarkedImage
    mpp: Mpp


def near_marks(images: Sequence[Measured]) -> list[Caution]:
    """What is said of marks nearer than `NEAR_UM`: doubled ones of a label, and figures where imposters are.

    One caution for each label and domain, with how many marks of how many images.
    """
    told: list[Caution] = []
    for domain in sorted({one.image.domain for one in images}):
        own = [one for one in images if one.image.domain == domain]
        for label in Label:
            told += _caution(own, domain, label, label, _DOUBLED)
        told += _caution(own, domain, Label.MITOTIC_FIGURE, Label.IMPOSTER, _CONTRADICTED)
    return told


_DOUBLED = (
    "'{label}' of {images} nearer than 3 um to another of the kind: a cell that two readers marked, "
    "each a little off? A detection is paired with one of them and the other counts as missed; --merge-um 3 makes one "
    "mark of them, with all votes"
)
_CONTRADICTED = (
    "of {images} nearer than 3 um to an imposter: the labels contradict themselves, and "
    "both are kept; decide which is meant, or remove both"
)


def _caution(own: Sequence[Measured], domain: str, first: Label, second: Label, text: str) -> list[Caution]:
    found: list[tuple[str, int, Mark]] = []
    for one in own:
        rows = _near(one, first, second)
        if rows:
            found.append((one.image.file_name, len(rows), rows[0]))
    if not found:
        return []
    total = sum(number for _, number, _ in found)
    places = some((f"{name} ({number}, first at ({mark.x:g}, {mark.y:g}))" for name, number, mark in found), "; ")
    what = plural(total, "mark" if first is second else "mitotic figure")
    told = text.format(label=first.value, images=plural(len(found), "image"))
    return [Caution(text=f"{what} {told}: {places}", domain=domain)]


def _near(one: Measured, first: Label, second: Label) -> list[Mark]:
    """Marks of one label that have one of another, or another one of theirs, nearer than `NEAR_UM`."""
    marks = [mark for mark in one.image.marks if mark.label is first]
    others = [mark for mark in one.image.marks if mark.label is second]
    same = first is second
    if len(marks) < 1 + same or not others:
        return []
    from scipy.spatial import KDTree  # when there are marks: its import takes longer than telling a first mistake

    distance, _ = KDTree(_centers(others) * xy(one.mpp)).query(_centers(marks) * xy(one.mpp), k=2 if same else 1)
    nearest = distance[:, 1] if same else distance
    return [mark for mark, um in zip(marks, nearest, strict=True) if um < NEAR_UM]
