"""From a scan to the networks' grids: RAS+ axes, isotropic voxels, one HU window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from spineseg.config import Config, PreparationConfig
from spineseg.data import geometry
from spineseg.data.case import Case
from spineseg.data.digest import values_hash
from spineseg.data.reference import read_case


@dataclass(frozen=True)
class PreparedCase:
    """A scan on the network's grids: RAS+ axes, isotropic voxels, one HU window.

    Attributes:
        case: Name.
        image: `(I, J, K)` float32 in [0, 1], fine grid.
        labels: `(I, J, K)` uint8 0 .. 25, fine grid; None for a scan without segmentation.
        affine: `(4, 4)`, fine voxel index to RAS+ mm.
        coarse_image: `(i, j, k)` float32 in [0, 1], coarse grid over the same field of view.
        coarse_labels: `(i, j, k)` uint8, or None.
        coarse_affine: `(4, 4)`, coarse voxel index to RAS+ mm.
        original_affine: `(4, 4)` of the scan's own grid, any orientation.
        original_shape: Of the scan's own grid.
        scan_hash: From `values_hash`: tells copies of the scan, however stored, turned or mirrored.
    """

    case: str
    image: np.ndarray
    labels: np.ndarray | None
    affine: np.ndarray
    coarse_image: np.ndarray
    coarse_labels: np.ndarray | None
    coarse_affine: np.ndarray
    original_affine: np.ndarray
    original_shape: tuple[int, int, int]
    scan_hash: str

    def with_labels(self) -> PreparedCase:
        """The case itself, or with empty label maps where it has none."""
        if self.labels is not None:
            return self
        empty = (np.zeros(image.shape, np.uint8) for image in (self.image, self.coarse_image))
        return replace(self, **dict(zip(("labels", "coarse_labels"), empty, strict=True)))


def prepare_arrays(ct_hu, labels, affine, preparation: PreparationConfig, *, case: str = "") -> PreparedCase:
    """Bring a scan onto the fine and the coarse grid.

    The window is applied before resampling, so that metal does not bleed beyond its voxels. Both label maps are volume
    majorities where voxels grow.

    Args:
        ct_hu: `(I, J, K)` numbers, any orientation.
        labels: `(I, J, K)` uint8 on the same grid, or None.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        preparation: Voxel sizes and window.
        case: Name.

    Returns:
        The prepared case; its image is rounded to 255 steps as the store keeps it, so stored or not is the same.
        A step of a 1800 HU window is 7 HU; its error, 2 HU standard deviation, lies below the noise of any CT.
    """
    original_shape = tuple(int(n) for n in ct_hu.shape)
    low, high = preparation.window_low_hu, preparation.window_high_hu
    canonical, canonical_affine = geometry.to_canonical(np.asarray(ct_hu), affine)
    image = torch.from_numpy(np.array(canonical, np.float32, order="C")).sub_(low).div_(high - low).clamp_(0, 1)
    if labels is not None:
        labels = torch.from_numpy(np.array(geometry.to_canonical(np.asarray(labels), affine)[0], np.uint8, order="C"))
    grids = []
    for spacing in (preparation.spacing_mm, preparation.coarse_spacing_mm):
        target, shape = geometry.grid_at(canonical_affine, canonical.shape, spacing)
        moved = geometry.resample_image(image, canonical_affine, target, shape).clamp_(0, 1)
        moved = moved.mul_(255).round_().div_(255).numpy()
        named = None
        if labels is not None:
            named = geometry.resample_labels(labels, canonical_affine, target, shape, antialias=True).numpy()
        grids.append((moved, named, target))
    (fine, fine_labels, fine_affine), (coarse, coarse_labels, coarse_affine) = grids
    original_affine = np.asarray(affine, np.float64)
    grids = (fine, fine_labels, fine_affine, coarse, coarse_labels, coarse_affine)
    return PreparedCase(case, *grids, original_affine, original_shape, values_hash(np.asarray(ct_hu)))


def prepare_case(row, config: Config) -> PreparedCase:
    """Read and prepare one case.

    Args:
        row: A row of `cohort.cases`, or a `Case`; one without segmentation is prepared without labels.
        config: `preparation` holds voxel sizes and window.

    Returns:
        The prepared case.

    Raises:
        CaseError: If a file is unusable or the two do not share a grid.
    """
    case = Case.of(row)
    ct, labels = read_case(case)
    labels_array = None if labels is None else labels.array
    return prepare_arrays(ct.array, labels_array, ct.affine, config.preparation, case=case.case)
