"""Where figures are dense, in colour over a picture of the whole slide, as a PNG. Knows points and pixels only.

Frame of points: um from the slide's upper left corner, which is the picture's. Equal input gives equal bytes with the
same versions of matplotlib and its font, which comes with it.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from numpy.typing import NDArray
from scipy.special import ndtr

from mitosieve.count.hotspot import Hotspot
from mitosieve.run.folder import write_atomic

BANDWIDTH_UM = 300.0
"""Sigma of the Gaussian: three of them are about the side of a hotspot of 2 mm2, so a hotspot shows as one spot."""

_COLORS = "viridis"
_LONGEST_PX = (480, 900)
_DPI = 100
_FONT = 11.0
"""Still legible where a page shows the picture at half its size."""

_MARGIN_IN = (0.12, 1.15, 0.12, 0.46)
"""Left, right (with the colour bar), above and below the picture, in inches."""

_SHORTEST_IN = 2.4
_GREY = 0.85
_OPAQUE = 0.8
_CAPTION: dict[str, Any] = {"loc": "right", "y": 0, "pad": -15, "fontsize": _FONT}
"""Below the picture at the right."""

_SCALES_MM = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture of a whole slide.

    Attributes:
        rgb: uint8 (h, w, 3).
        mpp_xy: um per pixel of it, along a row and along a column.
    """

    rgb: NDArray[np.uint8]
    mpp_xy: tuple[float, float]

    @property
    def size_um(self) -> tuple[float, float]:
        return self.rgb.shape[1] * self.mpp_xy[0], self.rgb.shape[0] * self.mpp_xy[1]


def density_per_mm2(
    point_um: NDArray[np.floating], *, shape: tuple[int, int], mpp_xy: tuple[float, float], bandwidth_um: float
) -> NDArray[np.float64]:
    """Points per mm2, each spread as a Gaussian from the middle of its pixel; what leaves the edge is lost.

    Exact for any bandwidth, far below a pixel or far above the whole, in a time that does not depend on it.

    Args:
        point_um: (N, 2) x, y from the upper left corner; points outside are left out.
        shape: rows, columns of the answer.
        mpp_xy: um per pixel of the answer.
        bandwidth_um: sigma.

    Returns:
        (rows, columns), its sum times a pixel's area at most N.
    """
    held = np.zeros(shape)
    at = np.floor(np.asarray(point_um, dtype=np.float64).reshape(-1, 2) / np.array(mpp_xy))
    at = at[((at >= 0) & (at < (shape[1], shape[0]))).all(axis=1)].astype(np.int64)
    np.add.at(held, (at[:, 1], at[:, 0]), 1)
    down = _spread(shape[0], bandwidth_um / mpp_xy[1])
    across = _spread(shape[1], bandwidth_um / mpp_xy[0])
    return down @ held @ across / (mpp_xy[0] * mpp_xy[1] / 1e6)


def _spread(length: int, sigma_px: float) -> NDArray[np.float64]:
    """(n, n) share of pixel j that comes to pixel i: the Gaussian's integral over i."""
    edge = np.arange(-length, length + 1) - 0.5
    share = np.diff(ndtr(edge / sigma_px))
    away = np.abs(np.arange(length)[:, None] - np.arange(length))
    return share[length + away]


def write_heatmap(
    path: Path,
    thumbnail: Thumbnail,
    point_um: NDArray[np.floating],
    *,
    hotspot: Hotspot | None = None,
    bandwidth_um: float = BANDWIDTH_UM,
) -> Path:
    """Draw the density of points over the thumbnail, with its colour bar, the hotspot's outline and a scale bar.

    Args:
        path: the PNG.
        thumbnail: of the whole slide; drawn with square pixels, its longer side 480 to 900 of them.
        point_um: (N, 2) x, y of the figures from the slide's upper left corner; none is a picture that says so.
        hotspot: outlined where it holds a figure.
        bandwidth_um: sigma of the density.

    Raises:
        ValueError: no pixels, or a resolution or bandwidth that is not above 0.
        StorageError: the file cannot be written; nothing is left behind.
    """
    measures = (*thumbnail.mpp_xy, bandwidth_um)
    if 0 in thumbnail.rgb.shape or not all(math.isfinite(value) and value > 0 for value in measures):
        raise ValueError(f"no heat map of {thumbnail.rgb.shape} at {thumbnail.mpp_xy} um, bandwidth {bandwidth_um} um")
    picture, mpp = _resized(thumbnail)
    density = density_per_mm2(point_um, shape=picture.shape[:2], mpp_xy=(mpp, mpp), bandwidth_um=bandwidth_um)
    scale = Normalize(0, max(float(density.max()), 1.0))
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": _FONT, "axes.linewidth": 0.6}):
        figure, axes, bar = _canvas(picture.shape[1], picture.shape[0])
        axes.imshow(_blended(picture, density, scale), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        if hotspot is not None and hotspot.count:
            _outline(axes, hotspot, mpp)
        elif not len(point_um):
            axes.set_title("No figures", **_CAPTION)
        _scale_bar(figure, axes, picture.shape[1], mpp)
        figure.colorbar(ScalarMappable(scale, _COLORS), cax=bar, label=f"figures per mm² (σ {bandwidth_um:g} µm)")
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return write_atomic(path, file.getvalue())


def _resized(thumbnail: Thumbnail) -> tuple[NDArray[np.uint8], float]:
    """The picture with square pixels and a longer side within bounds, and the um of its pixels."""
    width_um, height_um = thumbnail.size_um
    least, most = (max(width_um, height_um) / longest for longest in reversed(_LONGEST_PX))
    mpp = min(max(min(thumbnail.mpp_xy), least), most)
    size = max(1, round(width_um / mpp)), max(1, round(height_um / mpp))
    small = size[0] < thumbnail.rgb.shape[1] or size[1] < thumbnail.rgb.shape[0]
    how = cv2.INTER_AREA if small else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(thumbnail.rgb, size, interpolation=how), dtype=np.uint8), mpp


