"""Slides that decisions are about, as rows of a cohort: the cohort's own, or of the result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mitosieve.cohort.cohort import SLIDES_FILE, Cohort, SlideEntry
from mitosieve.cohort.marked import UNKNOWN_DOMAIN
from mitosieve.errors import CohortError
from mitosieve.review.decision import Decision
from mitosieve.review.result import FoundResult, FoundSlide
from mitosieve.slide.moved import Sought, found_again, size_of


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
        CohortError: a slide is neither in the cohort nor in the result, its image cannot be found or has
            another size, or the cohort's slide of this name has.
    """
    known = {entry.slide_id: entry for entry in cohort.slides}
    names = list(dict.fromkeys(decision.slide_id for decision in decisions))
    images = {} if result is None else _images_of([name for name in names if name not in known], result, told.images)
    found: dict[str, SlideEntry] = {}
    for slide_id in names:
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
        else:
            entry = _new_entry(seen, images[slide_id], told)
        found[slide_id] = entry
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


def _new_entry(seen: FoundSlide, image: Path, told: Told) -> SlideEntry:
    return SlideEntry(
        slide_id=seen.slide_id,
        path=str(image),
        case_id=seen.slide_id,
        domain=told.domain,
        mpp=sum(seen.mpp_xy) / 2,
        labelled=False,
        width_l0=seen.size_l0[0],
        height_l0=seen.size_l0[1],
        source=told.source,
        oblong=None if seen.mpp_xy[0] == seen.mpp_xy[1] else seen.mpp_xy,
    )


def _images_of(slide_ids: Sequence[str], result: FoundResult, images: Path | None) -> dict[str, Path]:
    """slide_id -> where its image lies, of those that the result has: as it says, or as `found_again` tells in a folder
    of images, which other slides of the result may have a better claim to. What is not in that folder is taken where it
    was, as in the viewer, unless none of them is there: then the folder is not the one that was meant.

    Raises:
        CohortError: one is not there, nobody can tell which it is, or it has another size than the slide; or the
            folder is none, or holds none of them.
    """
    if images is not None and not images.is_dir():
        raise CohortError("is no folder", where=images, remedy="name the folder that the images are in")
    seen = list(result.slides.values())
    sought = [Sought(slide_id=one.slide_id, path=one.path, size_l0=one.size_l0) for one in seen]
    sought += [Sought(slide_id=name, path=path, size_l0=None) for name, path in result.lay_at.items()]
    found: dict[str, Path] = {}
    wanted = {one.slide_id: place for one, place in zip(seen, found_again(sought, images, "--images"), strict=False)}
    settled = {name: wanted[name].settled for name in wanted if name in slide_ids}
    is_meant = images is None or any(
        image is not None and image.is_relative_to(images.resolve()) for image in settled.values()
    )
    for one in (one for one in seen if one.slide_id in settled):
        image, place = settled[one.slide_id], wanted[one.slide_id]
        if image is None or not is_meant:
            raise CohortError(
                f"the image of '{one.slide_id}' is not there" + (f": {place.why}" if place.why else ""),
                where=one.path if images is None else images,
                remedy="say where the images lie: --images DIR" if images is None else "name the folder that holds it",
            )
        size = size_of(image)
        if size is not None and size != one.size_l0:
            raise CohortError(
                f"has {size[0]} x {size[1]} px, and '{one.slide_id}' had {one.size_l0[0]} x {one.size_l0[1]}: it is "
                "another image",
                where=image,
                remedy="say where the images lie: --images DIR",
            )
        found[one.slide_id] = image
    return found
