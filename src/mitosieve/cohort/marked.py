"""What every importer reads from its format: images with their marks, before a cohort is made of them.

Knows nothing of any one format, and opens no image.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mitosieve.annotation import Label
from mitosieve.errors import FormatError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".dcm"}
)
"""File name endings taken for an image when a folder is looked through."""

UNKNOWN_DOMAIN = "unknown"

_NAMES = {
    Label.MITOTIC_FIGURE: ("mitotic figure", "mitosis", "mitotic", "mitoses", "mf"),
    Label.IMPOSTER: (
        "imposter", "impostor", "not mitotic figure", "non mitotic figure", "not mitosis", "non mitosis", "nmf",
        "hard negative", "hard negative look alike",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One marked cell.

    Attributes:
        x, y: its centre in level-0 px of its image.
        label: what the experts called it.
        where: file and row (or annotation id) it stands in, for messages.
        score: share of raters who called it a mitotic figure, 0..1; NaN where unknown.
        votes: the raw votes, space-separated; empty where unknown.
        source: the file it came from, relative to what was imported.
    """

    x: float
    y: float
    label: Label
    where: str
    score: float = math.nan
    votes: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class MarkedImage:
    """One image as a label file speaks of it.

    Attributes:
        slide_id: its name in the cohort.
        file_name: its path below the folder of images, with `/`.
        case_id: the patient.
        domain: what scores are reported by.
        marks: in file order.
        labelled: whether every figure in it was marked.
        size_l0: width, height in px as the label file says; None where it does not.
        mpp: um per px as the label file says; None where it does not.
        roi_wkt: the area that was searched, as WKT in level-0 px; empty is the whole image.
        source: the data set that the image came from; empty where nobody says.
        path: the image itself, where the reader has found it.
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
    """All that a label file, or a folder of them, holds."""

    images: tuple[MarkedImage, ...]
    cautions: tuple[Caution, ...] = ()


class ImageFolder:
    """A folder looked through once, with its folders below; images are found by the end of their path.

    Raises:
        FormatError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FormatError("there is no such folder of images", where=folder, remedy="check the path given")
        self.folder = folder
        self.paths = tuple(
            sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        )
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_stem.setdefault(path.stem, []).append(path)

    def find(self, file_name: str) -> Path | None:
        """The image whose path ends with `file_name`, the ending such as .png aside; None where there is none.

        A file of exactly this name directly below the folder wins, then one of exactly this name deeper down.

        Raises:
            FormatError: several images fit equally.
        """
        exact = self.folder / file_name
        if exact.is_file():
            return exact
        tail = _without_ending(Path(file_name)).parts
        fits = [p for p in self._by_stem.get(tail[-1], []) if p.with_suffix("").parts[-len(tail) :] == tail]
        if len(fits) > 1:
            fits = [path for path in fits if path.name == Path(file_name).name] or fits
        if len(fits) > 1:
            raise FormatError(
                f"several images fit the name {file_name}: {some(str(p.relative_to(self.folder)) for p in fits)}",
                where=self.folder,
                remedy="keep one of them in this folder",
            )
        return fits[0] if fits else None


Reader = Callable[[Path, ImageFolder | None], Reading]
"""Reads one format: its file or folder, and the folder of images where one is given."""


def label_of(name: str, *, where: str) -> Label:
    """The label that a format's own name means; case, `-`, `_` and blanks do not matter.

    Raises:
        FormatError: an unknown name.
    """
    plain = re.sub(r"[\s_-]+", " ", name).strip().lower()
    for label, names in _NAMES.items():
        if plain in names:
            return label
    raise FormatError(
        f"unknown label '{name}'",
        where=where,
        remedy=f"use one of: {', '.join(repr(n) for names in _NAMES.values() for n in names[:3])}",
    )


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


def case_of(file_name: str) -> str:
    """The case where a format names none: the image's name up to its first `_`, or all of it."""
    name = _without_ending(Path(file_name)).name
    return name.split("_")[0] or name


def slide_name(file_name: str) -> str:
    """A slide_id from a path below the folder of images: without its ending, folders joined by `_`."""
    path = _without_ending(Path(file_name))
    return path.name if path.is_absolute() else "_".join(path.parts)


def _without_ending(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path


def some(names: Iterable[str], separator: str = ", ") -> str:
    """The first five of many names, and how many more there are."""
    items = list(names)
    return separator.join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
