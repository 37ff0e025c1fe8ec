"""Size and pose of each vertebra, measured in a label map: one rule for the masks of patients and of phantoms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.row import row_of
from spineseg.anatomy.vertebra_view import body_of, core_of

COLUMNS = (
    "volume_ml", "arch_share", "width_mm", "depth_mm", "height_mm", "body_width_mm", "body_depth_mm", "canal_depth_mm",
    "canal_width_mm", "arch_height_mm", "spinous_drop_mm", "transverse_back_mm", "spacing_mm", "tilt_degrees",
)  # fmt: skip

_EDGE_MM = 2.0  # the body's rough back wall reaches this far behind the wall in the midplane
_TIP_MM = 3.0  # the end of a process over which its position is averaged


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
    row = row_of(labels, affine, step_mm=step_mm)
    voxel_ml = abs(np.linalg.det(row.affine[:3, :3])) / 1000.0
    rows, centres = [], {}
    for level, place in row.places.items():
        own, centres[level] = _one(row, level, step_mm)
        known = {"vertebra": VERTEBRAE[level - 1], "cut": row.is_cut(level), "volume_ml": len(place) * voxel_ml}
        rows.append(known | own)
    for upper in rows:
        level = IDS[upper["vertebra"]]
        below = next((r for r in rows if IDS[r["vertebra"]] == level + 1), None)
        if below is not None and not (upper["cut"] or below["cut"]):
            upper["spacing_mm"] = float(np.linalg.norm(centres[level] - centres[level + 1]))
    return pd.DataFrame(rows, columns=["vertebra", "cut", *COLUMNS])


def _one(row, level, step_mm):
    """Measures of one vertebra and the centre of its body in the world."""
    settled = row.settled(level, step_mm)
    view, frame, middle, parts = settled.view, settled.frame, settled.middle, settled.parts
    up, found = frame[:, 2], {}
    found["tilt_degrees"] = float(np.degrees(np.arctan2(up[1], up[2])))
    across, along = view.filled.max((1, 2)) >= 0.5, view.filled.max((0, 2)) >= 0.5
    found["width_mm"] = _reach(view.x, across, step_mm)
    if parts is None:
        return found | {"depth_mm": _reach(view.y, along, step_mm)}, row.places[level].mean(0)
    own, local = _describe(view, parts)
    return found | own, middle + frame @ local


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
