"""Where tissue is on an overview, and the colour of the glass around it. Pixels in, pixels out; knows no files."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.geometry import Mpp, Region, mm2_from_px2, rescale_points

DEFAULT_BACKGROUND = (242, 242, 242)
"""Glass of a slide that shows none: near the median glass of common scanners, which is not quite white."""

MIN_GLASS_VALUE = 200
MAX_GLASS_SPREAD = 25
MIN_GLASS_FRACTION = 0.001
"""A pixel is glass where its darkest channel is at least 200 and its channels differ by at most 25; a slide shows glass
where at least one pixel in a thousand is."""

MIN_TISSUE_OD = 0.10
MAX_TISSUE_OD = 0.35
"""Bounds of the threshold: below, glass noise would be tissue on an empty slide; above, pale tissue would be glass on a
full one. In natural-log OD of the green channel, which both stains absorb, relative to the glass."""

TissueRule = Literal["otsu", "glass"]
"""How tissue is told from glass. `otsu`: Otsu's threshold within its bounds, whatever it splits, as detectors of before
have it. `glass`: that threshold only where it splits glass from tissue; where it splits tissue from tissue, only what
is as light as glass is left out."""

RIM_REACH_PX = 2
PALE_SHARE = 0.05
"""How far a rim of tissue reaches into glass, px of the overview; and how much pale tissue, as a share of the darker, a
threshold that splits tissue from tissue leaves out. It is 0.03 and 0.01 on two public slides with glass, 0.00 to 0.04
on frames of ICPR 2012 and most of MITOS-ATYPIA-14, 0.08 to 1.3 on fields of BreCaHAD and frames with pale stroma."""

COLOURS = ((3.0, 10.0), (1.0, 6.0))
"""Glass of another brightness has hardly a colour, stroma has, however pale: its channels, of 255 and relative to the
slide's glass, differ by more than this, averaged over so many px, some 50 um and 16. On 335 frames and fields of five
sets, on 79 of which the threshold splits tissue from tissue, it leaves every pixel as it is where colour is not asked
for; 12 in place of 10 takes up to 0.02 of a field. Glass with more tint than that, beside white, is still taken."""

_PADDING_VALUE = 20
_SAMPLE_PX = 250_000
_MAX_OD = 3.0
_RIM_PX = 3


def background_color(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The slide's glass: the median of the brighter half of its bright colourless pixels.

    Used to fill what lies outside a slide. Deterministic: pixels are sampled on a fixed grid.

    Args:
        rgb: uint8 (h, w, 3), any resolution.

    Returns:
        uint8 (3,) RGB; `DEFAULT_BACKGROUND` where hardly a pixel is glass.
    """
    step = max(1, int(np.ceil(np.sqrt(rgb.shape[0] * rgb.shape[1] / _SAMPLE_PX))))
    sample = rgb[::step, ::step].reshape(-1, 3)
    low, high = sample.min(axis=1, initial=255), sample.max(axis=1, initial=0)
    glass = sample[(low >= MIN_GLASS_VALUE) & (high - low <= MAX_GLASS_SPREAD)]
    if len(glass) == 0 or len(glass) < MIN_GLASS_FRACTION * len(sample):
        return np.array(DEFAULT_BACKGROUND, dtype=np.uint8)
    brightness = glass.sum(axis=1, dtype=np.int32)
    return np.median(glass[brightness >= np.median(brightness)], axis=0).astype(np.uint8)


