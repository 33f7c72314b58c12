"""FROC: recall against false alarms per image, as MIDOG 2025 sums it up. Knows nothing of slides or files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.score.metrics import number
from mitosieve.score.sweep import Sweep

NUM_THRESHOLDS = 40
NUM_POINTS = 50
MOST_FP_PER_IMAGE = 8.0


@dataclass(frozen=True, kw_only=True)
class Froc:
    """A curve on a fixed grid.

    Attributes:
        fp_per_image: (50,) float64, 0..8.
        recall: (50,) float64; NaN without figures.
        area: by trapezoids, at most 8, not normalised; NaN without figures.
    """

    fp_per_image: NDArray[np.float64]
    recall: NDArray[np.float64]
    area: float

    def to_json(self) -> dict[str, object]:
        return {
            "fp_per_image": [float(value) for value in self.fp_per_image],
            "recall": [number(value) for value in self.recall],
            "area": number(self.area),
            "max_area": MOST_FP_PER_IMAGE,
        }


def froc(curve: Sweep, *, num_images: int) -> Froc:
    """Recall at 0..8 false alarms per image.

    The curve is measured at 40 thresholds, evenly from the lowest to the highest score that occurs, and read off at 50
    points by straight lines. A threshold above all scores (no false alarm, nothing found) is its first point; of
    several thresholds with equally many false alarms the best recall holds; beyond the last point recall stays.

    Args:
        curve: pooled over all images.
        num_images: slides scored, with and without figures or detections.

    Source:
        the MIDOG 2025 challenge, track 1: 40 linear thresholds, 50 points on [0, 8], trapezoids.
        The thresholds' range and the first point are our reading: the sources at hand do not state them.
    """
    grid = np.linspace(0.0, MOST_FP_PER_IMAGE, NUM_POINTS)
    if not curve.num_figures:
        return Froc(fp_per_image=grid, recall=np.full(NUM_POINTS, np.nan), area=float("nan"))
    tp, fp = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if len(curve.threshold):
        tp, fp = curve.at(thresholds_of(curve.threshold))
    on_grid = recall_on_grid(tp, fp, num_figures=curve.num_figures, num_images=num_images)
    return Froc(fp_per_image=grid, recall=on_grid, area=area_under(on_grid))


def thresholds_of(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 40 thresholds, from the lowest to the highest of some scores."""
    return np.linspace(score.min(), score.max(), NUM_THRESHOLDS)


def recall_on_grid(
    tp: NDArray[np.int64], fp: NDArray[np.int64], *, num_figures: int, num_images: int
) -> NDArray[np.float64]:
    """(50,) recall at 0..8 false alarms per image, from the counts at each threshold, (T,), in any order."""
    false_alarms, first = np.unique(np.append(fp, 0), return_inverse=True)
    recall = np.zeros(len(false_alarms))
    np.maximum.at(recall, first, np.append(tp, 0) / num_figures)
    return np.interp(np.linspace(0.0, MOST_FP_PER_IMAGE, NUM_POINTS), false_alarms / num_images, recall)


def area_under(recall: NDArray[np.float64]) -> float:
    """By trapezoids over the grid of false alarms, at most 8."""
    grid = np.linspace(0.0, MOST_FP_PER_IMAGE, NUM_POINTS)
    return float(np.sum(np.diff(grid) * (recall[1:] + recall[:-1]) / 2))
