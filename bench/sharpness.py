"""How sharp a turned patch is beside the raw one of its place: `python bench/sharpness.py FRAMES_OF_MITOS14 0.2273`.

For each kernel of `patch.resampling` and each resolution that `swift` sees: median ratio of Laplacian variances, how
often the turned patch is the sharper one of two places (0.5 says nothing), and the time that patches take. Images of a
folder, every tenth, in their own colours.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mitosieve.patch.augment.variant import AugmentConfig, Variant
from mitosieve.patch.cutting import margin_for
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.patch.resampling import Interpolation
from mitosieve.slide.slide import open_slide

PLACES = 100
"""Drawn on each image."""


def a_reader(images: list[Path], mpp_l0: float, mpp: float, patch_px: int, folder: Path) -> PatchReader:
    """Random places of the images, away from their edges."""
    store = FrameStore(folder, FrameConfig(mpp=mpp, stain="none"), margin_px=margin_for(patch_px, 8))
    generator, parts = np.random.default_rng(0), []
    for path in images:
        with open_slide(path, mpp=mpp_l0) as slide:
            places = generator.uniform((100, 100), np.array(slide.size_l0) - 100, (PLACES, 2))
        store.add(path.stem, partial(open_slide, path, mpp=mpp_l0), None)
        parts.append(PatchIndex.of(slide_id=path.stem, center_l0=places, origin=Origin.BACKGROUND, mpp=mpp))
    return PatchReader(PatchIndex.concatenate(parts), store, {p.stem: mpp_l0 for p in images}, patch_px=patch_px)


def sharpness(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = [cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32) for patch in patches]
    return np.array([float(cv2.Laplacian(image, cv2.CV_32F)[1:-1, 1:-1].var()) for image in grey])


def sharper(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How often a value of one exceeds one of the other."""
    rank = rankdata(np.concatenate([one, other]))[: len(one)].sum()
    return float((rank - len(one) * (len(one) + 1) / 2) / (len(one) * len(other)))


def main() -> None:
    parser = argparse.ArgumentParser(description="sharpness of turned patches beside raw ones")
    parser.add_argument("folder", type=Path)
    parser.add_argument("mpp", type=float)
    options = parser.parse_args()
    images = sorted(path for path in options.folder.iterdir() if path.suffix in (".jpg", ".png", ".tiff"))[::10]
    cv2.setNumThreads(1)
    for mpp, patch_px in ((0.25, 64), (0.5, 32)):
        with tempfile.TemporaryDirectory() as folder:
            reader = a_reader(images, options.mpp, mpp, patch_px, Path(folder))
            rows = np.arange(len(reader.index))
            drawn = AugmentConfig(translate_px=4).draw(len(rows), np.random.default_rng(1))
            raw = sharpness(reader.read(rows, Variant.plain(len(rows))))
            print(f"{mpp:g} um/px, {patch_px} px, {len(rows)} places: raw {np.median(raw):.0f}")
            for kernel in get_args(Interpolation):
                start = time.perf_counter()
                turned = reader.read(rows, drawn, kernel)
                seconds = time.perf_counter() - start
                values = sharpness(turned)
                print(
                    f"  {kernel:8s} {np.median(values):6.0f}  ratio {np.median(values / raw):.2f}"
                    f"  sharper than raw {sharper(values, raw):.3f}  {1000 * seconds / len(rows):.3f} s per 1000"
                )


if __name__ == "__main__":
    main()
