"""How far apart two surfaces are.

The surface of a mask is the set of its voxels of which at least one of the six face neighbours lies outside; beyond the
scan's edge is outside. Every surface voxel counts once, whatever its area. A distance runs from the centre of a surface
voxel to the nearest surface voxel centre of the other mask, in mm. MONAI defines it so; tools that weigh surface
elements by area (DeepMind's surface-distance) give other numbers.
"""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-6  # relative; distances are float32, and a distance that equals the tolerance is within it


def hd95_mm(reference, prediction, *, spacing) -> float:
    """95th percentile of the surface distance between two masks.

    Args:
        reference: Boolean mask, `(I, J, K)`.
        prediction: Boolean mask of the same shape.
        spacing: Voxel size in mm along I, J, K.

    Returns:
        Distance in mm; `nan` if both masks are empty, `inf` if exactly one is.

    Raises:
        ValueError: If the shapes differ or `spacing` is not three positive numbers.

    Source:
        Maier-Hein et al., Metrics Reloaded (2024), HD95.
    """
    return hd95_of(surface_distances(reference, prediction, spacing=spacing))


def assd_mm(reference, prediction, *, spacing) -> float:
    """Average symmetric surface distance between two masks.

    Both directed distance lists are pooled before the mean (not a mean of two means).

    Args:
        reference: Boolean mask, `(I, J, K)`.
        prediction: Boolean mask of the same shape.
        spacing: Voxel size in mm along I, J, K.

    Returns:
        Distance in mm; `nan` if both masks are empty, `inf` if exactly one is.

    Raises:
        ValueError: If the shapes differ or `spacing` is not three positive numbers.

    Source:
        Maier-Hein et al., Metrics Reloaded (2024), ASSD.
    """
    a, b = surface_distances(reference, prediction, spacing=spacing)
    if not (a.size and b.size):
        return _one_empty(a, b)
    return float(np.concatenate([a, b]).mean(dtype=np.float64))


def nsd(reference, prediction, *, spacing, tolerance_mm: float) -> float:
    """Normalised surface Dice: the share of both surfaces that lies within `tolerance_mm` of the other one.

    Args:
        reference: Boolean mask, `(I, J, K)`.
        prediction: Boolean mask of the same shape.
        spacing: Voxel size in mm along I, J, K.
        tolerance_mm: Largest distance that counts as agreement.

    Returns:
        Share in [0, 1]; `nan` if both masks are empty, 0 if exactly one is.

    Raises:
        ValueError: If the shapes differ or `spacing` is not three positive numbers.

    Source:
        Nikolov et al., surface Dice (2021), with voxels in place of area elements.
    """
    return nsd_of(surface_distances(reference, prediction, spacing=spacing), tolerance_mm=tolerance_mm)


def surface_distances(reference, prediction, *, spacing) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each surface voxel of one mask to the surface of the other, in both directions.

    Args:
        reference: Boolean mask, `(I, J, K)`.
        prediction: Boolean mask of the same shape.
        spacing: Voxel size in mm along I, J, K.

    Returns:
        From the reference's surface to the prediction's, and back: two float32 arrays in mm. An empty mask has an
        empty list, and the other direction is then all `inf`.

    Raises:
        ValueError: If the shapes differ or `spacing` is not three positive numbers.
    """
    reference, prediction = np.asarray(reference, bool), np.asarray(prediction, bool)
    spacing = tuple(float(s) for s in spacing)
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise ValueError(f"spacing must be three positive mm values, got {spacing}; read it from the affine's columns")
    if reference.ndim != 3 or reference.shape != prediction.shape:
        raise ValueError(f"masks must be 3D of one shape, got {reference.shape} and {prediction.shape}")
    # Nothing outside the box of the union can be nearest, so distances inside it are exact.
    box = _box(reference | prediction)
    a, b = surface(reference[box]), surface(prediction[box])
    return distance_mm(b, spacing)[a], distance_mm(a, spacing)[b]


def surface(mask) -> np.ndarray:
    """The voxels of a mask that have a face neighbour outside it; beyond the array's edge is outside.

    Args:
        mask: Boolean, `(I, J, K)`.

    Returns:
        Boolean, the same shape.
    """
    padded = np.zeros(tuple(n + 2 for n in mask.shape), bool)
    centre = (slice(1, -1),) * 3
    padded[centre] = mask
    inside = np.ones(mask.shape, bool)
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            inside &= padded[tuple(side if i == axis else s for i, s in enumerate(centre))]
    return padded[centre] & ~inside


def hd95_of(distances) -> float:
    """HD95 in mm of the two lists of `surface_distances`; `nan` if both masks were empty, `inf` if one was."""
    a, b = distances
    if not (a.size and b.size):
        return _one_empty(a, b)
    # the larger of the two 95th percentiles, as DeepMind and MONAI do; pooling the lists gives a smaller number
    return float(max(np.percentile(a, 95), np.percentile(b, 95)))


def nsd_of(distances, *, tolerance_mm: float) -> float:
    """NSD of the two lists of `surface_distances`; `nan` if both masks were empty, 0 if one was."""
    a, b = distances
    if not (a.size or b.size):
        return float("nan")
    limit = tolerance_mm * (1 + ROUNDING)
    return float(((a <= limit).sum() + (b <= limit).sum()) / (a.size + b.size))


def _one_empty(a, b) -> float:
    return float("inf") if a.size or b.size else float("nan")


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(tuple(i for i in range(3) if i != axis)))
        box.append(slice(hit[0], hit[-1] + 1) if hit.size else slice(0, 0))
    return tuple(box)


def within(points: np.ndarray, spacing, reach_mm: float) -> np.ndarray:
    """Voxels no further than `reach_mm` from any true voxel: boolean, of the same shape."""
    return distance_mm(points, spacing) <= reach_mm * (1 + ROUNDING)


def distance_mm(points: np.ndarray, spacing) -> np.ndarray:
    """Distance of each voxel centre from the nearest true voxel's.

    Args:
        points: Boolean, `(I, J, K)`.
        spacing: Voxel size in mm along I, J, K.

    Returns:
        float32 of the same shape, mm; `inf` everywhere if no voxel is true.
    """
    import edt  # here, not above: training needs the metrics on machines that have nothing but torch

    if not points.any():
        return np.full(points.shape, np.inf, np.float32)
    far = np.ascontiguousarray(~points).view(np.uint8)  # of bytes: of booleans edt takes three times as long
    return edt.edt(far, anisotropy=tuple(spacing), black_border=False, parallel=1)
