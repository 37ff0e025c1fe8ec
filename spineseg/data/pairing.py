"""Whether a scan and its label map, or the files of several classes, lie on one grid."""

from __future__ import annotations

import numpy as np

from spineseg.data.affine import corner_shift_mm
from spineseg.data.header import XFORM_TOLERANCE_MM
from spineseg.data.nifti import Repair, Volume
from spineseg.errors import CaseError

GRID_TOLERANCE_VOXELS = 0.5  # how far a mask's grid may lie from its scan's
PADDING_HU = -1500.0  # what lies below is the scanner's padding, not air


def matched(ct: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """Make sure that a CT and a label map share one grid.

    Args:
        ct: The CT.
        labels: Its label map.

    Returns:
        Both; the label map has the CT's affine.

    Raises:
        CaseError: If the grids differ by another shape or more than half a voxel.
    """
    remedy = "resample the segmentation to the CT's grid or pair it with its own CT"
    shift = grid_shift_mm(labels, ct, what="a label map", remedy=remedy)
    repairs = labels.repairs
    if shift > XFORM_TOLERANCE_MM / 100:
        repairs += (Repair("grid-affine", f"label map {shift:.2g} mm away from the CT", "the CT's affine"),)
    padded = ct.array.min() < PADDING_HU
    if padded and (outside := int(np.count_nonzero(ct.array[labels.array > 0] < PADDING_HU))):
        repairs += (Repair("labels-in-padding", f"{outside} labelled voxels in the scan's padding", "kept"),)
    return ct, Volume(labels.array, ct.affine, labels.path, repairs)


def grid_shift_mm(volume: Volume, other: Volume, *, what: str, remedy: str) -> float:
    """How far a volume's corners lie from those of another one that should have the same grid.

    Args:
        volume: Which is to blame.
        other: Which it is held against.
        what: The volume in words, for the message.
        remedy: For the message.

    Returns:
        Millimetres.

    Raises:
        CaseError: If the shapes differ or the corners are more than half a voxel apart.
    """
    shape = other.array.shape
    if volume.array.shape != shape:
        found = f"{what} of {volume.array.shape} voxels"
        raise CaseError("grid-shape", volume.path, found, f"{shape} as in {other.path.name}", remedy)
    shift = corner_shift_mm(other.affine, volume.affine, shape)
    if shift > GRID_TOLERANCE_VOXELS * min(other.spacing):
        found = f"{what} that lies {shift:.3g} mm away from {other.path.name}"
        raise CaseError("grid-affine", volume.path, found, "less than half a voxel", remedy)
    return shift
