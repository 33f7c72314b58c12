"""What is fuzzed: whole files of each kind, and what the project does with them. A kind is made anew in a folder."""

import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from build_files import a_picture, with_pillow
from build_slides import a_dicom_slide
from build_tiffs import TILES, a_grid, an_ome_tiff, an_svs

from mitosieve.geometry import Region
from mitosieve.slide.slide import facts, open_slide

PICTURE = a_picture(300, 220)
SCENES = [("s", PICTURE, 0.25), ("label", a_grid(90, 40), 8)]


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        make: writes whole files into a folder and gives those that are mutated, one at a time.
        read: what is done with the folder's file; only the project's own errors may leave it.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], object]


def read_slide(path: Path) -> None:
    """Facts, all levels at a few places, the overview: what detection asks of a slide."""
    facts(path)
    with open_slide(path, mpp=0.25) as slide:
        w, h = slide.size_l0
        for x, y in ((0, 0), (max(0, w - 100), max(0, h - 100)), (w // 2, h // 2)):
            part = Region(x=x, y=y, w=100, h=100).clip(slide.bounds)
            slide.read_l0(part)
            slide.read(part, 0.5)
        for level, (w, h) in enumerate(slide.levels):
            slide.read_level(level, Region(x=0, y=0, w=min(w, 300), h=min(h, 300)))
        slide.thumbnail(8.0)


def read_dicom(path: Path) -> None:
    read_slide(path.parent)
    read_slide(path)


def read_mha(path: Path) -> None:
    from mitosieve.scan.container import _readable

    with _readable(path) as tiff:
        read_slide(tiff)


def a_tiff(path: Path, **how) -> list[Path]:
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate((PICTURE, PICTURE[::2, ::2])):
            file.write(level, subfiletype=number, resolution=(40_000, 40_000), resolutionunit=3, **{**TILES, **how})
    return [path]


def a_strip_tiff(path: Path) -> list[Path]:
    tifffile.imwrite(path, PICTURE, photometric="rgb", rowsperstrip=50, compression="lzw")
    return [path]


def an_mha(path: Path, *, packed: bool) -> list[Path]:
    data = np.ascontiguousarray(PICTURE).tobytes()
    data = zlib.compress(data) if packed else data
    head = (
        f"ObjectType = Image\nNDims = 2\nBinaryData = True\nCompressedData = {packed}\nTransformMatrix = 1 0 0 1\n"
        f"Offset = 0 0\nElementSpacing = 0.00025 0.00025\nDimSize = {PICTURE.shape[1]} {PICTURE.shape[0]}\n"
        "ElementNumberOfChannels = 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(head.encode() + data)
    return [path]


def a_picture_file(path: Path, kind: str, **how) -> list[Path]:
    path.write_bytes(with_pillow(PICTURE, kind, **how))
    return [path]


def a_detector(folder: Path) -> list[Path]:
    from mitosieve.models.box import detector_folder

    shutil.copytree(detector_folder("swift"), folder / "detector")
    return [
        path for path in sorted((folder / "detector").rglob("*")) if path.suffix in (".toml", ".json", ".safetensors")
    ]


def read_detector(path: Path) -> None:
    from mitosieve.sieve.detector import Detector

    folder = path
    while folder.name != "detector":
        folder = folder.parent
    Detector.load(folder)


def a_result(folder: Path) -> list[Path]:
    """A job of detection, with a slide half done."""
    from mitosieve.scan.part import write_band
    from mitosieve.sieve.cascade import Scored
    from tiny import ONE_CORE, mitosieve

    for number in (0, 1):
        cv2.imwrite(str(folder / f"s{number}.png"), a_picture(256, 256, seed=number))
    words = ("detect", folder / "s0.png", folder / "s1.png", "--mpp", 0.25, "--threshold", 0, "--out", folder / "out")
    assert mitosieve(*words, *ONE_CORE).code == 0
    band = Scored(center_px=np.zeros((3, 2)), score=np.ones((3, 2)), counts=np.arange(64))
    write_band(folder / "out" / "parts" / "s9.csv", 0, band)
    return [
        path
        for path in sorted((folder / "out").rglob("*"))
        if path.suffix in (".json", ".csv", ".npz", ".png") and path.is_file()
    ]


def read_result(path: Path) -> None:
    """All that a later command reads of a job, without the networks."""
    from mitosieve.count.summary import read_summary, read_timing
    from mitosieve.export.table import read_detections
    from mitosieve.report.scanned import read_scan, view_scan
    from mitosieve.run.folder import RunFolder
    from mitosieve.scan.part import read_bands, read_part
    from mitosieve.scan.tables import failed_slides, read_request

    out = path
    while out.name != "out":
        out = out.parent
    RunFolder(out).read_mark()
    request = read_request(out)
    read_detections(out / "detections.csv")
    read_summary(out)
    read_timing(out)
    failed_slides(out)
    for part in sorted((out / "parts").glob("*.csv")):
        read_part(part)
    read_bands(out / "parts" / "s9.csv", 1)
    scan = read_scan(out, request)
    if scan is not None:
        view_scan(scan, 10)


def a_roi(folder: Path) -> list[Path]:
    ring = [[0, 0], [100, 0], [100, 50.5], [0, 50.5], [0, 0]]
    polygon = {"type": "Polygon", "coordinates": [ring, [[10, 10], [20, 10], [20, 20], [10, 10]]]}
    more = {"type": "GeometryCollection", "geometries": [{"type": "MultiPolygon", "coordinates": [[ring]]}]}
    features = [{"type": "Feature", "geometry": item, "properties": {"name": "roi"}} for item in (polygon, more)]
    path = folder / "roi.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=1))
    return [path]


def read_area(path: Path) -> None:
    from mitosieve.export.roi import read_roi

    read_roi(path, repair=True)


TARGETS = {
    "svs": Target(lambda f: [an_svs(f / "a.svs", PICTURE, macro=a_grid(90, 40), compression="jpeg")], read_slide),
    "tiff": Target(lambda f: a_tiff(f / "a.tif"), read_slide),
    "tiff jpeg": Target(lambda f: a_tiff(f / "a.tif", compression="jpeg"), read_slide),
    "tiff strips": Target(lambda f: a_strip_tiff(f / "a.tif"), read_slide),
    "tiff plain": Target(lambda f: a_tiff(f / "a.tif", compression=None), read_slide),
    "ome-tiff": Target(lambda f: [an_ome_tiff(f / "a.ome.tif", SCENES, levels=2)], read_slide),
    "dicom": Target(lambda f: sorted(a_dicom_slide(f / "d", PICTURE).iterdir()), read_dicom),
    "dicom jpeg": Target(lambda f: sorted(a_dicom_slide(f / "d", PICTURE, jpeg=True).iterdir()), read_dicom),
    "png": Target(lambda f: a_picture_file(f / "a.png", "PNG"), read_slide),
    "png palette": Target(lambda f: a_picture_file(f / "a.png", "PNG", mode="P"), read_slide),
    "jpeg": Target(lambda f: a_picture_file(f / "a.jpg", "JPEG", quality=90), read_slide),
    "jpeg progressive": Target(lambda f: a_picture_file(f / "a.jpg", "JPEG", progressive=True), read_slide),
    "bmp": Target(lambda f: a_picture_file(f / "a.bmp", "BMP"), read_slide),
    "mha": Target(lambda f: an_mha(f / "a.mha", packed=False), read_mha),
    "mha packed": Target(lambda f: an_mha(f / "a.mha", packed=True), read_mha),
    "detector": Target(a_detector, read_detector),
    "result": Target(a_result, read_result),
    "roi": Target(a_roi, read_area),
}


def places_of(path: Path, content: bytes) -> list[int]:
    """Where a TIFF says what it is made of: the entries of its pages' tables."""
    return list(_tags(path)) if content[:2] in (b"II", b"MM") else []


def _tags(path: Path) -> Iterator[int]:
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            for part in (page.aspage(), *(page.aspage().pages or ())):
                yield from (tag.offset for tag in part.aspage().tags.values())
