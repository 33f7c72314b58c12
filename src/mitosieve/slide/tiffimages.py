"""Which pages of a TIFF belong together: one image with its smaller levels is the slide, the others are not.

A scanner puts more into a file than the slide: thumbnail, label, macro, overview, a second scene. Pages are given to
images first, by what the file says of them: OME-XML (an image is its page and the sub-IFDs of that page), Aperio's
order (the first page and the tiled ones after it), the marks of TIFF itself (NewSubfileType, sub-IFDs). No pixels.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import tifffile

from mitosieve.slide.omexml import OmeImage, ome_images

MAX_PAGES = 256
"""Pages that are looked at; further ones are passed over."""

ODD_LEVEL = 0.01
"""A level whose ratio to level 0 differs between x and y by more than this, and by more than its rounding, is none."""

_REDUCED, _MASK, _MACRO = 1, 4, 8
"""Bits of NewSubfileType (TIFF 6.0, p. 36); the last one is Aperio's for its macro picture."""

_ROLE = re.compile(r"(?:^|[\r\n])\s*(label|macro|thumbnail|overview)(?![a-z])", re.IGNORECASE)
"""A line of a description that begins with what the picture is."""


@dataclass(kw_only=True, eq=False)
class TiffImage:
    """One image of a file.

    Attributes:
        page: its first page, at full size.
        name: what the file calls it.
        role: "label", "macro", "thumbnail", "overview" or "mask" where the file says that it is one; else empty.
        levels: smaller pages that the file says are levels of it.
        perhaps: smaller pages that stand and look as if they were, which nothing says.
        ome: what its OME-XML says of it.
    """

    page: Any
    name: str = ""
    role: str = ""
    levels: list[Any] = field(default_factory=list)
    perhaps: list[Any] = field(default_factory=list)
    ome: OmeImage | None = None

    @property
    def last(self) -> Any:  # noqa: ANN401 - tifffile's pages have no useful type
        """The page that was given to it last."""
        return max((self.page, *self.levels, *self.perhaps), key=lambda page: page.index)

    def told(self) -> str:
        """For people."""
        w, h = size_of(self.page)
        return f"another image{f', {self.name!r},' if self.name else ''} of {w} x {h} px"


def size_of(page: Any) -> tuple[int, int]:  # noqa: ANN401 - tifffile's pages have no useful type
    """Width and height of a page in px."""
    return int(page.imagewidth), int(page.imagelength)


