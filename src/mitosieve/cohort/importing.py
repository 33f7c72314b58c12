"""From a public format to a cohort folder: reads labels, checks them against the images, writes all or nothing.

Knows no format; `formats` names them, and each one's layout is in the module of its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mitosieve.annotation import Annotations
from mitosieve.cohort.case_id import guessed, told_guesses
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.formats import FORMATS
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.cohort.judging import judged
from mitosieve.cohort.mark_check import Measured, merged_marks, near_marks
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, MarkedImage, Reading
from mitosieve.cohort.merged import doubtful_patients, refuse_clashes, shared_cases, told_shared
from mitosieve.cohort.placing import place, settle, stored_path
from mitosieve.cohort.recognise import better
from mitosieve.cohort.resolution import StatedMpp
from mitosieve.cohort.vocabulary import Rulings
from mitosieve.errors import FormatError, InputError, did_you_mean, plural, some

ABSENT = ("searched", "unlabelled")
"""What an absent label file may mean."""


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
    rulings: Rulings | None = None,
    merge_um: float | None = None,
    case_prefix: str = "",
    absent: str | None = None,
    whole_canvas: bool = False,
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
        rulings: what classes of the label file mean, where their names do not tell.
        merge_um: marks of one label nearer than this become one; None keeps all, and says how many are near.
        case_prefix: before every case id: for two sources that call different patients the same.
        absent: "searched" or "unlabelled": what images are whose label file is absent, where the format lets that mean
            no figure (TUPAC's original labels); None is the format's own reading.
        whole_canvas: positions count from the corner of the whole canvas of a scanner's file (ASAP, SlideRunner), where
            it states bounds; else from that of the scanned area, which is level 0 (QuPath), unless the labels state the
            canvas' size.

    Raises:
        FormatError: an unknown format, or labels or images that are not as they must be.
        ResolutionError: a slide without a usable resolution.
        CohortError: a slide is in the cohort already, or the cohort is broken.
        StorageError: the cohort cannot be written.
    """
    if name not in FORMATS:
        meant = did_you_mean(name, list(FORMATS))
        raise FormatError(f"unknown format '{name}'", remedy=f"{meant}choose one of {', '.join(FORMATS)}")
    if not source.exists():
        raise FormatError("there is no such file or folder", where=source, remedy="check the path")
    stated = StatedMpp.of(mpp)
    image_folder = None if images is None else ImageFolder(images)
    reading = read_labels(name, source, image_folder, rulings=rulings)
    reading = _told(_without_presumed(reading, absent, name), set_name, domain, case_prefix)
    if whole_canvas:
        reading = replace(reading, images=tuple(replace(image, on_canvas=True) for image in reading.images))
    return add_reading(reading, source, folder, images=image_folder, stated=stated, merge_um=merge_um)


def read_labels(name: str, source: Path, images: ImageFolder | None, *, rulings: Rulings | None = None) -> Reading:
    """What a label file holds, its classes judged; `name` is a format of `FORMATS`.

    Raises:
        FormatError: as `import_cohort`.
        InputError: a ruling on a class that is not there.
    """
    try:
        reading = FORMATS[name](source, images)
    except FormatError as error:
        told = better(error, name, source)
        raise told from (error if told is not error else error.__cause__)
    reading = replace(reading, images=guessed(reading.images))
    return judged(reading, rulings or {}, source=source)


def _without_presumed(reading: Reading, absent: str | None, name: str) -> Reading:
    """A reading in which images without a label file are what the user says they are."""
    if absent is None:
        return reading
    if absent not in ABSENT:
        raise InputError(f"--absent '{absent}' is unknown", remedy=f"choose one of {', '.join(ABSENT)}")
    if not any(image.presumed for image in reading.images):
        raise InputError(
            f"--absent says nothing of {name}: no image's labels are absent and taken for no figure",
            remedy="leave it out; it is for TUPAC's original labels beside their images (--images)",
        )
    if absent == ABSENT[0]:
        return reading
    changed = tuple(replace(image, labelled=image.labelled and not image.presumed) for image in reading.images)
    gone = sum(image.presumed for image in reading.images)
    told = Caution(text=f"{plural(gone, 'image')} without a label file kept as unlabelled, as --absent says")
    kept = tuple(caution for caution in reading.cautions if "--absent" not in caution.text)
    return replace(reading, images=changed, cautions=(*kept, told))


def _told(reading: Reading, set_name: str, domain: str, case_prefix: str) -> Reading:
    """A reading with what the user says of all its images and the label file does not."""

    def told(image: MarkedImage) -> MarkedImage:
        known = domain if domain and image.domain == UNKNOWN_DOMAIN else image.domain
        return replace(image, source=set_name or image.source, domain=known, case_id=case_prefix + image.case_id)

    return replace(reading, images=tuple(map(told, reading.images)))


def add_reading(
    reading: Reading,
    source: Path,
    folder: Path,
    *,
    images: ImageFolder | None,
    stated: StatedMpp,
    merge_um: float | None = None,
) -> ImportReport:
    """The second half of `import_cohort`: what a format's reader gave becomes, or is added to, the cohort in `folder`.

    Args:
        reading: images with marks, and what was noticed.
        source: what was read, for messages.
        folder: the cohort; made if missing.
        images: the folder of images; None where there is none.
        stated: what the user says of resolution.
        merge_um: as `import_cohort`.

    Raises:
        FormatError, ResolutionError, CohortError, StorageError: as `import_cohort`.
    """
    old, state = Cohort.begin(folder)
    if not reading.one_mpp:
        stated.refuse_one_for_all(source)
    placed = place(reading.images, images or reading.looked_in, source)
    entries: list[SlideEntry] = []
    measured: list[Measured] = []
    cautions = [*told_guesses(placed.images), *reading.cautions, *placed.cautions]
    for image in placed.images:
        image, entry, own = settle(image, stated, source)
        entries.append(replace(entry, path=stored_path(image, folder, images)))
        kept = image if merge_um is None else merged_marks(image, entry.mpp_xy, merge_um)
        measured.append(Measured(image=kept, mpp=entry.mpp_xy))
        cautions += own
    if merge_um is not None:
        cautions += _told_merged(placed.images, measured, merge_um)
    cautions += near_marks(measured)
    refuse_clashes(old, entries, source)
    shared = shared_cases(old, entries)
    called = source.stem if shared and not any(entry.source for entry in entries) else ""
    entries = [replace(entry, source=entry.source or called) for entry in entries]
    new = Cohort(folder, tuple(entries), _annotations([one.image for one in measured]))
    cohort = old.merged(new)
    cautions += [*told_shared(shared, called), *stated.unused(), *doubtful_patients(cohort)]
    cohort.save(over=state)
    return _report(cohort, new, cautions)


def _told_merged(before: tuple[MarkedImage, ...], after: list[Measured], within_um: float) -> list[Caution]:
    gone = sum(len(image.marks) for image in before) - sum(len(one.image.marks) for one in after)
    text = f"{plural(gone, 'mark was', 'marks were')} merged into others of their kind nearer than {within_um:g} um"
    return [Caution(text=text)] if gone else []


def _annotations(images: Sequence[MarkedImage]) -> Annotations:
    marks = [(image.slide_id, mark) for image in images for mark in image.marks]
    return Annotations.of(
        slide_id=[slide_id for slide_id, _ in marks],
        center_l0=[(mark.x, mark.y) for _, mark in marks],
        label=[str(mark.label) for _, mark in marks],
        score=[mark.score for _, mark in marks],
        votes=[mark.votes for _, mark in marks],
        source=[mark.source for _, mark in marks],
    )


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
