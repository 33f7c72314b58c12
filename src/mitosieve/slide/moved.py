"""Where images are that have moved: which file of a folder is the one that a job, an audit or a cohort names."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mitosieve.errors import SlideError
from mitosieve.slide.hidden import visible
from mitosieve.slide.slide import SLIDE_SUFFIXES, facts, is_dicom, place_of

_KEEP = "a folder that keeps the folders they were in"
_ALONE = "leave in their folder only the one that it is"


@dataclass(frozen=True, kw_only=True)
class Sought:
    """A slide whose image is looked for.

    Attributes:
        slide_id: its name.
        path: where somebody found the image; None where nobody says.
        size_l0: width, height in level-0 px; None where it is not known.
    """

    slide_id: str
    path: Path | None
    size_l0: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a slide's image is: None where it is nowhere, and then `why` nobody can tell; empty where nothing fits."""

    path: Path | None
    why: str = ""

    @property
    def settled(self) -> Path | None:
        """Whatever the way to it is now (`place_of`): to be written down."""
        return None if self.path is None else place_of(self.path)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Images that fit a slide alike, and how well: by which name, and in how many folders above it; more is better."""

    images: tuple[Path, ...] = ()
    by: tuple[int, int] = (0, 0)


def found_again(slides: Sequence[Sought], folder: Path | None, option: str) -> tuple[Place, ...]:
    """Where the images of slides are now, in the order of the slides.

    Without a folder an image is where it was or nowhere. In a folder, at any depth, it is the one of its name, and of
    several that whose path has most of the last folders of the old one. Where no image has that name it is where it
    was; else the one that is called as the slide, else as the image but for its ending. Of several that fit alike it is
    the only one that has the size of the slide, where that is known. Where several fit still, or one fits several
    slides alike, nobody can tell: then the image is where it was, or nowhere.

    Args:
        slides: of one result, audit or cohort: an image that another one of them has a better claim to is not theirs.
        folder: to which images have moved, one that is there; None where none has.
        option: by which a user names it.
    """
    if folder is None:
        return tuple(_where_it_was(slide) for slide in slides)
    names, stems = _images(folder, {slide.path.name for slide in slides if slide.path is not None})
    fits = [_fit(slide, names, stems) for slide in slides]
    best: dict[Path, tuple[int, int]] = {}
    for fit in fits:
        best |= {image: max(best.get(image, fit.by), fit.by) for image in fit.images}
    claims: dict[Path, set[Path | None]] = {}
    for slide, fit in zip(slides, fits, strict=True):
        for image in fit.images:
            if fit.by == best[image]:
                claims.setdefault(image, set()).add(slide.path)
    found: list[Place] = []
    for slide, fit in zip(slides, fits, strict=True):
        image = fit.images[0] if len(fit.images) == 1 else None
        if image is not None and fit.by == best[image] and len(claims[image]) == 1:
            found.append(Place(path=image))
        else:
            found.append(_where_it_was(slide, _why(fit, option)))
    return tuple(found)


def _images(folder: Path, sought: Collection[str]) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Slides of a folder at any depth, DICOM folders too, by their names, and by their names without ending; what is
    called as one that is sought is taken whatever its ending.
    """
    names: dict[str, list[Path]] = {}
    stems: dict[str, list[Path]] = {}
    for item in visible(folder.absolute(), "**/*"):
        is_named = item.name in sought
        is_slide = (is_named or item.suffix.lower() in SLIDE_SUFFIXES) and item.is_file()
        if is_slide or (item.is_dir() and _holds_dicom(item, is_named=is_named)):
            names.setdefault(item.name, []).append(item)
            stems.setdefault(item.stem if is_slide else item.name, []).append(item)
    return names, stems


def _holds_dicom(folder: Path, *, is_named: bool) -> bool:
    """By a file's name; where a slide's folder was called so, by their beginnings: they may have no ending."""
    return bool(visible(folder, "*.dcm")) or (is_named and any(is_dicom(item) for item in visible(folder)))


def _fit(slide: Sought, names: dict[str, list[Path]], stems: dict[str, list[Path]]) -> _Fit:
    was = slide.path
    tries = [[] if was is None else names.get(was.name, [])]
    if was is None or not was.exists():
        tries.append(names.get(slide.slide_id) or stems.get(slide.slide_id, []))
        tries.append([] if was is None else stems.get(was.stem, []))
    for number, images in enumerate(tries):
        if images:
            shared = [0 if was is None else _shared(was, image) for image in images]
            most = max(shared)
            nearest = tuple(image for image, n in zip(images, shared, strict=True) if n == most)
            return _Fit(images=_of_size(nearest, slide.size_l0), by=(-number, most))
    return _Fit()


def _of_size(images: tuple[Path, ...], size_l0: tuple[int, int] | None) -> tuple[Path, ...]:
    """Of several images those of the slide's size, by their headers; all where none has it, or it is not known."""
    if len(images) < 2 or size_l0 is None:
        return images
    return tuple(image for image in images if size_of(image) == size_l0) or images


def size_of(image: Path) -> tuple[int, int] | None:
    """Width, height of an image in level-0 px, by its header; None of a file that cannot be read."""
    try:
        return facts(image).size_l0
    except SlideError:
        return None


def _shared(one: Path, other: Path) -> int:
    """How many of the folders just above two files have the same names."""
    pairs = zip(reversed(one.absolute().parts[:-1]), reversed(other.parts[:-1]), strict=False)
    number = 0
    for first, second in pairs:
        if first != second:
            break
        number += 1
    return number


def _why(fit: _Fit, option: str) -> str:
    """Why an image is nowhere; empty where nothing fits."""
    keep = f"name with {option} {_KEEP}"
    called = ", ".join(dict.fromkeys(image.name for image in fit.images[:9]))
    if len(fit.images) > 1:
        are_together = len({image.parent for image in fit.images}) < len(fit.images)
        return f"{len(fit.images)} images fit it alike ({called}): {_ALONE if are_together else keep}"
    return f"{called} fits another slide as well or better: {keep}" if fit.images else ""


def _where_it_was(slide: Sought, why: str = "") -> Place:
    is_there = slide.path is not None and slide.path.exists()
    return Place(path=slide.path) if is_there else Place(path=None, why=why)
