"""From a public format to a cohort folder: reads labels, checks them against the images, writes all or nothing.

Knows which formats there are; each format's layout is in the module of its name.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mitosieve.annotation import Annotations
from mitosieve.cohort import atypia14, coco, midog, points, slide_runner, tupac, voc
from mitosieve.cohort.cohort import ANNOTATIONS_FILE, SLIDES_FILE, Cohort, SlideEntry
from mitosieve.cohort.images import read as read_images
from mitosieve.cohort.marked import (
    UNKNOWN_DOMAIN,
    Caution,
    ImageFolder,
    Mark,
    MarkedImage,
    Reader,
    Reading,
    some,
)
from mitosieve.cohort.resolution import StatedMpp, usable
from mitosieve.errors import CohortError, FormatError, ResolutionError, SlideError
from mitosieve.slide.slide import SlideFacts, facts, resolve_mpp

FORMATS: Mapping[str, Reader] = {
    "atypia14": atypia14.read,
    "midog": midog.read,
    "tupac": tupac.read,
    "voc": voc.read,
    "points": points.read,
    "coco": coco.read,
    "slide_runner": slide_runner.read,
    "images": read_images,
}
"""Every format by the name used on the command line. To add one, write a `Reader` and name it here."""

MAX_OUTSIDE_PX = 25.0
"""How far outside its image a centre may lie: half of MIDOG's 50-px box, so that the box still touches the image."""

_OUTSIDE = f"a centre lies up to {MAX_OUTSIDE_PX:g} px outside its image and is kept"

MAX_SIZE_DIFFERENCE_PX = 2
"""By how much an image may differ from the size that its labels state: some copies of frames lost a column."""

MPP_TOLERANCE = 0.05
"""Share by which a stated mpp may differ from the image file's before it is warned about (scanners round)."""


