"""Components of a label map: how large, where, and which faces of the scan they touch."""

from __future__ import annotations

import cc3d
import numpy as np
import pandas as pd

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.data.affine import orientation_of, spacing_of

OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
# A crop along the label's own bounding box touches it: in four VerSe crops the outermost section had 0.01 to
# 0.47 of the section 4 mm further in (once 0.62, of 8 mm2), in two scans that cut a vertebra 0.88 and more.
DEEPER_MM, CUT_SHARE = 4.0, 0.5
LEAST_CUT_MM2 = 20.0  # a smaller section sideways is a touch, whatever lies behind it
COLUMNS = ["label", "vertebra", "component", "voxels", "ml", "r_mm", "a_mm", "s_mm", "faces"]


def components(labels: np.ndarray, affine) -> pd.DataFrame:
    """Connected components (26 neighbours) of every label.

    Args:
        labels: `(I, J, K)` uint8, 0 .. 25.
        affine: `(4, 4)`, voxel index to RAS+ mm.

    Returns:
        One row per component, largest first within each label: `label, vertebra, component` (0 is the largest),
        `voxels, ml, r_mm, a_mm, s_mm` (centre), `faces` (of the scan that cut it, such as `"S"` or `"LI"`; empty where
        it is whole, though it may touch one).
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
    grid = (start, labels.shape, orientation_of(affine), spacing_of(affine))
    faces = [_faces(parts, i, b, *grid) for i, b in enumerate(numbers["bounding_boxes"][1:], start=1)]
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


def _faces(parts: np.ndarray, number: int, box, start, shape, letters: str, spacing) -> str:
    """Faces of the scan that cut a component: there its section is not much smaller than `DEEPER_MM` further in."""
    cut = ""
    for axis, (part, letter) in enumerate(zip(box, letters, strict=True)):
        ends = []
        if part.start + start[axis] == 0:
            ends.append((part.start, 1, OPPOSITE[letter]))
        if part.stop + start[axis] == shape[axis]:
            ends.append((part.stop - 1, -1, letter))
        for edge, inward, side in ends:
            deeper = edge + inward * max(1, round(DEEPER_MM / spacing[axis]))
            if not part.start <= deeper < part.stop:  # thinner than that: a sliver
                cut += side
                continue
            here, there = (_section(parts, number, box, axis, place) for place in (edge, deeper))
            area_mm2 = here * np.prod([s for i, s in enumerate(spacing) if i != axis])
            cut += side if here >= CUT_SHARE * there and area_mm2 >= LEAST_CUT_MM2 else ""
    return cut


def _section(parts: np.ndarray, number: int, box, axis: int, place: int) -> int:
    index = tuple(place if i == axis else part for i, part in enumerate(box))
    return int(np.count_nonzero(parts[index] == number))
