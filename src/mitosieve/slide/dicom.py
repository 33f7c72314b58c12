"""DICOM whole slides by wsidicom: a folder of instances, or one file of it. Knows nothing of other formats."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import VLWholeSlideMicroscopyImageStorage
from wsidicom import WsiDicom
from wsidicom.errors import WsiDicomError

from mitosieve.errors import SlideError
from mitosieve.geometry import Mpp, Region
from mitosieve.slide.header import is_dicom, not_rgb
from mitosieve.slide.image import CACHE_BYTES, MAX_MPP, Slide, SlideFacts, believed_mpp

_BROKEN = (
    WsiDicomError, InvalidDicomError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    RuntimeError, NotImplementedError, OSError, MemoryError, EOFError,
)  # fmt: skip
_REMEDY = "copy all files of the series again, or convert the slide to a tiled TIFF"


@contextlib.contextmanager
def _reading(path: Path) -> Generator[None]:
    try:
        yield
    except _BROKEN as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise SlideError(f"is a DICOM slide that cannot be read ({said})", where=path, remedy=_REMEDY) from error


def dicom_files(path: Path) -> list[Path]:
    """The files of a slide: of a folder, its one series of whole-slide images; of a file, its series in its folder.

    Raises:
        SlideError: a folder holds several slides or none, or the file is no whole-slide image.
    """
    files = sorted(item for item in (path if path.is_dir() else path.parent).iterdir() if is_dicom(item))
    series: dict[str, list[Path]] = {}
    mine = None
    for file in files:
        with _reading(file):
            head = dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID", "SeriesInstanceUID"])
        if head.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage:
            series.setdefault(str(head.get("SeriesInstanceUID")), []).append(file)
            mine = str(head.get("SeriesInstanceUID")) if file == path else mine
    if path.is_dir() and len(series) == 1:
        return next(iter(series.values()))
    if mine is not None:
        return series[mine]
    if not series or not path.is_dir():
        raise SlideError(
            "holds no DICOM whole-slide image", where=path, remedy="name the slide's folder or one file of it"
        )
    raise SlideError(
        f"holds {len(series)} DICOM slides",
        where=path,
        remedy=f"name one file of the slide: {next(iter(series.values()))[0]}",
    )


def dicom_facts(path: Path) -> SlideFacts:
    """Facts of a DICOM slide.

    Raises:
        SlideError: it is damaged, grey, or has more than 8 bits a channel.
    """
    with _reading(path), WsiDicom.open(dicom_files(path)) as file:
        _check_colors(file, path)
        spacing = file.mpp
        mpp, notes = believed_mpp(float(spacing.width), float(spacing.height), largest=MAX_MPP)
        levels = tuple(size for _, size in _levels(file))
        return SlideFacts(
            format="DICOM",
            size_l0=levels[0],
            mpp_xy=mpp,
            mpp_source="DICOM pixel spacing" if mpp else "",
            levels=levels,
            notes=notes,
        )


def _check_colors(file: WsiDicom, path: Path) -> None:
    dataset = file.pyramid.base_level.datasets[0]
    if dataset.samples_per_pixel != 3:
        raise not_rgb("is a grey image; stains cannot be told apart without colour", path, "scan it in brightfield")
    if dataset.bits != 8:
        raise not_rgb(f"holds {dataset.bits} bits a channel", path)


def _levels(file: WsiDicom) -> list[tuple[int, tuple[int, int]]]:
    """The number wsidicom gives each level, and its size, largest first."""
    found = [(int(level.level), (int(level.size.width), int(level.size.height))) for level in file.pyramid]
    return sorted(found, key=lambda item: -item[1][0] * item[1][1])


class DicomSlide(Slide):
    """A slide read by wsidicom."""

    def __init__(self, file: WsiDicom, *, slide_id: str, path: Path, mpp: Mpp) -> None:
        numbers = _levels(file)
        super().__init__(slide_id=slide_id, path=path, mpp=mpp, levels=tuple(size for _, size in numbers))
        self._file = file
        self._numbers = tuple(number for number, _ in numbers)

    @classmethod
    def open(
        cls, path: Path, facts: SlideFacts, *, mpp: Mpp, slide_id: str, cache_bytes: int = CACHE_BYTES
    ) -> "DicomSlide":
        """Open a slide whose header was found usable; wsidicom keeps its own number of tiles, whatever `cache_bytes`.

        Raises:
            SlideError: it is damaged.
        """
        del facts, cache_bytes
        with _reading(path):
            return cls(WsiDicom.open(dicom_files(path)), slide_id=slide_id, path=path, mpp=mpp)

    def close(self) -> None:
        self._file.close()

    def piece_px(self, level: int) -> tuple[int, int]:
        tile = self._file.pyramid.get(self._numbers[level]).tile_size
        return int(tile.width), int(tile.height)

    def read_level(self, level: int, region: Region) -> NDArray[np.uint8]:
        if region.area_px2 == 0:
            return np.empty((region.h, region.w, 3), dtype=np.uint8)
        with _reading(self.path):
            pixels = self._file.read_region(
                (region.x, region.y), self._numbers[level], (region.w, region.h), as_array=True
            )
        return np.ascontiguousarray(pixels[..., :3], dtype=np.uint8)
