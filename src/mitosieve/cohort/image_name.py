"""Names of images: as label files write them, as slides are called, and the files that are meant."""

from pathlib import Path

from mitosieve.errors import FormatError, some

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".dcm"}
)
"""File name endings taken for an image when a folder is looked through."""


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
        tail = without_ending(Path(file_name)).parts
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


def slide_name(file_name: str) -> str:
    """A slide_id from a path below the folder of images: without its ending, folders joined by `_`."""
    path = without_ending(Path(file_name))
    return path.name if path.is_absolute() else "_".join(path.parts)


def without_ending(path: Path) -> Path:
    """A path without the ending of an image, where it has one."""
    return path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
