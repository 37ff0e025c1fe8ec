"""A scan as a whole: how much bone was found, and how much was painted where no vertebra is, whatever the names."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.labels import N_CLASSES
from spineseg.evaluation.surfaces import distance_mm

ROUNDING = 1e-6  # relative; distances are float32, and a distance that equals the tolerance is within it


def false_voxels(reference, prediction, spacing, *, tolerance_mm: float, ignore=None) -> tuple[np.ndarray, np.ndarray]:
    """Predicted voxels that lie on no vertebra of the reference, and those of them that lie far from all.

    The first count is dominated by outlines that are a little too wide. The second leaves those out: what is farther
    from every vertebra than an outline can miss is something else that was taken for one.

    Args:
        reference: Label map or mask, `(I, J, K)`; may hold no vertebra, and then everything predicted is far.
        prediction: Label map of the same shape, whole numbers 0..25.
        spacing: Voxel size in mm along I, J, K.
        tolerance_mm: Largest distance from a reference voxel's centre that is not far.
        ignore: Boolean, `(I, J, K)`: voxels that count for nothing; None for none.

    Returns:
        Two `(26,)` int64 counts by predicted label: outside the reference, and farther than `tolerance_mm` from it.
        The background's are 0.

    Raises:
        ValueError: If the shapes differ.
    """
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    shapes = {reference.shape, prediction.shape} | ({np.shape(ignore)} if ignore is not None else set())
    if len(shapes) > 1:
        found = " and ".join(map(str, sorted(shapes)))
        raise ValueError(f"reference, prediction and ignore must lie on one grid, got {found}; resample them first")
    outside = (prediction > 0) & (reference == 0)
    if ignore is not None:
        outside &= ~np.asarray(ignore, bool)
    if not outside.any():
        return np.zeros(N_CLASSES, np.int64), np.zeros(N_CLASSES, np.int64)
    # a vertebra beyond this box is farther than the tolerance from every voxel that is asked about
    box = _box(outside, [int(np.ceil(tolerance_mm / s)) for s in spacing])
    outside, names = outside[box], prediction[box]
    far = outside & (distance_mm(reference[box] > 0, spacing) > tolerance_mm * (1 + ROUNDING))
    return tuple(np.bincount(names[where], minlength=N_CLASSES) for where in (outside, far))


def whole_scan(reference, prediction, affine, *, tolerance_mm: float, ignore=None) -> dict[str, float]:
    """Compare two label maps as bone and no bone, over the whole volume.

    Args:
        reference: Label map, `(I, J, K)`, whole numbers 0..25.
        prediction: Label map of the same shape.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        tolerance_mm: As for `false_voxels`.
        ignore: As for `false_voxels`, such as the mask of `incomplete.unjudged`.

    Returns:
        `binary_dice` (`nan` if both are empty, 0 if one is), `false_positive_ml` and `false_vertebra_ml`.

    Raises:
        ValueError: If the shapes differ.
    """
    affine = np.asarray(affine, float)
    spacing, voxel_ml = np.linalg.norm(affine[:3, :3], axis=0), abs(np.linalg.det(affine[:3, :3])) / 1000
    outside, far = false_voxels(reference, prediction, spacing, tolerance_mm=tolerance_mm, ignore=ignore)
    bone, found = np.asarray(reference) > 0, np.asarray(prediction) > 0
    if ignore is not None:
        keep = ~np.asarray(ignore, bool)
        bone, found = bone & keep, found & keep
    total = bone.sum() + found.sum()
    return {
        "binary_dice": float(2.0 * (bone & found).sum() / total) if total else float("nan"),
        "false_positive_ml": float(outside.sum() * voxel_ml),
        "false_vertebra_ml": float(far.sum() * voxel_ml),
    }


def _box(mask: np.ndarray, margins) -> tuple[slice, ...]:
    box = []
    for axis, margin in enumerate(margins):
        hit = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(hit[0] - margin, 0), hit[-1] + 1 + margin))
    return tuple(box)
