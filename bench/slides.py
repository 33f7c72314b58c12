"""Whole slides to measure on, islands of real tissue on glass: `python bench/slides.py --mm2 10,50,200`.

The tissue is a mosaic of frames of MITOS-ATYPIA-14 at their own 0.2273 um/px, frame beside frame: a seam every 0.34 or
0.38 mm, at which cells are cut. The file is an SVS as Aperio writes them: BigTIFF, levels 1, 4 and 16, tiles of 256 px
in JPEG of quality 80, YCbCr 4:2:0 with shared tables, a thumbnail, MPP in the description and in the resolution tags.
Half of the slide is tissue, half is glass, whose tiles a scanner stores too.

The mosaic is a block of 64 x 48 tiles (10.4 mm2) that repeats. A tile that lies wholly in tissue is encoded once and
its bytes are written wherever the block comes round again: readers decode each place anew and each place has bytes of
its own in the file, so that nothing is saved but the time of writing. Tiles at the rim of an island are encoded for
their place. Memory is that of the block (some 0.7 GB), whatever the slide's size.

The frames were JPEG of quality 75 already; the slide serves to measure speed and is not scored.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

MPP = 0.2273
"""um per px of the frames, and of the slide's level 0."""

TILE_PX, QUALITY = 256, 80
LEVELS = (1, 4, 16)
BLOCK_TILES = (64, 48)
"""Rows and columns of the repeated block: multiples of 16, so that the block repeats at every level."""

FRAME_PX = (1485, 1662)
"""Height and width that every frame has at least."""

ISLAND_MM2, TISSUE_SHARE = 12.5, 0.5
"""Largest island, and the share of a slide's area that islands take."""

GLASS = (243, 241, 244)
CELL_PX = 16
"""Side of a cell of the mask of islands, level-0 px."""

VERSION = 1
"""Of what is drawn: another number makes cached slides anew."""

