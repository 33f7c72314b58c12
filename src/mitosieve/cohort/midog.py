"""MIDOG 2021, MIDOG 2022 and MIDOG++: one JSON for all images. Knows this layout and no other.

A trap: `bbox` is [x1, y1, x2, y2] (two corners), not [x, y, width, height] as in COCO. In MIDOG's own files one image
is one case; of others of this layout that need not be so.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mitosieve.cohort.coco_layout import Annotation, Content, ImageRecord, Key, key_of, read_content
from mitosieve.cohort.image_name import ImageFolder, slide_name
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Caution, Mark, MarkedImage, Reading, outline_of_box
from mitosieve.cohort.table import quoted
from mitosieve.errors import FormatError, plural

_REMEDY = "expected a MIDOG file: images, categories and annotations with bbox [x1, y1, x2, y2]"

_SCANNERS_2021 = ((50, "Hamamatsu XR"), (100, "Hamamatsu S360"), (150, "Aperio CS2"), (200, "Leica GT450"))
"""Last image id and scanner, in MIDOG 2021 alone, whose JSON states no domain.

Source: MIDOG 2021 data description; ids 1-150 agree with MIDOG++ datasets_xvalidation.csv.
"""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a MIDOG JSON file.

    The domain is the image's `tumor_type`; MIDOG 2021, which has none, is told apart by scanner. Votes are kept, and
    their share for figure becomes the score. A slide without any mark, figure or imposter, is kept as **unlabelled**:
    in MIDOG every labelled slide has marks (those without figures have imposters), and ids 151-200 (Leica GT450) have
    none because nobody labelled them. An image may carry `case_id` and `mpp`, as in COCO; without `case_id` each image
    is taken for a case, and that is told where the file is not one of MIDOG's own.

    Args:
        source: the JSON file.
        images: not needed to read the marks.

    Raises:
        FormatError: not JSON, a key missing, a box that is not two corners, or a mark of an unknown image or category.
    """
    content = read_content(source, what="a MIDOG file", remedy=_REMEDY)
    marks: dict[Key, list[Mark]] = {record.id: [] for record in content.images}
    for item in content.annotations:
        marks[item.image.id].append(_mark(item, content.categories, source.name))
    _refuse_sizes(content.annotations, source)
    is_2021 = _is_2021(content)
    made = tuple(_image(record, tuple(marks[record.id]), is_2021=is_2021) for record in content.images)
    classes = tuple(content.categories.values())
    return Reading(images=made, cautions=_nameless(content), classes=classes, bare_is_searched=False)


def _refuse_sizes(items: Sequence[Annotation], source: Path) -> None:
    """Refuse boxes that are of one size if they are [x, y, width, height], and of several if they are corners: COCO's,
    of crops so small that none of them ends before it begins.
    """
    boxes = [item.box(_REMEDY) for item in items]
    sizes = {(round(x2, 3), round(y2, 3)) for _, _, x2, y2 in boxes}
    if len(sizes) == 1 < len({(round(x2 - x1, 3), round(y2 - y1, 3)) for x1, y1, x2, y2 in boxes}):
        width, height = next(iter(sizes))
        raise FormatError(
            f"bbox {quoted(items[0].more['bbox'])} and all others of this file end at ({width:g}, {height:g}) if they "
            "are two corners; they look like [x, y, width, height]",
            where=items[0].where,
            remedy=f"mitosieve import coco {source} COHORT; or write each bbox as two corners: [x1, y1, x2, y2]",
        )


def _nameless(content: Content) -> tuple[Caution, ...]:
    """What is said of images without a case, where they need not be one each."""
    nameless = [record for record in content.images if not record.text("case_id")]
    if not nameless or _is_published(content):
        return ()
    some_of = (
        ""
        if len(nameless) == len(content.images)
        else f" for {len(nameless)} of {plural(len(content.images), 'image')}"
    )
    text = (
        f"no case is named{some_of}: each image was taken for a case, as in MIDOG's own files, such as "
        f"{slide_name(nameless[0].file_name)}: check case_id in slides.csv, one for each patient"
    )
    return (Caution(text=text),)


def _is_published(content: Content) -> bool:
    """Whether a file is one of MIDOG's own, or a part of one: it says so, and its images are numbers, as 001.tiff."""
    numbered = (re.fullmatch(r"\d+\.tiff?", record.file_name) for record in content.images)
    return "midog" in _told(content) and all(numbered)


def _told(content: Content) -> str:
    return str(content.info)[:10_000].lower()


def _is_2021(content: Content) -> bool:
    told = _told(content)
    return "midog" in told and "2021" in told


def _mark(item: Annotation, names: dict[Key, str], source: str) -> Mark:
    x1, y1, x2, y2 = item.box(_REMEDY)
    if x2 < x1 or y2 < y1:
        raise FormatError(
            f"bbox {quoted(item.more['bbox'])} ends before it begins; it looks like [x, y, width, height]",
            where=item.where,
            remedy="if it is COCO: mitosieve import coco; else write each bbox as two corners: [x1, y1, x2, y2]",
        )
    votes = item.more.get("labels") or []
    ids = [key_of(vote) for vote in votes] if isinstance(votes, list) else [None]
    if any(vote is None or vote not in names for vote in ids):
        raise FormatError(
            f"its votes are {quoted(votes)}", where=item.where, remedy="each vote is the id of a category"
        )
    return Mark(
        x=(x1 + x2) / 2,
        y=(y1 + y2) / 2,
        name=item.category,
        where=item.where,
        votes=" ".join(str(vote) for vote in ids),
        voted=tuple(names[vote] for vote in ids if vote is not None),
        source=source,
        outline=outline_of_box(x1, y1, x2, y2),
        is_void=x1 == x2 or y1 == y2,
    )


def _image(record: ImageRecord, marks: tuple[Mark, ...], *, is_2021: bool) -> MarkedImage:
    slide_id = slide_name(record.file_name)
    scanner = _scanner_2021(record.id) if is_2021 else UNKNOWN_DOMAIN
    return MarkedImage(
        slide_id=slide_id,
        file_name=record.file_name,
        case_id=record.text("case_id") or slide_id,
        domain=record.text("tumor_type") or scanner,
        marks=marks,
        size_l0=record.size_l0,
        mpp=record.mpp,
    )


def _scanner_2021(image_id: Key) -> str:
    if not isinstance(image_id, int):
        return UNKNOWN_DOMAIN
    return next((name for last, name in _SCANNERS_2021 if 1 <= image_id <= last), UNKNOWN_DOMAIN)
