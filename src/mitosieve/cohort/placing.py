"""Images of a label file on disk: found, measured, and compared with what the labels say of them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import shapely
from shapely import affinity

from mitosieve.cohort.cohort import SlideEntry
from mitosieve.cohort.image_name import ImageFolder, ends_with
from mitosieve.cohort.mark_check import check_marks
from mitosieve.cohort.marked import Caution, MarkedImage
from mitosieve.cohort.resolution import StatedMpp, usable
from mitosieve.errors import FormatError, ResolutionError, SlideError, plural, some
from mitosieve.slide.slide import (
    OtherPicture,
    SlideFacts,
    facts,
    in_words,
    overrules,
    place_of,
    resolve_mean,
    which_slide,
)

MAX_SIZE_DIFFERENCE_PX = 2
"""By how much an image may differ from the size that its labels state: some copies of frames lost a column."""

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
"""Signs that a CSV in UTF-8 does not give back: control signs, and halves of pairs, as which Python reads the bytes of
a file's name in another encoding."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    images: tuple[MarkedImage, ...]
    cautions: tuple[Caution, ...]


def place(images: tuple[MarkedImage, ...], folder: ImageFolder | None, source: Path) -> Placed:
    """Find each image's file; say which are missing and which have no labels."""
    if folder is None:
        return Placed(images=images, cautions=())
    placed = find_all(images, folder)
    missing = [image.file_name for image in placed if image.path is None]
    if len(missing) == len(placed):
        raise FormatError(
            f"holds none of the {plural(len(placed), 'image')} that {source.name} names, such as {missing[0]}",
            where=folder.folder,
            remedy="name the folder that holds them, or leave out --images and state --mpp",
        )
    _refuse_one_image_for_two(placed, source)
    paths = {image.path for image in placed}
    claimed = {which_slide(path) for path in paths if path}
    others = [path for path in folder.paths if path not in paths and which_slide(path) not in claimed]
    left = [str(path.relative_to(folder.folder)) for path in others]
    cautions: list[Caution] = []
    moved = [
        f"{one.file_name} in {one.path.parent}"
        for one, before in zip(placed, images, strict=True)
        if one.path and not before.path and not ends_with(one.path, one.file_name)
    ]
    if moved:
        text = f"{plural(len(moved), 'image')} found by name in another folder than the labels say"
        cautions.append(Caution(text=f"{text}: {some(moved)}"))
    if missing:
        cautions.append(
            Caution(text=f"{plural(len(missing), 'image is', 'images are')} not in {folder.folder}: {some(missing)}")
        )
    if left:
        text = f"{plural(len(left), 'image')} of {folder.folder} not in the labels, and left out: {some(left)}"
        cautions.append(Caution(text=text))
    return Placed(images=placed, cautions=tuple(cautions))


def find_all(images: Sequence[MarkedImage], folder: ImageFolder) -> tuple[MarkedImage, ...]:
    """Images with their paths, as far as a folder has them; where a file name is alone, in whatever folder below."""
    times = Counter(PurePosixPath(image.file_name).stem for image in images)

    def found(image: MarkedImage) -> MarkedImage:
        if image.looked_for:
            return image
        whole = image.whole_name or times[PurePosixPath(image.file_name).stem] > 1
        return replace(image, path=image.path or folder.find(image.file_name, whole=whole))

    return tuple(map(found, images))


def _refuse_one_image_for_two(placed: tuple[MarkedImage, ...], source: Path) -> None:
    taken: dict[object, MarkedImage] = {}
    for image in placed:
        if image.path is None:
            continue
        slide = which_slide(image.path)
        other = taken.setdefault(slide, image)
        if other is not image:
            series = "the DICOM slide of " if isinstance(slide, tuple) and other.path != image.path else ""
            raise FormatError(
                f"its images {other.file_name} and {image.file_name} would both be {series}{image.path}",
                where=source,
                remedy="lay the images in the folders that the labels name, or name each image once",
            )