def tissue_mask(rgb: NDArray[np.uint8], rule: TissueRule = "otsu") -> NDArray[np.bool_]:
    """Which pixels of an overview are tissue: Otsu's threshold on the green channel's OD, within fixed bounds.

    An empty slide has no tissue and a full one no glass, because the threshold cannot leave its bounds. Black padding
    and ink (blue, green, red, black) with its rim are not tissue; folds are, for they are dark in the stains' colours.

    Where stroma is pale the threshold splits tissue from tissue: on a field without glass, or beside glass. The rule
    `glass` recognises this by what lies between glass and the threshold: the blurred rim of tissue, or, further than
    RIM_REACH_PX from any glass, stroma. Where that is PALE_SHARE of the tissue or more, what has colour is tissue from
    MIN_TISSUE_OD on, so that only what is as light as glass stays out, and glass of another brightness: what a scanner
    left out and stored as white beside what it saw, two sides of a coverslip's edge, glass darker than any we know.

    Args:
        rgb: uint8 (h, w, 3), best at 4 to 16 um per px; finer only costs time.
        rule: how tissue is told from glass.

    Returns:
        bool (h, w).
    """
    if rgb.shape[0] == 0 or rgb.shape[1] == 0:
        return np.zeros(rgb.shape[:2], dtype=np.bool_)
    glass = background_color(rgb)
    other = _ink(rgb, glass)
    green = np.where(other, glass[1], rgb[..., 1])
    green = np.asarray(cv2.GaussianBlur(green, (0, 0), 1.0), dtype=np.uint8)
    od = _od_of_value(glass[1])[green]
    scaled = np.rint(od * (255 / _MAX_OD)).astype(np.uint8)[~other]
    if len(scaled) == 0:
        return ~other
    otsu = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] * (_MAX_OD / 255)
    threshold = min(max(float(otsu), MIN_TISSUE_OD), MAX_TISSUE_OD)
    dark = (od > threshold) & ~other
    if rule == "otsu":
        return dark
    pale = (od > MIN_TISSUE_OD) & ~dark & ~other & _has_colour(rgb, glass)
    lightest = (od <= MIN_TISSUE_OD) & ~other
    return dark | pale if _is_no_rim(pale, lightest, dark) else dark


def _is_no_rim(pale: NDArray[np.bool_], glass: NDArray[np.bool_], dark: NDArray[np.bool_]) -> bool:
    """Whether more of what lies between glass and a threshold is pale tissue than the rim of the darker has."""
    side = 2 * RIM_REACH_PX + 1
    by_glass = cv2.dilate(glass.astype(np.uint8), np.ones((side, side), dtype=np.uint8)) > 0
    return bool(np.count_nonzero(pale & ~by_glass) > PALE_SHARE * np.count_nonzero(dark))


