"""What of a slide may differ from a training's slides: its stain, its sharpness, its resolution. No labels, no network.

Measured on small pieces of tissue in the slide's own colours, at the resolution that the networks see, so they depend
on the slide alone and not on how it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Region
from mitosieve.patch.frames import Look, render_block
from mitosieve.slide.overview import OVERVIEW_MPP
from mitosieve.slide.slide import Slide
from mitosieve.slide.stain import estimate_profile
from mitosieve.slide.tissue import DEFAULT_BACKGROUND, Tissue

PIECE_CELLS = 4
"""Side of a piece in px of the overview: 32 um, some four nuclei."""

PIECES, MOST_PIECES, ONE_IN = 12, 64, 32
"""Of a small field twelve pieces, of a larger slide one in 32 of those with tissue, at most 64: 0.3 ms each."""

LEAST_PIECES = 4
"""A slide with less tissue than this is not judged: one cell more or less would change its traits."""

WELL_FILLED = 0.5
"""Share of a piece that must be tissue."""

STAIN_STEP = 4
"""Every fourth row and column is enough for a stain."""

_LEAST_VARIANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class SlideTraits:
    """Traits of a slide, or of several small ones together.

    Attributes:
        resolution: natural logarithm of the um per px that were scanned.
        stain: (8,) the Macenko profile: six numbers of the stain matrix, row by row, then the logarithms of both
            maxima; None where the stain cannot be told, or there is too little tissue.
        sharpness: logarithm of the median variance of the Laplacian of grey; None where there is too little tissue.
    """

    resolution: float
    stain: tuple[float, ...] | None
    sharpness: float | None

    def vector(self, name: str) -> tuple[float, ...] | None:
        """A trait by its name, as numbers."""
        value: Any = getattr(self, name)
        return (value,) if isinstance(value, float) else value


def measure_slide(slide: Slide, tissue: Tissue, mpp: float) -> SlideTraits:
    """Traits of a slide.

    Args:
        slide: opened.
        tissue: of its overview.
        mpp: um per px at which networks see it.
    """
    return measure_pieces(tissue_pieces(slide, tissue, mpp), slide.mpp)


def measure_pieces(pieces: Sequence[NDArray[np.uint8]], mpp_l0: float) -> SlideTraits:
    """Traits of pieces (h, w, 3) that were rendered at the networks' resolution.

    Args:
        pieces: of one slide, or of several of one patient and scanner.
        mpp_l0: um per px that were scanned.
    """
    if len(pieces) < LEAST_PIECES:
        return SlideTraits(resolution=float(np.log(mpp_l0)), stain=None, sharpness=None)
    profile = estimate_profile(np.concatenate([piece[::STAIN_STEP, ::STAIN_STEP].reshape(-1, 3) for piece in pieces]))
    stain = None
    if profile is not None:
        stain = (*profile.matrix.ravel().tolist(), *np.log(profile.max_concentration).tolist())
    variance = float(np.median([_laplacian_variance(piece) for piece in pieces]))
    return SlideTraits(
        resolution=float(np.log(mpp_l0)), stain=stain, sharpness=float(np.log(variance + _LEAST_VARIANCE))
    )


def tissue_pieces(slide: Slide, tissue: Tissue, mpp: float) -> list[NDArray[np.uint8]]:
    """Pieces of a slide's tissue in its own colours: a fixed few of a grid of 32 um, evenly spaced in row-major order.

    Args:
        slide: opened.
        tissue: of its overview.
        mpp: um per px of the pieces.
    """
    rows, columns = (side // PIECE_CELLS for side in tissue.mask.shape)
    cells = tissue.mask[: rows * PIECE_CELLS, : columns * PIECE_CELLS]
    share = cells.reshape(rows, PIECE_CELLS, columns, PIECE_CELLS).mean(axis=(1, 3)).ravel()
    filled = np.flatnonzero(share >= WELL_FILLED)
    wanted = min(MOST_PIECES, max(PIECES, len(filled) // ONE_IN))
    if len(filled) > wanted:
        filled = filled[np.linspace(0, len(filled) - 1, wanted).round().astype(int)]
    bare = np.array(DEFAULT_BACKGROUND, dtype=np.uint8)
    look = Look(transform=None, background=bare, glass=bare)
    side_um = PIECE_CELLS * OVERVIEW_MPP
    side = round(side_um / mpp)
    places = [(round(int(i % columns) * side_um / mpp), round(int(i // columns) * side_um / mpp)) for i in filled]
    return [render_block(slide, Region(x=x, y=y, w=side, h=side), mpp=mpp, look=look).pixels for x, y in places]


def _laplacian_variance(piece: NDArray[np.uint8]) -> float:
    grey = cv2.cvtColor(piece, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_16S)[1:-1, 1:-1].var())
