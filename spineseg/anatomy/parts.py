"""Body and arch of every vertebra as voxels, told apart in the mask alone."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body, bodies_of
from spineseg.anatomy.row import Row, row_of

BODY, ARCH = 1, 2
_WALL_MM = 0.7  # behind the back wall of the midplane, where the sides of a hollow wall lie
_RIM_MM = 2.0  # around the columns of the body, where its rounded rim and spurs lie
_SIDE_SHARE = 0.04  # of the width, beside which nothing but processes lies
_FRONT_SHARE = 0.6  # of the depth, in front of which nothing but body lies


def body_and_arch(labels: np.ndarray, affine: np.ndarray, *, step_mm: float) -> np.ndarray:
    """Tell body and arch of every vertebra apart.

    Args:
        labels: `(I, J, K)` uint8, 0 to 25.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        step_mm: Lattice on which a vertebra is looked at.

    Returns:
        uint8 `(I, J, K)`: `BODY`, `ARCH`, 0 elsewhere; C1 is all arch, and a vertebra without a canal in view is 0.
    """
    row = row_of(labels, affine, step_mm=step_mm)
    found = bodies_of(row, step_mm=step_mm)
    parts = np.zeros(row.labels.shape, np.uint8)
    parts[row.labels == 1] = ARCH
    for level, body in found.items():
        parts[row.labels == level] = np.where(belongs(body, row.places[level]), BODY, ARCH)
    return parts


def body_volumes_ml(row: Row, bodies: dict[int, Body]) -> dict[int, float]:
    """Volume of each body without its arch, by label."""
    voxel_ml = abs(np.linalg.det(row.affine[:3, :3])) / 1000.0
    return {level: float(belongs(body, row.places[level]).sum() * voxel_ml) for level, body in bodies.items()}


def belongs(body: Body, place: np.ndarray) -> np.ndarray:
    """`(n,)` whether world points of a vertebra lie in its body: not behind the back wall, not beside its columns."""
    local, view = (place - body.middle) @ body.frame, body.view
    steps = int(np.ceil(_RIM_MM / view.step_mm))
    columns = ~np.isnan(body.top) | ~np.isnan(body.bottom)
    for axis in (0, 1):
        columns = np.any([np.roll(columns, shift, axis) for shift in range(-steps, steps + 1)], axis=0)
    i = np.clip(np.rint((local[:, 0] - view.x[0]) / view.step_mm).astype(int), 0, len(view.x) - 1)
    j = np.clip(np.rint((local[:, 1] - view.y[0]) / view.step_mm).astype(int), 0, len(view.y) - 1)
    front = local[:, 1] >= body.back_mm + _FRONT_SHARE * body.depth_mm
    beside = np.abs(local[:, 0]) > (0.5 + _SIDE_SHARE) * body.width_mm
    return (local[:, 1] >= body.back_mm - _WALL_MM) & (columns[i, j] | front) & ~beside
