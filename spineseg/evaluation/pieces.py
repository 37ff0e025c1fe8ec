"""Connected pieces of a label map."""

from __future__ import annotations

import numpy as np


def connected_pieces(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the pieces of one label whose voxels share faces.

    Args:
        labels: `(I, J, K)` whole numbers, 0 is background.

    Returns:
        `(I, J, K)` whole numbers, 0 and then 1 to the number of pieces, and that number.
    """
    import cc3d  # here, not above: training needs this floor on machines that have nothing but torch

    return cc3d.connected_components(labels, connectivity=6, return_N=True)
