"""Which of two lists of places are one cell. Places in um alone; no cells, no marks."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

SAME_CELL_UM = 7.5
"""Two places this near to one another are one cell, be they marks, detections or cells that somebody added: the
official matching radius.
"""


def same_cells(here_um: NDArray[np.float64], there_um: NDArray[np.float64]) -> dict[int, int]:
    """Row of (N, 2) places -> row of the (M, 2) places that it is, within SAME_CELL_UM; the nearest pairs first, each
    place once, equally near ones by row.
    """
    reach_um = SAME_CELL_UM * (1 + 1e-9)
    near = KDTree(here_um).sparse_distance_matrix(KDTree(there_um), reach_um, output_type="coo_matrix")
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, one, other in sorted(zip(near.data.tolist(), near.row.tolist(), near.col.tolist(), strict=True)):
        if one not in found and other not in taken:
            found[one] = other
            taken.add(other)
    return found
