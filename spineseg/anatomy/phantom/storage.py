"""How arrays lie in a file: the 48 orientations."""

from __future__ import annotations

import numpy as np


def orientations() -> list[str]:
    """All 48 codes, `RAS` first."""
    letters = ("RL", "AP", "SI")
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return ["".join(letters[d][(flips >> d) & 1] for d in order) for order in orders for flips in range(8)]


def orient(array: np.ndarray, affine: np.ndarray, code: str) -> tuple[np.ndarray, np.ndarray]:
    """Store a RAS+ array in another of the 48 orientations.

    Args:
        array: `(I, J, K)` whose indices grow to R, A and S.
        affine: Its affine, diagonal.
        code: Target, such as `"LPS"`: the way each index is to grow.

    Returns:
        The array, contiguous, and its affine; every voxel keeps its world position.
    """
    axes = [next(d for d, pair in enumerate(("RL", "AP", "SI")) if letter in pair) for letter in code]
    out, stored = array.transpose(axes), np.eye(4)
    stored[:3, :3], stored[:3, 3] = affine[:3, axes], affine[:3, 3]
    for d, letter in enumerate(code):
        if letter in "LPI":
            stored[:3, 3] += stored[:3, d] * (out.shape[d] - 1)
            stored[:3, d] *= -1
            out = np.flip(out, d)
    return np.ascontiguousarray(out), stored
