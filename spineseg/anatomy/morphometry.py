"""Size and pose of each vertebra, measured in a label map: one rule for the masks of patients and of phantoms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from spineseg.anatomy.labels import IDS, N_VERTEBRAE, VERTEBRAE
from spineseg.anatomy.vertebra_view import (
    body_of,
    core_of,
    endplate_normal,
    frame_of,
    look,
    ring_normal,
    split,
)

COLUMNS = (
    "volume_ml", "arch_share", "width_mm", "depth_mm", "height_mm", "body_width_mm", "body_depth_mm", "canal_depth_mm",
    "canal_width_mm", "arch_height_mm", "spinous_drop_mm", "transverse_back_mm", "spacing_mm", "tilt_degrees",
)  # fmt: skip

_LEAST_VOXELS = 30
_EDGE_MM = 2.0  # the body's rough back wall reaches this far behind the wall in the midplane
_TIP_MM = 3.0  # the end of a process over which its position is averaged
_NO_ENDPLATES = ("C1", "C2")  # up stays the normal of the ring, or the tangent
_FLATTEST_DEGREES = 35.0  # an endplate that leans more than this from the tangent was not an endplate


def measure(labels: np.ndarray, affine: np.ndarray, *, step_mm: float = 1.0) -> pd.DataFrame:
    """Measure every vertebra of a label map.

    Args:
        labels: `(I, J, K)` uint8, 0 to 25.
        affine: `(4, 4)`, voxel index to RAS+ mm; any orientation, oblique or anisotropic.
        step_mm: Lattice on which a vertebra is looked at.

    Returns:
        One row per vertebra of at least 30 voxels, from head to foot; what cannot be told is nan.

        - `vertebra`; `cut`, it touches the border of the array; `volume_ml`; `arch_share` of it behind the body
        - `width_mm` from right to left; `depth_mm`, front of the body to the tip of the spinous process
        - `height_mm` of the body along its own axis, mean over its core (C1: of the anterior arch; C2: with the dens);
          `body_width_mm`; `body_depth_mm`
        - `canal_depth_mm`, `canal_width_mm`, seen along the axis (C1: with the room of the dens)
        - `arch_height_mm`, from the top of the joints to the lowest point behind the body
        - `spinous_drop_mm`, tip below the centre of the body; `transverse_back_mm`, tips behind the body's back wall
        - `spacing_mm` to the centre of the body below, if neither is cut
        - `tilt_degrees`, how far the axis leans forward in the sagittal plane

    Raises:
        ValueError: If the labels are not a volume, the affine is not `(4, 4)` or the step is not positive.
    """
    if np.ndim(labels) != 3:
        raise ValueError(f"labels must be a volume (I, J, K), got shape {np.shape(labels)}; pass one label map")
    if np.shape(affine) != (4, 4):
        raise ValueError(f"affine must be (4, 4), voxel index to RAS+ mm, got shape {np.shape(affine)}")
    if not step_mm > 0:
        raise ValueError(f"step_mm must be positive, got {step_mm}; about the size of a voxel is right")
    labels, affine = np.asarray(labels), np.asarray(affine, float)
    boxes = _boxes(labels)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000.0
    places = {}
    for level, box in boxes.items():
        index = np.argwhere(labels[box] == level) + [s.start for s in box]
        places[level] = index @ affine[:3, :3].T + affine[:3, 3]
    centroids = {level: place.mean(0) for level, place in places.items()}
    rows, centres = [], {}
    for level, place in places.items():
        cut = any(s.start == 0 or s.stop == n for s, n in zip(boxes[level], labels.shape, strict=True))
        row = {"vertebra": VERTEBRAE[level - 1], "cut": cut, "volume_ml": len(place) * voxel_ml}
        own, centres[level] = _one(labels, affine, boxes[level], place, level, _tangent(centroids, level), step_mm)
        rows.append(row | own)
    for row in rows:
        level = IDS[row["vertebra"]]
        below = next((r for r in rows if IDS[r["vertebra"]] == level + 1), None)
        if below is not None and not (row["cut"] or below["cut"]):
            row["spacing_mm"] = float(np.linalg.norm(centres[level] - centres[level + 1]))
    return pd.DataFrame(rows, columns=["vertebra", "cut", *COLUMNS])


def _boxes(labels):
    """Box of each vertebra of enough voxels, in the order of the levels."""
    count = np.bincount(labels.ravel(), minlength=N_VERTEBRAE + 1)
    present = [i for i in range(1, N_VERTEBRAE + 1) if count[i] >= _LEAST_VOXELS]
    boxes = {level: [] for level in present}
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        for level in present:
            box = tuple(boxes[level])  # narrowed by the axes seen so far
            where = np.flatnonzero((labels[box] == level).any(axis=others))
            boxes[level].append(slice(int(where[0]), int(where[-1]) + 1))
    return {level: tuple(box) for level, box in boxes.items()}


def _tangent(centroids, level):
    """Unit vector towards the head along the row of centroids; straight up where the row has one member."""
    near = [i for i in range(level - 2, level + 3) if i in centroids]
    if len(near) < 2:
        return np.array([0.0, 0.0, 1.0])
    place, number = np.array([centroids[i] for i in near]), np.array(near, float) - level
    degree = min(2, len(near) - 1)  # a parabola through up to five neighbours, its slope at this one
    slope = np.polynomial.polynomial.polyfit(number, place, degree)[1]
    return -slope / np.linalg.norm(slope)


def _one(labels, affine, box, place, level, up, step_mm):
    """Measures of one vertebra and the centre of its body in the world."""
    name, row = VERTEBRAE[level - 1], {}
    grown = tuple(slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(box, labels.shape, strict=True))
    mask = torch.from_numpy((labels[grown] == level).astype(np.float32))
    start = np.array([s.start for s in grown])
    centre = place.mean(0)
    if name == "C1":
        up = ring_normal(place, up)
    forward = np.array([0.0, 1.0, 0.0])
    for turn in range(3):
        frame, middle = frame_of(place, up, centre, forward, wide=turn == 0)
        view = look(mask, start, affine, place, frame, middle, step_mm)
        parts = split(view)
        if parts is None or name in _NO_ENDPLATES or turn == 2:
            break
        normal = frame @ endplate_normal(view, parts, top_only=name == "S1")
        if normal @ up < np.cos(np.radians(_FLATTEST_DEGREES)):
            break
        up, forward = normal, frame[:, 1]
    row["tilt_degrees"] = float(np.degrees(np.arctan2(up[1], up[2])))
    across, along = view.filled.max((1, 2)) >= 0.5, view.filled.max((0, 2)) >= 0.5
    row["width_mm"] = _reach(view.x, across, step_mm)
    if parts is None:
        return row | {"depth_mm": _reach(view.y, along, step_mm)}, centre
    own, local = _describe(view, parts)
    return row | own, middle + frame @ local


def _reach(axis, solid, step_mm):
    """Length from the first to the last True, in mm; nan where there is none."""
    where = np.flatnonzero(solid)
    return float(axis[where[-1]] - axis[where[0]] + step_mm) if len(where) else float("nan")


def _describe(view, parts):
    """The measures that need body and arch apart, and the centre of the body in the frame."""
    front, back, canal_back = parts
    step, filled = view.step_mm, view.filled
    solid, tall = body_of(view, parts)
    inner = core_of(view, solid, parts)
    wall, bone = view.y[back] - step / 2, filled >= 0.5
    behind = bone[:, : back - int(np.ceil(_EDGE_MM / step))]
    share, depth = float(filled[:, :back].sum() / filled.sum()), front - back
    i, j = np.nonzero(inner)
    weight = filled[i, j]
    level_z = float((weight * view.z).sum() / weight.sum())
    tip_y = view.y[np.flatnonzero(behind.any((0, 2)))[0]] if behind.any() else np.nan
    _, tip_j, tip_k = np.nonzero(bone[np.abs(view.x) <= 8.0])
    tip = view.y[tip_j] <= tip_y + _TIP_MM
    side = np.flatnonzero(bone.any((1, 2)))
    ends = [view.x <= view.x[side[0]] + _TIP_MM, view.x >= view.x[side[-1]] - _TIP_MM]
    back_mm = [wall - view.y[np.nonzero(bone[end])[1]].mean() for end in ends]
    row = {
        "arch_share": share,
        "depth_mm": float(view.y[front - 1] + step / 2 - tip_y + step / 2),
        "height_mm": float(tall[inner].mean()),
        "body_width_mm": float(np.median(solid[:, back + depth * 2 // 5 : front - depth // 5].sum(0)) * step),
        "body_depth_mm": (front - back) * step,
        "canal_depth_mm": (back - canal_back) * step,
        "canal_width_mm": _gap(view, (back + canal_back) // 2),
        "arch_height_mm": _reach(view.z, behind.any((0, 1)), step),
        "spinous_drop_mm": level_z - float(view.z[tip_k[tip]].mean()) if tip.any() else np.nan,
        "transverse_back_mm": float(np.mean(back_mm)),
    }
    return row, np.array([float(view.x[i].mean()), float(view.y[j].mean()), level_z])


def _gap(view, j):
    """Width of the gap around the midplane in the row `j` of the view from above, in mm; nan where it is open."""
    solid = view.filled[:, j].sum(1) * view.step_mm > 1.0
    middle = int(np.argmin(np.abs(view.x)))
    left, right = np.flatnonzero(solid[:middle]), np.flatnonzero(solid[middle:])
    return (right[0] + middle - left[-1] - 1) * view.step_mm if len(left) and len(right) else float("nan")
