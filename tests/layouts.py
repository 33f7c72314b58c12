"""Small true copies of the public formats' layouts, on disk."""

import json
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

CATEGORIES = [{"id": 1, "name": "mitotic figure"}, {"id": 2, "name": "not mitotic figure"}]


def box(x, y, side=50):
    """Corner format, as MIDOG writes it."""
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def midog_json(path: Path, *, images, annotations, info=None) -> Path:
    """`images`: (id, file_name, tumour); `annotations`: (image_id, category, x, y, votes)."""
    content = {
        "info": info or {"description": "MIDOG, built"},
        "images": [
            {"id": i, "file_name": name, "width": 400, "height": 300} | ({"tumor_type": tumour} if tumour else {})
            for i, name, tumour in images
        ],
        "categories": CATEGORIES,
        "annotations": [
            {"id": number, "image_id": i, "category_id": c, "bbox": box(x, y)} | ({"labels": v} if v else {})
            for number, (i, c, x, y, v) in enumerate(annotations, start=1)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def text(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def tiff(path: Path, *, mpp: float | None = 0.25, width: int = 400, height: int = 300) -> Path:
    """A flat RGB TIFF that states its resolution, or does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = np.frombuffer(zlib.crc32(str(path).encode()).to_bytes(4), np.uint8)[:3] % 64 + 160  # no two are equal
    pixels = np.full((height, width, 3), shade, dtype=np.uint8)
    stated = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="rgb", **stated)
    return path


def frame_image(path: Path, *, width: int = 60, height: int = 40) -> Path:
    """A flat RGB image of the kind that its ending says, without a resolution."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), tuple(zlib.crc32(str(path).encode()).to_bytes(4)[:3])).save(path)
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, to show that nothing was changed."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def voc_xml(path: Path, *, objects=(), filename="case1_a.png", size=(400, 300)) -> Path:
    """`objects`: (name, x, y)."""
    marks = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x - 30}</xmin><ymin>{y - 30}</ymin>"
        f"<xmax>{x + 30}</xmax><ymax>{y + 30}</ymax></bndbox></object>"
        for name, x, y in objects
    )
    sized = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return text(path, f"<annotation><filename>{filename}</filename>{sized}{marks}</annotation>")
