"""What every importer reads from its format: images with their marks, before a cohort is made of them.

Knows nothing of any one format, and opens no image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder
from mitosieve.errors import FormatError

UNKNOWN_DOMAIN = "unknown"

UNCLASSIFIED = "unclassified"
"""What a mark is called that its format gives no class."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One marked cell.

    Attributes:
        x, y: its centre in level-0 px of its image.
        name: its class, as the format names it.
        where: file and row (or annotation id) it stands in, for messages.
        score: share of raters who called it a mitotic figure, 0..1; NaN where unknown, or where `voted` tells it.
        votes: the raw votes, space-separated; empty where unknown.
        voted: the classes that raters gave it, a name a vote.
        source: the file it came from, relative to what was imported.
        outline: its shape in level-0 px where the format has one with an area; regions need it.
        is_void: whether the format gives it neither area nor shape nor point.
        label: what its class means; None until that was judged (`judging`).
    """

    x: float
    y: float
    name: str
    where: str
    score: float = math.nan
    votes: str = ""
    voted: tuple[str, ...] = ()
    source: str = ""
    outline: BaseGeometry | None = None
    is_void: bool = False
    label: Label | None = None


def outline_of_box(x1: float, y1: float, x2: float, y2: float) -> BaseGeometry | None:
    """A box as a shape, by which a region is known as the area that was searched; None where it has no area."""
    with np.errstate(all="ignore"):  # far beyond any slide
        box = shapely.box(x1, y1, x2, y2)
        return box if x2 > x1 and y2 > y1 and box.area > 0 else None


@dataclass(frozen=True, kw_only=True)
class MarkedImage:
    """One image as a label file speaks of it.

    Attributes:
        slide_id: its name in the cohort.
        file_name: its path below the folder of images, with `/`.
        case_id: the patient; empty where nobody names it (then `case_id.guessed` takes it from the file's name).
        case_guessed: whether the case comes from the image's name, because nobody names it.
        domain: what scores are reported by.
        marks: in file order.
        labelled: whether every figure in it was marked.
        size_l0: width, height in px as the label file says; None where it does not.
        mpp: um per px as the label file says; None where it does not.
        roi_wkt: the area that was searched, as WKT in level-0 px; empty is the whole image.
        source: the data set that the image came from; empty where nobody says.
        path: the image itself, where the reader has found it.
        looked_for: whether its reader knows best which file it is: without a path it is not there.
        whole_name: whether the folders of its name are a part of it, so that an equal file name elsewhere is another.
        presumed: whether it is labelled only because its label file is absent, which its format takes for no figure.
        lost: classes of marks that the reader left out though they may be figures (crowds and difficult ones).
        undecided: all that marks may be which the reader left out because nobody settled what they are.
        on_canvas: whether the user says that positions count from the corner of the canvas that a scanner's file states
            (`SlideFacts.canvas_l0`), not from that of the scanned area.
    """

    slide_id: str
    file_name: str
    case_id: str
    domain: str
    marks: tuple[Mark, ...]
    labelled: bool = True
    size_l0: tuple[int, int] | None = None
    mpp: float | None = None
    roi_wkt: str = ""
    source: str = ""
    path: Path | None = None
    looked_for: bool = False
    whole_name: bool = False
    case_guessed: bool = False
    presumed: bool = False
    lost: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    on_canvas: bool = False


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something a user should know about an import that went through.

    Attributes:
        text: what, in words that are equal for all subjects alike; reports join those.
        subject: the one thing it concerns, such as a mark; empty where `text` says it.
        domain: the domain it concerns; empty where it concerns all.
    """

    text: str
    subject: str = ""
    domain: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that a label file, or a folder of them, holds.

    Attributes:
        images: in file order.
        cautions: what was noticed.
        classes: names of the classes that the file declares, marked or not; None where its format declares none.
        bare_is_searched: whether an image without figure and imposter was searched, as the format has it.
        tells_bare: whether that is worth a word.
        one_mpp: whether one resolution can be true of all its images.
        looked_in: the folder of images that the reader found by itself, where none was given; None where it found none.
    """

    images: tuple[MarkedImage, ...]
    cautions: tuple[Caution, ...] = ()
    classes: tuple[str, ...] | None = None
    bare_is_searched: bool = True
    tells_bare: bool = False
    one_mpp: bool = True
    looked_in: ImageFolder | None = None


Reader = Callable[[Path, ImageFolder | None], Reading]
"""Reads one format: its file or folder, and the folder of images where one is given."""


def share(value: float, *, where: str) -> float:
    """A score checked to be a share of raters, 0..1.

    Raises:
        FormatError: it is not.
    """
    if not 0.0 <= value <= 1.0:
        raise FormatError(
            f"the score {value:g} is not between 0 and 1",
            where=where,
            remedy="a score is the share of raters who called the cell a mitotic figure",
        )
    return value
