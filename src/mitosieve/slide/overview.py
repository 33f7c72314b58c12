"""A slide seen whole, and the blocks of tissue that stand for it: its stain and its cut are judged on them alone.

They depend on the slide and nothing else, so tiles, shards and a resumed job judge alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import Region, lattice
from mitosieve.slide.slide import Slide
from mitosieve.slide.tissue import Tissue, TissueRule, tissue_mask

COARSE_PX = 8
"""Surroundings are blurred on 8 x 8 blocks: a plane must start at a multiple of this on the slide's lattice."""

BLOCK_UM, BLOCKS = 256, 16
"""Sixteen blocks of 256 um: 1 mm2, of which a few thousand cells are seen."""

WELL_FILLED = 0.5
"""Blocks with less tissue than this are taken only where there are too few others."""


OVERVIEW_MPP = 8.0
"""um per px of the overview on which tissue is told from glass."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A slide seen whole.

    Attributes:
        pixels: (h, w, 3) uint8 at OVERVIEW_MPP.
        tissue: what of it is tissue.
    """

    pixels: NDArray[np.uint8]
    tissue: Tissue


def look_over(slide: Slide, rule: TissueRule = "otsu") -> Overview:
    """See a slide whole; `rule` tells tissue from glass."""
    pixels = slide.thumbnail(OVERVIEW_MPP)
    return Overview(pixels=pixels, tissue=Tissue(mask=tissue_mask(pixels, rule), mpp=OVERVIEW_MPP))


def sample_blocks(slide: Slide, tissue: Tissue, mpp: float) -> list[Region]:
    """Blocks that stand for a slide, on its lattice at `mpp`, in row-major order.

    The slide is cut into blocks of BLOCK_UM from its top left corner. All that hold tissue are taken where they are at
    most BLOCKS; else BLOCKS of those well filled, evenly spaced in row-major order; where too few are well filled,
    of all that hold tissue. A slide without tissue has none.
    """
    whole = lattice(slide.bounds, mpp_l0=slide.mpp_xy, mpp=mpp)
    side = max(1, round(BLOCK_UM / mpp / COARSE_PX)) * COARSE_PX
    x, y = (np.array([*range(0, length, side), length]) for length in (whole.w, whole.h))
    share = tissue.fractions(x, y, mpp).ravel()
    chosen = np.flatnonzero(share > 0)
    if len(chosen) > BLOCKS:
        filled = np.flatnonzero(share >= WELL_FILLED)
        chosen = filled if len(filled) >= BLOCKS else chosen
        chosen = chosen[np.linspace(0, len(chosen) - 1, BLOCKS).round().astype(int)]
    rows, columns = np.unravel_index(chosen, (len(y) - 1, len(x) - 1))
    return [
        Region(x=int(x[i]), y=int(y[j]), w=int(x[i + 1] - x[i]), h=int(y[j + 1] - y[j]))
        for j, i in zip(rows, columns, strict=True)
    ]
