"""DICOM whole slides by wsidicom: a folder of instances, or one file of it. Knows nothing of other formats."""

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from wsidicom import WsiDicom, errors
from wsidicom.series.pyramid import Pyramid

from mitosieve.geometry import Mpp, Region
from mitosieve.slide.dicom_series import dicom_files, instance_of, kinds_in, reading_dicom
from mitosieve.slide.header import not_rgb
from mitosieve.slide.image import CACHE_BYTES, MAX_MPP, OtherPicture, Slide, SlideFacts, believed_mpp


def _reading(path: Path) -> AbstractContextManager[None]:
    return reading_dicom(path, *kinds_in(errors))


def dicom_facts(path: Path) -> SlideFacts:
    """Facts of a DICOM slide.

    Raises:
        SlideError: it is damaged, grey, or has more than 8 bits a channel.
    """
    files = dicom_files(path)
    with _reading(path), WsiDicom.open(files) as file:
        others = _choose_area(file, path)
        _check_colors(file, path)
        spacing = file.mpp
        mpp, notes = believed_mpp(float(spacing.width), float(spacing.height), largest=MAX_MPP)
        levels = tuple(size for _, size in _levels(file))
        shown = [instance for instance in map(instance_of, files) if instance is not None and instance.is_volume]
        if all(instance.is_resampled for instance in shown):
            resampled = "its largest level is a resampled one: the level that was scanned may be missing"
            notes = (*notes, OtherPicture(resampled))
        notes = (*notes, *others, *_planes(file))
        return SlideFacts(
            format="DICOM",
            size_l0=levels[0],
            mpp_xy=mpp,
            mpp_source="DICOM pixel spacing" if mpp else "",
            levels=levels,
            notes=notes,
        )


def _choose_area(file: WsiDicom, path: Path) -> tuple[OtherPicture, ...]:
    """Of several areas of a glass, which are pyramids of one series, read the one that a named file shows, and of a
    folder the largest, the earlier of equally large ones.

    Returns:
        What is not read.
    """
    if len(file.pyramids) < 2:
        return ()
    named = None if path.is_dir() else instance_of(path)
    shown = [_uids_of(pyramid) for pyramid in file.pyramids]
    sizes = [(int(pyramid.size.width), int(pyramid.size.height)) for pyramid in file.pyramids]
    fine = [float(pyramid.mpp.width * pyramid.mpp.height) for pyramid in file.pyramids]
    largest = max(range(len(sizes)), key=lambda number: sizes[number][0] * sizes[number][1] * fine[number])
    chosen = next((n for n, uids in enumerate(shown) if named is not None and named.uid in uids), largest)
    file.set_selected_pyramid(chosen)
    words = [f"{width} x {height} px" for width, height in sizes]
    left = ", ".join(word for number, word in enumerate(words) if number != chosen)
    text = (
        f"shows {len(sizes)} areas of the glass: the one of {words[chosen]} is read, not {left} (name a file of that)"
    )
    return (OtherPicture(text),)


def _uids_of(pyramid: Pyramid) -> set[str]:
    """SOPInstanceUIDs of the files that a pyramid is made of."""
    return {str(dataset.uids.instance) for level in pyramid for dataset in level.datasets}


def _planes(file: WsiDicom) -> tuple[OtherPicture, ...]:
    base = file.pyramid.base_level
    planes, paths = len(base.focal_planes), len(base.optical_paths)
    told = ((planes, "focal planes"), (paths, "optical paths"))
    return tuple(OtherPicture(f"holds {number} {what}: one is read") for number, what in told if number > 1)


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
            file = WsiDicom.open(dicom_files(path))
            _choose_area(file, path)
            return cls(file, slide_id=slide_id, path=path, mpp=mpp)

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
