"""Small random scenes for the scoring laws: few px, whole numbers, so that equal distances and equal scores abound."""

from pathlib import Path

import numpy as np

from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.detection import Detections
from mitosieve.score.counted import Places

MPP = np.array([0.25, 0.5, 0.2273])
OBLONG = np.array([[0.25, 0.5], [0.5, 0.25], [0.2273, 0.2]])
"""Of as many slides in x and y."""


def places(slide, center):
    return Places(
        slide=np.asarray(slide, dtype=np.intp).reshape(-1),
        center_l0=np.asarray(center, dtype=np.float64).reshape(-1, 2),
    )


def a_scene(seed, *, num_slides=3, most=25, extent=90):
    """Figures, detections and scores on a few small slides of different mpp."""
    generator = np.random.default_rng(seed)

    def some():
        n = int(generator.integers(0, most))
        return places(np.sort(generator.integers(0, num_slides, n)), generator.integers(0, extent, (n, 2)))

    figures, detections = some(), some()
    return figures, detections, generator.integers(0, 6, len(detections)) / 5


def greedy_by_hand(figures, detections, mpp, radius_um, is_used=None):
    """The official rule as two loops: for each figure the detection it takes, or -1."""
    free = set(range(len(detections))) if is_used is None else set(np.flatnonzero(is_used).tolist())
    taken = []
    for slide, center in zip(figures.slide, figures.center_l0, strict=True):
        near = []
        for row in free:
            um = float(np.hypot(*((detections.center_l0[row] - center) * mpp[slide])))
            if detections.slide[row] == slide and um <= radius_um * (1 + 1e-9):
                near.append((round(um, 9), row))
        taken.append(min(near)[1] if near else -1)
        free.discard(taken[-1])
    return taken


def a_bare_cohort(num_slides, figures, imposters=(), *, cases=None, labelled=None, roi=None, mpp=0.25):
    """A cohort without images: marks are (slide number, x, y); slides are 4000 x 4000 px = 1 mm2 at 0.25 um/px."""
    entries = tuple(
        SlideEntry(
            slide_id=f"s{k}",
            path="",
            case_id=f"c{k}" if cases is None else cases[k],
            domain=f"d{k % 2}",
            mpp=mpp,
            labelled=True if labelled is None else labelled[k],
            width_l0=4000,
            height_l0=4000,
            roi_wkt="" if roi is None else roi[k],
        )
        for k in range(num_slides)
    )
    marks = [(*mark, Label.MITOTIC_FIGURE) for mark in figures] + [(*mark, Label.IMPOSTER) for mark in imposters]
    return Cohort(
        Path("cohort"),
        entries,
        Annotations.of(
            slide_id=[f"s{m[0]}" for m in marks], center_l0=[m[1:3] for m in marks], label=[m[3] for m in marks]
        ),
    )


def found(rows, *, threshold=0.5):
    """Detections from (slide number, x, y, score)."""
    return Detections.of(
        slide_id=[f"s{row[0]}" for row in rows],
        center_l0=[row[1:3] for row in rows],
        score=[row[3] for row in rows],
        threshold=threshold,
    )
