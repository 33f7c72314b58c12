"""What COCO's JSON and MIDOG's have in common: images, categories, and annotations that name both by id."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mitosieve.cohort.image_name import relative_names
from mitosieve.cohort.jsonfile import read_items, read_object
from mitosieve.cohort.table import finite, pixels, quoted
from mitosieve.errors import FormatError

Named = TypeVar("Named")

Key = int | str
"""An id, as JSON has it: 1 and "1" are two."""


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One of the images.

    Attributes:
        id: what annotations name it by.
        file_name: its path below the folder of images.
        size_l0: width, height in px as stated.
        where: it, for messages.
        more: its other keys, unchecked.
    """

    id: Key
    file_name: str
    size_l0: tuple[int, int]
    where: str
    more: dict[str, Any]

    def text(self, *keys: str) -> str:
        """What the first of several keys says that says anything, as text; empty where none does.

        Raises:
            FormatError: it is neither text nor a whole number.
        """
        for key in keys:
            value = self.more.get(key)
            if value not in (None, ""):
                if isinstance(value, bool) or not isinstance(value, int | str):
                    raise FormatError(f"{key} is {quoted(value)}", where=self.where, remedy=f"write {key} as text")
                return str(value).strip()
        return ""

    @property
    def mpp(self) -> float | None:
        value = self.more.get("mpp")
        return None if value is None else finite(value, "mpp", where=self.where)


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One of the annotations, its image and category found.

    Attributes:
        image: that it is in.
        category: name of its category.
        where: it, for messages.
        more: all its keys; those that are not named here are unchecked.
    """

    image: ImageRecord
    category: str
    where: str
    more: dict[str, Any]

    def box(self, remedy: str) -> tuple[float, float, float, float]:
        """The four numbers of its bbox.

        Raises:
            FormatError: it is no list of four finite numbers.
        """
        value = self.more.get("bbox")
        if not isinstance(value, list) or len(value) != 4:
            raise FormatError(f"bbox is {quoted(value)}", where=self.where, remedy=remedy)
        a, b, c, d = (finite(number, "bbox", where=self.where) for number in value)
        return a, b, c, d


@dataclass(frozen=True, kw_only=True)
class Content:
    """All of a file, checked as far as both formats agree.

    Attributes:
        info: of the file, unchecked.
        images: in file order.
        categories: names by id.
        annotations: in file order.
    """

    info: Any
    images: tuple[ImageRecord, ...]
    categories: dict[Key, str]
    annotations: tuple[Annotation, ...]


def read_content(source: Path, *, what: str, remedy: str) -> Content:
    """Read images, categories and annotations.

    Args:
        source: the JSON file.
        what: the format that was expected, as "a COCO file".
        remedy: what it looks like.

    Raises:
        FormatError: not JSON, a list or key missing or of another type, ids that are none or stand twice, or an
            annotation of an unknown image or category.
    """
    content = read_object(source, what=what, remedy=remedy)
    images = _images(read_items(content, "images", source=source, remedy=remedy), source, remedy)
    categories = _categories(read_items(content, "categories", source=source, remedy=remedy), source, remedy)
    by_id = {image.id: image for image in images}
    annotations: list[Annotation] = []
    for item in read_items(content, "annotations", source=source, remedy=remedy):
        where = f"{source}, annotation {quoted(item.get('id'))}"
        image = _known("image", item.get("image_id"), by_id, where, remedy)
        category = _known("category", item.get("category_id"), categories, where, remedy)
        annotations.append(Annotation(image=image, category=category, where=where, more=item))
    return Content(info=content.get("info"), images=images, categories=categories, annotations=tuple(annotations))


def key_of(value: object) -> Key | None:
    """An id from JSON; None where it is none, such as true or a list."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _known(kind: str, value: object, known: Mapping[Key, Named], where: str, remedy: str) -> Named:
    """What an id names; an id of another type than the file's own is told, for 1 and "1" look alike."""
    key = key_of(value)
    if key is not None and key in known:
        return known[key]
    alike = [other for other in known if str(other) == str(value)] if key is not None else []
    written = f", which is written {quoted(alike[0])} where it is listed" if alike else ""
    raise FormatError(f"names the unknown {kind} {quoted(value)}{written}", where=where, remedy=remedy)


def _images(items: list[dict[str, Any]], source: Path, remedy: str) -> tuple[ImageRecord, ...]:
    found: list[ImageRecord] = []
    for item in items:
        where = f"{source}, image {quoted(item.get('id'))}"
        identity, name = key_of(item.get("id")), item.get("file_name")
        if identity is None:
            raise FormatError("an image has no id", where=where, remedy=remedy)
        if not isinstance(name, str) or not name:
            raise FormatError("has no file_name", where=where, remedy=remedy)
        size = pixels(item.get("width"), "width", where=where), pixels(item.get("height"), "height", where=where)
        found.append(ImageRecord(id=identity, file_name=name, size_l0=size, where=where, more=item))
    if len({record.id for record in found}) < len(found):
        raise FormatError("two images share an id", where=source, remedy=remedy)
    names = relative_names([record.file_name for record in found], where=source)
    return tuple(
        ImageRecord(id=one.id, file_name=name, size_l0=one.size_l0, where=one.where, more=one.more)
        for one, name in zip(found, names, strict=True)
    )


def _categories(items: list[dict[str, Any]], source: Path, remedy: str) -> dict[Key, str]:
    names: dict[Key, str] = {}
    for item in items:
        identity, name = key_of(item.get("id")), item.get("name")
        where = f"{source}, category {quoted(item.get('id'))}"
        if not isinstance(name, str) or not name.strip():
            raise FormatError(f"its name is {quoted(name)}", where=where, remedy=remedy)
        if identity is None:
            raise FormatError(f"the category '{name}' has no id", where=source, remedy=remedy)
        if names.get(identity, name) != name:
            raise FormatError("two categories share an id", where=where, remedy=remedy)
        names[identity] = name
    return names
