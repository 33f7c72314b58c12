"""From a user's copy of a data set of the literature to a cohort with its splits. Nothing is downloaded.

Checks what is there against what the set's module knows, and imports by the importers that everybody uses.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.importing import ImportReport, add_reading, read_labels
from mitosieve.cohort.marked import Caution, MarkedImage
from mitosieve.cohort.placing import find_all
from mitosieve.cohort.published.contract import Counts, Found, PublishedSet
from mitosieve.cohort.published.official import WrittenSplit, write_official
from mitosieve.cohort.published.registry import published
from mitosieve.cohort.resolution import StatedMpp
from mitosieve.errors import FormatError, SlideError, plural, some
from mitosieve.slide.slide import facts


@dataclass(frozen=True, kw_only=True)
class GetReport:
    """What was imported, and the splits beside it.

    Attributes:
        imported: as of any import; its warnings tell of wrong counts and of an altered label file too.
        splits: one for each table of the set that goes with what was found.
    """

    imported: ImportReport
    splits: tuple[WrittenSplit, ...]


def get(name: str, folder: Path, out: Path, *, partial: bool = False, mpp: str | float | None = None) -> GetReport:
    """Check a copy of a data set and import it into a cohort, with the splits of the literature in COHORT/splits.

    Only the set's training part is imported: the labels of the others are not public. The resolution is what `mpp`
    states, else what the set's description states (MIDOG: the image file first). A label file of another hash than the
    verified one, and counts that differ from the known ones, are warned about and not refused: label files have
    versions.

    Args:
        name: of a set in `PUBLISHED`.
        folder: where it was unpacked.
        out: the cohort; made if missing.
        partial: go on with what is there where parts are missing.
        mpp: as in `import_cohort`.

    Raises:
        FormatError: unknown set, no such folder, no labels, or missing parts or images (the message says how many, the
            first names, and what to fetch).
        MitosieveError: as `import_cohort`.
    """
    which = published(name)
    if not folder.is_dir():
        raise FormatError("there is no such folder", where=folder, remedy=f"fetch {_how_to_fetch(which)}")
    stated = StatedMpp.of(mpp)
    found = which.look(folder)
    images = ImageFolder(found.images)
    reading = read_labels(found.form, found.labels, images)
    wanted = [image for image in reading.images if found.wanted(image)]
    marked = [
        replace(image, labelled=(image.labelled and not image.presumed) or image.case_id in found.searched)
        for image in find_all(wanted, images)
    ]
    missing = [*found.absent, *(image.file_name for image in marked if _must_be_there(image, found))]
    if missing and not partial:
        raise FormatError(
            plural(len(missing), f"part of {name} is", f"parts of {name} are") + f" missing: {some(missing)}",
            where=folder,
            remedy=f"fetch {_how_to_fetch(which)}; or go on without them: --partial",
        )
    here = [image for image in marked if image.path is not None]
    if not any(image.labelled for image in here):
        raise FormatError("holds no image of the labels", where=folder, remedy=f"fetch {_how_to_fetch(which)}")
    resolved, guessed = _with_mpp(here, found, stated)
    same = [image.slide_id for image in reading.images] == [image.slide_id for image in resolved]
    cautions = (
        *found.cautions,
        *_altered(which, found.labels),
        *(_left_out(missing) if missing else _miscounted(resolved, found)),
        *(reading.cautions if same and not found.searched else _unlabelled(resolved)),
        *guessed,
    )
    one_mpp = reading.one_mpp and not (found.mpp_over_file and len({found.mpp(image) for image in here}) > 1)
    reading = replace(reading, images=tuple(resolved), cautions=cautions, one_mpp=one_mpp)
    report = add_reading(reading, found.labels, out, images=images, stated=stated)
    return GetReport(imported=report, splits=tuple(write_official(split, report.cohort) for split in found.splits))


def _how_to_fetch(which: PublishedSet) -> str:
    return f"from {which.address}: {which.fetch}"


def _must_be_there(image: MarkedImage, found: Found) -> bool:
    return image.path is None and (image.labelled or not found.optional_unlabelled)


def _with_mpp(
    here: list[MarkedImage], found: Found, stated: StatedMpp
) -> tuple[list[MarkedImage], tuple[Caution, ...]]:
    """The images with the resolution of the set's description, where that is to be used."""
    resolved: list[MarkedImage] = []
    cautions: list[Caution] = []
    for image in here:
        described = found.mpp(image)
        if described is None or (not found.mpp_over_file and _states_mpp(image)):
            resolved.append(image)
            continue
        resolved.append(replace(image, mpp=described))
        if not found.mpp_over_file and stated.find(image) is None:
            text = f"the image file states no resolution: {described:g} um per px of the set's description is used"
            cautions.append(Caution(text=text, subject=image.file_name, domain=image.domain))
    return resolved, tuple(cautions)


def _states_mpp(image: MarkedImage) -> bool:
    """Whether the image file says its resolution; a file that cannot be read is the importer's to refuse."""
    try:
        return image.path is None or facts(image.path).mpp is not None
    except SlideError:
        return True


def _altered(which: PublishedSet, labels: Path) -> tuple[Caution, ...]:
    if not which.digests or not labels.is_file():
        return ()
    if hashlib.sha256(labels.read_bytes()).hexdigest() in which.digests:
        return ()
    text = f"{labels.name} differs from the verified file ({which.digest_source}): another version of it, or altered"
    return (Caution(text=text),)


def _left_out(missing: list[str]) -> tuple[Caution, ...]:
    return (Caution(text=f"imported without {plural(len(missing), 'missing part')} of the set: {some(missing)}"),)


def _unlabelled(images: list[MarkedImage]) -> tuple[Caution, ...]:
    names = [image.slide_id for image in images if not image.labelled]
    if not names:
        return ()
    return (Caution(text=f"{plural(len(names), 'slide')} without labels, kept as unlabelled: {some(names)}"),)


def _miscounted(images: list[MarkedImage], found: Found) -> tuple[Caution, ...]:
    """A sentence for each count that is not the known one."""
    told: list[Caution] = []
    for domain, expected in found.expected.items():
        own = [image for image in images if domain in (image.domain, "total")]
        labels = [mark.label for image in own for mark in image.marks]
        read = Counts(
            slides=len(own), figures=labels.count(Label.MITOTIC_FIGURE), imposters=labels.count(Label.IMPOSTER)
        )
        if not own:
            continue
        for what, count in vars(expected).items():
            if count is not None and count != getattr(read, what):
                of = "" if domain == "total" else f" of {domain}"
                text = f"{getattr(read, what)} {what}{of} were read, where {found.counted} has {count}"
                told.append(Caution(text=text, domain=domain))
    return tuple(told)
