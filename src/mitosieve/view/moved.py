"""Where images are that have moved: which file of a folder is the one that a job, an audit or a cohort names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mitosieve.errors import SlideError
from mitosieve.slide.slide import SLIDE_SUFFIXES, facts
from mitosieve.view.viewed import ViewedSlide

_KEEP = "name with --slides a folder that keeps the folders they were in"
_ALONE = "leave in their folder only the one that it is"


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Images that fit a slide alike, and how well: by which name, and in how many folders above it; more is better."""

    images: tuple[Path, ...] = ()
    by: tuple[int, int] = (0, 0)


def found_again(slides: Sequence[ViewedSlide], folder: Path | None) -> tuple[ViewedSlide, ...]:
    """The slides with their images where those are now.

    Without a folder an image is where it was or nowhere. In a folder, at any depth, it is the one of its name, and of
    several that whose path has most of the last folders of the old one. Where no image has that name it is where it
    was; else the one that is called as the slide, else as the image but for its ending. Of several that fit alike it is
    the only one that has the size of the slide, where that is known. Where several fit still, or one fits several
    slides alike, nobody can tell: then the image is where it was, or `lost` says why it is nowhere.

    Args:
        slides: with the path where somebody found the image, or None.
        folder: to which images have moved, one that is there; None where none has.
    """
    if folder is None:
        return tuple(_where_it_was(slide) for slide in slides)
    names, stems = _images(folder)
    fits = [_fit(slide, names, stems) for slide in slides]
    best: dict[Path, tuple[int, int]] = {}
    for fit in fits:
        best |= {image: max(best.get(image, fit.by), fit.by) for image in fit.images}
    claims: dict[Path, set[Path | None]] = {}
    for slide, fit in zip(slides, fits, strict=True):
        for image in fit.images:
            if fit.by == best[image]:
                claims.setdefault(image, set()).add(slide.path)
    found: list[ViewedSlide] = []
    for slide, fit in zip(slides, fits, strict=True):
        image = fit.images[0] if len(fit.images) == 1 else None
        if image is not None and fit.by == best[image] and len(claims[image]) == 1:
            found.append(replace(slide, path=image, lost=""))
        else:
            found.append(_where_it_was(slide, _why(fit)))
    return tuple(found)


def _images(folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Slides of a folder at any depth, DICOM folders too, by their names, and by their names without ending."""
    names: dict[str, list[Path]] = {}
    stems: dict[str, list[Path]] = {}
    for item in sorted(folder.absolute().rglob("*")):
        is_slide = item.suffix.lower() in SLIDE_SUFFIXES and item.is_file()
        if is_slide or (item.is_dir() and any(item.glob("*.dcm"))):
            names.setdefault(item.name, []).append(item)
            stems.setdefault(item.stem if is_slide else item.name, []).append(item)
    return names, stems


def _fit(slide: ViewedSlide, names: dict[str, list[Path]], stems: dict[str, list[Path]]) -> _Fit:
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
    return tuple(image for image in images if _size_of(image) == size_l0) or images


def _size_of(image: Path) -> tuple[int, int] | None:
    """None of a file that cannot be read."""
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


def _why(fit: _Fit) -> str:
    """Why an image is nowhere; empty where nothing fits."""
    called = ", ".join(dict.fromkeys(image.name for image in fit.images[:9]))
    if len(fit.images) > 1:
        are_together = len({image.parent for image in fit.images}) < len(fit.images)
        return f"{len(fit.images)} images fit it alike ({called}): {_ALONE if are_together else _KEEP}"
    return f"{called} fits another slide as well or better: {_KEEP}" if fit.images else ""


def _where_it_was(slide: ViewedSlide, why: str = "") -> ViewedSlide:
    is_there = slide.path is not None and slide.path.exists()
    return replace(slide, path=slide.path if is_there else None, lost="" if is_there else why)
