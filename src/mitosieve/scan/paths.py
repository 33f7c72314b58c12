"""Which files a user's words mean: image files, folders, patterns and lists, each slide once.

A slide in DICOM is a series of files, whatever they are called: it is one, however it was named. What an operating
system or a program hides (a leading dot, as `._` of a Mac) is passed over, unless it is named.
"""

import codecs
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mitosieve.errors import InputError, plural, some
from mitosieve.slide.slide import SLIDE_SUFFIXES, is_dicom, place_of, which_slide

Tell = Callable[[str], None]

_UNREAD = frozenset(
    (".webp", ".gif", ".jp2", ".j2k", ".jxl", ".heic", ".heif", ".avif", ".mha", ".mhd", ".zvi", ".lif")
)
"""Endings of images that are not read: passed over in a folder, and told."""


def paths_of(words: Sequence[str | Path], *, tell: Tell | None = None) -> list[Path]:
    """Image files that a user's words mean.

    A folder means the slides in it (not those of its subfolders; a folder of one DICOM slide alone is that slide), a
    pattern (`*`, `?`, `[`) what it matches, `@list.txt` the files that the list names, one a line, relative to the
    list; anything else is a file. Of a DICOM series, the first file that was named stands for all; its folder, where
    it is all that this holds.

    Args:
        words: of the user.
        tell: told which images of a folder are passed over, for their formats are not read.

    Returns:
        In the order of the words; within a folder or pattern by name. A slide meant twice, by whatever path, is there
        once, as it was named first.

    Raises:
        InputError: a pattern that matches nothing, a list that cannot be read, or a folder that cannot be looked into.
    """
    found: list[Path] = []
    for word in words:
        text = str(word)
        path = Path(text)
        if text.startswith("@") and not _exists(path):
            found += _listed(Path(text[1:]), tell)
        elif _is_folder(path):
            found += _in_folder(path, tell)
        elif not _exists(path) and any(mark in text for mark in "*?["):
            found += _matching(path, text)
        else:
            found.append(path)
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(place_of(path), path)
    return _each_series_once(list(once.values()))


def is_dicom_slide(folder: Path) -> bool:
    """Whether a folder holds DICOM files."""
    return _is_folder(folder) and any(is_dicom(item) for item in folder.iterdir() if not item.name.startswith("."))


def _exists(path: Path) -> bool:
    """Whether something has this name; a name that no disk takes is no file's."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _in_folder(folder: Path, tell: Tell | None = None) -> list[Path]:
    try:
        inside = sorted(item for item in folder.iterdir() if not item.name.startswith(".") and item.is_file())
    except OSError as error:
        raise InputError(f"cannot be looked into ({error.strerror or error})", where=folder) from error
    dicom = {item for item in inside if is_dicom(item)}
    others = [item for item in inside if item.suffix.lower() in SLIDE_SUFFIXES and item not in dicom]
    unread = [item.name for item in inside if item.suffix.lower() in _UNREAD and item not in dicom]
    if unread and tell is not None:
        tell(f"note: {folder}: {plural(len(unread), 'image')} of formats that are not read passed over: {some(unread)}")
    if not dicom:
        return others or [folder]  # it fails as a slide, and the others go on
    from mitosieve.slide.dicom_series import look_into  # takes a while to import

    found = look_into(folder)
    series = list(found.series.values())
    if not others and len(series) + len(found.broken) <= 1:
        return [folder]
    return sorted((*(files[0].path for files in series), *(path for path, _ in found.broken), *others))


def _matching(path: Path, text: str) -> list[Path]:
    base = Path(path.anchor) if path.is_absolute() else Path()
    pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else text
    hidden = path.name.startswith(".")
    slides = sorted(
        item
        for item in base.glob(pattern)
        if (hidden or not item.name.startswith(".")) and (item.is_file() or is_dicom_slide(item))
    )
    if not slides:
        raise InputError(f"nothing matches '{text}'", remedy="check the pattern, or name the files")
    return slides


def _listed(path: Path, tell: Tell | None) -> list[Path]:
    """The files of a list, in UTF-8 or UTF-16 with a byte-order mark; a name that is no UTF-8 is the file of these
    bytes, where there is one.
    """
    remedy = "write one path a line, and name it as @list.txt"
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16") if wide else content.decode("utf-8-sig", "surrogateescape")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"is no list of slides ({error})", where=path, remedy=remedy) from error
    if "\0" in text:
        raise InputError("is no list of slides (it holds bytes of 0)", where=path, remedy=remedy)
    lines = [_unquoted(path.parent, line.strip()) for line in text.splitlines()]
    for number, line in enumerate(lines, start=1):
        if not (line.startswith("#") or _is_text(line) or _exists(path.parent / line)):
            raise InputError("is not UTF-8 text", where=f"{path}, line {number}", remedy="save the list as UTF-8")
    return [found for line in lines for found in _of_line(path.parent, line, tell)]


def _is_text(line: str) -> bool:
    """Whether a line of a list was UTF-8: no byte of it had to be kept as a surrogate."""
    return not any("\udc80" <= sign <= "\udcff" for sign in line)


def _unquoted(folder: Path, line: str) -> str:
    """A line without the quotes that "copy as path" puts round it, unless a file is called so."""
    quoted = len(line) > 2 and line[0] == line[-1] == '"'
    return line[1:-1] if quoted and not _exists(folder / line) else line


def _of_line(folder: Path, line: str, tell: Tell | None) -> Iterator[Path]:
    """A comment begins with '#', unless a file is called so."""
    if not line or (line.startswith("#") and not _exists(folder / line)):
        return
    path = folder / line
    yield from _in_folder(path, tell) if _is_folder(path) else [path]


def _each_series_once(paths: list[Path]) -> list[Path]:
    """One path for the files of a DICOM series that were named, at the place of the first."""
    if not any(is_dicom(path) or is_dicom_slide(path) for path in paths):
        return paths
    named: dict[object, list[Path]] = {}
    for path in paths:
        named.setdefault(which_slide(path) if is_dicom(path) or _is_folder(path) else path, []).append(path)
    return [_standing_for(files) for files in named.values()]


def _standing_for(files: list[Path]) -> Path:
    """The first of several files of a series, or their folder where it holds nothing else."""
    if len(files) == 1:
        return files[0]
    folder = next((path for path in files if path.is_dir()), files[0].parent)
    return folder if _in_folder(folder) == [folder] else files[0]
