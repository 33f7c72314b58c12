"""YOLO's text files: one an image, positions as shares of its size. Knows this layout and no other.

    <class> <x> <y> <width> <height>          a box: its centre and size, 0 to 1
    <class> <x1> <y1> <x2> <y2> <x3> <y3> ... a polygon

Names of the classes are in classes.txt (one a line, the first is class 0), obj.names, or a YAML file with `names`,
beside the files or above them. Images lie in a folder `images` beside `labels`, beside the text files, or where
--images says. An empty file is an image that was searched; an image without a file is left out, and told.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import shapely

from mitosieve.cohort.image_name import (
    ImageFolder,
    files_below,
    may_be_image,
    relative_names,
    slide_name,
    visible,
    without_ending,
)
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, Mark, MarkedImage, Reading, outline_of_box
from mitosieve.cohort.table import finite, quoted, read_text
from mitosieve.errors import FormatError, SlideError, plural, some
from mitosieve.slide.slide import facts

_NAMES = ("classes.txt", "predefined_classes.txt", "obj.names", "data.names")
_NO_LABELS = frozenset({"labels.txt", "names.txt", "notes.txt", "train.txt", "val.txt", "valid.txt", "test.txt"})
"""What lies beside labels and is none, unless an image has its name; so is what begins with `readme`."""

_REMEDY = "expected lines: class x y width height (0 to 1), in a text file an image, and the names in classes.txt"
MAX_SHARE = 1.5
"""Share of an image beyond which a number is none of YOLO's: centres lie inside, boxes may reach out a little."""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a folder of YOLO's files with its folders below, or one file.

    The centre is x times the width, y times the height, as the numbers stand; a polygon's is its centroid. A class
    without a name is called by its number, and means nothing until it is ruled.

    Args:
        source: the folder (of labels, or of labels and images), or one text file.
        images: where the images are; None looks beside the files. Their sizes are needed.

    Raises:
        FormatError: no file or no image of one, a line that is neither box nor polygon, numbers that are px, a line
            with a confidence (a detection and no label), or names that cannot be read.
    """
    folder = source if source.is_dir() else source.parent
    where_images = images or ImageFolder(_beside(folder.absolute()))
    paths = [source] if source.is_file() else _files(source, where_images)
    if not paths:
        raise FormatError("holds no text file of labels", where=source, remedy=_REMEDY)
    names = _class_names(folder, paths)
    files = relative_names([_image_name(path, folder) for path in paths], where=source)
    found = [where_images.find(name) for name in files]
    missing = [path.name for path, image in zip(paths, found, strict=True) if image is None]
    if missing:
        raise FormatError(
            f"holds no image of {plural(len(missing), 'file')}: {some(missing)}",
            where=where_images.folder,
            remedy="YOLO's numbers are shares of an image's size: name the folder of images with --images",
        )
    made = [
        _image(path, name, image, names)
        for path, name, image in zip(paths, files, found, strict=True)
        if image is not None
    ]
    looked_in = where_images if images is None else None
    return Reading(images=tuple(made), classes=tuple(names) or None, tells_bare=True, looked_in=looked_in)


def _files(folder: Path, images: ImageFolder) -> list[Path]:
    """Text files of labels; one called as what is none, such as test.txt, only where an image is called so too."""
    stems = {without_ending(path.name).lower() for path in images.paths}
    return [
        path
        for path in files_below(folder)
        if path.suffix.lower() == ".txt"
        and path.name.lower() not in _NAMES
        and (path.stem.lower() in stems or not _is_none(path.name.lower()))
    ]


def _is_none(name: str) -> bool:
    """Whether a text file is no labels by its name: Roboflow writes README.roboflow.txt and README.dataset.txt."""
    return name in _NO_LABELS or name.startswith("readme")


def _beside(folder: Path) -> Path:
    """`images` below the folder, or beside it where it is called `labels`; else the folder itself where it holds an
    image; else `images` beside it. What lies beside another folder may be of another data set.
    """
    below, beside = folder / "images", folder.parent / "images"
    if below.is_dir():
        return below
    is_own = folder.name.lower() != "labels" and any(may_be_image(path) for path in files_below(folder))
    return beside if beside.is_dir() and not is_own else folder


def _image_name(path: Path, folder: Path) -> str:
    parts = [part for part in path.relative_to(folder).parts[:-1] if part.lower() != "labels"]
    return "/".join([*parts, path.stem])


def _class_names(folder: Path, labels: Sequence[Path]) -> list[str]:
    """Names by number: of the folder; else the nearest of each file of labels, from where it lies up to the two folders
    above the one that is named; empty where there is no file of names.

    Raises:
        FormatError: the nearest names of two files of labels differ, or one has none.
    """
    own, whole = _names_in(folder), folder.absolute()
    if own:
        return own
    around = next(filter(None, map(_names_in, whole.parents[:2])), [])
    nearest: dict[Path, list[str]] = {}
    for place in sorted({path.parent.absolute() for path in labels}):
        between = [place, *(above for above in place.parents if whole in above.parents)]
        nearest[place] = next(filter(None, map(_names_in, between)), around)
    first, *others = nearest
    for other in others:
        if nearest[other] != nearest[first]:
            raise FormatError(
                f"names other classes than {first}" if nearest[other] else f"names no classes, and {first} does",
                where=other,
                remedy=f"import each by itself, or write the names that hold for all into {folder / _NAMES[0]}",
            )
    return nearest[first]


def _names_in(place: Path) -> list[str]:
    for name in _NAMES:
        if (place / name).is_file():
            lines = [line.strip() for line in read_text(place / name).splitlines()]
            return lines[: max((i for i, line in enumerate(lines, start=1) if line), default=0)]
    for path in sorted([*visible(place, "*.yaml"), *visible(place, "*.yml")]):
        names = _of_yaml(path)
        if names:
            return names
    return []


def _of_yaml(path: Path) -> list[str]:
    """The list or numbered mapping `names` of a YAML file; empty where it has none. No other YAML is understood."""
    lines = [re.sub(r"\s+#.*$", "", line) for line in read_text(path).splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        return []
    value = lines[start].split(":", 1)[1].strip()
    following = [line for line in lines[start + 1 :] if line.strip()]
    if value:
        whole = value + " ".join(following) if value[0] in "[{" and value[-1] not in "]}" else value
        inner = re.fullmatch(r"[\[{](.*?)[\]}].*", whole, re.DOTALL)
        items = re.findall(r"\"[^\"]*\"|'[^']*'|[^,]+", inner[1]) if inner else []
    else:
        items: list[str] = []
        for line in following:
            if not line.startswith((" ", "\t", "-")):
                break
            items.append(line.strip().removeprefix("-").strip())
    names = _numbered([item.strip() for item in items if item.strip()])
    if not names:
        raise FormatError(
            "its names cannot be read", where=path, remedy="write the classes into classes.txt, one a line"
        )
    return names


def _numbered(items: list[str]) -> list[str]:
    """Names in the order of their numbers where they have them, else as they stand."""
    pairs = [re.fullmatch(r"(\d{1,4})\s*:\s*(.+)", item) for item in items]
    if items and all(pairs):
        by_number = {int(pair[1]): pair[2].strip().strip("'\"") for pair in pairs if pair}
        return [by_number.get(number, str(number)) for number in range(max(by_number) + 1)]
    return [item.strip("'\"") for item in items]


def _image(path: Path, name: str, image: Path, names: list[str]) -> MarkedImage:
    try:
        size = facts(image).size_l0
    except SlideError as error:
        raise FormatError(error.what, where=error.where or image, remedy=error.remedy) from error
    marks = [
        _mark(line.split(), f"{path}, line {number}", size, names, path.name)
        for number, line in enumerate(read_text(path).splitlines(), start=1)
        if line.strip()
    ]
    *folders, _ = name.split("/")
    file_name = "/".join([*folders, image.name if without_ending(image.name) == name.split("/")[-1] else name])
    return MarkedImage(
        slide_id=slide_name(file_name),
        file_name=file_name,
        case_id="",
        domain=UNKNOWN_DOMAIN,
        marks=tuple(marks),
        size_l0=size,
        path=image,
    )


def _mark(values: list[str], where: str, size: tuple[int, int], names: list[str], source: str) -> Mark:
    if len(values) == 6:
        raise FormatError(
            "has six values: the last is a confidence, so this is a detection and no label",
            where=where,
            remedy="give the labels that the detector was trained on, or leave the confidence out",
        )
    if len(values) < 5 or len(values) % 2 == 0:
        raise FormatError(f"has {plural(len(values), 'value')}", where=where, remedy=_REMEDY)
    if not re.fullmatch(r"\d{1,4}(\.0*)?", values[0]):
        raise FormatError(f"class is {quoted(values[0])}, not its number", where=where, remedy=_REMEDY)
    shares = [finite(value, "x or y", where=where) for value in values[1:]]
    if any(abs(share) > MAX_SHARE for share in shares):
        raise FormatError(
            f"{quoted(' '.join(values[:5]))} is in px, not in shares of the image",
            where=where,
            remedy="divide x and width by the image's width, y and height by its height",
        )
    number = int(float(values[0]))
    name = names[number] if number < len(names) else str(number)
    width, height = size
    if len(values) == 5:
        x, y, w, h = shares
        void = w <= 0 or h <= 0
        box = outline_of_box(*((x - w / 2) * width, (y - h / 2) * height), *((x + w / 2) * width, (y + h / 2) * height))
        return Mark(x=x * width, y=y * height, name=name, where=where, source=source, outline=box, is_void=void)
    shape = shapely.Polygon([(x * width, y * height) for x, y in zip(shares[::2], shares[1::2], strict=True)])
    shape = shapely.make_valid(shape)
    void = not shape.area > 0
    middle = shapely.Point(0, 0) if void else shape.centroid
    outline = None if void else shape
    return Mark(x=middle.x, y=middle.y, name=name, where=where, source=source, outline=outline, is_void=void)