def is_rgb(page: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a page holds colours that can be read."""
    return int(page.photometric) in (2, 6) and page.bitspersample == 8 and page.samplesperpixel in (3, 4)


def same_shape(page: Any, base: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a page is as much smaller than another in x as in y, but for rounding."""
    (w, h), (base_w, base_h) = size_of(page), size_of(base)
    return abs((base_w / w) / (base_h / h) - 1) <= max(ODD_LEVEL, 1 / min(w, h))


def slide_of(file: tifffile.TiffFile) -> tuple[TiffImage | None, list[TiffImage]]:
    """The image that is the slide, and the others in the file's order; None where the file has no page.

    The slide is the largest image, the first of equals, that is no label, macro, thumbnail, overview or mask and has
    colours that can be read; in Aperio's files the first page. Where nothing is such an image, the largest page.
    """
    pages: list[Any] = [page.aspage() for page in islice(iter(file.pages), MAX_PAGES)]
    pages = [page for page in pages if page.imagewidth > 0 and page.imagelength > 0]
    if not pages:
        return None, []
    aperio = str(pages[0].description).startswith("Aperio") and pages[0].is_tiled
    images = _of_aperio(pages) if aperio else _by_marks(pages, _known_by_ome(pages))
    slide = images[0] if aperio else _chosen(images)
    held = [part.aspage() for part in slide.page.pages] if slide.page.subifds else []
    slide.levels = [*held, *slide.levels]
    others = [image for image in images if image is not slide]
    if not aperio:
        others = _taken_in(slide, others)
    return slide, others


def _chosen(images: Sequence[TiffImage]) -> TiffImage:
    """The largest of those that may be the slide; tiles first go before a larger picture in strips."""
    free = [image for image in images if not image.role and is_rgb(image.page)]
    free = free or [image for image in images if not image.role] or list(images)
    largest = max(free, key=lambda image: image.page.imagewidth * image.page.imagelength)
    tiled = [image for image in free if image.page.is_tiled and not same_shape(image.page, largest.page)]
    if not largest.page.is_tiled and tiled and images[0] in tiled:
        return max(tiled, key=lambda image: image.page.imagewidth * image.page.imagelength)
    return largest


def _taken_in(slide: TiffImage, others: list[TiffImage]) -> list[TiffImage]:
    """Pages before the slide that look like levels of it: some writers put the smallest first."""
    for image in others:
        alone = not image.role and image.ome is None and not image.levels and not image.perhaps
        if alone and image.page.index < slide.page.index and _looks_like_level(image.page, slide.page):
            slide.perhaps.append(image.page)
    taken = {id(page) for page in slide.perhaps}
    return [image for image in others if id(image.page) not in taken]


def _of_aperio(pages: Sequence[Any]) -> list[TiffImage]:
    """The first page, and tiled ones that are not marked as another picture; thumbnail, label and macro are in strips.

    Source: Aperio's "Digital Slides and Third-Party Data Interchange", and how OpenSlide and tifffile read it.
    """
    images = [TiffImage(page=pages[0])]
    for page in pages[1:]:
        role = _role_of(page)
        if page.is_tiled and not role and not page.subfiletype & (_REDUCED | _MASK | _MACRO):
            if size_of(page) != size_of(pages[0]):
                images[0].levels.append(page)
            else:
                images.append(TiffImage(page=page, name="another focal plane"))
        else:
            first = "thumbnail" if page.index == 1 else "label"
            images.append(TiffImage(page=page, role=role or (first if not page.is_tiled else "overview")))
    return images


def _known_by_ome(pages: Sequence[Any]) -> dict[int, OmeImage]:
    """The pages on which images begin, where the file's OME-XML says so of pages that are here; else none."""
    text = str(pages[0].description)
    if not re.search(r"<(?:\w+:)?OME\b", text[:4000]):
        return {}
    here = {page.index for page in pages}
    return {image.page: image for image in ome_images(text) if image.page is not None and image.page in here}


def _by_marks(pages: Sequence[Any], known: dict[int, OmeImage]) -> list[TiffImage]:
    """Images by what is marked on the pages, and by their order: each full page is followed by its smaller ones.

    Args:
        pages: in the file's order.
        known: the pages on which images begin, where the file says so.
    """
    images: list[TiffImage] = []
    further = {number + n for number, image in known.items() for n in range(1, min(image.planes, MAX_PAGES))}
    current: TiffImage | None = None
    early: list[Any] = []
    for page in pages:
        ome = known.get(page.index)
        role = _role_of(page) if ome is None else _role_in(ome.name)
        if ome is None and page.index in further:
            continue  # another plane of one image: the first is read
        if role:
            images.append(TiffImage(page=page, role=role, name="" if ome is None else ome.name, ome=ome))
        elif ome is None and page.subfiletype & _REDUCED:
            (early if current is None else current.levels).append(page)
        elif ome is None and current is not None and _follows(page, current):
            current.perhaps.append(page)
        else:
            made = TiffImage(page=page, name="" if ome is None else ome.name, ome=ome)
            images.append(made)
            if current is None or page.is_tiled or not current.page.is_tiled:
                current = made
    return _with_early(images, early)


def _with_early(images: list[TiffImage], early: list[Any]) -> list[TiffImage]:
    """Reduced pages that stand before every full one belong to the first full one; where all are reduced, all stand."""
    full = next((image for image in images if not image.role), None)
    if full is not None:
        full.levels = [*early, *full.levels]
        return images
    return [*(TiffImage(page=page) for page in early), *images]


def _follows(page: Any, image: TiffImage) -> bool:  # noqa: ANN401 - as above
    """Whether an unmarked page continues an image: smaller than its last page, and like a level of it."""
    last, base = image.last, image.page
    smaller = page.imagewidth < last.imagewidth and page.imagelength < last.imagelength
    return bool(smaller and _looks_like_level(page, base))


def _looks_like_level(page: Any, base: Any) -> bool:  # noqa: ANN401 - as above
    """Whether an unmarked page is tiled as the base is, and a whole number of times smaller, as levels are."""
    small = page.imagewidth < base.imagewidth and page.imagelength < base.imagelength
    if not (small and page.is_tiled and base.is_tiled and is_rgb(page) == is_rgb(base) and same_shape(page, base)):
        return False
    (w, h), (base_w, base_h) = size_of(page), size_of(base)
    whole = round((base_w / w + base_h / h) / 2)
    return whole >= 2 and all(abs(long / whole - short) <= 1 for long, short in ((base_w, w), (base_h, h)))


def _role_of(page: Any) -> str:  # noqa: ANN401 - as above
    kind = int(page.subfiletype)
    said = _ROLE.search(str(page.description)[:2000])
    if said and page.index > 0:
        return said[1].lower()
    return "macro" if kind & _MACRO else "mask" if kind & _MASK else ""


def _role_in(name: str) -> str:
    """What an image of OME-XML is by its name."""
    said = re.search(r"(?<![a-z])(label|macro|thumbnail|overview)(?![a-z])", name, re.IGNORECASE)
    return said[1].lower() if said else ""


def notes_of(slide: TiffImage, others: Sequence[TiffImage]) -> Iterator[tuple[str, bool]]:
    """What else the file holds, one sentence: whoever reads a count must know that it is not of these.

    Yields:
        The sentence, and whether it is another picture that may be taken for the slide (`OtherPicture`): a scene or a
        plane, not a label, macro, overview or thumbnail.
    """
    same = [image for image in others if size_of(image.page) == size_of(slide.page) and not image.role]
    if same:
        yield f"holds {len(same) + 1} images of this size; the first is read", True
    rest = [image for image in others if image not in same]
    pictures = list(dict.fromkeys(image.role for image in rest if image.role and not image.name))
    if pictures:
        yield f"further pictures in the file, which are not looked at: {', '.join(pictures)}", False
    named = [image for image in rest if image.name or not image.role]
    yield from ((f"holds {image.told()}, which is not looked at", not image.role) for image in named)
    if slide.ome is not None and slide.ome.planes > 1:
        yield f"holds {slide.ome.planes} planes; the first is read", True