DATA = Path(os.environ.get("MITOSIEVE_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDER = Path(__file__).parents[1] / "cohorts" / "bench"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A slide on disk.

    Attributes:
        path: the SVS.
        tissue_mm2: area of the islands as drawn, holes of the tissue included.
        tissue_share: of the whole slide's area.
        middle_l0: x, y of the middle of the first island, px.
        size_l0: width, height.
    """

    path: Path
    tissue_mm2: float
    tissue_share: float
    middle_l0: tuple[int, int]
    size_l0: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where the islands lie.

    Attributes:
        mask: bool (h, w) of cells of CELL_PX level-0 px.
        middle_cell: x, y of the first island's middle.
    """

    mask: NDArray[np.bool_]
    middle_cell: tuple[int, int]

    @property
    def size_l0(self) -> tuple[int, int]:
        return self.mask.shape[1] * CELL_PX, self.mask.shape[0] * CELL_PX

    @property
    def tissue_mm2(self) -> float:
        return float(self.mask.sum()) * (CELL_PX * MPP / 1000) ** 2

    def window(self, x: int, y: int, side: int) -> NDArray[np.bool_]:
        """Cells (side, side) from cell x, y; glass beyond the slide."""
        answer = np.zeros((side, side), dtype=np.bool_)
        part = self.mask[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
        top, left = max(-y, 0), max(-x, 0)
        answer[top : top + part.shape[0], left : left + part.shape[1]] = part
        return answer


def plan(mm2: float, *, seed: int = 1) -> Plan:
    """Islands of together at least `mm2`, of wobbling outline, on a grid with glass between."""
    count = max(2, math.ceil(mm2 / ISLAND_MM2))
    rows = max(1, round(math.sqrt(count)))
    columns = math.ceil(count / rows)
    radius = math.sqrt(mm2 * 1.002 / (rows * columns) / math.pi) * 1000 / (MPP * CELL_PX)
    pitch = math.ceil(radius * math.sqrt(math.pi / TISSUE_SHARE))
    generator = np.random.default_rng(seed)
    mask = np.zeros((rows * pitch, columns * pitch), dtype=np.bool_)
    y, x = (np.mgrid[:pitch, :pitch] + 0.5 - pitch / 2).astype(np.float32)
    angle, away = np.arctan2(y, x), np.hypot(x, y)
    for row in range(rows):
        for column in range(columns):
            phase = generator.uniform(0, 2 * math.pi, 3)
            outline = 1 + sum(0.06 * np.sin(n * angle + p) for n, p in zip((2, 3, 7), phase, strict=True))
            outline /= math.sqrt(1 + 3 * 0.06**2 / 2)  # the wobble adds no area
            mask[row * pitch : (row + 1) * pitch, column * pitch : (column + 1) * pitch] = away < radius * outline
    return Plan(mask=mask, middle_cell=(pitch // 2, pitch // 2))


class Mosaic:
    """The repeated block of tissue at every level, and its encoded tiles.

    Args:
        frames: image files, laid in this order, over and over.
    """

    def __init__(self, frames: list[Path]) -> None:
        whole = np.empty((BLOCK_TILES[0] * TILE_PX, BLOCK_TILES[1] * TILE_PX, 3), dtype=np.uint8)
        h, w = FRAME_PX
        number = 0
        for top in range(0, whole.shape[0], h):
            for left in range(0, whole.shape[1], w):
                place = whole[top : top + h, left : left + w]
                pixels = imagecodecs.jpeg8_decode(frames[number % len(frames)].read_bytes())
                place[:] = pixels[: place.shape[0], : place.shape[1]]
                number += 1
        quarter = cv2.resize(whole, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)
        small = cv2.resize(quarter, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)
        self._pixels = {1: whole, 4: np.asarray(quarter), 16: np.asarray(small)}
        self._encoded: dict[tuple[int, int, int], bytes] = {}
        noise = np.random.default_rng(0).normal(0, 1.5, (TILE_PX, TILE_PX, 1))
        self._glass = np.clip(np.rint(np.array(GLASS) + noise), 0, 255).astype(np.uint8)

    @cached_property
    def tables(self) -> bytes:
        """The quantization and Huffman tables, the same in every tile."""
        return split_jpeg(_encode(self._glass))[0]

    @cached_property
    def glass(self) -> bytes:
        """A tile without tissue."""
        return split_jpeg(_encode(self._glass))[1]

    def pixels(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        """RGB of the tile at a place of the endless mosaic."""
        block = self._pixels[level]
        y, x = row * TILE_PX % block.shape[0], column * TILE_PX % block.shape[1]
        return block[y : y + TILE_PX, x : x + TILE_PX]

    def tile(self, level: int, column: int, row: int) -> bytes:
        """The tile at a place, encoded once for all places that show the same."""
        block = self._pixels[level]
        key = (level, row * TILE_PX % block.shape[0], column * TILE_PX % block.shape[1])
        if key not in self._encoded:
            self._encoded[key] = split_jpeg(_encode(self.pixels(level, column, row)))[1]
        return self._encoded[key]

    def rim(self, level: int, column: int, row: int, cells: NDArray[np.bool_]) -> bytes:
        """A tile of which part is glass; `cells` has one more on each side than the tile."""
        step = CELL_PX // level
        soft = cv2.resize(cells.astype(np.float32), None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        inside = soft[step : step + TILE_PX, step : step + TILE_PX, None] > 0.5
        return split_jpeg(_encode(np.where(inside, self.pixels(level, column, row), self._glass)))[1]


def tiles(mosaic: Mosaic, where: Plan, level: int) -> Iterator[bytes]:
    """The encoded tiles of a level, row by row."""
    w, h = (side // level for side in where.size_l0)
    cells = TILE_PX * level // CELL_PX
    for row in range(math.ceil(h / TILE_PX)):
        for column in range(math.ceil(w / TILE_PX)):
            window = where.window(column * cells - 1, row * cells - 1, cells + 2)
            if not window.any():
                yield mosaic.glass
            elif window.all():
                yield mosaic.tile(level, column, row)
            else:
                yield mosaic.rim(level, column, row, window)


def split_jpeg(whole: bytes) -> tuple[bytes, bytes]:
    """The tables of a JPEG stream alone, and the stream without them (TIFF's JPEGTables and abbreviated tiles)."""
    tables, rest = bytearray(b"\xff\xd8"), bytearray(b"\xff\xd8")
    at = 2
    while whole[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        if whole[at + 1] in (0xDB, 0xC4):
            tables += whole[at:end]
        elif not 0xE0 <= whole[at + 1] <= 0xEF:
            rest += whole[at:end]
        at = end
    return bytes(tables + b"\xff\xd9"), bytes(rest + whole[at:])


def _encode(rgb: NDArray[np.uint8]) -> bytes:
    return imagecodecs.jpeg8_encode(
        np.ascontiguousarray(rgb), level=QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="420"
    )


def frames_of(case: str) -> list[Path]:
    """The frames of a case, or of all, in name order."""
    found = sorted((DATA / "mitos14" / "frames").glob("*.jpg" if case == "all" else f"{case}_*.jpg"))
    if not found:
        raise SystemExit(f"no frames of {case} in {DATA}: set MITOSIEVE_DATA")
    return found


def write_slide(path: Path, mosaic: Mosaic, where: Plan) -> None:
    """Write the levels tile by tile; the file appears only when whole."""
    w, h = where.size_l0
    said = f"Aperio Image Library v12.0\r\n{w}x{h} [0,0 {w}x{h}] ({TILE_PX}x{TILE_PX}) JPEG/RGB Q={QUALITY}"
    thumbnail = cv2.resize(where.mask.astype(np.uint8) * 90, (1024, max(1, round(1024 * h / w))))
    part = path.with_suffix(".part")
    with tifffile.TiffWriter(part, bigtiff=True) as file:
        for level in LEVELS:
            scale = f" -> {w // level}x{h // level}" if level > 1 else ""
            extra: dict[str, Any] = {"resolutionunit": "CENTIMETER", "metadata": None, "dtype": np.uint8}
            file.write(
                tiles(mosaic, where, level),
                shape=(h // level, w // level, 3),
                tile=(TILE_PX, TILE_PX),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                jpegtables=mosaic.tables,
                resolution=(1e4 / (MPP * level),) * 2,
                description=f"{said}{scale}|AppMag = 40|MPP = {MPP}",
                **extra,
            )
            if level == 1:  # Aperio's second page is a thumbnail in strips
                grey = np.repeat(245 - thumbnail[..., None], 3, axis=2)
                file.write(grey, photometric="rgb", rowsperstrip=16, description=said, metadata=None)
    part.replace(path)


def make(mm2: float, *, case: str = "H04", folder: Path = FOLDER) -> Drawn:
    """The slide with at least `mm2` of tissue: from the folder, or written into it.

    Args:
        mm2: area of the islands.
        case: whose frames; "all" takes all seven cases.
        folder: where slides are kept between runs.
    """
    path = folder / f"mosaic-{mm2:g}mm2-{case}.svs"
    where = plan(mm2)
    x, y = where.middle_cell
    drawn = Drawn(
        path=path,
        tissue_mm2=where.tissue_mm2,
        tissue_share=float(where.mask.mean()),
        middle_l0=(x * CELL_PX, y * CELL_PX),
        size_l0=where.size_l0,
    )
    facts = {"version": VERSION, "mm2": mm2, "case": case, "quality": QUALITY}
    note = path.with_suffix(".json")
    if path.exists() and note.exists() and json.loads(note.read_text()) == facts:
        return drawn
    folder.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    start = time.perf_counter()
    write_slide(path, Mosaic(frames_of(case)), where)
    note.write_text(json.dumps(facts))
    print(f"wrote {path.name} in {time.perf_counter() - start:.0f} s (not counted anywhere)")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mm2", default="10,50,200", help="tissue areas")
    parser.add_argument("--case", default="H04", help="a case, or all")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    for mm2 in map(float, asked.mm2.split(",")):
        drawn = make(mm2, case=asked.case, folder=asked.folder)
        w, h = drawn.size_l0
        print(
            f"{drawn.path}: {w:,} x {h:,} px, {drawn.tissue_mm2:.1f} mm2 of tissue, "
            f"{100 * drawn.tissue_share:.0f} % of the slide, {drawn.path.stat().st_size / 1e6:,.0f} MB"
        )


if __name__ == "__main__":
    main()
