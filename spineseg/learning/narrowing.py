"""A part of a coarse scan, as a smaller field of view would show it."""

from __future__ import annotations

import numpy as np

SHORTEST_MM = 70.0  # along the body: two lumbar vertebrae, or four in the neck
NARROWEST_MM = 80.0  # across: a spine with its processes and nothing beside it


def draw_smaller(rng: np.random.Generator, shape, spacing) -> np.ndarray:
    """Draw the size of a smaller field of view: shorter, and half of the time narrower too.

    Lengths are drawn evenly on a logarithmic scale, so that crops of a few vertebrae, as many released scans are, come
    as often as long ones; both directions across are narrowed alike.

    Args:
        rng: Source of the draw.
        shape: Of the scan, voxels; axes are R, A, S.
        spacing: Of its voxels, mm.

    Returns:
        `(3,)` int, at most `shape`.
    """
    shape, least = np.asarray(shape), np.array([NARROWEST_MM, NARROWEST_MM, SHORTEST_MM]) / np.asarray(spacing)
    least = np.minimum(np.ceil(least), shape)
    along, across, narrows = rng.uniform(), rng.uniform(), rng.random() < 0.5
    share = np.array([*np.clip(across + rng.uniform(-0.15, 0.15, 2), 0.0, 1.0), along])
    share[:2] *= narrows
    return np.maximum(np.floor(shape * (least / shape) ** share), least).astype(int)


def draw_near_spine(rng: np.random.Generator, labels: np.ndarray, shape) -> np.ndarray:
    """Draw where a part of a scan lies: along the body anywhere on the spine, across with the spine in its middle.

    Args:
        rng: Source of the draw.
        labels: `(i, j, k)`; without a vertebra the part lies anywhere.
        shape: Of the part, voxels, at most that of the scan.

    Returns:
        Its centre, `(3,)` scan indices, fractions between voxels.
    """
    shape, size = np.asarray(shape), np.array(labels.shape)
    low, high = (shape - 1) / 2, size - 1 - (shape - 1) / 2
    centre = rng.uniform(low, np.maximum(high, low))
    found = np.argwhere(labels > 0)
    if len(found):
        anchor = found[rng.integers(len(found))]
        centre[2] = np.clip(anchor[2] + rng.uniform(-0.3, 0.3) * shape[2], low[2], max(high[2], low[2]))
        near = found[np.abs(found[:, 2] - centre[2]) <= shape[2] / 2]
        middle = (near if len(near) else found).mean(0)
        across = middle[:2] + rng.uniform(-0.2, 0.2, 2) * shape[:2]
        centre[:2] = np.clip(across, low[:2], np.maximum(high[:2], low[:2]))
    return centre


def draw_around(rng: np.random.Generator, point, size, shape) -> np.ndarray:
    """Draw where a part of a scan lies that shows a given point, away from the part's own border.

    Args:
        rng: Source of the draw.
        point: `(3,)` scan indices, fractions between voxels.
        size: Of the scan, voxels.
        shape: Of the part, voxels, at most `size`.

    Returns:
        Its first voxel, `(3,)` int.
    """
    size, shape = np.asarray(size), np.asarray(shape)
    start = np.rint(np.asarray(point) - rng.uniform(0.2, 0.8, 3) * shape)
    return np.clip(start, 0, size - shape).astype(int)
