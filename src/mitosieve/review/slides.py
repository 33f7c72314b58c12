"""Slides that decisions are about, as rows of a cohort: the cohort's own, or of the result. Opens none of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mitosieve.cohort.cohort import SLIDES_FILE, Cohort, SlideEntry
from mitosieve.cohort.marked import UNKNOWN_DOMAIN
from mitosieve.errors import CohortError
from mitosieve.review.decision import Decision
from mitosieve.review.result import FoundResult, FoundSlide


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a user says of slides that a cohort has not.

    Attributes:
        images: folder where they lie now; None where they lie as the result says.
        domain: of all of them.
        source: data set that they come from; empty says nothing.
    """

    images: Path | None = None
    domain: str = UNKNOWN_DOMAIN
    source: str = ""


def slides_of(
    decisions: Iterable[Decision], cohort: Cohort, result: FoundResult | None, told: Told
) -> dict[str, SlideEntry]:
    """The slides that decisions are about, by name, in the order of their first decision; none is one that failed.

    A slide that the cohort has not is a case of its own and not labelled; what was searched of it comes later.

    Raises:
        CohortError: a slide is neither in the cohort nor in the result, its image cannot be found, or the cohort's
            slide of this name has another size.
    """
    known = {entry.slide_id: entry for entry in cohort.slides}
    found: dict[str, SlideEntry] = {}
    for slide_id in dict.fromkeys(decision.slide_id for decision in decisions):
        seen = None if result is None else result.slides.get(slide_id)
        entry = known.get(slide_id)
        if entry is not None:
            _check_same(entry, seen, cohort)
        elif seen is None:
            raise CohortError(
                f"has no slide '{slide_id}', which decisions are about",
                where=cohort.folder / SLIDES_FILE,
                remedy="name the cohort that was looked at",
            )
        found[slide_id] = _new_entry(seen, told) if entry is None and seen is not None else known[slide_id]
    return found


def _check_same(entry: SlideEntry, seen: FoundSlide | None, cohort: Cohort) -> None:
    size = (entry.width_l0, entry.height_l0)
    if seen is not None and all(size) and size != seen.size_l0:
        raise CohortError(
            f"'{entry.slide_id}' has {size[0]} x {size[1]} px here and {seen.size_l0[0]} x {seen.size_l0[1]} px in the "
            "result: they are two slides of one name",
            where=cohort.folder / SLIDES_FILE,
            remedy="rename one of them, or take the decisions into another cohort",
        )


def _new_entry(seen: FoundSlide, told: Told) -> SlideEntry:
    return SlideEntry(
        slide_id=seen.slide_id,
        path=str(_image_of(seen, told.images)),
        case_id=seen.slide_id,
        domain=told.domain,
        mpp=sum(seen.mpp_xy) / 2,
        labelled=False,
        width_l0=seen.size_l0[0],
        height_l0=seen.size_l0[1],
        source=told.source,
        oblong=None if seen.mpp_xy[0] == seen.mpp_xy[1] else seen.mpp_xy,
    )


def _image_of(seen: FoundSlide, images: Path | None) -> Path:
    """Where a slide lies: as the result says, or of that name, else of the slide's, in the folder of images."""
    places = [] if seen.path is None else [seen.path if images is None else images / seen.path.name]
    if images is not None and images.is_dir():
        places += sorted(path for path in images.iterdir() if seen.slide_id in (path.name, path.stem))
    for place in places:
        if place.exists():
            return place.parent.resolve() / place.name  # a slide's other files lie beside a link, not its target
    raise CohortError(
        f"the image of '{seen.slide_id}' is not there",
        where=places[0] if places else None,
        remedy="say where the images lie: --images DIR",
    )
