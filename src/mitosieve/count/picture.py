"""A small picture of a whole slide; of one that is a field, the figures in it as rings, as a PNG. Knows points and
pixels only.

Frame of points: um from the slide's upper left corner, which is the picture's.
"""

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.run.folder import write_atomic

FIELD_UM = 900.0
"""Longer side below which a slide is a field: a density whose Gaussian is a third of that wide has one colour there."""

LONGEST_PX = (480, 900)
"""Least and most of the longer side of a drawn picture."""

_SCALES_MM = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

_RING_UM, _LEAST_RING_PX = 9.0, 7.0
"""Radius of a ring: about the cell, not across it."""

_MARGIN_PX, _BELOW_PX, _FONT_PX = 12, 42, 14


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture of a whole slide.

    Attributes:
        rgb: uint8 (h, w, 3).
        mpp_xy: um per pixel of it, along a row and along a column.
        tissue: bool (h, w), which pixels are tissue; None is all of them.
        area_um: outlines of the area that alone was searched, each (N, 2) closed, um; none where the whole slide was.
    """

    rgb: NDArray[np.uint8]
    mpp_xy: tuple[float, float]
    tissue: NDArray[np.bool_] | None = None
    area_um: tuple[NDArray[np.float64], ...] = ()

    @property
    def size_um(self) -> tuple[float, float]:
        return self.rgb.shape[1] * self.mpp_xy[0], self.rgb.shape[0] * self.mpp_xy[1]

    @property
    def is_field(self) -> bool:
        """Whether it shows so little that a density says nothing."""
        return max(self.size_um) < FIELD_UM

    def resized(self) -> tuple[NDArray[np.uint8], float]:
        """The picture with square pixels and a longer side within bounds, and the um of its pixels."""
        width_um, height_um = self.size_um
        least, most = (max(width_um, height_um) / longest for longest in reversed(LONGEST_PX))
        mpp = min(max(min(self.mpp_xy), least), most)
        size = max(1, round(width_um / mpp)), max(1, round(height_um / mpp))
        small = size[0] < self.rgb.shape[1] or size[1] < self.rgb.shape[0]
        how = cv2.INTER_AREA if small else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.rgb, size, interpolation=how), dtype=np.uint8), mpp


def scale_mm(width_px: int, mpp: float) -> float:
    """Length of a scale bar: the longest round one that is at most a quarter of a picture's width."""
    most = 0.25 * width_px * mpp / 1000
    return max((scale for scale in _SCALES_MM if scale <= most), default=_SCALES_MM[0])


def in_figures(count: int) -> str:
    """A number of figures, in words."""
    return f"{count:,} {'figure' if count == 1 else 'figures'}"


def write_field(path: Path, thumbnail: Thumbnail, point_um: NDArray[np.floating], *, note: str = "") -> Path:
    """Draw a field as it is with a ring about each figure, white within black so that it shows on every ground, and the
    outline of the area that was searched; a scale bar and the number below. Equal input gives equal bytes with the same
    versions of OpenCV and Pillow.

    Args:
        path: the PNG.
        thumbnail: of the whole slide; drawn with square pixels, its longer side 480 to 900 of them.
        point_um: (N, 2) x, y of the figures from the slide's upper left corner.
        note: said after the number.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    picture, mpp = thumbnail.resized()
    points = np.asarray(point_um, dtype=np.float64).reshape(-1, 2) / mpp - 0.5
    radius = max(_RING_UM / mpp, _LEAST_RING_PX)
    for color, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        for x, y in points:
            center = (round(x * 16), round(y * 16))  # sixteenths of a pixel
            cv2.circle(picture, center, round(radius * 16), color, width, cv2.LINE_AA, 4)
        for ring in thumbnail.area_um:
            corners = np.rint(np.clip((ring / mpp - 0.5) * 16, -(2**20), 2**20)).astype(np.int32)
            cv2.polylines(picture, [corners], True, color, width, cv2.LINE_AA, 4)
    return write_atomic(path, _on_paper(picture, mpp, _words(len(points), note)))


def _words(figures: int, note: str) -> str:
    count = in_figures(figures) if figures else "No figures"
    return f"{count}; {note}" if note else count


def _font_file() -> Path:
    """The heat maps' font, without loading what it comes with."""
    found = find_spec("matplotlib")
    assert found is not None  # the package asks for it
    assert found.origin is not None
    return Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"


def _on_paper(picture: NDArray[np.uint8], mpp: float, words: str) -> bytes:
    """In a white margin; below it the scale bar at the left and the words at the right, or under that if narrow."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    font = ImageFont.truetype(_font_file(), _FONT_PX)
    bar_px, scale = scale_mm(width, mpp) * 1000 / mpp, f"{scale_mm(width, mpp):g} mm"
    under = max(bar_px, font.getlength(scale)) + font.getlength(words) + 2 * _FONT_PX > width
    full = (max(width, round(font.getlength(words))) + 2 * _MARGIN_PX, height + _MARGIN_PX + _BELOW_PX * (1 + under))
    paper = Image.new("RGB", full, "white")
    paper.paste(Image.fromarray(picture), (_MARGIN_PX, _MARGIN_PX))
    pen = ImageDraw.Draw(paper)
    right, top = _MARGIN_PX + width, _MARGIN_PX + height
    pen.rectangle((_MARGIN_PX - 1, _MARGIN_PX - 1, right, top), outline="black")
    pen.rectangle((_MARGIN_PX, top + 8, _MARGIN_PX + round(bar_px) - 1, top + 11), fill="black")
    pen.text((_MARGIN_PX, top + 16), scale, fill="black", font=font)
    if under:
        pen.text((_MARGIN_PX, top + 16 + _BELOW_PX), words, fill="black", font=font)
    else:
        pen.text((right, top + 16), words, fill="black", font=font, anchor="ra")
    file = io.BytesIO()
    paper.save(file, "PNG")
    return file.getvalue()
