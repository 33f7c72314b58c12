"""Which slides a job looks at: image files, folders, patterns, lists, or the slides of a cohort."""

from collections.abc import Callable, Sequence
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.marked import MarkedImage, some
from mitosieve.cohort.resolution import StatedMpp
from mitosieve.errors import InputError, ResolutionError
from mitosieve.sieve.reader_process import SlideSource

ScanItem = SlideSource
"""One slide to do: its file, name, stated mpp and where to look."""

_WHOLE_SLIDES = (
    ".svs",
    ".tif",
    ".tiff",
    ".btf",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".dcm",
    ".vsi",
)
SLIDE_SUFFIXES = frozenset((*_WHOLE_SLIDES, ".png", ".jpg", ".jpeg", ".bmp"))
"""What is taken from a folder. A file that is named is taken whatever its name."""


def paths_of(words: Sequence[str | Path]) -> list[Path]:
    """Image files that a user's words mean.

    A folder means the slides in it (not those of its subfolders; a folder of .dcm files alone is one slide), a pattern
    (`*`, `?`, `[`) what it matches, `@list.txt` the files that the list names, one a line, relative to the list;
    anything else is a file.

    Returns:
        In the order of the words; within a folder or pattern by name. A file meant twice is there once.

    Raises:
        InputError: a pattern that matches nothing, or a list that cannot be read.
    """
    found: list[Path] = []
    for word in words:
        text = str(word)
        path = Path(text)
        if text.startswith("@"):
            found += _listed(Path(text[1:]))
        elif path.is_dir():
            found += _in_folder(path)
        elif not path.exists() and any(mark in text for mark in "*?["):
            found += _matching(path, text)
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _in_folder(folder: Path) -> list[Path]:
    slides = sorted(p for p in folder.iterdir() if p.suffix.lower() in SLIDE_SUFFIXES and p.is_file())
    if slides and all(p.suffix.lower() == ".dcm" for p in slides):
        return [folder]
    return slides or [folder]  # it fails as a slide, and the others go on


def _matching(path: Path, text: str) -> list[Path]:
    base = Path(path.anchor) if path.is_absolute() else Path()
    pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else text
    slides = sorted(p for p in base.glob(pattern) if p.is_file() or _is_dicom(p))
    if not slides:
        raise InputError(f"nothing matches '{text}'", remedy="check the pattern, or name the files")
    return slides


def _is_dicom(folder: Path) -> bool:
    """A folder with DICOM files is one slide."""
    return folder.is_dir() and any(folder.glob("*.dcm"))


def _listed(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"is no list of slides ({error})", where=path, remedy="write one path a line, and name it as @list.txt"
        ) from error
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [path.parent / name for name in named]


def items_of_images(
    paths: Sequence[Path], *, mpp: str | None, roi: BaseGeometry | None, tell: Callable[[str], None] | None = None
) -> list[ScanItem]:
    """Slides from image files; mpp as stated, else from the file, else the slide fails with the remedy in its message.

    Args:
        paths: of the slides.
        mpp: a number, or a CSV with slide,mpp; None leaves it to the files.
        roi: where to look, level-0 px.
        tell: told which slides a CSV leaves out, and which of its rows name no slide.

    Raises:
        InputError: no image, or two of the same name.
        ResolutionError: `mpp` is neither a number nor a readable CSV, or a CSV that names none of the slides.
    """
    stated = StatedMpp.of(mpp)
    names = [_name(path) for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"two images are called '{twice[0]}'", remedy="rename one, or detect on them in two folders")
    if not paths:
        raise InputError("no image to detect on", remedy="name image files, or use --cohort")
    items: list[ScanItem] = []
    for path, name in zip(paths, names, strict=True):
        image = MarkedImage(file_name=path.name, slide_id=name, case_id=name, domain="", marks=())
        items.append(ScanItem(path=path, slide_id=name, mpp=stated.find(image), roi=roi))
    _tell_left_out(items, stated, mpp, tell)
    return items


def _tell_left_out(
    items: Sequence[ScanItem], stated: StatedMpp, mpp: str | None, tell: Callable[[str], None] | None
) -> None:
    """Say which slides a table of resolutions leaves out, and which of its rows name none.

    Raises:
        ResolutionError: it names none of the slides: what it states would be ignored.
    """
    left = [item.slide_id for item in items if item.mpp is None] if mpp is not None else []
    unused = [caution.text for caution in stated.unused()]
    if left and len(left) == len(items):
        raise ResolutionError(
            f"names no slide of the job ({len(items)} in all)",
            where=mpp,
            remedy=f"write in its column slide the names of slides or of their files: {some(left)}",
        )
    if tell is None:
        return
    if left:
        tell(f"note: {mpp} leaves out {len(left)} slides, whose files are believed: {some(left)}")
    for text in unused:
        tell(f"note: {text}")


def _name(path: Path) -> str:
    return path.name if path.is_dir() and _is_dicom(path) else path.stem


def items_of_cohort(cohort: Cohort, cases: tuple[str, ...] | None) -> list[ScanItem]:
    """Slides of a cohort's cases with their mpp and ROI; None is all cases."""
    part = cohort if cases is None else cohort.of_cases(cases)
    return [
        ScanItem(
            path=cohort.path_of(entry.slide_id),
            slide_id=entry.slide_id,
            mpp=entry.mpp,
            roi=entry.roi,
            size_l0=(entry.width_l0, entry.height_l0) if entry.width_l0 and entry.height_l0 else None,
        )
        for entry in part.slides
    ]
