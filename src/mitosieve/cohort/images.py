"""Images that nobody has searched: a folder of them, or a CSV that names them. Knows no labels.

    image[,case][,domain][,mpp]

They become unlabelled slides: nothing is known of them, which is not "no figures". Methods may mine background from
them; nothing is scored on them.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mitosieve.cohort.image_name import ImageFolder, relative_names, slide_name
from mitosieve.cohort.marked import UNKNOWN_DOMAIN, MarkedImage, Reading
from mitosieve.cohort.table import Row, finite, read_table
from mitosieve.errors import FormatError
from mitosieve.slide.endings import READ_SUFFIXES, SLIDE_SUFFIXES

_COLUMNS = "expected columns: image and, where known, case, domain, mpp"


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read a folder with its folders below, or a CSV; every image becomes an unlabelled slide without marks.

    Where no case is stated, it comes from the image's name: the first three fields of a TCGA barcode, in capitals, else
    what `case_of` says. Files and folders whose name begins with a dot are passed over.

    Args:
        source: the folder itself, or the CSV file.
        images: for a CSV, where its images are; for a folder not needed, and no other than `source`.

    Raises:
        FormatError: no image, `images` is another folder, several DICOM files of which it cannot be known whether they
            are one slide, or a CSV row that is not as it must be.
    """
    return _of_folder(source, images) if source.is_dir() else _of_table(source)


def _of_folder(source: Path, images: ImageFolder | None) -> Reading:
    if images is not None and images.folder.resolve() != source.resolve():
        raise FormatError(
            f"is another folder than {source}, whose images are imported",
            where=images.folder,
            remedy="leave out --images; to import a part of a folder, name its images in a CSV with the column image",
        )
    folder = images or ImageFolder(source)
    names = {path: path.relative_to(folder.folder).as_posix() for path in folder.paths}
    if not names:
        raise FormatError("holds no image", where=source, remedy=f"name a folder with files that end with {_endings()}")
    _refuse_dicom_series(folder.paths)
    found = tuple(_image(name, path=path) for path, name in names.items())
    return Reading(images=found)


def _refuse_dicom_series(paths: Sequence[Path]) -> None:
    """One slide in DICOM is a file for each level, and any of them opens it: taken one by one, it would enter often."""
    files = Counter(path.parent for path in paths if path.suffix.lower() == ".dcm")
    for folder, number in files.items():
        if number > 1:
            raise FormatError(
                f"holds {number} DICOM files, which may be one slide or many",
                where=folder,
                remedy="name one file of each slide in a CSV with the column image, and import that with --images",
            )


def _of_table(source: Path) -> Reading:
    if source.suffix.lower() in SLIDE_SUFFIXES:
        raise FormatError("is one image", where=source, remedy="name its folder, or a CSV with the column image")
    rows = read_table(source, required=("image",), optional=("case", "domain", "mpp"), given=True)
    if not rows:
        raise FormatError("holds no row", where=source, remedy=_COLUMNS)
    if {"x", "y"} <= rows[0].values.keys():
        raise FormatError(
            "has marks (x, y), which unlabelled images have not",
            where=source,
            remedy="import it as points, or remove these columns if nobody searched the images",
        )
    if not all(row.values["image"] for row in rows):
        bare = next(row for row in rows if not row.values["image"])
        raise FormatError("names no image", where=bare.where, remedy="give each image one row")
    names = relative_names([row.values["image"] for row in rows], where=source)
    seen: set[str] = set()
    for row, name in zip(rows, names, strict=True):
        if name in seen:
            raise FormatError(f"names the image '{name}' twice", where=row.where, remedy="give each image one row")
        seen.add(name)
    found = tuple(_image(name, row=row) for name, row in zip(names, rows, strict=True))
    return Reading(images=found)


def _image(name: str, *, path: Path | None = None, row: Row | None = None) -> MarkedImage:
    said = {"case": "", "domain": "", "mpp": ""} if row is None else row.values
    return MarkedImage(
        slide_id=slide_name(name),
        file_name=name,
        case_id=said["case"],
        domain=said["domain"] or UNKNOWN_DOMAIN,
        marks=(),
        labelled=False,
        mpp=finite(said["mpp"], "mpp", where=row.where) if row and said["mpp"] else None,
        path=path,
    )


def _endings() -> str:
    return ", ".join(sorted(READ_SUFFIXES))
