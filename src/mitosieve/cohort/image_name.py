"""Names of images: as label files write them, as slides are called, and the files that are meant.

One normaliser for all formats. A name that has gone through it is a path below the folder of images: with `/`, without
drive, root, `.` and `..`; so is a slide_id made of it a file name, and nothing lies outside the cohort.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote

from mitosieve.errors import FormatError, some
from mitosieve.slide.endings import READ_SUFFIXES, SLIDE_SUFFIXES
from mitosieve.slide.hidden import files_below
from mitosieve.slide.hidden import visible as visible  # of the readers of folders, too

MAX_PART_BYTES = 255
"""Longest name of a file or folder on the file systems in use."""

_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+-]+://[^/]*")
_LEADING = re.compile(r"^[\s.]+")
_DRIVE = re.compile(r"^[A-Za-z]:")
_LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio writes a file that it serves from a folder."""


def may_be_image(path: PurePath) -> bool:
    """Whether a file is taken for an image, by the ending of its name, when a folder is looked through."""
    return path.suffix.lower() in READ_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class _Parts:
    parts: tuple[str, ...]
    rooted: bool
    """Whether it was said where on somebody's machine it lies: that is no folder of ours."""


def _parts_of(name: str, where: str | Path) -> _Parts:
    text = name.strip()
    rooted = False
    if text.startswith(_LOCAL_FILES):
        text = unquote(text[len(_LOCAL_FILES) :])
    elif _ADDRESS.match(text):
        text, rooted = unquote(_ADDRESS.sub("", text).split("?")[0]), True
    text = text.replace("\\", "/")
    if _DRIVE.match(text) or text.startswith("/"):
        text, rooted = _DRIVE.sub("", text), True
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            rooted = rooted or not parts
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    control = any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text)
    if not parts or control or any(len(part.encode("utf-8", "replace")) > MAX_PART_BYTES for part in parts):
        raise FormatError(
            f"'{name[:80]}' cannot be the name of an image", where=where, remedy="write the image's path there"
        )
    return _Parts(parts=tuple(parts), rooted=rooted)


def relative_names(names: Sequence[str], *, where: str | Path) -> list[str]:
    """Names of images as label files write them, each as a path below the folder of images.

    Backslashes are slashes; `.` and `..` are resolved. Of names that say where on somebody's machine an image lies (a
    root, a drive, an address, more `..` than folders) the folders that they have in common are left out.

    Args:
        names: as written.
        where: file they stand in, for messages.

    Raises:
        FormatError: a name that cannot be one.
    """
    found = [_parts_of(name, where) for name in names]
    heads = [one.parts[:-1] for one in found if one.rooted]
    shared = 0
    while heads and all(len(head) > shared and head[shared] == heads[0][shared] for head in heads):
        shared += 1
    return ["/".join(one.parts[shared:] if one.rooted else one.parts) for one in found]


def told_apart(names: Sequence[str], folders: Sequence[str], *, where: str | Path) -> list[str]:
    """Names of which those that several images share have a folder put before them.

    Args:
        names: from `relative_names`.
        folders: where each image lies, as its format says; empty where it does not.
        where: file they stand in, for messages.
    """
    times = Counter(names)
    shared = [i for i, name in enumerate(names) if times[name] > 1]
    longer = relative_names([f"{folders[i]}/{names[i]}" if folders[i] else names[i] for i in shared], where=where)
    made = list(names)
    for i, name in zip(shared, longer, strict=True):
        made[i] = name
    return made


class ImageFolder:
    """A folder looked through once, with its folders below; images are found by the end of their path.

    What a system hides (a leading dot, as `._` of a Mac) is no image of it, but under its own name.

    Raises:
        FormatError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FormatError("there is no such folder of images", where=folder, remedy="check the path given")
        self.folder = folder
        self.paths = tuple(path for path in files_below(folder) if may_be_image(path))
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_stem.setdefault(_composed(without_ending(path.name)), []).append(path)

    def find(self, file_name: str, *, whole: bool = False) -> Path | None:
        """The image that a name from `relative_names` means, the ending such as .png aside; None where there is none.

        A file of exactly this name directly below the folder wins; then the image whose path ends with it; then the one
        whose path agrees with it in most of its last parts, if it is alone in that: at least in the file's own name.

        Args:
            file_name: the name.
            whole: the image must be in the folders that the name has: another of its file name is another image.

        Raises:
            FormatError: several images end with this name.
        """
        exact = self.folder / file_name
        if exact.is_file():
            return exact
        tail = _tail(PurePosixPath(file_name))
        left = self._by_stem.get(tail[0], [])
        length = 1
        while length < len(tail):
            longer = [path for path in left if _tail(path)[: length + 1] == tail[: length + 1]]
            if not longer:
                break
            left, length = longer, length + 1
        if len(left) > 1:
            left = [path for path in left if path.name == PurePosixPath(file_name).name] or left
        if length < len(tail):
            return left[0] if len(left) == 1 and not whole else None
        if len(left) > 1:
            raise FormatError(
                f"several images fit the name {file_name}: {some(str(p.relative_to(self.folder)) for p in left)}",
                where=self.folder,
                remedy="keep one of them in this folder",
            )
        return left[0] if left else None


def ends_with(path: Path, file_name: str) -> bool:
    """Whether a path ends with a name from `relative_names`, endings of images aside."""
    tail = _tail(PurePosixPath(file_name))
    return _tail(path)[: len(tail)] == tail


def _tail(path: PurePath) -> tuple[str, ...]:
    """Parts of a path, its last first and without the ending of an image."""
    parts = path.parts
    return (_composed(without_ending(parts[-1])), *(_composed(part) for part in reversed(parts[:-1])))


def _composed(text: str) -> str:
    """Text as most systems write it; macOS writes accents as signs of their own."""
    return unicodedata.normalize("NFC", text)


def slide_name(file_name: str) -> str:
    """A slide_id from a name of `relative_names`: without its ending, folders joined by `_`, no dot, no blank."""
    *folders, last = file_name.split("/")
    name = _bare("_".join([*folders, without_ending(last)]))
    return name or _bare(last) or "_"


def _bare(name: str) -> str:
    """A name as a table gives it back and a file may be called: no blanks about it, no dot in front."""
    return _LEADING.sub("", name).rstrip()


def without_ending(name: str) -> str:
    """The name of a file without the ending of an image, where it has one."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SLIDE_SUFFIXES else name
