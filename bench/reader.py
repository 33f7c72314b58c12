"""Speed of reading: `python bench/reader.py`. Aim: 3000 augmented 64-px two-view patches a second on one core."""

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from mitosieve.patch.augment.variant import AugmentConfig, draw_variants
from mitosieve.patch.cutting import margin_for, two_views
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.slide.plain import PlainSlide

SLIDES, SIDE_PX, PATCH_PX, BATCH, BATCHES = 4, 2000, 128, 192, 12
"""Patches of 128 px give two views of 64 px."""


def a_reader(folder: Path) -> PatchReader:
    """Places on synthetic slides, whose frames are memory maps."""
    generator = np.random.default_rng(0)
    store = FrameStore(folder, FrameConfig(stain="none"), margin_px=margin_for(PATCH_PX, 16))
    parts = []
    for number in range(SLIDES):
        pixels = generator.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        name = f"s{number}"
        slide = PlainSlide(slide_id=name, path=folder / name, mpp=0.25, pixels=pixels)
        store.add(name, lambda slide=slide: slide, None)
        places = generator.uniform(0, SIDE_PX, (2000, 2))
        parts.append(PatchIndex.of(slide_id=name, center_l0=places, origin=Origin.BACKGROUND, mpp=0.25))
    mpp_l0 = {f"s{number}": 0.25 for number in range(SLIDES)}
    return PatchReader(PatchIndex.concatenate(parts), store, mpp_l0, patch_px=PATCH_PX)


def main() -> None:
    cv2.setNumThreads(1)
    config = AugmentConfig(flip=True, stain=0.15, brightness=0.05)
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        reader = a_reader(Path(folder))
        wall, cpu = [], []
        for _ in range(BATCHES):
            rows, variant = generator.integers(0, len(reader.index), BATCH), draw_variants(BATCH, config, generator)
            start, busy = time.perf_counter(), time.process_time()
            two_views(reader.read(rows, variant))
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - busy)
    print(f"two-view patches  {BATCH / min(wall):7.0f} /s best, {BATCH * BATCHES / sum(cpu):7.0f} per CPU second")


if __name__ == "__main__":
    main()
