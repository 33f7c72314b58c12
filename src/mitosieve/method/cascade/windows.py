"""Windows on a stride grid, and which of them may be called negative. Chooses places; reads no pixel.

All coordinates are px at the network's mpp. A window of side w whose first column is x covers x .. x + w - 1, and its
centre is x + (w - 1) / 2.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree

from mitosieve.sieve.propose.grid import covering_centers, crossings, whole_line


class WindowConfig(BaseModel):
    """How negatives are cut; the defaults are the paper's (Ma et al. 2018, section 3.4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["windows"] = "windows"
    patch_px: int = Field(default=128, ge=8, le=1024, multiple_of=4)
    """Side of a window: what the networks see."""
    inner_px: int = Field(default=64, ge=4, le=1024)
    """Side of the box round a figure that "can contain the whole mitotic cell"."""
    stride_px: int = Field(default=64, ge=1, le=1024)
    """Step of the windows, from the top left corner, without padding and without a last window snapped to the edge."""
    max_ioa: float = Field(default=0.0625, ge=0, le=1)
    """A window with an IoA of this or more to any figure is ignored: neither figure nor background. That is of the
    window as it lies; where negatives are varied too (`augment.negatives`), a shift and a turn may bring a figure
    nearer: in fold A of MITOS-ATYPIA-14 0.2 % of chsnet-small's draws reach the IoA, 0.04 % show a figure's centre."""
    jitter_px: int = Field(default=8, ge=1, le=64)
    """Each negative lies 0 to jitter_px - 1 whole px right of and below its place on the grid, drawn; 1 is the grid.
    Ours: windows that all start at multiples of 64 show the 8 x 8 blocks of a JPEG at one phase, figures at any, and so
    the phase would say "background"."""
    borders: bool = False
    """Whether windows also cover the border, reaching beyond the image. The paper's do not; but border figures are
    padded, so without padded negatives the padding itself would say "figure"."""
    border_strip: bool = False
    """Whether the outermost of them are drawn anywhere in their cell of the grid, by whole px, up to the border. Ours:
    on the grid no negative's centre is nearer to a border than nearly half a stride, figures are, and so a border that
    near would say "figure"."""


def window_centers(size_px: tuple[int, int], *, patch_px: int, stride_px: int) -> NDArray[np.float64]:
    """Centres (N, 2) of all whole windows of an image, row by row from the top left corner.

    An image smaller than a window has none.

    Source: Ma et al. 2018, section 3.4.1 (set S3).
    """
    return crossings(*(whole_line(length, window_px=patch_px, stride_px=stride_px) for length in size_px))


def negative_centers(
    size_px: tuple[int, int], figures: NDArray[np.floating], config: WindowConfig, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Centres (N, 2) of the windows that may be called negative: IoA below `max_ioa` to every figure.

    Args:
        size_px: width, height of the image.
        figures: (M, 2) figure centres in the same frame.
        config: how windows are cut.
        generator: of the jitter, which is drawn for every window, negative or not; a whole window stays whole.

    Source: Ma et al. 2018, section 3.4.1; the jitter is ours.
    """
    if config.borders:
        centers = covering_centers(size_px, stride_px=config.stride_px)
    else:
        centers = window_centers(size_px, patch_px=config.patch_px, stride_px=config.stride_px)
    grid = centers
    centers = grid + generator.integers(config.jitter_px, size=grid.shape)
    if config.borders and config.border_strip:
        centers = _in_cells(grid, centers, size_px, config.stride_px, generator)
    if not config.borders:
        centers = np.minimum(centers, np.array(size_px) - 1 - (config.patch_px - 1) / 2)
    return centers[largest_ioa(centers, figures, config) < config.max_ioa]


def _in_cells(
    grid: NDArray[np.float64],
    centers: NDArray[np.float64],
    size_px: tuple[int, int],
    stride_px: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """The outermost lines of a grid drawn anew in their cells within the image, each axis for itself: as dense there as
    elsewhere, so that how often a border is near says nothing either.
    """
    share = generator.random(grid.shape)
    answer = centers.copy()
    half = stride_px // 2
    for axis, length in enumerate(size_px):
        line = grid[:, axis]
        if len(line) == 0 or line.min() == line.max():
            continue
        first, last = line.min(), line.max()
        low_high = {first: (max(1 - half, int(np.ceil(-first))), half)}
        low_high[last] = (-half, min(half - 1, int(np.floor(length - 1 - last))))
        for at, (low, high) in low_high.items():
            outer = line == at
            answer[outer, axis] = at + low + np.floor(share[outer, axis] * (high + 1 - low))
    return answer


def largest_ioa(
    centers: NDArray[np.floating], figures: NDArray[np.floating], config: WindowConfig
) -> NDArray[np.float64]:
    """For each window the largest IoA to a figure: area(inner box of the figure within the window) / area(window).

    Args:
        centers: (N, 2) window centres.
        figures: (M, 2) figure centres in the same frame.
        config: sides of window and inner box.

    Returns:
        (N,) between 0 and inner^2 / patch^2 (0.25 with the paper's sides); 0 where there is no figure.

    Source: Ma et al. 2018, equation 8.
    """
    answer = np.zeros(len(centers))
    if len(figures) == 0 or len(centers) == 0:
        return answer
    reach = (config.patch_px + config.inner_px) / 2
    near = KDTree(np.asarray(figures, dtype=np.float64)).query_ball_point(centers, reach, p=np.inf)
    for row in np.flatnonzero([len(hits) > 0 for hits in near]):
        offset = np.abs(figures[near[row]] - centers[row])
        side = np.clip(reach - offset, 0, min(config.inner_px, config.patch_px))
        answer[row] = (side[:, 0] * side[:, 1]).max() / config.patch_px**2
    return answer
