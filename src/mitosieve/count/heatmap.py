"""Where figures are dense, in colour over a picture of the whole slide, as a PNG. Knows points and pixels only.

Frame of points: um from the slide's upper left corner, which is the picture's. Equal input gives equal bytes with the
same versions of matplotlib and its font, which comes with it.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from numpy.typing import NDArray
from scipy.special import ndtr

from mitosieve.count.hotspot import Hotspot
from mitosieve.count.picture import Thumbnail, in_figures, scale_mm
from mitosieve.run.folder import write_atomic

BANDWIDTH_UM = 300.0
"""Sigma of the Gaussian: nearly five of them are the side of a hotspot of 2 mm2, so a hotspot shows as one spot."""

SCALE_PER_MM2 = (0.5, 50.0)
"""Ends of the colour scale, which is logarithmic and the same for every slide of every job: pictures can be compared,
and a slide's does not change with those beside it. A lone figure peaks at 1.8; below 0.5 there is no colour."""

MOST_DOTS = 2000
"""Of fewer figures than this each has its dot; more would hide the colour."""

_TICKS = (0.5, 1, 2, 5, 10, 20, 50)
_COLORS = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.35, 1, 256)), name="viridis from its green")
"""Without viridis' blues, which are near the stain's."""

_DPI = 100
_FONT = 11.0
"""Still legible where a page shows the picture at half its size."""

_MARGIN_IN = (0.12, 1.15, 0.12, 0.46)
"""Left, right (with the colour bar), above and below the picture, in inches."""

_CLOSE_IN, _CLOSE_TITLE_IN = (2.2, 3.2), 0.34
"""Least and most of an enlarged hotspot's side; and its title."""

_SHORTEST_IN = 2.4
_FAINTEST, _STRONGEST = 0.05, 0.6
"""Opacity of the colour at the scale's ends: tissue shows through."""

_RINGS_BELOW_MPP = 2.0
"""In pictures finer than this a dot would hide its cell: a ring goes round it."""

_LEAST_TISSUE = 0.1
"""Share of tissue around a place, by the Gaussian, that is taken at least: a scrap of tissue makes no high density."""

_CAPTION: dict[str, Any] = {"loc": "right", "y": 0, "pad": -15, "fontsize": _FONT}
"""Below the picture at the right."""


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


@dataclass(frozen=True, kw_only=True)
class CloseUp:
    """A hotspot seen from nearer.

    Attributes:
        hotspot: which.
        rgb: uint8 (h, w, 3) of its upright box, cut at the slide's edge.
    """

    hotspot: Hotspot
    rgb: NDArray[np.uint8]


def tissue_density(
    point_um: NDArray[np.floating], tissue: NDArray[np.bool_], *, mpp: float, bandwidth_um: float
) -> NDArray[np.float64]:
    """Points per mm2 of tissue (rows, columns): the points' density over the tissue's, both spread by one Gaussian.

    So the edge of the tissue or of the slide does not thin it out. Where the Gaussian holds less than _LEAST_TISSUE of
    tissue that share is taken.
    """
    points = density_per_mm2(point_um, shape=tissue.shape, mpp_xy=(mpp, mpp), bandwidth_um=bandwidth_um)
    down = _spread(tissue.shape[0], bandwidth_um / mpp)
    across = _spread(tissue.shape[1], bandwidth_um / mpp)
    return points / np.maximum(down @ tissue.astype(np.float64) @ across, _LEAST_TISSUE)