@dataclass(frozen=True, kw_only=True)
class DomainCounts:
    """One row of the table that an import ends with.

    Attributes:
        domain: its name; "total" for the sum.
        cases: different cases (in the total, a case of two domains counts once).
        slides: all, labelled or not.
        labelled: slides in which every figure was marked.
        figures, imposters: marks.
        warnings: how many marks, images or facts of the domain were warned about (in the total, all of them).
    """

    domain: str
    cases: int
    slides: int
    labelled: int
    figures: int
    imposters: int
    warnings: int


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What was imported; what the cohort held before is not counted.

    Attributes:
        cohort: the whole cohort as saved.
        rows: counts by domain, sorted by its name.
        total: their sum.
        warnings: one sentence for each kind, with how many it concerns and some of their names.
    """

    cohort: Cohort
    rows: tuple[DomainCounts, ...]
    total: DomainCounts
    warnings: tuple[str, ...]


def import_cohort(  # noqa: PLR0913 - what a user can say of an import
    name: str,
    source: Path,
    folder: Path,
    *,
    images: Path | None = None,
    mpp: str | float | None = None,
    set_name: str = "",
    domain: str = "",
) -> ImportReport:
    """Read labels in a public format and write them as a cohort, or add them to one; on any fault nothing is written.

    The resolution of a slide is what `mpp` states, else what the label file states, else what the image states; it is
    never guessed. A centre up to `MAX_OUTSIDE_PX` outside its image is kept and warned about, farther is refused. An
    image that is not there is expected at the place that slides.csv says: below `images`, or in COHORT/images.

    Args:
        name: a format of `FORMATS`.
        source: its label file or folder.
        folder: the cohort; made if missing.
        images: the folder of images; checks sizes and gives the resolution.
        mpp: um per px for all slides, or the path of a CSV with the columns slide,mpp; slide is a slide_id or the
            image's file name.
        set_name: the data set that all slides come from: `source` of slides.csv; empty says nothing.
        domain: of the slides of which the label file states none; empty leaves them unknown.

    Raises:
        FormatError: an unknown format, or labels or images that are not as they must be.
        ResolutionError: a slide without a usable resolution.
        CohortError: a slide is in the cohort already, or the cohort is broken.
        StorageError: the cohort cannot be written.
    """
    if name not in FORMATS:
        raise FormatError(f"unknown format '{name}'", remedy=f"choose one of {', '.join(FORMATS)}")
    if not source.exists():
        raise FormatError("there is no such file or folder", where=source, remedy="check the path")
    stated = StatedMpp.of(mpp)
    image_folder = None if images is None else ImageFolder(images)
    reading = _told(FORMATS[name](source, image_folder), set_name, domain)
    return add_reading(reading, source, folder, images=image_folder, stated=stated)


def _told(reading: Reading, set_name: str, domain: str) -> Reading:
    """A reading with what the user says of all its images and the label file does not."""

    def told(image: MarkedImage) -> MarkedImage:
        known = domain if domain and image.domain == UNKNOWN_DOMAIN else image.domain
        return replace(image, source=set_name or image.source, domain=known)

    return replace(reading, images=tuple(map(told, reading.images)))


def add_reading(
    reading: Reading, source: Path, folder: Path, *, images: ImageFolder | None, stated: StatedMpp
) -> ImportReport:
    """The second half of `import_cohort`: what a format's reader gave becomes, or is added to, the cohort in `folder`.

    Args:
        reading: images with marks, and what was noticed.
        source: what was read, for messages.
        folder: the cohort; made if missing.
        images: the folder of images; None where there is none.
        stated: what the user says of resolution.

    Raises:
        FormatError, ResolutionError, CohortError, StorageError: as `import_cohort`.
    """
    there = any((folder / name).exists() for name in (SLIDES_FILE, ANNOTATIONS_FILE))
    old = Cohort.load(folder) if there else Cohort(folder, (), Annotations.empty())
    placed = _place(reading.images, images, source)
    entries: list[SlideEntry] = []
    cautions = [*reading.cautions, *placed.cautions]
    for image in placed.images:
        entry, own = _settle(image, stated, source)
        entries.append(replace(entry, path=_stored_path(image, folder, images)))
        cautions += own
    _refuse_clashes(old, entries, source)
    cautions += _shared_cases(old, entries) + stated.unused()
    new = Cohort(folder, tuple(entries), _annotations(placed.images))
    cohort = old.merged(new)
    cohort.save()
    return _report(cohort, new, cautions)


@dataclass(frozen=True, kw_only=True)
class _Placed:
    images: tuple[MarkedImage, ...]
    cautions: tuple[Caution, ...]


def _place(images: tuple[MarkedImage, ...], folder: ImageFolder | None, source: Path) -> _Placed:
    """Find each image's file; say which are missing and which have no labels."""
    if folder is None:
        return _Placed(images=images, cautions=())
    placed = tuple(image if image.path else replace(image, path=folder.find(image.file_name)) for image in images)
    missing = [image.file_name for image in placed if image.path is None]
    if len(missing) == len(placed):
        raise FormatError(
            f"holds none of the {len(placed)} images that {source.name} names, such as {missing[0]}",
            where=folder.folder,
            remedy="name the folder that holds them, or leave out --images and state --mpp",
        )
    claimed = {image.path for image in placed}
    left = [str(path.relative_to(folder.folder)) for path in folder.paths if path not in claimed]
    cautions: list[Caution] = []
    if missing:
        cautions.append(Caution(text=f"{len(missing)} images are not in {folder.folder}: {some(missing)}"))
    if left:
        text = f"{len(left)} images of {folder.folder} are not in the labels and were left out: {some(left)}"
        cautions.append(Caution(text=text))
    return _Placed(images=placed, cautions=tuple(cautions))


