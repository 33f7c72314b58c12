"""The container contract of grand-challenge.org, as the MIDOG challenges use it: one region in, one JSON file out.

In: `images/histopathology-roi-cropout/` with one image, and since 2025 `inputs.json`, which names the socket. Out:
`mitotic-figures.json` in mm. No network, nothing written elsewhere than the output folder and the system's temporary
folder. Knows nothing of recipes, cohorts or scores.
Source: the reference algorithm of MIDOG 2025 (paths, socket, kinds of image).
"""

import json
import logging
import math
import tempfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile

from mitosieve.errors import FormatError, InputError
from mitosieve.export import SlideContext, write_points
from mitosieve.network.compute import Compute
from mitosieve.run.progress import Progress
from mitosieve.run.storage import storage_error
from mitosieve.sieve.cascade import sieve_slide
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.resolution import check_resolution, resolution_warning
from mitosieve.slide.slide import open_slide

INPUT, OUTPUT, MODEL = Path("/input"), Path("/output"), Path("/opt/ml/model")
"""Where the platform mounts the case, the result, and the model that was uploaded beside the container."""

SOCKET = "histopathology-region-of-interest-cropout"
IMAGES = "images/histopathology-roi-cropout"
"""The one input socket that is known, and the folder of its image below the input."""

RESULT = "mitotic-figures.json"
MAX_MHA_PX = 2**29
"""Largest MetaImage that is unpacked, px; a challenge's region has some 5e7."""

_SUFFIXES = (".tif", ".tiff", ".mha")
_MAX_HEADER = 65_536
_MHA_REMEDY = "write it as a TIFF with a resolution tag, or as an 8-bit RGB MetaImage with its data inside"
_log = logging.getLogger(__name__)


def run_container(
    named: str | Path = MODEL,
    input_folder: Path = INPUT,
    output_folder: Path = OUTPUT,
    *,
    mpp: float | None = None,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> Path:
    """Detect on the one image of a case and write its figures for the platform.

    Args:
        named: a detector or a run; as text also a name of the package's.
        input_folder: the case, only read.
        output_folder: gets `mitotic-figures.json`, in the layout of 2022 to 2025.
        mpp: um per px; by default what the image states (TIFF resolution tag, MetaImage spacing). mm are those of this
            resolution.
        compute: machine; None chooses.
        progress: told after every tile.

    Returns:
        The file written.

    Raises:
        InputError: no image, several, or a socket that is not known.
        ResolutionError: neither the image nor `mpp` states a resolution.
        DetectorError: no detector, or an altered one.
        SlideError: the image cannot be read.
        StorageError: the output cannot be written.
    """
    image = find_image(input_folder)
    detector = Detector.load(named)
    with _readable(image) as path, open_slide(path, mpp=mpp, slide_id=image.stem) as slide:
        _log.info("%s: %d x %d px at %g um per px", image.name, *slide.size_l0, slide.mpp)
        compute = Compute.choose() if compute is None else compute
        check_resolution(slide, detector, stated=mpp is not None)
        for note in (*slide.notes, resolution_warning(slide, detector)):
            if note:
                _log.warning("%s: %s", image.name, note)
        if compute.scores_in != "float32":
            _log.warning("scored in %s: scores of float32, by which thresholds were chosen, differ", compute.scores_in)
        sieved = sieve_slide(detector, slide, compute=compute, progress=progress)
        if detector.reference is not None:
            for note in detector.reference.compare(sieved.survey.traits, sieved.counts).warnings:
                _log.warning("%s: %s", image.name, note)
        return write_points(output_folder / RESULT, sieved.found, SlideContext.of(slide))


def find_image(input_folder: Path) -> Path:
    """The image of a case: where `inputs.json` says, or where the platform puts it without one.

    Raises:
        InputError: no image, several, a socket that is not known, or an `inputs.json` that cannot be understood.
    """
    if not input_folder.is_dir():
        raise InputError("there is no such input folder", where=input_folder, remedy="mount the case there, or --input")
    listing = input_folder / "inputs.json"
    folder = input_folder / (_socket_path(listing) if listing.exists() else IMAGES)
    images = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not images:
        raise InputError(
            f"holds no image ({', '.join(_SUFFIXES)})", where=folder, remedy="put the region's image there"
        )
    if len(images) > 1:
        raise InputError(
            f"holds {len(images)} images: {images[0].name}, {images[1].name}, ...; a case is one",
            where=folder,
            remedy="give each case its own folder; for many slides use: mitosieve detect",
        )
    return images[0]


def _socket_path(listing: Path) -> str:
    """Folder of the image below the input, as `inputs.json` states it."""
    try:
        content = json.loads(listing.read_text(encoding="utf-8-sig"))
        sockets = [cast("dict[str, Any]", item["interface"]) for item in content]
        slugs = [str(socket["slug"]) for socket in sockets]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"is not a list of inputs ({error!r})", where=listing, remedy='expected [{"interface": {"slug": ...}}]'
        ) from error
    if slugs != [SOCKET]:
        raise InputError(
            f"names the sockets {', '.join(slugs) or '(none)'}",
            where=listing,
            remedy=f"the one that is known: {SOCKET}",
        )
    path = str(sockets[0].get("relative_path") or IMAGES)
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise InputError(f"points outside the input folder: {path}", where=listing, remedy=f"expected {IMAGES}")
    return path


