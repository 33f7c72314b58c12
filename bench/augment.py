"""Speed of the aggressive distortion: `python bench/augment.py`. Aim: 2000 patches of 68 px a second on one core.

Every step is on for every patch: displacement, colour, blur or sharpening, noise and JPEG.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mitosieve.patch.augment.colour import recolour_distorted
from mitosieve.patch.augment.distortion import Distortion, DistortionConfig, draw_distortions, reach_px
from mitosieve.patch.augment.warp import warp_patches
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.phantom import PhantomConfig, make_phantom

PATCH_PX, BATCH, REPEATS = 68, 256, 40
ALL = DistortionConfig(p_elastic=1, p_colour=1, p_light=1, p_hed=1, p_sharpness=1, p_noise=1, p_jpeg=1)


def a_reader(folder: Path) -> PatchReader:
    """Places on rendered slides of the phantom, whose frames are memory maps."""
    cohort = make_phantom(folder / "phantom", PhantomConfig(cases=3, slides_per_case=1), np.random.default_rng(0))
    store = FrameStore(folder / "frames", FrameConfig(stain="none"), margin_px=reach_px(ALL, PATCH_PX))
    parts = []
    for entry in cohort.slides:
        store.add(entry.slide_id, partial(cohort.open, entry.slide_id), None)
        places = np.random.default_rng(1).uniform(0, (entry.width_l0, entry.height_l0), (2000, 2))
        parts.append(PatchIndex.of(slide_id=entry.slide_id, center_l0=places, origin=Origin.BACKGROUND, mpp=0.25))
    mpp_l0 = {entry.slide_id: entry.mpp for entry in cohort.slides}
    return PatchReader(PatchIndex.concatenate(parts), store, mpp_l0, patch_px=PATCH_PX)


def microseconds(function: Callable[[], object]) -> tuple[float, float]:
    """Shortest wall time and mean CPU time a patch, after one call that compiles."""
    function()
    wall, busy = [], time.process_time()
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        wall.append(time.perf_counter() - start)
    return 1e6 * min(wall) / BATCH, 1e6 * (time.process_time() - busy) / REPEATS / BATCH


def parts_of(drawn: Distortion) -> dict[str, Distortion]:
    """The distortion with one step of the colour pass left on."""
    none = Distortion.plain(len(drawn))
    steps = {
        "stain, light, cast, contrast": (
            "channel_gain channel_offset hue saturation brightness contrast gamma hed_gain hed_shift"
        ),
        "blur or sharpening": "sharpness sharpness_sigma_px",
        "noise": "noise noise_seed",
        "JPEG": "jpeg",
    }
    return {
        step: replace(none, **{name: getattr(drawn, name) for name in names.split()}) for step, names in steps.items()
    }


def main() -> None:
    cv2.setNumThreads(1)
    generator = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        reader = a_reader(Path(folder))
        rows = generator.integers(0, len(reader.index), BATCH)
        drawn = draw_distortions(BATCH, ALL, generator)
        whole = microseconds(lambda: reader.read(rows, draw_distortions(BATCH, ALL, generator)))
        print(f"distorted patches  {1e6 / whole[0]:6.0f} /s best, {1e6 / whole[1]:6.0f} per CPU second")
        usual = microseconds(lambda: reader.read(rows, draw_distortions(BATCH, DistortionConfig(), generator)))
        print(f"as by default      {1e6 / usual[0]:6.0f} /s best, {1e6 / usual[1]:6.0f} per CPU second")
        frame, centers = reader.store.frame(str(reader.index.slide_id[0])), reader.center_px[:BATCH]
        bent = warp_patches(frame, centers, drawn, patch_px=PATCH_PX)
        straight = replace(drawn, elastic_px=np.zeros_like(drawn.elastic_px))
        table = {
            "drawing": microseconds(lambda: draw_distortions(BATCH, ALL, generator)),
            "warp, displaced": microseconds(lambda: warp_patches(frame, centers, drawn, patch_px=PATCH_PX)),
            "warp, not displaced": microseconds(lambda: warp_patches(frame, centers, straight, patch_px=PATCH_PX)),
            "colour pass": microseconds(lambda: recolour_distorted(bent, drawn)),
        }
        for step, alone in parts_of(drawn).items():
            table[f"  only {step}"] = microseconds(partial(recolour_distorted, bent, alone))
    for name, (wall, _) in table.items():
        print(f"{name:36s} {wall:6.1f} us a patch, best")


if __name__ == "__main__":
    main()