def _settle(image: MarkedImage, stated: StatedMpp, source: Path) -> tuple[SlideEntry, list[Caution]]:
    """Fix resolution and size of one image and check its marks against them; its path is still open."""
    cautions: list[Caution] = []
    wanted = stated.find(image)
    wanted = image.mpp if wanted is None else wanted
    if image.path is None:
        mpp, size = _mpp_unseen(image, wanted, source), image.size_l0
    else:
        found = _facts(image.path)
        mpp, size = resolve_mpp(wanted, found, image.path), found.size_l0
        cautions += _check_size(image, found, source)
        if found.mpp is not None and abs(mpp / found.mpp - 1) > MPP_TOLERANCE:
            text = f"the image file says {found.mpp:g} um per px, but {mpp:g} was stated and is used"
            cautions.append(Caution(text=text, subject=image.file_name, domain=image.domain))
    cautions += _check_marks(image, size)
    width, height = size or (0, 0)
    entry = SlideEntry(
        slide_id=image.slide_id,
        path="",
        case_id=image.case_id,
        domain=image.domain,
        mpp=mpp,
        labelled=image.labelled,
        width_l0=width,
        height_l0=height,
        roi_wkt=image.roi_wkt,
        source=image.source,
    )
    return entry, cautions


def _mpp_unseen(image: MarkedImage, wanted: float | None, source: Path) -> float:
    if wanted is None:
        raise ResolutionError(
            f"the resolution of {image.file_name} is not known, and none is guessed",
            where=source,
            remedy="state it: --mpp 0.25 or --mpp FILE.csv (slide,mpp); or give its image with --images DIR",
        )
    return usable(wanted, f"{source}, {image.file_name}")


def _facts(path: Path) -> SlideFacts:
    """What the image says of itself; an unreadable one stops an import, so that no slide enters half known."""
    try:
        return facts(path)
    except SlideError as error:
        raise FormatError(
            error.what,
            where=error.where or path,
            remedy=f"{error.remedy or 'fetch the image again'}; or take it out of the folder",
        ) from error


def _check_size(image: MarkedImage, found: SlideFacts, source: Path) -> list[Caution]:
    """Refuse an image of another size than its labels speak of; a px or two are a matter of cropping."""
    if image.size_l0 is None or image.size_l0 == found.size_l0:
        return []
    if any(abs(a - b) > MAX_SIZE_DIFFERENCE_PX for a, b in zip(image.size_l0, found.size_l0, strict=True)):
        said, seen = ("{} x {} px".format(*size) for size in (image.size_l0, found.size_l0))
        raise FormatError(
            f"is {seen}, but {source.name} says {said}: the marks belong to another image",
            where=image.path,
            remedy="fetch the original image (not a resized one)",
        )
    text = f"the image is up to {MAX_SIZE_DIFFERENCE_PX} px larger or smaller than the labels say; its own size is used"
    return [Caution(text=text, subject=image.file_name, domain=image.domain)]


def _check_marks(image: MarkedImage, size: tuple[int, int] | None) -> list[Caution]:
    """Refuse centres far outside; warn about near ones. Where no size is known, only the upper left is checked."""
    width, height = size or (math.inf, math.inf)
    cautions = _marked_twice(image)
    for mark in image.marks:
        distance = max(-0.5 - mark.x, -0.5 - mark.y, mark.x - (width - 0.5), mark.y - (height - 0.5))
        if distance > MAX_OUTSIDE_PX:
            raise FormatError(
                f"its centre ({mark.x:g}, {mark.y:g}) lies {distance:.0f} px outside {image.file_name}"
                + (f" ({width} x {height} px)" if size else ""),
                where=mark.where,
                remedy="mend its position (x, y in level-0 px, x first) or remove it",
            )
        if distance > 0:
            cautions.append(Caution(text=_OUTSIDE, subject=_spot(image, mark), domain=image.domain))
    return cautions


def _marked_twice(image: MarkedImage) -> list[Caution]:
    """A caution for each place that two marks of an image share: a doubled figure can be found only once."""
    times = Counter((mark.x, mark.y) for mark in image.marks)
    return [
        Caution(
            text="a place is marked more than once, and all its marks are kept",
            subject=f"{image.file_name} at ({x:g}, {y:g})",
            domain=image.domain,
        )
        for (x, y), number in times.items()
        if number > 1
    ]