@contextmanager
def _readable(image: Path) -> Generator[Path]:
    """The image as a file that slides are read from; a MetaImage becomes a TIFF in the temporary folder."""
    if image.suffix.lower() != ".mha":
        yield image
        return
    with tempfile.TemporaryDirectory(prefix="mitosieve-") as folder:
        yield _tiff_of_mha(image, Path(folder) / "image.tif")


def _tiff_of_mha(image: Path, tiff: Path) -> Path:
    """An 8-bit RGB MetaImage as an uncompressed TIFF of the same resolution.

    Raises:
        FormatError: another kind of MetaImage, or one that is cut off, turned, or not at the origin.
        StorageError: the temporary folder is full.
    """
    try:
        content = image.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", where=image, remedy=_MHA_REMEDY) from error
    header, start = _mha_header(content[:_MAX_HEADER], image)
    width, height = _mha_size(header, image)
    spacing = _numbers(header, "ElementSpacing" if "ElementSpacing" in header else "ElementSize", image)[:2]
    data, wanted = memoryview(content)[start:], width * height * 3
    if header.get("CompressedData", "False").lower() == "true":
        try:
            data = zlib.decompressobj().decompress(data, wanted + 1)
        except zlib.error as error:
            raise FormatError(f"cannot be unpacked ({error})", where=image, remedy=_MHA_REMEDY) from error
    if len(data) != wanted:
        raise FormatError(f"holds {len(data):,} bytes where {wanted:,} belong", where=image, remedy="copy it again")
    stated: dict[str, Any] = {}
    if len(spacing) == 2 and min(spacing) > 0:  # mm per px; TIFF wants px per cm
        stated = {"resolution": (10 / spacing[0], 10 / spacing[1]), "resolutionunit": "CENTIMETER"}
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)
    try:
        tifffile.imwrite(tiff, pixels, photometric="rgb", rowsperstrip=256, **stated)
    except OSError as error:
        raise storage_error(error, tiff) from error
    return tiff


def _mha_header(head: bytes, image: Path) -> tuple[dict[str, str], int]:
    """Keys and values before the data, and where the data begins."""
    header: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in header:
        end = head.find(b"\n", start)
        if end < 0:
            raise FormatError("is not a MetaImage", where=image, remedy=_MHA_REMEDY)
        key, sign, value = head[start:end].decode("latin-1").partition("=")
        if not sign:
            raise FormatError("is not a MetaImage", where=image, remedy=_MHA_REMEDY)
        header[key.strip()] = value.strip()
        start = end + 1
    return header, start


def _mha_size(header: dict[str, str], image: Path) -> tuple[int, int]:
    """Width and height, after all that would put pixels or points elsewhere was refused."""
    expected = {"ElementType": "MET_UCHAR", "ElementNumberOfChannels": "3", "ElementDataFile": "LOCAL"}
    wrong = [f"{key} is {header.get(key)}" for key, value in expected.items() if header.get(key) != value]
    size = [int(number) for number in _numbers(header, "DimSize", image)]
    if len(size) not in (2, 3) or size[2:] not in ([], [1]) or min(size) < 1 or size[0] * size[1] > MAX_MHA_PX:
        wrong.append(f"DimSize is {header.get('DimSize')}")
    for key in ("TransformMatrix", "Orientation", "Rotation"):
        turned = _numbers(header, key, image)
        if turned and turned != np.eye(len(size)).ravel().tolist():
            wrong.append(f"it is turned ({key})")
    wrong += [
        f"{key} is {header[key]}" for key in ("Offset", "Position", "Origin") if any(_numbers(header, key, image))
    ]
    if wrong:
        raise FormatError("is a MetaImage that is not read: " + "; ".join(wrong), where=image, remedy=_MHA_REMEDY)
    return size[0], size[1]


def _numbers(header: dict[str, str], key: str, image: Path) -> list[float]:
    """The numbers of a key; none where it is absent."""
    try:
        numbers = [float(text) for text in header.get(key, "").split()]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) for number in numbers):
        raise FormatError(f"{key} is '{header[key]}'", where=image, remedy=_MHA_REMEDY)
    return numbers
