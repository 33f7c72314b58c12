"""Small true objects with sane defaults, for tests: real images on disk, real cohorts."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry


def an_image(
    path: Path, *, width: int = 400, height: int = 300, seed: int = 0, dots: Sequence[tuple[float, float]] = ()
):
    """A pink noisy PNG with dark blue discs of 10 px radius at `dots` (x, y); returns its pixels."""
    generator = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), (225, 180, 205), dtype=np.float64)
    pixels += generator.normal(0, 6, pixels.shape)
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    for x, y in dots:
        cv2.circle(pixels, (round(x), round(y)), 10, (70, 40, 110), -1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def a_cohort(
    folder: Path, *, cases: int = 3, slides_per_case: int = 1, figures: int = 2, mpp: float = 0.25, seed: int = 0
):
    """A saved cohort of real PNGs: dark dots are figures, one mark per dot; one imposter per slide."""
    generator = np.random.default_rng(seed)
    entries, marks = [], []
    for case in range(cases):
        for number in range(slides_per_case):
            slide_id = f"c{case}_s{number}"
            dots = [(float(x), float(y)) for x, y in generator.uniform(40, 260, size=(figures + 1, 2))]
            an_image(folder / "images" / f"{slide_id}.png", seed=seed + case * 100 + number, dots=dots)
            entries.append(
                SlideEntry(
                    slide_id=slide_id,
                    path=f"images/{slide_id}.png",
                    case_id=f"c{case}",
                    domain=f"d{case % 2}",
                    mpp=mpp,
                    width_l0=400,
                    height_l0=300,
                )
            )
            marks += [(slide_id, dot, Label.MITOTIC_FIGURE) for dot in dots[:-1]]
            marks.append((slide_id, dots[-1], Label.IMPOSTER))
    annotations = Annotations.of(
        slide_id=[m[0] for m in marks], center_l0=[m[1] for m in marks], label=[m[2] for m in marks], source="built"
    )
    cohort = Cohort(folder, tuple(entries), annotations)
    cohort.save()
    return cohort
