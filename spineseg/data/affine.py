"""What an affine says: spacing, orientation, right angles; canonical axes and working grids. Numpy only."""

from __future__ import annotations

import itertools
import math

import numpy as np


def spacing_of(affine) -> tuple[float, float, float]:
    """Voxel size in mm along I, J, K."""
    return tuple(float(v) for v in np.sqrt((np.asarray(affine, np.float64)[:3, :3] ** 2).sum(0)))


def orientation_of(affine) -> str:
    """Direction in which each index grows, such as `"RAS"` (agrees with `nibabel.aff2axcodes`)."""
    return "".join(("LR", "PA", "IS")[axis][sign > 0] for axis, sign in _axes(affine))


def shear_degrees(affine) -> float:
    """Largest deviation of the angles between the three axes from 90 degrees."""
    columns = np.asarray(affine, np.float64)[:3, :3] / spacing_of(affine)
    cosines = [float(columns[:, a] @ columns[:, b]) for a, b in itertools.combinations(range(3), 2)]
    return max(math.degrees(math.asin(min(abs(c), 1.0))) if math.isfinite(c) else math.inf for c in cosines)


def corner_shift_mm(affine, other, shape) -> float:
    """Largest distance between the eight corner voxels of one shape under two affines."""
    corners = np.array([[*c, 1] for c in itertools.product(*((0, n - 1) for n in shape))], np.float64)
    difference = np.asarray(affine, np.float64) - np.asarray(other, np.float64)
    return float(np.linalg.norm((corners @ difference.T)[:, :3], axis=1).max())


def to_canonical(array, affine):
    """Permute and flip the axes so that I, J, K grow towards (nearly) R, A, S. No voxel changes its value or its place.

    Args:
        array: `(I, J, K)`, numpy (a view is returned) or torch.
        affine: `(4, 4)`, voxel index to RAS+ mm.

    Returns:
        The array and its affine, whose orientation is `"RAS"`.
    """
    axes = _axes(affine)
    order = [next(i for i in range(3) if axes[i][0] == world) for world in range(3)]
    flips = [d for d in range(3) if axes[order[d]][1] < 0]
    step = np.zeros((4, 4))  # canonical index -> original index
    step[3, 3] = 1
    for d, source in enumerate(order):
        step[source, d] = -1 if d in flips else 1
        step[source, 3] = array.shape[source] - 1 if d in flips else 0
    if hasattr(array, "permute"):  # torch, not imported here
        moved = array.permute(order)
        moved = moved.flip(flips) if flips else moved
    else:
        moved = np.flip(np.transpose(array, order), flips)
    return moved, np.asarray(affine, np.float64) @ step


def grid_at(affine, shape, spacing_mm: float | tuple[float, float, float]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Grid of another voxel size over the same field of view: same directions, same centre, right-angled.

    Args:
        affine: `(4, 4)` of the scan.
        shape: Of the scan.
        spacing_mm: Voxel size, one for all axes or three.

    Returns:
        Affine and shape; the shape is rounded up, so that no voxel of the scan is left out.
    """
    affine = np.asarray(affine, np.float64)
    spacing = np.broadcast_to(np.asarray(spacing_mm, np.float64), 3)
    directions = affine[:3, :3] / spacing_of(affine)
    if shear_degrees(affine) > 1e-3:
        left, _, right = np.linalg.svd(directions)
        directions = left @ right  # the closest right-angled frame
    edges = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in shape))))
    along = (edges @ affine[:3, :3].T + affine[:3, 3]) @ directions
    low, high = along.min(0), along.max(0)
    counts = np.maximum(np.ceil((high - low) / spacing - 1e-3).astype(int), 1)
    result = np.eye(4)
    result[:3, :3] = directions * spacing
    result[:3, 3] = directions @ ((low + high) / 2 - (counts - 1) / 2 * spacing)
    return result, tuple(int(n) for n in counts)


def _axes(affine) -> list[tuple[int, int]]:
    """World axis and sign that each index follows, strongest first as in nibabel's `io_orientation`."""
    directions = np.asarray(affine, np.float64)[:3, :3] / spacing_of(affine)
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right
    result = [(0, 1)] * 3
    for column in np.argsort(np.min(-(rotation**2), axis=0), kind="stable"):
        world = int(np.argmax(np.abs(rotation[:, column])))
        result[column] = (world, 1 if rotation[world, column] > 0 else -1)
        rotation[world] = 0
    return result


class Placed:
    """What anything with an `affine` can say of its voxels."""

    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along I, J, K."""
        return spacing_of(self.affine)

    @property
    def orientation(self) -> str:
        """Direction in which each index grows, such as `"RAS"`."""
        return orientation_of(self.affine)
