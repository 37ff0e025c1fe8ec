"""Voxels of prepared cases: a box of them, bytes as an image, and where each class lies."""

from __future__ import annotations

import numpy as np

FOREGROUND_VOXELS = 4000  # coordinates kept per class, for drawing patch centres


def read_box(array, start, shape) -> np.ndarray:
    """A box of a stored array; outside it is 0.

    Args:
        array: uint8 `(I, J, K)`, numpy or blosc2.
        start: First voxel along I, J, K; may lie outside.
        shape: Voxels.

    Returns:
        uint8 of `shape`.
    """
    inside = [slice(max(s, 0), max(min(s + n, f), 0)) for s, n, f in zip(start, shape, array.shape, strict=True)]
    if all(i.stop - i.start == n for i, n in zip(inside, shape, strict=True)):
        box = array[tuple(inside)]
        return box.copy() if isinstance(array, np.ndarray) else box  # a stored array gives a new one
    box = np.zeros(tuple(int(n) for n in shape), np.uint8)
    if all(i.start < i.stop for i in inside):
        box[tuple(slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True))] = array[tuple(inside)]
    return box


def unit(stored: np.ndarray) -> np.ndarray:
    """Stored bytes as float32 in [0, 1]."""
    values = stored.astype(np.float32)
    values /= np.float32(255)  # in place: half the time
    return values


def foreground_of(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Coordinates of up to `FOREGROUND_VOXELS` voxels of each class in `(I, J, K)` labels, evenly spread, `(n, 3)`."""
    flat = np.flatnonzero(labels)
    values = labels.reshape(-1)[flat]
    order = np.argsort(values, kind="stable")
    present, counts = np.unique(values, return_counts=True)
    result, first = {}, 0
    for value, count in zip(present.tolist(), counts.tolist(), strict=True):
        where, first = flat[order[first : first + count]], first + count
        evenly = np.linspace(0, len(where) - 1, min(len(where), FOREGROUND_VOXELS)).astype(int)
        result[value] = np.stack(np.unravel_index(where[evenly], labels.shape), 1).astype(np.int32)
    return result
