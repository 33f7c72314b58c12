"""Proposes every cell of a stride grid: the sliding window of CHS-NET."""

from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mitosieve.patch.cutting import margin_for
from mitosieve.sieve.propose.contract import Frame, PlaceProposer, Tile, View


class GridProposer(PlaceProposer):
    """Looks at every cell of a stride grid: the sliding window of CHS-NET.

    Cells cover the slide, and windows at its border reach beyond it; or, as in the paper, only whole windows are looked
    at, from the top left corner: 900 of a frame of 2000 px.
    """

    everywhere: ClassVar[bool] = True

    kind: Literal["grid"] = "grid"
    stride_px: int = Field(default=32, ge=2, le=256, multiple_of=2)
    """Side of a cell, px at the frame's mpp. A figure lies within half of it from a window's centre; 32 gives 16 px,
    the largest shift that training has shown to the network."""
    window_px: int = Field(default=0, ge=0, le=1024, multiple_of=2)
    """Side of whole windows, px at the frame's mpp: that of the patch that is cut. 0 covers the slide.
    Source: Ma et al. 2018, section 3.4.1 (set S3)."""
    min_darkness: float = Field(default=0.0, ge=0, le=3)
    """Cells whose darkest spot is lighter are skipped; 0 skips none. Darkness is the red channel's optical density,
    -ln((v + 1) / 256), smoothed with sigma 1 um."""

    def describe(self, frame_mpp: float) -> str:
        dark = f", cells of darkness {self.min_darkness:g} or more" if self.min_darkness else ""
        whole = f" of whole windows of {self.window_px * frame_mpp:g} um" if self.window_px else ""
        return f"grid{whole}, stride {self.stride_px * frame_mpp:g} um{dark}"

    def plane_mpp(self, frame_mpp: float, first: View) -> float:
        return frame_mpp

    def margin_px(self, patch_px: int, mpp: float) -> int:
        return margin_for(patch_px, self.stride_px)

    def roi_reach_um(self, mpp: float) -> float:
        """A cell beside an ROI may hold a figure of it."""
        return self.stride_px * mpp

    def places(self, tile: Tile, cut: float) -> NDArray[np.float64]:
        """Cells' centres, row by row, that hold something dark; those beyond the slide's edge belong to the edge."""
        whole, core = tile.whole, tile.core
        x, y = self._line(whole.w), self._line(whole.h)
        x = x[_between(np.clip(x, 0, whole.w - 1), core.x, core.x + core.w)]
        y = y[_between(np.clip(y, 0, whole.h - 1), core.y, core.y + core.h)]
        center = crossings(x, y)
        return center[self._is_dark(tile.plane, center, tile.mpp)] if self.min_darkness else center

    def _line(self, length: int) -> NDArray[np.float64]:
        """The grid along one side of a slide."""
        if not self.window_px:
            return covering_line(length, stride_px=self.stride_px)
        return whole_line(length, window_px=self.window_px, stride_px=self.stride_px)

    def _is_dark(self, plane: Frame, center_px: NDArray[np.float64], mpp: float) -> NDArray[np.bool_]:
        """Whether a cell, and a quarter of a stride round it, holds something dark enough to be a figure."""
        red = cv2.GaussianBlur(plane.pixels[..., 0], (0, 0), 1.0 / mpp)
        side = self.stride_px + 2 * (self.stride_px // 4) + 1
        darkest = np.asarray(cv2.erode(red, np.ones((side, side), dtype=np.uint8)))
        local = np.floor(center_px - np.array(plane.origin_px)).astype(int)
        value = darkest[local[:, 1], local[:, 0]].astype(np.float64)
        return -np.log((value + 1) / 256) >= self.min_darkness


def covering_line(length: int, *, stride_px: int) -> NDArray[np.float64]:
    """Middles of consecutive cells of `stride_px` px that cover 0 .. length - 1 and stand out alike at both ends.

    Cells start at whole pixels, so that windows of even side are cut without interpolation.
    """
    count = -(-length // stride_px)
    first = (length - count * stride_px) // 2
    return np.asarray(first + np.arange(count) * stride_px + (stride_px - 1) / 2, dtype=np.float64)


def whole_line(length: int, *, window_px: int, stride_px: int) -> NDArray[np.float64]:
    """Middles of the windows that lie wholly in 0 .. length - 1, from 0 in steps of `stride_px`.

    None where a window is longer. That nothing is padded or snapped to the end follows from the paper's count of
    windows (Ma et al. 2018, section 4.2.1).
    """
    return np.asarray(np.arange(0, length - window_px + 1, stride_px) + (window_px - 1) / 2, dtype=np.float64)


def covering_centers(size_px: tuple[int, int], *, stride_px: int) -> NDArray[np.float64]:
    """Centres (N, 2) of stride x stride cells that cover an image, row by row.

    Every pixel lies within stride / 2 of a centre in x and in y, those at the border included; windows there reach
    beyond the image and are filled with the slide's background colour.
    """
    return crossings(*(covering_line(length, stride_px=stride_px) for length in size_px))


def crossings(columns: NDArray[np.floating], rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points (N, 2), x and y, where columns (C,) cross rows (R,), row by row."""
    x, y = np.meshgrid(columns, rows)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def _between(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return (values >= low) & (values < high)
