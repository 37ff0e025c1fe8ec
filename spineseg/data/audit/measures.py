"""Components of a label map: how large, where, and which faces of the scan they touch."""

from __future__ import annotations

import cc3d
import numpy as np
import pandas as pd

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.data.affine import orientation_of

OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
COLUMNS = ["label", "vertebra", "component", "voxels", "ml", "r_mm", "a_mm", "s_mm", "faces"]


def components(labels: np.ndarray, affine) -> pd.DataFrame:
    """Connected components (26 neighbours) of every label.

    Args:
        labels: `(I, J, K)` uint8, 0 .. 25.
        affine: `(4, 4)`, voxel index to RAS+ mm.

    Returns:
        One row per component, largest first within each label: `label, vertebra, component` (0 is the largest),
        `voxels, ml, r_mm, a_mm, s_mm` (centre), `faces` (of the scan, such as `"S"` or `"LI"`; empty inside).
    """
    box = foreground_box(labels)
    if box is None:
        return pd.DataFrame(columns=COLUMNS)
    affine = np.asarray(affine, np.float64)
    inside = np.asfortranarray(labels[box])
    parts, count = cc3d.connected_components(inside, connectivity=26, return_N=True)
    owner = np.zeros(count + 1, np.uint8)
    owner[parts.ravel(order="K")] = inside.ravel(order="K")
    numbers = cc3d.statistics(parts)
    voxels, centres = numbers["voxel_counts"][1:], numbers["centroids"][1:]
    start = np.array([s.start for s in box])
    world = (centres + start) @ affine[:3, :3].T + affine[:3, 3]
    letters = orientation_of(affine)
    faces = [_faces(b, start, labels.shape, letters) for b in numbers["bounding_boxes"][1:]]
    table = pd.DataFrame({"label": owner[1:].astype(int), "voxels": voxels.astype(int), "faces": faces})
    table[["r_mm", "a_mm", "s_mm"]] = world
    table["ml"] = table["voxels"] * abs(np.linalg.det(affine[:3, :3])) / 1000
    table["vertebra"] = [VERTEBRAE[i - 1] for i in table["label"]]
    table = table.sort_values(["label", "voxels"], ascending=[True, False], kind="stable", ignore_index=True)
    table["component"] = table.groupby("label").cumcount()
    return table[COLUMNS]


def foreground_box(labels: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Bounding box of what is not background; None if nothing is."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(used):
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _faces(box, start, shape, letters: str) -> str:
    touched = ""
    for axis, part in enumerate(box):
        if part.start + start[axis] == 0:
            touched += OPPOSITE[letters[axis]]
        if part.stop + start[axis] == shape[axis]:
            touched += letters[axis]
    return touched