def write_heatmap(
    path: Path,
    thumbnail: Thumbnail,
    point_um: NDArray[np.floating],
    *,
    hotspots: Sequence[CloseUp] = (),
    note: str = "",
    bandwidth_um: float = BANDWIDTH_UM,
) -> Path:
    """Draw the density per tissue over the thumbnail: colour bar, scale bar, a dot a figure, hotspots outlined and
    enlarged beside, and the edge of the area where not the whole slide was searched.

    Args:
        path: the PNG.
        thumbnail: of the whole slide; drawn with square pixels, its longer side 480 to 900 of them. There is no colour
            but on its tissue.
        point_um: (N, 2) x, y of the figures from the slide's upper left corner; none is a picture that says so.
        hotspots: those that hold a figure are outlined with their number and shown enlarged.
        note: said below the picture where there is no hotspot.
        bandwidth_um: sigma of the density.

    Raises:
        ValueError: no pixels, or a resolution or bandwidth that is not above 0.
        StorageError: the file cannot be written; nothing is left behind.
    """
    measures = (*thumbnail.mpp_xy, bandwidth_um)
    if 0 in thumbnail.rgb.shape or not all(math.isfinite(value) and value > 0 for value in measures):
        raise ValueError(f"no heat map of {thumbnail.rgb.shape} at {thumbnail.mpp_xy} um, bandwidth {bandwidth_um} um")
    shown = [spot for spot in hotspots if spot.hotspot.count]
    picture, mpp = thumbnail.resized()
    mask = _mask(thumbnail, picture)
    density = tissue_density(point_um, mask, mpp=mpp, bandwidth_um=bandwidth_um)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": _FONT, "axes.linewidth": 0.6}):
        figure, axes, bar = _canvas(picture.shape[1], picture.shape[0], len(shown))
        axes.imshow(_blended(picture, density, mask), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        _area(axes, thumbnail, mpp)
        for number, spot in enumerate(shown, start=1):
            _outline(axes, spot.hotspot, mpp, number)
        _lines(axes, density, mask)
        _dots(axes, point_um, mpp, ring=mpp < _RINGS_BELOW_MPP)
        axes.set_title(_words(shown, len(point_um), note), **_CAPTION)
        _scale_bar(figure, axes, picture.shape[1], mpp)
        scale = LogNorm(*SCALE_PER_MM2)
        label = f"figures per mm² of tissue (σ {bandwidth_um:g} µm)"
        colors = figure.colorbar(ScalarMappable(scale, _COLORS), cax=bar, label=label, extend="max", ticks=_TICKS)
        colors.minorticks_off()
        colors.ax.set_yticklabels([f"{tick:g}" for tick in _TICKS])
        for number, spot in enumerate(shown, start=1):
            _close_up(figure, spot, point_um, (number, len(shown)))
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return write_atomic(path, file.getvalue())


def _words(shown: Sequence[CloseUp], figures: int, note: str) -> str:
    """Below the picture."""
    if not figures:
        return "No figures"
    if not shown:
        return note
    first = shown[0].hotspot
    what = "" if first.tissue_mm2 is None else " of tissue"
    return f"Hotspot: {in_figures(first.count)} in {first.held_mm2:.3g} mm²{what}"


def _mask(thumbnail: Thumbnail, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tissue in the pixels of the picture; all of them where nobody says."""
    tissue = thumbnail.tissue
    if tissue is None:
        return np.ones(picture.shape[:2], dtype=np.bool_)
    if tissue.shape != thumbnail.rgb.shape[:2]:
        raise ValueError(f"no heat map: tissue of {tissue.shape} on a picture of {thumbnail.rgb.shape}")
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.resize(tissue.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), dtype=np.bool_)


def _canvas(width_px: int, height_px: int, num_close: int) -> tuple[Figure, Axes, Axes]:
    """A figure with room for the picture at one pixel a pixel, the colour bar at its right, and close-ups beside it."""
    left, right, above, below = _MARGIN_IN
    wide, high = width_px / _DPI, height_px / _DPI
    close = _close_in(above + high + below, num_close)
    column = close + 0.12 if num_close else 0.0
    tall = max(high, _SHORTEST_IN, num_close * (close + _CLOSE_TITLE_IN) - above - below + 0.06)
    full = (left + max(wide, _SHORTEST_IN) + right + column, above + tall + below)
    figure = Figure(figsize=full, facecolor="white")
    axes = figure.add_axes((left / full[0], (full[1] - above - high) / full[1], wide / full[0], high / full[1]))
    bar_height = min(max(high, _SHORTEST_IN), 4.0)
    bar_left = (left + max(wide, _SHORTEST_IN) + 0.15) / full[0]
    bar = figure.add_axes((bar_left, (full[1] - above - bar_height) / full[1], 0.16 / full[0], bar_height / full[1]))
    return figure, axes, bar


def _close_in(high: float, num_close: int) -> float:
    """Side of an enlarged hotspot beside a picture that is so high: as many as there are fill its height."""
    least, most = _CLOSE_IN
    return min(max((high - 0.06) / max(1, num_close) - _CLOSE_TITLE_IN, least), most)


def _blended(picture: NDArray[np.uint8], density: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour over the stained tissue, from where the scale begins, and nowhere else."""
    low, high = SCALE_PER_MM2
    share = np.log(np.maximum(density, low) / low) / math.log(high / low)
    color = _COLORS(np.clip(share, 0, 1))[..., :3] * 255
    alpha = _FAINTEST + (_STRONGEST - _FAINTEST) * np.clip(share, 0, 1) ** 1.5
    alpha = np.where(mask & (density >= low), alpha, 0.0)[..., None]
    return np.clip(np.rint((1 - alpha) * picture + alpha * color), 0, 255).astype(np.uint8)


def _lines(axes: Axes, density: NDArray[np.float64], mask: NDArray[np.bool_]) -> None:
    """Lines of equal density at the scale's ticks, in its colours: they can be read where stain mixes into the fill."""
    if min(mask.shape) < 2 or not mask.any():
        return
    height = np.where(mask, np.log(np.maximum(density, SCALE_PER_MM2[0])), np.nan)
    least, most = float(np.nanmin(height)), float(np.nanmax(height))
    levels = [math.log(tick) for tick in _TICKS if least < math.log(tick) < most]
    if levels:
        scale = Normalize(math.log(SCALE_PER_MM2[0]), math.log(SCALE_PER_MM2[1]))
        axes.contour(height, levels=levels, cmap=_COLORS, norm=scale, linewidths=1.4)


def _dots(axes: Axes, point_um: NDArray[np.floating], mpp: float, *, ring: bool) -> None:
    """A dot, or a ring, a figure; none where there are too many. Bright beside dark, so that it shows everywhere."""
    points = np.asarray(point_um, dtype=np.float64).reshape(-1, 2)
    if not 0 < len(points) < MOST_DOTS:
        return
    x, y = (points / mpp - 0.5).T
    limits = axes.get_xlim(), axes.get_ylim()
    face, size = ("none", 9.0) if ring else ("black", 3.0)
    for edge, width in (("black", 2.4), ("white", 1.1)) if ring else (("white", 0.6),):
        axes.plot(x, y, "o", markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=width)
    axes.set(xlim=limits[0], ylim=limits[1])


def _outline(axes: Axes, hotspot: Hotspot, mpp: float, number: int) -> None:
    """The hotspot's edge, dark beside bright so that it shows on every ground, with its number."""
    x, y = (value * 1000 / mpp - 0.5 for value in hotspot.center_mm)
    width, height = (value * 1000 / mpp for value in hotspot.size_mm)
    if hotspot.shape == "circle":
        patch: Ellipse | Rectangle = Ellipse((x, y), width, height)
    else:
        patch = Rectangle((x - width / 2, y - height / 2), width, height)
    patch.set(fill=False, edgecolor="white", linewidth=1.6 if number == 1 else 1.0)
    width_pt = 3.4 if number == 1 else 2.4
    patch.set_path_effects([patheffects.Stroke(linewidth=width_pt, foreground="black"), patheffects.Normal()])
    axes.add_patch(patch)
    text = axes.text(x - width / 2 + 5, y - height / 2 + 5, str(number), color="white", ha="left", va="top", fontsize=9)
    text.set_path_effects([patheffects.Stroke(linewidth=2.4, foreground="black"), patheffects.Normal()])
    text.set_clip_on(True)


def _area(axes: Axes, thumbnail: Thumbnail, mpp: float) -> None:
    """The edge of the area that alone was searched, dashed, dark beside bright."""
    limits = axes.get_xlim(), axes.get_ylim()
    for ring in thumbnail.area_um:
        x, y = (ring / mpp - 0.5).T
        axes.plot(x, y, color="white", linewidth=2.4)
        axes.plot(x, y, color="black", linewidth=1.2, linestyle="--")
    axes.set(xlim=limits[0], ylim=limits[1])


def _close_up(figure: Figure, spot: CloseUp, point_um: NDArray[np.floating], rank: tuple[int, int]) -> None:
    """The i-th of n pictures of the column at the right, with a ring a figure."""
    hotspot, (number, among) = spot.hotspot, rank
    full = [float(value) for value in figure.get_size_inches()]
    side = _close_in(full[1], among)
    top = full[1] - (number - 1) * (side + _CLOSE_TITLE_IN) - _CLOSE_TITLE_IN
    place = (1 - (side + 0.12) / full[0], (top - side) / full[1], side / full[0], side / full[1])
    axes = figure.add_axes(place, anchor="NW")
    mpp = hotspot.size_mm[0] * 1000 / spot.rgb.shape[1]
    axes.imshow(spot.rgb, interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    corner_um = (np.array(hotspot.center_mm) - np.array(hotspot.size_mm) / 2) * 1000
    points = np.asarray(point_um, dtype=np.float64).reshape(-1, 2)
    inside = points[hotspot.holds(points / 1000)] - corner_um
    if hotspot.shape == "circle":
        height, width = spot.rgb.shape[:2]
        axes.add_patch(Ellipse((width / 2 - 0.5, height / 2 - 0.5), width, height, fill=False, edgecolor="black"))
    _dots(axes, inside, mpp, ring=True)
    density = f", {hotspot.density_per_mm2:.3g} per mm²" if hotspot.held_mm2 else ", no tissue"
    words = f"{number}: {in_figures(hotspot.count)}{density}"
    axes.set_title(words, loc="left", fontsize=_FONT - 1, pad=4)


def _scale_bar(figure: Figure, axes: Axes, width_px: int, mpp: float) -> None:
    """The longest round length that is at most a quarter of the picture, below it at the left."""
    length_mm = scale_mm(width_px, mpp)
    box = axes.get_position()
    length = length_mm * 1000 / mpp / width_px * box.width
    y = box.y0 - 0.12 / figure.get_figheight()
    figure.add_artist(Rectangle((box.x0, y), length, 0.04 / figure.get_figheight(), color="black", linewidth=0))
    figure.text(box.x0, y - 0.05 / figure.get_figheight(), f"{length_mm:g} mm", va="top", fontsize=_FONT)