def _canvas(width_px: int, height_px: int) -> tuple[Figure, Axes, Axes]:
    """A figure with room for the picture at one pixel a pixel, and for the colour bar at its right."""
    left, right, above, below = _MARGIN_IN
    wide, high = width_px / _DPI, height_px / _DPI
    full = (left + max(wide, _SHORTEST_IN) + right, above + max(high, _SHORTEST_IN) + below)
    figure = Figure(figsize=full, facecolor="white")
    axes = figure.add_axes((left / full[0], (full[1] - above - high) / full[1], wide / full[0], high / full[1]))
    bar_height = min(max(high, _SHORTEST_IN), 4.0)
    bar_left = (left + max(wide, _SHORTEST_IN) + 0.15) / full[0]
    bar = figure.add_axes((bar_left, (full[1] - above - bar_height) / full[1], 0.16 / full[0], bar_height / full[1]))
    return figure, axes, bar


def _blended(picture: NDArray[np.uint8], density: NDArray[np.float64], scale: Normalize) -> NDArray[np.uint8]:
    """Colour over nearly grey tissue, for stain has the colours of low densities: the denser, the less tissue shows."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    tissue = (1 - _GREY) * picture + _GREY * grey
    share = np.asarray(scale(density), dtype=np.float64)
    color = mpl.colormaps[_COLORS](share)[..., :3] * 255
    alpha = (_OPAQUE * np.sqrt(np.clip(share, 0, 1)))[..., None]
    return np.clip(np.rint((1 - alpha) * tissue + alpha * color), 0, 255).astype(np.uint8)


def _outline(axes: Axes, hotspot: Hotspot, mpp: float) -> None:
    """The hotspot's edge, dark beside bright so that it shows on every ground, and what it holds."""
    x, y = (value * 1000 / mpp - 0.5 for value in hotspot.center_mm)
    width, height = (value * 1000 / mpp for value in hotspot.size_mm)
    if hotspot.shape == "circle":
        patch: Ellipse | Rectangle = Ellipse((x, y), width, height)
    else:
        patch = Rectangle((x - width / 2, y - height / 2), width, height)
    patch.set(fill=False, edgecolor="white", linewidth=1.6)
    patch.set_path_effects([patheffects.Stroke(linewidth=3.4, foreground="black"), patheffects.Normal()])
    axes.add_patch(patch)
    noun = "figure" if hotspot.count == 1 else "figures"
    axes.set_title(f"Hotspot: {hotspot.count:,} {noun} in {hotspot.area_mm2:.3g} mm²", **_CAPTION)


def _scale_bar(figure: Figure, axes: Axes, width_px: int, mpp: float) -> None:
    """The longest round length that is at most a quarter of the picture, below it at the left."""
    most_mm = 0.25 * width_px * mpp / 1000
    length_mm = max((scale for scale in _SCALES_MM if scale <= most_mm), default=_SCALES_MM[0])
    box = axes.get_position()
    length = length_mm * 1000 / mpp / width_px * box.width
    y = box.y0 - 0.12 / figure.get_figheight()
    figure.add_artist(Rectangle((box.x0, y), length, 0.04 / figure.get_figheight(), color="black", linewidth=0))
    figure.text(box.x0, y - 0.05 / figure.get_figheight(), f"{length_mm:g} mm", va="top", fontsize=_FONT)