def settle(image: MarkedImage, stated: StatedMpp, source: Path) -> tuple[MarkedImage, SlideEntry, list[Caution]]:
    """Fix resolution and size of one image and check its marks against them; its path is still open.

    Positions that count on the canvas which a scanner's file states are brought to the scanned area, which is level 0.
    """
    image = _as_written(image, source)
    cautions: list[Caution] = []
    wanted = image.mpp if (said := stated.find(image)) is None else said
    if image.path is None:
        _refuse_unseen_canvas(image, source)
        mpp, size, oblong = _mpp_unseen(image, wanted, source), image.size_l0, None
    else:
        found = _facts(image.path)
        (mpp, oblong), size = resolve_mean(wanted, found, image.path), found.size_l0
        image, told = _on_level_0(image, found)
        cautions += told
        cautions += _told_by_the_file(image, found)
        cautions += _check_size(image, found, source)
        used = oblong or (mpp, mpp)
        if found.mpp_xy is not None and overrules(used, found.mpp_xy):
            told = f"{image.file_name} says {in_words(found.mpp_xy)} um per px, {in_words(used)} is used"
            text = "the image's file says another resolution than was stated"
            cautions.append(Caution(text=text, subject=told, domain=image.domain))
    cautions += check_marks(image, size, stated_by="" if image.path else source.name)
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
        oblong=oblong,
    )
    return image, entry, [*cautions, *_check_roi(entry, image)]


def _on_level_0(image: MarkedImage, found: SlideFacts) -> tuple[MarkedImage, list[Caution]]:
    """An image whose positions count from level 0's corner: moved where they count on the canvas.

    They do where the user says so, or where the labels state the canvas' size; else it is told, for nobody can know.
    """
    if found.canvas_l0 is None:
        return image, []
    x, y = found.corner_l0
    as_shown, on_canvas = (_fits(image.size_l0, size) for size in (found.size_l0, found.canvas_l0))
    if not image.on_canvas and (as_shown or not on_canvas):
        if as_shown or not (image.marks or image.roi_wkt):
            return image, []
        text = (
            "positions are taken to count from the corner of the scanned area, as in QuPath, not from that of the "
            "canvas, as in ASAP and SlideRunner; if they do, import them with --whole-canvas"
        )
        return image, [Caution(text=text, subject=f"{image.file_name}, corner {x}, {y}", domain=image.domain)]
    marks = tuple(replace(mark, x=mark.x - x, y=mark.y - y) for mark in image.marks)
    roi = shapely.to_wkt(affinity.translate(shapely.from_wkt(image.roi_wkt), -x, -y)) if image.roi_wkt else ""
    moved = replace(image, marks=marks, roi_wkt=roi, size_l0=None if image.size_l0 is None else found.size_l0)
    text = "positions count on the whole canvas, and were moved to the scanned area, which is level 0"
    return moved, [Caution(text=text, subject=f"{image.file_name} by {x}, {y}", domain=image.domain)]


def _told_by_the_file(image: MarkedImage, found: SlideFacts) -> list[Caution]:
    """What the image's file says of other pictures of it, where there are marks: they may be made on one of those."""
    if not (image.marks or image.roi_wkt):
        return []
    return [
        Caution(
            text=f"{note}; marks are taken to have been made on what is read",
            subject=image.file_name,
            domain=image.domain,
        )
        for note in found.notes
        if isinstance(note, OtherPicture)
    ]


def _refuse_unseen_canvas(image: MarkedImage, source: Path) -> None:
    if image.on_canvas:
        raise FormatError(
            f"positions on {image.file_name} count on the whole canvas, and only its file says where that begins",
            where=source,
            remedy="give its image with --images DIR, or leave out --whole-canvas",
        )


def _fits(stated: tuple[int, int] | None, size: tuple[int, int]) -> bool:
    """Whether labels state this size; a px or two are a matter of cropping."""
    return stated is not None and all(abs(a - b) <= MAX_SIZE_DIFFERENCE_PX for a, b in zip(stated, size, strict=True))