def _has_colour(rgb: NDArray[np.uint8], glass: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels, alone and with those around them, have another colour than glass, whatever their brightness."""
    white = np.float32(255) / np.maximum(glass, 1).astype(np.float32)
    found = np.ones(rgb.shape[:2], dtype=np.bool_)
    for sigma, least in COLOURS:
        even = cv2.GaussianBlur(rgb, (0, 0), sigma).astype(np.float32) * white
        found &= even.max(axis=2) - even.min(axis=2) > least
    return found


def _od_of_value(glass: np.uint8) -> NDArray[np.float32]:
    """Natural-log OD of each of the 256 values of a channel, relative to its glass, from 0 to _MAX_OD."""
    return np.clip(np.log((float(glass) + 1) / (np.arange(256) + 1.0)), 0.0, _MAX_OD).astype(np.float32)


def _ink(rgb: NDArray[np.uint8], glass: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of pens and of black padding, with _RIM_PX around strokes, where ink and glass mix.

    Both stains absorb green most. Blue and green ink absorb more red than green; black ink absorbs all alike; red ink
    absorbs green and blue alike and hardly any red. Bounds: of 0.6 million tissue pixels of 84 pictures (22
    MITOS-ATYPIA-14 frames, 62 of MoNuSeg and AMi-Br) fewer than 2 in 10,000 are beyond them, most of them blood.
    """
    red, green, blue = (_od_of_value(glass[channel])[rgb[..., channel]] for channel in range(3))
    cold = ((red > 1.1 * green) & (red > 0.9)) | ((red > 1.3 * green) & (red > 0.3))
    black = (red > 0.85 * green) & (blue > 0.8 * green) & (green > 0.7)
    warm = (red < 0.35 * green) & (blue > 0.85 * green) & (green > 1.2)
    marks = (cold | black | warm).astype(np.uint8)
    strokes = cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((2, 2), dtype=np.uint8))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _RIM_PX + 1, 2 * _RIM_PX + 1))
    return (cv2.dilate(strokes, disc) > 0) | (rgb.max(axis=2) <= _PADDING_VALUE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tissue:
    """Where a slide has tissue.

    Attributes:
        mask: bool (h, w): the pixels of the slide's lattice at `mpp` that are tissue.
        mpp: um per px of the mask, whose pixels are square.
    """

    mask: NDArray[np.bool_]
    mpp: float

    @property
    def area_mm2(self) -> float:
        return mm2_from_px2(int(np.count_nonzero(self.mask)), self.mpp)

    def area_within_mm2(self, roi: BaseGeometry | None, mpp_l0: Mpp) -> float:
        """Its area within a ROI in level-0 px, to the pixel of the mask; None is all of it."""
        return self.within(roi, mpp_l0).area_mm2

    def within(self, roi: BaseGeometry | None, mpp_l0: Mpp) -> "Tissue":
        """What of it lies within a ROI in level-0 px, to the pixel of the mask; None is all of it."""
        if roi is None:
            return self
        rows, columns = np.nonzero(self.mask)
        px = np.stack([columns, rows], axis=1).astype(np.float64)
        place = rescale_points(px, mpp_from=self.mpp, mpp_to=mpp_l0)
        mask = np.zeros_like(self.mask)
        mask[rows, columns] = shapely.contains_xy(roi, place[:, 0], place[:, 1])
        return Tissue(mask=mask, mpp=self.mpp)

    def fraction(self, region_px: Region, mpp: float) -> float:
        """Which part of a region's area is tissue, exactly; what lies beyond the mask is none.

        Args:
            region_px: px of the slide's lattice at `mpp`.
            mpp: um per px of the region.

        Returns:
            0 to 1; 0 for a region without area.
        """
        if region_px.area_px2 == 0:
            return 0.0
        x, y = np.array([0, region_px.w]) + region_px.x, np.array([0, region_px.h]) + region_px.y
        return float(self.fractions(x, y, mpp)[0, 0])

    def fractions(self, x_px: NDArray[np.integer], y_px: NDArray[np.integer], mpp: float) -> NDArray[np.float64]:
        """`fraction` of each region between rising edges, (rows, columns), one fewer than there are edges.

        Args:
            x_px: where regions end along a row, px of the slide's lattice at `mpp`; no two are equal.
            y_px: along a column.
            mpp: um per px of them.
        """
        scale = mpp / self.mpp
        area = self._area_before(x_px.astype(np.float64) * scale, y_px.astype(np.float64) * scale)
        inside = area[1:, 1:] - area[:-1, 1:] - area[1:, :-1] + area[:-1, :-1]
        return np.clip(inside / (np.diff(y_px)[:, None] * np.diff(x_px) * scale**2), 0.0, 1.0)

    def holds(self, points_um: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points (N, 2) lie on tissue; x and y in um from the slide's top left corner."""
        columns, rows = np.floor(np.asarray(points_um, dtype=np.float64).T / self.mpp).astype(np.int64)
        h, w = self.mask.shape
        inside = (columns >= 0) & (columns < w) & (rows >= 0) & (rows < h)
        answer = np.zeros(len(columns), dtype=np.bool_)
        answer[inside] = self.mask[rows[inside], columns[inside]]
        return answer

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        """(h + 1, w + 1): tissue px above and left of each corner."""
        sums = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1))
        np.cumsum(np.cumsum(self.mask, axis=0, dtype=np.float64), axis=1, out=sums[1:, 1:])
        return sums

    def _area_before(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tissue area in px2 above and left of the crossings of rows `y` and columns `x`, in px from the corner.

        Between corners the area is bilinear, because the mask is constant on each pixel.
        """
        h, w = self.mask.shape
        x, y = np.clip(x, 0, w), np.clip(y, 0, h)
        left, top = np.minimum(x.astype(np.int64), max(0, w - 1)), np.minimum(y.astype(np.int64), max(0, h - 1))
        right, bottom = np.minimum(left + 1, w), np.minimum(top + 1, h)
        p, q = x - left, (y - top)[:, None]
        upper = self._sums[np.ix_(top, left)] * (1 - p) + self._sums[np.ix_(top, right)] * p
        lower = self._sums[np.ix_(bottom, left)] * (1 - p) + self._sums[np.ix_(bottom, right)] * p
        return upper * (1 - q) + lower * q
