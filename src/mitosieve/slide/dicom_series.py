"""Which DICOM files are one slide: the instances of one series, told by content and not by name. Reads headers alone.

What is told of a file or folder is kept until it changes, so that a folder of a thousand series is read once.
"""

import contextlib
import struct
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from pydicom import dcmread, errors
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from mitosieve.errors import SlideError
from mitosieve.slide.header import is_dicom


def kinds_in(module: ModuleType) -> tuple[type[Exception], ...]:
    """The exceptions that a library defines, which have no base of their own."""
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type))
    return tuple(kind for kind in kinds if issubclass(kind, Exception))


_BROKEN = (
    *kinds_in(errors), struct.error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    NotImplementedError, OSError, MemoryError, EOFError,
)  # fmt: skip
"""What pydicom raises on damaged files."""

REMEDY = "copy all files of the series again, or convert the slide to a tiled TIFF"


@dataclass(frozen=True)
class Instance:
    """A whole-slide image in one DICOM file.

    Attributes:
        path: the file.
        series: its SeriesInstanceUID.
        is_volume: whether it shows the scanned tissue; a label, overview or thumbnail does not.
        is_resampled: whether it was made of a finer level.
        uid: its SOPInstanceUID.
    """

    path: Path
    series: str
    is_volume: bool
    is_resampled: bool
    uid: str


@contextlib.contextmanager
def reading_dicom(path: Path, *more: type[Exception]) -> Generator[None]:
    """Turn a library's complaint about a damaged file into ours; `more` are further kinds of it."""
    try:
        yield
    except (*_BROKEN, *more) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise SlideError(f"is a DICOM file that cannot be read ({said})", where=path, remedy=REMEDY) from error


def instance_of(path: Path) -> Instance | None:
    """What a file is; None where it is no DICOM whole-slide image.

    Raises:
        SlideError: it begins as a DICOM file and cannot be read.
    """
    if not is_dicom(path):
        return None
    with reading_dicom(path):
        state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2**16)
def _read(path: Path, size: int, changed_ns: int) -> Instance | None:
    del size, changed_ns  # a file that changed is another
    tags = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "ImageType"]
    with reading_dicom(path):
        head = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        if "SOPClassUID" not in head:
            raise ValueError("it does not say what it is")
        if head.get("SOPClassUID") != VLWholeSlideMicroscopyImageStorage:
            return None
        kind = head.get("ImageType") or ()
        series = str(head.get("SeriesInstanceUID"))
        is_volume = "VOLUME" in kind or len(kind) < 3
        return Instance(path, series, is_volume, "RESAMPLED" in kind, str(head.get("SOPInstanceUID")))


@dataclass(frozen=True)
class Folder:
    """The DICOM files of a folder that are or may be parts of slides.

    Attributes:
        instances: whole-slide images, by name.
        broken: what could not be read, with the reason: nobody knows of which slide it is.
    """

    instances: tuple[Instance, ...]
    broken: tuple[tuple[Path, SlideError], ...]

    @property
    def series(self) -> dict[str, list[Instance]]:
        """The slides: instances of each series that shows tissue, by the name of its first file."""
        shown = {instance.series for instance in self.instances if instance.is_volume}
        series: dict[str, list[Instance]] = {}
        for instance in self.instances:
            if instance.series in shown:
                series.setdefault(instance.series, []).append(instance)
        return series


@lru_cache(maxsize=256)
def _of_folder(folder: Path, changed_ns: int) -> Folder:
    del changed_ns
    found: list[Instance] = []
    broken: list[tuple[Path, SlideError]] = []
    for path in sorted(item for item in folder.iterdir() if not item.name.startswith(".")):
        try:
            instance = instance_of(path)
        except SlideError as error:
            broken.append((path, error))
        else:
            found += [] if instance is None else [instance]
    return Folder(tuple(found), tuple(broken))


def look_into(folder: Path) -> Folder:
    """The DICOM slides in a folder; hidden files are passed over.

    Raises:
        SlideError: the folder cannot be read.
    """
    with reading_dicom(folder):
        return _of_folder(folder, folder.stat().st_mtime_ns)


def dicom_files(path: Path) -> list[Path]:
    """The files of a slide: of a folder, its one series of whole-slide images; of a file, its series in its folder.

    Raises:
        SlideError: a folder holds several slides or none, the file is no whole-slide image, or a file that cannot be
            read may be the slide's scanned level, which is not among the others.
    """
    folder = look_into(path if path.is_dir() else path.parent)
    mine = None if path.is_dir() else instance_of(path)
    if mine is not None:
        files = folder.series.get(mine.series, [mine])
    elif path.is_dir() and len(folder.series) == 1:
        files = next(iter(folder.series.values()))
    elif path.is_dir() and folder.series:
        raise SlideError(
            f"holds {len(folder.series)} DICOM slides",
            where=path,
            remedy=f"name one file of the slide: {next(iter(folder.series.values()))[0].path}",
        )
    elif path.is_dir() and folder.broken:
        raise folder.broken[0][1]
    else:
        raise SlideError(
            "holds no DICOM whole-slide image", where=path, remedy="name the slide's folder or one file of it"
        )
    if folder.broken and all(instance.is_resampled for instance in files if instance.is_volume):
        raise folder.broken[0][1]
    return [instance.path for instance in files]