def _spot(image: MarkedImage, mark: Mark) -> str:
    return f"{image.file_name} at ({mark.x:g}, {mark.y:g}), {Path(mark.where).name}"


def _stored_path(image: MarkedImage, folder: Path, images: ImageFolder | None) -> str:
    """The image's path for slides.csv: relative where it lies inside the cohort folder, else absolute."""
    if image.path is not None:
        path = image.path
    elif images is not None:
        path = images.folder / image.file_name
    else:
        path = folder / "images" / image.file_name
    path = path.absolute()
    return (
        path.relative_to(folder.absolute()) if path.is_relative_to(folder.absolute()) else path.resolve()
    ).as_posix()


def _annotations(images: tuple[MarkedImage, ...]) -> Annotations:
    marks = [(image.slide_id, mark) for image in images for mark in image.marks]
    return Annotations.of(
        slide_id=[slide_id for slide_id, _ in marks],
        center_l0=[(mark.x, mark.y) for _, mark in marks],
        label=[mark.label for _, mark in marks],
        score=[mark.score for _, mark in marks],
        votes=[mark.votes for _, mark in marks],
        source=[mark.source for _, mark in marks],
    )


def _refuse_clashes(old: Cohort, entries: list[SlideEntry], source: Path) -> None:
    ids = [entry.slide_id for entry in entries]
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise FormatError(
            f"two images would get the slide_id {some(twice)}", where=source, remedy="give the images different names"
        )
    there = {entry.slide_id for entry in old.slides}
    clash = [name for name in ids if name in there]
    if clash:
        raise CohortError(
            f"{len(clash)} slides of {source} are in this cohort already: {some(clash)}",
            where=old.folder,
            remedy="if they were imported before, nothing is left to do; else import into another cohort folder",
        )
    _refuse_known_images(old, entries)


def _refuse_known_images(old: Cohort, entries: list[SlideEntry]) -> None:
    """Refuse an image that the cohort has under another slide_id: its case may differ, and then folds leak."""
    there = {(old.folder / entry.path).resolve(): entry.slide_id for entry in old.slides}
    again = {path: there[path] for entry in entries if (path := (old.folder / entry.path).resolve()) in there}
    if again:
        raise CohortError(
            f"{len(again)} images are in this cohort already: {some(f'{p} as {name}' for p, name in again.items())}",
            where=old.folder,
            remedy="import the others alone, or into another cohort folder",
        )


def _shared_cases(old: Cohort, entries: list[SlideEntry]) -> list[Caution]:
    shared = sorted({entry.case_id for entry in entries} & set(old.cases))
    if not shared:
        return []
    text = (
        "are in the cohort already and are taken for the same patients; if they are not, change case_id in slides.csv"
    )
    return [Caution(text=f"the cases {some(shared)} {text}")]


def _report(cohort: Cohort, new: Cohort, cautions: list[Caution]) -> ImportReport:
    """Counts of the new slides, by domain and in all."""

    def count(domain: str, part: Cohort, warnings: int) -> DomainCounts:
        return DomainCounts(domain=domain, **part.counts(), warnings=warnings)

    rows = [
        count(domain, new.of_domain(domain), sum(caution.domain == domain for caution in cautions))
        for domain in sorted({entry.domain for entry in new.slides})
    ]
    return ImportReport(
        cohort=cohort,
        rows=tuple(rows),
        total=count("total", new, len(cautions)),
        warnings=_joined(cautions),
    )


def _joined(cautions: list[Caution]) -> tuple[str, ...]:
    """One sentence for all cautions of equal text, naming some of their subjects."""
    subjects: dict[str, list[str]] = {}
    for caution in cautions:
        subjects.setdefault(caution.text, []).extend([caution.subject] if caution.subject else [])
    return tuple(f"{text} ({len(own)}): {some(own, '; ')}" if own else text for text, own in subjects.items())