def _check_roi(entry: SlideEntry, image: MarkedImage) -> list[Caution]:
    """Refuse a searched area that lies beside its image; tell one that reaches farther than a drawn edge does.

    Of an image whose size nobody knows neither can be told.
    """
    try:
        entry.check_roi()
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise FormatError(
            f"its searched area cannot be one: {error}",
            where=image.file_name,
            remedy="mend the area (level-0 px, x first), or remove it",
        ) from error
    roi, area = entry.roi, entry.searched
    if roi is None or area is None or not (entry.width_l0 and entry.height_l0):
        return []
    size = f"{entry.width_l0} x {entry.height_l0} px"
    if not area.area > 0:
        raise FormatError(
            f"its searched area (roi) lies outside of the image, which is {size}",
            where=image.file_name,
            remedy="mend the area (level-0 px, x first), or fetch the image that it was drawn on",
        )
    x0, y0, x1, y1 = roi.bounds
    over = max(-0.5 - x0, -0.5 - y0, x1 - (entry.width_l0 - 0.5), y1 - (entry.height_l0 - 0.5))
    if over <= MAX_SIZE_DIFFERENCE_PX:
        return []
    text = "the area that was searched (roi) reaches out of its image; what lies on the image is taken for the area"
    told = f"{image.file_name}, by {over:.0f} px, {1 - area.area / roi.area:.0%} of it"
    return [Caution(text=text, subject=told, domain=image.domain)]


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
    if not _fits(image.size_l0, found.size_l0):
        said, seen = ("{} x {} px".format(*size) for size in (image.size_l0, found.size_l0))
        width, height = found.size_l0
        inside = all(-0.5 <= mark.x <= width - 0.5 and -0.5 <= mark.y <= height - 0.5 for mark in image.marks)
        stale = f"; or, if this is the image, its size in {source.name} is stale: mend it there"
        raise FormatError(
            f"is {seen}, but {source.name} says {said}: the marks belong to another image",
            where=image.path,
            remedy="fetch the original image (not a resized one)" + (stale if inside else ""),
        )
    text = f"the image is up to {MAX_SIZE_DIFFERENCE_PX} px larger or smaller than the labels say; its own size is used"
    return [Caution(text=text, subject=image.file_name, domain=image.domain)]


def stored_path(image: MarkedImage, folder: Path, images: ImageFolder | None) -> str:
    """The image's path for slides.csv: relative where it lies inside the cohort folder, else absolute."""
    if image.path is not None:
        path = image.path
    elif images is not None:
        path = images.folder / image.file_name
    else:
        path = folder / "images" / image.file_name
    path = path.absolute()
    inside = path.is_relative_to(folder.absolute())
    text = (path.relative_to(folder.absolute()) if inside else place_of(path)).as_posix()
    _refuse_unwritable("path", text, path)
    return text if text == text.strip() else f"./{text}"  # a table's values have no blanks about them


def _as_written(image: MarkedImage, source: Path) -> MarkedImage:
    """An image as the cohort's tables will say it when they are read: no blanks about a value, and UTF-8 alone."""
    said: dict[str, str] = {}
    for name in ("slide_id", "case_id", "domain", "source"):
        value: str = getattr(image, name)
        said[name] = value.strip()
        _refuse_unwritable(name, said[name], source)
        if not said[name] and name in ("slide_id", "case_id"):
            raise FormatError(f"the {name} of '{image.file_name}' is blank", where=source, remedy=f"give it a {name}")
    marks = tuple(replace(mark, votes=_plain(mark.votes), source=_plain(mark.source)) for mark in image.marks)
    return replace(image, marks=marks, **said)


def _refuse_unwritable(name: str, value: str, where: Path) -> None:
    if not value.isprintable() and _CONTROL.search(value):
        raise FormatError(
            f"the {name} '{value[:80]}' holds signs that no table can keep",
            where=where,
            remedy="write it in UTF-8 without control signs (a file of such a name: rename it)",
        )


def _plain(text: str) -> str:
    """A remark about a mark, its unwritable signs as `?`: nothing goes by it."""
    return _CONTROL.sub("?", text).strip()
