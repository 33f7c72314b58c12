"""Cost of reading a slide beside decoding its tiles: `python bench/decoding.py SLIDE.svs` (a tiled TIFF), one core.

Prints milliseconds per 10 Mpx of level 0: the codec alone, `read_l0`, `read` at 0.5 um/px, resampling alone; and
seconds for the slide's tissue. Aims: reading costs hardly more than the codec, resampling at most 25 ms.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from mitosieve.geometry import Region, lattice
from mitosieve.slide.rendering import Axis, render, source_of
from mitosieve.slide.slide import open_slide
from mitosieve.slide.tiff import TiffSlide
from mitosieve.slide.tissue import Tissue, tissue_mask

SIDE_PX, TURNS, READ_MPP = 4096, 5, 0.5


def best_ms(work: Callable[[], object], mpx: float) -> float:
    """Milliseconds per 10 Mpx, the best of some turns."""
    times = []
    for _ in range(TURNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3 * 10 / mpx


def main() -> None:
    cv2.setNumThreads(1)
    path = Path(sys.argv[1])
    with open_slide(path, cache_bytes=0) as slide:
        assert isinstance(slide, TiffSlide), "a tiled TIFF, please"
        wide, tall = slide.piece_px(0)
        x, y = (int(side * 0.4) // 256 * 256 for side in slide.size_l0)
        region = Region(x=x, y=y, w=SIDE_PX, h=SIDE_PX).clip(slide.bounds)
        page, mpx = slide._pages[0], region.area_px2 / 1e6
        tiles = [
            row * page.across + column
            for row in range(region.y // tall, (region.y + region.h - 1) // tall + 1)
            for column in range(region.x // wide, (region.x + region.w - 1) // wide + 1)
        ]
        axes = [Axis(scale=READ_MPP / mpp, size=size) for mpp, size in zip(slide.mpp_xy, slide.size_l0, strict=True)]
        block = lattice(region, mpp_l0=slide.mpp_xy, mpp=READ_MPP)
        source = source_of(block, *axes)
        pixels = slide.read_l0(source)
        print(f"codec alone   {best_ms(lambda: [page.piece(tile) for tile in tiles], mpx):6.1f} ms per 10 Mpx")
        print(f"read level 0  {best_ms(lambda: slide.read_l0(region), mpx):6.1f}")
        print(f"read {READ_MPP} um/px {best_ms(lambda: slide.read(region, READ_MPP), mpx):6.1f}")
        print(f"resampling    {best_ms(lambda: render(pixels, source, block, *axes), source.area_px2 / 1e6):6.1f}")
        start = time.perf_counter()
        area = Tissue(mask=tissue_mask(slide.thumbnail(8.0)), mpp=8.0).area_mm2
        print(f"tissue        {time.perf_counter() - start:6.2f} s for {area:.1f} mm2")


if __name__ == "__main__":
    main()
